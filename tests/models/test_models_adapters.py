"""Adapters: every layer asked for is adapted or it is an error; the merged model is the adapted one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakes import make_base
from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import (
    adapter_moves,
    attach,
    open_adapter,
    save_adapter,
    without_adapter,
)
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.reach import choose_modules, linear_modules, reach_of

ALL = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module")
def phi(phi_path: Path) -> BaseFolder:
    return find_base(str(phi_path))


def leaves(names: Sequence[str]) -> set[str]:
    return {name.rsplit(".", 1)[-1] for name in names}


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("attention", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("mlp", {"gate_proj", "up_proj", "down_proj"}),
        ("all", ALL),
        (["q_proj", "mlp.down_proj"], {"q_proj", "down_proj"}),
    ],
)
def test_a_group_of_targets_means_these_layers(tiny: BaseFolder, targets: Any, expected: set[str]) -> None:
    chosen = choose_modules(load_model(tiny, "float32"), targets, "all")
    assert leaves(chosen) == expected and len(chosen) == 2 * len(expected)


@pytest.mark.parametrize(
    ("targets", "expected"), [("attention", {"qkv_proj", "o_proj"}), ("mlp", {"gate_up_proj", "down_proj"})]
)
def test_groups_reach_the_fused_layers_of_phi_3(phi: BaseFolder, targets: str, expected: set[str]) -> None:
    assert leaves(choose_modules(load_model(phi, "float32"), targets, "all")) == expected


def test_the_output_head_is_no_target(tiny: BaseFolder) -> None:
    assert leaves(list(linear_modules(load_model(tiny, "float32")))) == ALL


@pytest.mark.parametrize(
    ("target", "fused"), [("q_proj", "qkv_proj"), ("self_attn.v_proj", "qkv_proj"), ("up_proj", "gate_up_proj")]
)
def test_a_target_that_is_fused_here_is_an_error_that_names_the_fused_layer(phi: BaseFolder, target: str, fused: str) -> None:
    with pytest.raises(ModelError, match="matches no layer") as caught:
        choose_modules(load_model(phi, "float32"), [target, "o_proj"], "all")
    assert f"fused {fused}" in str(caught.value) and f"method.targets=[{fused}]" in caught.value.problems[0].hint


@pytest.mark.parametrize("targets", [["q_proj", "nonesuch"], ["proj"], ["lm_head"], ["self_attn"]])
def test_one_target_that_matches_nothing_is_an_error_whatever_the_others_do(tiny: BaseFolder, targets: list[str]) -> None:
    with pytest.raises(ModelError, match="matches no layer") as caught:
        choose_modules(load_model(tiny, "float32"), targets, "all")
    assert "down_proj" in str(caught.value)


def test_counted_from_the_top_only_the_top_layers_are_adapted(tiny: BaseFolder) -> None:
    model = load_model(tiny, "float32")
    assert all(".layers.1." in name for name in choose_modules(model, "all", 1))
    adapted, coverage = attached(tiny, modules=choose_modules(model, "attention", 1))
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert len(coverage.modules) == 4 and len(trained) == 8 and all(".layers.1." in name for name in trained)


def test_more_layers_than_there_are_is_an_error(tiny: BaseFolder) -> None:
    with pytest.raises(ModelError, match="more layers than the model has"):
        choose_modules(load_model(tiny, "float32"), "all", 3)


def attached(base: BaseFolder, modules: Sequence[str] | None = None, **changes: Any) -> tuple[Any, Any]:
    model = load_model(base, "float32")
    settings: dict[str, Any] = {"kind": "lora", "rank": 4, "alpha": 8.0, "dropout": 0.0, "seed": 7} | changes
    return attach(model, modules=modules or choose_modules(model, "all", "all"), **settings)


def test_the_coverage_counts_what_is_really_there(tiny: BaseFolder) -> None:
    adapted, coverage = attached(tiny)
    assert len(coverage.modules) == coverage.num_linear == 14
    assert coverage.num_trainable == sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    base = sum(p.numel() for p in load_model(tiny, "float32").parameters())
    assert coverage.num_parameters == base + coverage.num_trainable
    assert coverage.share == coverage.num_trainable / coverage.num_parameters


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
@pytest.mark.parametrize("targets", ["attention", "all", ["o_proj"]])
@pytest.mark.parametrize("layers", ["all", 1])
def test_the_size_that_the_plan_tells_is_the_size_that_is_attached(
    kind: Any, targets: Any, layers: Literal["all"] | int, tiny: BaseFolder
) -> None:
    modules = choose_modules(load_model(tiny, "float32"), targets, layers)
    _, coverage = attached(tiny, modules, kind=kind)
    reach = reach_of(tiny, kind=kind, rank=4, targets=targets, layers=layers)
    assert (reach.modules, reach.num_linear) == (coverage.modules, coverage.num_linear)
    assert (reach.num_trainable, reach.out_of_reach) == (coverage.num_trainable, coverage.out_of_reach)


def test_the_size_is_right_on_the_fused_shape_too(phi: BaseFolder) -> None:
    _, coverage = attached(phi)
    reach = reach_of(phi, kind="lora", rank=4, targets="all", layers="all")
    assert (len(reach.modules), reach.num_linear, reach.num_trainable) == (8, 8, coverage.num_trainable)


def test_a_fresh_adapter_does_not_move_and_one_that_is_trained_does(tiny: BaseFolder, trained_adapter: Path) -> None:
    assert not adapter_moves(attached(tiny)[0])
    assert adapter_moves(open_adapter(load_model(tiny, "float32"), trained_adapter))


def test_the_same_seed_starts_the_same_adapter_and_another_seed_another(tiny: BaseFolder) -> None:
    def start(seed: int) -> torch.Tensor:
        parameters = dict(attached(tiny, seed=seed)[0].named_parameters())
        return torch.cat([p.flatten() for n, p in parameters.items() if "lora_A" in n])

    assert torch.equal(start(1), start(1)) and not torch.equal(start(1), start(2))


def test_the_adapter_is_float32_on_a_bfloat16_base(tiny: BaseFolder) -> None:
    model = load_model(tiny, "bfloat16")
    names = choose_modules(model, "all", "all")
    adapted, _ = attach(model, kind="lora", rank=2, alpha=4.0, dropout=0.0, modules=names, seed=1)
    assert {p.dtype for p in adapted.parameters() if p.requires_grad} == {torch.float32}


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        out: torch.Tensor = model(input_ids=torch.arange(8, 60)[None]).logits
    return out


def test_with_the_adapter_off_the_model_is_the_base_again(tiny: BaseFolder, trained_adapter: Path) -> None:
    plain = logits(load_model(tiny, "float32"))
    adapted = open_adapter(load_model(tiny, "float32"), trained_adapter)
    assert (logits(adapted) - plain).abs().max() > 1e-2
    with without_adapter(adapted) as base:
        assert torch.equal(logits(base), plain)
    assert (logits(adapted) - plain).abs().max() > 1e-2
    with without_adapter(load_model(tiny, "float32")) as base:
        assert torch.equal(logits(base), plain)


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
@pytest.mark.usefixtures("no_network")
def test_a_saved_adapter_opens_as_it_was_and_names_its_base(kind: Any, tiny: BaseFolder, tmp_path: Path) -> None:
    adapted, _ = attached(tiny, kind=kind)
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if "lora_B" in name:
                p.normal_()
    save_adapter(adapted, "owner/the-base", tmp_path / "a")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert json.loads((tmp_path / "a" / "adapter_config.json").read_text())["base_model_name_or_path"] == "owner/the-base"
    opened = open_adapter(load_model(tiny, "float32"), tmp_path / "a")
    torch.testing.assert_close(logits(opened), logits(adapted.eval()), rtol=0, atol=1e-6)
    assert not any(p.requires_grad for p in opened.parameters())


def test_a_folder_without_adapter_weights_is_an_error(tiny: BaseFolder, trained_adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_adapter, tmp_path / "a")
    (tmp_path / "a" / "adapter_model.safetensors").unlink()
    for place in (tmp_path / "a", tmp_path / "none"):
        with pytest.raises(ModelError, match="no adapter weights here"):
            open_adapter(load_model(tiny, "float32"), place)


def test_an_adapter_that_lacks_some_weights_is_an_error(tiny: BaseFolder, trained_adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_adapter, tmp_path / "a")
    tensors = load_file(tmp_path / "a" / "adapter_model.safetensors")
    del tensors[sorted(tensors)[0]]
    save_file(tensors, tmp_path / "a" / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="lacks weights"):
        open_adapter(load_model(tiny, "float32"), tmp_path / "a")


def test_an_adapter_of_another_architecture_is_an_error(phi: BaseFolder, trained_adapter: Path) -> None:
    with pytest.raises(ModelError, match="does not fit this base"):
        open_adapter(load_model(phi, "float32"), trained_adapter)


@pytest.mark.parametrize("damage", ["config", "weights"])
def test_a_damaged_adapter_file_is_an_error(damage: str, tiny: BaseFolder, trained_adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_adapter, tmp_path / "a")
    file = tmp_path / "a" / ("adapter_config.json" if damage == "config" else "adapter_model.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ModelError):
        open_adapter(load_model(tiny, "float32"), tmp_path / "a")


def test_a_base_of_another_width_is_an_error(trained_adapter: Path, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = make_base(tmp_path / "wide")
    shape = json.loads((folder / "config.json").read_text()) | {"hidden_size": 64, "head_dim": 16}
    LlamaForCausalLM(LlamaConfig(**shape)).save_pretrained(folder)
    with pytest.raises(ModelError, match="does not fit this base"):
        open_adapter(load_model(find_base(str(folder)), "float32"), trained_adapter)


@pytest.mark.usefixtures("no_network")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft still uses transformers' old name
def test_peft_alone_opens_a_trained_adapter_with_its_base(tiny: BaseFolder, trained_adapter: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    opened = AutoPeftModelForCausalLM.from_pretrained(trained_adapter).eval()
    wanted = logits(open_adapter(load_model(tiny, "float32"), trained_adapter))
    torch.testing.assert_close(logits(opened), wanted, rtol=0, atol=1e-6)


def test_a_base_is_named_by_what_any_program_opens_and_never_by_a_name_that_the_hub_could_give_away(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_path, tmp_path / "owner" / "base")
    monkeypatch.chdir(tmp_path)
    assert find_base("owner/base").address == str(tmp_path / "owner" / "base")  # a folder here, though it reads like an id
    assert find_base("./owner/base").address == str(tmp_path / "owner" / "base")
    here = find_base(str(tiny_path))
    assert Path(here.address).is_absolute()
    assert BaseFolder("owner/elsewhere", here.path, "", {}, ()).address == "owner/elsewhere"
    assert Path(BaseFolder("apprentice", here.path, "", {}, ()).address) == here.path.resolve()
