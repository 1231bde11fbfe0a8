"""The top of a card: what was decided, whether it is proven, the gates and the scores with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.eval.floors import FLOORS
from tunesmith.eval.metrics.registry import find_metric, metric_named
from tunesmith.ship.card.base import base_of, origin_of
from tunesmith.ship.card.facts import NOT_MEASURED, Facts
from tunesmith.ship.card.material import FACTS
from tunesmith.ship.card.text import bullet, code, count, decimals, interval, percent, plain, table

__all__ = ["gates", "scores", "top"]

_WORDS = {
    "SHIP": "Every required check passed.",
    "DON'T SHIP": "A required check failed.",
    "CAN'T TELL": "A required check could not be measured.",
}
_SCORES = ("bits_per_byte", "word_overlap", "rouge_l")


def top(facts: Facts, name: str) -> str:
    """Title, warning, verdict, and the model in one table."""
    return "\n\n".join([f"# {plain(name)}", *_warnings(facts), _intro(facts), *_verdict(facts), _glance(facts)])


def _intro(facts: Facts) -> str:
    base = base_of(facts.material)
    named = f"[{plain(base.hub)}](https://huggingface.co/{base.hub})" if base.hub else code(base.name)
    about = f"{named}, tuned on a set of examples. Tunesmith trained it"
    about += "." if facts.at("eval", "verdict.json", "verdict") is None else " and measured whether tuning helped."
    if origin := origin_of(facts.material):
        about += f" {named} is {code(origin)} after earlier stages of training: the verdict is on this last stage alone."
    return about


def _warnings(facts: Facts) -> Iterator[str]:
    """What whoever takes this model must know first."""
    verdict = facts.at("eval", "verdict.json", "verdict")
    if verdict is None:
        yield "> **Not proven.** This model was never evaluated: nothing shows that tuning helped."
    elif verdict != "SHIP":
        yield f"> **Not proven.** The verdict on this model is {plain(verdict)}. It is published all the same."
    for part in facts.material.exports:
        found = facts.at(part, FACTS, "numbers", "verdict")
        if found != "SHIP":
            yield f"> **Not proven in this form.** The verdict on {code(part)} is {plain(found or 'not measured')}."
    for part in facts.material.exports:
        if facts.at(part, FACTS, "numbers", "state") == "fail":
            yield f"> **Not as good as the model that was tested:** {code(part)}. Its marks below say in what."
    loosened = [plain(gate["name"]) for gate in facts.at("eval", "verdict.json", "gates") or [] if gate.get("loosened")]
    if loosened:
        yield f"> **Checks made easier to pass than by default:** {', '.join(loosened)}. The table below says how."


def _verdict(facts: Facts) -> Iterator[str]:
    shown = facts.show("verdict", "eval", "verdict.json", "verdict", as_text=plain)
    word = _WORDS.get(str(facts.at("eval", "verdict.json", "verdict")), "")
    yield f"## Verdict: {shown.text}"
    if word:
        yield word
    sentence = facts.show("what was found", "eval", "verdict.json", "sentence", as_text=plain, missing="")
    if sentence.text:
        yield sentence.text
        advice = facts.show("advice", "eval", "verdict.json", "advice", as_text=plain, missing="")
        yield f"{advice.text} Source: {sentence.source}"


def _glance(facts: Facts) -> str:
    path = ("gates", _place(facts, "better"))
    gain = facts.computed(
        "gain over the base",
        "eval",
        "verdict.json",
        [(*path, "value"), (*path, "interval", 0), (*path, "interval", 1)],
        compute=list,
        as_text=lambda v: interval(*v),
    )
    primary = facts.at("eval", "report.json", "primary")
    found = find_metric(str(primary))
    label = "primary metric" if found is None else found.label
    began = [("which began as", facts.show("origin", "run", FACTS, "settings", "origin", as_text=code))]
    rows = [
        ("base model", facts.show("base", "run", FACTS, "settings", "base", as_text=code)),
        *(began if origin_of(facts.material) else []),
        (
            "weights of the base",
            facts.show("origin of the base", "base", FACTS, "origin", as_text=plain, missing="not recorded"),
        ),
        ("tuned with", facts.show("method", "run", FACTS, "settings", "method", as_text=_method)),
        ("learned from", facts.show("training examples", "dataset", FACTS, "numbers", "train", as_text=_examples)),
        (
            "tested on",
            facts.computed(
                "test items", "eval", "report.json", [("num_items",), ("num_documents",)], compute=list, as_text=_tested
            ),
        ),
        (f"gain in {label} over the base, with interval", gain),
        (
            "evaluations on this test set so far",
            facts.show("evaluations so far", "eval", "verdict.json", "looks", as_text=count),
        ),
    ]
    return table(["", "", "source"], [[name, shown.text, shown.source] for name, shown in rows])


def _method(method: Mapping[str, Any]) -> str:
    return f"{plain(method.get('kind'))}, rank {plain(method.get('rank'))}, targets {plain(method.get('targets'))}"


def _examples(number: Any) -> str:
    return f"{count(number)} examples"


def _tested(values: list[Any]) -> str:
    return f"{count(values[0])} held-out answers from {count(values[1])} documents"


def _place(facts: Facts, gate: str) -> int:
    """Where a gate is in the list of the verdict; past its end if it is not there."""
    names = [one.get("name") for one in facts.at("eval", "verdict.json", "gates") or []]
    return names.index(gate) if gate in names else len(names)


def gates(facts: Facts) -> str:
    """Every gate with its rule, state and evidence, and what was evaluated before."""
    found = facts.at("eval", "verdict.json", "gates")
    if not found:
        return f"## What was checked\n\n{NOT_MEASURED}: there is no evaluation of this run."
    rows = []
    for place, gate in enumerate(found):
        evidence = facts.show(f"evidence of {gate['name']}", "eval", "verdict.json", "gates", place, "evidence", as_text=plain)
        marks = [text for key in ("loosened", "warning") if (text := gate.get(key))]
        notes = f". **Note: {plain('; '.join(marks))}.**" if marks else ""
        need = "required" if gate["required"] else "for information"
        state = facts.show(f"state of {gate['name']}", "eval", "verdict.json", "gates", place, "state", as_text=plain)
        rows.append([plain(gate["name"].replace("_", " ")), f"**{state.text}**", need, evidence.text + notes])
    listed = table(["check", "result", "", "evidence"], rows)
    rules = bullet(f"**{plain(gate['name'].replace('_', ' '))}**: {plain(gate['rule'])}" for gate in found)
    intro = f"A check that was not measured does not count as passed. Source: {facts.source('eval', 'verdict.json')}"
    return "\n\n".join(
        ["## What was checked", intro, listed, "The rules, as they were fixed before the evaluation:", rules, *_earlier(facts)]
    )


def _earlier(facts: Facts) -> Iterator[str]:
    """Evaluations of the same run that came before the one that counts."""
    rows = facts.at("eval", "earlier.json") or []
    if not rows:
        return
    said = [f"{plain(row.get('verdict'))} by {plain(row.get('primary'))} ({code(str(row.get('id'))[:16])})" for row in rows]
    yield f"Earlier evaluations of this model: {'; '.join(said)}. Source: {facts.source('eval', 'earlier.json')}"


def scores(facts: Facts) -> str:
    """The systems in the primary and in answer metrics, and the floors below them."""
    systems = facts.at("eval", "report.json", "systems")
    if not systems:
        return ""
    primary = str(facts.at("eval", "report.json", "primary"))
    metrics = [name for name in dict.fromkeys((primary, *_SCORES)) if find_metric(name) is not None]
    rows = [
        [plain(_title(name)), *(_score(facts, name, metric) for metric in metrics), _ended(facts, name)] for name in systems
    ]
    head = ["", *(f"{metric_named(name).label}{_direction(name)}" for name in metrics), "answers that end by themselves"]
    parts = [
        "## Scores on held-out writing",
        f"Means, with the verdict's intervals{_level(facts, primary)}. Source: {facts.source('eval', 'report.json')}",
        table(head, rows),
        bullet(f"**{metric_named(name).label}**: {plain(metric_named(name).description)}" for name in metrics),
    ]
    floors = facts.at("eval", "report.json", "floors") or {}
    shared = [name for name in metrics if any(name in floors[floor] for floor in floors)]
    if shared:
        listed = [
            [plain(FLOORS.get(name, name)), *(_floor(facts, name, metric) for metric in shared)]
            for name in floors
            if floors[name]
        ]
        parts += [
            "What trivial answers score, for comparison. A model that does not beat them has shown nothing in that metric:",
            table(["answer", *(metric_named(name).label for name in shared)], listed),
        ]
    return "\n\n".join(parts)


def _level(facts: Facts, primary: str) -> str:
    path = ("systems", "tuned", "metrics", primary, "ci", "level")
    level = facts.show("level of the intervals", "eval", "report.json", *path, as_text=lambda v: f"{100 * v:.3g} %", missing="")
    return f" ({level.text})" if level.text else ""


def _title(system: str) -> str:
    return {
        "base": "base alone",
        "prompted": "base with examples in its prompt",
        "tuned": "tuned",
        "merged": "tuned and merged",
    }.get(system, system.replace("_", " "))


def _direction(metric: str) -> str:
    better = metric_named(metric).higher_is_better
    return "" if better is None else " (more is better)" if better else " (less is better)"


def _score(facts: Facts, system: str, metric: str) -> str:
    return _summary(facts, f"{metric} of {system}", ("systems", system, "metrics", metric))


def _floor(facts: Facts, floor: str, metric: str) -> str:
    return _summary(facts, f"{metric} of {floor}", ("floors", floor, metric))


def _summary(facts: Facts, name: str, path: tuple[str, ...]) -> str:
    places = [(*path, "mean"), (*path, "ci", "low"), (*path, "ci", "high")]
    whole = facts.computed(name, "eval", "report.json", places, compute=list, as_text=lambda v: interval(*v), missing="")
    return whole.text or facts.show(name, "eval", "report.json", *path, "mean", as_text=decimals).text


def _ended(facts: Facts, system: str) -> str:
    return facts.show(
        f"answers of {system} that end", "eval", "report.json", "systems", system, "ended", "share", as_text=percent
    ).text
