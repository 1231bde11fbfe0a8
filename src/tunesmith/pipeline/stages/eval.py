"""Every system measured on the test split, the gates, the verdict, the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from tunesmith.core.artifacts import Artifact, Draft
from tunesmith.core.reporter import Line
from tunesmith.eval.files import write_evaluation
from tunesmith.eval.measure import Measurements
from tunesmith.eval.measured import improvement
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.numbers import percent, signed_range
from tunesmith.eval.report_voice import voice_line
from tunesmith.pipeline.arena_votes import votes_id
from tunesmith.pipeline.context import Context
from tunesmith.pipeline.evidence import measuring_code
from tunesmith.pipeline.judged_answers import judge_settings
from tunesmith.pipeline.stage import FilledStage, Reference, StageText
from tunesmith.systems.registry import by_role

__all__ = ["STAGE"]

_NAME = 16  # characters that the name of a line takes
_SHORT = {"prompted": "a prompt", "few_shot": "examples"}


def _inputs(project: Context) -> list[Reference]:
    return [artifact.reference() for artifact in (project.dataset, project.run, project.model)]


def _settings(project: Context) -> Mapping[str, Any]:
    return {
        "eval": project.settings.eval.model_dump(),
        "gates": project.settings.gates.model_dump(),
        "use": asdict(project.settings_of_use),
        "max_new_tokens": project.max_new_tokens,
        **({"bigger": {"url": bigger.url, "model": bigger.model}} if (bigger := project.settings.bigger).url else {}),
        **judge_settings(project.settings.judge),
        "code": measuring_code(),
        "suites": [suite.id for suite in project.suites],
        **({"votes": votes} if (votes := votes_id(project.store, project.run)) else {}),
        "look": {"number": project.look.number, "changed": list(project.look.changed)},
    }


def _fill(project: Context, draft: Draft) -> None:
    judged = project.judged
    write_evaluation(draft.path, judged.evidence, judged.measurements, judged.verdict)
    draft.numbers |= {
        "verdict": judged.verdict.verdict,
        "items": len(judged.evidence.items),
        "score": _score(judged.measurements),
    }


def _score(m: Measurements) -> dict[str, Any]:
    """The mean of the tuned model in the primary metric, with its interval."""
    found = m.systems["tuned"].summaries[m.primary]
    return {"mean": found.mean, "ci": [found.ci.low, found.ci.high] if found.ci else None}


def _words(project: Context, artifact: Artifact) -> StageText:
    m = project.judged.measurements
    systems = " · ".join(m.systems)
    return StageText(
        text=f"{systems} on {m.num_items} held-out {'texts' if m.of_texts else 'answers'} of {m.num_documents} documents",
        lines=tuple(
            Line(text) for part in (_metrics(m), _golden(m), _voice(m), _answers(m), _suites(m), _parity(m)) for text in part
        ),
    )


def _metrics(m: Measurements) -> Iterator[str]:
    if m.perplexity is not None:
        yield f"{'perplexity':<{_NAME}}{m.perplexity.described}"
    for name in dict.fromkeys((m.primary, *(() if m.of_texts else ("word_overlap", "rouge_l")))):
        yield f"{metric_named(name).label:<{_NAME}}{_compared(m, 'base', name)}"
        if name == m.primary:
            for kind in by_role("baseline"):
                if kind.name in m.systems:
                    yield f"{f'  over {_SHORT.get(kind.name, kind.name)}':<{_NAME}}{_compared(m, kind.name, name)}"


def _voice(m: Measurements) -> Iterator[str]:
    """How likely it is that the author wrote the answers; nothing where that is not measured."""
    if line := voice_line(m.voice):
        yield f"{'voice':<{_NAME}}{line}"


def _golden(m: Measurements) -> Iterator[str]:
    """Bits per byte on the golden set; nothing where there is none."""
    if m.golden is None:
        return
    d, gain = m.golden.change, improvement(m.golden.change, "bits_per_byte")
    if d.mean_a is None or d.mean_b is None:
        return
    range_ = f"improvement {signed_range(gain)}" if gain else "no interval: too few documents"
    yield f"{'golden set':<{_NAME}}{d.mean_a:.3f} → {d.mean_b:.3f}   {range_}   better on {d.better} of {d.n}"


def _compared(m: Measurements, a: str, metric: str) -> str:
    """Both means, and the improvement: positive where the tuned model is better, as in report and verdict."""
    both = m.comparison(a, "tuned")
    d = both.differences[metric] if both else None
    if d is None or d.mean is None or d.mean_a is None or d.mean_b is None:
        return "not measured"
    gain = improvement(d, metric)
    range_ = f"improvement {signed_range(gain)}" if gain else "no interval: too few documents"
    return f"{d.mean_a:.3f} → {d.mean_b:.3f}   {range_}   better on {d.better} of {d.n}"


def _answers(m: Measurements) -> Iterator[str]:
    """What the answers are like with the sampling settings, base → tuned, with greedy decoding alongside."""
    if m.of_texts:
        return
    draws = f", {m.use.draws} draws, seed {m.use.seed}" if m.use.num_draws > 1 else ""
    yield f"{'answers at':<{_NAME}}{m.use.words}{draws}"
    base, tuned = m.systems["base"], m.systems["tuned"]
    for label, name in (("ended", "ended"), ("looped", "loop"), ("same answer", "collapse"), ("empty", "empty")):
        a, b = getattr(base.answers, name), getattr(tuned.answers, name)
        if name in ("collapse", "empty") and not (a.count or b.count):
            continue
        x, y = getattr(base.greedy, name), getattr(tuned.greedy, name)
        greedy = (
            f"   (greedy {percent(x, interval=False)} → {percent(y, interval=False)})"
            if y.n and not m.use.is_plain_greedy
            else ""
        )
        yield f"{'  ' + label:<{_NAME}}{percent(a)} → {percent(b)}{greedy}"


def _suites(m: Measurements) -> Iterator[str]:
    """Questions of each suite answered right, base → tuned, where the base does better than by guessing."""
    for name, result in m.suites.items():
        found = result.measurable or result.overall
        yield f"{name:<{_NAME}}{percent(found.base)} → {percent(found.tuned)} of {found.n} questions answered right"


def _parity(m: Measurements) -> Iterator[str]:
    if m.parity is not None:
        p = m.parity
        yield (
            f"{'merged ≡ tuned':<{_NAME}}max Δlogit {p.max_abs_logit:.0e}, "
            f"{p.greedy_equal}/{p.greedy_total} greedy answers equal ({p.stored} weights)"
        )
    if m.served is not None:
        s = m.served
        yield (
            f"{'  as served':<{_NAME}}{s.precision}: mean KL {s.mean_kl:.0e}, same token at {s.top1_agreement:.1%},"
            f" {s.greedy_equal}/{s.greedy_total} greedy answers equal"
        )


STAGE = FilledStage(
    kind="eval", title="evaluate", order=60, serves="answers", inputs=_inputs, settings=_settings, fill=_fill, words=_words
)
