"""The page and the JSON of an evaluation: the verdict and the one figure that decides first, the raw numbers last.

Every number can be hovered for n and method. Both are pure functions of what was measured: same input, same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tunesmith.core.artifacts import folder_of
from tunesmith.core.page import Raw, badge, card, folded, page, section, table, text
from tunesmith.core.records import Generation
from tunesmith.eval.figures import A_TOKEN, LOSS_UNIT, MOST_DOTS, Strip, difference_figure, distribution_figure, training_figure
from tunesmith.eval.floors import FLOORS
from tunesmith.eval.ladder import ladder_section
from tunesmith.eval.measure import Comparison, Measurements
from tunesmith.eval.measured import improvement
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.metrics.text import num_words
from tunesmith.eval.numbers import percent, signed
from tunesmith.eval.people_page import people_section
from tunesmith.eval.report_cells import gain_rows, share_cell, summary_cell, tip
from tunesmith.eval.report_judge import judge_section
from tunesmith.eval.report_proof import slices_of, slices_section, suites_section
from tunesmith.eval.report_values import report_values
from tunesmith.eval.report_voice import voice_section
from tunesmith.eval.results import Evidence, SystemRun
from tunesmith.eval.verdict import Verdict
from tunesmith.systems.registry import by_role, title_of

__all__ = ["chosen_examples", "evaluation_report"]

_TONES = {"SHIP": "good", "DON'T SHIP": "bad", "CAN'T TELL": "unsure", "pass": "good", "fail": "bad", "not measured": "unsure"}
_REASONS = 3  # gates that did not pass, under the headline
_FOUR = "grid-template-columns:repeat(auto-fit,minmax(13rem,1fr))"


def evaluation_report(evidence: Evidence, measurements: Measurements, verdict: Verdict) -> tuple[dict[str, Any], str]:
    """`report.json` as plain values, and `report.html` as one page without script or network."""
    examples = chosen_examples(measurements, [item.id for item in evidence.items])
    parts = [
        _top(measurements, verdict),
        _compared(evidence, measurements),
        _examples(evidence, measurements, examples),
        _training(evidence),
        _gates(verdict),
        people_section(evidence, measurements),
        judge_section(evidence, measurements, _gains(measurements, "base", "tuned")),
        _scores(measurements),
        voice_section(measurements.voice),
        _floors(measurements),
        suites_section(measurements),
        slices_section(slices_of(evidence, measurements), measurements.primary),
        ladder_section(evidence, measurements),
        _pictures(evidence, measurements),
        _folded(evidence, measurements),
    ]
    return report_values(evidence, measurements, verdict, examples), page(f"{verdict.verdict} · Tunesmith evaluation", parts)


def chosen_examples(measurements: Measurements, ids: Sequence[str]) -> list[tuple[str, int]]:
    """Which items to show, as (why, position): best, worst and median gain in the primary metric, two at random (seeded)."""
    gains = _gains(measurements, "base", "tuned")
    ranked = sorted((i for i, gain in enumerate(gains) if gain is not None), key=lambda i: (gains[i], ids[i]))
    chosen: list[tuple[str, int]] = []
    if ranked:
        worst = "least gain" if (gains[ranked[0]] or 0.0) > 0 else "largest loss"
        spots = {"largest gain": ranked[-1], worst: ranked[0], "median gain": ranked[len(ranked) // 2]}
        for why, place in spots.items():
            if place not in [taken for _, taken in chosen]:
                chosen.append((why, place))
    left = [i for i in range(len(ids)) if i not in [taken for _, taken in chosen]]
    drawn = np.random.default_rng([measurements.seed, len(ids)]).permutation(len(left))[:2]
    return chosen + [("at random", left[int(i)]) for i in drawn]


def _gains(measurements: Measurements, a: str, b: str) -> list[float | None]:
    """Per item, how much better b is than a in the primary metric; None where either is unscored or missing."""
    if a not in measurements.systems or b not in measurements.systems:
        return [None] * measurements.num_items
    sign = -1.0 if metric_named(measurements.primary).higher_is_better is False else 1.0
    scores_a, scores_b = (measurements.systems[name].scores[measurements.primary] for name in (a, b))
    return [None if x is None or y is None else sign * (y - x) for x, y in zip(scores_a, scores_b, strict=True)]


def _figure(svg: str, caption: str) -> Raw:
    return Raw(f'<figure class="light">{svg}</figure><p class="soft">{text(caption)}</p>')


def _top(measurements: Measurements, verdict: Verdict) -> Raw:
    info = metric_named(measurements.primary)
    strips = []
    for other in (kind.name for kind in (*by_role("reference"), *by_role("baseline"))):
        comparison = measurements.comparison(other, "tuned")
        if comparison is None:
            continue
        gain = improvement(comparison.differences[measurements.primary], measurements.primary)
        middle, low, high = gain or (None, None, None)
        values = tuple(v for v in _gains(measurements, other, "tuned") if v is not None)
        strips.append(Strip(label=f"tuned over\n{title_of(other)}", values=values, middle=middle, low=low, high=high))
    axis = f"gain in {info.label}; right of zero: the tuned model is better"
    primary = next(gate for gate in verdict.gates if gate.name == "better")
    caption = (
        f"One dot is one of {measurements.num_items} held-out items from {measurements.num_documents} documents; the bar is the"
        f" 95 % interval of the mean gain. {info.description}"
    )
    if measurements.detectable is not None:
        found = measurements.detectable + (primary.threshold or 0.0)
        caption += f" With this many documents, the rule below would detect a true gain of {found:.3f} with 80 % power."
    if primary.threshold:
        caption += (
            f" The dashed line is the margin of {primary.threshold:g}; the whole interval over the base must be above it."
        )
    if measurements.num_items > MOST_DOTS:
        caption += f" Only {MOST_DOTS} dots are drawn, evenly spaced by rank."
    picture = difference_figure(strips, axis=axis, margin=primary.threshold or 0.0)
    lines = _answers_line(measurements)
    lines += f'<p class="soft">Rule: {text(primary.rule)}. Result: {text(primary.evidence)}.</p>'
    missing = ", ".join(verdict.not_measured)
    first, _, more = verdict.sentence.partition(". ")
    first = f"{first}." if more else first
    return Raw(
        f"<header><p>{badge(verdict.verdict, _TONES[verdict.verdict])}</p><h1>{text(first)}</h1>"
        + (f"<p>{text(more)}</p>" if more else "")
        + _why_not(verdict)
        + f'<p class="soft">Not measured: {text(missing)}.</p></header>'
        + (_figure(picture, caption) if any(strip.values for strip in strips) else "")
        + lines
    )


def _why_not(verdict: Verdict) -> str:
    """What the first required gates that did not pass found: the figures behind a headline that is no SHIP."""
    short = [gate for gate in verdict.gates if gate.required and gate.state != "pass"]
    lines = "".join(f"<li>{text(gate.name)}, {gate.state}: {text(gate.evidence)}</li>" for gate in short[:_REASONS])
    rest = f"<li>and {len(short) - _REASONS} more, in the table of gates</li>" if len(short) > _REASONS else ""
    return f"<ul>{lines}{rest}</ul>" if short else ""


def _answers_line(measurements: Measurements) -> str:
    """Shares of answers that end, loop and repeat, base → tuned: sampled ones, and greedy ones in small print. Of plain texts
    the perplexity instead."""
    if measurements.perplexity is not None:
        found, level = measurements.perplexity, "95 % intervals by document"
        return f"<p>{text(f'Perplexity, base → tuned: {found.described} ({found.num_texts} texts, {level}).')}</p>"
    if "base" not in measurements.systems or "tuned" not in measurements.systems:
        return ""
    base, tuned = measurements.systems["base"], measurements.systems["tuned"]
    shares = {"ended by themselves": "ended", "looped": "loop", "repeated the answer to another question": "collapse"}
    shown, small = [], []
    for words, name in shares.items():
        a, b = getattr(base.answers, name), getattr(tuned.answers, name)
        shown.append(f"{words}: {percent(a)} → {percent(b)}")
        a, b = getattr(base.greedy, name), getattr(tuned.greedy, name)
        small.append(f"{words} {percent(a, interval=False)} → {percent(b, interval=False)}")
    greedy = f"<br><small>With greedy decoding: {text('; '.join(small))}.</small>" if _shows_greedy(measurements) else ""
    lead = f"Answers sampled at {measurements.use.words}, base → tuned"
    if measurements.use.is_plain_greedy:
        lead = "Greedy answers, base → tuned"
    return f"<p>{text(lead)}: {text('; '.join(shown))}.{greedy}</p>"


def _shows_greedy(measurements: Measurements) -> bool:
    """Whether greedy answers were generated in addition to sampled ones."""
    asked = any(system.greedy.ended.n for system in measurements.systems.values())
    return asked and not measurements.use.is_plain_greedy


def _compared(evidence: Evidence, measurements: Measurements) -> Raw:
    rows = []
    for system in measurements.systems.values():
        perplexity = (
            "–" if system.perplexity is None else tip(f"{system.perplexity:.2f}", "exp(nats per token) over all references")
        )
        rows.append(
            [
                title_of(system.name),
                system.label,
                tip(system.fingerprint[:12], f"hash of weights, adapter, template and settings: {system.fingerprint}"),
                summary_cell(system.summaries[measurements.primary], measurements.primary),
                perplexity,
                share_cell(system.answers.ended, system.greedy.ended),
                share_cell(system.answers.loop, system.greedy.loop),
                share_cell(system.answers.collapse),
                share_cell(system.answers.cut),
                share_cell(system.answers.empty),
            ]
        )
    head = [
        "system",
        "description",
        "fingerprint",
        metric_named(measurements.primary).label,
        "perplexity",
        "ended by itself",
        "loops",
        "same answer twice",
        "cut at limit",
        "empty",
    ]
    facts = [f"{measurements.num_items} items from {measurements.num_documents} documents, the same for every system"]
    facts += [f"{key.replace('_', ' ')}: {value}" for key, value in evidence.numbers.items()]
    return section(
        "What was compared",
        f"<p>{text(_how_drawn(measurements))}</p>",
        table(head, rows, numeric=range(3, 10)),
        f'<p class="soft">{text("; ".join(facts))}.</p>',
        _origins(evidence),
    )


def _how_drawn(measurements: Measurements) -> str:
    """The sampling settings in one sentence."""
    use = measurements.use
    draws = f", {use.draws} answers per question, seed {use.seed}" if use.num_draws > 1 else ""
    how = f" ({use.how})" if use.how not in ("", use.words) else ""
    small = " The small figures are for greedy decoding; chat models are rarely used that way, so they are only for diagnosis."
    return f"Sampling: {use.words}{draws}{how}." + (small if _shows_greedy(measurements) else "")


def _origins(evidence: Evidence) -> str:
    links = []
    for kind, id in evidence.ids.items():
        shown = f"{text(kind)} {text(id[:8])}"
        page = f"../../{text(folder_of(kind))}/{text(id[:16])}/manifest.json"
        links.append(f'<a style="color:var(--accent)" href="{page}">{shown}</a>')
    return f'<p class="soft">From: {", ".join(links)}.</p>' if links else ""


def _examples(evidence: Evidence, measurements: Measurements, chosen: Sequence[tuple[str, int]]) -> Raw:
    gains = _gains(measurements, "base", "tuned")
    answers = {run.name: _first_answers(run) for run in evidence.systems}
    forms = [kind.name for kind in by_role("form")]
    parts = []
    for why, place in chosen:
        item, gain = evidence.items[place], gains[place]
        said = "" if gain is None else f", {signed(gain)} {metric_named(measurements.primary).unit}"
        cards = [card("reference: what the author wrote", item.reference)]
        for name, by_item in answers.items():
            answer, tuned = by_item.get(item.id), answers.get("tuned", {}).get(item.id)
            if answer is None or (name in forms and tuned is not None and answer.text == tuned.text):
                continue
            cut = ", cut at the limit" if answer.finish_reason == "length" else ""
            cards.append(card(f"{title_of(name)}{cut}", answer.text))
        if any(by_item.get(item.id) for by_item in answers.values()):
            parts.append(f"<h3>{text(why)}{text(said)} · {text(item.title or item.group)}</h3>")
            parts.append(f"<p>{text(item.question)}</p>")
            parts.append(f'<div class="cards" style="{_FOUR}">{"".join(cards)}</div>')
    note = (
        "Chosen by their gain in the primary metric, plus two at random so that not only extremes are shown. Every answer is"
        f" the first of those sampled ({measurements.use.words})."
    )
    return section(
        "Answers side by side", f'<p class="soft">{text(note)}</p>', *(parts or ["<p>No answers were generated.</p>"])
    )


def _first_answers(run: SystemRun) -> dict[str, Generation]:
    """The first sampled answer to each item."""
    found: dict[str, Generation] = {}
    for generation in sorted(run.generations, key=lambda g: g.draw or 0):
        found.setdefault(generation.item_id, generation)
    return found


def _training(evidence: Evidence) -> Raw:
    if not evidence.training:
        return section("How training went", "<p>Not measured: there is no training log.</p>")
    caption = "Thin: training loss per step. Thick: validation loss. The diamond marks the lowest one; those weights are used."
    reading = f"<p>{text(evidence.reading)}</p>" if evidence.reading else ""
    unit = str(evidence.numbers.get(LOSS_UNIT, A_TOKEN))
    return section("How training went", reading, _figure(training_figure(evidence.training, loss_unit=unit), caption))


def _gates(verdict: Verdict) -> Raw:
    rows = [
        [
            gate.name.replace("_", " "),
            "required" if gate.required else "advisory",
            badge(gate.state, _TONES[gate.state]),
            gate.rule,
            "; ".join(part for part in (gate.evidence, gate.warning and f"warning: {gate.warning}", gate.loosened) if part),
        ]
        for gate in verdict.gates
    ]
    note = "SHIP needs every required gate to pass. If one could not be measured, the verdict is CAN'T TELL."
    note += f" Evaluations on this test set so far: {verdict.looks}. {verdict.advice}"
    return section("Gates", table(["gate", "", "outcome", "rule", "result"], rows), f'<p class="soft">{text(note)}</p>')


def _scores(measurements: Measurements) -> Raw:
    systems = list(measurements.systems.values())
    rows = [
        [
            tip(info.label, info.description),
            *(summary_cell(system.summaries[name], name) for system in systems),
            max((system.summaries[name].n for system in systems), default=0),
        ]
        for name, info in measurements.metrics.items()
    ]
    parts: list[str] = [
        table(["mean [95 % interval]", *(title_of(s.name) for s in systems), "n"], rows, numeric=range(1, len(systems) + 2))
    ]
    main = measurements.comparison("base", "tuned")
    if main is not None:
        parts.append(f"<h3>Gain of tuned over {title_of('base')} (positive is better)</h3>")
        parts.append(_differences(main))
        note = "For lengths and distinct sequences neither direction is better, so the plain difference is shown."
        note += " p: sign-flip permutation test by document; Holm: the same, adjusted for all metrics of this table."
        parts.append(f'<p class="soft">{text(note)}</p>')
    return section("Scores", *parts)


def _differences(comparison: Comparison) -> Raw:
    head = ["metric", "gain [95 % interval]", "relative", "better on", "p", "p (Holm)"]
    return table(head, gain_rows(comparison), numeric=range(1, 6))


def _floors(measurements: Measurements) -> Raw:
    rows: list[list[object]] = []
    for name, summaries in measurements.floors.items():
        cells = [summary_cell(summaries[metric], metric) for metric in ("word_overlap", "rouge_l")]
        rows.append([FLOORS[name], *cells, summaries["word_overlap"].n])
    for system in measurements.systems.values():
        cells = [summary_cell(system.summaries[metric], metric) for metric in ("word_overlap", "rouge_l")]
        rows.append([title_of(system.name), *cells, system.summaries["word_overlap"].n])
    note = "Scores of trivial answers that need no understanding. A score means something only if it is well above them."
    return section(
        "Floors",
        f'<p class="soft">{text(note)}</p>',
        table(["answer", "word overlap", "ROUGE-L", "n"], rows, numeric=range(1, 4)),
    )


def _pictures(evidence: Evidence, measurements: Measurements) -> Raw:
    def strips(metric: str) -> list[Strip]:
        return [
            Strip(label=title_of(s.name), values=tuple(v for v in s.scores[metric] if v is not None))
            for s in measurements.systems.values()
        ]

    metrics = list(dict.fromkeys([measurements.primary, "bits_per_byte", "word_overlap"]))[:2]
    reference = Strip(label="reference", values=tuple(float(num_words(item.reference)) for item in evidence.items))
    return section(
        "Distributions",
        _figure(
            distribution_figure({metric_named(name).label: strips(name) for name in metrics}),
            "One dot per item; the box spans the middle half, the line in it is the median.",
        ),
        _figure(
            distribution_figure({"words in the answer": [reference, *strips("answer_words")]}),
            "Lengths of the answers and of what the author wrote. If a gain comes from length alone, it shows here.",
        ),
    )


def _folded(evidence: Evidence, measurements: Measurements) -> Raw:
    parts = []
    for comparison in measurements.comparisons:
        if (comparison.a, comparison.b) != ("base", "tuned"):
            parts.append(folded(f"Gain of {title_of(comparison.b)} over {title_of(comparison.a)}", _differences(comparison)))
    matched = [c for c in measurements.comparisons if c.b == "tuned"]
    for comparison in matched:
        title = f"With the longer answer cut to the reference's length: gain of tuned over {title_of(comparison.a)}"
        rows = gain_rows(comparison, matched=True)
        parts.append(folded(title, table(["metric", "gain [95 % interval]", "relative", "better on", "p", "p (Holm)"], rows)))
    rows_of_items = [
        [
            item.title or item.group,
            item.id[:16],
            *(_number(s.scores[measurements.primary][i]) for s in measurements.systems.values()),
        ]
        for i, item in enumerate(evidence.items)
    ]
    head = ["document", "item", *(title_of(s.name) for s in measurements.systems.values())]
    title = f"Every item: {metric_named(measurements.primary).label}"
    parts.append(folded(title, table(head, rows_of_items, numeric=range(2, len(head)))))
    meanings = [[info.label, info.unit, info.description] for info in measurements.metrics.values()]
    parts.append(folded("What the metrics mean", table(["metric", "unit", "meaning"], meanings)))
    how = (
        f"Means count every document as one. Intervals: bootstrap of documents (BCa, {measurements.draws} draws, seed"
        f" {measurements.seed}) or a t interval that allows for skewness, whichever is wider. Intervals of shares: Wilson, on"
        " an effective number of answers, since answers to one"
        " question and questions from one document resemble each other. The score of an item is the mean over its sampled"
        " answers. p: a sign-flip permutation test by document or a t test that allows for skewness, whichever is larger."
        " Unscored items are counted and excluded from all means."
    )
    parts.append(folded("How the numbers were made", f"<p>{text(how)}</p>"))
    return section("Everything else", *parts)


def _number(value: float | None) -> str:
    return "unscored" if value is None else f"{value:.3f}"
