"""The laws of the house (STYLE.md § 19): they hold for every file, from the first day, and each names what breaks it."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tunesmith.pipeline.recipe_file import knobs
from tunesmith.pipeline.stage import kinds
from tunesmith.systems.registry import system_kinds

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "tunesmith"
FILES = sorted(SRC.rglob("*.py"))
MODULES = [".".join(p.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__") for p in FILES]
FORBIDDEN = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"}
LINES_A_FILE, LINES_A_FUNCTION, LINES_OF_THE_LOOP = 400, 80, 150
KNOWN_LONG = {"fit": LINES_OF_THE_LOOP}  # the loop is one piece, in sight


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# --- imports ----------------------------------------------------------------------------------------------------------


def test_imports_point_one_way() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    pytest.importorskip("importlinter", reason="needs import-linter, which the dev extra brings")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_law_of_imports_names_every_package_of_the_house() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = " | ".join(next(c for c in contracts if c["type"] == "layers")["layers"])
    there = {f"tunesmith.{p.parent.name}" for p in SRC.glob("*/__init__.py")} | {
        f"tunesmith.{p.stem}" for p in SRC.glob("*.py") if p.stem != "__init__"
    }
    assert there == set(layers.split(" | "))


def circle_in(imports: Mapping[str, Iterable[str]]) -> list[str]:
    """Modules that import each other in a circle, by what each imports; [] if there are none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside of functions and for types count too."""
    grimp = pytest.importorskip("grimp", reason="needs import-linter, which the dev extra brings")
    graph = grimp.build_graph("tunesmith", cache_dir=None)
    graph.remove_import(importer="tunesmith", imported="tunesmith.api")  # the face, imported when a name of it is first used
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert circle_in(imports) == []
    assert circle_in(imports | {"tunesmith.core.errors": {"tunesmith.data.ingest.extract"}})


def imported(source: str) -> list[str]:
    """The modules that a module imports, anywhere in it."""
    return [
        name
        for node in ast.walk(ast.parse(source))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    ]


def below_the_face(source: str) -> list[str]:
    """What a module of the command line or the pages imports, anywhere in it, that is neither the Python face nor `core`."""
    allowed = re.compile(r"tunesmith(\.(api|cli|core|web)(\..+)?)?$")
    return [name for name in imported(source) if name.startswith("tunesmith") and not allowed.match(name)]


@pytest.mark.parametrize("path", [p for p in FILES if p.relative_to(SRC).parts[0] in ("cli", "web")], ids=named)
def test_the_command_line_imports_the_python_face_and_nothing_below_it(path: Path) -> None:
    assert not below_the_face(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "from tunesmith.data.dataset.split import split",
        "import tunesmith.models.load",
        "def f():\n    from tunesmith.train import run",
        "if TYPE_CHECKING:\n    from tunesmith.plan.facts import DataFacts",
        "from tunesmith.eval import stats",
    ],
)
def test_an_import_below_the_face_is_found_wherever_it_stands(source: str) -> None:
    assert below_the_face(source)
    assert not below_the_face(source.replace("tunesmith.", "tunesmith.api."))


BELOW_THE_PIPELINE = ("data", "models", "plan", "systems", "eval", "train", "ship")
OF_SETTINGS = re.compile(r"tunesmith\.(core\.settings|(pipeline|api|cli)(\..+)?)$")


def of_settings(source: str) -> list[str]:
    """What a module imports that declares or holds settings of the recipe, or could hand them on."""
    return [name for name in imported(source) if OF_SETTINGS.match(name)]


@pytest.mark.parametrize("path", [p for p in FILES if p.relative_to(SRC).parts[0] in BELOW_THE_PIPELINE], ids=named)
def test_nothing_below_the_pipeline_takes_a_config_object(path: Path) -> None:
    """Training methods and optimisers declare settings of their own with the class that the recipe's sections have."""
    found = of_settings(path.read_text(encoding="utf-8"))
    train = SRC / "train"
    own = ("distilling.py", "method.py", "optimizer.py", "sampled_settings.py", "rewards/settings.py")
    files = {train / name for name in own}
    declares = path in files or path.parent in {train / "methods", train / "optimizers"}
    assert set(found) <= ({"tunesmith.core.settings"} if declares else set())


@pytest.mark.parametrize(
    "source",
    [
        "from tunesmith.pipeline.recipe import Recipe",
        "from tunesmith.pipeline.sections.run import TrainConfig",
        "from tunesmith.pipeline import recipe",
        "if TYPE_CHECKING:\n    from tunesmith.core.settings import Section",
        "def f():\n    import tunesmith.api.recipes",
    ],
)
def test_an_import_of_settings_is_found_wherever_it_stands(source: str) -> None:
    assert of_settings(source)


@pytest.mark.parametrize("path", [p for p in FILES if p.is_relative_to(SRC / "core")], ids=named)
def test_core_imports_nothing_of_the_house_but_itself_and_lists_no_stages(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not [name for name in imported(source) if re.match(r"tunesmith\.(?!core\b)", name)]
    assert not lists_of_two(source, set(kinds()))


def test_rich_is_imported_in_one_place() -> None:
    found = [named(p) for p in FILES if re.search(r"^\s*(from|import) rich\b", p.read_text(), re.MULTILINE)]
    assert found == ["src/tunesmith/cli/render.py"]


def test_there_are_no_relative_or_starred_imports() -> None:
    bad = [
        f"{named(p)}:{node.lineno}"
        for p in FILES
        for node in ast.walk(tree(p))
        if isinstance(node, ast.ImportFrom) and (node.level or any(a.name == "*" for a in node.names))
    ]
    assert not bad


# --- names, sizes, shape ----------------------------------------------------------------------------------------------


def test_no_file_is_named_for_nothing() -> None:
    parts = [(named(p), part) for p in SRC.rglob("*") for part in re.split(r"[_\W]", p.stem) if p.suffix == ".py" or p.is_dir()]
    assert not [name for name, part in parts if part in FORBIDDEN]


def test_no_folder_is_empty() -> None:
    folders = [p for p in SRC.rglob("*") if p.is_dir() and p.name != "__pycache__"]
    assert not [named(p) for p in folders if not any(q.name != "__pycache__" and q.name != "__init__.py" for q in p.iterdir())]


def test_no_file_grows_beyond_four_hundred_lines() -> None:
    assert not {named(p): n for p in FILES if (n := len(p.read_text().splitlines())) > LINES_A_FILE}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_function_grows_beyond_eighty_lines() -> None:
    found = {f"{named(p)}:{name}": n for p in FILES for name, n in functions(p)}
    assert not {name: n for name, n in found.items() if n > KNOWN_LONG.get(name.rsplit(":")[-1], LINES_A_FUNCTION)}


def test_no_function_grows_beyond_the_loop() -> None:
    assert not {f"{named(p)}:{name}": n for p in FILES for name, n in functions(p) if n > LINES_OF_THE_LOOP}


def test_no_error_is_swallowed() -> None:
    bad = [
        f"{named(p)}:{node.lineno}"
        for p in FILES
        for node in ast.walk(tree(p))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or all(isinstance(s, ast.Pass) for s in node.body))
    ]
    assert not bad


def closed_lists(source: str, names: set[str], least: int = 1) -> list[int]:
    """Lines with a `Literal[…]` that lists one of `names`, or `least` of them."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Subscript)
        and ast.unparse(node.value).rsplit(".", 1)[-1] == "Literal"
        and len({part.value for part in ast.walk(node.slice) if isinstance(part, ast.Constant)} & names) >= least
    ]


def test_there_is_no_closed_list_of_systems() -> None:
    names = {kind.name for kind in system_kinds()}
    assert len(names) >= 5 and closed_lists('x: typing.Literal["other", "tuned"]', names) == [1]
    assert not [named(p) for p in FILES if closed_lists(p.read_text(encoding="utf-8"), names)]


def test_there_is_no_closed_list_of_stages() -> None:
    """Two make a list: `use` alone is also a way of decoding."""
    names = set(kinds())
    assert len(names) >= 6 and closed_lists('def f(until: Literal["plan", "dataset", "run"]): ...', names, least=2) == [1]
    assert not [named(p) for p in FILES if closed_lists(p.read_text(encoding="utf-8"), names, least=2)]


def lists_of_two(source: str, names: set[str]) -> list[int]:
    """Lines with a list, tuple, set, mapping or `Literal` in which two of `names` stand."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict)
        and len({part.value for part in ast.iter_child_nodes(node) if isinstance(part, ast.Constant)} & names) > 1
    ] + closed_lists(source, names, least=2)


def test_a_list_of_stages_is_found_in_whatever_form() -> None:
    for source in ('x = ["run", "model"]', 'x = {"run": 1, "dataset": 2}', 'x = {"use", "eval"}', 'x: Literal["run", "use"]'):
        assert set(lists_of_two(source, set(kinds()))) == {1}
    assert not lists_of_two('x = ["run", "other"]', set(kinds()))


def test_nothing_is_pickled_and_no_foreign_code_is_run() -> None:
    bad = re.compile(
        r"^\s*(?:import|from) (?:pickle|dill|joblib|cloudpickle)\b|torch\.load\("
        r"|trust_remote_code=True|(?<![\w.])(?<!def )(?:eval|exec)\("
        r"|yaml\.(?:unsafe_|full_)?load\((?!.*Loader=_PlainLoader)",  # _PlainLoader is a SafeLoader, below
        re.MULTILINE,
    )
    found = [f"{named(p)}: {m.group(0)}" for p in FILES for m in bad.finditer(p.read_text())]
    assert not found
    assert "class _PlainLoader(yaml.SafeLoader)" in (SRC / "data" / "ingest" / "front_matter.py").read_text()


# --- modules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_says_what_it_is_and_exports_a_sorted_list_that_is_true(name: str) -> None:
    module = importlib.import_module(name)
    assert (module.__doc__ and module.__doc__.strip().splitlines()[0].endswith((".", ":", "?", ","))) or len(
        module.__doc__ or ""
    ) > 40
    if (exported := getattr(module, "__all__", None)) is None:
        assert Path(module.__file__ or "").name == "__init__.py"
        return
    upper = [n for n in exported if n.isupper()]
    classes = [n for n in exported if n[0].isupper() and not n.isupper()]
    rest = [n for n in exported if not n[0].isupper()]
    assert exported == sorted(upper) + sorted(classes) + sorted(rest) and len(set(exported)) == len(exported)
    assert not [n for n in exported if not hasattr(module, n)]


POSIX_ONLY = ("fcntl", "grp", "posix_ipc", "pty", "pwd", "resource", "syslog", "termios", "tty")


def test_every_module_imports_where_the_modules_of_posix_are_missing() -> None:
    """They are withheld from our modules only: libraries have files of their own for each system."""
    code = f"""import builtins, importlib
real = builtins.__import__
def guarded(name, globals=None, *rest, **others):
    if name in {POSIX_ONLY} and str((globals or {{}}).get("__name__")).startswith("tunesmith"):
        raise ModuleNotFoundError(f"{{globals['__name__']}} imports {{name}}")
    return real(name, globals, *rest, **others)
builtins.__import__ = guarded
"""
    every = code + f"for ours in {MODULES}: importlib.import_module(ours)"
    planted = code + "exec('import fcntl', {'__name__': 'tunesmith.planted'})"
    done = subprocess.run([sys.executable, "-c", every], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    fault = subprocess.run([sys.executable, "-c", planted], capture_output=True, text=True, check=False)
    assert "tunesmith.planted imports fcntl" in fault.stderr


def test_no_call_that_windows_lacks_is_made() -> None:
    """Blocking imports does not see these; on Windows `os.kill(pid, 0)` sends Ctrl-C instead of asking about a process."""
    calls = r"\bos\.(?:kill|killpg|fork|setsid|getuid|nice|mkfifo)\("
    signals = r"\bsignal\.(?:SIGKILL|SIGXCPU|SIGALRM|alarm|setitimer)\b"
    bad = re.compile(f"{calls}|{signals}")
    assert not [f"{named(p)}: {m.group(0)}" for p in FILES for m in bad.finditer(p.read_text(encoding="utf-8"))]


def test_text_files_are_opened_with_a_named_encoding() -> None:
    """Without one Windows takes its own code page."""
    bad = re.compile(r"\.read_text\(\)")
    assert not [named(p) for p in FILES if bad.search(p.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_public_name_defined_in_a_module_is_exported_and_documented(path: Path) -> None:
    body = tree(path).body
    exported: set[str] = set()
    for node in body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            exported = set(ast.literal_eval(node.value))
    defined = [n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    assert not {n.name for n in defined} - exported
    assert not [n.name for n in defined if not ast.get_docstring(n)]


def test_every_knob_of_the_recipe_is_documented() -> None:
    assert not [k.name for k in knobs() if len(k.text.strip()) < 15]


def test_tests_mirror_the_source() -> None:
    stages = {p.name for p in SRC.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert stages <= {p.name for p in (ROOT / "tests").iterdir()}


def test_test_files_have_names_of_their_own_and_no_package() -> None:
    found = [p.name for p in (ROOT / "tests").rglob("*.py")]
    assert len(found) == len(set(found)) and "__init__.py" not in found


# --- the face ---------------------------------------------------------------------------------------------------------


def test_help_answers_without_torch() -> None:
    code = "import sys; from tunesmith.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def readme_commands() -> list[str]:
    """What stands in the indented blocks: one command or several in a line, two blanks between a command and its meaning."""
    lines = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("    ")]
    pieces = [piece.strip() for line in lines for piece in re.split(r"\s{2,}|&&|#", line)]
    return [piece for piece in pieces if piece.startswith("tunesmith ")]


def test_the_readme_has_the_two_commands_that_do_all_the_set_up() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install -c constraints.txt -e . && tunesmith demo" in text
    assert "pip install -c constraints.txt -e '.[dev]' && pytest" in text


def test_every_tunesmith_command_in_the_readme_names_a_verb_and_options_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    from tunesmith.cli.main import main

    commands = readme_commands()
    assert len(commands) >= 3
    for command in commands:
        verb, *rest = command.removeprefix("tunesmith ").split()
        main([verb, "--help"])
        text = capsys.readouterr().out
        for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
            assert option in text, command


def test_constraints_pin_everything_that_is_installed_at_first_hand() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {distribution(line) for line in lines if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert not {distribution(w) for w in wanted} - pinned


def distribution(requirement: str) -> str:
    return re.split(r"[=<>~!;\[ ]", requirement)[0].lower().replace("_", "-")
