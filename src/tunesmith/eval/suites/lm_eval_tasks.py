"""Tasks of EleutherAI's lm-eval as suites: local tasks, by lm-eval's own task classes (the extra `lm-eval`).

The questions, targets and choices are lm-eval's. The answers are not judged as lm-eval does: it compares the likelihoods of the
choices, we let the model answer in its chat format and look for the choice. So shares are not those of a leaderboard; base and
tuned model are compared in the same way, which is what a suite is for.

Refused by default: Python code in a task (`!function`), data from the web, and templates that reach beyond their data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Message
from tunesmith.eval.suites.scorers import SCORERS, lettered
from tunesmith.eval.suites.suite import Suite, SuiteItem

__all__ = ["load_lm_eval_task"]

_FORMATS = ("json", "csv", "parquet", "text")
_OUTPUTS = ("generate_until", "multiple_choice")
_METRICS = ("exact_match", "acc", "acc_norm")
_CODE = (
    "custom_dataset",
    "process_docs",
    "process_results",
    "doc_to_image",
    "doc_to_audio",
    "include",
    "use_prompt",
    "unsafe_code",
)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_INSTRUCTION = "Answer with the letter of the right option."


def load_lm_eval_task(where: str | Path, *, scorer: str = "", max_new_tokens: int = 64) -> Suite:
    """The suite of one task: a YAML file, or a folder with one.

    `multiple_choice` becomes the scorer `choice`; the choices are written under the question with letters. `generate_until`
    becomes `numeric` where every target is a number, else `exact`, or what `scorer` says. Few-shot examples, filters and
    `until` are not applied. Where the task has no test split, its validation split is taken.

    Raises:
        EvaluationError: the extra is not installed; there is no task, or several; the task runs code, has its data elsewhere,
            or has an output type or metric that cannot be scored here.
    """
    path, config = _task(Path(where).expanduser())
    _check(path, config)
    with TemporaryDirectory() as cache, _sandboxed():
        documents = _documents(path, config, cache)
    items = tuple(_item(config, number, document, scorer, max_new_tokens) for number, document in enumerate(documents))
    if len(items) < 2:
        raise _refused(path, f"{len(items)} documents", "a test or validation split of two documents at least")
    metadata = config.get("metadata") or {}
    return Suite(
        name=str(config["task"]),
        version=str(metadata.get("version", "0")),
        licence=str(metadata.get("license", metadata.get("licence", "not stated"))),
        description="a task of lm-eval",
        items=items,
        source=str(path),
    )


def _task(where: Path) -> tuple[Path, dict[str, Any]]:
    files = sorted([*where.glob("*.yaml"), *where.glob("*.yml")]) if where.is_dir() else [where]
    found: list[tuple[Path, dict[str, Any]]] = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
            if code := _own_tag(yaml.compose(text, Loader=yaml.SafeLoader), set()):
                raise _refused(file, code, "a task without Python code")
            config = yaml.safe_load(text)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise _refused(file, str(error), "YAML in UTF-8") from error
        if isinstance(config, dict) and "task" in config:
            found.append((file, config))
    if len(found) != 1:
        names = ", ".join(file.name for file, _ in found) or "none"
        raise _refused(where, f"tasks: {names}", "one file with the key `task`")
    return found[0]


def _refused(path: Path, value: object, expected: str) -> EvaluationError:
    return EvaluationError(
        f"this lm-eval task cannot be read as a suite: {path}",
        value=value,
        expected=expected,
        hint="docs/concepts/suites.md says what of lm-eval is read; run the others with lm_eval itself",
    )


def _check(path: Path, config: Mapping[str, Any]) -> None:
    """What would run code, fetch something, or could not be scored."""
    if code := [key for key in _CODE if config.get(key)]:
        raise _refused(path, f"{code[0]}: {config[code[0]]}", f"a task without {code[0]}")
    if config.get("dataset_path") not in _FORMATS:
        raise _refused(path, f"dataset_path: {config.get('dataset_path')}", f"local data: {', '.join(_FORMATS)}")
    if config.get("output_type", "generate_until") not in _OUTPUTS:
        raise _refused(path, f"output_type: {config['output_type']}", " or ".join(_OUTPUTS))
    metrics = [metric.get("metric") for metric in config.get("metric_list") or ()]
    if unknown := [metric for metric in metrics if metric not in _METRICS]:
        raise _refused(path, f"metric: {unknown[0]}", f"one of {', '.join(_METRICS)}")


def _own_tag(node: object, seen: set[int]) -> str:
    """The first tag that is not YAML's own (`!function utils.target`), found before anything is made; or empty."""
    if not isinstance(node, yaml.Node) or id(node) in seen:
        return ""
    seen.add(id(node))
    if not str(node.tag).startswith("tag:yaml.org,2002:"):
        return f"{node.tag} {node.value}"[:80]
    pieces = node.value if isinstance(node.value, list) else []
    inner = (one for piece in pieces for one in (piece if isinstance(piece, tuple) else (piece,)))
    return next((found for one in inner if (found := _own_tag(one, seen))), "")


@contextmanager
def _sandboxed() -> Iterator[None]:
    """lm-eval's templates see only their document: its own environment lets them reach into Python."""
    try:
        from lm_eval import utils
    except ImportError as error:
        raise EvaluationError(
            "lm-eval is not installed",
            value="lm_eval",
            expected="the extra `lm-eval` (about 440 MB)",
            hint="pip install 'tunesmith[lm-eval]'",
        ) from error
    own = utils.env
    safe = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    safe.filters["regex_replace"] = own.filters["regex_replace"]
    utils.env = safe
    try:
        yield
    finally:
        utils.env = own


def _documents(path: Path, config: Mapping[str, Any], cache: str) -> list[tuple[str, Any, list[str]]]:
    """Text, target and choices of every document, by lm-eval's task class."""
    from lm_eval.api.task import ConfigurableTask

    wanted = dict(config.get("dataset_kwargs") or {})
    wanted = {"data_files": _local_files(path, wanted.get("data_files")), "cache_dir": cache}
    plain = {key: value for key, value in config.items() if key not in ("metric_list", "filter_list", "tag", "group")}
    try:
        task = ConfigurableTask(config={**plain, "dataset_kwargs": wanted})
        return [
            (
                str(task.doc_to_text(document)),
                task.doc_to_target(document),
                list(task.doc_to_choice(document)) if task.OUTPUT_TYPE == "multiple_choice" else [],
            )
            for document in task.eval_docs
        ]
    except (TemplateError, ValueError, TypeError, KeyError, OSError, SyntaxError) as error:
        raise _refused(path, f"{type(error).__name__}: {error}", "a task that lm-eval can open") from error


def _local_files(path: Path, given: object) -> object:
    """The data files as they are, or as named from the folder of the task. No address."""
    if isinstance(given, Mapping):
        return {name: _local_files(path, some) for name, some in given.items()}
    if isinstance(given, list):
        return [_local_files(path, one) for one in given]
    for file in (Path(str(given)), path.parent / str(given)):
        if given and file.is_file():
            return str(file)
    raise _refused(path, f"data_files: {given}", "files on this machine")


def _item(
    config: Mapping[str, Any], number: int, document: tuple[str, Any, list[str]], scorer: str, max_new_tokens: int
) -> SuiteItem:
    text, target, choices = document
    question = f"{config.get('description') or ''}{text}".strip()
    arguments: dict[str, Any] = {}
    if choices:
        place = target if isinstance(target, int) else choices.index(target) if target in choices else -1
        references: tuple[str, ...] = (choices[place],) if 0 <= place < len(choices) else ()
        question += f"\n{_INSTRUCTION}\n{lettered(choices)}"
        name, arguments = "choice", {"options": choices}
    else:
        references = tuple(str(one) for one in (target if isinstance(target, list) else [target]))
        name = scorer or _by_targets(references)
    task = str(config["task"])
    item = SuiteItem(
        id=f"{task}-{number + 1}",
        group=f"{task}-{number + 1}",
        messages=(Message(role="user", content=question),),
        references=references,
        scorer=name,
        arguments=arguments,
        max_new_tokens=max_new_tokens,
    )
    fault = SCORERS[name].fault(item)
    return replace(item, unscored=fault) if fault else item


def _by_targets(references: Sequence[str]) -> str:
    return "numeric" if all(_NUMBER.fullmatch(one.strip()) for one in references) else "exact"
