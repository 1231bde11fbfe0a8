"""A system over an engine: the tiny base in llama.cpp answers and scores like the tiny base in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from fakes import TEMPLATE, conversation
from gguf_files import write_gguf
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import FinishReason
from tunesmith.engines.engine import Engine, EngineAnswer
from tunesmith.engines.llama_cpp import LlamaCpp
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.generate import Request, Sampling
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.systems.engine_system import EngineLogitsSystem, EngineSystem, engine_system
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.system import GivesLogits

CONTEXT = 96


@pytest.fixture(scope="module")
def served(tiny_path: Path, tiny_chat: Chat, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineLogitsSystem]:
    file = tmp_path_factory.mktemp("served") / "tiny.gguf"
    write_gguf(tiny_path, file, dtype=np.float32, pre="gpt-2", template=TEMPLATE)
    with LlamaCpp(file, context=CONTEXT, threads=1) as engine:
        system = engine_system(engine, tiny_chat, name="gguf", label="F32 in llama.cpp", context=CONTEXT)
        assert isinstance(system, EngineLogitsSystem) and isinstance(system, GivesLogits)
        yield system


@pytest.fixture(scope="module")
def local(tiny: BaseFolder, tiny_chat: Chat) -> LocalSystem:
    model = load_model(tiny, "float32")
    return LocalSystem(
        name="base", label="base", fingerprint="x", model=model, chat=tiny_chat, context=CONTEXT, batch_examples=4
    )


def row(*ids: int, learned: int) -> Encoded:
    return Encoded(ids, tuple(at >= len(ids) - learned for at in range(len(ids))))


def test_log_probabilities_are_those_of_the_target_tokens_alone(served: EngineLogitsSystem, local: LocalSystem) -> None:
    gaps = Encoded((5, 60, 61, 62, 7, 63), (False, True, False, True, False, True))
    rows = [row(5, 60, 61, 62, learned=2), gaps, row(5, 60, learned=0)]
    found, expected = served.logprobs(rows), local.logprobs(rows)
    assert found is not None
    for one, other in zip(found, expected, strict=True):
        assert len(one.log_p) == len(other.log_p)
        assert np.allclose(one.log_p, other.log_p, atol=0.05) and one.is_top == other.is_top


def test_logits_can_be_read_again(served: EngineLogitsSystem, local: LocalSystem) -> None:
    rows = [row(5, 60, 61, 62, learned=2)]
    kept = served.kept_logits(rows)
    [first], [again], [expected] = list(kept), list(kept), list(local.logits(rows))
    assert torch.equal(first, again)
    assert float((first.softmax(-1) - expected.softmax(-1)).abs().max()) < 0.02


def test_an_answer_begins_like_that_of_the_model_in_this_process(served: EngineLogitsSystem, local: LocalSystem) -> None:
    request = Request(messages=conversation("the water"), max_new_tokens=4)
    [found], [expected] = served.answer([request]), local.answer([request])
    assert (found.text, found.num_tokens, found.finish_reason) == (expected.text, expected.num_tokens, expected.finish_reason)


def test_samples_of_one_prompt_have_draws_of_their_own_that_repeat(served: EngineLogitsSystem) -> None:
    drawn = [
        Request(messages=conversation("the water"), max_new_tokens=8, sampling=Sampling(temperature=4.0, seed=3), number=n)
        for n in (0, 1, 0)
    ]
    first, second, again = (one.text for one in served.answer(drawn))
    assert first == again != second
    assert served.differences(Sampling(temperature=1.0)) and not served.differences(Sampling())


def test_an_answer_is_cut_where_the_context_is_full_and_a_prompt_without_room_is_refused(served: EngineLogitsSystem) -> None:
    [found] = served.answer([Request(messages=conversation("ab" * 30), max_new_tokens=5000)])
    assert found.num_tokens < CONTEXT
    with pytest.raises(EvaluationError, match="no room for an answer"):
        served.answer([Request(messages=conversation("ab" * 100), max_new_tokens=5)])


class _Ends:
    """An engine that gives one answer, with the ids that it generated."""

    takes_ids = True

    def __init__(self, ids: tuple[int, ...] | None, reason: FinishReason) -> None:
        self._ids, self._reason = ids, reason

    def answer(self, requests: Sequence[object], *, on_done: object) -> list[EngineAnswer]:
        ids = self._ids
        answer = EngineAnswer(
            text="", ids=ids, finish_reason=self._reason, ended_by="", num_tokens=3, prompt_tokens=None, seconds=0.0
        )
        return [answer] * len(requests)


@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize("token", ["<|end|>", "</s>", "a", ""])
def test_ids_end_before_the_end_token_as_those_of_a_model_in_this_process(
    token: str, reason: FinishReason, tiny_chat: Chat
) -> None:
    """Every engine lists the end token, and llama.cpp ends at `</s>` too. A stop text ends at any token."""
    last = tiny_chat.tokenizer.encode(token)[-1] if token else None
    ids = None if last is None else (60, 61, last)
    engine = cast(Engine, _Ends(ids, reason))
    system = EngineSystem(name="x", label="x", engine=engine, chat=tiny_chat, context=CONTEXT)
    [found] = system.answer([Request(messages=conversation("a"), max_new_tokens=4)])
    assert found.ids == (ids[:-1] if ids and reason == "stop" and token in ("<|end|>", "</s>") else ids)
