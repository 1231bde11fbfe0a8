"""A server that gives answers and nothing else: the same model passes by them, planted faults fail and are named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from parity_faults import change_config, copied, opened

from fakes import conversation, make_base, train_tiny
from tunesmith.core.records import Message
from tunesmith.eval.parity_choices import Said, said_by
from tunesmith.eval.parity_pair import compare_systems
from tunesmith.eval.parity_prompts import ParityPrompt
from tunesmith.eval.parity_result import ParityReport
from tunesmith.eval.tolerances import ANSWERS_ALONE
from tunesmith.models.generate import Completion, Request
from tunesmith.models.load import find_base
from tunesmith.models.merge import merge
from tunesmith.systems.opening import OpenedSystem
from tunesmith.systems.system import System

WORDS = (
    *("kettle", "harbour", "engine", "letter", "garden", "winter", "lamp", "river"),
    *("bread", "ladder", "mirror", "stone", "clock", "field", "boat", "roof"),
)
PROMPTS = tuple(
    ParityPrompt(id=f"p{n}", kind="test", messages=conversation(f"Tell me about the {word}.")) for n, word in enumerate(WORDS)
)
Change = Callable[[Completion], Completion]


@dataclass(frozen=True)
class Silent:
    """A system that gives answers alone, with their ids, because a tiny model writes halves of letters. `change`: what the
    server does to an answer; `most`: its limit of tokens; `asked`: how it reads a conversation."""

    inner: System
    change: Change = lambda answer: answer
    most: int = 1000
    asked: Callable[[Sequence[Message]], Sequence[Message]] = lambda messages: messages

    name = label = fingerprint = "silent"

    def answer(self, requests: Sequence[Request], *, on_done: Callable[[int], None]) -> list[Completion]:
        some = [
            replace(one, messages=self.asked(one.messages), max_new_tokens=min(self.most, one.max_new_tokens))
            for one in requests
        ]
        return [self.change(one) for one in self.inner.answer(some, on_done=on_done)]

    def logprobs(self, rows: object, *, on_done: object) -> None:
        return None


def silent(side: OpenedSystem, **server: Any) -> OpenedSystem:
    said = replace(side.declared, ends=None, bos=None, template=None, rope=None)
    return replace(
        side, system=Silent(side.system, **server), declared=said, weights=None, base=None, engine="a", form="a at an address"
    )


def compared(a: OpenedSystem, b: str | Path, *, tokens: int = 24, count: int = 16, **server: Any) -> ParityReport:
    with opened(b, chat=a.chat) as (other,):
        return compare_systems(a, silent(other, **server), PROMPTS[:count], max_new_tokens=tokens)


@pytest.fixture(scope="module")
def parts(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, OpenedSystem]]:
    """The base, the merged model, and base and adapter opened."""
    place = tmp_path_factory.mktemp("silent")
    train_tiny(tiny_path, place, train={"max_steps": 6})
    adapter = change_config(place / "out" / "adapter", "adapter_config.json", base_model_name_or_path=str(tiny_path))
    merge(find_base(str(tiny_path)), adapter, place / "merged")
    with opened(adapter) as (tested,):
        yield tiny_path, place / "merged", tested


def test_the_same_model_passes_by_its_answers_alone(parts: tuple[Path, Path, OpenedSystem]) -> None:
    report = compared(parts[2], parts[1])
    assert (report.passed, report.form, report.missing) == (True, ANSWERS_ALONE, ()), report.failed
    assert report.apart is not None and report.apart.what == "answers" and report.apart.num_positions >= 200
    found = report.as_dict()
    assert (found["tokens_equal"], found["template_equal"], found["kl"]) == (None, None, None) and found["top1"] > 0.99
    assert any("greedy answers alone" in note for note in report.notes)


def test_a_few_tokens_say_nothing(parts: tuple[Path, Path, OpenedSystem]) -> None:
    report = compared(parts[2], parts[1], count=2)
    assert report.passed is None and len(report.missing) == 3 and report.apart is None


def cut(answer: Completion) -> Completion:
    """By the server, which says that the answer has ended."""
    ids = answer.ids or ()
    return replace(answer, ids=ids[: len(ids) // 2], text=answer.text[: len(answer.text) // 2], finish_reason="stop")


def test_a_text_is_read_up_to_what_may_have_been_cut(parts: tuple[Path, Path, OpenedSystem]) -> None:
    chat = parts[2].chat
    assert chat is not None
    whole, cut_off = (Completion("The lamp is out.", reason, 9) for reason in ("stop", "length"))
    ids = tuple(chat.encode_text(whole.text))
    assert said_by(whole, chat, from_text=True) == Said(ids, ended=True)
    assert said_by(cut_off, chat, from_text=True) == Said(ids[:-1], ended=False)
    lost = said_by(replace(whole, text="The lamp\ufffd is out."), chat, from_text=True)
    assert lost is not None and not lost.ended and ids[: len(lost.ids)] == lost.ids
    assert said_by(whole, None, from_text=True) is None and said_by(whole, chat, from_text=False) is None


FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "the server runs the base": ("adapter not applied", {}),
    "the server runs another model": ("another model", {}),
    "the server has another template": ("chat template", {}),
    "the server adds a system message": (
        "chat template",
        {"asked": lambda messages: [Message(role="system", content="You are a helpful assistant."), *messages]},
    ),
    "the server has a lower limit of tokens": ("answers cut", {"most": 6}),
    "the server cuts answers and says they ended": ("answers cut", {"change": cut}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_behind_answers_alone_is_named(
    fault: str, parts: tuple[Path, Path, OpenedSystem], tmp_path: Path
) -> None:
    base, merged, tested = parts
    cause, server = FAULTS[fault]
    form = merged
    if fault == "the server runs the base":
        form = base
    elif fault == "the server runs another model":
        form = make_base(tmp_path / "other", seed=23)
    elif fault == "the server has another template":
        form = copied(merged, tmp_path / "form")
        (form / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    report = compared(tested, form, **server)
    assert report.passed is False and report.causes[0].name == cause, (report.failed, report.causes, report.apart)
