"""Models of this process: one copy of the weights at a time, one batch for what is asked alike, logits that outlast a model."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fakes import copy_base, examples
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Generation
from tunesmith.core.reporter import SilentReporter
from tunesmith.eval.evaluate import Conditions, choose_items, evaluate
from tunesmith.eval.likelihood import encode_items
from tunesmith.eval.parity import Given, compare_given
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.generate import Request, answer
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.merge import merge
from tunesmith.models.use import Use
from tunesmith.systems import local, logprobs, weights
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.logits import keep_logits, model_logits
from tunesmith.systems.system import TokenLogprobs

ITEMS = choose_items(examples(6), 0)


@pytest.fixture(scope="module")
def merged(tiny: BaseFolder, trained_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> BaseFolder:
    out = tmp_path_factory.mktemp("merged") / "m"
    merge(tiny, trained_adapter, out)
    return find_base(str(out))


@pytest.fixture
def rows(tiny_chat: Chat) -> list[Encoded]:
    return encode_items(tiny_chat, ITEMS, [item.prompt for item in ITEMS], context=768)


def run(base: BaseFolder, adapter: Path, merged: BaseFolder) -> None:
    conditions = Conditions(
        baselines=("prompted",),
        max_new_tokens=4,
        batch_examples=64,
        use=Use(temperature=1.0, top_p=0.9, repetition_penalty=1.0, draws=3, seed=1),
    )
    evaluate(
        base,
        adapter=adapter,
        merged=merged,
        items=ITEMS,
        train=examples(8),
        general=ITEMS[:1],
        conditions=conditions,
        reporter=SilentReporter(),
    )


def test_base_and_tuned_are_asked_in_one_batch_on_one_copy_of_the_weights(
    tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[tuple[int, list[bool]]] = []

    def watching(model: Any, chat: Chat, requests: Sequence[Request], **more: Any) -> Any:
        batches.append((id(model), [request.adapter for request in requests]))
        return answer(model, chat, requests, **more)

    monkeypatch.setattr(local, "answer", watching)
    run(tiny, trained_adapter, merged)
    drawn, greedy = 3 * len(ITEMS), len(ITEMS)
    assert [adapter for _, adapter in batches] == [
        [False, True] * (drawn + greedy),  # base and tuned, all draws
        [False] * drawn,  # prompted: its prompts are longer
        [True] * greedy,  # merged
        [True] * 4,  # as served
    ]
    assert batches[0][0] == batches[1][0]


def test_each_copy_of_the_weights_is_given_back_before_the_next_is_read(
    tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, weakref.ref[Any]]] = []
    alive: list[tuple[str, list[str]]] = []

    def watching(folder: BaseFolder, precision: Any) -> Any:
        name = "base" if folder is tiny else f"merged {precision}"
        gc.collect()
        alive.append((name, [other for other, model in read if model() is not None]))
        model = load_model(folder, precision)
        read.append((name, weakref.ref(model)))
        return model

    monkeypatch.setattr(weights, "load_model", watching)
    run(tiny, trained_adapter, merged)
    assert alive == [
        ("base", []),
        ("merged float32", []),
        ("base", ["merged float32"]),  # for the sums of the stored weights, after everything was asked
        ("merged bfloat16", []),
    ]


def test_kept_logits_are_those_of_the_model_to_the_bit_and_outlast_it(
    tiny_path: Path, tmp_path: Path, trained_adapter: Path, rows: list[Encoded]
) -> None:
    base = find_base(str(copy_base(tiny_path, tmp_path / "base")))  # a file that no other test has mapped
    model = open_adapter(load_model(base, "float32"), trained_adapter)
    live = [model_logits(model, row) for row in rows]
    layers = weakref.ref(model.get_base_model().model.layers)
    kept = keep_logits(model, rows)
    del model
    gc.collect()
    assert layers() is None and kept is not None
    if sys.platform == "linux":  # the only one that tells which files are mapped
        assert str(base.weights[0]) not in Path("/proc/self/maps").read_text(), "all of the base's file stays in memory"
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(kept, live, strict=True))


def test_logits_that_a_model_scales_after_its_output_matrix_are_not_kept_wrong(tiny: BaseFolder, rows: list[Encoded]) -> None:
    model = load_model(tiny, "float32")

    class Scaled:
        device = model.device
        get_output_embeddings = staticmethod(model.get_output_embeddings)

        def __call__(self, **asked: Any) -> Any:
            return SimpleNamespace(logits=model(**asked).logits * 0.5)

    assert keep_logits(Scaled(), rows) is None and keep_logits(model, rows) is not None
    system = LocalSystem(
        name="x",
        label="x",
        fingerprint="x",
        model=Scaled(),
        chat=None,  # type: ignore[arg-type]
        context=768,
        batch_examples=1,
    )
    for found, row in zip(system.kept_logits(rows), rows, strict=True):
        assert torch.equal(found, model_logits(model, row) * 0.5)


def test_a_system_answers_alone_what_it_answers_in_company(
    tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path, rows: list[Encoded]
) -> None:
    model = open_adapter(load_model(tiny, "float32"), trained_adapter)
    on, off = (
        LocalSystem(
            name=str(adapter),
            label="",
            fingerprint=str(adapter),
            model=model,
            chat=tiny_chat,
            context=768,
            batch_examples=8,
            adapter=adapter,
        )
        for adapter in (True, False)
    )
    requests = [Request(messages=item.prompt, max_new_tokens=4) for item in ITEMS]
    both = local.answer_together([off, on], requests)
    assert both == [off.answer(requests), on.answer(requests)]
    plain = load_model(tiny, "float32")
    assert all(torch.equal(a, model_logits(plain, row)) for a, row in zip(off.kept_logits(rows), rows, strict=True))
    assert off.logprobs(rows) != on.logprobs(rows)


def generation(text: str) -> Generation:
    return Generation(item_id="a", system="x", text=text, finish_reason="stop", num_tokens=1, fingerprint="x")


def given(*numbers: float, text: str = "so") -> Given:
    return Given(logits=None, logprobs=[TokenLogprobs(numbers, (True,) * len(numbers))], greedy=[generation(text)])


class Foreign:
    """Gives no logits."""

    name, label, fingerprint = "foreign", "foreign", "f"

    def answer(self, requests: Any, *, on_done: Any) -> Any:
        raise AssertionError("not asked here")

    def logprobs(self, rows: Any, *, on_done: Any) -> Any:
        raise AssertionError("not asked here")


def test_without_logits_systems_are_compared_by_log_probabilities_and_without_those_by_answers() -> None:
    found = compare_given(given(-1.0, -2.0), Foreign(), given(-1.5, -2.0), num_rows=1)
    assert (found.logits, found.mean_abs_logprob, found.max_abs_logprob, found.num_tokens) == (None, 0.25, 0.5, 2)
    answers = Given(logits=None, logprobs=None, greedy=[generation("so it goes")])
    found = compare_given(given(-1.0), Foreign(), answers, num_rows=1)
    assert (found.mean_abs_logprob, found.num_tokens, found.greedy_equal, found.greedy_total) == (None, 0, 0, 1)


def test_log_probabilities_that_are_no_numbers_are_an_error_and_not_zero() -> None:
    with pytest.raises(EvaluationError, match="not numbers"):
        compare_given(given(-1.0), Foreign(), given(float("nan")), num_rows=1)


def test_a_trial_of_token_trees_is_made_once_for_each_state_and_again_for_longer_rows(
    tiny: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tried = load_model(tiny, "float32"), list[int]()

    def trial(_: object, rows: Sequence[Encoded]) -> str:
        tried.append(max(len(row.ids) for row in rows))
        return ""

    monkeypatch.setattr(logprobs, "why_not_packed", trial)
    short, long = (Encoded(tuple(range(1, n)), (True,) * (n - 1)) for n in (6, 12))
    for rows, adapter in (([short], True), ([short], True), ([short], False), ([long], True), ([short], True)):
        logprobs.token_logprobs(model, rows, pad_id=0, batch_examples=2, adapter=adapter)
    assert tried == [5, 5, 11]
