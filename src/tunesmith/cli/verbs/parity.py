"""Check whether two forms are the same model, and why not. Example: tunesmith parity run:latest model:latest"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from tunesmith.cli.options import Json, ProjectDir

if TYPE_CHECKING:
    from tunesmith.api.parity_check import ParityReport

__all__ = ["command"]

_WIDTH = 78
_SHOWN = 48  # characters of an answer


def command(
    a: Annotated[
        str, typer.Argument(help="The system that was tested: run:latest, a folder, an adapter's folder, BASE+ADAPTER.")
    ],
    b: Annotated[str, typer.Argument(help="The form to compare with it: model:latest, a folder.")],
    dataset: Annotated[str, typer.Option(help="Artifact or file with questions; by default the test split of A.")] = "",
    prompts: Annotated[int, typer.Option(min=0, help="Questions of the dataset, besides the fixed ones.")] = 24,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum tokens per greedy answer.")] = 64,
    precision: Annotated[str, typer.Option(help="Number type of B in this process: float32, bfloat16 or float16.")] = "float32",
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """The exit code is 0 if they are the same within the limits of the form, 2 if not, 3 if something was not measured."""
    from tunesmith.api.parity_check import parity
    from tunesmith.cli.render import ConsoleReporter, console, print_json

    if precision not in ("float32", "bfloat16", "float16"):
        raise typer.BadParameter("choose float32, bfloat16 or float16", param_hint="--precision")
    report = parity(
        a,
        b,
        project=project,
        dataset=dataset,
        prompts=prompts,
        max_new_tokens=max_new_tokens,
        precision=cast("Literal['float32', 'bfloat16', 'float16']", precision),
        reporter=ConsoleReporter(console()),
    )
    if json:
        print_json(report.as_dict())
    else:
        _print(report)
    sys.exit(report.exit_code)


def _print(report: ParityReport) -> None:
    from tunesmith.cli.render import table

    sys.stdout.write(f"\n  a  {report.a}\n  b  {report.b}\n\n")
    table("", ["", "found", "limit", ""], _rows(report))
    lines = [*_reading_lines(report), *_divergence_lines(report), *(f"\n  {note}" for note in report.notes)]
    words = {True: "the same model", False: "NOT the same model", None: "not measured"}
    lines.append(f"\n  {words[report.passed]}   judged as {report.form}")
    lines += [f"    {text}" for text in report.failed]
    lines += [f"    not measured: {text}" for text in report.missing]
    for cause in report.causes:
        lines += [f"\n  likely cause: {cause.name}", *_wrapped(cause.evidence), *_wrapped(f"hint: {cause.hint}")]
    sys.stdout.write("\n".join(lines) + "\n")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def _rows(report: ParityReport) -> list[list[str]]:
    prompts, limits, answers = report.prompts, report.limits, report.answers
    count = "not measured" if prompts.tokens_equal is None else f"{prompts.num_tokens_equal} of {prompts.num_prompts}"
    template = {True: "equal", False: "different", None: "not measured"}[prompts.template_equal]
    rows = [
        ["token ids of the prompts", count, "all equal", _mark(prompts.tokens_equal)],
        ["template rendering", template, "equal", _mark(prompts.template_equal)],
        *_apart_rows(report),
    ]
    if answers is None:
        return [*rows, ["greedy answers", "not measured", "", "?"]]
    noise = "" if limits is None else f", gap > {limits.noise:.2g}"
    unexplained, other = len(answers.unexplained), len(answers.other_ends)
    return [
        *rows,
        ["greedy answers", f"{answers.num_equal} of {answers.num_answers} equal", "reported", ""],
        [f"diverge unexplained{noise}", str(unexplained), "0", _mark(None if limits is None else not unexplained)],
        ["that end in one only", str(other), "0", _mark(not other)],
    ]


def _apart_rows(report: ParityReport) -> list[list[str]]:
    apart, limits = report.apart, report.limits
    if apart is None:
        return [["next-token distributions", "not measured", "", "?"]]
    if apart.what == "answers":
        return [["next-token distributions", "not measured", "", "?"], *_choice_rows(report)]
    what = "logit" if apart.what == "logits" else "log-probability"
    logit = limits.max_logit if limits is not None and apart.what == "logits" else None
    rows = [
        [f"largest {what} difference", f"{apart.max_abs:.2g}", *_at_most(apart.max_abs, logit, logit is None)],
        [f"mean {what} difference", f"{apart.mean_abs:.2g}", "reported", ""],
    ]
    if apart.mean_kl is not None:
        kl = None if limits is None else limits.mean_kl
        rows.append(["mean KL, nats per position", f"{apart.mean_kl:.2g}", *_at_most(apart.mean_kl, kl, False)])
    if apart.top1 is not None:
        share = f"{100 * apart.top1:.2f} % of {apart.num_positions}"
        limit = ["", "?"] if limits is None else [f"≥ {100 * limits.top1:g} %", _mark(apart.top1 >= limits.top1)]
        rows.append(["same first choice", share, *limit])
    if apart.perplexity_ratio is not None:
        rows.append(["perplexity of references, b / a", f"{apart.perplexity_ratio:.4f}", "reported", ""])
    return rows


def _choice_rows(report: ParityReport) -> list[list[str]]:
    """Of a server that gives answers alone: what it wrote under the tested model."""
    apart, limits = report.apart, report.limits
    if apart is None:
        return []
    share, least = apart.top1 or 0.0, None if limits is None else limits.top1
    limit = ["", "?"] if least is None else [f"≥ {100 * least:g} %", _mark(share >= least)]
    return [
        ["tokens of b that a chooses first", f"{100 * share:.2f} % of {apart.num_positions}", *limit],
        ["the others: mean gap, nats", f"{apart.mean_abs / max(1e-9, 1 - share):.2g}", "reported", ""],
    ]


def _at_most(value: float, limit: float | None, is_reported: bool) -> list[str]:
    if limit is None:
        return ["reported", ""] if is_reported else ["", "?"]
    return [f"≤ {limit:g}", _mark(value <= limit)]


def _reading_lines(report: ParityReport) -> list[str]:
    first = report.prompts.first
    if first is None:
        return []
    return [f"\n  prompt {first['prompt']} is read as", *(f"    {name}  {_cut(first[name])}" for name in ("a", "b"))]


def _divergence_lines(report: ParityReport) -> list[str]:
    """The first answers that part, one above the other from shortly before; unexplained ones come first."""
    if report.answers is None or not report.answers.divergences:
        return []
    one = [*report.answers.other_ends, *report.answers.unexplained, *report.answers.divergences][0]
    place = "the answers differ" if one.at is None else f"answers diverge after {one.at} equal tokens"
    gap = "" if one.margin is None else f", next tokens {one.margin:.2g} nats apart"
    same = next((n for n, (x, y) in enumerate(zip(one.a, one.b, strict=False)) if x != y), min(len(one.a), len(one.b)))
    begin = max(0, same - 24)
    lines = [f"\n  prompt {one.prompt}: {place}{gap}"]
    for name, text, token in (("a", one.a, one.a_next), ("b", one.b, one.b_next)):
        lines.append(f"    {name}  {'…' if begin else ''}{_cut(text[begin:])}   next {token!r}")
    return lines


def _mark(value: bool | None) -> str:
    return {True: "ok", False: "FAIL", None: "?"}[value]


def _cut(text: str) -> str:
    """On one line, and no longer than leaves room for the rest of it."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
