"""What a person reads while the pipeline runs: a line per stage, the verdict at its end, and what to type next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.api import Outcome, Project
from tunesmith.api.results import METRICS, Difference, Measurements, SystemMeasures, improvement, percent, signed_range
from tunesmith.cli.render import ConsoleReporter
from tunesmith.core.artifacts import Artifact
from tunesmith.core.records import Interval

__all__ = [
    "comparison",
    "folder_or_page",
    "short",
    "tell_dataset",
    "tell_documents",
    "tell_evaluation",
    "tell_plan",
    "tell_run",
    "tell_use",
    "tell_verdict",
]

_MOST_SOURCES = 5
_MOST_WARNINGS = 6
_MOST_FINDINGS = 4


def tell_documents(say: ConsoleReporter, project: Project) -> None:
    """How much was read, and by name what could not be used."""
    n = project.documents.numbers
    read = " · ".join(f"{n[kind]:,} {kind}" for kind in ("documents", "pairs") if n[kind])
    sources = ", ".join(short(source) for source in project.recipe.sources)
    say.stage("documents", f"{read} from {sources}", f"{len(n['failures'])} could not be used")
    for failure in n["failures"][:_MOST_WARNINGS]:
        say.warn(f"{failure['source']}: {failure['reason']}")
    if (more := len(n["failures"]) - _MOST_WARNINGS) > 0:
        say.warn(f"and {more} more, listed in {project.documents.path / 'failures.jsonl'}")


def tell_dataset(say: ConsoleReporter, project: Project) -> None:
    """The splits, and what the checks saw."""
    n = project.dataset.numbers
    by = {"document": "post", "group": project.recipe.split.group}.get(project.recipe.split.by, project.recipe.split.by)
    sizes = " · ".join(f"{n[name]:,} {name}" for name in ("train", "val", "test"))
    leaks = f"{n['leaks']} leaks" if n["leaks"] else "no leaks"
    say.stage(
        "dataset",
        f"{sizes}, split by {by}",
        f"{leaks} · {n['cut']['num_cut']} cut · end token in {n['with_end']}/{n['examples']}",
    )
    if found := _worth_a_look(n.get("findings", ())):
        say.detail(f"checks: {found}; see {folder_or_page(project.dataset)}")
    if redacted := n.get("redacted"):
        say.detail("redacted: " + ", ".join(f"{count:,} {kind}" for kind, count in redacted.items()))
    if options := project.chat.described[0]:
        say.detail(f"chat template: {options}")
    if n["dropped"]:
        say.detail("dropped: " + ", ".join(f"{count:,} {reason}" for reason, count in n["dropped"].items()))
    if n["removed_copies"]:
        say.detail(f"{n['removed_copies']} rows removed because they copy a row of val or test")
    if n["copies_dropped"]:
        say.detail(f"{n['copies_dropped']} documents or pairs left out: near copies of a better one (build.dedup)")
    if n["golden"]["held_out"]:
        say.detail(f"{n['golden']['held_out']} rows held out: they are in the golden set, or copy it")
    if n["mix"]["general_share"]:
        say.detail(f"{n['mix']['general_share']:.0%} of the training rows are general ones")
    if project.recipe.mix.model_fields_set:
        told = [
            f"{short(s['source'])} {s['rows']:,} rows × {s['epochs']:.3g} epochs" for s in n["mix"]["sources"][:_MOST_SOURCES]
        ]
        more = n["mix"]["num_sources"] - len(told)
        say.detail("mixed: " + ", ".join(told) + (f" and {more} more sources" if more else ""))


def _worth_a_look(findings: Sequence[Mapping[str, Any]]) -> str:
    """The warnings of the checks by name, and the errors that were allowed."""
    kinds = [f for f in findings if f["severity"] != "info"]
    named = [f"{f['name'].replace('_', ' ')} ({f['count']:,}{', allowed' * (f['severity'] == 'error')})" for f in kinds]
    more = len(named) - _MOST_FINDINGS
    return ", ".join(named[:_MOST_FINDINGS]) + (f" and {more} more" if more > 0 else "")


def tell_plan(say: ConsoleReporter, project: Project) -> None:
    """What is about to be trained, how long it takes, and why in this precision."""
    r, lines = project.settings, {line.name: line for line in project.plan.lines}
    base = project.base
    say.stage("plan", f"base {base.name}" + (f", {base.origin}" if base.origin else ""))
    say.detail(f"{r.method.kind} rank {r.method.rank} on {lines['reach'].value}")
    say.detail(f"{lines['steps'].value} steps at most, {lines['time'].value}, {lines['memory'].value}")
    say.detail(f"{project.precision.name} base: {lines['precision'].reason}")
    if project.plan.numbers["busy"]:
        say.warn("busy machine: times are estimates")


def tell_run(say: ConsoleReporter, project: Project) -> None:
    """How training went, with the plain-words reading of the curves."""
    n = project.run.numbers
    first = next((row["val_loss"] for row in project.metrics(project.run) if "val_loss" in row), n["best_loss"])
    early = ", stopped early" if n["stopped_early"] else ""
    rate = f"{n['num_tokens'] / n['seconds']:,.0f} tokens/s" if n["seconds"] and n["num_tokens"] else ""
    say.stage(
        "train", f"{n['num_steps']} steps{early} · val loss {first:.3f} → {n['best_loss']:.3f}, best at {n['best_step']}", rate
    )
    say.detail(f"reading: {n['reading']['shape']}: {n['reading']['text']};")
    say.detail(f"         {n['reading']['advice']}")


def tell_use(say: ConsoleReporter, project: Project) -> None:
    """The settings of use, and how they were come by."""
    use = project.settings_of_use
    say.stage("use", use.words, use.how)


def tell_evaluation(say: ConsoleReporter, outcome: Outcome) -> None:
    """The differences that the verdict rests on."""
    m = outcome.measurements
    names = " · ".join(m.systems)
    say.stage("evaluate", f"{names} on {m.num_items} held-out answers of {m.num_documents} documents")
    for name in dict.fromkeys((m.primary, "word_overlap", "rouge_l")):
        say.detail(f"{METRICS[name].label:<16}{_told(m, 'base', name)}")
        if name == m.primary and "prompted" in m.systems:
            say.detail(f"{'  over a prompt':<16}{_told(m, 'prompted', name)}")
    _tell_answers(say, m)
    if m.parity is not None:
        p = m.parity
        say.detail(
            f"{'merged ≡ tuned':<16}max Δlogit {p.max_abs_logit:.0e}, {p.greedy_equal}/{p.greedy_total} greedy answers equal"
            f" ({p.stored} weights)"
        )
    if m.served is not None:
        s = m.served
        say.detail(
            f"{'  as served':<16}{s.precision}: mean KL {s.mean_kl:.0e}, same token at {s.top1_agreement:.1%},"
            f" {s.greedy_equal}/{s.greedy_total} greedy answers equal"
        )


def _tell_answers(say: ConsoleReporter, m: Measurements) -> None:
    """What the answers are like at the settings of use, base → tuned, with greedy decoding beside it."""
    draws = f", {m.use.draws} draws, seed {m.use.seed}" if m.use.num_draws > 1 else ""
    say.detail(f"{'answers at':<16}{m.use.words}{draws}")
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
        say.detail(f"{'  ' + label:<16}{percent(a)} → {percent(b)}{greedy}")


def tell_verdict(say: ConsoleReporter, outcome: Outcome, *, project: Path, seconds: float, following: str) -> None:
    """The verdict in a sentence, every gate that did not pass, and the next commands."""
    v = outcome.verdict
    say.verdict(v.verdict, v.sentence)
    for gate in v.gates:
        if gate.outcome != "pass":
            say.aside(f"{gate.name}{'' if gate.required else ' (advisory)'}: {gate.outcome}. {gate.evidence}")
    if v.not_measured:
        say.aside(f"Not measured: {', '.join(v.not_measured)}.")
    where = "" if project == Path(".") else f" --project {project}"
    say.end(
        {
            "open": str(outcome.evaluation.path / "report.html"),
            "try": f"tunesmith chat{where}",
            "next": following,
            "took": f"{seconds:.0f} s",
        }
    )


def comparison(outcome: Outcome) -> dict[str, Any]:
    """Base against tuned in the primary metric, in the shape that `tunesmith compare --json` prints."""
    m = outcome.measurements
    both = m.comparison("base", "tuned")
    if both is None:
        return {}
    d = both.differences[m.primary]
    return {
        "metric": m.primary,
        "n": d.n,
        "num_groups": d.num_groups,
        "a": _side(m.systems["base"], m.primary),
        "b": _side(m.systems["tuned"], m.primary),
        "difference": {"mean": d.mean, "ci": _pair(d.ci), "p": d.p},
        "relative": d.relative,
        "cut": {"a": m.systems["base"].answers.cut.share, "b": m.systems["tuned"].answers.cut.share},
        "length_matched": _length_matched(m.primary, both.length_matched),
    }


def short(source: str) -> str:
    """A source as it is read on one line: the end of a long path."""
    parts = Path(source).parts
    return source if len(source) <= 48 or "://" in source else str(Path("…", *parts[-2:]))


def folder_or_page(artifact: Artifact) -> str:
    """What to open of an artifact."""
    page = artifact.path / "report.html"
    return str(page if page.is_file() else artifact.path)


def _length_matched(primary: str, found: Mapping[str, Difference]) -> dict[str, Any]:
    """With what goes beyond the reference's length cut off: the primary metric if it is one of text, else word overlap."""
    metric = primary if primary in found else "word_overlap"
    x = found[metric]
    return {"metric": metric, "difference": {"mean": x.mean, "ci": _pair(x.ci), "p": x.p}}


def _side(system: SystemMeasures, metric: str) -> dict[str, Any]:
    s = system.summaries[metric]
    return {"mean": s.mean, "median": s.median, "std": s.std, "min": s.min, "max": s.max, "ci": _pair(s.ci)}


def _pair(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


def _told(m: Measurements, a: str, metric: str) -> str:
    """Both means, and the improvement: positive where the tuned model is better, as in report and verdict."""
    both = m.comparison(a, "tuned")
    d: Difference | None = both.differences[metric] if both else None
    if d is None or d.mean is None or d.mean_a is None or d.mean_b is None:
        return "not measured"
    gain = improvement(d, metric)
    told = f"improvement {signed_range(gain)}" if gain else "no interval: too few documents"
    return f"{d.mean_a:.3f} → {d.mean_b:.3f}   {told}   better on {d.better} of {d.n}"
