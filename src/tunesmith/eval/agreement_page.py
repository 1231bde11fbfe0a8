"""What the evaluation of a model that scores answers leaves on disk: evidence, verdict, figures, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunesmith.core.page import Raw, badge, folded, histogram, page, section, table, text
from tunesmith.core.records import Interval, to_json
from tunesmith.eval.agreement import Agreement, AgreementEvidence, ScoredPair
from tunesmith.eval.verdict import Verdict

__all__ = ["agreement_figures", "write_agreement"]

_TONES = {"SHIP": "good", "DON'T SHIP": "bad", "CAN'T TELL": "unsure"}
_SHOWN = 8  # pairs in the wrong order
_LONGEST = 300  # characters of a text on the page


def write_agreement(out: Path, evidence: AgreementEvidence, found: Agreement, verdict: Verdict) -> None:
    """Fill the folder of an evaluation."""
    (out / "evidence.json").write_bytes(to_json(evidence))
    (out / "verdict.json").write_bytes(to_json(verdict))
    (out / "report.json").write_bytes(to_json({"verdict": verdict.verdict, **agreement_figures(found)}))
    (out / "report.html").write_text(_page(evidence, found, verdict), encoding="utf-8")


def agreement_figures(found: Agreement) -> dict[str, Any]:
    """The figures by name: `accuracy` and `length_accuracy` with intervals, `over_length`, `loss` in nats, `brier`,
    `calibration`, `margin`, and the numbers of pairs and documents."""
    pairs, gap = found.pairs, found.over_length
    return {
        "pairs": pairs.accuracy.n,
        "documents": found.over_length.num_groups,
        "level": found.level,
        "accuracy": {"share": pairs.accuracy.share, "ci": _ends(pairs.accuracy.ci)},
        "length_accuracy": {"share": found.by_length.mean, "ci": _ends(found.by_length.ci), "rule": found.rule},
        "over_length": {"mean": gap.mean, "ci": _ends(gap.ci), "p": gap.p},
        "loss": pairs.loss,
        "brier": pairs.brier,
        "calibration": pairs.calibration,
        "margin": pairs.margin,
    }


def _ends(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


def _page(evidence: AgreementEvidence, found: Agreement, verdict: Verdict) -> str:
    head = badge(verdict.verdict, _TONES[verdict.verdict])
    lead = f'<p class="lead">{text(verdict.sentence)}</p><p>{text(verdict.advice)}</p>'
    gates = [(gate.name.replace("_", " "), gate.state, gate.rule, gate.evidence) for gate in verdict.gates]
    pairs = found.pairs
    rows = [
        (
            "held-out pairs in the right order",
            f"{_share(pairs.accuracy.share, pairs.accuracy.ci)}, {pairs.accuracy.count} of {pairs.accuracy.n}",
            "½ for scores that say nothing; a tie is not right",
        ),
        (
            f"by the rule that the {found.rule} answer is better",
            _share(found.by_length.mean, found.by_length.ci),
            "the cheaper alternative; equal lengths count half",
        ),
        ("loss", f"{pairs.loss:.3f} nats per pair", "0.693 for scores that say nothing"),
        ("Brier score", f"{pairs.brier:.3f}", "0.25 for scores that say nothing; 0 is perfect"),
        (
            "calibration error",
            f"{pairs.calibration:.3f}",
            "how far σ(difference) is from the share that is right",
        ),
        ("mean difference of the scores", f"{pairs.margin:.3f}", ""),
    ]
    worst = sorted((pair for pair in evidence.pairs if pair.difference <= 0), key=lambda pair: pair.difference)[:_SHOWN]
    return page(
        "Evaluation of a reward model",
        [
            Raw(f"<header>{head}<h1>{text(_title(found))}</h1>{lead}</header>"),
            section("What decides", table(["gate", "state", "rule", "evidence"], gates)),
            section("How the scores agree with people", table(["", "", "what it means"], rows)),
            section(
                "Score of the preferred answer − score of the other, pair by pair",
                histogram([pair.difference for pair in evidence.pairs], unit="points"),
            ),
            section("Pairs that are most in the wrong order", _wrong(worst)),
            section(
                "Not done, and why",
                Raw("<p>This model scores answers and writes none: nothing was generated, merged or exported.</p>"),
            ),
            section("In numbers", folded("all of it", table(["", ""], _facts(evidence, found)))),
        ],
    )


def _title(found: Agreement) -> str:
    return f"The preferred answer comes first in {100 * (found.pairs.accuracy.share or 0):.0f} % of the held-out pairs"


def _share(share: float | None, interval: Interval | None) -> str:
    if share is None:
        return "not measured"
    ends = f" ({100 * interval.low:.1f} to {100 * interval.high:.1f} %)" if interval else ""
    return f"{100 * share:.1f} %{ends}"


def _wrong(pairs: list[ScoredPair]) -> Raw:
    if not pairs:
        return Raw('<p class="soft">none</p>')
    rows = [(f"{p.difference:.2f}", _short(p.prompt), _short(p.chosen), _short(p.rejected)) for p in pairs]
    return table(["difference", "prompt", "preferred", "scored higher"], rows, numeric=[0])


def _short(said: str) -> str:
    return said if len(said) <= _LONGEST else said[: _LONGEST - 1] + "…"


def _facts(evidence: AgreementEvidence, found: Agreement) -> list[tuple[str, str]]:
    interval = found.pairs.accuracy.ci
    return [
        ("pairs and clusters", evidence.clusters),
        ("interval", interval.method if interval else "none: pairs of two documents are needed"),
        ("reading of the training", evidence.reading),
        *((f"{kind} used", id[:12]) for kind, id in evidence.ids.items()),
    ]
