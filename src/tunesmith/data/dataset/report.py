"""The dataset's report: the answer first (how much, does it leak, what was dropped), then the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from types import MappingProxyType
from typing import Any

from tunesmith.core.page import Raw, badge, card, folded, histogram, page, section, table, text
from tunesmith.core.records import Example, Failure, Finding
from tunesmith.data.dataset.fit import Fit
from tunesmith.data.dataset.origin_section import origin_section
from tunesmith.data.dataset.report_fit import fit_section
from tunesmith.data.dataset.report_quality import Quality, glance, quality_section, quality_sentence
from tunesmith.data.synth.page import synthesis_section
from tunesmith.data.synth.shares import origins
from tunesmith.data.text.words import num_words

__all__ = ["dataset_report"]

_TONES = {"error": "bad", "warning": "unsure", "info": "unsure"}
_WORDS = {"error": "leak", "warning": "review", "info": "note"}
_MAX_FAILURES = 50


def dataset_report(  # noqa: PLR0913 (plain values from a caller who has the tokenizer)
    splits: Mapping[str, Sequence[Example]],
    *,
    dropped: Mapping[str, int],
    dropped_samples: Mapping[str, Sequence[str]],
    findings: Sequence[Finding],
    quality: Quality,
    failures: Sequence[Failure | Mapping[str, Any]] = (),
    token_lengths: Mapping[str, Sequence[int]] | None = None,
    rendered: Sequence[Sequence[tuple[str, bool]]] = (),
    cut: Mapping[str, Any] | None = None,
    documents: int | None = None,
    origin: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    synthesis: Mapping[str, Any] | None = None,
    sections: Sequence[str] = (),
    not_looked_for: Sequence[str] = (),
    fits: Sequence[Fit] = (),
    dropped_words: Mapping[str, int] = MappingProxyType({}),
) -> tuple[dict[str, Any], str]:
    """(report.json as a dict, report.html as a string) of a dataset.

    `token_lengths`: tokens of each example by split, if there is a tokenizer. `rendered`: examples as (text, learned?) pieces.
    `cut`: `num_cut`, `share` (of learned tokens lost), `examples`; None: not measured. `documents`: how many were read.
    `origin`: what `origin_facts` says of them. `synthesis`: what came of a language model's work, if one wrote here.
    `sections`: further parts of the page, as HTML that is safe already. `findings`: leaks between the splits and what else was
    found beside `quality`, the findings of the checks.
    `not_looked_for`: leaks that no search looked for. `fits`: how well the questions fit, by one or more methods.
    `dropped_words`: how many words were dropped for each reason, where documents were cut.
    """
    rows = [failure if isinstance(failure, Mapping) else asdict(failure) for failure in failures]
    report: dict[str, Any] = {
        "verdict": _verdict(splits, findings, dropped, cut),
        "quality_sentence": quality_sentence(quality.report()),
        "quality": quality.report(),
        "documents_read": documents,
        "documents": dict(origin) if origin is not None else None,
        "splits": {name: _facts(name, examples, token_lengths) for name, examples in splits.items()},
        "dropped": {
            reason: {"count": count, "words": dropped_words.get(reason), "samples": list(dropped_samples.get(reason, ()))}
            for reason, count in dropped.items()
        },
        "cut": dict(cut) if cut is not None else None,
        "fits": [fit.report() for fit in fits],
        "findings": [asdict(finding) for finding in findings],
        "not_looked_for": list(not_looked_for),
        "failures": [dict(row) for row in rows],
        "notes": list(notes),
        "origins": origins(splits),
        "synthesis": dict(synthesis) if synthesis is not None else None,
        "rendered": [[{"text": piece, "learned": learned} for piece, learned in example] for example in rendered],
    }
    return report, _page(report, splits, token_lengths or {}, rendered, sections)


def _facts(name: str, examples: Sequence[Example], token_lengths: Mapping[str, Sequence[int]] | None) -> dict[str, Any]:
    tokens = (token_lengths or {}).get(name)
    return {
        "examples": len(examples),
        "documents": len({example.group for example in examples}),
        "answer_words": _spread([num_words(example.answer) for example in examples]),
        "tokens": _spread(tokens) if tokens else None,
    }


def _spread(values: Sequence[int]) -> dict[str, float] | None:
    if not values:
        return None
    return {"total": sum(values), "smallest": min(values), "median": median(values), "largest": max(values)}


def _verdict(
    splits: Mapping[str, Sequence[Example]],
    findings: Sequence[Finding],
    dropped: Mapping[str, int],
    cut: Mapping[str, Any] | None,
) -> str:
    """The page in one or two sentences."""
    total = sum(map(len, splits.values()))
    groups = len({example.group for examples in splits.values() for example in examples})
    said = sum(num_words(example.answer) for examples in splits.values() for example in examples)
    leaks = sum(finding.count for finding in findings if finding.severity == "error")
    blind = any(finding.name == "no_source" for finding in findings)
    source = "rows that name no document" if blind and groups == total else _count(groups, "document")
    parts = [f"{_count(total, 'example')} from {source}, {_count(said, 'word')} to learn from"]
    if leaks:
        parts.append(f"{_count(leaks, 'leak')} between the splits")
    else:
        parts.append(
            "no copies between the splits, but more cannot be seen without documents"
            if blind
            else "no leaks between the splits"
        )
    gone = sum(dropped.values())
    parts.append(f"{_count(gone, 'piece')} dropped" if gone else "no rows dropped")
    generated = sum(e.origin is not None and e.origin.generated != "prompt" for rows in splits.values() for e in rows)
    if generated:
        parts.append(f"{generated / total:.0%} of the answers written by a model")
    if cut is not None:
        num_cut = int(cut.get("num_cut", 0))
        parts.append(f"{_count(num_cut, 'example')} cut for length" if num_cut else "no rows cut")
    return "; ".join(parts) + "."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _page(
    report: Mapping[str, Any],
    splits: Mapping[str, Sequence[Example]],
    token_lengths: Mapping[str, Sequence[int]],
    rendered: Sequence[Sequence[tuple[str, bool]]],
    further: Sequence[str],
) -> str:
    leaks = [finding for finding in report["findings"] if finding["severity"] == "error"]
    blind = any(finding["name"] == "no_source" for finding in report["findings"])
    mark = (
        badge("leaks", "bad") if leaks else badge("sources not known", "unsure") if blind else badge("no leaks found", "good")
    )
    lead = f'<p class="lead">{text(report["verdict"])}</p><p>{text(report["quality_sentence"])}</p>'
    head = Raw(f"<header>{mark}<h1>Dataset</h1>{lead}</header>")
    origin = origin_section(
        report["documents"],
        documents=report["documents_read"],
        notes=report["notes"],
        failures=len(report["failures"]),
        dropped={reason: facts["count"] for reason, facts in report["dropped"].items()},
        splits={name: facts["examples"] for name, facts in report["splits"].items()},
    )
    sections = [
        head,
        glance(report),
        origin,
        _learned_section(rendered),
        quality_section(report["quality"]),
        fit_section(report["fits"]),
        _findings_section(report),
    ]
    sections += [synthesis_section(report, splits), *further, _size_section(report, splits, token_lengths)]
    sections += [_dropped_section(report), _failures_section(report), _samples_section(splits)]
    return page("Dataset", [part for part in sections if part])


def _learned_section(rendered: Sequence[Sequence[tuple[str, bool]]]) -> str:
    if not rendered:
        return ""
    cards = []
    for number, pieces in enumerate(rendered, 1):
        body = "".join(f'<span class="learned">{text(piece)}</span>' if learned else text(piece) for piece, learned in pieces)
        cards.append(card(f"Example {number}", Raw(body)))
    note = Raw(
        '<p class="soft">The model learns what is <span class="learned">underlined on colour</span>, and reads the rest.</p>'
    )
    return section("As the model sees it", note, Raw(f'<div class="cards">{"".join(cards)}</div>'))


def _size_section(
    report: Mapping[str, Any], splits: Mapping[str, Sequence[Example]], token_lengths: Mapping[str, Sequence[int]]
) -> str:
    unit = "tokens" if any(token_lengths.values()) else "words"
    rows = []
    for name, facts in report["splits"].items():
        answer, tokens = facts["answer_words"], facts["tokens"]
        rows.append(
            [
                name,
                f"{facts['documents']:,}",
                f"{facts['examples']:,}",
                _range(answer),
                f"{answer['total']:,}" if answer else "0",
                _range(tokens),
            ]
        )
    parts: list[str] = [
        table(
            ["split", "documents", "examples", "words an answer", "words in all", "tokens an example"],
            rows,
            numeric=range(1, 6),
        )
    ]
    parts.append(Raw('<p class="soft">Ranges are smallest – median – largest.</p>'))
    if report["documents_read"] is not None:
        used = len({example.group for examples in splits.values() for example in examples})
        parts.append(Raw(f'<p class="soft">{_count(report["documents_read"], "document")} read, {used:,} used.</p>'))
    for name, examples in splits.items():
        values: Sequence[float] = token_lengths.get(name) or [num_words(example.answer) for example in examples]
        if values:
            parts.append(Raw(f"<h3>{text(name)}: {unit} {'an example' if unit == 'tokens' else 'an answer'}</h3>"))
            parts.append(histogram(values, unit=unit))
    return section("How much there is", *parts)


def _range(spread: Mapping[str, float] | None) -> str:
    return f"{spread['smallest']:,.0f} – {spread['median']:,.0f} – {spread['largest']:,.0f}" if spread else "not measured"


def _findings_section(report: Mapping[str, Any]) -> str:
    findings = [f for f in report["findings"] if f["name"] != "real_share"]  # told where generated text is
    missing = [Raw(f"<p>Not looked for: {text('; '.join(report['not_looked_for']))}.</p>")] if report["not_looked_for"] else []
    if not findings:
        clean = "<p>Every two splits were compared: no shared document, no exact or near copy, no shared prompt.</p>"
        return section("Leaks", Raw(clean), *missing)
    rows = [
        [badge(_WORDS[f["severity"]], _TONES[f["severity"]]), f["name"].replace("_", " "), f["message"], f"{f['count']:,}"]
        for f in findings
    ]
    parts: list[str] = [table(["", "finding", "what it means", "count"], rows, numeric=[3])]
    parts += [folded(f"{f['name'].replace('_', ' ')}: the rows", _lines(f["rows"])) for f in findings if f["rows"]]
    return section("Leaks", *parts, *missing)


def _dropped_section(report: Mapping[str, Any]) -> str:
    parts: list[str] = []
    if report["dropped"]:
        rows = [
            [reason, f"{facts['count']:,}", f"{words:,}" if (words := facts.get("words")) is not None else "not counted"]
            for reason, facts in sorted(report["dropped"].items(), key=lambda item: -item[1]["count"])
        ]
        parts.append(table(["reason", "pieces", "words"], rows, numeric=[1, 2]))
        parts += [
            folded(f"{reason}: samples", _lines(facts["samples"]))
            for reason, facts in report["dropped"].items()
            if facts["samples"]
        ]
    else:
        parts.append(Raw("<p>No rows were dropped.</p>"))
    cut = report["cut"]
    if cut is None:
        parts.append(Raw('<p id="cut" class="soft">Whether examples are too long for the model was not measured.</p>'))
    else:
        share = float(cut.get("share", 0.0))
        num_cut = _count(int(cut.get("num_cut", 0)), "example")
        parts.append(Raw(f'<p id="cut">{num_cut} cut for length: {share:.2%} of the tokens to learn.</p>'))
        if cut.get("examples"):
            parts.append(folded("which were cut", _lines([_one(entry) for entry in cut["examples"]])))
    return section("What was dropped, and why", *parts)


def _one(entry: object) -> str:
    return " · ".join(map(str, entry)) if isinstance(entry, list | tuple) else str(entry)


def _failures_section(report: Mapping[str, Any]) -> str:
    failures, notes = report["failures"], report["notes"]
    if not failures and not notes:
        return ""
    parts: list[str] = []
    if failures:
        shown = [[row["source"], row["reason"]] for row in failures[:_MAX_FAILURES]]
        parts.append(table(["source", "why it could not be used"], shown))
        if len(failures) > _MAX_FAILURES:
            parts.append(Raw(f'<p class="soft">and {len(failures) - _MAX_FAILURES:,} more, all in report.json</p>'))
    if notes:
        parts.append(folded("left out on purpose", _lines(notes)))
    return section("What could not be read", *parts)


def _samples_section(splits: Mapping[str, Sequence[Example]]) -> str:
    """Some examples of each split, evenly spaced, to be read as they are."""
    parts: list[str] = []
    for name, examples in splits.items():
        step = max(1, len(examples) // 3)
        cards = [card(f"{_last_prompt(example)}", example.answer) for example in list(examples)[::step][:3]]
        if cards:
            parts.append(
                folded(f"{name}: {len(cards)} of {len(examples):,}", Raw('<div class="cards">' + "".join(cards) + "</div>"))
            )
    return section("To read", *parts) if parts else ""


def _last_prompt(example: Example) -> str:
    return next((message.content for message in reversed(example.prompt) if message.role == "user"), "")


def _lines(values: Sequence[str]) -> Raw:
    return Raw("<ul>" + "".join(f"<li>{text(value)}</li>" for value in values) + "</ul>")
