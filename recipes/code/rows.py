"""Wishes in a comment, and the one line of code that fulfils them with a small private library: the rows of this recipe.

    python recipes/code/rows.py ROWS.jsonl

The library is `shelf`, which no model has seen. A test runs every answer against `Shelf` below. The recipe splits by `form`,
so that the test wishes in words that training lacked.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

PROMPT = "Complete with one line of Python that uses `shelf`.\n\n# {wish}\n"
NAMES = (
    *("bolts", "hinges", "green paint", "sandpaper", "wood glue", "brass screws", "fuses", "cable ties", "chalk", "rope"),
    *("nails", "white paint", "oil", "rags", "drill bits", "washers", "masking tape", "gloves", "bulbs", "felt pads"),
)
# a call, its line, and five ways to wish for it; {n} is a number, {name} and {other} are things
FORMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "put": (
        "shelf.put({name!r}, count={n})",
        (
            "put {n} {name} on the shelf",
            "we got {n} more {name}",
            "store a delivery of {n} {name}",
            "{n} {name} have come in",
            "add {n} {name} to what we have",
        ),
    ),
    "take": (
        "shelf.take({name!r}, count={n})",
        (
            "take {n} {name} off the shelf",
            "{n} {name} are needed at the bench",
            "hand out {n} {name}",
            "somebody used up {n} {name}",
            "get me {n} {name}",
        ),
    ),
    "count": (
        "shelf.count({name!r})",
        (
            "how many {name} do we have",
            "number of {name} that are left",
            "are there any {name}? give me the number",
            "count the {name}",
            "what is our stock of {name}",
        ),
    ),
    "watch": (
        "shelf.watch({name!r}, below={n})",
        (
            "warn when fewer than {n} {name} are left",
            "keep at least {n} {name} in stock, else tell me",
            "set an alarm for {name} at {n}",
            "let me know once {name} fall below {n}",
            "I want to hear of it if we have less than {n} {name}",
        ),
    ),
    "rename": (
        "shelf.rename({name!r}, to={other!r})",
        (
            "rename {name} to {other}",
            "{name} are called {other} from now on",
            "give {name} the new name {other}",
            "write {other} wherever it said {name}",
            "the label {name} was wrong, it should read {other}",
        ),
    ),
    "list": (
        "shelf.list(sort='count', top={n})",
        (
            "list all things, the fullest first, top {n}",
            "the {n} things that we have most of",
            "which {n} names have the highest stock",
            "show the {n} largest piles",
            "top {n} by number",
        ),
    ),
    "drop": (
        "shelf.drop({name!r})",
        (
            "forget {name} altogether",
            "we no longer keep {name}",
            "remove the entry of {name}",
            "{name} can go from the books",
            "delete {name}, whatever is left of them",
        ),
    ),
}


class Shelf:
    """The library as the answers call it; it only writes down what it was asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def put(self, name: str, *, count: int) -> None:
        self.calls.append(f"put {count} {name}")

    def take(self, name: str, *, count: int) -> None:
        self.calls.append(f"take {count} {name}")

    def count(self, name: str) -> None:
        self.calls.append(f"count {name}")

    def watch(self, name: str, *, below: int) -> None:
        self.calls.append(f"watch {name} below {below}")

    def rename(self, name: str, *, to: str) -> None:
        self.calls.append(f"rename {name} to {to}")

    def list(self, *, sort: str, top: int | None = None) -> None:
        self.calls.append(f"list by {sort}, top {top}")

    def drop(self, name: str) -> None:
        self.calls.append(f"drop {name}")


def rows(each: int = 6, seed: int = 7) -> list[dict[str, str]]:
    """`each` wishes a form."""
    rng = random.Random(seed)
    made: list[dict[str, str]] = []
    for call, (line, ways) in FORMS.items():
        for number, wish in enumerate(ways):
            lines: dict[str, str] = {}
            while len(lines) < each:
                name, other = rng.sample(NAMES, 2)
                blanks = {"name": name, "other": other, "n": rng.randint(2, 60)}
                lines[wish.format(**blanks)] = line.format(**blanks)
            made += [
                {"prompt": PROMPT.format(wish=text), "completion": code, "form": f"{call}-{number}"}
                for text, code in lines.items()
            ]
    return made


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
