"""How good a dataset is, on its page: the answers at a glance, what the checks found, and what the examples are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tunesmith.core.page import Raw, badge, folded, scrolling, section, table, text
from tunesmith.core.records import Example, Finding
from tunesmith.data.checks.rows import FIX, Row, rows_from_examples
from tunesmith.data.checks.run import check_rows
from tunesmith.data.checks.summary import summarize

__all__ = ["Quality", "glance", "measure_quality", "quality_section", "quality_sentence"]

_TONES = {"error": "bad", "warning": "unsure", "info": "unsure"}
_WORDS = {"error": "fix", "warning": "review", "info": "note"}
_MAX_ROWS = 50


@dataclass(frozen=True, slots=True)
class Quality:
    """What all checks found over all splits together, worst first, and the set in figures."""

    findings: tuple[Finding, ...]
    summary: Mapping[str, Any]

    def report(self) -> dict[str, Any]:
        """As report.json holds it."""
        findings = [{**asdict(finding), "rows": list(finding.rows)} for finding in self.findings]
        return {"findings": findings, "summary": dict(self.summary)}


def measure_quality(
    splits: Mapping[str, Sequence[Example]], *, look: Callable[[Sequence[Row]], tuple[Finding, ...]] = check_rows
) -> Quality:
    """Run all checks, or those of `look`, over all splits together."""
    rows = rows_from_examples([example for examples in splits.values() for example in examples])
    return Quality(look(rows), summarize(rows))


def quality_sentence(quality: Mapping[str, Any]) -> str:
    """What the checks found, in one sentence: the worst by name."""
    worst = [finding for finding in quality["findings"] if finding["severity"] != "info"]
    if not worst:
        return "The checks found no errors."
    named = ", ".join(f"{finding['name'].replace('_', ' ')} ({finding['count']:,})" for finding in worst[:3])
    more = f" and {len(worst) - 3} more" if len(worst) > 3 else ""
    return f"The checks ask you to review {named}{more}."


def glance(report: Mapping[str, Any]) -> Raw:
    """Five answers in a row: how much, how good, does it leak, what was dropped, what is learned."""
    findings = report["quality"]["findings"]
    errors = sum(finding["severity"] == "error" for finding in findings)
    warnings = sum(finding["severity"] == "warning" for finding in findings)
    leaks = sum(finding["count"] for finding in report["findings"] if finding["severity"] == "error")
    blind = any(finding["name"] == "no_source" for finding in report["findings"])
    dropped = sum(facts["count"] for facts in report["dropped"].values())
    examples = sum(facts["examples"] for facts in report["splits"].values())
    tokens = sum((facts["tokens"] or {}).get("total", 0) for facts in report["splits"].values())
    cut = report["cut"]
    tiles = [
        ("How much", f"{examples:,}", " · ".join(f"{facts['examples']:,} {name}" for name, facts in report["splits"].items())),
        (
            "How good",
            f"{errors + warnings}" if errors + warnings else "clean",
            f"kinds of fault: {errors} to fix, {warnings} to review" if errors + warnings else "no check found a fault",
        ),
        (
            "Does it leak",
            f"{leaks:,}" if leaks else "unknown" if blind else "no",
            "between the splits" if leaks else "rows name no document" if blind else "every two splits compared",
        ),
        ("Dropped", f"{dropped:,}", _reasons(report["dropped"])),
        (
            "Cut for length",
            "not measured" if cut is None else f"{int(cut.get('num_cut', 0)):,}",
            f"{tokens:,} tokens in all" if tokens else "no tokenizer was given",
        ),
    ]
    cells = "".join(
        f'<div class="card"><h4>{text(name)}</h4><div class="figure">{text(figure)}</div><small>{text(note)}</small></div>'
        for name, figure, note in tiles
    )
    return Raw(f'<div class="cards glance">{cells}</div>')


def _reasons(dropped: Mapping[str, Mapping[str, Any]]) -> str:
    if not dropped:
        return "nothing"
    most, facts = max(dropped.items(), key=lambda item: item[1]["count"])
    return f"mostly: {most} ({facts['count']:,})" if len(dropped) > 1 else most


def quality_section(quality: Mapping[str, Any]) -> Raw:
    """What the checks found with what to do, and the set in figures: topics, languages, variety, sources."""
    parts: list[str] = []
    findings = quality["findings"]
    if findings:
        rows = []
        for finding in findings:
            reason, _, fix = finding["message"].partition(FIX)
            what = Raw(f'{text(reason)}<br><span class="soft">{text(fix)}</span>')
            mark = badge(_WORDS[finding["severity"]], _TONES[finding["severity"]])
            rows.append([mark, finding["name"].replace("_", " "), what, f"{finding['count']:,}"])
        parts.append(table(["", "finding", "what it is, and what to do", "rows"], rows, numeric=[3]))
        listed = [
            f"{finding['name'].replace('_', ' ')}: {', '.join(finding['rows'][:_MAX_ROWS])}"
            + (f" and {len(finding['rows']) - _MAX_ROWS:,} more, in report.json" if len(finding["rows"]) > _MAX_ROWS else "")
            for finding in findings
        ]
        parts.append(folded("which rows", Raw("<ul>" + "".join(f"<li>{text(line)}</li>" for line in listed) + "</ul>")))
    else:
        parts.append(
            Raw("<p>Some thirty checks found no faults: turns, answers, copies, lengths, variety, damage, secrets.</p>")
        )
    figures = quality["summary"]
    if figures["topics"]:
        parts += [Raw("<h3>What the examples are about</h3>"), _bars([(t["name"], t["share"]) for t in figures["topics"]])]
        parts.append(Raw('<p class="soft">Topics are found by words that come together, and named by three of them.</p>'))
    parts.append(folded("in figures", _figures(figures)))
    return section("How good it is", *parts)


def _bars(shares: Sequence[tuple[str, float]]) -> Raw:
    most = max(share for _, share in shares)
    lines = "".join(
        f"<tr><td>{text(name)}</td>"
        f'<td class="bar"><span style="width:{100 * share / most:.1f}%"></span></td><td class="n">{share:.0%}</td></tr>'
        for name, share in shares
    )
    return scrolling(f'<table class="shares"><tbody>{lines}</tbody></table>')


def _figures(figures: Mapping[str, Any]) -> Raw:
    def counts(values: Mapping[str, int]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in values.items())

    def spread(values: Mapping[str, float] | None) -> str:
        return f"{values['smallest']:,.0f} – {values['median']:,.0f} – {values['largest']:,.0f}" if values else "none"

    distinct = ", ".join(f"distinct-{n} {value:.2f}" for n, value in figures["distinct"].items() if value is not None)
    rows = [
        ["characters of a prompt", spread(figures["prompt_characters"])],
        ["characters of an answer", spread(figures["answer_characters"])],
        ["languages of the answers", counts(figures["languages"])],
        ["licences", counts(figures["licences"])],
        ["sources", counts(figures["sources"])],
        ["largest document", f"{figures['largest_document_share']:.1%} of the rows"],
        ["exchanges in a row", counts(figures["exchanges"])],
        ["rows with a system prompt", f"{figures['with_system_prompt']:,}, in {figures['system_prompts']:,} wordings"],
        ["prompts that begin alike", f"{figures['template_share']:.1%} at most share three first words"],
        ["variety of the answers", distinct or "too few to say"],
    ]
    return table(["", "smallest – median – largest, or counts of rows"], rows)
