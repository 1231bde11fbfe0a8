"""Notices of small events, and who, what, where and when in them, one a line: the rows of this recipe, the same on every call.

    python recipes/extraction/rows.py ROWS.jsonl

Two fifths of the notices lack one or two of the four, whose lines then say `-`. The recipe splits by `form`, so that the test
has other sentences.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

QUESTION = "List who, what, where and when, one a line; - for what is not said.\n\n"
WHO = (
    "the choir",
    "Mrs Adeyemi",
    "the chess club",
    "our librarian",
    "the rowing team",
    "Jonas Weber",
    "the fire brigade",
    "class 5b",
)
WHAT = (
    "a concert",
    "a bake sale",
    "a first-aid course",
    "a reading",
    "an open day",
    "a repair evening",
    "a flea market",
    "a quiz",
)
WHERE = ("in the old mill", "at the town hall", "in the school yard", "at the harbour", "in room 12", "under the lime trees")
WHEN = ("on Friday at six", "on 4 May", "next Sunday", "at noon on Saturday", "on the last day of June", "tomorrow evening")
FORMS = (
    "{who} gives {what} {where} {when}.",
    "{when} there is {what} {where}, by {who}.",
    "Come and see: {who} holds {what} {when}, {where}.",
    "{what} by {who} takes place {where}. It begins {when}.",
    "Do not miss {what} {when}. {who} expects you {where}.",
    "{where}, {when}: {what}. It is {who} that invites.",
    "For the third year {who} plans {what}; you find it {where} {when}.",
    "Because of the rain, {what} of {who} was moved and is now {where}, {when}.",
    "{who} writes: 'We prepare {what} {where} and look forward to seeing you {when}.'",
    "Volunteers are wanted for {what} {when}. Meet {who} {where}.",
    "If you like {what}, go {where} {when} and ask for {who}.",
    "It is decided: {what} {where} {when}, and {who} is in charge.",
)
SHORT = (
    ("{who} gives {what} {when}.", "where"),
    ("There will be {what} {where} {when}.", "who"),
    ("{who} invites you to {what} {where}; the day is not yet known.", "when"),
    ("{who} meets {where} {when}.", "what"),
    ("{what} {where}? Yes, says {who}, and soon.", "when"),
    ("{what} {when}, that is all we know so far.", "who, where"),
    ("You can talk to {who} {where} {when} about this and that.", "what"),
    ("{who} promises {what} {when}, wherever there is room.", "where"),
)


def rows(each: int = 12, seed: int = 7) -> list[dict[str, object]]:
    """`each` notices a form."""
    rng = random.Random(seed)
    made: list[dict[str, object]] = []
    for number, (form, lacking) in enumerate([*((form, "") for form in FORMS), *SHORT]):
        texts: dict[str, str] = {}
        while len(texts) < each:
            parts = {"who": rng.choice(WHO), "what": rng.choice(WHAT), "where": rng.choice(WHERE), "when": rng.choice(WHEN)}
            text = form.format(**parts)
            said = {name: "-" if name in lacking.split(", ") else value for name, value in parts.items()}
            texts[text[0].upper() + text[1:]] = "\n".join(f"{name}: {value}" for name, value in said.items())
        made += [{"prompt": QUESTION + text, "completion": answer, "form": f"form-{number}"} for text, answer in texts.items()]
    return made


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
