"""The ways to run a model: number types, guessed tokens, its exports as GGUF, vLLM, addresses; and what is known of each one's
answers."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import EvaluationError
from tunesmith.core.files import sha256_file
from tunesmith.engines.vllm import PYTHON
from tunesmith.eval.gate import State
from tunesmith.pipeline.exporting import exports_of
from tunesmith.pipeline.finished import FinishedRun
from tunesmith.serve.loading.address import is_url
from tunesmith.serve.loading.asked import named
from tunesmith.systems.placing import place_of

__all__ = ["NEW_DATABASE", "Judged", "Option", "find_options", "run_behind"]

NEW_DATABASE = "a new database"
"""In a command: the place of a file that its server may write traffic to."""
_NAME = "bench"  # under which an option's server serves the model
_STATES: dict[str | None, State] = {"SHIP": "pass", "DON'T SHIP": "fail"}
_FLAGS = {  # of `tunesmith serve`, for a model folder or an adapter
    "float32": ("--engine", "transformers", "--precision", "float32", "--speculative", "off"),
    "bfloat16": ("--engine", "transformers", "--precision", "bfloat16", "--speculative", "off"),
    "ngram": ("--engine", "transformers", "--precision", "float32", "--speculative", "ngram"),
    "vllm": ("--engine", "vllm", "--precision", "bfloat16", "--speculative", "off"),
}
_LABELS = {
    "float32": "transformers, float32",
    "bfloat16": "transformers, bfloat16",
    "ngram": "transformers, float32, n-gram guesses",
    "vllm": "vLLM, bfloat16",
}
_GGUF, _GGUF_FLAGS = "gguf", ("--speculative", "off")
_OF_THE_RUN = ("float32", "ngram")  # the number type of the evaluation; guesses leave the tokens as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is known of an option's answers. `state`: pass only if they were tested and ended in SHIP; `why` says by what."""

    state: State
    why: str
    verdict: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A way to run the model. `command` starts its server, and is empty for a server at an address (`url`).

    `model`: the name that requests have; empty at an address: the only model there. `typed`: the command by which a person
    serves it.
    """

    name: str
    label: str
    judged: Judged
    model: str = _NAME
    command: tuple[str, ...] = ()
    url: str = ""
    typed: str = ""


def find_options(
    reference: str, store: Store, *, wanted: Sequence[str] = (), rows: Sequence[int] = (), context: int = 0
) -> list[Option]:
    """The options of a model. `wanted`: their names, or further ones as `NAME=REFERENCE` (a GGUF file, an address); empty: all
    that can be had here. `rows`: answers at once; several make an option each.

    Raises:
        ArtifactError, ModelError, EvaluationError: a reference that cannot be opened.
        EvaluationError: a name that is not an option of this model, or numbers that cannot be.
    """
    if (rows and min(rows) < 1) or context < 0:
        raise EvaluationError(
            "no server can be started so",
            value=f"--rows {','.join(map(str, rows))} --context {context}",
            expected="rows of at least 1, and a context of 0 (the model's own limit) or more",
            hint="--rows 32 --context 1024",
        )
    own = {one.name: one for one in _own_options(reference, store)}
    found = list[Option]()
    for word in wanted or own:
        named_so = [one for name, one in own.items() if name == word or name.startswith(f"{word}-")]
        if not named_so and not _is_reference(word):
            raise _unknown(word, list(own))
        found += named_so or [_further(word, store)]
    found = list({one.name: one for one in found}.values())
    served = [with_rows for one in found for with_rows in _with_rows(one, rows)]
    return [_with_flags(one, "--context", str(context)) if context else one for one in served]


def run_behind(reference: str, store: Store) -> FinishedRun | None:
    """The run of a reference's model, if it has one."""
    if is_url(reference):
        return None
    found = place_of(reference, store).run
    return None if found is None else FinishedRun(store, found)


def _own_options(reference: str, store: Store) -> Iterator[Option]:
    if is_url(reference) or place_of(reference, store).gguf is not None:
        yield _further(reference, store)
        return
    run = run_behind(reference, store)
    judged = _of_run(run)
    for name in ("float32", "bfloat16", "ngram"):
        known = judged if name in _OF_THE_RUN else _untested(run)
        yield _served(name, _LABELS[name], reference, store, _FLAGS[name], known)
    for export in [] if run is None else exports_of(run):
        if export.numbers["form"] == _GGUF:
            yield _of_export(export, run, store)
    if os.environ.get(PYTHON):
        yield _served("vllm", _LABELS["vllm"], reference, store, _FLAGS["vllm"], _untested(run))


def _served(name: str, label: str, reference: str, store: Store, flags: Sequence[str], judged: Judged) -> Option:
    """An option that `tunesmith serve` runs. Nothing of the recipe that is about clients holds: keys, limits, traffic."""
    alone = ("--host", "127.0.0.1", "--port", "0", "--keys", "", "--rate", "0", "--traffic", "", "--no-capture", "--json")
    command = (
        *(sys.executable, "-m", "tunesmith.ops.bench.served", "serve", f"{_NAME}={reference}"),
        *("--project", str(store.root.parent), "--pin", _NAME, "--database", NEW_DATABASE, *alone, *flags),
    )
    typed = " ".join(["tunesmith serve", reference, *_typed(flags)])
    return Option(name=name, label=label, judged=judged, command=command, typed=typed)


def _typed(flags: Sequence[str]) -> Iterator[str]:
    """The flags that are not the server's defaults."""
    usual = {"--engine": "transformers", "--precision": "float32", "--speculative": "off"}
    for flag, value in zip(flags[::2], flags[1::2], strict=True):
        if usual.get(flag) != value:
            yield f"{flag} {value}"


def _further(word: str, store: Store) -> Option:
    """A GGUF file, a model or an address that the user names."""
    one = named(word)
    if is_url(one.reference):
        url, _, model = one.reference.partition("#")
        name = one.name or model or url.removeprefix("http://").removeprefix("https://")
        judged = Judged(state="not measured", why="nothing on this machine says what that server runs")
        typed = f"tunesmith serve {one.reference}"
        return Option(name=name, label=f"the server at {url}", judged=judged, model=model, url=url, typed=typed)
    place = place_of(one.reference, store)
    if place.gguf is None:
        judged = Judged(state="not measured", why="its answers were not tested")
        label = f"transformers, float32, {one.reference}"
        return _served(one.name or one.reference, label, one.reference, store, _FLAGS["float32"], judged)
    if (export := _export_with(place.gguf, store)) is not None:
        run = place_of(export.id, store).run
        found = _of_export(export, None if run is None else FinishedRun(store, run), store)
        return replace(found, name=one.name or found.name)
    judged = Judged(state="not measured", why="this file's answers were not tested")
    return _served(one.name or place.gguf.stem, f"llama.cpp, {place.gguf.name}", one.reference, store, _GGUF_FLAGS, judged)


def _export_with(file: Path, store: Store) -> Artifact | None:
    """The export that holds exactly this file: copies and releases have the verdict of what they were copied from."""
    mark = sha256_file(file)
    exports = [one for one in store.all() if one.kind == "export"]
    return next((one for one in exports if any(fact["sha256"] == mark for fact in one.manifest["files"])), None)


def _of_export(export: Artifact, run: FinishedRun | None, store: Store) -> Option:
    quant = str(export.numbers["quant"])
    name = f"{_GGUF}-{quant}" if quant else _GGUF
    return _served(name, f"llama.cpp, {quant or 'GGUF'}", export.id[:12], store, _GGUF_FLAGS, _of_file(export, run))


def _of_file(export: Artifact, run: FinishedRun | None) -> Judged:
    """What the evaluation's own questions said of exactly this file."""
    which = f"export {export.id[:8]}"
    verdict, state = export.numbers.get("verdict"), export.numbers.get("state", "not measured")
    evaluation = None if run is None else run.evaluation
    if verdict is None:
        return Judged(state="not measured", why=f"{which} was written, and its answers were not tested")
    if evaluation is None or evaluation.reference() not in export.manifest["inputs"]:
        return Judged(state="not measured", verdict=verdict, why=f"{which} was tested before the run's newest evaluation")
    known: State = "fail" if "fail" in (state, _STATES.get(verdict)) else "not measured"
    if state == "pass" and verdict == "SHIP":
        known = "pass"
    return Judged(state=known, verdict=verdict, why=f"{which}: {verdict}, as good as the tested adapter: {state}")


def _of_run(run: FinishedRun | None) -> Judged:
    """Of the model as it was evaluated, in float32."""
    if run is None:
        return Judged(state="not measured", why="no run of this project made it, so nothing was judged")
    if (evaluation := run.evaluation) is None:
        return Judged(state="not measured", why=f"run {run.run.id[:8]} was not evaluated")
    verdict = str(evaluation.numbers["verdict"])
    why = f"evaluation {evaluation.id[:8]}, in float32: {verdict}"
    return Judged(state=_STATES.get(verdict, "not measured"), verdict=verdict, why=why)


def _untested(run: FinishedRun | None) -> Judged:
    known = _of_run(run)
    if known.state == "fail":  # no form of a model that may not ship is better than the model
        return known
    return Judged(state="not measured", why="the evaluation answered in float32" if known.verdict else known.why)


def _with_rows(option: Option, rows: Sequence[int]) -> Iterator[Option]:
    if not rows or not option.command:
        yield option
        return
    for count in rows:
        name = f"{option.name}, {count} rows" if len(rows) > 1 else option.name
        yield replace(_with_flags(option, "--rows", str(count)), name=name)


def _with_flags(option: Option, *flags: str) -> Option:
    if not option.command:
        return option
    return replace(option, command=(*option.command, *flags), typed=" ".join([option.typed, *flags]))


def _is_reference(word: str) -> bool:
    reference = named(word).reference
    return "=" in word or is_url(reference) or Path(reference).expanduser().exists()


def _unknown(word: str, names: Sequence[str]) -> EvaluationError:
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.0)
    return EvaluationError(
        "there is no such option of this model",
        value=word,
        expected=f"{', '.join(names)}, or NAME=REFERENCE (a GGUF file, an address)",
        hint=f"--options {near[0]}" if near else "--options float32",
    )
