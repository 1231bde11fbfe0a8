"""Several adapters merged into one model: combined as peft's exact methods do, and refused where there is no sum."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from fakes import conversation
from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import AdapterKind, attach, open_adapter, save_adapter
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.merge import merge
from tunesmith.models.mixing import AdapterMix, MixMethod

LIMIT = 1e-4


def random_adapter(
    base: BaseFolder, folder: Path, *, seed: int, rank: int = 4, kind: AdapterKind = "lora", modules: str = "q_proj"
) -> Path:
    """An adapter on both layers, with random update matrices."""
    model = load_model(base, "float32")
    names = [name for name, _ in model.named_modules() if name.endswith(modules)]
    adapted, _ = attach(model, kind=kind, rank=rank, alpha=2.0 * rank, dropout=0.0, modules=names, seed=seed)
    with torch.no_grad():
        for key, parameter in adapted.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(seed))
    save_adapter(adapted, base.address, folder)
    return folder


@pytest.fixture(scope="module")
def two(tiny: BaseFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("two-adapters")
    return random_adapter(tiny, place / "a", seed=1), random_adapter(tiny, place / "b", seed=2)


def logits(model: Any, chat: Chat) -> torch.Tensor:
    ids = torch.tensor([chat.encode(conversation("Where is the kettle?", "On the shelf. " * 6)).ids])
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(input_ids=ids).logits[0]
    return found


def merged_logits(base: BaseFolder, mix: AdapterMix, out: Path, chat: Chat) -> torch.Tensor:
    merge(base, mix, out)
    return logits(load_model(find_base(str(out)), "float32"), chat)


def by_peft(base: BaseFolder, folders: tuple[Path, ...], weights: list[float], chat: Chat, **how: Any) -> torch.Tensor:
    """peft's own combination of whole updates, at a rank that loses nothing (the tiny base is 32 wide)."""
    model = open_adapter(load_model(base, "float32"), folders[0])
    for folder in folders[1:]:
        model.load_adapter(folder, folder.name)
    names = ["default", *(folder.name for folder in folders[1:])]
    made = model.base_model.inject_adapter

    def seeded(*arguments: Any, **settings: Any) -> None:
        made(*arguments, **settings)
        torch.manual_seed(7)  # after the draws that start a fresh adapter

    model.base_model.inject_adapter = seeded
    model.base_model.add_weighted_adapter(names, weights, "mixed", **how)
    model.base_model.set_adapter("mixed")
    return logits(model, chat)


@pytest.mark.parametrize(
    ("method", "peft"),
    [
        ("linear", {"combination_type": "cat"}),
        ("ties", {"combination_type": "ties_svd", "svd_rank": 32, "density": 0.4}),
        ("dare", {"combination_type": "dare_linear_svd", "svd_rank": 32, "density": 0.4}),
        ("dare_ties", {"combination_type": "dare_ties_svd", "svd_rank": 32, "density": 0.4}),
    ],
)
def test_several_adapters_are_combined_as_peft_combines_whole_updates(
    method: MixMethod, peft: dict[str, Any], tiny: BaseFolder, tiny_chat: Chat, two: tuple[Path, Path], tmp_path: Path
) -> None:
    mix = AdapterMix(folders=two, weights=(0.7, 0.3), method=method, density=0.4)
    found = merged_logits(tiny, mix, tmp_path / "m", tiny_chat)
    wanted = by_peft(tiny, two, [0.7, 0.3], tiny_chat, **peft)
    turned = by_peft(tiny, two, [0.3, 0.7], tiny_chat, **peft)
    assert float((found - wanted).abs().max()) < LIMIT
    assert float((found - turned).abs().max()) > 100 * LIMIT, "swapped weights are another model"


def test_the_weights_belong_to_the_adapters_in_their_order(
    tiny: BaseFolder, tiny_chat: Chat, two: tuple[Path, Path], tmp_path: Path
) -> None:
    one = merged_logits(tiny, AdapterMix(folders=two, weights=(0.7, 0.3)), tmp_path / "m1", tiny_chat)
    other = merged_logits(tiny, AdapterMix(folders=two[::-1], weights=(0.3, 0.7)), tmp_path / "m2", tiny_chat)
    assert float((one - other).abs().max()) < LIMIT


def test_factors_that_are_summed_apart_are_another_model(tiny: BaseFolder, tiny_chat: Chat, two: tuple[Path, Path]) -> None:
    """Why peft's `linear` is not used: (a₁ + a₂)(b₁ + b₂) holds products that neither adapter has."""
    exact = by_peft(tiny, two, [0.7, 0.3], tiny_chat, combination_type="cat")
    rough = by_peft(tiny, two, [0.7, 0.3], tiny_chat, combination_type="linear")
    assert float((exact - rough).abs().max()) > 100 * LIMIT


def test_adapters_of_other_ranks_scales_and_layers_are_summed_exactly(
    tiny: BaseFolder, tiny_chat: Chat, two: tuple[Path, Path], tmp_path: Path
) -> None:
    wider = random_adapter(tiny, tmp_path / "wider", seed=3, rank=8, kind="rslora", modules="down_proj")
    found = merged_logits(tiny, AdapterMix(folders=(two[0], wider)), tmp_path / "m", tiny_chat)
    merge(tiny, two[0], tmp_path / "first")
    merge(find_base(str(tmp_path / "first")), wider, tmp_path / "both")
    wanted = logits(load_model(find_base(str(tmp_path / "both")), "float32"), tiny_chat)
    assert float((found - wanted).abs().max()) < LIMIT


def test_one_adapter_with_a_weight_is_that_part_of_it(
    tiny: BaseFolder, tiny_chat: Chat, two: tuple[Path, Path], tmp_path: Path
) -> None:
    half = merged_logits(tiny, AdapterMix(folders=two[:1], weights=(0.5,)), tmp_path / "m", tiny_chat)
    shutil.copytree(two[0], tmp_path / "a")
    file = tmp_path / "a" / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "lora_alpha": config["lora_alpha"] / 2}))
    wanted = logits(open_adapter(load_model(tiny, "float32"), tmp_path / "a"), tiny_chat)
    assert float((half - wanted).abs().max()) < LIMIT


def test_the_random_choice_of_dare_repeats_with_its_seed(tiny: BaseFolder, two: tuple[Path, Path], tmp_path: Path) -> None:
    for name, seed in (("m1", 1), ("m2", 1), ("m3", 2)):
        merge(tiny, AdapterMix(folders=two, method="dare", seed=seed), tmp_path / name)
    first, same, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("m1", "m2", "m3"))
    assert first == same != other


def test_dora_among_several_adapters_is_refused_with_the_reason(
    tiny: BaseFolder, two: tuple[Path, Path], tmp_path: Path
) -> None:
    dora = random_adapter(tiny, tmp_path / "dora", seed=3, kind="dora")
    with pytest.raises(ModelError, match="cannot be combined") as caught:
        merge(tiny, AdapterMix(folders=(two[0], dora)), tmp_path / "m")
    assert "magnitude" in caught.value.problems[0].expected and not (tmp_path / "m").exists()
    with pytest.raises(ModelError, match="cannot be combined or weighted"):
        merge(tiny, AdapterMix(folders=(dora,), weights=(0.5,)), tmp_path / "m")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folders": ()}, "no adapter to merge"),
        ({"folders": (Path("a"), Path("a"))}, "given twice"),
        ({"weights": (0.5,)}, "not as many weights as adapters"),
        ({"weights": (0.5, float("nan"))}, "weights are not usable"),
        ({"weights": (0.0, 0.0)}, "weights are not usable"),
        ({"method": "average"}, "unknown method"),
        ({"method": "ties", "density": 1.0}, "out of range"),
    ],
)
def test_settings_that_make_no_model_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        AdapterMix(**{"folders": (Path("a"), Path("b")), **settings})


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
def test_one_adapter_is_merged_as_peft_computes_it_and_a_scale_that_is_a_hundredth_off_is_seen(
    kind: AdapterKind, tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path
) -> None:
    adapter = random_adapter(tiny, tmp_path / "a", seed=4, kind=kind, modules="_proj")
    found = merged_logits(tiny, AdapterMix(folders=(adapter,)), tmp_path / "m", tiny_chat)
    file = adapter / "adapter_config.json"
    right = file.read_text()
    for factor, near in ((1.0, True), (1.01, False)):
        config = json.loads(right)
        file.write_text(json.dumps({**config, "lora_alpha": factor * config["lora_alpha"]}))
        by_forward = logits(open_adapter(load_model(tiny, "float32"), adapter), tiny_chat)
        assert (float((found - by_forward).abs().max()) < LIMIT) == near
