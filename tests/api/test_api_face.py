"""The Python face: every command as a function, the same answer as the command gives, and a page about all of it."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

import tunesmith
from fakes import write_posts
from tunesmith import api
from tunesmith.api import reference
from tunesmith.cli.main import main, verb_helps
from tunesmith.core.errors import RecipeError

ROOT = Path(__file__).parents[2]
PACKAGES = {"plan", "serve", "train"}  # functions of `tunesmith.api` that `tunesmith` has as packages
OTHER_NAMES = {
    "ab": "ab_status",
    "arena": "open_arena",
    "bench": "bench_serve",
    "lora": "lora_sizes",
    "bases": "list_bases",
    "demo": "run",
    "eval": "evaluate",
    "feedback": "export_feedback",
    "golden": "golden_add",
    "init": "new_recipe",
    "judge": "calibrate_judge",
    "path": "artifact",
    "route": "train_router",
    "show": "artifacts",
}


def rows_file(path: Path, count: int = 30) -> Path:
    words = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven"]
    words += ["inlet", "jetty", "knoll", "larch", "mossy", "north", "ochre"]
    rows = [
        {
            "id": f"r{n}",
            "prompt": f"What about {words[n % 15]} {n}?",
            "completion": f"It is {' '.join(words[(n * k + k) % 15] for k in range(1, 15))}, {n}.",
            "url": f"https://example.org/{n // 2}",
        }
        for n in range(count)
    ]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in [*rows, {**rows[0], "id": "copy"}]))
    return path


def printed(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    """The JSON object of a command."""
    try:
        main([*map(str, words), "--json"])
    except SystemExit as end:
        assert end.code in (None, 0, 2)
    return json.loads(capsys.readouterr().out)


# --- the names --------------------------------------------------------------------------------------------------------


def test_every_command_has_a_function() -> None:
    named = {OTHER_NAMES.get(verb, verb) for verb in verb_helps()}
    assert not [name for name in named if not inspect.isfunction(getattr(api, name, None))]


def test_the_lists_of_the_face_name_the_same_things() -> None:
    body = ast.parse(Path(api.__file__).read_text(encoding="utf-8")).body
    typed = next(node for node in body if isinstance(node, ast.If))
    for_types = {a.name: node.module for node in typed.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert for_types == api.MODULES and set(api.__all__) == set(api.MODULES)
    assert set(tunesmith.__all__) == {*api.__all__, "__version__"} - PACKAGES
    assert all(getattr(tunesmith, name) is getattr(api, name) for name in set(api.__all__) - PACKAGES)


def test_no_function_of_the_face_has_the_name_of_a_module_which_would_take_its_place() -> None:
    modules = {module.name for module in pkgutil.iter_modules(api.__path__)}
    assert not modules & set(api.__all__)
    packages = {module.name for module in pkgutil.iter_modules(tunesmith.__path__)}
    assert packages & set(api.__all__) == PACKAGES and not packages & set(tunesmith.__all__)


@pytest.mark.parametrize("module", [tunesmith, api])
def test_a_name_that_is_not_there_is_an_attribute_error(module: Any) -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = module.nonsense


def test_every_parameter_and_result_of_the_face_has_a_type() -> None:
    for name in api.__all__:
        if inspect.isfunction(function := getattr(api, name)):
            signature = inspect.signature(function)
            kinds = [p.annotation for p in signature.parameters.values()] + [signature.return_annotation]
            assert inspect.Signature.empty not in kinds, name


@pytest.mark.parametrize(
    "code",
    [
        "import tunesmith",
        "import tunesmith; tunesmith.check({file!r})",
        "import tunesmith; tunesmith.split({file!r})",
        "import tunesmith; tunesmith.ingest({file!r}, project={folder!r})",
        "import tunesmith; tunesmith.advise(project={folder!r}, answers=tunesmith.TaskAnswers(citations=True))",
    ],
    ids=["import", "check", "split", "ingest", "advise"],
)
def test_what_needs_no_model_does_not_wait_for_torch(code: str, tmp_path: Path) -> None:
    filled = code.format(file=str(rows_file(tmp_path / "rows.jsonl")), folder=str(tmp_path))
    heavy = "{'torch', 'transformers', 'peft'}" if ";" in code else "{'torch', 'transformers', 'peft', 'numpy', 'pydantic'}"
    done = subprocess.run(
        [sys.executable, "-c", f"{filled}\nimport sys; print(sorted({heavy} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


# --- the same answers as the commands ---------------------------------------------------------------------------------

Asked = Callable[[Path], tuple[list[object], Any]]
SAME: dict[str, Asked] = {
    "check": lambda f: (["check", f], lambda: tunesmith.check(f)),
    "check-redacted": lambda f: (
        ["check", f, "--redact", "--out", f.with_name("a.jsonl")],
        lambda: tunesmith.check(f, redact_to=f.with_name("b.jsonl")),
    ),
    "formats": lambda f: (["convert", f], lambda: tunesmith.detect_formats(f)),
    "convert": lambda f: (
        ["convert", f, "--to", "messages", "--lossy", "--out", f.with_name("a.json")],
        lambda: tunesmith.convert(f, to="messages", lossy=True, out=f.with_name("a.json")),
    ),
    "dedup": lambda f: (["dedup", f, "--threshold", "0.7"], lambda: tunesmith.dedup(f, threshold=0.7)),
    "split": lambda f: (["split", f, "--test", "0.3"], lambda: tunesmith.split(f, test=0.3)),
    "advise": lambda f: (
        ["advise", "--project", f.parent, "--examples", "300", "--about", "style", "--no-private"],
        lambda: tunesmith.advise(project=f.parent, answers=tunesmith.TaskAnswers(examples=300, about="style", private=False)),
    ),
    "golden": lambda f: (["golden", "verify", "--project", f.parent], lambda: tunesmith.golden_verify(project=f.parent)),
    "golden-list": lambda f: (["golden", "list", "--project", f.parent], lambda: tunesmith.golden_list(project=f.parent)),
    "review": lambda f: (
        ["review", f, "--rows", "5", "--out", f.with_name("p.html")],
        lambda: tunesmith.review(f, rows=5, out=f.with_name("p.html")),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_a_function_returns_what_its_command_prints(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = rows_file(tmp_path / "rows.jsonl")
    tunesmith.golden_add(rows_file(tmp_path / "golden.jsonl", 3), project=tmp_path)
    words, function = SAME[name](file)
    by_command, by_function = printed(capsys, *words), json.loads(orjson.dumps(function().as_dict()))
    assert {**by_command, "seconds": 0} == {**by_function, "seconds": 0}


def test_a_record_holds_the_rows_that_json_leaves_out(tmp_path: Path) -> None:
    file = rows_file(tmp_path / "rows.jsonl")
    parts = tunesmith.split(str(file), test=0.3)
    assert parts.n == 31 and sum(map(len, parts.splits.values())) == parts.n - parts.removed_copies
    assert {row.id for rows in parts.splits.values() for row in rows} >= {f"r{n}" for n in range(1, 30)}
    made = tunesmith.convert(str(file), to="messages", lossy=True)
    assert made.out is None and {"messages"} <= made.rows[0].keys()
    assert tunesmith.dedup(str(file)).clusters == (("copy", "r0"),)


def test_the_artifacts_of_a_project_are_found_from_python(tmp_path: Path) -> None:
    made = tunesmith.ingest(rows_file(tmp_path / "rows.jsonl"), project=tmp_path).artifact
    assert tunesmith.artifact("documents:latest", project=tmp_path) == made
    assert tunesmith.artifacts(project=tmp_path) == (made,)


def test_settings_by_name_mean_what_set_means(tmp_path: Path) -> None:
    settings = {
        "train.epochs": 2,
        "train.learning_rate": 2e-5,
        "build.system_prompt": "Say: 3 # “so”",
        "mix.general": ["a", "b"],
    }
    (tmp_path / "tunesmith.yaml").write_text(yaml.safe_dump({"sources": ["./posts"], "train": {"batch_examples": 7}}))
    recipe = tunesmith.open_project(project=tmp_path, base="smollm2", settings=settings).recipe
    assert (recipe.train.epochs, recipe.train.learning_rate, recipe.train.batch_examples) == (2, 2e-5, 7)
    assert recipe.build.system_prompt == "Say: 3 # “so”" and recipe.mix.general == ["a", "b"]
    assert recipe.base == "smollm2" and recipe.sources == ["./posts"]
    assert tunesmith.open_project("./a", "./b", project=tmp_path).recipe.sources == ["./a", "./b"]


def test_a_wrong_setting_and_a_missing_source_are_told_as_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as wrong:
        tunesmith.open_project("./posts", project=tmp_path, settings={"train.epoch": 3})
    assert "train.epochs" in wrong.value.problems[0].hint
    with pytest.raises(RecipeError) as missing:
        tunesmith.open_project(project=tmp_path)
    assert missing.value.problems[0].what == "no recipe and no source"


# --- the page and the README ------------------------------------------------------------------------------------------


def test_the_page_about_python_is_the_one_that_the_docstrings_make() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    assert page == reference.python_page(), "make it again: python -m tunesmith.api.reference > docs/reference/python.md"


def test_everything_on_the_page_is_documented() -> None:
    assert not reference.undocumented()


def test_a_function_and_a_method_without_a_docstring_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("tunesmith.api.stored")
    monkeypatch.setattr(module.artifacts, "__doc__", None)

    class Result:
        """A record."""

        def as_dict(self) -> dict[str, Any]:
            return {}

    monkeypatch.setattr(api, "SplitResult", Result, raising=False)
    assert set(reference.undocumented()) == {"artifacts", "SplitResult.as_dict"}
    assert reference.python_page() != (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_python_of_the_readme_runs(
    tmp_path: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"^```python\n(.+?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1 and len(blocks[0].splitlines()) <= 12
    rows_file(tmp_path / "rows.jsonl")
    write_posts(tmp_path / "posts")
    recipe = {
        "sources": ["./posts"],
        "base": str(tiny_path),
        "build": {"passage_words": 40},
        "split": {"val": 0.2, "test": 0.3},
        "method": {"rank": 4},
        "train": {"batch_examples": 4, "precision": "float32", "evaluate_every": 4},
        "eval": {"max_new_tokens": 6, "draws": 300, "suites": []},
    }
    (tmp_path / "tunesmith.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks[0], "README.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert any(line.startswith(("error", "warning", "info")) for line in said)
    assert re.fullmatch(r"\{'train': \d+, 'val': \d+, 'test': \d+\}", said[-3])
    assert re.match(r"(SHIP|DON'T SHIP|CAN'T TELL) \w+", said[-2])
    assert ast.literal_eval(said[-1]).keys() == {"base", "tuned", "merged"}
    assert (tmp_path / "splits" / "train.jsonl").is_file()
