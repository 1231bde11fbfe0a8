"""The section of the report about the author's voice: how likely it is that the author wrote the answers of each system."""

from __future__ import annotations

from tunesmith.core.page import Raw, section, table, text
from tunesmith.eval.numbers import signed_range
from tunesmith.eval.report_cells import tip
from tunesmith.eval.stats import Summary
from tunesmith.eval.voice_measures import VoiceMeasures
from tunesmith.systems.registry import title_of

__all__ = ["voice_line", "voice_section"]


def voice_section(found: VoiceMeasures | None) -> Raw:
    """Nothing where there was nothing to compare; the reason where the author cannot be told from other writing."""
    if found is None:
        return Raw("")
    check = found.check
    if check.reason:
        return section("The author's voice", f"<p>{text(f'Not measured: {check.reason}.')}</p>")
    ends = f" [{check.ci.low:.2f}, {check.ci.high:.2f}]" if check.ci else ""
    lead = (
        "How likely it is that the author wrote an answer, judged by how it is written and not by what it says. The classifier"
        f" learned from {check.num_documents} training documents and {check.num_others} texts of others, among them answers of"
        f" the base. On documents it has not seen, its AUC is {check.auc:.2f}{ends}: the chance that it puts a text of the"
        f" author above a text of others. It reads pieces of {check.words} words; shorter answers are not scored."
        " No gate uses it."
    )
    if check.num_classifiers > 1:
        lead += (
            f" Each of the {check.num_classifiers} adapters has a classifier of its own, which learned from that adapter's"
            " training rows; these are the figures of the worst."
        )
    rows = [[title_of(name), _cell(summary), summary.n] for name, summary in found.systems.items()]
    rows.append(["the author's held-out answers", _cell(found.references), found.references.n])
    gain = _gain(found)
    return section(
        "The author's voice",
        f'<p class="soft">{text(lead)}</p>',
        table(["answers of", "mean chance [95 % interval]", "n"], rows, numeric=range(1, 3)),
        f"<p>{text(f'Tuned model over the base: {gain}.')}</p>" if gain else "",
    )


def voice_line(found: VoiceMeasures | None) -> str:
    """Base → tuned with the gain and the references beside, for the terminal; empty where the voice is not measured."""
    if found is None or found.gain is None:
        return ""
    base, tuned = found.systems["base"], found.systems["tuned"]
    gain = _gain(found)
    if base.mean is None or tuned.mean is None or not gain:
        return ""
    ideal = f"   the author's own {found.references.mean:.2f}" if found.references.mean is not None else ""
    return f"{base.mean:.2f} → {tuned.mean:.2f}   improvement {gain}{ideal}"


def _gain(found: VoiceMeasures) -> str:
    d = found.gain
    if d is None or d.mean is None or d.ci is None:
        return ""
    return signed_range((d.mean, d.ci.low, d.ci.high), digits=2)


def _cell(summary: Summary) -> Raw:
    if summary.mean is None:
        return tip("not measured", f"{summary.unscored} items unscored")
    ends = f" [{summary.ci.low:.2f}, {summary.ci.high:.2f}]" if summary.ci else " [no interval]"
    method = summary.ci.method if summary.ci else f"no interval: {summary.no_interval}"
    hover = f"n = {summary.n} items in {summary.num_groups} documents, {summary.unscored} unscored; {method}"
    return tip(f"{summary.mean:.2f}{ends}", hover)
