"""Find out how far a judge of answers can be believed. Example: tunesmith judge calibrate labelled.jsonl"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.options import Json, ProjectDir, Settings, refuse_without_effect

if TYPE_CHECKING:
    from tunesmith.api.judges import JudgeCalibration, JudgeComparison, JudgeGrades

__all__ = ["command"]

_NEEDED = {"calibrate": 1, "compare": 2, "grade": 1}  # files
_WITHOUT = "calibrate without --judge"
_TAKES = {
    "calibrate": ("family", "out", "set_"),
    _WITHOUT: ("family",),
    "compare": ("labels", "out", "set_"),
    "grade": ("out", "set_"),
}


def command(  # noqa: PLR0913 (one parameter per flag)
    context: typer.Context,
    action: Annotated[
        str,
        typer.Argument(help="calibrate (a judge with people's labels), compare (two prediction files) or grade (one)."),
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            help="With calibrate: JSON lines with id, prompt, a, b, human (or annotators), and judge, judge_swapped without"
            " --judge. With compare: two prediction files; with grade: one."
        ),
    ],
    judge: Annotated[
        str, typer.Option("--judge", help="Judge now: address of an OpenAI-compatible server, or a local model (weak).")
    ] = "",
    model: Annotated[str, typer.Option("--model", help="The judge's name as the server knows it.")] = "",
    labels: Annotated[
        Path | None, typer.Option("--labels", help="With compare: people's labels of some of the pairs, as for calibrate.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the pairs with the verdicts, ready to label.")] = None,
    family: Annotated[
        list[str] | None, typer.Option("--family", help="Name of a system of the judge's own family; may be repeated.")
    ] = None,
    project: ProjectDir = Path("."),
    set_: Settings = None,
    json: Json = False,
) -> None:
    """`compare` exits with 3 if the win rate is not measured or the judge may not gate. The recipe's `judge` section has the
    rest: --set judge.rubric=FILE, --set judge.max_tokens_total=0 …"""
    from tunesmith.api.judges import calibrate_judge, judge_compare, judge_grade
    from tunesmith.cli.render import ConsoleReporter, console, print_json
    from tunesmith.core.errors import EvaluationError

    if len(files) != _NEEDED.get(action):
        raise EvaluationError(
            "judge can do three things",
            value=" ".join([action, *map(str, files)]),
            expected="calibrate and one file, compare and two prediction files, or grade and one",
            hint="tunesmith judge calibrate FILE.jsonl   or   tunesmith judge compare A.jsonl B.jsonl --judge URL --model NAME",
        )
    refuse_without_effect(context, _WITHOUT if action == "calibrate" and not judge else action, _TAKES)
    common: dict[str, Any] = {
        "judge": judge,
        "model": model,
        "project": project,
        "out": out,
        "settings": _settings(set_ or []),
        "reporter": ConsoleReporter(console()),
    }
    if action == "calibrate":
        found = calibrate_judge(files[0], family=family or (), **common)
        print_json(found.as_dict()) if json else _print(found)
        return
    if not judge:
        raise EvaluationError(
            "no judge is named",
            value=f"judge {action} without --judge",
            expected="the address of an OpenAI-compatible server, or a local model",
            hint="--judge http://127.0.0.1:11434/v1 --model NAME",
        )
    if action == "grade":
        graded = judge_grade(files[0], **common)
        print_json(graded.as_dict()) if json else _print_grades(graded)
        return
    compared = judge_compare(files[0], files[1], labels=labels, **common)
    print_json(compared.as_dict()) if json else _print_compared(compared)
    if not compared.measured:
        sys.exit(3)


def _settings(overrides: list[str]) -> dict[str, Any]:
    """`NAME=VALUE` as the recipe reads it."""
    import yaml

    return {name: yaml.safe_load(value) for name, _, value in (one.partition("=") for one in overrides)}


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
    title, out = f"{figures['n']} labelled pairs, {figures['prompts']} prompts", console()
    if rows:
        table(title, ["", "", "interval", "pairs"], rows)
        _matrix(figures["confusion"])
    else:
        out.print(f"  {title}; no verdict was parsed", style="bold")
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
    for name, one in figures["points"].items():
        if one["changed"] is not None:
            shares = f"changed {100 * one['changed']:.1f} %, reversed {100 * one['reversed']:.1f} %"
            out.print(f"  {name}, by the order of the answers: {shares}", style="dim")
    if found.work is not None:
        _work(found.work.as_dict())
    out.print(f"  {'MAY GATE' if found.may_gate else 'MAY NOT GATE'}: {found.why}", style="bold")


def _print_compared(found: JudgeComparison) -> None:
    from tunesmith.cli.render import console

    out = console()
    _rates([found.win_rate.as_dict()])
    if found.calibration is not None:
        c = found.calibration.as_dict()
        out.print(f"  the judge on {c['n']} labels: κ {_range(c['kappa'])}; people among themselves {_range(c['ceiling'])}")
        verdict = "MAY GATE" if found.calibration.may_gate else "MAY NOT GATE"
        out.print(f"  {verdict}: {found.calibration.why}", style="bold")
    _work(found.work.as_dict())
    if found.next_labels:
        out.print(f"  label next: {', '.join(one.id for one in found.next_labels)}")


def _print_grades(found: JudgeGrades) -> None:
    from tunesmith.cli.render import console, table

    figures = found.as_dict()
    rows = [[name, *_figure(one, 1)] for name, one in [*figures["points"].items(), ("mean", figures["mean"])] if one["n"]]
    table(f"{found.n} answers, rubric {found.rubric}, grades from 1 to 5", ["", "", "interval", "answers"], rows)
    console().print(f"  not graded: {found.unparsed}; grades of a judge compare runs, they decide nothing", style="dim")
    _work(figures["judge"])


def _range(one: dict[str, Any]) -> str:
    if one["value"] is None:
        return "not measured"
    return f"{one['value']:.2f}" + (f" ({one['ci'][0]:.2f} to {one['ci'][1]:.2f})" if one["ci"] else "")


def _work(work: dict[str, Any]) -> None:
    from tunesmith.cli.render import console

    text = f"  judge: {work['name']}{', weak: a model of this machine' if work['weak'] else ''}; {work['requests']:,} replies, "
    text += f"{work['tokens']:,} tokens, {work['paid']:,} paid now"
    if work["withheld"]:
        text += f"; {work['withheld']:,} sentences that speak to a language model were not shown to it"
    console().print(text, style="dim")


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
