"""`report.json`: everything that the page of an evaluation shows, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from tunesmith.core.records import to_json
from tunesmith.eval.ladder import ladder_values
from tunesmith.eval.measure import Measurements
from tunesmith.eval.report_proof import slices_of
from tunesmith.eval.results import Evidence
from tunesmith.eval.shares import SHARES
from tunesmith.eval.verdict import Verdict

__all__ = ["report_values"]


def report_values(
    evidence: Evidence, measurements: Measurements, verdict: Verdict, examples: Sequence[tuple[str, int]]
) -> dict[str, Any]:
    """Plain values only: the measurements, the verdict, the per-item scores, and where they came from."""
    systems = {
        name: {
            "label": system.label,
            "fingerprint": system.fingerprint,
            "perplexity": system.perplexity,
            **{name: getattr(system.answers, name) for name in SHARES},
            "greedy": {name: getattr(system.greedy, name) for name in SHARES},
            "metrics": dict(system.summaries),
        }
        for name, system in measurements.systems.items()
    }
    items = [
        {
            "id": item.id,
            "group": item.group,
            "scores": {name: {m: s.scores[m][i] for m in measurements.metrics} for name, s in measurements.systems.items()},
        }
        for i, item in enumerate(evidence.items)
    ]
    report = {
        "verdict": verdict.verdict,
        "exit_code": verdict.exit_code,
        "sentence": verdict.sentence,
        "not_measured": verdict.not_measured,
        "gates": verdict.gates,
        "primary": measurements.primary,
        "num_items": measurements.num_items,
        "num_documents": measurements.num_documents,
        "draws": measurements.draws,
        "seed": measurements.seed,
        "use": measurements.use,
        "limit": measurements.limit,
        "references": dict(measurements.references),
        "detectable": measurements.detectable,
        "systems": systems,
        "comparisons": measurements.comparisons,
        "floors": measurements.floors,
        "parity": measurements.parity,
        "served": measurements.served,
        **({"forms": dict(measurements.forms)} if measurements.forms else {}),
        "general": measurements.general,
        "question": measurements.question,
        "recital": measurements.recital,
        "dependence": dict(measurements.dependence),
        "one_answer": dict(measurements.one_answer),
        "suites": dict(measurements.suites),
        "safety": dict(measurements.safety),
        **({"golden": measurements.golden} if measurements.golden else {}),
        **({"voice": measurements.voice} if measurements.voice else {}),
        "slices": slices_of(evidence, measurements),
        "alternatives": ladder_values(evidence, measurements),
        "looks": verdict.looks,
        "advice": verdict.advice,
        **({"audited": measurements.audited} if measurements.audited else {}),
        "reading": evidence.reading,
        "examples": [{"why": why, "id": evidence.items[place].id} for why, place in examples],
        "ids": dict(evidence.ids),
        "numbers": dict(evidence.numbers),
        "items": items,
    }
    plain: dict[str, Any] = orjson.loads(to_json(report))
    return plain
