"""What the pages of an arena show, as plain values: nothing in a voting page says which system an answer is from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.core.records import digest

if TYPE_CHECKING:
    from tunesmith.api import Arena, ArenaResults, Showing, VoteRate

__all__ = ["percent", "results_view", "token_of", "voting_view"]

_SHOWN = 12  # judged pairs that are shown with names, at the end


def token_of(arena: Arena, voter: str, showing: Showing) -> str:
    """Names what is shown without saying whether it is shown again."""
    return digest(str(arena.seed), "token", voter, showing.pair.id, str(showing.again))[:16]


def voting_view(arena: Arena, voter: str, showing: Showing) -> dict[str, Any]:
    """One pair: the question, the answers from left to right, and how far the voter is."""
    done, total = arena.progress(voter)
    turns = showing.pair.prompt
    return {
        "ask": arena.ask,
        "voter": voter,
        "token": token_of(arena, voter, showing),
        "earlier": [(turn.role, turn.content) for turn in turns[:-1]],
        "question": turns[-1].content if turns else "",
        "answers": [side.text.strip() or "(no answer)" for side in showing.sides],
        "number": done + 1,
        "total": total,
    }


def percent(rate: VoteRate) -> str:
    """A rate in percent with its interval, or why there is none."""
    if rate.value is None:
        return "not measured"
    ends = "" if rate.ci is None else f" [{100 * rate.ci.low:.0f}, {100 * rate.ci.high:.0f}]"
    return f"{100 * rate.value:.0f} %{ends}"


def results_view(arena: Arena, voter: str, found: ArenaResults) -> dict[str, Any]:
    """The end: who was preferred, how sure that is, how consistent the voters were, and what length explains."""
    return {
        "ask": arena.ask,
        "voter": voter,
        "found": found,
        "headline": _headline(found),
        "bar": _bar(found),
        "figures": _figures(found),
        "lengths": [(name, f"{words:.0f}") for name, words in found.words.items()],
        "length_note": _length_note(found),
        "strengths": [
            (s.system, f"{s.value:+.2f} [{s.ci.low:+.2f}, {s.ci.high:+.2f}]", f"{100 * s.win_chance:.0f} %")
            for s in found.strengths
        ],
        "voters": [(v.name, v.votes, v.ties, percent(v.consistency), v.why or "counted") for v in found.voters],
        "slices": [] if found.slices is None else [(s.by, s.value, s.n, _mean(s.score)) for s in found.slices.slices],
        "slices_note": found.worst_slice,
        "pairs": [(p.a, p.b, p.wins_a, p.wins_b, p.ties) for p in found.pairs],
        "judged": _judged(arena, voter),
    }


def _headline(found: ArenaResults) -> str:
    if not found.measured:
        return "Not measured"
    if found.decision.better:
        return f"{found.decision.better} is preferred"
    return "The votes do not tell yet" if found.decision.state == "more votes" else "The votes do not tell"


def _bar(found: ArenaResults) -> Mapping[str, str] | None:
    """The win rate and its interval as positions on a line from 0 to 100 %."""
    rate = found.win_rate
    if rate.value is None or rate.ci is None:
        return None
    low, high = 100 * rate.ci.low, 100 * rate.ci.high
    return {"value": f"{100 * rate.value:.1f}", "low": f"{low:.1f}", "width": f"{high - low:.1f}"}


def _figures(found: ArenaResults) -> list[tuple[str, str, str, str]]:
    """Name, value, interval and a note of each figure."""
    wins = ", ".join(f"{name} {count}" for name, count in found.wins.items())
    rows = [
        ("Votes", str(found.votes), "", f"{wins}, ties {found.ties}; {found.skips} skipped"),
        _figure(f"Win rate of {found.subject}", found.win_rate, "a tie is half a win"),
        _figure("Your consistency" if len(found.voters) == 1 else "Consistency", found.consistency, _repeats(found)),
        _figure("Longer answer preferred", found.longer, f"{found.longer.n} votes with a preference"),
        _figure("Win rate at equal length", found.at_equal_length, "with length held constant"),
    ]
    if found.by_document is not None:
        documents = f"{found.by_document.num_prompts} documents"
        rows.insert(2, _figure("The same, by document", found.by_document, documents))
    if len(found.voters) > 1:
        rows.append(_figure("Voters agree", found.agreement, f"{found.agreement.n} shared votes"))
    return rows


def _figure(name: str, rate: VoteRate, note: str) -> tuple[str, str, str, str]:
    if rate.value is None:
        return name, "–", "", f"not measured: {rate.why}"
    ends = "" if rate.ci is None else f"{100 * rate.ci.low:.0f} to {100 * rate.ci.high:.0f} %"
    return name, f"{100 * rate.value:.0f} %", ends, note


def _repeats(found: ArenaResults) -> str:
    count = found.consistency.n
    return f"{count} {'pair' if count == 1 else 'pairs'} came again with the sides swapped"


def _length_note(found: ArenaResults) -> str:
    longer = found.longer
    if longer.ci is None:
        return ""
    if longer.ci.low > 0.5:
        return "The longer answer was preferred more often than by chance: length explains a part of the result."
    if longer.ci.high < 0.5:
        return "The shorter answer was preferred more often than by chance: length explains a part of the result."
    return "These votes do not show that length decided."


def _mean(score: Any) -> str:
    if score.mean is None or math.isnan(score.mean):
        return "not measured"
    ends = "" if score.ci is None else f" [{100 * score.ci.low:.0f}, {100 * score.ci.high:.0f}]"
    return f"{100 * score.mean:.0f} %{ends}"


def _judged(arena: Arena, voter: str) -> list[dict[str, Any]]:
    """Some of the voter's own pairs, with the names."""
    by_id = {pair.id: pair for pair in arena.pairs}
    own = [vote for vote in arena.votes() if vote.voter == voter and not vote.again and vote.choice in ("left", "right", "tie")]
    shown = []
    for vote in own[:_SHOWN]:
        pair = by_id[vote.pair]
        right = next(name for name in pair.systems if name != vote.left)
        chosen = {"left": vote.left, "right": right}.get(vote.choice, "")
        sides = [(name, pair.response(name).text, name == chosen) for name in (vote.left, right)]
        shown.append({"question": pair.prompt[-1].content if pair.prompt else "", "sides": sides, "chosen": chosen or "a tie"})
    return shown
