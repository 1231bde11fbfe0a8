"""The pages are true: links lead somewhere, commands exist, the drawing is that of the imports, make types what pages say."""

from __future__ import annotations

import importlib.util
import io
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from tunesmith.cli.main import main
from tunesmith.pipeline.recipe_file import knobs
from tunesmith.pipeline.recipe_stages import own_name
from tunesmith.pipeline.sections.stages import StageConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(p for folder in ("docs", "recipes", "benchmarks") for p in (ROOT / folder).rglob("*.md"))]
)
HISTORY = {"CHANGELOG.md", "log.md"}  # what was typed once may be gone since


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- links ------------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def wrong_links(page: Path, text: str) -> list[str]:
    prose = re.sub(r"^```.*?^```|`[^`\n]*`|^ {4}.*$", "", text, flags=re.MULTILINE | re.DOTALL)
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name) if name else page
        if not there.exists() or (anchor and anchor not in anchors(there.read_text(encoding="utf-8") if name else text)):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    assert not wrong_links(page, page.read_text(encoding="utf-8"))


def test_a_wrong_link_and_a_wrong_heading_are_found() -> None:
    page = ROOT / "docs" / "index.md"
    planted = (
        "# Here\n\n[a](concepts/no-such-page.md) [b](concepts/verdict.md#no-such-heading) [c](#here) [d](concepts/verdict.md)"
    )
    assert wrong_links(page, planted) == ["concepts/no-such-page.md", "concepts/verdict.md#no-such-heading"]


def test_every_page_stands_in_the_navigation_of_the_site() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"^ +- ([\w/.-]+\.md)$", text, re.MULTILINE))
    assert listed == {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs mkdocs-material, which the docs extra brings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- commands ---------------------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[str]:
    """Every `tunesmith …` in a block or in backticks, alone in its line or before two blanks, `#` or `&&`."""
    lines = [line.removeprefix("$ ") for line in re.findall(r"^(?: {4}|\$ )?(tunesmith .*)$", text, re.MULTILINE)]
    blocks = re.findall(r"^ {4}\$? ?(tunesmith .*|.*&& tunesmith .*)$", text, re.MULTILINE)
    spans = re.findall(r"(?<!`)`(tunesmith [^`\n]+)`(?!`)", text)
    for line in dict.fromkeys([*lines, *blocks, *spans]):
        for piece in re.split(r"\s{2,}|&&|#|\\$|\||;", line):
            if piece.strip().startswith("tunesmith "):
                yield piece.strip()


@cache
def help_of(verb: str) -> str | None:
    """What `tunesmith VERB --help` prints; None if there is no such verb."""
    with redirect_stdout(io.StringIO()) as told, redirect_stderr(io.StringIO()):
        try:
            main([verb, "--help"])
        except SystemExit as ended:
            return told.getvalue() if ended.code in (0, None) else None
    return told.getvalue()


def wrong_commands(text: str) -> list[str]:
    settings = {knob.name for knob in knobs()} | set(StageConfig.model_fields)
    wrong = []
    for command in commands(text):
        words = shlex.split(command.replace("…", " ").replace("[", " ").replace("]", " "))[1:]
        if not words or words[0].startswith("-") or words[0].isupper():
            continue
        told = help_of(words[0])
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        keys = [words[at + 1].partition("=")[0] for at, word in enumerate(words[:-1]) if word == "--set"]
        if (
            told is None
            or any(option not in told for option in options)
            or any("." in key and own_name(key) not in settings for key in keys)
        ):
            wrong.append(command)
    return wrong


@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in HISTORY], ids=named)
def test_every_command_of_a_page_has_a_verb_options_and_settings_that_exist(page: Path) -> None:
    assert not wrong_commands(page.read_text(encoding="utf-8"))


def test_a_wrong_verb_option_and_setting_are_found() -> None:
    planted = """Type `tunesmith plam`, or:

    tunesmith plan --sauce ./posts     what is to come
    tunesmith run --set train.epoch=3 && tunesmith run --set train.epochs=3

```console
$ tunesmith chat --no-such-option
```
"""
    assert sorted(wrong_commands(planted)) == [
        "tunesmith chat --no-such-option",
        "tunesmith plam",
        "tunesmith plan --sauce ./posts",
        "tunesmith run --set train.epoch=3",
    ]


# --- the drawing and make ---------------------------------------------------------------------------------------------


def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "docs" / "draw_architecture.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_drawing_of_the_packages_is_that_of_the_imports() -> None:
    draw = drawing()
    page: str = draw.PAGE.read_text(encoding="utf-8")
    assert draw.renewed(page) == page, "type: python docs/draw_architecture.py"


def test_a_new_import_between_packages_appears_in_the_drawing(tmp_path: Path) -> None:
    for name, text in {"above": "from tunesmith.below import thing", "below": ""}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f'"""The package {name}."""\n{text}\n', encoding="utf-8")
    draw = drawing()
    assert draw.edges(tmp_path, "tunesmith") == [("above", "below")]
    assert "above --> below" in draw.drawn(tmp_path) and "| `below/` | The package below. |" in draw.drawn(tmp_path)


def test_make_types_only_what_a_page_tells_people_to_type() -> None:
    pages = "".join(
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")
    )
    typed = re.findall(r"^\t(.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(typed) >= 8
    assert not [line for line in typed if line not in pages]


def test_what_is_nightly_is_left_out_by_plain_pytest_and_run_by_a_schedule() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert "-m 'not nightly'" in settings["addopts"]
    assert "run: make nightly" in (ROOT / ".github" / "workflows" / "nightly.yml").read_text(encoding="utf-8")
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "mark.nightly" in path.read_text(encoding="utf-8")]
    assert len(marked) >= 5


# --- the workflows ----------------------------------------------------------------------------------------------------

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=named)
def test_a_workflow_may_only_read_by_default_and_names_actions_by_their_whole_hash(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "\npermissions:\n  contents: read\n" in text
    used = re.findall(r"uses: *(.+)$", text, re.MULTILINE)
    assert used and not [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)]


def test_the_test_matrix_names_the_systems_and_pythons_of_the_package() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pythons = re.findall(r"Python :: (3\.\d+)", project)
    listed = ", ".join(f'"{one}"' for one in pythons)
    assert f"python: [{listed}]" in text
    assert "os: [ubuntu-latest, macos-latest, windows-latest]" in text
