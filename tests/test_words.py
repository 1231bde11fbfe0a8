"""Plain words: the README, the help, the recipe's settings and all messages use the field's English and no private dialect."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tunesmith.cli.main import main, verb_helps
from tunesmith.pipeline.recipe_file import knobs

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tunesmith"

# What to write instead: pipeline, form or conversion step, again, fix, alongside, skipped, depend on, repeats itself, reported,
# target tokens, the author's, no one, continue or resume, check or review, "not a …", per token, as usual.
DIALECT = (
    r"roads?|hops?|anew|mend(?:s|ed|ing)?|beside|passed over|h[au]ngs? on|in circles|told|learned tokens?|nobody|somebody"
    r"|of the author's(?= alone|[.,;:)])|go(?:es|ne|ing)? on|went on|looks? at|as ever|stands?|stood|lies"
    r"|(?<!there )(?:is|are|was|were) no|a token(?! tree| count)|a second"
    r"|(?:tokens|pages|rows|steps|answers|items) at most"
)
FORBIDDEN = re.compile(rf"\b(?:{DIALECT})\b", re.IGNORECASE)
NORMAL = re.compile(r"(?:takes?|under) a second|a second time|no longer", re.IGNORECASE)
PROMPTS = {  # texts for a language model, word lists and patterns: none is read by a user
    *(
        "data/synth/prompts.py",
        "data/synth/guard.py",
        "data/synth/instruct.py",
        "data/synth/rubric.py",
        "data/synth/rewrite.py",
    ),
    *(
        "data/dataset/leaks.py",
        "data/text/lexicon.py",
        "data/text/openings.py",
        "data/dataset/questions.py",
        "data/dataset/phrases.py",
    ),
    *("data/ingest/chat.py", "data/checks/asking.py"),
}


def dialect(text: str) -> list[str]:
    """The private words in a text."""
    return FORBIDDEN.findall(NORMAL.sub(" ", text))


def messages(source: str) -> Iterator[tuple[int, str]]:
    """Every string of a module that a user may read, with its line: all but docstrings and names without a blank."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docstrings:
            continue
        if " " in node.value.strip():
            yield node.lineno, node.value


def help_of(*words: str) -> str:
    with redirect_stdout(io.StringIO()) as printed:
        main([*words, "--help"])
    return printed.getvalue()


def test_the_readme_is_in_plain_words() -> None:
    prose = re.sub(r"<details>.*?</details>", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert dialect(prose) == []


@pytest.mark.parametrize("verb", ["", *verb_helps()])
def test_the_help_is_in_plain_words(verb: str) -> None:
    assert dialect(help_of(*verb.split())) == []


def test_the_settings_of_the_recipe_are_in_plain_words() -> None:
    assert {knob.name: found for knob in knobs() if (found := dialect(knob.text))} == {}


MODULES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


@pytest.mark.parametrize("name", [name for name in MODULES if name not in PROMPTS])
def test_the_messages_of_a_module_are_in_plain_words(name: str) -> None:
    source = (SOURCE / name).read_text(encoding="utf-8")
    assert [f"{name}:{line}: {found} in {text!r}" for line, text in messages(source) if (found := dialect(text))] == []


def test_dialect_in_a_message_a_setting_and_a_help_text_is_found() -> None:
    planted = (
        '"""A docstring may say what it is told."""\nfail("the file is no table", hint=f"mend line {number} of the road")\n'
    )
    assert [found for _, text in messages(planted) for found in dialect(text)] == ["is no", "mend", "road"]
    assert dialect("Tokens of an answer at most. Where it lies, nobody looks at it.") == ["lies", "nobody", "looks at"]
    assert dialect("Passed over; it goes on beside the others, 5 a second, and hangs on luck.") == [
        "Passed over",
        "goes on",
        "beside",
        "a second",
        "hangs on",
    ]


def test_normal_english_is_allowed() -> None:
    assert dialect("The loss no longer falls; keep at most two checkpoints, whose names you may look up.") == []
