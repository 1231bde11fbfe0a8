"""The process in which a reward function runs; started by `rewards.process` as a program, never imported for its effect.

It reads one line of JSON with the function, then one line per batch of answers, and writes one line of scores for each.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import linecache
import os
import random
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

__all__ = ["main"]

Answer = dict[str, Any]  # prompt (messages), answer, reference, meta
_LINE_SHOWN = 120  # characters
_KNOWN = ("answer", "reference", "prompt", "meta")


class _Unfit(Exception):
    """What is wrong with the function, or with what it gave, where its code raised nothing. `where`: its place."""

    def __init__(self, text: str, where: str = "") -> None:
        super().__init__(text)
        self.where = where


def main() -> None:
    """Serve batches until standard input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the function prints must not be read as scores
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    score: Callable[[list[Answer]], list[float | str]] | None = None
    for line in sys.stdin:
        given = json.loads(line)
        try:
            if score is None:
                score = _open(given)
                reply: dict[str, Any] = {"ready": True}
            else:
                random.seed(given["seed"])
                reply = {"scores": score(given["answers"])}
        except _Unfit as error:
            reply = {"error": str(error), "where": error.where}
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a user's file raises is reported to the run)
            reply = {"error": _said(error), "where": _place(error)}
        out.write(json.dumps(reply) + "\n")
        out.flush()


def _end_with_parent(parent: int) -> None:
    """A run that was killed leaves no process behind, not even one in an endless loop."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def _as_json(number: float) -> float | str:
    """A number as JSON; what JSON has no number for as text."""
    found = float(number)
    return found if abs(found) < float("inf") else repr(found)


def _open(given: dict[str, Any]) -> Callable[[list[Answer]], list[float | str]]:
    """What scores a batch of answers."""
    if folder := given.get("reward_model"):
        return _model(Path(folder))
    score, where = _function(given)

    def number(answer: Answer) -> float | str:
        found = score(answer)
        try:
            return _as_json(found)
        except (TypeError, ValueError) as error:
            raise _Unfit(f"the function gave {found!r:.80}, not a number", where) from error

    return lambda answers: list(map(number, answers))


def _model(folder: Path) -> Callable[[list[Answer]], list[float | str]]:
    from tunesmith.core.records import Message
    from tunesmith.train.scorer import scorer_of_run

    scorer = scorer_of_run(folder)

    def score(answers: list[Answer]) -> list[float | str]:
        said = [
            (*(Message(**turn) for turn in one["prompt"]), Message(role="assistant", content=one["answer"])) for one in answers
        ]
        return [_as_json(number) for number in scorer.score(said)]

    return score


def _function(given: dict[str, Any]) -> tuple[Callable[[Answer], Any], str]:
    """What scores an answer, and where it is written."""
    if metric := given.get("metric"):
        return _metric(metric), ""
    module = _file(given["file"]) if given.get("file") else _module(given["module"])
    source = _shown(module.__file__) if getattr(module, "__file__", None) else given.get("module", "")
    function = getattr(module, given["name"], None)
    if not callable(function):
        there = [name for name, value in vars(module).items() if inspect.isfunction(value) and not name.startswith("_")]
        near = get_close_matches(given["name"], there, n=1)
        known = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(there[:8]) or 'none'}"
        raise _Unfit(f"there is no function {given['name']!r}{known}", source)
    code = inspect.unwrap(function).__code__ if inspect.isfunction(inspect.unwrap(function)) else None
    where = _line(code.co_filename, code.co_firstlineno) if code else source
    names = inspect.signature(function).parameters
    unknown = [
        name
        for name, one in names.items()
        if name not in _KNOWN and one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    if unknown:
        raise _Unfit(f"the function wants {', '.join(unknown)}; it can have {', '.join(_KNOWN)}", where)
    passed = _KNOWN if any(one.kind is one.VAR_KEYWORD for one in names.values()) else [n for n in _KNOWN if n in names]
    return lambda answer: function(**{name: answer[name] for name in passed}), where


def _file(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("reward_file", Path(path))
    if spec is None or spec.loader is None:
        raise _Unfit("this is not a Python file: its name must end in .py", _shown(path))
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(path).resolve().parent))
    spec.loader.exec_module(module)
    return module


def _metric(name: str) -> Callable[[Answer], float]:
    from tunesmith.eval.metrics.metric import Expected
    from tunesmith.eval.metrics.registry import metric_named, score_answers

    metric = metric_named(name)

    def score(answer: Answer) -> float:
        meta = answer["meta"]
        schema = json.loads(meta["schema"]) if "schema" in meta else None
        question = answer["prompt"][-1]["content"]
        expected = Expected(references=(answer["reference"],), question=question, schema=schema)
        found = score_answers(metric, [answer["answer"]], [expected])
        if found.values[0] is None:
            raise _Unfit(next(iter(found.reasons)))
        return found.values[0]

    return score


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # something that the module imports is not there
        raise _Unfit(f"there is no module {error.name!r}, as seen from {os.getcwd()}") from error


def _said(error: BaseException) -> str:
    if isinstance(error, SyntaxError):  # its text repeats the file and the line
        return f"{type(error).__name__}: {error.msg}"
    if isinstance(error, SystemExit):
        return f"it ends the process (SystemExit {error.code})"
    return f"{type(error).__name__}: {error}"


def _place(error: BaseException) -> str:
    """File, line and text of the line at which the user's code raised, or called what raised; else the last place there is."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        return _line(error.filename, error.lineno)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    own = [frame for frame in frames if not _is_library(frame.filename)] or frames
    return _line(own[-1].filename, own[-1].lineno) if own else ""


def _is_library(filename: str) -> bool:
    """Whether a file belongs to Python, to an installed package or to this one."""
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    path = Path(filename).resolve()
    return any(path.is_relative_to(Path(folder).resolve()) for folder in [*libraries, str(Path(__file__).parents[2])])


def _line(filename: str, number: int | None) -> str:
    text = linecache.getline(filename, number or 0).strip()
    if len(text) > _LINE_SHOWN:
        text = f"{text[:_LINE_SHOWN]}…"
    return f"{_shown(filename)}, line {number}" + (f": `{text}`" if text else "")


def _shown(path: str) -> str:
    """The path from the folder in which the command was typed, where it is below that."""
    whole, here = Path(path).resolve(), Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)


if __name__ == "__main__":
    main()
