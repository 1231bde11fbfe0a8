"""`bench serve`: which options a model has here, what is known of their answers, and the command itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bench_stand_in import stand_in
from project_fakes import TUNED_WORSE, add_evaluation, make_project

from tunesmith.api import bench_serve
from tunesmith.cli.main import main
from tunesmith.core.artifacts import Artifact, Draft, Store
from tunesmith.core.errors import EvaluationError, TunesmithError
from tunesmith.ops.bench import options as found_options
from tunesmith.ops.bench.asking import ask_window
from tunesmith.ops.bench.options import find_options
from tunesmith.pipeline.sections.eval import GateConfig
from tunesmith.systems.placing import place_of


def add_gguf(store: Store, quant: str, *, verdict: str | None = "SHIP", state: str = "pass") -> Artifact:
    """An export with the numbers that `tunesmith export` writes, judged by the newest evaluation."""

    def fill(draft: Draft) -> None:
        (draft.path / "files").mkdir()
        (draft.path / "files" / f"model-{quant}.gguf").write_bytes(b"GGUF" + bytes(60))
        draft.numbers |= {"form": "gguf", "quant": quant, "bytes": 64, "verdict": verdict, "state": state}

    inputs = [store.resolve(f"{kind}:latest").reference() for kind in ("run", "model", "eval")]
    return store.obtain("export", inputs, {"form": "gguf", "quant": quant, "verdict": verdict}, fill)


def states(reference: str, store: Store, **how: Any) -> dict[str, str]:
    return {one.name: one.judged.state for one in find_options(reference, store, **how)}


def test_a_run_has_its_number_types_its_guesses_and_its_exports_with_their_verdicts(tmp_path: Path) -> None:
    store = make_project(tmp_path)
    add_gguf(store, "f16")
    add_gguf(store, "q8_0", verdict="DON'T SHIP", state="fail")
    add_gguf(store, "q5_0", verdict="SHIP", state="fail")
    add_gguf(store, "q4_k_m", verdict=None, state="not measured")
    assert states("run:latest", store) == {
        **{"float32": "pass", "bfloat16": "not measured", "ngram": "pass", "gguf-f16": "pass"},
        **{"gguf-q8_0": "fail", "gguf-q5_0": "fail", "gguf-q4_k_m": "not measured"},
    }
    why = {one.name: one.judged.why for one in find_options("run:latest", store)}
    assert why["float32"].endswith("in float32: SHIP") and why["bfloat16"] == "the evaluation answered in float32"
    assert "its answers were not tested" in why["gguf-q4_k_m"]


def test_an_export_that_an_older_evaluation_judged_is_not_measured(tmp_path: Path) -> None:
    store = make_project(tmp_path)
    add_gguf(store, "f16")
    add_evaluation(store, TUNED_WORSE, gates=GateConfig(), number=2)
    found = {one.name: one.judged for one in find_options("run:latest", store)}
    assert found["gguf-f16"].state == "not measured" and "before the run's newest evaluation" in found["gguf-f16"].why
    assert found["float32"].state == found["ngram"].state == found["bfloat16"].state == "fail"  # the model may not ship


def test_a_run_that_was_not_evaluated_and_a_base_are_not_measured(tmp_path: Path) -> None:
    store = make_project(tmp_path, bits=None)
    assert set(states("run:latest", store).values()) == {"not measured"}
    assert states("smollm2", store) == dict.fromkeys(("float32", "bfloat16", "ngram"), "not measured")


def test_an_export_is_served_with_the_settings_of_its_run(tmp_path: Path) -> None:
    store = make_project(tmp_path)
    made = add_gguf(store, "f16")
    place = place_of(made.id, store)
    assert place.gguf is not None and place.run == store.resolve("run:latest")
    assert [(one.name, one.judged.state) for one in find_options(made.id, store)] == [("gguf-f16", "pass")]
    copy, other = tmp_path / "copy.gguf", tmp_path / "other.gguf"
    copy.write_bytes(place.gguf.read_bytes())
    other.write_bytes(place.gguf.read_bytes() + b" ")
    assert states(str(place.gguf), store) == states(str(copy), store) == {"gguf-f16": "pass"}
    assert states(str(other), store) == {"other": "not measured"}


def test_vllm_is_an_option_where_its_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_project(tmp_path)
    monkeypatch.delenv("TUNESMITH_VLLM", raising=False)
    assert "vllm" not in states("run:latest", store)
    monkeypatch.setenv("TUNESMITH_VLLM", "/opt/vllm/bin/python")
    (found,) = find_options("run:latest", store, wanted=["vllm"])
    assert found.typed == "tunesmith serve run:latest --engine vllm --precision bfloat16"


def test_options_are_chosen_by_name_or_given_as_files_and_addresses(tmp_path: Path) -> None:
    store = make_project(tmp_path)
    for quant in ("f16", "q8_0"):
        add_gguf(store, quant)
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    wanted = ["gguf", "ngram", "gguf-f16", f"mine={tmp_path / 'other.gguf'}", "http://127.0.0.1:9/v1#m", "b=http://h/v1"]
    found = find_options("run:latest", store, wanted=wanted)
    assert [one.name for one in found] == ["gguf-f16", "gguf-q8_0", "ngram", "mine", "m", "b"]
    assert [(one.url, one.model) for one in found if not one.command] == [("http://127.0.0.1:9/v1", "m"), ("http://h/v1", "")]
    assert {one.judged.state for one in found[3:]} == {"not measured"}
    with pytest.raises(EvaluationError, match="there is no such option") as error:
        find_options("run:latest", store, wanted=["gguf-q4"])
    assert "gguf-q8_0" in error.value.problems[0].expected and error.value.problems[0].hint.startswith("--options gguf-")
    with pytest.raises(TunesmithError, match="nowhere"):
        find_options("run:latest", store, wanted=["mine=./nowhere.gguf"])


def test_rows_make_options_and_every_server_has_the_flags_that_nobodys_recipe_changes(tmp_path: Path) -> None:
    store = make_project(tmp_path)
    found = find_options("run:latest", store, wanted=["float32", "http://h/v1"], rows=(8, 32), context=512)
    assert [one.name for one in found] == ["float32, 8 rows", "float32, 32 rows", "h/v1"]
    words = " ".join(found[0].command)
    assert words.endswith("--rows 8 --context 512") and found[0].typed == "tunesmith serve run:latest --rows 8 --context 512"
    for flags in ("--keys  --rate 0 --traffic  --no-capture", "--host 127.0.0.1 --port 0", "bench=run:latest", "--pin bench"):
        assert flags in words
    assert [one.name for one in find_options("run:latest", store, wanted=["ngram"], rows=(8,))] == ["ngram"]
    with pytest.raises(EvaluationError, match="no server can be started so"):
        find_options("run:latest", store, rows=(0,))


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two options: a sound one whose answers were tested, and one that does not start."""
    log = tmp_path / "log"
    made = [stand_in("good", log, state="pass"), stand_in("bad", log, fault="no start")]
    monkeypatch.setattr(found_options, "find_options", lambda *_, **__: made)
    return tmp_path


WORDS = ["bench", "serve", "smollm2", "--clients", "1,2", "--requests", "2", "--rounds", "2", "--tokens", "4"]


def ended(words: Sequence[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return int(end.value.code or 0)


def test_the_command_prints_figures_and_a_recommendation_and_writes_them(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = two / "bench.json"
    assert ended([*WORDS, "--json", "--out", str(out), "--price-hour", "2"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_bytes()) and printed["recommended"] == "good" and printed["ended"] == ""
    good, bad = printed["options"]
    assert bad["problem"] == "the server ended: the port is taken" and bad["cells"][0]["requests"] == 0
    cell = good["cells"][1]
    assert (cell["clients"], cell["requests"], cell["failed"], cell["rounds"]) == (2, 8, 0, 2)
    rate = cell["tokens_per_s"]["value"]
    assert cell["cost"]["value"] == pytest.approx(2 / 3600 * 1e6 / rate) and printed["work"]["tokens"] == 4
    assert {"cores", "processor", "load", "versions", "threads"} <= printed["machine"].keys()


def test_the_command_in_a_terminal_says_what_was_not_measured_and_what_to_type(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(WORDS) == 0
    told = capsys.readouterr()
    assert "1 client" in told.out and "2 clients" in told.out and "tested: SHIP" in told.out
    assert "bad: not measured: the server ended: the port is taken" in told.err
    assert "cost per million tokens: not measured; --price-hour PRICE gives it" in told.err
    assert "the only option whose answers were tested and ended in SHIP" in told.err
    assert "next  tunesmith serve good" in told.err and "2 options: good, bad" in told.err


def test_the_exit_code_says_whether_what_is_recommended_was_tested(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = two / "log"
    for made, code in (
        ([stand_in("a", log)], 3),
        ([stand_in("a", log, state="fail")], 2),
        ([stand_in("a", log, fault="refuses")], 3),
    ):
        monkeypatch.setattr(found_options, "find_options", lambda *_, made=made, **__: made)
        assert ended([*WORDS, "--rounds", "1"]) == code


def test_a_bench_that_is_stopped_keeps_and_prints_what_was_measured(
    two: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    count = iter(range(99))

    def stops(*args: Any, **how: Any) -> Any:
        if next(count) == 3:
            raise KeyboardInterrupt
        return ask_window(*args, **how)

    monkeypatch.setattr("tunesmith.ops.bench.measuring.ask_window", stops)
    assert ended([*WORDS, "--json", "--out", str(two / "b.json")]) == 130
    printed = json.loads(capsys.readouterr().out)
    assert printed["ended"] == "it was stopped" and printed == json.loads((two / "b.json").read_bytes())
    assert [one["rounds"] for one in printed["options"][0]["cells"]] == [2, 1]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"clients": ()}, "--clients"),
        ({"clients": (0,)}, "--clients"),
        ({"tokens": 1}, "--tokens"),
        ({"rounds": 0}, "--rounds"),
        ({"requests": 0}, "--requests"),
        ({"seconds": -1.0}, "--seconds"),
        ({"price_hour": -0.5}, "--price-hour"),
        ({"price_hour": float("nan")}, "--price-hour"),
    ],
)
def test_a_number_that_nothing_can_be_measured_with_is_refused_in_four_parts(
    two: Path, words: dict[str, Any], what: str
) -> None:
    with pytest.raises(EvaluationError, match="nothing can be measured with this") as error:
        bench_serve("smollm2", project=two, **words)
    problem = error.value.problems[0]
    assert what in problem.what and problem.expected and problem.hint.startswith(what)
    assert not (two / "log").exists()


def test_what_the_command_cannot_read_is_said_before_anything_is_started(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, what in (
        (["bench", "train"], "choose serve"),
        ([*WORDS, "--clients", "one"], "say whole numbers with commas"),
        ([*WORDS, "--out", str(two)], "--out is a folder"),
        ([*WORDS, "--prompts", str(two / "gone.jsonl")], "gone.jsonl"),
    ):
        assert ended(words) == 1 and what in capsys.readouterr().err
    assert not (two / "log").exists()


@pytest.mark.slow
def test_a_real_model_is_served_and_measured(tiny_path: Path, tmp_path: Path) -> None:
    found = bench_serve(str(tiny_path), project=tmp_path, options=["float32"], clients=[2], tokens=6, requests=3, rounds=1)
    (one,) = found.options
    cell = one.cells[0]
    assert (one.problem, cell.requests, cell.failed) == ("", 4, 0) and found.exit_code == 3
    assert (cell.tokens_per_s.value or 0) > 0 and (one.memory_bytes or 0) > 2**26 and (one.start_s or 0) > 0
    assert found.advice.option == "float32" and not (tmp_path / ".tunesmith").exists()
