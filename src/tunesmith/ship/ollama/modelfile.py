"""The text of a Modelfile, and back: as Ollama's own parser reads it.

Source: parser/parser.go of Ollama. Values have no escapes: a value in three quotation marks ends at the first line that ends
with three, and characters that are not printable are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core.errors import ModelError

__all__ = ["Command", "read_modelfile", "write_modelfile"]

Command = tuple[str, str]
"""Name (`FROM`, `TEMPLATE`, `PARAMETER stop` …) and value. `#` is a comment."""

_MARKS = '"""'
_PARAMETER = "PARAMETER"


def write_modelfile(commands: Sequence[Command]) -> str:
    """The text. ModelError for a value that the format cannot hold."""
    lines: list[str] = []
    for name, value in commands:
        if name == "#":
            lines += [f"# {line}".rstrip() for line in value.splitlines()]
            continue
        plain = value and not set(value) & set('"\n\r\t#') and value == value.strip()
        marks = '"' if plain else _MARKS
        written = value if plain and not name.endswith(" stop") else f"{marks}{value}{marks}"
        if "\r" in value or read_modelfile(f"{name} {written}\n") != [(name, value)]:
            raise ModelError(
                f"a Modelfile cannot hold this value of {name}",
                value=_offence(value),
                expected='printable characters, spaces, tabs and line feeds, and no line that ends with """',
                hint="replace these characters (a no-break space by a space, say)",
            )
        lines.append(f"{name} {written}")
    return "\n".join(lines) + "\n"


def _offence(value: str) -> str:
    dropped = sorted({f"U+{ord(c):04X}" for c in value if not (c.isprintable() or c in "\n\t")})
    return ", ".join(dropped) or value[:80]


def read_modelfile(text: str) -> list[Command]:
    """The commands of a Modelfile, comments left out. ModelError if Ollama would refuse it."""
    commands: list[Command] = []
    lines = text.split("\n")
    while lines:
        line = lines.pop(0).lstrip(" \t\r")
        if not line or line.startswith("#"):
            continue
        name, _, value = line.partition(" ")
        if name.upper() == _PARAMETER:
            parameter, _, value = value.lstrip().partition(" ")
            name = f"{name} {parameter}"
        found = _unquoted(value)
        while found is None:
            if not lines:
                raise ModelError(
                    "a Modelfile ends inside a value",
                    value=line[:80],
                    expected="the quotation marks that close it",
                    hint="write the file again: tunesmith export",
                )
            value += "\n" + lines.pop(0)
            found = _unquoted(value)
        kept = "".join(c for c in found if c.isprintable() or c in "\n\r\t")
        commands.append((name if name.startswith(_PARAMETER) else name.upper(), kept))
    return commands


def _unquoted(value: str) -> str | None:
    """The value without its quotation marks; None where they are not closed yet."""
    value = value.strip()
    for marks in (_MARKS, '"'):
        if value.startswith(marks):
            closed = len(value) >= 2 * len(marks) and value.endswith(marks)
            return value[len(marks) : -len(marks)] if closed else None
    return value
