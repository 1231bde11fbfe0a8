"""The process in which a reward function runs; started by `rewards.process` as a program, never imported for its effect.

It reads one line of JSON with the function, then one line per batch of answers, and writes one line of scores for each.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["main"]

Answer = dict[str, Any]  # prompt (messages), answer, reference, meta
_KNOWN = ("answer", "reference", "prompt", "meta")


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
        except Exception as error:  # noqa: BLE001 (whatever a user's file raises is reported to the run)
            reply = {"error": f"{type(error).__name__}: {error}", "where": _place(error)}
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
    score = _function(given)
    return lambda answers: [_as_json(score(answer)) for answer in answers]


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


def _function(given: dict[str, Any]) -> Callable[[Answer], float]:
    if metric := given.get("metric"):
        return _metric(metric)
    module = _file(given["file"]) if given.get("file") else importlib.import_module(given["module"])
    function = getattr(module, given["name"], None)
    if not callable(function):
        raise LookupError(f"there is no function {given['name']!r}")
    names = inspect.signature(function).parameters
    unknown = [
        name
        for name, one in names.items()
        if name not in _KNOWN and one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    if unknown:
        raise TypeError(f"the function wants {', '.join(unknown)}; it can have {', '.join(_KNOWN)}")
    passed = _KNOWN if any(one.kind is one.VAR_KEYWORD for one in names.values()) else [n for n in _KNOWN if n in names]
    return lambda answer: function(**{name: answer[name] for name in passed})


def _file(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("reward_file", Path(path))
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
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
            raise ValueError(next(iter(found.reasons)))
        return found.values[0]

    return score


def _place(error: BaseException) -> str:
    """File and line where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


if __name__ == "__main__":
    main()
