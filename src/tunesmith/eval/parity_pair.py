"""Two systems compared: how they read prompts, how far their distributions are apart, and where their greedy answers part.

The same function compares a merged folder, a GGUF file in llama.cpp and a server: what both can show is compared, by the
strongest measure that both have; what one of them cannot show is *not measured*, which is never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.errors import EvaluationError, ModelError
from tunesmith.core.records import Message, digest
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.eval.kept_system import KeptSystem
from tunesmith.eval.parity_answers import compare_answers
from tunesmith.eval.parity_apart import Scored, ScoresCompared, compare_scores
from tunesmith.eval.parity_case import Asked, Case, Failure
from tunesmith.eval.parity_cause import find_causes
from tunesmith.eval.parity_choices import ANSWERS, compare_choices
from tunesmith.eval.parity_prompts import CONTROL, ParityPrompt
from tunesmith.eval.parity_result import Answers, Apart, ParityReport, Prompts
from tunesmith.eval.tolerances import ANSWERS_ALONE, FORMS, Tolerance, looser
from tunesmith.models.chat import Encoded
from tunesmith.models.generate import Completion, Request
from tunesmith.systems.comparable import Rendered, ShowsPrompts
from tunesmith.systems.opened import OpenedSystem
from tunesmith.systems.system import System

__all__ = ["compare_systems"]

_Done = Callable[[int], None]


def compare_systems(
    a: OpenedSystem,
    b: OpenedSystem,
    prompts: Sequence[ParityPrompt],
    *,
    max_new_tokens: int = 64,
    saved: Path | None = None,
    reporter: Reporter | None = None,
) -> ParityReport:
    """Whether `b` is the model `a`, by the limits of the form that rounds more. `saved`: a folder where the answers of both are
    kept as they come; those that are there already are not asked again.

    Raises:
        EvaluationError: no prompt that both can read, or a system that returns what is not a number.
    """
    form = looser(a.form, b.form)
    readings = _read(a, b, prompts, room=max_new_tokens)
    with (reporter or SilentReporter()).progress("parity", total=3 * len(readings.kept), unit="prompts") as progress:
        answers_a, answers_b = (_answers(side, readings.kept, max_new_tokens, progress.advance, saved) for side in (a, b))
        rows = _rows(a, b, readings, answers_a, max_new_tokens)
        scored = compare_scores(a, b, rows, on_done=progress.advance)
        if scored.apart is None:
            scored.apart = compare_choices(a, b, readings.ids, answers_b)
            form = form if form in FORMS else ANSWERS_ALONE
        limits = FORMS.get(form)
        answers = compare_answers(a, b, readings.kept, readings.ids, (answers_a, answers_b), limits)
    failed, missing = _judged(readings, scored, answers, limits, form)
    failed += _undeclared_ends(a, b)
    asked = Asked(readings.kept, readings.ids, answers_b)
    case = Case(a, b, frozenset(part for part, _ in failed), readings.found, readings.pairs, scored, answers, asked)
    return ParityReport(
        a=a.label,
        b=b.label,
        form=form,
        limits=limits,
        prompts=readings.found,
        apart=scored.apart,
        answers=answers,
        failed=tuple(text for _, text in failed),
        missing=tuple(missing),
        causes=find_causes(case) if failed else (),
        notes=(*readings.notes, *_by_answers_alone(scored.apart)),
    )


# --- prompts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Readings:
    """The prompts that both are asked, and their token ids as `a` reads them (as `b` does where `a` does not show it)."""

    found: Prompts
    kept: tuple[ParityPrompt, ...]
    ids: tuple[tuple[int, ...] | None, ...]
    pairs: tuple[tuple[Rendered, Rendered], ...]
    unfit: tuple[str, ...]
    notes: tuple[str, ...]


def _read(a: OpenedSystem, b: OpenedSystem, prompts: Sequence[ParityPrompt], *, room: int) -> _Readings:
    read_a, read_b = (_rendered(side.system, [one.messages for one in prompts]) for side in (a, b))
    kept: list[ParityPrompt] = []
    ids: list[tuple[int, ...] | None] = []
    left_out, unfit, refused = list[str](), list[str](), list[str]()
    tokens, texts = list[bool | None](), list[bool | None]()
    first: dict[str, str] | None = None
    is_served = {a.engine, b.engine} != {"transformers"}  # servers read control tokens that a question spells as control tokens
    offered = min(a.context, b.context) if b.is_cut else a.context
    for prompt, one, other in zip(prompts, read_a, read_b, strict=True):
        size = len(one.ids or other.ids or ())
        if (one.refused and other.refused) or size + room > offered or (prompt.kind == CONTROL and is_served):
            left_out.append(prompt.id)
            continue
        if one.refused or other.refused:
            refused.append(prompt.id)
        same_ids = _same(one.ids, other.ids)
        same_text = True if same_ids else _same(one.text, other.text)
        if bool(one.refused) != bool(other.refused):
            same_ids, same_text = False, False
        tokens.append(same_ids)
        texts.append(same_text)
        if first is None and False in (same_ids, same_text):
            first = _two_readings(prompt, one, other)
        if size + room > b.context:
            unfit.append(prompt.id)
        elif not one.refused and not other.refused:
            kept.append(prompt)
            ids.append(one.ids or other.ids)
    if not kept:
        raise EvaluationError(
            "there is no prompt that both systems can read",
            value=f"{len(prompts)} prompts: {len(left_out)} too long or refused by both, {len(refused)} refused by one",
            expected="chat templates that write a question",
            hint="compare two forms of the same chat model",
        )
    found = Prompts(
        num_prompts=len(tokens),
        tokens_equal=_all(tokens),
        template_equal=_all(texts),
        num_tokens_equal=tokens.count(True),
        first=first,
        left_out=tuple(left_out),
    )
    notes = (
        [f"left out, as neither template writes them or the context is too short: {', '.join(left_out)}"] if left_out else []
    )
    pairs = tuple(zip(read_a, read_b, strict=True))
    return _Readings(found=found, kept=tuple(kept), ids=tuple(ids), pairs=pairs, unfit=tuple(unfit), notes=tuple(notes))


def _rendered(system: System, prompts: Sequence[Sequence[Message]]) -> list[Rendered]:
    return system.rendered(prompts) if isinstance(system, ShowsPrompts) else [Rendered()] * len(prompts)


def _same(one: object, other: object) -> bool | None:
    return None if one is None or other is None else one == other


def _all(found: Sequence[bool | None]) -> bool | None:
    return False if False in found else None if None in found or not found else True


def _two_readings(prompt: ParityPrompt, one: Rendered, other: Rendered) -> dict[str, str]:
    """The first place at which both readings differ, a few characters or tokens of each side."""
    if one.text is not None and other.text is not None and one.text != other.text:
        at = next((n for n, (x, y) in enumerate(zip(one.text, other.text, strict=False)) if x != y), 0)
        begin = max(0, at - 20)
        return {"prompt": prompt.id, "a": one.text[begin : at + 40], "b": other.text[begin : at + 40]}
    if one.refused or other.refused:
        return {"prompt": prompt.id, "a": one.refused or "read", "b": other.refused or "read"}
    x, y = one.ids or (), other.ids or ()
    at = next((n for n, (i, j) in enumerate(zip(x, y, strict=False)) if i != j), min(len(x), len(y)))
    return {"prompt": prompt.id, "a": _ids_words(x, at), "b": _ids_words(y, at)}


def _ids_words(ids: Sequence[int], at: int) -> str:
    begin = max(0, at - 2)
    return f"tokens {begin + 1} to {begin + 6} of {len(ids)}: {', '.join(map(str, ids[begin : begin + 6]))}"


# --- answers and rows -------------------------------------------------------------------------------------------------


def _answers(
    side: OpenedSystem,
    prompts: Sequence[ParityPrompt],
    max_new_tokens: int,
    advance: Callable[..., None],
    saved: Path | None,
) -> list[Completion]:
    advance(0, side.label)
    mark = digest("parity", side.chat.fingerprint if side.chat else "")  # asked otherwise than for a verdict
    system = side.system if saved is None else KeptSystem(side.system, saved, mark=mark)
    requests = [Request(messages=prompt.messages, max_new_tokens=max_new_tokens) for prompt in prompts]
    return system.answer(requests, on_done=advance)


def _rows(
    a: OpenedSystem, b: OpenedSystem, readings: _Readings, answers: Sequence[Completion], max_new_tokens: int
) -> list[Scored]:
    """A row of token ids for each prompt: with its reference where that fits, else with the answer of `a`."""
    chat = a.chat or b.chat
    rows = []
    for prompt, ids, answer in zip(readings.kept, readings.ids, answers, strict=True):
        row = None
        if chat is not None and prompt.reference:
            row = _reference_row(chat.encode_answer, prompt)
        if row is not None and len(row.ids) <= min(a.context, b.context):
            rows.append(Scored(row, begin=row.learned.index(True), is_reference=True))
        elif ids is not None:
            said = answer.ids or ()
            marks = (*(False for _ in ids), *(True for _ in said))
            rows.append(Scored(Encoded((*ids, *said), marks), begin=len(ids), is_reference=False))
    return rows


def _reference_row(encode: Callable[[Sequence[Message]], Encoded], prompt: ParityPrompt) -> Encoded | None:
    try:
        row = encode([*prompt.messages, Message(role="assistant", content=prompt.reference)])
    except ModelError:  # a template that rewrites this answer: the prompt is compared with the model's own answer
        return None
    return row if any(row.learned) else None


# --- limits -----------------------------------------------------------------------------------------------------------


def _judged(
    readings: _Readings, scored: ScoresCompared, answers: Answers, limits: Tolerance | None, form: str
) -> tuple[list[tuple[Failure, str]], list[str]]:
    """What is beyond its limit, by the part that failed, and what was not measured: a sentence each."""
    found = readings.found
    failed: list[tuple[Failure, str]] = []
    missing: list[str] = []
    if found.tokens_equal is False:
        failed.append(
            ("prompts", f"{found.num_prompts - found.num_tokens_equal} of {found.num_prompts} prompts have other token ids")
        )
    elif found.template_equal is False:
        failed.append(("prompts", "the chat templates write other prompts"))
    alone = scored.apart is not None and scored.apart.what == ANSWERS  # which show how the prompts were read
    if found.tokens_equal is None and not alone:
        missing.append("token ids of the prompts")
    if found.template_equal is None and not alone:
        missing.append("the rendering of the chat template")
    if readings.unfit:
        many = f"{len(readings.unfit)} prompts do not fit into the context of b: {', '.join(readings.unfit[:3])}"
        failed.append(("context", many))
    failed += [("model", text) for text in scored.failed]
    if scored.apart is None:
        missing.append("distributions of the next token")
    if limits is None:
        missing.append(f"limits for the form {form}: it was never measured")
        return failed, missing
    if scored.apart is not None:
        failed += [("model", text) for text in _beyond(scored.apart, limits)]
    if answers.other_ends:
        failed.append(("ends", f"{len(answers.other_ends)} of {answers.num_answers} answers end in one and not in the other"))
    if short := answers.cut:
        failed.append(("cut", f"{len(short)} of {answers.num_answers} answers of b are cut and end before those of a"))
    if wide := answers.unexplained:
        many = f"{len(wide)} of {answers.num_answers} greedy answers diverge where the next token is not a near tie"
        failed.append(("answers", many))
    return failed, missing


def _by_answers_alone(apart: Apart | None) -> list[str]:
    if apart is None or apart.what != ANSWERS:
        return []
    return [
        f"b does not show its distributions: judged by the {apart.num_positions} tokens of its greedy answers alone, so what no"
        " answer shows is not known"
    ]


def _undeclared_ends(a: OpenedSystem, b: OpenedSystem) -> list[tuple[Failure, str]]:
    """End tokens of `a` that the files of `b` do not declare; an engine of another kind may know some by their names."""
    one, other = a.declared.ends, b.declared.ends
    if one is None or other is None or {a.engine, b.engine} != {"transformers"} or one <= other:
        return []
    return [("ends", f"b does not declare the end token {', '.join(map(str, sorted(one - other)))}")]


def _beyond(apart: Apart, limits: Tolerance) -> list[str]:
    found = []
    if apart.what == "logits" and limits.max_logit is not None and not apart.max_abs <= limits.max_logit:
        found.append(f"a logit differs by {apart.max_abs:.3g}, limit {limits.max_logit:g}")
    if apart.mean_kl is not None and not apart.mean_kl <= limits.mean_kl:
        found.append(f"mean KL is {apart.mean_kl:.3g} nats per position, limit {limits.mean_kl:g}")
    if apart.top1 is not None and not apart.top1 >= limits.top1:
        found.append(
            f"the most likely token is the same at {100 * apart.top1:.2f} % of positions, limit {100 * limits.top1:g} %"
        )
    if apart.what == "references":
        # KL is half the variance of the difference of log-probabilities, to second order
        limit = math.sqrt(2 * limits.mean_kl)
        if not apart.mean_abs <= limit:
            found.append(f"log-probabilities of references differ by {apart.mean_abs:.3g} nats on average, limit {limit:.3g}")
    return found
