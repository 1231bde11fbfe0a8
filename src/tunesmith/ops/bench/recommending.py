"""Which option to take: the fastest among those whose answers were tested and ended in SHIP, and in words why.

An option in DON'T SHIP, or one that failed requests, is never taken. Where no option's answers were tested, the fastest of the
others is named, and that it is untested is said first. What the intervals cannot tell apart is not called faster: of such
options the one with the least memory is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.eval.gate import State
from tunesmith.ops.bench.figures import BenchCell, BenchFigure, Ratio, ratio_of
from tunesmith.ops.bench.measuring import Measured

__all__ = ["BenchAdvice", "advise", "fastest"]

_ALPHA = 0.05  # of all comparisons together (Bonferroni)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchAdvice:
    """The option to take, empty if none can be named. `state`: pass if its answers were tested. `why`: sentences, the first of
    which answers the question. `typed`: the command that serves it."""

    option: str
    state: State
    why: tuple[str, ...]
    typed: str


def advise(found: Sequence[Measured], cells: Mapping[tuple[str, int], BenchCell]) -> BenchAdvice:
    """The recommendation of what was measured. `cells` by name and clients. What decides is the largest number of clients."""
    most = max((clients for _, clients in cells), default=0)
    sound = [one for one in found if _is_sound(one, cells) and cells[one.option.name, most].tokens_per_s.value is not None]
    allowed = [one for one in sound if one.option.judged.state != "fail"]
    if not allowed:
        return BenchAdvice(option="", state="fail" if sound else "not measured", why=(_none(found, sound),), typed="")
    passed = [one for one in allowed if one.option.judged.state == "pass"]
    pool = passed or allowed
    pick, ratios, ties = _choose(pool, cells, most)
    if pick is None:
        why = f"Can't tell {_listed([one.option.name for one in pool])} apart: one round gives no interval."
        return BenchAdvice(option="", state="not measured", why=(why,), typed="")
    state: State = "pass" if passed else "not measured"
    said = [
        _headline(pick, pool, cells[pick.option.name, most], tested=bool(passed), tied=bool(ties)),
        *ties,
        *(f"It gave {_ratio_words(ratio)} the tokens of {ratio.b}." for ratio in ratios),
        *_faster_but(pick, [one for one in sound if one not in pool], most),
        *_with_fewer_clients(pick, pool, cells, most),
        *_shorter(pick, allowed, cells, most),
        *(_left_out(one, cells) for one in found if one not in sound),
    ]
    return BenchAdvice(option=pick.option.name, state=state, why=tuple(said), typed=pick.option.typed)


def fastest(pool: Sequence[Measured], cells: Mapping[tuple[str, int], BenchCell], clients: int) -> Measured:
    """The option with the most tokens per second."""
    return max(pool, key=lambda one: cells[one.option.name, clients].tokens_per_s.value or 0.0)


def _is_sound(one: Measured, cells: Mapping[tuple[str, int], BenchCell]) -> bool:
    """Measured without a fault, with every number of clients."""
    own = [cell for (name, _), cell in cells.items() if name == one.option.name]
    return not one.problem and all(cell.requests and not cell.failed for cell in own)


def _choose(
    pool: Sequence[Measured], cells: Mapping[tuple[str, int], BenchCell], most: int
) -> tuple[Measured | None, list[Ratio], list[str]]:
    """The option to take, how much faster it is than those that are slower for sure, and sentences about those that it cannot
    be told from. None if nothing can be told of several."""
    best = fastest(pool, cells, most)
    level = 1 - _ALPHA / max(1, len(pool) - 1)
    others = [one for one in pool if one is not best]
    ratios = [(one, ratio_of(best, one, most, level=level)) for one in others]
    if others and all(ratio is None or ratio.low is None for _, ratio in ratios):
        return None, [], []
    tied = [(one, ratio) for one, ratio in ratios if ratio is None or not ratio.is_known]
    slower = sorted((ratio for _, ratio in ratios if ratio is not None and ratio.is_known), key=lambda ratio: ratio.value)
    if not tied:
        return best, slower[:1], []
    equal = [best, *(one for one, _ in tied)]
    pick = min(equal, key=lambda one: (one.memory_bytes is None, one.memory_bytes or 0, one is not best))
    said = [_untold(best, one, ratio) for one, ratio in tied]
    memories = [one.memory_bytes for one in equal if one is not pick and one.memory_bytes is not None]
    if pick.memory_bytes is not None and memories:
        least, more = _mib(pick.memory_bytes), _mib(min(memories))
        said.append(f"Of these {pick.option.name} takes the least memory: {least} MiB; the next one takes {more} MiB.")
    return pick, [ratio for ratio in slower[:1] if pick is best], said


def _untold(a: Measured, b: Measured, ratio: Ratio | None) -> str:
    if ratio is None or ratio.low is None:
        return f"Can't tell {a.option.name} from {b.option.name}: they have too few rounds in common for an interval."
    return f"Can't tell {a.option.name} from {b.option.name}: {_ratio_words(ratio)} the tokens, an interval that holds 1."


def _headline(pick: Measured, pool: Sequence[Measured], cell: BenchCell, *, tested: bool, tied: bool) -> str:
    rate = _figure_words(cell.tokens_per_s)
    clients = f"{cell.clients} client{'s' * (cell.clients != 1)}"
    of = "whose answers were tested and ended in SHIP" if tested else "measured"
    rank = f"{'among the fastest' if tied else 'the fastest'} of {len(pool)}" if len(pool) > 1 else "the only option"
    first = f"{pick.option.name}: {rate} tokens/s with {clients}, {rank} {of}."
    return first if tested else f"No option's answers were tested and ended in SHIP; this is about speed alone. {first}"


def _faster_but(pick: Measured, others: Sequence[Measured], most: int) -> list[str]:
    """What would be faster, and why it is not taken."""
    said = []
    for one in others:
        ratio = ratio_of(one, pick, most)
        if ratio is None or ratio.value <= 1:
            continue
        sure = "" if ratio.is_known else ", which may be chance"
        judged = one.option.judged
        but = f"it may not ship ({judged.why})" if judged.state == "fail" else f"its answers were not tested ({judged.why})"
        said.append(f"{one.option.name} gave {_ratio_words(ratio)} the tokens{sure}, but {but}.")
    return said


def _with_fewer_clients(
    pick: Measured, pool: Sequence[Measured], cells: Mapping[tuple[str, int], BenchCell], most: int
) -> list[str]:
    """Where another option of the pool is faster with fewer clients."""
    said = []
    level = 1 - _ALPHA / max(1, len(pool) - 1)
    for clients in sorted({count for _, count in cells if count != most}):
        best = fastest(pool, cells, clients)
        ratio = None if best is pick else ratio_of(best, pick, clients, level=level)
        if ratio is not None and ratio.is_known and ratio.value > 1:
            with_ = f"With {clients} client{'s' * (clients != 1)}"
            said.append(f"{with_} {best.option.name} gave {_ratio_words(ratio)} the tokens of {pick.option.name}.")
    return said


def _shorter(pick: Measured, others: Sequence[Measured], cells: Mapping[tuple[str, int], BenchCell], most: int) -> list[str]:
    """Options whose answers have another length: their tokens per second are of other work."""
    own = cells[pick.option.name, most].tokens_per_answer
    said = []
    for one in others:
        length = cells[one.option.name, most].tokens_per_answer
        if own and length and one is not pick and not 0.8 <= length / own <= 1.25:
            said.append(
                f"Answers of {one.option.name} had {length:.0f} tokens on average, those of {pick.option.name} {own:.0f}."
            )
    return said


def _left_out(one: Measured, cells: Mapping[tuple[str, int], BenchCell]) -> str:
    own = [cell for (name, _), cell in cells.items() if name == one.option.name]
    failed, asked = sum(cell.failed for cell in own), sum(cell.requests for cell in own)
    why = one.problem or (
        f"{failed} of {asked} requests failed" if failed else "it was not measured with all numbers of clients"
    )
    return f"{one.option.name} was left out: {why}."


def _none(found: Sequence[Measured], sound: Sequence[Measured]) -> str:
    if sound:
        return f"No option can be recommended: {_listed([one.option.name for one in sound])} may not ship."
    troubles = [f"{one.option.name}: {one.problem}" for one in found if one.problem]
    return "No option can be recommended: none was measured without a fault." + (f" {troubles[0]}." if troubles else "")


def _figure_words(figure: BenchFigure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.1f}"
    return f"{figure.value:.1f} [{figure.low:.1f}, {figure.high:.1f}]"


def _ratio_words(ratio: Ratio) -> str:
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.2f} times"
    return f"{ratio.value:.2f} times [{ratio.low:.2f}, {ratio.high:.2f}]"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:,.0f}"
