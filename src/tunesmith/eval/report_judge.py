"""The section of the report that shows people's labels, the judge and likelihood together, and where they disagree."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core.page import Raw, folded, section, table, text
from tunesmith.eval.judge.measured import JudgeMeasures
from tunesmith.eval.judge.rows import Label
from tunesmith.eval.measure import Measurements
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.report_cells import tip
from tunesmith.eval.results import Evidence

__all__ = ["judge_section"]

_SHOWN = 5
_SYSTEMS = {"A": "tuned", "B": "base", "tie": "tie"}


def judge_section(evidence: Evidence, measurements: Measurements, gains: Sequence[float | None]) -> Raw:
    """Nothing where no judge was asked. `gains`: of the tuned model over the base in the primary metric, for each item."""
    found = measurements.judge
    if found is None:
        return Raw("")
    by_gain: dict[str, Label] = {
        item.id: "A" if gain > 0 else "B" if gain < 0 else "tie"
        for item, gain in zip(evidence.items, gains, strict=True)
        if gain is not None
    }
    parts = [_lead(found), _side_by_side(found, measurements, by_gain)]
    if found.calibration is not None:
        parts.append(_calibration(found))
    parts.append(_disagreements(evidence, found, by_gain, metric_named(measurements.primary).label))
    return section("People, judge and likelihood", *parts)


def _lead(found: JudgeMeasures) -> Raw:
    weak = " It runs on this machine and is a weak judge." if found.weak else ""
    allowed = "may gate" if found.may_gate else "may not gate"
    lines = f"<p>{text(f'The judge is {found.name}.{weak} It {allowed}: ' + '; '.join(found.why) + '.')}</p>"
    rate = found.win_rate
    if rate.value is None or rate.ci is None:
        return Raw(lines + f"<p>{text(f'Win rate of the tuned model over the base: not measured: {rate.why_not}.')}</p>")
    low, high = rate.ci
    said = f"People would prefer the tuned model in {100 * rate.value:.1f} % of pairs ({100 * low:.1f} to {100 * high:.1f} %)."
    alone = f" The judge alone says {100 * (rate.uncorrected or 0):.1f} %; {rate.labelled} labels correct it."
    return Raw(lines + f"<p>{text(said)}<small>{text(alone)}</small></p>")


def _side_by_side(found: JudgeMeasures, measurements: Measurements, by_gain: dict[str, Label]) -> Raw:
    label = metric_named(measurements.primary).label
    verdicts = _counts("judge, in both orders", list(found.verdicts.values()), "verdicts of the judge alone, not corrected")
    if found.win_rate.value is None:  # what the judge alone says is shown only next to the corrected number
        verdicts = ["judge, in both orders", len(found.verdicts), *["not shown without labels"] * 3]
    votes = measurements.people
    rows: list[list[object]] = [
        *([] if votes is None else [["blind votes", votes.votes, votes.wins["tuned"], votes.ties, votes.wins["base"]]]),
        _counts("people's labels", list(found.people.values()), "the labels of these answers"),
        verdicts,
        _counts(label, list(by_gain.values()), "by the sign of the gain on each item"),
    ]
    return Raw(table(["by", "pairs", "tuned", "tie", "base"], rows, numeric=range(1, 5)))


def _counts(name: str, verdicts: Sequence[Label], how: str) -> list[object]:
    return [tip(name, how), len(verdicts), *(verdicts.count(label) for label in ("A", "tie", "B"))]


def _calibration(found: JudgeMeasures) -> Raw:
    c = found.calibration
    if c is None:
        return Raw("")
    kappas = (("κ with people", c.kappa), ("κ, both orders", c.kappa_both_orders), ("κ without ties", c.kappa_decided))
    rows = [[name, _number(one.value), _ends(one.ci), one.n] for name, one in (*kappas, ("people among themselves", c.ceiling))]
    shares = (
        ("changed by the order", c.changed),
        ("reversed by the order", c.reversed),
        ("prefers the answer shown first", c.position_preference),
        ("prefers the longer answer, beyond people", c.length_preference),
        ("same verdict when asked again", c.retest),
    )
    rows += [[name, _number(one.value), _ends(one.ci), one.n] for name, one in shares]
    head = ["the judge against people", "", "95 % interval", "pairs"]
    note = f"{c.n} labelled pairs of {c.prompts} prompts; {c.unparsed} verdicts were not parsed. {c.learning.sentence}."
    return Raw(table(head, rows, numeric=range(1, 4)) + f'<p class="soft">{text(note)}</p>')


def _disagreements(evidence: Evidence, found: JudgeMeasures, by_gain: dict[str, Label], label: str) -> Raw:
    """Items on which the judge, or people, prefer the other system than likelihood does."""
    apart = [
        item
        for item in evidence.items
        for said in (found.people.get(item.id) or found.verdicts.get(item.id),)
        if said in ("A", "B") and by_gain.get(item.id) in ("A", "B") and said != by_gain[item.id]
    ]
    both = sum(by_gain.get(id) in ("A", "B") and said in ("A", "B") for id, said in {**found.verdicts, **found.people}.items())
    note = f"Of {both} items with a preference on both sides, {label} and the judge (or people) disagree on {len(apart)}."
    if found.win_rate.value is None:
        note = f"Items on which {label} and the judge (or people) disagree, if there are any:"
    answers = {run.name: {g.item_id: g.text for g in reversed(run.generations)} for run in evidence.systems}
    rows = [
        [
            item.question[:200],
            answers.get("base", {}).get(item.id, "")[:300],
            answers.get("tuned", {}).get(item.id, "")[:300],
            *(_SYSTEMS.get(of.get(item.id, ""), "–") for of in (found.people, found.verdicts, by_gain)),
        ]
        for item in apart[:_SHOWN]
    ]
    shown = table(["question", "base", "tuned", "people", "judge", label], rows) if rows else ""
    return Raw(
        f"<p>{text(note)}</p>"
        + (folded(f"The first {len(rows)} of them" if len(rows) < len(apart) else "These items", Raw(shown)) if shown else "")
    )


def _number(value: float | None) -> str:
    return "not measured" if value is None else _minus(f"{value:.2f}")


def _ends(ci: tuple[float, float] | None) -> str:
    return "not measured" if ci is None else _minus(f"{ci[0]:.2f} to {ci[1]:.2f}")


def _minus(number: str) -> str:
    return number.replace("-", "−")
