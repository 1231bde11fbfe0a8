"""Files read for checking, comparison with real queries, token findings, topics, and `tunesmith check` with its options."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from checks_clean import clean_rows, swapped
from shared_material import material

from tunesmith.cli.main import main
from tunesmith.core.errors import DatasetError
from tunesmith.core.records import to_json
from tunesmith.data.checks.queries import compare_prompts, queries_from_rows
from tunesmith.data.checks.rows import rows_from_examples
from tunesmith.data.checks.summary import summarize
from tunesmith.data.checks.tokens import TokenFacts, token_findings
from tunesmith.data.checks.topics import find_topics
from tunesmith.data.dataset.load import load_examples


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else to_json(row) for row in rows) + b"\n")
    return path


def checked(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = 0
    try:
        main(["check", *(str(argument) for argument in arguments), "--json"])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out = capsys.readouterr().out
    return code, orjson.loads(out) if out else {}


def ids(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["id"]: finding for finding in answer["findings"]}


def pair(n: int, **more: Any) -> dict[str, Any]:
    return {"prompt": f"What holds case {n} together?", "completion": f"A pin of brass, number {n}.", **more}


def test_rows_are_named_by_their_own_ids_and_by_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [pair(n, id=f"case-{n}") for n in range(5)]
    rows[3]["completion"] = "[TODO]"
    code, answer = checked(jsonl(tmp_path / "t.jsonl", *rows), capsys=capsys)
    found = ids(answer)["placeholders"]
    assert code == 2 and found["rows"] == ["case-3"] and found["where"] == ["t line 4"] and found["reason"] and found["fix"]


def test_mixed_formats_trailing_turns_and_broken_rows_are_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = [{"role": role, "content": f"{role} 1 says?"} for role in ("user", "assistant", "user")]
    rows = [pair(1), pair(2), {"instruction": "Say it.", "output": "It."}, {"messages": said}, b"{broken", {"colour": 1}]
    code, answer = checked(jsonl(tmp_path / "m.jsonl", *rows), capsys=capsys)
    found = ids(answer)
    assert (
        code == 2 and found["unreadable"]["count"] == 2 and found["unreadable"]["rows"][0].startswith("line 5: not valid JSON")
    )
    assert found["mixed_formats"]["count"] == 2 and found["left_out"]["where"] == ["m line 4"]
    assert answer["summary"]["formats"] == {"m": {"prompt_completion": 2, "alpaca": 1, "messages": 1}}


def test_two_rows_with_one_id_are_told_apart_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, answer = checked(jsonl(tmp_path / "i.jsonl", pair(1, id="a"), pair(2, id="a")), capsys=capsys)
    assert ids(answer)["duplicate_ids"]["rows"] == ["a#2"]


def test_padded_turns_are_found_in_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [pair(n) for n in range(30)]
    rows[7]["completion"] += " "
    _, answer = checked(jsonl(tmp_path / "b.jsonl", *rows), capsys=capsys)
    assert ids(answer)["blanks"]["where"] == ["b line 8"]


def test_preferences_are_checked_as_pairs(tmp_path: Path) -> None:
    rows = [{"prompt": f"Why {n}?", "chosen": f"Since {n} is prime, it holds.", "rejected": "No."} for n in range(60)]
    rows[5]["rejected"] = rows[5]["chosen"]
    loaded = load_examples(jsonl(tmp_path / "p.jsonl", *rows))
    found = {finding.name: finding for finding in loaded.findings}
    assert len(loaded.examples) == 60 and found["same_answers"].count == 1 and found["length_bias"].count == 59


def test_bad_answers_of_kto_rows_are_no_examples_and_no_fault(tmp_path: Path) -> None:
    loaded = load_examples(jsonl(tmp_path / "k.jsonl", pair(1, label=True), pair(2, label=False)))
    assert len(loaded.examples) == 1 and [finding.name for finding in loaded.findings] == ["left_out"]


def test_a_file_without_examples_says_what_its_rows_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="it holds colour"):
        load_examples(jsonl(tmp_path / "n.jsonl", {"colour": 1}))


def test_a_folder_is_checked_as_ingest_reads_it(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", pair(1), pair(2))
    jsonl(tmp_path / "b.jsonl", pair(3), b"{broken")
    loaded = load_examples(tmp_path)
    assert len(loaded.examples) == 3 and [finding.name for finding in loaded.findings] == ["unreadable"]


def test_a_redacted_copy_keeps_format_and_ids_and_counts_each_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row: dict[str, Any] = {"id": "olga@kettles.org", "messages": [{"role": "user", "content": "Ring +44 20 7946 0958?"}]}
    row["messages"] += [{"role": "assistant", "content": "Or write to olga@kettles.org."}]
    out = tmp_path / "clean.jsonl"
    _, answer = checked(jsonl(tmp_path / "r.jsonl", row), "--redact", "--out", out, capsys=capsys)
    clean = orjson.loads(out.read_bytes())
    assert answer["summary"]["redacted"] == {"PHONE": 1, "EMAIL": 1} and clean["id"] == "olga@kettles.org"
    assert [turn["content"] for turn in clean["messages"]] == ["Ring [PHONE]?", "Or write to [EMAIL]."]


@pytest.mark.parametrize("arguments", [["--redact"], ["--out", "x.jsonl"]])
def test_redact_and_out_go_together(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = checked(jsonl(tmp_path / "r.jsonl", pair(1)), *arguments, capsys=capsys)
    assert code == 1


def test_the_cap_of_a_document_can_be_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [pair(n, url="https://a" if n < 10 else f"https://{n}") for n in range(40)]
    file = jsonl(tmp_path / "c.jsonl", *rows)
    assert "source_share" in ids(checked(file, capsys=capsys)[1])
    assert "source_share" not in ids(checked(file, "--cap", "0.3", capsys=capsys)[1])


def test_prompts_cleaner_than_real_queries_are_found_and_equal_ones_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = clean_rows(300, seed=5)
    draw = random.Random(1)
    sloppy = [{"query": row.messages[0].content.lower().rstrip("?.")[: draw.randint(20, 45)] + " pls"} for row in rows]
    alike = [row.messages[0].content for row in clean_rows(300, seed=6)]
    train = jsonl(tmp_path / "t.jsonl", *rows)
    _, answer = checked(train, "--against", jsonl(tmp_path / "q.jsonl", *sloppy), capsys=capsys)
    assert {"cleaner_than_queries", "other_length"} <= set(ids(answer))
    assert {d["name"] for d in answer["summary"]["against"]["differences"] if d["low"] > 0} == {
        "capitalised",
        "ended",
        "without_typos",
    }
    _, answer = checked(train, "--against", jsonl(tmp_path / "a.jsonl", *alike), capsys=capsys)
    assert not {"cleaner_than_queries", "other_length"} & set(ids(answer))


def test_slips_are_found_without_a_dictionary() -> None:
    prompts = [f"How did the kitchen drawer of case {n} open?" for n in range(30)]
    compared, figures = compare_prompts(
        prompts, ["how did the kicthen drawer open", "how dont it", "how did the drawers open"] * 10
    )
    assert figures["queries"]["without_typos"] == pytest.approx(2 / 3) or figures["queries"]["without_typos"] < 0.7
    assert figures["training"]["without_typos"] == 1.0 and compared


def test_queries_are_read_from_logs_messages_and_bare_strings() -> None:
    rows: list[Any] = [
        "a?",
        {"query": "b?"},
        {"messages": [{"role": "user", "content": "c?"}, {"role": "assistant", "content": "no"}]},
    ]
    rows += [{"request": {"body": {"messages": [{"role": "user", "content": "d?"}]}}, "response": {}}, {"n": 1}, 7]
    assert queries_from_rows(rows) == ["a?", "b?", "c?", "d?"]


FACTS = TokenFacts(base="b", limit=100, lengths=(10,) * 50, num_learned=200, begins=(1,))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"cut": ("a",), "cut_share": 0.005}, [("cut", "warning")]),
        ({"cut": ("a",), "cut_share": 0.05, "without_end": ("a",)}, [("cut", "error")]),
        ({"without_end": ("a",)}, [("no_end_token", "error")]),
        ({"without_labels": ("a",)}, [("zero_labels", "error")]),
        ({"prompt_differs": ("a",)}, [("prompt_differs", "error")]),
        ({"rewritten": ("a",)}, [("rewritten", "error")]),
        ({"begins": (2,)}, [("begin_tokens", "error")]),
        ({"refused": (("a", "no system role"),)}, [("template", "error")]),
    ],
)
def test_token_facts_become_findings(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert [(finding.name, finding.severity) for finding in token_findings(replace(FACTS, **changes))] == expected


def test_topics_have_names_and_are_the_same_twice() -> None:
    kitchen = clean_rows(80, seed=1)
    sea = [
        swapped(row, prompt=f"Where does the whale number {n} swim?", answer=f"In the ocean, a whale dives below harbour {n}.")
        for n, row in enumerate(clean_rows(40, seed=2))
    ]
    rows = rows_from_examples([*kitchen, *sea])
    topics = find_topics(rows)
    assert topics == find_topics(rows) and sum(topic.count for topic in topics) == 120
    assert any({"whale", "ocean"} & set(topic.name.split(", ")) for topic in topics)
    assert find_topics(rows[:20]) == ()


def test_the_summary_counts_what_is_there() -> None:
    figures = summarize(rows_from_examples(clean_rows(100)))
    assert figures["rows"] == 100 and figures["exchanges"] == {"1": 100} and figures["languages"]["English"] > 90
    assert figures["distinct"]["3"] > figures["distinct"]["1"] and summarize([])["rows"] == 0


def test_the_known_faults_of_the_seed_set_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    """93 prompts do not end in a question mark; read by a person, 90 of them ask nothing, and these are found."""
    files = [material(f"seed-qa/{name}.json") for name in ("train", "val", "test")]
    _, answer = checked(*files, capsys=capsys)
    found = ids(answer)
    assert found["questions"]["count"] == 90 and found["no_source"]["count"] == 2129 and found["source_talk"]["count"] == 12
    assert found["machine_phrases"]["count"] >= 70
