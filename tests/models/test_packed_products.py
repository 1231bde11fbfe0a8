"""Linear layers with packed weights give the products of plain ones, for every number of rows, and hold nothing twice."""

from __future__ import annotations

import copy

import pytest
import torch

from tunesmith.models.packed_products import PackedLinear, pack_products


class Small(torch.nn.Module):
    """Two layers, one with a bias, a tied output matrix, and one that is too small to gain."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(300, 48)
        self.up = torch.nn.Linear(48, 112)
        self.down = torch.nn.Linear(112, 48, bias=False)
        self.head = torch.nn.Linear(48, 300, bias=False)
        self.tiny = torch.nn.Linear(2, 2)
        self.head.weight = self.words.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.words(ids)
        made: torch.Tensor = self.head(x + self.down(torch.nn.functional.silu(self.up(x))))
        return made


def small(dtype: torch.dtype = torch.float32) -> Small:
    torch.manual_seed(0)
    return Small().to(dtype).eval()


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 2), (3, 1), (1, 4), (2, 3), (1, 33), (4, 64)])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_the_products_are_those_of_plain_layers_for_any_number_of_rows(
    shape: tuple[int, ...], dtype: torch.dtype, within: float
) -> None:
    plain = small(dtype)
    packed = copy.deepcopy(plain)
    if pack_products(packed, least_weights=100) == 0:
        pytest.skip("this processor has no packed products of this kind")
    ids = torch.randint(0, 300, shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted, found = plain(ids), packed(ids)
    assert found.shape == wanted.shape and found.dtype == dtype
    assert (found.float() - wanted.float()).abs().max() < within * wanted.float().abs().max()


def test_only_what_gains_is_packed_and_the_weights_can_be_had_back_bit_by_bit() -> None:
    plain = small()
    packed = copy.deepcopy(plain)
    assert pack_products(packed, least_weights=100) == 3
    assert type(packed.tiny) is torch.nn.Linear and isinstance(packed.up, PackedLinear)
    for name in ("up", "down", "head"):
        assert torch.equal(getattr(packed, name).weight, getattr(plain, name).weight)
    assert {name for name, _ in packed.named_parameters()} == {"words.weight", "up.bias", "tiny.weight", "tiny.bias"}
    assert pack_products(packed, least_weights=100) == 0


def test_layers_of_another_class_or_kind_of_number_stay_as_they_are() -> None:
    class Own(torch.nn.Linear):
        pass

    model = torch.nn.Sequential(Own(64, 64), torch.nn.Linear(64, 64).double(), torch.nn.Linear(64, 64).to("meta"))
    assert pack_products(model, least_weights=1) == 0
