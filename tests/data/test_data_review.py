"""Review: the sample is drawn in one way, the page stands alone, and decisions are applied to the file in its own format."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
from checks_clean import clean_rows, swapped
from hypothesis import given
from hypothesis import strategies as st
from lxml import html

from tunesmith.cli.main import main
from tunesmith.core.errors import DatasetError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import to_json
from tunesmith.data.dataset.review import Decision, apply_decisions, choose_rows, read_decisions
from tunesmith.data.rows import read_entry

TALK = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
ROWS: dict[str, Any] = {
    "messages": {"messages": [*TALK, *TALK], "id": "a"},
    "sharegpt": {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
    "alpaca": {"instruction": "Add.", "input": "1 2", "output": "3"},
    "question": {"question": "Why?", "answer": "So.", "topic": "So."},
    "rendered": {"text": "<|user|>\nWhy?<|end|>\n<|assistant|>\nSo.<|end|>"},
    "string": "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>",
    "preference": {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
}


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else to_json(row) for row in rows) + b"\n")
    return path


def saved(path: Path, file: Path, *rows: dict[str, Any], **changes: Any) -> Path:
    path.write_bytes(to_json({"file": file.name, "sha256": sha256_file(file), "rows": rows} | changes))
    return path


def test_the_sample_is_the_same_twice_spreads_over_strata_and_a_larger_one_only_adds() -> None:
    rows = clean_rows(300)
    rows[40:43] = [swapped(row, answer="Oil.") for row in rows[40:43]]
    small, large = choose_rows(rows, 30), choose_rows(rows, 60)
    assert [e.id for e in small] == [e.id for e in choose_rows(rows, 30)] and len(small) == 30 and len(large) == 60
    assert {e.id for e in small} <= {e.id for e in large}
    lengths = sorted(len(e.answer) for e in rows)
    assert 8 <= sum(len(e.answer) < lengths[100] for e in small) <= 12


@given(st.integers(1, 40), st.integers(1, 60))
def test_a_sample_is_never_larger_than_asked_nor_smaller_than_it_could_be(size: int, most: int) -> None:
    assert len(choose_rows(clean_rows(40)[:size], most)) == min(size, most)


@pytest.mark.parametrize("name", ROWS)
def test_a_fix_is_written_into_the_row_in_its_own_format(name: str, tmp_path: Path) -> None:
    file = jsonl(tmp_path / "r.jsonl", ROWS[name])
    applied = apply_decisions(file, [Decision(row="row 1", decision="fix", answer="Since <it> is.")])
    before, after = read_entry(ROWS[name])[0], read_entry(applied.rows[0])[0]
    changed = after.answers[0] if after.answers else after.turns[-1].content
    assert changed == "Since <it> is." and after.turns[:-1] == before.turns[:-1] and type(applied.rows[0]) is type(ROWS[name])
    if isinstance(ROWS[name], dict):
        assert list(applied.rows[0]) == list(ROWS[name]) and applied.rows[0].get("topic") == ROWS[name].get("topic")


def test_prompts_can_be_fixed_too(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "r.jsonl", ROWS["alpaca"], ROWS["question"])
    fixes = [Decision(row=f"line {n}", decision="fix", prompt="Add them.") for n in (1, 2)]
    assert apply_decisions(file, fixes).rows == (
        {"instruction": "Add them.", "input": "", "output": "3"},
        {"question": "Add them.", "answer": "So.", "topic": "So."},
    )


def test_dropped_rows_go_unread_ones_stay_and_the_share_has_an_interval(tmp_path: Path) -> None:
    rows = [{"prompt": f"{n}?", "completion": "So."} for n in range(30)]
    file = jsonl(tmp_path / "r.jsonl", *rows, b"{broken")
    decisions = [Decision(row=f"line {n}", decision="drop" if n < 3 else "accept") for n in range(1, 11)]
    applied = apply_decisions(file, decisions)
    assert (applied.dropped, applied.accepted, applied.unread, applied.unreadable) == (2, 8, 20, 1)
    assert applied.rows == tuple(rows[2:]) and 0.05 < applied.low < 0.2 < applied.high < 0.52


def test_decisions_about_another_version_or_other_rows_are_refused(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "r.jsonl", ROWS["question"], ROWS["question"])
    row = {"row": "line 1", "decision": "drop"}
    decisions = saved(tmp_path / "d.json", file, row)
    assert read_decisions(decisions, file) == (Decision(row="line 1", decision="drop"),)
    with pytest.raises(DatasetError, match="not in the file"):
        apply_decisions(file, [Decision(row="line 9", decision="drop")])
    for broken in ({"rows": [{**row, "decision": "burn"}]}, {"rows": 7}, {"sha256": None, "rows": [row]}):
        with pytest.raises(DatasetError):
            read_decisions(saved(tmp_path / "b.json", file, **broken), file)
    jsonl(file, ROWS["question"])
    with pytest.raises(DatasetError, match="has changed"):
        read_decisions(decisions, file)


def test_the_page_stands_alone_escapes_texts_and_marks_what_checks_found(tmp_path: Path) -> None:
    rows = [{"prompt": f"What is case {n}?", "completion": f"A pin <b>{n}</b> </script>."} for n in range(60)]
    page = tmp_path / "page.html"
    main(["review", str(jsonl(tmp_path / "r.jsonl", *rows)), "--rows", "5", "--out", str(page)])
    tree = html.fromstring(page.read_text(encoding="utf-8"))
    assert len(tree.findall(".//article")) == 5 and not tree.xpath("//*[@src] | //link | //a[@href]")
    assert "</script>." in tree.find(".//article").text_content() and "html" in tree.find_class("badge")[0].text_content()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium to press the page's buttons")
@pytest.mark.slow
def test_what_is_pressed_on_the_page_is_what_the_file_becomes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = jsonl(tmp_path / "r.jsonl", *({"prompt": f"Why {n}?", "completion": f"So {n}."} for n in range(3)))
    page, out = tmp_path / "page.html", tmp_path / "out.jsonl"
    main(["review", str(file), "--out", str(page)])
    press = (
        "decide(rows[0], 'drop'); decide(rows[1], 'fix');"
        "rows[1].querySelector('[data-field=answer]').textContent = 'New.'; decide(rows[2], 'accept');"
        "document.body.textContent = 'saved ' + JSON.stringify({...facts, rows: kept()});"
    )
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", f"<script>{press}</script></body>"), encoding="utf-8")
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
    ]
    shown = subprocess.run([*command, page.as_uri()], capture_output=True, timeout=120, check=False).stdout.decode()
    said = html.fromstring(shown).text_content().partition("saved ")[2].strip()
    (tmp_path / "decisions.json").write_text(said, encoding="utf-8")
    main(["review", str(file), "--apply", str(tmp_path / "decisions.json"), "--out", str(out), "--json"])
    assert [orjson.loads(line)["completion"] for line in out.read_bytes().splitlines()] == ["New.", "So 2."]
    assert orjson.loads(capsys.readouterr().out)["dropped"] == 1
