"""Causes that show in what a server writes, where it shows nothing else: which model, asked in which way, would write that?"""

from __future__ import annotations

from tunesmith.eval.parity_case import Case, another, not_applied
from tunesmith.eval.parity_choices import ANSWERS, first_choices, other_prompts, said_by
from tunesmith.eval.parity_result import Cause

__all__ = ["cut", "explained"]

_SOME = 12  # answers that are tried with every explanation
_MOST = 0.9  # of the tokens must be first choices for an explanation to hold, and half of what was unexplained explained
_STRANGER = 0.6  # of the tokens are first choices of the tested model: below that, it is another one


def cut(case: Case) -> Cause | None:
    """Answers stop where the tested model goes on."""
    short, answers = case.answers.ended_early, case.answers
    if not short or len(short) < 0.5 * len([one for one in answers.divergences if not one.explained]):
        return None
    places = [one.at for one in short if one.at is not None]
    after = f", after {min(places)} to {max(places)} tokens" if places else ""
    return Cause(
        name="answers cut",
        evidence=f"{len(short)} of {answers.num_answers} answers of b stop before those of a{after}",
        hint="raise the limit of tokens of the server (max_tokens, num_predict, -n) or its context, and look for stop texts",
    )


def explained(case: Case) -> Cause | None:
    """Which of the things that go wrong would make the tested model write what `b` wrote."""
    apart, chat = case.scored.apart, case.a.chat or case.b.chat
    if apart is None or apart.what != ANSWERS or chat is None:
        return None
    asked, ends = case.asked, case.a.declared.ends or ()
    said = [said_by(answer, chat, from_text=answer.ids is None) for answer in asked.answers][:_SOME]
    prompts = list(asked.ids)[:_SOME]
    own = first_choices(case.a.system, prompts, said, ends)
    if own is None:
        return None

    def holds(share: float) -> bool:
        return share >= _MOST and 1 - share <= 0.5 * (1 - own.share)

    base = None if case.a.base is None else first_choices(case.a.base, prompts, said, ends)
    if base is not None and holds(base.share):
        share = f"{100 * base.share:.0f} % of the tokens that b writes are the base's first choice"
        return not_applied(f"{share}, {100 * own.share:.0f} % are a's")
    tried = [
        (found.share, name)
        for name, other in other_prompts(chat, list(asked.prompts)[:_SOME])
        if other != prompts and (found := first_choices(case.a.system, other, said, ends)) is not None
    ]
    best, name = max(tried, default=(0.0, ""))
    if holds(best):
        return Cause(
            name="chat template",
            evidence=f"b answers as a does when its prompts are written {name}: {100 * best:.0f} % of the tokens are then its"
            f" first choice, {100 * own.share:.0f} % otherwise",
            hint="give b the chat_template.jinja of the base (llama.cpp: --jinja --chat-template-file FILE)",
        )
    if own.share < _STRANGER:
        return another(f"{100 * own.share:.0f} % of the tokens that b writes are a's first choice")
    return None
