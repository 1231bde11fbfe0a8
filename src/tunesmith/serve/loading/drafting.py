"""What guesses the next tokens of a base's answers."""

from __future__ import annotations

from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.models.continuous.draft_model import DraftModel
from tunesmith.models.continuous.drafts import Drafter, NGrams
from tunesmith.models.continuous.generator import Capacity
from tunesmith.models.load import BaseFolder, find_base, load_model, load_tokenizer
from tunesmith.serve.loading.asked import Loading
from tunesmith.systems.placing import place_of

__all__ = ["NGRAM", "open_drafter"]

NGRAM = "ngram"


def open_drafter(how: Loading, base: BaseFolder, model: Any, capacity: Capacity) -> Drafter:
    """The drafter that `how.speculative` names, for a base that is open as `model`. ModelError if its tokens are other ones."""
    if how.speculative == NGRAM:
        return NGrams()
    place = place_of(how.speculative, how.store)
    if place.gguf is not None or place.adapter is not None:
        raise _unusable(
            "a model that guesses must be whole", how.speculative, "a model folder or a base", "tunesmith merge RUN"
        )
    small = find_base(place.model, reporter=how.reporter)
    if load_tokenizer(small).get_vocab() != load_tokenizer(base).get_vocab():
        raise _unusable(
            "the model that guesses has other tokens than the one that answers",
            f"{small.name} for {base.name}",
            "the same tokenizer: each token under the same number",
            "--speculative ngram   needs no other model; or choose a smaller one of the same family",
        )
    return DraftModel(
        load_model(small, how.precision),
        vocabulary=int(model.config.get_text_config().vocab_size),
        context=small.context,
        piece_tokens=capacity.piece_tokens,
    )


def _unusable(what: str, value: str, expected: str, hint: str) -> ModelError:
    return ModelError(what, value=value, expected=expected, hint=hint)
