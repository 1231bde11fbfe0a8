"""The MCP server: each tool is a function whose docstring the agent reads. Standard output belongs to the protocol."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import orjson

from tunesmith import __version__
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EngineError, SourceError, TunesmithError
from tunesmith.ops.agents.orders import Desk, overrides_of
from tunesmith.ops.runs.comparing import compare_two
from tunesmith.ops.runs.table import find_run, runs_table
from tunesmith.pipeline.project import Project
from tunesmith.pipeline.verifying import stored_verdict, verify_verdict

__all__ = ["SKILL", "serve", "tools_of"]

SKILL = Path(__file__).parent / "SKILL.md"
_MOST_ROWS = 50
_TEXTS = frozenset({"examples", "samples", "message", "rows"})  # may hold words of the data, which are not for an agent
_ONE_AT_A_TIME = Lock()  # the SDK calls tools from several threads, and where `print` goes belongs to all of them
F = TypeVar("F", bound=Callable[..., dict[str, Any]])


def serve(project: Path) -> None:
    """Serve the tools of a project on standard input and output until the client closes them.

    EngineError if the package `mcp` is not installed. SourceError for a folder that does not exist.
    """
    if importlib.util.find_spec("mcp") is None:
        raise EngineError(
            "tools for agents need mcp",
            value="mcp",
            expected="the extra mcp",
            hint="pip install 'tunesmith[mcp]'",
        )
    if not project.is_dir():
        raise SourceError("no such folder", value=str(project), expected="the folder of a project", hint="tunesmith init")
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("tunesmith", version=__version__, instructions=SKILL.read_text(encoding="utf-8"), log_level="ERROR")
    for tool in tools_of(Desk(project.resolve())):
        server.add_tool(_quiet(tool))
    server.run("stdio")


def _quiet(tool: F) -> F:
    @wraps(tool)
    def quiet(*arguments: Any, **named: Any) -> dict[str, Any]:
        from mcp.server.mcpserver.exceptions import ToolError

        with _ONE_AT_A_TIME, redirect_stdout(sys.stderr):
            try:
                made = tool(*arguments, **named)
            except TunesmithError as error:  # all that the agent gets of any other exception is that there was one
                raise ToolError(error.text()) from error
            found: dict[str, Any] = orjson.loads(orjson.dumps(made, option=orjson.OPT_SERIALIZE_NUMPY, default=str))
            return found

    return quiet  # type: ignore[return-value]


def tools_of(desk: Desk) -> list[Callable[..., dict[str, Any]]]:
    """The tools, for one project."""
    return [*_acting(desk), *_reading(desk)]


def _acting(desk: Desk) -> list[Callable[..., dict[str, Any]]]:
    def plan(settings: dict[str, Any] | None = None) -> dict[str, Any]:
        """Everything a run would do, with its numbers and reasons; builds the dataset and trains nothing.

        settings: changes of the recipe by name, such as {"train.epochs": 3}. Show the plan to your user: `loosened` lists gates
        that these settings make easier to pass, which verdict, report and model card will mark. `confirmation` starts this run
        once.
        """
        recipe = desk.recipe(settings or {})
        made = Project(recipe, desk.project, offline=True).plan
        lines = [{"name": line.name, "value": line.value, "why": line.reason} for line in made.lines]
        words = ["run", *_set(settings or {})]
        loosened = {**recipe.gates.loosened, **{name: "does not decide" for name in recipe.gates.advisory}}
        return {"lines": lines, "loosened": loosened, "allowed": recipe.allow, "confirmation": desk.confirm(words)}

    def run(confirmation: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        """Train and judge, as planned. Returns a job at once; ask `status`.

        confirmation: of `plan` with the same settings; it works once. Ask your user first.
        """
        desk.recipe(settings or {})
        return desk.start(["run", *_set(settings or {})], confirmation).as_dict()

    def audit(adapter: str = "", model: str = "", confirmation: str = "") -> dict[str, Any]:
        """Judge an adapter or a model folder inside the project that was trained elsewhere, on the project's test split.

        Without a confirmation it starts nothing and returns one: ask your user, then call again with it.
        """
        if bool(adapter) == bool(model):
            raise SourceError(
                "an audit is about one model",
                value=" and ".join(one for one in (adapter, model) if one) or "nothing",
                expected="adapter or model, a folder of the project",
                hint="name one of them",
            )
        words = ["audit"]
        for option, folder in (("--adapter", adapter), ("--model", model)):
            words += [option, str(_inside(desk.project, folder))] if folder else []
        if not confirmation:
            return {"will": "judge it on the test split, which counts as another look", "confirmation": desk.confirm(words)}
        return desk.start(words, confirmation).as_dict()

    def status(job: str = "") -> dict[str, Any]:
        """The state of a job (the newest by default): running or finished, its last messages, exit code and result."""
        return desk.job(job).as_dict()

    return [plan, run, audit, status]


def _reading(desk: Desk) -> list[Callable[..., dict[str, Any]]]:
    store = Store(desk.project / ".tunesmith")

    def runs(sort: str = "", filter: str = "") -> dict[str, Any]:
        """The runs of the project, newest first, at most 50: settings that differ, losses, gain with interval, verdict, cost.

        filter: such as "verdict=SHIP and train.learning_rate<1e-3". sort: a column, "-column" from high to low.
        """
        table = runs_table([desk.project], sort=sort, filters=[filter] if filter else []).as_dict()
        return table | {"runs": table["runs"][:_MOST_ROWS]}

    def show(id: str) -> dict[str, Any]:
        """An artifact by the first digits of its id, or KIND:latest: what it was made from, settings, numbers, files."""
        found = store.resolve(id)
        names = ("kind", "id", "inputs", "settings", "created", "version", "machine")
        numbers = _without_texts(dict(found.numbers))
        return {n: found.manifest[n] for n in names} | {"numbers": numbers, "path": str(found.path)}

    def compare(a: str, b: str) -> dict[str, Any]:
        """Two finished runs by the first digits of their ids: what differed, what changed, paired gains with intervals."""
        rows = runs_table([desk.project]).rows
        return compare_two(find_run(a, rows), find_run(b, rows)).as_dict()

    def verdict(id: str = "eval:latest", verify: bool = False) -> dict[str, Any]:
        """The verdict of an evaluation with all gates; `loosened` marks those that were easier to pass than by default.

        verify: compute everything again from the stored answers. Report it word for word, with what was not measured.
        """
        found = store.resolve(id)
        if not verify:
            return stored_verdict(found).as_dict()
        again = verify_verdict(found)
        return again.verdict.as_dict() | {"verified": again.holds, "different": list(again.different)}

    return [runs, show, compare, verdict]


def _set(settings: Mapping[str, Any]) -> list[str]:
    return [word for text in overrides_of(settings) for word in ("--set", text)]


def _inside(project: Path, folder: str) -> Path:
    """The folder, if it is in the project. SourceError otherwise."""
    found = (project / folder).resolve()
    if not found.is_dir() or not found.is_relative_to(project):
        raise SourceError(
            "not a folder of the project",
            value=folder,
            expected=f"a folder below {project}",
            hint="ask your user to copy it",
        )
    return found


def _without_texts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_texts(one) for key, one in value.items() if key not in _TEXTS}
    return [_without_texts(one) for one in value] if isinstance(value, list) else value
