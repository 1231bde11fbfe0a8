"""One evidence from that of several adapters of one recipe: every item as it was measured by adapters that did not see it.

Scores are likelihoods and answers of the fold that tested the item, means over the training seeds. What does not belong to an
item is the worst of all adapters (parity, suites), or their mean (general text, training rows).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Generation, digest
from tunesmith.eval.results import (
    Cost,
    Evidence,
    FoldRows,
    FormResult,
    GeneralResult,
    Likelihood,
    Limit,
    ParityResult,
    RecipeRuns,
    SystemRun,
)
from tunesmith.eval.suites.answered import SuiteAnswers
from tunesmith.eval.suites.run import SuiteRun
from tunesmith.eval.voice_measures import pooled_voice
from tunesmith.models.use import Use

__all__ = ["Adapter", "pool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """What one adapter gave on the test split of its fold. `run`: the id of its training run; the rest as in `FoldRows`."""

    evidence: Evidence
    run: str
    tested: tuple[str, ...]
    learned: tuple[str, ...]


def pool(
    folds: Sequence[Sequence[Adapter]],
    *,
    clusters: Mapping[str, str],
    seeds: Sequence[int],
    gains: Sequence[float | None] = (),
) -> Evidence:
    """The evidence of all adapters as one: `folds` holds those of each fold, in the order of `seeds`.

    `clusters`: by the id of an item, the cluster that it belongs to over all folds, since an author or thread may be in more.
    A system that was not measured in every fold is left out. EvaluationError if the adapters of a fold were not asked the same.
    """
    for fold in folds:
        _check_same(fold)
    everyone = [adapter.evidence for fold in folds for adapter in fold]
    first = everyone[0]
    names = [run.name for run in first.systems if all(one.system(run.name) for one in everyone)]
    return Evidence(
        items=tuple(replace(item, group=clusters[item.id]) for fold in folds for item in fold[0].evidence.items),
        systems=tuple(_system(name, [[adapter.evidence for adapter in fold] for fold in folds]) for name in names),
        parity=_worst_parity([one.parity for one in everyone]),
        served=_worst_parity([one.served for one in everyone]),
        forms={name: _worst_form([one.forms.get(name) for one in everyone]) for name in first.forms},
        general=_general([one.general for one in everyone]),
        training=first.training,
        reading=f"the first of {len(everyone)} adapters: {first.reading}" if first.reading else "",
        ids={kind: id for kind, id in first.ids.items() if all(one.ids.get(kind) == id for one in everyone)},
        numbers=_numbers([one.numbers for one in everyone]),
        use=_use([one.use for one in everyone], len(folds[0])),
        limit=_limit([fold[0].evidence.limit for fold in folds]),
        probes=_probes([one.probes for one in everyone]),
        golden=first.golden,
        voice=pooled_voice(
            [[adapter.evidence.voice for adapter in fold] for fold in folds],
            [len(fold[0].evidence.items) for fold in folds],
        ),
        suites=tuple(_worst_suite(n, everyone) for n in range(len(first.suites))),
        recipe=RecipeRuns(
            folds=tuple(
                FoldRows(
                    items=tuple(item.id for item in fold[0].evidence.items),
                    tested=fold[0].tested,
                    learned=fold[0].learned,
                    train_answers=fold[0].evidence.train_answers,
                    adapters=tuple(adapter.run for adapter in fold),
                )
                for fold in folds
            ),
            seeds=tuple(seeds),
            gains=tuple(gains),
        ),
    )


def _check_same(fold: Sequence[Adapter]) -> None:
    if any(one.evidence.items != fold[0].evidence.items or one.learned != fold[0].learned for one in fold):
        raise EvaluationError(
            "the adapters of one fold were not asked the same questions",
            value=f"{len(fold)} adapters",
            expected="the same dataset for every training seed",
            hint="delete the folder .tunesmith/folds and run it again",
        )


def _system(name: str, folds: Sequence[Sequence[Evidence]]) -> SystemRun:
    """One system over all folds. The draws of later seeds are numbered on; greedy answers are those of the first seed."""
    runs = [[run for one in fold if (run := one.system(name))] for fold in folds]
    everyone = [run for fold in runs for run in fold]
    marks = list(dict.fromkeys(run.fingerprint for run in everyone))
    fingerprint = marks[0] if len(marks) == 1 else digest(*marks)
    generations: list[Generation] = []
    for fold in runs:
        for number, run in enumerate(fold):
            draws = 1 + max((g.draw or 0 for g in run.generations), default=0)
            numbered = len(fold) > 1
            generations += [replace(g, draw=number * draws + (g.draw or 0)) if numbered else g for g in run.generations]
    greedy = [g for fold in runs for g in fold[0].greedy]
    costs = [run.cost for run in everyone]
    return SystemRun(
        name=name,
        label=everyone[0].label,
        fingerprint=fingerprint,
        generations=tuple(replace(g, fingerprint=fingerprint) for g in generations),
        likelihoods=_merged(run.likelihoods for run in everyone),
        greedy=tuple(replace(g, fingerprint=fingerprint) for g in greedy),
        cost=_cost([cost for cost in costs if cost is not None]) if all(costs) else None,
    )


def _merged(parts: Iterable[Sequence[Likelihood]]) -> tuple[Likelihood, ...]:
    """Every row once: of a row that several adapters gave, the mean (counts of tokens are rounded)."""
    rows: dict[str, list[Likelihood]] = {}
    for part in parts:
        for row in part:
            rows.setdefault(row.item_id, []).append(row)
    return tuple(_mean(same) for same in rows.values())


def _mean(rows: Sequence[Likelihood]) -> Likelihood:
    ends = [row.end_probability for row in rows if row.end_probability is not None]
    return replace(
        rows[0],
        nats=math.fsum(row.nats for row in rows) / len(rows),
        correct_tokens=round(sum(row.correct_tokens for row in rows) / len(rows)),
        end_probability=math.fsum(ends) / len(ends) if ends else None,
    )


def _cost(costs: Sequence[Cost]) -> Cost:
    prompts = [cost.prompt_tokens for cost in costs if cost.prompt_tokens is not None]
    return Cost(
        num_answers=sum(cost.num_answers for cost in costs),
        prompt_tokens=sum(prompts) if len(prompts) == len(costs) else None,
        generated_tokens=sum(cost.generated_tokens for cost in costs),
        seconds=math.fsum(cost.seconds for cost in costs),
        at_once=max(cost.at_once for cost in costs),
    )


def _worst(values: Iterable[float]) -> float:
    """The largest; NaN if there is one."""
    found = list(values)
    return math.nan if any(map(math.isnan, found)) else max(found)


def _worst_parity(found: Sequence[ParityResult | None]) -> ParityResult | None:
    """The worst of each figure over all adapters; None if one of them was not compared."""
    known = [one for one in found if one is not None]
    if len(known) < len(found) or not known:
        return None
    answers = min(known, key=lambda one: one.greedy_equal / max(1, one.greedy_total))
    begun = min(one.greedy_begun / max(1, one.greedy_total) for one in known)
    summed = [one.as_summed for one in known if one.as_summed is not None]
    return replace(
        answers,
        max_abs_logit=_worst(one.max_abs_logit for one in known),
        mean_kl=_worst(one.mean_kl for one in known),
        top1_agreement=min(one.top1_agreement for one in known),
        num_positions=min(one.num_positions for one in known),
        greedy_begun=math.floor(begun * answers.greedy_total + 1e-9),
        as_summed=min(summed) if len(summed) == len(known) else None,
        differences=tuple(dict.fromkeys(text for one in known for text in one.differences)),
    )


def _worst_form(found: Sequence[FormResult | None]) -> FormResult:
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return FormResult(reason="it was not measured for every adapter")
    answers = min(known, key=lambda one: one.greedy_equal / max(1, one.greedy_total))
    means = [one.mean_abs_logprob for one in known if one.mean_abs_logprob is not None]
    largest = [one.max_abs_logprob for one in known if one.max_abs_logprob is not None]
    return replace(
        answers,
        logits=_worst_parity([one.logits for one in known]),
        mean_abs_logprob=_worst(means) if len(means) == len(known) else None,
        max_abs_logprob=_worst(largest) if len(largest) == len(known) else None,
        num_tokens=min(one.num_tokens for one in known),
        reason=next((one.reason for one in known if one.reason), ""),
    )


def _general(found: Sequence[GeneralResult | None]) -> GeneralResult | None:
    known = [one for one in found if one is not None]
    if len(known) < len(found) or not known:
        return None
    return GeneralResult(n=known[0].n, base=_merged(one.base for one in known), tuned=_merged(one.tuned for one in known))


def _probes(
    found: Sequence[Mapping[str, Mapping[str, tuple[Likelihood, ...]]]],
) -> dict[str, dict[str, tuple[Likelihood, ...]]]:
    names = list(dict.fromkeys(name for one in found for name in one))
    systems = {name: list(dict.fromkeys(system for one in found for system in one.get(name, {}))) for name in names}
    return {
        name: {system: _merged(one.get(name, {}).get(system, ()) for one in found) for system in systems[name]}
        for name in names
    }


def _worst_suite(place: int, everyone: Sequence[Evidence]) -> SuiteAnswers:
    """The suite as answered by the adapter that got the fewest right: a harm that one adapter did is not averaged away."""

    def right(run: SuiteRun | None) -> float:
        return math.fsum(score.value or 0.0 for score in run.scores) if run else math.inf

    return min((one.suites[place] for one in everyone), key=lambda suite: right(suite.run_of("tuned")))


def _numbers(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Facts that all share; of counts that differ, from the least to the most."""
    pooled: dict[str, Any] = {}
    for name, value in found[0].items():
        values = [one.get(name) for one in found]
        counts = [one for one in values if isinstance(one, int | float)]
        if all(one == value for one in values):
            pooled[name] = value
        elif len(counts) == len(values):
            pooled[name] = f"{min(counts):g} to {max(counts):g}"
    return pooled


def _use(found: Sequence[Use], num_seeds: int) -> Use:
    """The sampling settings; where folds chose differently, the most frequent ones, and that it is so."""
    chosen, count = Counter(replace(one, how="") for one in found).most_common(1)[0]
    how = f"chosen for each adapter on its own validation documents; these settings for {count} of {len(found)}"
    alike = all(one.how == found[0].how for one in found) and count == len(found)
    return replace(chosen, how=found[0].how if alike else how, draws=chosen.draws * num_seeds)


def _limit(found: Sequence[Limit | None]) -> Limit | None:
    known = [one for one in found if one is not None]
    if len(known) < len(found) or not known:
        return None
    return Limit(
        max_new_tokens=max(one.max_new_tokens for one in known),
        too_long=sum(one.too_long for one in known),
        num_references=sum(one.num_references for one in known),
    )
