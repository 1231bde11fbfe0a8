"""The page of all metrics, made from the registry, so that it cannot differ from the code."""

from __future__ import annotations

import math

from tunesmith.eval.metrics.metric import Metric
from tunesmith.eval.metrics.registry import TASKS, all_metrics

__all__ = ["metrics_page"]

_HEAD = """# Metrics

Made from the registry: `python -m tunesmith.api.reference metrics > docs/concepts/metrics.md`. A metric is one entry in a file
of `eval/metrics/`.

No metric on this page measures whether an answer is good. Each says what it measures and what it misses. Compare a score with
the [floors](verdict.md) (trivial answers) before you read anything into it. Where an item lacks what a metric needs, its
answers are *unscored* with the reason, never zero.

*Needs* is what an item must give. In a prediction file these are the fields `reference` (or `references`, a list of which any
will do), `schema` and `tests`; `tolerance` and `labels` are optional. A score *of all answers* is one number for a whole
system; its interval and test draw whole documents again (`eval.corpus`).
"""
_TAIL = """## Code is executed only on request

`code_passes` runs what a model wrote. It is off unless you ask for it. Each answer runs in a Python process of its own, with
limits on time and memory, in an empty folder, without network, other programs, threads (unless it runs as root), files to
write, or files to read outside of Python's own. On Linux the process also gets a network namespace without any network, where
the system allows that. Windows and macOS enforce fewer of the limits (Windows: time, files, network and programs, by Python's
audit hooks alone). **These limits are not a sandbox.** They stop accidents, not code that wants to break out. Run answers
that you do not trust in a container or a virtual machine. `pass_at_k` estimates pass@k from several answers per question,
without bias.
"""


def metrics_page() -> str:
    """The page, in Markdown: a section for each task, in it each metric with what it measures and misses."""
    parts = [_HEAD]
    for task, title in TASKS.items():
        found = [metric for metric in all_metrics().values() if metric.task == task]
        if found:
            parts += [f"## {title}\n", *map(_entry, found)]
    return "\n".join([*parts, _TAIL])


def _entry(metric: Metric) -> str:
    low, high = (_number(end) for end in metric.bounds)
    better = {True: "higher is better", False: "lower is better", None: "neither direction is better"}[metric.higher_is_better]
    needs = ", ".join(metric.needs) or "nothing but the answer"
    kind = " · of all answers" if metric.corpus else ""
    told = f"\n- Written as `{metric.name}:` and {metric.argument}.\n" if metric.argument else "\n"
    facts = f"{metric.unit}, {low} to {high} · {better} · needs {needs}{kind}"
    return f"**`{metric.name}`** ({metric.label}) — {facts}\n\n- Measures: {metric.measures}\n- Misses: {metric.misses}{told}"


def _number(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:g}".replace("-", "−")
