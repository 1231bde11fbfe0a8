"""The part of the dataset's page that says whether questions belong to their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.page import Raw, folded, section, table, text

__all__ = ["fit_section"]

_MAX_ROWS = 50


def fit_section(fits: Sequence[Mapping[str, Any]]) -> str:
    """How often a question is recognised among wrong ones, and the rows where it is not; empty if nothing was measured.

    `fits`: as `Fit.report` gives them.
    """
    measured = [fit for fit in fits if fit["n"]]
    if not measured:
        return ""
    rows = [
        [
            fit["method"],
            f"{fit['right']:,} of {fit['n']:,}",
            f"{fit['share']:.0%}",
            f"{fit['interval'][0]:.0%} – {fit['interval'][1]:.0%}",
            f"{fit['chance']:.0%}",
        ]
        for fit in measured
    ]
    wrong = measured[0]["num_wrong"]
    what = (
        f'<p class="soft">For each answer its own question is compared with {wrong} questions of other documents. A question '
        "that is not recognised among them asks for something else than the answer says, or says too little.</p>"
    )
    parts: list[str] = [
        Raw(what),
        table(["by", "recognised", "share", "95 % interval", "by chance"], rows, numeric=range(1, 5)),
    ]
    for fit in measured:
        if fit["failed"]:
            more = len(fit["failed"]) - _MAX_ROWS
            listed = ", ".join(fit["failed"][:_MAX_ROWS]) + (f" and {more:,} more, in report.json" if more > 0 else "")
            parts.append(folded(f"{fit['method']}: rows whose question was not recognised", Raw(f"<p>{text(listed)}</p>")))
    return section("Do the questions fit", *parts)
