"""Attention by block masks, as a GPU gets it, against the products of the CPU.

torch has no gradient of it on a CPU, so that gradients are compared only where there is a GPU.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tunesmith.models.chat import Encoded
from tunesmith.models.packed.attention import tree_attention
from tunesmith.models.packed.attention_blocks import attend_by_blocks
from tunesmith.models.packed.layout import lay_out

H, K, D = 4, 2, 16
ROWS = {
    "a system prompt, answers and a second turn": [
        [*range(40), *range(100, 130)],
        [*range(40), *range(100, 120), *range(300, 410)],
        [*range(40), *range(200, 215)],
        [*range(500, 537)],
    ],
    "one row": [list(range(130))],
    "exactly one block": [list(range(128))],
}


def _random(tokens: int, device: str) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(tokens, heads, D, generator=g).to(device) for heads in (H, K, K)]


def _both(
    rows: list[list[int]], device: str, options: dict[str, Any], *, gradients: bool
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """[(by products on the CPU, by blocks on `device`)]: the outputs, then the gradients of q, k and v."""
    encoded = [Encoded(tuple(row), (True,) * len(row)) for row in rows]
    here, there = (lay_out(encoded, device=d).attention for d in ("cpu", device))
    inputs, others = ([x.requires_grad_(gradients) for x in _random(here.size, d)] for d in ("cpu", device))
    q, k, v = (x.transpose(0, 1)[None] for x in inputs)
    by_products = tree_attention(SimpleNamespace(), q, k, v, None, tree=here, **options)[0][0]
    window, softcap = options.get("sliding_window", 0), options.get("softcap")
    q, k, v = others
    by_blocks = attend_by_blocks(q, k, v, there, D**-0.5, window=window, softcap=softcap)
    pairs = [(by_products, by_blocks)]
    if gradients:
        weight = torch.arange(by_products.numel()).view(by_products.shape).remainder(7).float()
        expected = torch.autograd.grad((by_products * weight).sum(), inputs)
        pairs += zip(expected, torch.autograd.grad((by_blocks * weight.to(device)).sum(), others), strict=True)
    return pairs


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(
    "options", [{}, {"sliding_window": 24}, {"softcap": 1.5}, {"sliding_window": 24, "softcap": 1.5}], ids=str
)
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
def test_block_masks_give_the_same_attention_as_the_products(rows: list[list[int]], options: dict[str, Any]) -> None:
    for expected, found in _both(rows, "cpu", options, gradients=False):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_block_mask_shows_exactly_what_stands_before_a_token_in_its_own_row() -> None:
    encoded = [Encoded(tuple(row), (True,) * len(row)) for row in next(iter(ROWS.values()))]
    tree = lay_out(encoded)
    size = tree.attention.size
    expected = torch.zeros(size, size, dtype=torch.bool)
    for path in tree.paths:
        tokens = [t for s in path for t in range(tree.segments[s].begin, tree.segments[s].end)]
        for place, query in enumerate(tokens):
            expected[query, tokens[: place + 1]] = True
    may_look = tree.attention.block_mask(256, 0).mask_mod
    q, k = torch.arange(size)[:, None].expand(size, size), torch.arange(size)[None, :].expand(size, size)
    assert torch.equal(may_look(None, None, q, k), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: the compiled block-mask kernel is not measured")
@pytest.mark.parametrize("options", [{}, {"sliding_window": 24}, {"softcap": 1.5}], ids=str)
def test_the_compiled_kernel_on_a_gpu_gives_the_same_with_its_gradients(options: dict[str, Any]) -> None:
    for expected, found in _both(next(iter(ROWS.values())), "cuda", options, gradients=True):
        torch.testing.assert_close(found.cpu(), expected, rtol=2e-3, atol=2e-3)
