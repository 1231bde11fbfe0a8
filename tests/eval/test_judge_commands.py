"""Judging from the command line and from Python: real servers, a real tiny model, and what is left after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from fake_llm import Asked, Hold, Said, as_json, fake_llm, good, saying
from judged_pairs import Row, labelled_rows, write_rows

from fakes import Told
from tunesmith.api.judges import calibrate_judge, judge_compare
from tunesmith.cli.main import main
from tunesmith.core.errors import EvaluationError, GeneratorError
from tunesmith.data.synth.reply_log import ReplyLog
from tunesmith.data.synth.request import Reply
from tunesmith.eval.judge.rows import read_pairs

REPLY = Reply(text="x", stop="stop", prompt_tokens=1, completion_tokens=1, date="2026-11-29", model="m")


def rows_for_the_longer(count: int) -> list[Row]:
    """Pairs whose longer answer people prefer: `good`, the fake judge, does the same."""
    rows = labelled_rows(count, annotators=1, per_prompt=1)
    for row in rows:
        row["annotators"] = ["A" if len(row["a"]) > len(row["b"]) else "B" if len(row["a"]) < len(row["b"]) else "tie"] * 2
    return rows


def test_a_judge_at_an_address_is_calibrated_and_its_verdicts_are_written(tmp_path: Path, capsys: Any) -> None:
    file, out = write_rows(tmp_path / "rows.jsonl", rows_for_the_longer(40)), tmp_path / "judged.jsonl"
    with fake_llm(good) as server:
        words = ["--judge", server.url, "--model", "fake-1", "--project", str(tmp_path), "--out", str(out)]
        main(["judge", "calibrate", str(file), *words, "--json"])
        found = orjson.loads(capsys.readouterr().out)
        asked = len(server.asked)
        main(["judge", "calibrate", str(file), *words])
        assert len(server.asked) == asked == 2 * 40 + 4  # a tenth a second time; nothing is paid twice
    assert found["kappa"]["value"] == 1.0 and found["retest"] == 1.0 and found["reversed"] == 0
    assert found["judge"] | {"id": ""} == {
        **{"name": f"fake-1 at {server.url}", "id": "", "weak": False, "models": {"fake-1": 84}},
        **{"withheld": 0, "requests": 84, "tokens": 84 * 120, "paid": 84, "failed": {}},
    }
    assert "84 replies" in capsys.readouterr().err
    judged = read_pairs(out)
    assert all(pair.judge == pair.judge_swapped == pair.human for pair in judged)
    assert calibrate_judge(out).calibration.kappa.value == 1.0  # no server is needed any more


def test_prose_and_silence_are_counted_and_block(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", rows_for_the_longer(30))

    def half(asked: Asked) -> Said:
        return good(asked) if len(asked.material) % 2 else Said("Both have their merits.")

    with fake_llm(half) as server:
        found = calibrate_judge(file, judge=server.url, model="fake-1", project=tmp_path).as_dict()
    assert 0 < found["unparsed"] < 30 and not found["may_gate"]
    with fake_llm(saying("")) as server:
        found = calibrate_judge(file, judge=server.url, model="fake-1", project=tmp_path).as_dict()
    assert found["unparsed"] == 30 and found["kappa"]["value"] is None and "not measured" in found["why"]


def test_a_model_that_changes_under_way_may_not_gate(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", rows_for_the_longer(60))

    def changing(asked: Asked) -> Said:
        server.answers_as = "fake-1" if len(server.asked) < 50 else "fake-2"
        return good(asked)

    with fake_llm(changing) as server:
        found = calibrate_judge(file, judge=server.url, model="fake-1", project=tmp_path)
    assert not found.may_gate and "changed under way: fake-1 (" in found.why


def test_a_server_that_dies_half_way_costs_nothing_twice(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", rows_for_the_longer(30))
    settings = {"judge.concurrency": 1, "judge.again": 0}

    def dying(asked: Asked) -> Said:
        return good(asked) if len(server.asked) <= 25 or server.models == [] else Said("gone", status=401)

    with fake_llm(dying) as server:
        with pytest.raises(GeneratorError, match="the judge wants a key"):
            calibrate_judge(file, judge=server.url, model="fake-1", project=tmp_path, settings=settings)
        server.models = []
        done = calibrate_judge(file, judge=server.url, model="fake-1", project=tmp_path, settings=settings)
    assert done.work is not None and (done.work.requests, done.work.paid) == (60, 35)


def test_after_a_kill_nothing_that_was_kept_is_asked_again(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", rows_for_the_longer(30))
    with fake_llm(good) as server:
        server.hold = Hold(after=21)
        command = [sys.executable, "-m", "tunesmith.cli", "judge", "calibrate", str(file), "--judge", server.url]
        command += ["--model", "fake-1", "--project", str(tmp_path), "--set", "judge.concurrency=3"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ))
        for _ in range(3):
            assert server.hold.held.acquire(timeout=60)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        server.hold.end()
        server.hold = None
        found = calibrate_judge(file, judge=server.url, model="fake-1", project=tmp_path)
    assert found.work is not None and found.work.requests == 63 and found.work.paid == 63 - 21
    assert max(server.paid.values()) == 1 and sum(server.paid.values()) == 63


def test_a_torn_or_damaged_line_of_the_log_is_a_reply_that_was_not_kept(tmp_path: Path) -> None:
    log = ReplyLog(tmp_path / "deep" / "log.jsonl")
    for key in "abc":
        log.keep(key, REPLY)
    log.close()
    content = log.path.read_bytes()
    log.path.write_bytes(content.replace(b'"key":"b"', b'"key":"z"')[:-7])
    again = ReplyLog(log.path)
    assert [again.find(key) for key in "abcz"] == [REPLY, None, None, None]
    again.keep("c", REPLY)
    again.close()
    assert ReplyLog(log.path).find("c") == REPLY and len(ReplyLog(log.path).path.read_bytes().split(b"\n")) == 5


def test_a_model_of_this_machine_judges_and_is_marked_as_weak(tmp_path: Path, tiny_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", [dict(row, a="one", b="two two") for row in labelled_rows(3, per_prompt=1)])
    base = shutil.copytree(tiny_path, tmp_path / "base")
    config = orjson.loads((base / "config.json").read_bytes())
    (base / "config.json").write_bytes(orjson.dumps(config | {"max_position_embeddings": 4096}))
    settings = {"judge.max_reply_tokens": 16, "judge.again": 0}
    told = Told()
    found = calibrate_judge(file, judge=str(base), project=tmp_path, settings=settings, reporter=told)
    assert "float32 in transformers on this machine, " in told.notes[1]
    assert found.work is not None and found.work.weak and len(found.work.models) == 1
    assert not found.may_gate and found.calibration.unparsed == 3  # an untrained model says nothing of use
    assert found.calibration.length_preference.why_not == "no verdict on them was parsed"
    short = calibrate_judge(file, judge=str(tiny_path), project=tmp_path, settings=settings)  # 768 tokens hold no question
    assert short.work is not None and not short.work.models and short.calibration.unparsed == 3


# --- compare ----------------------------------------------------------------------------------------------------------


def predictions(folder: Path, count: int) -> tuple[Path, Path]:
    """Two systems; `tuned` gives the longer answer to four questions of five."""
    for name in ("base", "tuned"):
        rows = [
            {"id": str(n), "prompt": f"Question {n}?", "prediction": "word " * (5 if (name == "tuned") == (n % 5 > 0) else 2)}
            for n in range(count)
        ]
        (folder / f"{name}.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return folder / "tuned.jsonl", folder / "base.jsonl"


def labels_of(folder: Path, count: int) -> Path:
    """People prefer the longer answer, as the judge does; every other row has them on other sides, one is unknown."""
    tuned, base = ([orjson.loads(line) for line in file.read_bytes().splitlines()] for file in predictions(folder, 100))
    rows = []
    for n, (one, other) in enumerate(list(zip(tuned, base, strict=True))[:count]):
        a, b = (one, other) if n % 2 else (other, one)
        label = "A" if len(a["prediction"]) > len(b["prediction"]) else "B"
        rows.append({"id": f"v{n}", "prompt": one["prompt"], "a": a["prediction"], "b": b["prediction"], "human": label})
    return write_rows(folder / "labels.jsonl", [*rows, {"id": "v", "prompt": "Else?", "a": "x", "b": "y y y y", "human": "B"}])


def test_without_labels_the_judge_alone_says_nothing_and_what_to_label_is_written(tmp_path: Path, capsys: Any) -> None:
    tuned, base = predictions(tmp_path, 100)
    with fake_llm(good) as server, pytest.raises(SystemExit) as end:
        words = ["--judge", server.url, "--model", "fake-1", "--project", str(tmp_path), "--out", str(tmp_path / "out.jsonl")]
        main(["judge", "compare", str(tuned), str(base), *words, "--json"])
    found = orjson.loads(capsys.readouterr().out)
    assert end.value.code == 3 and found["win_rate"]["value"] is None and "uncorrected" not in found["win_rate"]
    assert found["why"] == "no labels were given" and len(found["next_labels"]) == 20
    assert [pair.judge for pair in read_pairs(tmp_path / "out.jsonl")].count("A") == 80


def test_with_labels_the_win_rate_is_corrected_and_measured(tmp_path: Path, capsys: Any) -> None:
    labels = labels_of(tmp_path, 60)
    with fake_llm(good) as server:
        words = ["--judge", server.url, "--model", "fake-1", "--project", str(tmp_path), "--labels", str(labels)]
        main(["judge", "compare", str(tmp_path / "tuned.jsonl"), str(tmp_path / "base.jsonl"), *words, "--json"])
        found = orjson.loads(capsys.readouterr().out)
        main(["judge", "compare", str(tmp_path / "tuned.jsonl"), str(tmp_path / "base.jsonl"), *words])
        assert "tuned over base" in capsys.readouterr().out
    rate = found["win_rate"]
    assert (found["systems"], rate["system"], rate["labelled"], rate["judged"]) == (["tuned", "base"], "tuned", 60, 100)
    assert rate["value"] == pytest.approx(0.8, abs=0.01) and rate["ci"][0] > 0.6 and found["may_gate"]
    assert found["calibration"]["n"] == 61


def test_answers_are_graded_on_a_rubric_of_ones_own(tmp_path: Path, capsys: Any) -> None:
    tuned, _ = predictions(tmp_path, 40)
    (tmp_path / "mine.yaml").write_text("points: {length: '5: long. 1: short.', tone: '5: kind. 1: rude.'}\n")

    def grades(asked: Asked) -> Said:
        return as_json(length=5 if asked.material.count("word") == 5 else 1, tone=3) if "0?" not in asked.user else Said("fine")

    with fake_llm(grades) as server:
        words = [
            "--judge",
            server.url,
            "--model",
            "fake-1",
            "--project",
            str(tmp_path),
            "--out",
            str(tmp_path / "grades.jsonl"),
        ]
        main(["judge", "grade", str(tuned), *words, "--set", f"judge.rubric={tmp_path / 'mine.yaml'}", "--json"])
    found = orjson.loads(capsys.readouterr().out)
    assert (found["n"], found["rubric"], found["unparsed"], found["points"]["tone"]["value"]) == (40, "mine", 4, 3.0)
    assert found["points"]["length"]["value"] == pytest.approx((32 * 5 + 4 * 1) / 36) and found["points"]["length"]["ci"]
    assert orjson.loads((tmp_path / "grades.jsonl").read_bytes().split(b"\n")[1])["length"] == 5


def test_what_cannot_be_judged_is_said_before_anything_is_paid(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", rows_for_the_longer(3))
    tuned, _ = predictions(tmp_path, 3)
    for arguments, said in (
        (["judge", "compare", str(tuned), str(tuned)], "no judge is named"),
        (["judge", "rank", str(file)], "judge can do three things"),
        (["judge", "calibrate", str(file), "--judge", "http://127.0.0.1:9/v1"], "no judge is named"),
    ):
        done = subprocess.run([sys.executable, "-m", "tunesmith.cli", *arguments], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 1 and said in done.stderr and "hint:" in done.stderr
    with fake_llm(good) as server, pytest.raises(EvaluationError, match="two systems have one name"):
        judge_compare(tuned, tuned, judge=server.url, model="m", project=tmp_path)
    assert not server.asked
