"""Memory and speed that a machine has: measured against load, taken sparingly, and given back."""

from __future__ import annotations

import gc
import time
import weakref
from typing import Any

import pytest
import torch

from tunesmith.models import generate, precision
from tunesmith.models import memory as memory_module
from tunesmith.models.batching import by_length, padded_tokens
from tunesmith.models.generate import cache_budget
from tunesmith.models.memory import release_memory
from tunesmith.models.packed import head
from tunesmith.models.packed.head import score_logits
from tunesmith.models.precision import best_of_turns

CPU = torch.device("cpu")


def test_memory_in_cycles_is_given_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []

    class Library:
        malloc_trim = staticmethod(trimmed.append)

    class Node:
        me: Any

    monkeypatch.setattr(memory_module, "_glibc", Library)
    gc.disable()
    try:
        node = Node()
        node.me, watched = node, weakref.ref(node)
        del node
        assert watched() is not None
        release_memory()
    finally:
        gc.enable()
    assert watched() is None and trimmed == [0]


def test_where_no_library_gives_memory_back_releasing_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "_glibc", lambda: None)
    release_memory()


@pytest.mark.parametrize(("free", "budget"), [(4 * 2**20, 2**20), (2**50, generate.ENOUGH_CACHE)])
def test_keys_and_values_take_a_quarter_of_what_is_free_or_what_is_enough(
    free: int, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "free_bytes", lambda device: free)
    assert cache_budget(CPU) == budget


def test_log_probabilities_in_chunks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(100, 50), torch.randint(0, 50, (100,))
    monkeypatch.setattr(head, "LOGIT_BYTES", 1)  # 32 rows at once
    log_p, right = score_logits(logits, target)
    wanted = torch.log_softmax(logits, -1).gather(1, target[:, None])[:, 0]
    assert log_p == pytest.approx(wanted, abs=1e-5) and torch.equal(right, logits.argmax(-1) == target)


def test_the_logits_of_a_plain_pass_over_a_large_vocabulary_stay_small() -> None:
    tokens = padded_tokens(49_152)
    assert tokens * 49_152 * 4 <= 128 * 2**20 and padded_tokens(100) > tokens
    assert max(map(len, by_length([100] * 50, most=64, tokens=tokens))) == tokens // 100
    assert list(by_length([5000], most=64, tokens=tokens)) == [[0]]


def test_a_busy_moment_does_not_decide_which_type_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: other work makes most takes nine times as long; one of each is left alone."""
    seconds = {"float32": iter([9.0, 9.0, 1.0, 9.0, *[9.0] * 20]), "bfloat16": iter([18.0, 18.0, 18.0, 2.0, *[18.0] * 20])}
    order: list[str] = []

    def take(name: str) -> Any:
        return lambda: order.append(name)

    def timed(work: Any) -> float:
        work()
        return next(seconds[order[-1]])

    monkeypatch.setattr(precision, "_timed", timed)
    assert best_of_turns({name: take(name) for name in seconds}) == {"float32": 1.0, "bfloat16": 2.0}
    assert order[: 2 * 5] == ["float32", "bfloat16"] * 5  # the first of each does not count


def test_a_type_that_is_hopelessly_slow_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def timed(work: Any) -> float:
        work()
        return {"float32": 0.1, "bfloat16": 3.0}[order[-1]]

    monkeypatch.setattr(precision, "_timed", timed)
    takes: dict[str, Any] = {name: lambda name=name: order.append(name) for name in ("float32", "bfloat16")}
    assert best_of_turns(takes) == {"bfloat16": 3.0, "float32": 0.1}
    assert order.count("bfloat16") == 1 and order.count("float32") == 5


def test_a_take_is_counted_in_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock on the wall goes on while others work."""
    processor, wall = iter([1.0, 3.0]), iter(range(0, 10_000, 1000))
    monkeypatch.setattr(time, "process_time", lambda: next(processor))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(wall)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert precision._timed(lambda: None) == 1.0
