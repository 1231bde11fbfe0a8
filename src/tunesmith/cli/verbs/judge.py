"""Find out how far a judge of answers can be believed. Example: tunesmith judge calibrate labelled.jsonl"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.options import Json

if TYPE_CHECKING:
    from tunesmith.api.judges import JudgeCalibration

__all__ = ["command"]


def command(
    action: Annotated[str, typer.Argument(help="calibrate.")],
    file: Annotated[
        Path, typer.Argument(help="JSON lines with id, prompt, a, b, human (or annotators), judge, judge_swapped.")
    ],
    family: Annotated[
        list[str] | None, typer.Option("--family", help="Name of a system of the judge's own family; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """The JSON object is a contract (docs/reference/scripting.md)."""
    from tunesmith.api.judges import calibrate_judge
    from tunesmith.cli.render import print_json
    from tunesmith.core.errors import EvaluationError

    if action != "calibrate":
        raise EvaluationError(
            "judge can do one thing", value=action, expected="calibrate", hint="tunesmith judge calibrate FILE.jsonl"
        )
    found = calibrate_judge(file, family=family or ())
    if json:
        print_json(found.as_dict())
    else:
        _print(found)


_KAPPAS = (
    ("kappa", "Cohen's κ with people"),
    ("kappa_both_orders", "  both orders together"),
    ("kappa_decided", "  without ties"),
    ("ceiling", "  people among themselves"),
)
_LINES = (
    ("agreement", "same label as people"),
    ("changed", "verdict changes with the order"),
    ("reversed", "verdict reversed by the order"),
    ("position_preference", "prefers the answer shown first"),
    ("length_preference", "prefers the longer answer, beyond people"),
    ("family_preference", "prefers its own family, beyond people"),
    ("retest", "same verdict when asked again"),
)


def _print(found: JudgeCalibration) -> None:
    from tunesmith.cli.render import console, table

    figures = found.as_dict()
    named = [(label, figures[name], 1) for name, label in _KAPPAS]
    named += [(label, figures["measured"][name], 100) for name, label in _LINES]
    rows = [[label, *_figure(one, scale)] for label, one, scale in named if one["value"] is not None]
    table(f"{figures['n']} labelled pairs, {figures['prompts']} prompts", ["", "", "interval", "pairs"], rows)
    _matrix(figures["confusion"])
    out = console()
    for label, one, _ in named:
        if one.get("why_not"):
            what = "not measured" if one["value"] is None else "no interval"
            out.print(f"  {label.strip()}: {what}: {one['why_not']}", style="dim")
    if figures["unparsed"] or figures["swapped_missing"]:
        out.print(f"  not parsed: {figures['unparsed']} verdicts; without a swapped verdict: {figures['swapped_missing']}")
    out.print(f"  {figures['learning_curve']['sentence']}")
    _rates(figures["win_rates"])
    if chosen := figures["next_labels"]:
        out.print(f"  label next: {', '.join(one['id'] for one in chosen)}")
    out.print(f"  {'MAY GATE' if found.may_gate else 'MAY NOT GATE'}: {found.why}", style="bold")


def _rates(rates: list[dict[str, Any]]) -> None:
    """Corrected win rates; what the judge alone says only next to them."""
    from tunesmith.cli.render import console, table

    rows = [
        [
            f"{one['system']} over {one['against']}",
            *_figure({**one, "n": one["labelled"]}, 100),
            " to ".join(f"{100 * end:.1f}" for end in one["people"]["ci"]),
            f"{100 * one['uncorrected']:.1f} %" if one["uncorrected"] is not None else "",
        ]
        for one in rates
        if one["value"] is not None
    ]
    if rows:
        table("win rates", ["", "corrected", "interval", "labels", "labels alone", "judge alone"], rows)
    for one in rates:
        if one["value"] is None:
            console().print(f"  win rate of {one['system']}: not measured: {one['why_not']}", style="dim")


def _matrix(confusion: dict[str, dict[str, int]]) -> None:
    from tunesmith.cli.render import table

    labels = list(confusion)
    rows = [[f"people: {one}", *(str(confusion[one][other]) for other in labels)] for one in labels]
    table("", ["", *(f"judge: {label}" for label in labels)], rows)


def _figure(one: dict[str, Any], scale: int) -> list[str]:
    unit, digits = (" %", 1) if scale == 100 else ("", 2)
    low_high = "not measured" if one["ci"] is None else " to ".join(f"{scale * end:.{digits}f}" for end in one["ci"])
    return [f"{scale * one['value']:.{digits}f}{unit}", low_high, str(one["n"])]
