"""The part of a dataset's page that says what a language model wrote, what its gates dropped, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.page import Raw, badge, card, folded, section, table, text
from tunesmith.core.records import Example

__all__ = ["synthesis_section", "work_section"]

_NUM_SHOWN = 4
_SIDES = {"prompt": "the question only", "answer": "the answer only", "both": "question and answer", None: "nothing"}


def synthesis_section(report: Mapping[str, Any], splits: Mapping[str, Sequence[Example]]) -> str:
    """Who wrote what, the gates' count, the cost, and some answers beside their quotes; empty if people wrote all."""
    rows = report["origins"]
    if report["synthesis"] is None and not any(row["model"] for row in rows):
        return ""
    names = list(report["splits"])
    parts: list[str] = [
        table(
            ["written by", "model", "day", "generated", *names],
            [
                [row["kind"], row["model"] or "", row["date"] or "", _SIDES[row["generated"]], *(f"{row[n]:,}" for n in names)]
                for row in rows
            ],
            numeric=range(4, 4 + len(names)),
        )
    ]
    for finding in report["findings"]:
        if finding["name"] == "real_share":
            mark = badge("review", "unsure") if finding["severity"] == "warning" else badge("fine", "good")
            parts.append(Raw(f"<p>{mark} {text(finding['message'])}.</p>"))
    if report["synthesis"] is not None:
        parts += _work(report["synthesis"])
    parts += _samples(splits)
    return section("Written by a model", *parts)


def work_section(made: Mapping[str, Any]) -> str:
    """What the gates sent back and dropped, and what it cost: `Outcome.report()` as a section of its own."""
    return section("What the gates did", *_work(made))


def _work(made: Mapping[str, Any]) -> list[str]:
    used = made["usage"]
    cost = f", {used['cost']:,.4f} at the prices given" if used["cost"] is not None else ""
    tokens = f"{used['prompt_tokens'] + used['completion_tokens']:,} tokens"
    lead = f"{made['kept']:,} of {made['wanted']:,} wanted passed the gates; {used['replies']:,} replies, {tokens}{cost}."
    parts: list[str] = [Raw(f"<p>{text(lead)}</p>")]
    if used["uncounted_replies"]:
        note = f"{used['uncounted_replies']:,} replies came without a token count; upper bounds are used."
        parts.append(Raw(f'<p class="soft">{text(note)}</p>'))
    counted = sorted({*made["dropped"], *made["sent_back"]}, key=lambda reason: -made["dropped"].get(reason, 0))
    if counted:
        rows = [[reason, f"{made['sent_back'].get(reason, 0):,}", f"{made['dropped'].get(reason, 0):,}"] for reason in counted]
        parts.append(table(["gate", "sent back", "dropped in the end"], rows, numeric=[1, 2]))
    if made["withheld"]["blocks"]:
        lines = "".join(f"<li>{text(sample)}</li>" for sample in made["withheld"]["samples"])
        count = f"{made['withheld']['blocks']:,} blocks contain instructions to a model and were withheld from it"
        parts.append(folded(count, Raw(f"<ul>{lines}</ul>")))
    return parts


def _samples(splits: Mapping[str, Sequence[Example]]) -> list[str]:
    """Generated answers, each sentence with the quote that carries it."""
    made = [e for rows in splits.values() for e in rows if e.origin is not None and e.origin.support]
    cards = []
    for example in made[:: max(1, len(made) // _NUM_SHOWN)][:_NUM_SHOWN]:
        asked = next((m.content for m in reversed(example.prompt) if m.role == "user"), "")
        support = example.origin.support if example.origin else ()
        lines = "".join(
            f"<p>{text(part.sentence)}<br><small class='soft'>“{text(' … '.join(q.text for q in part.quotes))}”"
            f"{'' if all(q.exact for q in part.quotes) else ' (near-verbatim)'}</small></p>"
            for part in support
        )
        cards.append(card(asked if example.origin and example.origin.generated == "both" else "prompt", Raw(lines)))
    if not cards:
        return []
    return [folded("generated sentences next to their quotes", Raw('<div class="cards">' + "".join(cards) + "</div>"))]
