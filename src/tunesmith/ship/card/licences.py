"""Licences of bases: how their text is recognised, what the hub calls them, and what they ask of a tuned model."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LICENCES", "UNKNOWN", "Licence", "recognised"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """`id` as SPDX writes it, or the name that its maker gave it; `hub` as the hub's metadata has it; `mark` is in its text."""

    id: str
    hub: str
    mark: str
    conditions: str


LICENCES = (
    Licence(
        id="Apache-2.0",
        hub="apache-2.0",
        mark="Apache License",
        conditions="You may use, change and sell it. Keep the licence text and the notices with it, "
        "and say that the model was changed.",
    ),
    Licence(
        id="MIT",
        hub="mit",
        mark="Permission is hereby granted, free of charge",
        conditions="You may use, change and sell it. Keep the copyright notice and the licence text with it.",
    ),
    Licence(
        id="CC-BY-SA-4.0",
        hub="cc-by-sa-4.0",
        mark="Attribution-ShareAlike 4.0",
        conditions="You may use, change and sell it. Name the source, say what was changed, "
        "and pass the result on under the same licence.",
    ),
    Licence(
        id="CC-BY-4.0",
        hub="cc-by-4.0",
        mark="Attribution 4.0 International",
        conditions="You may use, change and sell it. Name the source and say what was changed.",
    ),
    Licence(
        id="Llama community licence",
        hub="other",
        mark="COMMUNITY LICENSE AGREEMENT",
        conditions="Use is bound to the maker's terms and its list of forbidden uses. "
        "The name of a tuned model begins with Llama. Read the licence before you pass the model on.",
    ),
    Licence(
        id="Gemma terms of use",
        hub="gemma",
        mark="Gemma Terms of Use",
        conditions="Use is bound to the maker's terms and its list of forbidden uses. They also bind whoever gets the model. "
        "Read them before you pass the model on.",
    ),
)
UNKNOWN = Licence(
    id="not known",
    hub="unknown",
    mark="",
    conditions="No artifact says under which licence the base was given. Find out before you pass the model on.",
)


def recognised(text: str) -> Licence:
    """The licence whose words a text has, or `UNKNOWN`. More than one kind of words is not known either."""
    found = [licence for licence in LICENCES if licence.mark in " ".join(text.split())]
    return found[0] if len(found) == 1 else UNKNOWN
