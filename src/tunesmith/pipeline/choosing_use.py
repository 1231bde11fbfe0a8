"""What the stage `use` does: the sampling settings, as the recipe sets them or chosen on validation questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.artifacts import Draft
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Example, to_json
from tunesmith.core.reporter import Reporter
from tunesmith.eval.evaluate import choose_items, that_fit
from tunesmith.eval.use_choice import CANDIDATES, MOST_QUESTIONS, Asked, Choice, choose_use, num_answers, set_use
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.models.settings import generation_settings
from tunesmith.models.tuned import open_tuned
from tunesmith.models.use import GREEDY_USE, Use, generation_fields
from tunesmith.pipeline.sections.use import UseConfig

__all__ = ["fields_for", "fill_use", "settings_of_stage"]


def settings_of_stage(wanted: UseConfig, max_new_tokens: int) -> dict[str, Any]:
    """What the outcome of the stage depends on: the recipe's numbers, and what the choice is made from where one is made."""
    chosen = {} if set_use(wanted) else {"candidates": [list(c) for c in CANDIDATES], "max_new_tokens": max_new_tokens}
    return {"use": wanted.model_dump(), **chosen}


def fill_use(
    draft: Draft,
    *,
    base: BaseFolder,
    chat: Chat,
    adapter: Path,
    validation: Sequence[Example],
    wanted: UseConfig,
    asked: Asked,
    reporter: Reporter,
) -> None:
    """Write `use.json`, with the candidates and what came of them, and a `generation_config.json` to put next to the adapter.

    EvaluationError if there is something to choose and no validation question to choose it on.
    """
    choice = _chosen(base, chat, adapter, validation, wanted, asked, reporter)
    use = choice.use
    (draft.path / "use.json").write_bytes(to_json({**asdict(use), "candidates": choice.candidates}))
    settings = generation_settings(base, chat.end_ids, fields_for(base, use))
    (draft.path / "generation_config.json").write_text(settings, encoding="utf-8")
    draft.numbers |= {"settings": use.words, "how": use.how, "draws": use.num_draws, "seed": use.seed}


def fields_for(base: BaseFolder, use: Use) -> dict[str, Any]:
    """The fields of a generation_config.json that carry the sampling settings, over the base's own file."""
    own = base.path / "generation_config.json"
    before: Mapping[str, Any] = orjson.loads(own.read_bytes()) if own.is_file() else {}
    return generation_fields(use, before)


def _chosen(
    base: BaseFolder,
    chat: Chat,
    adapter: Path,
    validation: Sequence[Example],
    wanted: UseConfig,
    asked: Asked,
    reporter: Reporter,
) -> Choice:
    if (use := set_use(wanted)) is not None:
        return Choice(use=use)
    if validation and not any(row.prompt for row in validation):
        return Choice(use=replace(GREEDY_USE, how="nothing is asked of plain texts, so nothing is chosen"))
    items = that_fit(chat, choose_items(validation, MOST_QUESTIONS), context=asked.context)
    if not items:
        raise EvaluationError(
            "there is no validation question on which the sampling settings could be chosen",
            value=f"{len(validation)} validation examples, none of which fits into the context",
            expected="one at least",
            hint="--set use.temperature=0.7 --set use.top_p=0.9 --set use.repetition_penalty=1.1",
        )
    model = open_tuned(load_model(base, "float32"), adapter)
    with reporter.progress("sampling settings", total=num_answers(wanted, len(items)), unit="answers") as progress:
        return choose_use(model, chat, items, wanted=wanted, asked=asked, on_done=progress.advance)
