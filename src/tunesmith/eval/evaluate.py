"""Run the evaluation: base, prompted base, tuned (adapter at run time) and merged model on the same items.

Base, prompted base and tuned model answer at the settings of use, each item several times; base, tuned and merged model also
greedily on a part of the items, for diagnosis and parity. Base and tuned share one copy of the weights, the adapter switched
off and on; merged is opened from its own folder, whose tokenizer and template must be the base's to the byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tunesmith.core.errors import EvaluationError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import Example, Generation, Message, canonical_json, digest, spread_over_documents
from tunesmith.core.reporter import Progress, Reporter
from tunesmith.eval.likelihood import encode_items, likelihoods
from tunesmith.eval.parity import compare_hops, share_as_summed
from tunesmith.eval.prompted import instruction_tokens, style_prompts
from tunesmith.eval.results import GeneralResult, Item, Limit, ParityResult, SystemName, SystemRun
from tunesmith.models.adapters import adapter_moves, open_adapter, without_adapter
from tunesmith.models.chat import Chat, Encoded, open_chat
from tunesmith.models.generate import GREEDY, Completion, Request, answer
from tunesmith.models.generation.fits import fits
from tunesmith.models.load import BaseFolder, StoredType, load_model, stored_types
from tunesmith.models.memory import release_memory
from tunesmith.models.settings import folder_differences
from tunesmith.models.template import Scalar
from tunesmith.models.use import GREEDY_USE, Use

__all__ = ["Conditions", "Measured", "choose_items", "evaluate", "that_fit"]

_PARITY_ITEMS = 64
_GREEDY_ITEMS = 12  # greedy answers are a diagnostic, and what parity compares
_SERVED_ROWS, _SERVED_ANSWERS = 8, 4  # a processor without 16-bit products takes ten times as long over them


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Under which every system answers: cheaper alternatives to measure too, maximum tokens per answer, answers at once, the
    options of the chat template, and the settings of use."""

    baselines: tuple[str, ...]
    max_new_tokens: int
    batch_examples: int
    template: Mapping[str, Scalar] = field(default_factory=dict)
    use: Use = GREEDY_USE


@dataclass(frozen=True, slots=True)
class Measured:
    """Results of an evaluation: systems in the order of comparison, merged against tuned (`parity`: both in float32; `served`:
    merged opened as it is served, None if that failed), general texts, counts of what was asked, and how the references fit
    into the token limit."""

    systems: tuple[SystemRun, ...]
    parity: ParityResult
    general: GeneralResult
    numbers: Mapping[str, int] = field(default_factory=dict)
    served: ParityResult | None = None
    limit: Limit | None = None


def choose_items(examples: Sequence[Example], max_items: int) -> tuple[Item, ...]:
    """The test items; with a limit, spread over as many documents as can be: documents are what intervals rest on."""
    rows = spread_over_documents(examples, max_items)
    return tuple(Item(id=e.id, group=e.group, title=e.title, prompt=e.prompt, reference=e.answer) for e in rows)


def that_fit(chat: Chat, items: Sequence[Item], *, context: int, prompted: bool, least: int = 16) -> tuple[Item, ...]:
    """The items whose reference fits into the context, with room for an answer of `least` tokens; the rest stay unscored.

    An item whose reference the template rewrites (Qwen 3 drops what stands before `</think>`) cannot be scored either.
    With `prompted`, room for the instruction of the prompted baseline is kept too, since all systems see the same items.
    """
    if prompted:
        context -= instruction_tokens(chat)
    kept = []
    for item in items:
        turns = [*item.prompt, Message(role="assistant", content=item.reference)]
        if not chat.keeps_words(turns):
            continue
        whole = len(chat.encode_answer(turns).ids)
        if max(whole, len(chat.encode_prompt(item.prompt)) + least) <= context:
            kept.append(item)
    return tuple(kept)


def evaluate(
    base: BaseFolder,
    *,
    adapter: Path,
    merged: BaseFolder,
    items: Sequence[Item],
    train: Sequence[Example],
    general: Sequence[Item],
    conditions: Conditions,
    reporter: Reporter,
) -> Measured:
    """Measure every system on `items`, in float32. `train`: passages of the author's that the prompted base may be shown.

    EvaluationError if the merged model speaks another chat format, or if the adapter changes nothing.
    """
    if not items:
        raise EvaluationError("there is nothing to evaluate on", value=0, expected="test items", hint="--set split.test=0.2")
    chat = open_chat(base, conditions.template)
    if open_chat(merged, conditions.template).fingerprint != chat.fingerprint:
        raise EvaluationError(
            "the merged model has another tokenizer or chat template than the base",
            value=str(merged.path),
            expected="the same files",
            hint="delete the merged model and run again",
        )
    release_memory()
    adapted = open_adapter(load_model(base, "float32"), adapter)
    parts = digest(sha256_file(adapter / "adapter_model.safetensors"), sha256_file(adapter / "adapter_config.json"))
    plain = [item.prompt for item in items]
    with reporter.progress("evaluate", total=_num_answers(conditions, len(items)), unit="answers") as progress:
        desk = _Desk(chat, base.context, items, conditions, progress)
        if reason := fits(adapted).reason:
            reporter.warn(f"answers are made one by one, which is slow: this base has {reason}")
        progress.advance(0, "base and tuned")
        by_base, by_tuned = desk.answers(adapted, plain, adapter=(False, True), ways=("use", "greedy"))
        runs, numbers = [], dict[str, int]()
        with without_adapter(adapted) as model:
            runs.append(desk.ask("base", "base", model, base.fingerprint, plain, by_base))
            if "prompted" in conditions.baselines:
                shown = style_prompts(chat, train, items, context=base.context, room=conditions.max_new_tokens)
                if shown is None:
                    reporter.warn(
                        "no training passage fits into the prompt beside the test items: the prompted base is not measured"
                    )
                else:
                    label = f"base shown {shown.num_passages} training passages ({shown.num_tokens} tokens)"
                    numbers |= shown.numbers
                    progress.advance(0, label)
                    (by_prompted,) = desk.answers(model, shown.prompts)
                    runs.append(desk.ask("prompted", label, model, base.fingerprint, shown.prompts, by_prompted))
        tuned = desk.ask("tuned", "tuned: base and adapter", adapted, digest(base.fingerprint, parts), plain, by_tuned)
        progress.advance(0, "merged")
        fused = load_model(merged, "float32")
        (by_merged,) = desk.answers(fused, plain, ways=("greedy",))
        last = desk.ask("merged", "merged", fused, digest("merged", merged.fingerprint, parts), plain, by_merged)
        rows = encode_items(chat, items, plain, context=base.context)
        limit, rows = _limit(conditions, rows), rows[:_PARITY_ITEMS]
        parity = replace(
            compare_hops("adapter → merged", adapted, fused, rows, (tuned.greedy, last.greedy)),
            stored=stored_types(merged.weights).most_common(1)[0][0],
            as_summed=share_as_summed(adapted, fused, list(stored_types(merged.weights))),
            differences=folder_differences(base, merged, chat.end_ids),
        )
        del fused  # before another copy of the weights is opened
        try:
            served = _served(desk, adapted, merged, rows[:_SERVED_ROWS], tuned.greedy, stored=parity.stored)
        except EvaluationError as error:
            reporter.warn(f"the merged model was not measured as it is served: {error}")
            served = None
    if adapter_moves(adapted) and runs[0].likelihoods == tuned.likelihoods:
        raise EvaluationError(
            "the adapter changes nothing: base and tuned model give every reference the same probability",
            value=str(adapter),
            expected="an adapter that moves the model",
            hint="delete the run's folder and train again: its weights are not zero, so they are not being used",
        )
    return Measured((*runs, tuned, last), parity, _general(adapted, chat, general, base.context), numbers, served, limit)


def _served(
    desk: _Desk, adapted: Any, merged: BaseFolder, rows: Sequence[Encoded], tuned: Sequence[Generation], *, stored: str
) -> ParityResult:
    """The merged folder opened in the 16-bit type in which servers open it, against what was tuned."""
    kind: StoredType = "float16" if stored == "float16" else "bfloat16"
    desk.progress.advance(0, f"merged, opened in {kind}")
    model = load_model(merged, kind)
    items = desk.items[:_SERVED_ANSWERS]
    (given,) = desk.answers(model, [item.prompt for item in items], ways=("greedy",))
    answers = _generations("merged", items, given, digest("served", kind, merged.fingerprint), way="greedy")
    return replace(compare_hops(f"adapter → merged, opened in {kind}", adapted, model, rows, (tuned, answers)), stored=stored)


Way = Literal["use", "greedy"]
_WAYS: tuple[Way, Way] = ("use", "greedy")
_Given = tuple[int, Way, int, Completion]  # place of the item, how it was decoded, number of the draw, the answer


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where every system gets the same items under the same conditions."""

    chat: Chat
    context: int
    items: Sequence[Item]
    conditions: Conditions
    progress: Progress

    def answers(
        self,
        model: Any,
        prompts: Sequence[Sequence[Message]],
        *,
        adapter: Sequence[bool] = (True,),
        ways: Sequence[Way] = ("use",),
    ) -> list[list[_Given]]:
        """The answers to every prompt, for each state of the adapter, all in one batch on one copy of the weights.

        `use`: at the settings of use, each draw with its own number; `greedy`: to the first prompts alone. Where the settings
        of use are greedy, nothing is made twice.
        """
        use = self.conditions.use
        asked: list[tuple[int, Way, int]] = []
        if "use" in ways:
            asked += [(place, "use", draw) for place in range(len(prompts)) for draw in range(use.num_draws)]
        greedy_too = "greedy" in ways and not (use.is_plain_greedy and "use" in ways)
        if greedy_too:
            asked += [(place, "greedy", 0) for place in range(min(_GREEDY_ITEMS, len(prompts)))]
        requests = [
            Request(
                messages=prompts[place],
                max_new_tokens=self.conditions.max_new_tokens,
                sampling=use.sampling if way == "use" else GREEDY,
                adapter=on,
                number=draw,
            )
            for place, way, draw in asked
            for on in adapter
        ]
        done = answer(
            model,
            self.chat,
            requests,
            batch_examples=self.conditions.batch_examples,
            context=self.context,
            on_done=self.progress.advance,
        )
        found: list[list[_Given]] = [
            [(*key, said) for key, said in zip(asked, done[at :: len(adapter)], strict=True)] for at in range(len(adapter))
        ]
        if "greedy" in ways and not greedy_too:
            found = [[*part, *((i, "greedy", 0, said) for i, _, _, said in part[:_GREEDY_ITEMS])] for part in found]
        return found

    def ask(
        self,
        name: SystemName,
        label: str,
        model: Any,
        weights: str,
        prompts: Sequence[Sequence[Message]],
        answers: Sequence[_Given],
    ) -> SystemRun:
        """The likelihood of every reference and the answers, under the hash of all that made them."""
        chat, items, size = self.chat, self.items, self.conditions.batch_examples
        self.progress.advance(0, label)
        use = {key: value for key, value in asdict(self.conditions.use).items() if key != "how"}
        sampling = {"use": use, "max_new_tokens": self.conditions.max_new_tokens}
        mark = digest(weights, chat.fingerprint, canonical_json([list(p) for p in prompts]), canonical_json(sampling))
        rows = encode_items(chat, items, prompts, context=self.context)
        scored = likelihoods(model, chat, items, rows, batch_examples=min(8, size), on_done=self.progress.advance)
        drawn, greedy = (_generations(name, items, answers, mark, way=way) for way in _WAYS)
        if self.conditions.use.num_draws == 1:
            drawn = tuple(replace(one, draw=None) for one in drawn)
        return SystemRun(name=name, label=label, fingerprint=mark, generations=drawn, likelihoods=scored, greedy=greedy)


def _limit(conditions: Conditions, rows: Sequence[Encoded]) -> Limit:
    """How the references, end token included, fit into the token limit."""
    most = conditions.max_new_tokens
    return Limit(max_new_tokens=most, too_long=sum(row.num_learned > most for row in rows), num_references=len(rows))


def _num_answers(conditions: Conditions, num_items: int) -> int:
    """Answers and likelihoods that an evaluation takes, for progress."""
    others, greedy = len(conditions.baselines), min(_GREEDY_ITEMS, num_items)
    drawn = (2 + others) * num_items * conditions.use.num_draws
    diagnosed = (1 if conditions.use.is_plain_greedy else 3) * greedy
    return drawn + diagnosed + (3 + others) * num_items + min(_SERVED_ANSWERS, num_items)


def _generations(
    system: SystemName, items: Sequence[Item], answers: Sequence[_Given], mark: str, *, way: Way
) -> tuple[Generation, ...]:
    return tuple(
        Generation(
            item_id=items[place].id,
            system=system,
            text=given.text,
            finish_reason=given.finish_reason,
            num_tokens=given.num_tokens,
            fingerprint=mark,
            draw=draw if way == "use" else None,
        )
        for place, asked, draw, given in answers
        if asked == way
    )


def _general(adapted: Any, chat: Chat, general: Sequence[Item], context: int) -> GeneralResult:
    rows = encode_items(chat, general, [item.prompt for item in general], context=context)
    with without_adapter(adapted) as model:
        before = likelihoods(model, chat, general, rows, batch_examples=8)
    after = likelihoods(adapted, chat, general, rows, batch_examples=8)
    return GeneralResult(n=len(general), base=before, tuned=after)
