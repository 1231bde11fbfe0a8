"""Wishes in a comment, and the one line of code that fulfils them with a small private library: the rows of this recipe.

    python recipes/code/rows.py ROWS.jsonl

The library is `shelf`, which no model has seen. A test runs every answer against `Shelf` below. The recipe splits by `form`.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

PROMPT = "Complete with one line of Python that uses `shelf`.\n\n# {wish}\n"
NAMES = ("bolts", "hinges", "green paint", "sandpaper", "wood glue", "brass screws", "fuses", "cable ties", "chalk", "rope")
# ways to wish, and the line; {n} is a number, {name} and {other} are things
FORMS: tuple[tuple[str, str], ...] = (
    ("put {n} {name} on the shelf", "shelf.put({name!r}, count={n})"),
    ("we got {n} more {name}", "shelf.put({name!r}, count={n})"),
    ("store a delivery of {n} {name}", "shelf.put({name!r}, count={n})"),
    ("take {n} {name} off the shelf", "shelf.take({name!r}, count={n})"),
    ("{n} {name} are needed at the bench", "shelf.take({name!r}, count={n})"),
    ("hand out {n} {name}", "shelf.take({name!r}, count={n})"),
    ("how many {name} do we have", "shelf.count({name!r})"),
    ("number of {name} that are left", "shelf.count({name!r})"),
    ("are there any {name}? give me the number", "shelf.count({name!r})"),
    ("warn when fewer than {n} {name} are left", "shelf.watch({name!r}, below={n})"),
    ("keep at least {n} {name} in stock, else tell me", "shelf.watch({name!r}, below={n})"),
    ("set an alarm for {name} at {n}", "shelf.watch({name!r}, below={n})"),
    ("rename {name} to {other}", "shelf.rename({name!r}, to={other!r})"),
    ("{name} are called {other} from now on", "shelf.rename({name!r}, to={other!r})"),
    ("give {name} the new name {other}", "shelf.rename({name!r}, to={other!r})"),
    ("everything that is on the shelf, by name", "shelf.list(sort='name')"),
    ("list all things, the fullest first, top {n}", "shelf.list(sort='count', top={n})"),
    ("the {n} things that we have most of", "shelf.list(sort='count', top={n})"),
    ("forget {name} altogether", "shelf.drop({name!r})"),
    ("we no longer keep {name}", "shelf.drop({name!r})"),
    ("remove the entry of {name}", "shelf.drop({name!r})"),
)


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


def rows(each: int = 10, seed: int = 7) -> list[dict[str, str]]:
    """`each` wishes a form where it has blanks, one where it has none."""
    rng = random.Random(seed)
    made: list[dict[str, str]] = []
    for number, (wish, line) in enumerate(FORMS):
        lines: dict[str, str] = {}
        for _ in range(50):
            if len(lines) == each:
                break
            name, other = rng.sample(NAMES, 2)
            blanks = {"name": name, "other": other, "n": rng.randint(2, 60)}
            lines[wish.format(**blanks)] = line.format(**blanks)
        made += [{"prompt": PROMPT.format(wish=w), "completion": code, "form": f"form-{number}"} for w, code in lines.items()]
    return made


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
