"""A training run from a split dataset to an adapter on disk: audit the labels, attach, fit, save."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import torch

from tunesmith.core.config import MethodConfig, TrainConfig
from tunesmith.core.errors import BlockedError, TrainingError
from tunesmith.core.records import Example, canonical_json, digest, spread_over_documents
from tunesmith.core.reporter import Reporter
from tunesmith.models.adapters import Coverage, attach, save_adapter
from tunesmith.models.audit import Audit, audit
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.generate import Request, Sampling, answer
from tunesmith.models.load import BaseFolder, PrecisionName, load_model
from tunesmith.models.memory import release_memory
from tunesmith.models.precision import without_denormals
from tunesmith.models.reach import choose_modules
from tunesmith.plan.plan import not_reached
from tunesmith.plan.steps import look_every, num_steps
from tunesmith.train.batches import Batches, Sizes
from tunesmith.train.best import Measure, other_measure
from tunesmith.train.checkpoint import Checkpoints, lock
from tunesmith.train.compiling import Trial
from tunesmith.train.loop import FitSettings, Fitted, fit
from tunesmith.train.memory import Budget, budget
from tunesmith.train.passes import Passes, TrunkCache, look, passes
from tunesmith.train.reading import Reading, read_curves
from tunesmith.train.report import run_report
from tunesmith.train.validation import OnDone, Validation

__all__ = ["Place", "Trained", "check_labels", "deterministic", "train_adapter"]

_CUT_LIMIT = 0.01
_DRAWN = Sampling(temperature=0.7, top_p=0.9, repetition_penalty=1.1, seed=7)
_SAMPLES = 3  # validation questions that are answered at each validation
_SAMPLE_TOKENS = 48


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run happens: `workspace` keeps what resuming needs, `out` takes the result, `run_id` guards against mix-ups."""

    run_id: str
    workspace: Path
    out: Path


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run gave, beside the files it wrote."""

    fitted: Fitted
    coverage: Coverage
    reading: Reading


def check_labels(
    chat: Chat, examples: Sequence[Example], encoded: Sequence[Sequence[Encoded]], *, allow: Sequence[str]
) -> Audit:
    """The label audit of each example's rows; BlockedError for faults that ruin a run in silence, unless allowed by name.

    The names are cut, rewritten, stop and zero_labels; a template whose prompt differs cannot be allowed.
    """
    found = audit(chat, examples, encoded)
    if found.without_labels and "zero_labels" not in allow:
        raise BlockedError(
            "some examples have nothing to learn",
            name="zero_labels",
            value=f"{len(found.without_labels)} of {found.num_examples}, first {found.without_labels[0]}",
            expected="an answer in every example",
            hint="--set train.max_tokens=… if they were cut, or --allow zero_labels",
        )
    if found.cut_share > _CUT_LIMIT and "cut" not in allow:
        lengths = sorted(
            ((max(len(r.ids) + r.dropped for r in rows), x.title or x.id) for rows, x in zip(encoded, examples, strict=True)),
            reverse=True,
        )
        shown = ", ".join(f"{title!r} {length:,} tokens" for length, title in lengths[:3])
        raise BlockedError(
            f"{found.cut_share:.1%} of the learned tokens would be cut",
            name="cut",
            value=f"{len(found.cut)} of {found.num_examples} examples; the longest: {shown}",
            expected="at most 1 %: what is cut is never learned",
            hint=f"--set train.max_tokens={lengths[0][0]}, or --set build.passage_words=60, or --allow cut",
        )
    endless = set(found.without_end) - set(found.cut)
    if endless and "stop" not in allow:
        raise BlockedError(
            "the end token is missing from the labels: the model would never learn to stop",
            name="stop",
            value=f"{len(endless)} of {found.num_examples} examples, first {sorted(endless)[0]}",
            expected="an end token after every answer, written by the chat template or declared in generation_config.json",
            hint="choose a base with such a template, or --allow stop",
        )
    if found.rewritten and "rewritten" not in allow:
        raise BlockedError(
            "the base's chat template changes the words of answers",
            name="rewritten",
            value=f"{len(found.rewritten)} of {found.num_examples} examples, first {found.rewritten[0]}",
            expected="a template that writes an answer as it is: what it leaves out is never learned",
            hint="take the tags of the template (</think>, say) out of these answers, or --allow rewritten",
        )
    if found.prompt_differs or max(found.bos_counts, default=0) > 1:
        raise BlockedError(
            "the prompt in training is not the prompt in use",
            name="template",
            value=f"{len(found.prompt_differs)} prompts tokenise differently; BOS tokens per example {list(found.bos_counts)}",
            expected="the same token ids with and without the answer, and one BOS at most",
            hint="repair the base's chat template or tokenizer",
        )
    return found


def train_adapter(
    base: BaseFolder,
    chat: Chat,
    examples: dict[str, Sequence[Example]],
    *,
    method: MethodConfig,
    train: TrainConfig,
    precision: PrecisionName,
    place: Place,
    reporter: Reporter,
) -> Trained:
    """Train on `examples["train"]`, watching `examples["val"]`; writes adapter, metric log and reading to `place.out`.

    The same call resumes from the checkpoints in `place.workspace`.
    """
    if not examples["val"]:
        raise TrainingError(
            "there is nothing to validate on",
            value="an empty validation split",
            expected="one example at least: it decides which step is the best",
            hint="--set split.val=0.1",
        )
    limit = min(train.max_tokens, base.context)
    watched = spread_over_documents(examples["val"], train.val_examples)
    rows, val = (
        [row for e in part for row in chat.rows(e.messages, max_tokens=limit)] for part in (examples["train"], watched)
    )
    steps = num_steps(train, len(rows), sum(len(row.ids) for row in rows))
    adapted, coverage, modules = _with_adapter(base, method, train, precision)
    exact = train.precision == "exact"
    batch_tokens = train.batch_tokens or train.batch_examples * sum(len(row.ids) for row in rows) // len(rows)
    tokens = steps * train.accumulate * batch_tokens
    compile = Trial(tokens, place.workspace / "compile.json") if train.compile == "auto" else train.compile
    trunk = None if exact or method.layers == "all" else TrunkCache(place.workspace / "trunk", modules, base.fingerprint)
    release_memory()
    with (
        lock(place.workspace),
        without_denormals(),
        deterministic(exact),
        passes(adapted, rows, val, pad_id=chat.pad_id, share=not exact, trunk=trunk, compile=compile, reporter=reporter) as way,
    ):
        most = _budget(adapted, rows, train, way, limit, place)
        batches = _batches(rows, train, way, most)
        fitted = fit(
            adapted,
            batches,
            way.objective,
            settings=FitSettings(
                num_steps=steps,
                evaluate_every=look_every(train, steps),
                **train.model_dump(include=set(FitSettings.__dataclass_fields__) - {"num_steps", "evaluate_every"}),
            ),
            validation=Validation(
                len(val),
                measure=lambda count, on_done: look(adapted, val[:count], way, on_done),
                sample=lambda on_done: _samples(adapted, chat, watched[:_SAMPLES], base.context, on_done),
            ),
            checkpoints=_checkpoints(place, _made_for(base, rows, method, train), way.note, train, reporter),
            reporter=reporter,
        )
        metrics = [orjson.loads(line) for line in (place.workspace / "metrics.jsonl").read_bytes().split(b"\n") if line]
        reading = read_curves(metrics, min_delta=train.min_delta)
        save_adapter(adapted, base.address, place.out / "adapter")
        other = _save_other(adapted, base, fitted, other_measure(train.best_by), place)
        for log in place.workspace.glob("*.jsonl"):  # metrics and, where steps were timed, timing
            shutil.copyfile(log, place.out / log.name)
        (place.out / "reading.json").write_bytes(orjson.dumps(asdict(reading)))
        facts = {
            **other,
            "adapter": f"{method.kind} rank {method.rank} on {len(modules)} of {coverage.num_linear} linear layers",
            **_covered(coverage, method.dropout),
            "base": f"{base.name}, {precision} in training, fingerprint {base.fingerprint[:12]}",
            "batches": f"{way.note}; {most.note}",
        }
        (place.out / "report.html").write_text(run_report(metrics, fitted, reading, facts), encoding="utf-8")
    return Trained(fitted, coverage, reading)


def _covered(coverage: Coverage, dropout: float) -> dict[str, str]:
    """What was trained, what no adapter reaches, and which dropouts the run had: the adapter's own, never the base's."""
    trained = f"{coverage.num_trainable:,} of {coverage.num_parameters:,} parameters ({coverage.share:.1%})"
    beyond = not_reached(coverage.out_of_reach, coverage.num_parameters - coverage.num_trainable)
    off = ", ".join(f"{name} {value:g}" for name, value in coverage.dropouts.items())
    own = f"; the base's own ({off}) switched off, since the base is frozen" if off else ""
    return {"trained": trained + beyond, "dropout": f"adapter {dropout:g}{own}"}


def _with_adapter(
    base: BaseFolder, method: MethodConfig, train: TrainConfig, precision: PrecisionName
) -> tuple[Any, Coverage, list[str]]:
    """The base with a fresh adapter, what it covers, and the names of the adapted modules."""
    model = load_model(base, precision)
    modules = choose_modules(model, method.targets, method.layers)
    adapted, coverage = attach(
        model, kind=method.kind, rank=method.rank, alpha=method.alpha, dropout=method.dropout, modules=modules, seed=train.seed
    )
    if train.gradient_checkpointing:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft still calls the old name
            adapted.enable_input_require_grads()
            adapted.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return adapted, coverage, modules


def _save_other(model: Any, base: BaseFolder, fitted: Fitted, measure: Measure, place: Place) -> dict[str, str]:
    """Write the best weights by the other measure beside the adapter, if they are of another step; what the report says."""
    if not fitted.other:
        return {f"best by {measure}": f"step {fitted.other_step}, the same"}
    own = {name: parameter for name, parameter in model.named_parameters() if name in fitted.other}
    chosen = {name: parameter.detach().clone() for name, parameter in own.items()}
    name = f"adapter-best-{measure}"
    with torch.no_grad():
        for key, parameter in own.items():
            parameter.copy_(fitted.other[key])
        save_adapter(model, base.address, place.out / name)
        for key, parameter in own.items():
            parameter.copy_(chosen[key])
    return {f"best by {measure}": f"step {fitted.other_step}, kept beside as {name}"}


def _checkpoints(place: Place, made_for: dict[str, str], way: str, train: TrainConfig, reporter: Reporter) -> Checkpoints:
    """The run's checkpoints, which know what they belong to and how its batches go through the model."""
    return Checkpoints(
        place.workspace,
        place.run_id,
        made_for=made_for,
        conditions={"batches": way},
        keep=train.keep_checkpoints,
        reporter=reporter,
    )


def _budget(model: Any, rows: Sequence[Encoded], train: TrainConfig, way: Passes, limit: int, place: Place) -> Budget:
    """What the recipe says goes through at once, or what fits; a batch of the longest rows at most."""
    return budget(
        model,
        rows,
        way,
        wanted=None if train.tokens_at_once == "auto" else train.tokens_at_once,
        largest=train.batch_tokens + limit if train.batch_tokens else train.batch_examples * limit,
        file=place.workspace / "memory.json",
    )


def _batches(rows: Sequence[Encoded], train: TrainConfig, way: Passes, most: Budget) -> Batches:
    return Batches(
        rows,
        sizes=Sizes(examples=train.batch_examples, tokens=train.batch_tokens),
        seed=train.seed,
        most_tokens=most.tokens,
        enough=most.enough,
        shares=way.shares,
        lay_out=way.lay_out,
        short_first=train.curriculum == "short_first",
    )


def _made_for(base: BaseFolder, rows: Sequence[Encoded], method: MethodConfig, train: TrainConfig) -> dict[str, str]:
    """What a checkpoint belongs to, by name: resuming with another base, data, method or schedule is refused."""
    settings = train.model_dump(exclude={"checkpoint_every", "checkpoint_minutes", "keep_checkpoints"})
    return {
        "base": base.fingerprint,
        "training data": digest(*(str((row.ids, row.learned)) for row in rows)),
        "method": digest(canonical_json(method.model_dump())),
        "training settings": digest(canonical_json(settings)),
    }


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Inside, torch uses deterministic algorithms alone, and says so where it has none."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(before or wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _samples(model: Any, chat: Chat, examples: Sequence[Example], context: int, on_done: OnDone) -> list[str]:
    """Answers to a few validation questions, drawn with a fixed seed: what the run sounds like by now.

    Drawn at usual settings of use, since greedy answers of a small model loop where those that people see do not.
    """
    model.eval()
    requests = [Request(messages=example.prompt, max_new_tokens=_SAMPLE_TOKENS, sampling=_DRAWN) for example in examples]
    made = answer(model, chat, requests, batch_examples=len(requests), context=context, on_done=on_done)
    return [said.text for said in made]
