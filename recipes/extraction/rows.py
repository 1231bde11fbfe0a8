"""Notices of small events, and who, what, where and when in them, one a line: the rows of this recipe, the same on every call.

    python recipes/extraction/rows.py ROWS.jsonl

Two fifths of the notices lack one or two of the four, whose lines then say `-`. The recipe splits by `form`, so that the test
has other sentences; some of its names and days stand in no training row either.
"""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path

QUESTION = "List who, what, where and when, one a line; - for what is not said.\n\n"
CLUBS = ["chess", "rowing", "book", "garden", "swimming", "drama", "cycling", "history"]
NAMES = (
    *("Adeyemi", "Weber", "Novak", "Silva", "Olsen", "Haddad", "Tanaka", "Moreau"),
    *("Kowalski", "Duarte", "Lindqvist", "Okafor", "Brandt", "Rossi", "Farouk", "Petrov"),
)
GROUPS = ("the choir", "our librarian", "the fire brigade", "class 5b", "the parish council", "the night school")
WHO = (
    *GROUPS,
    *(f"the {club} club" for club in CLUBS),
    *(f"{title} {name}" for title in ("Mrs", "Mr", "Dr") for name in NAMES),
)
KINDS = ["concert", "reading", "quiz", "dance", "lecture", "workshop", "raffle", "picnic", "rehearsal", "debate"]
WHAT = (
    *(f"a {size} {kind}" for size in ("short", "free", "charity", "public") for kind in KINDS),
    "a bake sale",
    "a first-aid course",
    "an open day",
    "a repair evening",
    "a flea market",
    "a seed swap",
)
PLACES = (
    *("old mill", "school yard", "town hall", "harbour office", "bus depot"),
    *("reading room", "museum cellar", "sports hall", "orchard", "chapel"),
)
WHERE = (
    *(f"{where} the {place}" for where in ("in", "behind", "next to", "opposite") for place in PLACES),
    *(f"in room {number}" for number in range(3, 30, 2)),
)
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["March", "April", "May", "June", "September", "October"]
WHEN = (
    *(f"on {day} at {hour}" for day in DAYS for hour in ("noon", "six", "half past seven", "eight")),
    *(f"on {day} {month}" for month in MONTHS for day in range(2, 30, 3)),
    *(f"next {day}" for day in DAYS),
    "tomorrow evening",
)
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
    "Who has time {when}? {who} looks for helpers for {what} {where}.",
    "After long talks {who} found a place for {what}: {where}, {when}.",
    "Bring a chair. {what} of {who} begins {when} {where}.",
    "{when} we meet {where}, because {who} has got up {what}.",
    "Many asked: yes, {what} is {where}, {when}, and {who} will be there.",
    "Posters say that {who} puts on {what} {when}, {where}.",
    "Tickets for {what} are with {who}; it is {where} {when}.",
    "Thanks to {who} there will be {what} {when}, {where}.",
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
    ("Anyone may come to {what} {where} {when}.", "who"),
    ("We shall see {who} {where}, on a day that will be told.", "what, when"),
    ("{what} by {who}: no place has been found, but {when} is fixed.", "where"),
    ("The key lies with {who} {where}.", "what, when"),
)


def rows(each: int = 8, seed: int = 7) -> list[dict[str, object]]:
    """`each` notices a form."""
    rng = random.Random(seed)
    made: list[dict[str, object]] = []
    for number, (form, lacking) in enumerate([*((form, "") for form in FORMS), *SHORT]):
        texts: dict[str, str] = {}
        while len(texts) < each:
            parts = {"who": rng.choice(WHO), "what": rng.choice(WHAT), "where": rng.choice(WHERE), "when": rng.choice(WHEN)}
            text = form.format(**parts)
            said = {name: "-" if name in lacking.split(", ") else value for name, value in parts.items()}
            text = re.sub(r"(?:^|[.?] )[a-z]", lambda start: start[0].upper(), text)
            texts[text] = "\n".join(f"{name}: {value}" for name, value in said.items())
        made += [{"prompt": QUESTION + text, "completion": answer, "form": f"form-{number}"} for text, answer in texts.items()]
    return made


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
