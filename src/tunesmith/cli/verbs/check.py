"""Find faults in examples, and leaks between splits. Example: tunesmith check train.jsonl test.jsonl"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import Json

if TYPE_CHECKING:
    from tunesmith.api.checking import CheckResult

__all__ = ["command"]

_NUM_SHOWN = 3


def command(  # noqa: PLR0913 (the options of a verb)
    files: Annotated[list[Path], typer.Argument(help="A file of examples, or the splits of one dataset, one file per split.")],
    base: Annotated[str, typer.Option("--base", help="Count tokens, cuts and labels with this model's tokenizer.")] = "",
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=0, help="Maximum tokens per example; 0: the recipe's default.")
    ] = 0,
    against: Annotated[Path | None, typer.Option("--against", help="Real queries to compare the prompts with.")] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Write a copy without secrets and personal data to --out.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="File for the redacted copy.")] = None,
    cap: Annotated[
        float, typer.Option("--cap", min=0.01, max=1.0, help="Maximum share of the rows that may come from one document.")
    ] = 0.2,
    semantic: Annotated[
        str, typer.Option(help="Find paraphrases between splits: words, embeddings, or the folder of a sentence encoder.")
    ] = "",
    json: Json = False,
) -> None:
    """Exit code 2 if a finding is an error. The JSON object is a contract (docs/reference/scripting.md)."""
    from tunesmith.api.checking import check
    from tunesmith.cli.render import ConsoleReporter, console, print_json
    from tunesmith.core.errors import SourceError

    if redact != (out is not None):
        hint = f"{shlex.join(['tunesmith', 'check', str(files[0])])} --redact --out clean.jsonl"
        raise SourceError("--redact and --out go together", value="--redact", expected="a file to write to", hint=hint)
    result = check(
        *files,
        base=base,
        max_tokens=max_tokens,
        against=against,
        redact_to=out,
        cap=cap,
        semantic=semantic,
        reporter=ConsoleReporter(console()),
    )
    if json:
        print_json(result.as_dict())
    else:
        _show(result)
    if result.blocked:
        sys.exit(2)


def _show(result: CheckResult) -> None:
    from tunesmith.cli.render import console, table

    out, summary = console(), result.summary
    out.print("  " + " · ".join(f"{count:,} {name}" for name, count in result.sizes.items()))
    topics = [f"{topic['name']} {topic['share']:.0%}" for topic in summary["topics"][:4]]
    for name, text in (
        ("languages", ", ".join(f"{language} {count:,}" for language, count in summary["languages"].items())),
        ("topics", "; ".join(topics)),
        ("tokens", _tokens_line(result)),
        ("redacted", ", ".join(f"{kind} {count:,}" for kind, count in summary.get("redacted", {}).items())),
    ):
        if text:
            out.print(f"  {name:<10}{text}")
    if not result.findings:
        out.print("  no faults found")
        return
    lines = []
    for finding in result.findings:
        first = ", ".join(result.places.get(row, row[:80]) for row in finding.rows[:_NUM_SHOWN])
        more = ", …" if finding.count > _NUM_SHOWN else ""
        fix = f"→ {finding.fix}" if finding.fix else ""
        text = "\n".join(line for line in (finding.reason, fix, f"  {first}{more}") if line.strip())
        lines.append([finding.severity, finding.name, f"{finding.count:,}", text])
    table("", ["severity", "finding", "count", "what, what to do (→), where"], lines)
    out.print("  what each finding means: docs/reference/checks.md")


def _tokens_line(result: CheckResult) -> str:
    if result.tokens is None:
        return ""
    tokens, total = result.summary["tokens"], len(result.tokens.lengths)
    return (
        f"{tokens['smallest']:,} to {tokens['largest']:,}, middle {tokens['median']:,.0f}, with {tokens['base']}; "
        f"{tokens['cut']:,} cut at {tokens['limit']:,}; end token in {tokens['with_end']:,}/{total:,}"
    )
