"""QLoRA: trained on a base in 4 bits, on token trees, resumed to the same bytes, used and merged on the full-precision base."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from fakes import copy_base, examples, train_tiny
from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import attach, open_adapter
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.memory import release_memory
from tunesmith.models.merge import merge
from tunesmith.models.packed import model as packed_module
from tunesmith.models.packed.lowrank import lean_adapters
from tunesmith.models.packed.model import packed
from tunesmith.models.quantised import FourBit, four_bit, load_quantised, num_weights
from tunesmith.models.reach import choose_modules
from tunesmith.train import loop as loop_module

pytest.importorskip("bitsandbytes", reason="QLoRA needs bitsandbytes")

IDS = torch.tensor([[5, 40, 41, 42, 43, 6]])
NF4 = {"quantise": "nf4"}


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        made: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return made


def adapter(place: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(place / "out" / "adapter" / "adapter_model.safetensors")
    return tensors


@pytest.fixture(scope="module")
def run(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("nf4")
    train_tiny(tiny_path, place, method=NF4)
    return place


def test_a_run_on_four_bits_learns_on_token_trees_and_says_what_it_trained_on(run: Path) -> None:
    page = (run / "out" / "report.html").read_text()
    assert "token trees" in page and "4 bits (NF4, double quantisation)" in page and "full precision in evaluation" in page
    assert any(bool(t.any()) for name, t in adapter(run).items() if "lora_B" in name)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # by peft
def test_its_adapter_is_used_and_merged_on_the_full_precision_base(run: Path, tiny: BaseFolder, tmp_path: Path) -> None:
    folder = run / "out" / "adapter"
    ours = logits(open_adapter(load_model(tiny, "float32"), folder))
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny.path, dtype=torch.float32), folder)
    assert torch.equal(ours, logits(plain.eval()))
    merge(tiny, folder, tmp_path / "merged")
    assert torch.allclose(
        logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)), ours, atol=1e-4
    )


def test_the_base_in_four_bits_is_another_one_than_the_whole_base(run: Path, tiny_path: Path, tmp_path: Path) -> None:
    """Planted: a setting that would do nothing gives the same adapter."""
    train_tiny(tiny_path, tmp_path)
    whole = adapter(tmp_path)
    assert any(not torch.equal(whole[name], tensor) for name, tensor in adapter(run).items())


def test_a_run_on_four_bits_resumes_to_the_same_bytes(
    run: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = loop_module._step, list[int]()

    def dying(*given: Any, **how: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(*given, **how)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop_module, "_step", dying)
        train_tiny(tiny_path, tmp_path, method=NF4)
    assert train_tiny(tiny_path, tmp_path, method=NF4).fitted.resumed_at == 2
    name = "adapter/adapter_model.safetensors"
    assert (tmp_path / "out" / name).read_bytes() == (run / "out" / name).read_bytes()


def rows_are_right() -> bool:
    """Whether bitsandbytes scales rows rightly whose length is no multiple of its blocks; on some processors it does not."""
    import bitsandbytes.functional as library

    weight = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    made = library.dequantize_4bit(*library.quantize_4bit(weight, quant_type="nf4"))
    return float((made - weight).norm()) < 0.15 * float(weight.norm())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_fused_layers_give_the_numbers_and_gradients_of_pefts_own(
    precision: Any, tiny: BaseFolder, tiny_chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not rows_are_right():
        pytest.skip("bitsandbytes itself is wrong on this processor for rows as long as those of the tiny model")
    model = load_quantised(tiny, precision)
    modules = choose_modules(model, "all", "all")
    adapted, coverage = attach(model, kind="lora", rank=4, alpha=8.0, dropout=0.0, modules=modules, seed=1)
    torch.manual_seed(2)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    rows = [row for one in examples(3) for row in tiny_chat.rows(one.messages, max_tokens=200)]
    trained = [p for p in adapted.parameters() if p.requires_grad]

    def gradients(lean: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        loss = lean.loss(lean.lay_out(rows))
        return loss.detach(), list(torch.autograd.grad(loss, trained))

    with lean_adapters(adapted) as count:
        assert count == len(modules) == coverage.num_linear
    with packed(adapted) as lean:
        fused = gradients(lean)
    monkeypatch.setattr(packed_module, "lean_adapters", nullcontext)
    with packed(adapted) as lean:
        plain = gradients(lean)
    rel = 1e-5 if precision == "float32" else 3e-2
    assert float(fused[0]) == pytest.approx(float(plain[0]), rel=rel)
    for ours, theirs in zip(fused[1], plain[1], strict=True):
        assert float((ours - theirs).norm()) <= rel * 10 * float(theirs.norm())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which files a process has mapped")
def test_the_whole_base_is_not_kept_in_memory_beside_the_four_bits(tiny_path: Path, tmp_path: Path) -> None:
    base = find_base(str(copy_base(tiny_path, tmp_path / "base")))  # a file that no other test has mapped

    def mapped() -> bool:
        return str(base.weights[0]) in Path("/proc/self/maps").read_text()

    whole = load_model(base, "float32")
    assert mapped()
    del whole
    model = load_quantised(base, "float32")
    release_memory()
    assert not mapped() and model is not None


def test_weights_in_four_bits_are_counted_as_what_they_stand_for(tiny: BaseFolder) -> None:
    whole, packed_model = load_model(tiny, "float32"), load_quantised(tiny, "float32")
    assert sum(num_weights(p) for p in packed_model.parameters()) == sum(p.numel() for p in whole.parameters())
    layer, before = packed_model.model.layers[0].mlp.up_proj, whole.model.layers[0].mlp.up_proj.weight
    made = four_bit(layer)
    assert isinstance(made, FourBit) and made.whole(torch.float32).shape == before.shape
    assert float((made.whole(torch.float32) - before).norm()) < 0.15 * float(before.norm())


def test_without_bitsandbytes_the_run_ends_before_anything_is_trained(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match="needs bitsandbytes") as caught:
        train_tiny(tiny_path, tmp_path, method=NF4)
    assert "pip install 'tunesmith[quantised]'" in str(caught.value) and not (tmp_path / "work").exists()
