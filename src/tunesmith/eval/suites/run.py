"""Putting a suite to a system: greedy answers, scored by program, saved one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Generation, Score, digest
from tunesmith.eval.suites.scorers import SCORERS, Undecided
from tunesmith.eval.suites.store import AnswerStore
from tunesmith.eval.suites.suite import Suite, SuiteItem
from tunesmith.models.chat import Chat
from tunesmith.models.generation.requests import GREEDY, Completion, Request

__all__ = ["Ask", "AskTogether", "SuiteRun", "rescored", "run_suite", "run_together", "unfit_for"]

Ask = Callable[[Sequence[Request]], Sequence[Completion]]
"""Answers requests, in their order."""

AskTogether = Callable[[Sequence[str], Sequence[Request]], Sequence[Sequence[Completion]]]
"""The answers of each of the systems named, to the same requests."""

_BATCH = 128  # requests between two saves


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRun:
    """The answers of one system to a suite, and their scores, item by item in the suite's order.

    A score is 1, 0 or None with the reason. `generations` has no entry for items that were not asked. `suite`: the suite's
    content hash. `num_asked`: how many answers were made now; the rest
    were saved before.
    """

    suite: str
    system: str
    fingerprint: str
    generations: tuple[Generation, ...]
    scores: tuple[Score, ...]
    num_asked: int = 0


def run_suite(
    suite: Suite,
    ask: Ask,
    *,
    system: str,
    fingerprint: str,
    saved: Path | None = None,
    unfit: Callable[[Request], str] = lambda request: "",
    on_done: Callable[[int], None] = lambda count: None,
) -> SuiteRun:
    """The run of one system; everything else as for `run_together`."""
    return run_together(
        suite,
        lambda names, requests: [ask(requests)],
        systems={system: fingerprint},
        saved=saved,
        unfit=unfit,
        on_done=on_done,
    )[system]


def run_together(
    suite: Suite,
    ask: AskTogether,
    *,
    systems: Mapping[str, str],
    saved: Path | None = None,
    unfit: Callable[[Request], str] = lambda request: "",
    on_done: Callable[[int], None] = lambda count: None,
) -> dict[str, SuiteRun]:
    """The runs of several systems, greedily. Those that lack an answer to the same questions are asked in one batch.

    `systems`: name → fingerprint, which hashes everything that decides an answer but the question: weights, adapter, chat
    template, its options. `saved`: a folder for answers. `unfit`: why a request cannot be put to these systems (a prompt longer
    than their context); such items are unscored. `on_done` is called with how many more items of a system are done.
    """
    requests = {item.id: _request(item) for item in suite.items if not item.unscored}
    reasons = {item.id: item.unscored for item in suite.items if item.unscored}
    reasons |= {id: reason for id, request in requests.items() if (reason := unfit(request))}
    asked = {item.asked_hash: item for item in suite.items if item.id not in reasons}
    marks = {name: digest(fingerprint, repr(GREEDY)) for name, fingerprint in systems.items()}
    stores = {name: AnswerStore(saved, mark) for name, mark in marks.items()} if saved is not None else {}
    known = {name: dict(stores[name].read()) if stores else {} for name in systems}
    missing: dict[str, tuple[str, ...]] = {key: tuple(name for name in systems if key not in known[name]) for key in asked}
    num_asked = {name: sum(name in names for names in missing.values()) for name in systems}
    on_done(len(suite.items) * len(systems) - sum(num_asked.values()))
    for names in dict.fromkeys(names for names in missing.values() if names):
        keys = [key for key, wanted in missing.items() if wanted == names]
        for start in range(0, len(keys), _BATCH):
            part = keys[start : start + _BATCH]
            for name, answers in zip(names, ask(names, [requests[asked[key].id] for key in part]), strict=True):
                made = list(zip(part, answers, strict=True))
                if stores:
                    stores[name].add(made)
                known[name].update(made)
            on_done(len(part) * len(names))
    return {name: _run(suite, name, marks[name], known[name], reasons, num_asked=num_asked[name]) for name in systems}


def _run(
    suite: Suite, name: str, mark: str, known: Mapping[str, Completion], reasons: Mapping[str, str], *, num_asked: int
) -> SuiteRun:
    said = tuple(_generation(item, known[item.asked_hash], name, mark) for item in suite.items if item.id not in reasons)
    return SuiteRun(
        suite=suite.content_hash,
        system=name,
        fingerprint=mark,
        generations=said,
        scores=_scores(suite, said, reasons),
        num_asked=num_asked,
    )


def unfit_for(chat: Chat, context: int) -> Callable[[Request], str]:
    """For `run_suite`: why a base with this chat template and context cannot be asked something; empty if it can."""

    def reason(request: Request) -> str:
        try:
            needed = len(chat.encode_prompt(request.messages)) + request.max_new_tokens
        except ModelError as error:
            return f"the chat template cannot write it: {error.problems[0].what}"
        return f"question and answer need {needed} tokens, the base has {context}" if needed > context else ""

    return reason


def rescored(suite: Suite, run: SuiteRun) -> tuple[Score, ...]:
    """The scores again, from the stored answers alone: for verifying a run."""
    asked = {generation.item_id for generation in run.generations}
    reasons = {score.item_id: score.reason for score in run.scores if score.item_id not in asked}
    return _scores(suite, run.generations, reasons)


def _request(item: SuiteItem) -> Request:
    return Request(messages=item.messages, max_new_tokens=item.max_new_tokens, sampling=GREEDY)


def _generation(item: SuiteItem, answer: Completion, system: str, mark: str) -> Generation:
    return Generation(
        item_id=item.id,
        system=system,
        text=answer.text,
        finish_reason=answer.finish_reason,
        num_tokens=answer.num_tokens,
        fingerprint=mark,
    )


def _scores(suite: Suite, generations: Sequence[Generation], reasons: Mapping[str, str]) -> tuple[Score, ...]:
    texts = {generation.item_id: generation.text for generation in generations}
    return tuple(_score(item, texts.get(item.id), reasons.get(item.id, "it was not answered")) for item in suite.items)


def _score(item: SuiteItem, text: str | None, reason: str) -> Score:
    if text is None:
        return Score(item_id=item.id, metric=item.scorer, value=None, reason=reason)
    found = SCORERS[item.scorer].score(text, item)
    if isinstance(found, Undecided):
        return Score(item_id=item.id, metric=item.scorer, value=None, reason=found.reason)
    return Score(item_id=item.id, metric=item.scorer, value=float(found))
