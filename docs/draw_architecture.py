"""Draw the packages from the imports into `docs/concepts/architecture.md`. Type: python docs/draw_architecture.py

Standard library only, and nothing of Tunesmith is imported: the drawing is what the files say. A test holds the page to it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["drawn", "edges", "packages"]

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tunesmith"
PAGE = ROOT / "docs" / "concepts" / "architecture.md"
BEGIN, END = "<!-- drawn from the imports: begin -->\n", "<!-- drawn from the imports: end -->\n"
FOUNDATION = "core"  # everything may import it, so its arrows say nothing


def packages(folder: Path) -> dict[str, str]:
    """Name of each package right below `folder`, and the first line of its docstring."""
    found = {}
    for init in sorted(folder.glob("*/__init__.py")):
        text = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
        found[init.parent.name] = text.partition("\n")[0]
    return found


def imported(file: Path) -> Iterator[str]:
    """Dotted names of the modules that a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def edges(folder: Path, prefix: str) -> list[tuple[str, str]]:
    """(importer, imported) of the packages right below `folder`, whose dotted name is `prefix`; each pair once, sorted."""
    names = packages(folder)
    found = set()
    for name in names:
        for file in (folder / name).rglob("*.py"):
            for module in imported(file):
                other = module.removeprefix(prefix + ".").partition(".")[0] if module.startswith(prefix + ".") else ""
                if other in names and other != name:
                    found.add((name, other))
    return sorted(found)


def diagram(arrows: list[tuple[str, str]]) -> list[str]:
    """A Mermaid flowchart; GitHub and the site draw it."""
    return ["```mermaid", "flowchart TD", *(f"    {above} --> {below}" for above, below in arrows), "```", ""]


def drawn(source: Path = SOURCE) -> str:
    """The drawings and the table of packages, as Markdown."""
    lines = [*diagram([pair for pair in edges(source, "tunesmith") if FOUNDATION not in pair])]
    lines += ["| package | what is in it |", "|---|---|"]
    lines += [f"| `{name}/` | {text} |" for name, text in packages(source).items()]
    for name in packages(source):
        if inner := edges(source / name, f"tunesmith.{name}"):
            lines += ["", f"## Inside `{name}/`", "", *diagram(inner)]
            lines += ["| package | what is in it |", "|---|---|"]
            lines += [f"| `{name}/{part}/` | {text} |" for part, text in packages(source / name).items()]
    return "\n".join(lines) + "\n"


def renewed(page: str) -> str:
    """The page with the drawing of today between its two marks."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + "\n" + drawn() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} is drawn\n")
