"""`check --base`: what the embedded base's tokenizer and template make of examples, with every fault planted."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import DROPPING_TEMPLATE, make_base
from tunesmith.api.token_audit import token_facts
from tunesmith.core.errors import ModelError
from tunesmith.core.records import Example, Message
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.checks.tokens import token_findings


def example(id: str, *turns: tuple[str, str]) -> Example:
    messages = tuple(Message(role=role, content=text) for role, text in turns)  # type: ignore[arg-type]
    return Example(id=id, messages=messages, document_id=id, group=id, source="t.jsonl")


GOOD = [example(f"row{n}", ("user", f"Why {n}?"), ("assistant", f"Since {n} is prime, it holds.")) for n in range(20)]


def found(examples: list[Example], base: str = "apprentice", **options: int) -> dict[str, tuple[str, tuple[str, ...]]]:
    facts = token_facts(base, examples, reporter=SilentReporter(), **options)
    return {finding.name: (finding.severity, finding.rows) for finding in token_findings(facts)}


def test_clean_rows_give_no_finding_and_all_lengths() -> None:
    facts = token_facts("apprentice", GOOD, reporter=SilentReporter())
    assert len(facts.lengths) == 20 and min(facts.lengths) > 5 and facts.num_learned > 100 and found(GOOD) == {}


def test_a_row_that_is_too_long_is_cut_and_named_once() -> None:
    long = example("long", ("user", "Tell all."), ("assistant", "One more word of it. " * 400))
    assert found([*GOOD, long], max_tokens=128) == {"cut": ("error", ("long",))}


def test_a_prompt_that_fills_the_whole_length_leaves_nothing_to_learn() -> None:
    full = example("full", ("user", "Another word of it. " * 400), ("assistant", "So."))
    assert found([*GOOD, full], max_tokens=128)["zero_labels"] == ("error", ("full",))


def test_an_answer_whose_words_the_template_leaves_out_is_named(tmp_path: Path) -> None:
    base = str(make_base(tmp_path / "base", template=DROPPING_TEMPLATE))
    thought = example("thought", ("user", "When?"), ("assistant", "<think>half past six</think>It is late."))
    assert found([*GOOD, thought], base) == {"rewritten": ("error", ("thought",))}


def test_an_unknown_base_is_named() -> None:
    with pytest.raises(ModelError):
        token_facts("./no-such-model", GOOD, reporter=SilentReporter())
