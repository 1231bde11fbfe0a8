"""The page of a chain: what each stage gained and lost against the one before and against the base, with links to its pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tunesmith.core.artifacts import Artifact, Draft, folder_of
from tunesmith.core.page import Raw, badge, folded, page, section, table, text
from tunesmith.core.records import to_json
from tunesmith.eval.gate import Gate
from tunesmith.eval.measure import Measurements
from tunesmith.eval.measured import improvement
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.numbers import signed_range
from tunesmith.pipeline.outcome import Outcome
from tunesmith.systems.chained import stage_system
from tunesmith.systems.registry import by_role

__all__ = ["StageLine", "shown_base", "write_chain"]

_TONES = {"SHIP": "good", "DON'T SHIP": "bad", "CAN'T TELL": "unsure"}
_THEN = {"keep": "kept", "skip": "left out: the next stage begins where this one began", "stop": "the chain ends here"}


class StageLine(NamedTuple):
    """A stage that was judged: its name, its objective, what it began from, what followed, and what it came to."""

    name: str
    objective: str
    began: str
    then: str
    outcome: Outcome


def write_chain(
    draft: Draft,
    *,
    base: str,
    stages: Sequence[StageLine],
    overall: Outcome | None,
    stopped: str,
    fate: Mapping[str, Sequence[str]],
) -> None:
    """Fill the folder of a chain: `chain.json` with plain values, and the same as `report.html`. `fate`: stages that were
    `skipped` by the recipe, and those `not_trained` because the chain was `stopped` before them."""
    ends = [one.name for one in stages if one.then == "keep"]
    only = next((one for one in stages if one.then == "keep" and not stopped), stages[-1])
    deciding = overall or only.outcome
    verdict = deciding.verdict
    values: dict[str, Any] = {
        "verdict": verdict.verdict,
        "sentence": verdict.sentence,
        "advice": verdict.advice,
        "base": base,
        "stopped": stopped,
        **{name: list(names) for name, names in fate.items()},
        "stages": [_stage(stage) for stage in stages],
        "against_base": None if overall is None else _against_base(overall, ends),
    }
    (draft.path / "chain.json").write_bytes(to_json(values))
    (draft.path / "report.html").write_text(_page(values), encoding="utf-8")
    draft.numbers |= {
        "verdict": verdict.verdict,
        "deciding": deciding.evaluation.id,
        "stages": {one["name"]: one["verdict"] for one in values["stages"]},
    }


def _stage(stage: StageLine) -> dict[str, Any]:
    outcome = stage.outcome
    m = outcome.measurements
    return {
        "name": stage.name,
        "objective": stage.objective,
        "began": stage.began,
        "verdict": outcome.verdict.verdict,
        "sentence": outcome.verdict.sentence,
        "then": stage.then,
        "metric": m.primary,
        "gain": _gain(m, "base", "tuned"),
        "items": m.num_items,
        "documents": m.num_documents,
        "general": _general(m),
        "against": [_judged(gate) for gate in outcome.verdict.gates if gate.state != "pass"],
        "ids": {one["kind"]: one["id"] for one in outcome.evaluation.manifest["inputs"]} | _named(outcome.evaluation),
    }


def _against_base(overall: Outcome, names: Sequence[str]) -> dict[str, Any]:
    """The base, its alternatives and the model after each kept stage on the same items."""
    m = overall.measurements
    systems = {names[-1]: "tuned", **{name: stage_system(name) for name in names[:-1]}}
    others = [(kind.title, kind.name) for kind in (*by_role("reference"), *by_role("baseline"))]
    rows = [(title, name) for title, name in others if name in m.systems] + [(f"after {n}", systems[n]) for n in names]
    return {
        "metric": m.primary,
        "items": m.num_items,
        "documents": m.num_documents,
        "level": m.level,
        "systems": [
            {"title": title, "mean": m.systems[name].summaries[m.primary].mean, "gain": _gain(m, "base", name)}
            for title, name in rows
            if name in m.systems
        ],
        "general": _general(m),
        "gates": [_judged(gate) for gate in overall.verdict.gates],
        "ids": _named(overall.evaluation),
    }


def _judged(gate: Gate) -> dict[str, Any]:
    return {"gate": gate.name, "state": gate.state, "required": gate.required, "evidence": gate.evidence}


def _named(artifact: Artifact) -> dict[str, str]:
    return {artifact.kind: artifact.id}


def _gain(m: Measurements, a: str, b: str) -> list[float] | None:
    """Mean, low and high of what b gained over a in the primary metric; None without an interval."""
    both = m.comparison(a, b)
    found = improvement(both.differences[m.primary], m.primary) if both else None
    return None if found is None else list(found)


def _general(m: Measurements) -> dict[str, Any]:
    """Of each further suite, the shares of questions answered right before and after."""
    return {
        name: {"before": result.overall.base.share, "after": result.overall.tuned.share, "n": result.overall.n}
        for name, result in m.suites.items()
    }


# --- the page ---------------------------------------------------------------------------------------------------------


def _page(v: Mapping[str, Any]) -> str:
    parts = [_top(v), _stages(v), _base_section(v), _reasons(v), _folded(v)]
    return page(f"{v['verdict']} · Tunesmith chain", [part for part in parts if part])


def _top(v: Mapping[str, Any]) -> Raw:
    first, _, more = v["sentence"].partition(". ")
    about = "the whole chain against the base"
    if v["stopped"]:
        about = f"the stage {v['stopped']}, at which the chain ended"
    elif v["against_base"] is None:
        about = "the one stage that is left, against the base"
    steps = [("base", shown_base(v["base"]), "")]
    for one in v["stages"]:
        came = f"{one['verdict']} · {_signed(one['gain'])}"
        steps.append((f"{one['objective']}, from {shown_base(one['began'])}", one["name"], came))
    steps += [("not trained", name, "") for name in v["not_trained"]]
    steps += [("skipped by the recipe", name, "") for name in v["skipped"]]
    flow = "".join(
        f"<li><small>{text(what)}</small><b>{text(name)}</b><small>{text(came)}</small></li>" for what, name, came in steps
    )
    return Raw(
        f"<header><p>{badge(v['verdict'], _TONES[v['verdict']])} <small>{text(about)}</small></p>"
        f"<h1>{text(first + '.' if more else first)}</h1>"
        + (f"<p>{text(more)}</p>" if more else "")
        + f'</header><ol class="flow">{flow}</ol><p class="soft">{text(v["advice"])}</p>{_to_leave_out(v)}'
    )


def _to_leave_out(v: Mapping[str, Any]) -> Raw:
    """What to type to leave out the stages that did not help."""
    names = [one["name"] for one in v["stages"] if one["verdict"] == "DON'T SHIP"]
    lines = [
        f"<p>Stage {text(n)} did not help. <code>--set stages.{text(n)}.skip=true</code> leaves it out.</p>" for n in names
    ]
    return Raw("".join(lines))


def _stages(v: Mapping[str, Any]) -> Raw:
    rows = [
        [
            one["name"],
            Raw(badge(one["verdict"], _TONES[one["verdict"]]) + _fate(one)),
            shown_base(one["began"]),
            _signed(one["gain"]),
            f"{one['items']} of {one['documents']} documents, in {metric_named(one['metric']).label}",
            _shares(one["general"]) or "not asked",
            _links(one["ids"]),
        ]
        for one in v["stages"]
    ]
    head = ["stage", "verdict", "against", "gain", "test items", "further questions", "pages"]
    note = (
        "Each stage is judged on its own test items against the model that it began from. A gain is positive where the stage"
        " made the model better; the range is the interval of the verdict. Further questions: share answered right, before and"
        " after."
    )
    return section("Each stage against the one before", f'<p class="soft">{text(note)}</p>', table(head, rows, numeric=[3]))


def _fate(stage: Mapping[str, Any]) -> str:
    """What followed a stage that was not shown to help."""
    if stage["verdict"] == "SHIP":
        return ""
    return f"<br><small>{text(_THEN[stage['then']])}</small>"


def _base_section(v: Mapping[str, Any]) -> Raw:
    found = v["against_base"]
    if found is None:
        return Raw("")
    first = found["systems"][0]["title"]
    rows = [
        [
            one["title"],
            "not measured" if one["mean"] is None else f"{one['mean']:.3f}",
            "" if one["title"] == first else _signed(one["gain"]),
        ]
        for one in found["systems"]
    ]
    label = metric_named(found["metric"]).label
    note = (
        f"All on the same {found['items']} test items of {found['documents']} documents: those of the last stage."
        f" Intervals are at {100 * found['level']:.3g} %, because this is a further evaluation on that test set."
    )
    further = _shares(found["general"])
    after = (
        [f'<p class="soft">Further questions answered right, base → end of the chain: {text(further)}.</p>'] if further else []
    )
    return section(
        "Every stage against the base",
        f'<p class="soft">{text(note)}</p>',
        table(["model", label, f"gain over the {first}"], rows, numeric=[1, 2]),
        *after,
        f"<p>All figures and gates of this comparison: {_links(found['ids'])}</p>",
    )


def _reasons(v: Mapping[str, Any]) -> Raw:
    """Gates that failed, of each stage and of the whole; what was not measured is folded."""
    gates = [(one["name"], gate) for one in v["stages"] for gate in one["against"]]
    gates += [("whole chain", gate) for gate in (v["against_base"]["gates"] if v["against_base"] else [])]
    failed = [[name, _gate(gate), gate["evidence"]] for name, gate in gates if gate["state"] == "fail"]
    unknown = [[name, _gate(gate), gate["evidence"]] for name, gate in gates if gate["state"] == "not measured"]
    head = ["stage", "gate", "evidence"]
    parts = [table(head, failed) if failed else Raw("<p>No gate failed.</p>")]
    parts += [folded(f"{len(unknown)} gates could not be measured", table(head, unknown))] if unknown else []
    return section("Gates that failed", *parts)


def _gate(gate: Mapping[str, Any]) -> str:
    return gate["gate"] if gate["required"] else f"{gate['gate']} (advisory)"


def _folded(v: Mapping[str, Any]) -> Raw:
    rows = [[one["name"], kind, id] for one in v["stages"] for kind, id in one["ids"].items()]
    rows += [["whole chain", kind, id] for kind, id in (v["against_base"] or {"ids": {}})["ids"].items()]
    return folded("Artifacts", table(["stage", "kind", "id"], rows))


def shown_base(name: str) -> str:
    """A base as it is read on one line: of a path, its last part; the name of a stage as it is."""
    return name.rstrip("/").rpartition("/")[2]


def _signed(gain: Sequence[float] | None) -> str:
    return "no interval" if gain is None else signed_range((gain[0], gain[1], gain[2]))


def _shares(suites: Mapping[str, Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{name} {100 * one['before']:.0f} → {100 * one['after']:.0f} % of {one['n']}"
        for name, one in suites.items()
        if one["before"] is not None and one["after"] is not None
    )


def _links(ids: Mapping[str, str]) -> Raw:
    """Links to the pages of artifacts of the same project."""
    shown = {"eval": "verdict", "overall": "verdict", "run": "training", "dataset": "data"}
    return Raw(
        " · ".join(
            f'<a href="../../{text(folder_of(kind))}/{text(ids[kind][:16])}/report.html">{text(word)}</a>'
            for kind, word in shown.items()
            if kind in ids
        )
    )
