"""Checkpoints are written piece by piece: the library reads them, and no piece is the whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load

from tunesmith.train import tensor_pieces
from tunesmith.train.tensor_pieces import pieces

TYPES = [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.float16, torch.float64, torch.bool]


def read(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return dict(load(b"".join(pieces(tensors))))


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=12), st.tuples(st.sampled_from(TYPES), st.lists(st.integers(0, 4), max_size=3)), max_size=6
    )
)
def test_the_library_reads_what_is_written(drawn: dict[str, tuple[torch.dtype, list[int]]]) -> None:
    made = {name: (torch.randn(shape) * 9).to(dtype) for name, (dtype, shape) in drawn.items() if name != "__metadata__"}
    found = read(made)
    assert found.keys() == made.keys()
    assert all(found[name].dtype == made[name].dtype and torch.equal(found[name], made[name]) for name in made)


def test_tensors_that_lie_otherwise_in_memory_are_written_in_order() -> None:
    made = {"turned": torch.arange(6.0).view(2, 3).t(), "every second": torch.arange(8)[::2], "one": torch.tensor(3.0)}
    assert all(torch.equal(read(made)[name], tensor) for name, tensor in made.items())


def test_no_piece_is_the_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tensor_pieces, "_PIECE", 1000)
    made = {str(n): torch.full((100,), float(n)) for n in range(20)}
    sizes = [len(piece) for piece in pieces(made)]
    assert len(sizes) > 9 and max(sizes) < 2500  # the header is the largest
    assert torch.equal(read(made)["7"], made["7"])


def test_a_type_that_the_format_lacks_is_an_error() -> None:
    with pytest.raises(KeyError):
        read({"a": torch.zeros(2, dtype=torch.complex64)})
