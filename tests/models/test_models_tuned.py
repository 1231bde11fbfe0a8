"""A run that trained a whole model is opened, switched off, merged and published like one that trained an adapter."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from fakes import copy_base, make_base
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import adapter_moves, without_adapter
from tunesmith.models.chat import Chat
from tunesmith.models.generate import Request, answer
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.merge import merge, share_as_summed
from tunesmith.models.tuned import is_whole, open_tuned, tuned_fingerprint, tuned_folder
from tunesmith.ship.hub.choose import choose
from tunesmith.systems.opening import Opening, open_system

IDS = torch.tensor([[5, 40, 41, 42, 43, 6]])


@pytest.fixture(scope="module")
def run(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that trained every weight of the tiny base."""
    store = Store(tmp_path_factory.mktemp("whole") / ".tunesmith")
    base = {"kind": "base", "id": find_base(str(tiny_path)).fingerprint}
    with store.create("run", inputs=[base], settings={"base": str(tiny_path), "train": {}}) as draft:
        folder = copy_base(tiny_path, draft.path / "model")
        torch.manual_seed(1)
        file = folder / "model.safetensors"
        moved = {name: tensor + 0.02 * torch.randn_like(tensor) for name, tensor in load_file(file).items()}
        save_file(moved, file, metadata={"format": "pt"})
    return store.all()[0].path


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        made: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return made


def plain(folder: Path) -> torch.Tensor:
    return logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))


def test_a_whole_model_is_the_result_of_its_run_and_switches_to_its_base_and_back(run: Path, tiny: BaseFolder) -> None:
    folder = tuned_folder(run)
    model = open_tuned(load_model(tiny, "float32"), folder)
    assert folder.name == "model" and is_whole(folder) and adapter_moves(model)
    assert torch.equal(logits(model), plain(folder))
    with without_adapter(model):
        assert torch.equal(logits(model), plain(tiny.path))
    assert torch.equal(logits(model), plain(folder)) and not torch.equal(logits(model), plain(tiny.path))
    assert tuned_fingerprint(folder) != tiny.fingerprint


def test_base_and_trained_model_answer_in_one_call_as_each_does_alone(run: Path, tiny: BaseFolder, tiny_chat: Chat) -> None:
    from fakes import examples

    def answers(model: Any) -> list[str]:
        asked = [Request(messages=e.prompt, max_new_tokens=12) for e in examples(3)]
        return [made.text for made in answer(model, tiny_chat, asked, batch_examples=4, context=768)]

    model = open_tuned(load_model(tiny, "float32"), tuned_folder(run))
    alone = answers(load_model(find_base(str(tuned_folder(run))), "float32"))
    mixed = [Request(messages=e.prompt, max_new_tokens=12, adapter=adapter) for e in examples(3) for adapter in (True, False)]
    both = [made.text for made in answer(model, tiny_chat, mixed, batch_examples=8, context=768)]
    assert both[::2] == alone and both[1::2] == answers(load_model(tiny, "float32")) and both[::2] != both[1::2]


def test_a_reference_to_the_run_opens_the_trained_model_with_its_base(run: Path) -> None:
    for reference in ("run:latest", str(run), str(run / "model")):
        with open_system(reference, Opening(store=Store(run.parents[1]))) as opened:
            assert opened.base is not None and opened.declared.adapter is None
            assert torch.equal(logits(opened.system.model), plain(run / "model")), reference  # type: ignore[attr-defined]


def test_merging_takes_the_trained_weights_as_they_are(run: Path, tiny: BaseFolder, tmp_path: Path) -> None:
    merge(tiny, tuned_folder(run), tmp_path / "merged")
    assert torch.equal(plain(tmp_path / "merged"), plain(run / "model"))
    model, merged = open_tuned(load_model(tiny, "float32"), tuned_folder(run)), find_base(str(tmp_path / "merged"))
    assert share_as_summed(model, load_model(merged, "float32"), ["float32"]) == 1.0
    assert share_as_summed(model, load_model(tiny, "float32"), ["float32"]) < 0.1  # planted: the base as the merged model


def test_a_push_of_the_run_sends_the_whole_model(run: Path) -> None:
    assert "model.safetensors" in choose("run:latest", project=run.parents[2]).files


def test_a_trained_model_of_another_shape_is_refused(run: Path, phi_path: Path, tmp_path: Path) -> None:
    other = shutil.copytree(make_base(tmp_path / "other", architecture="phi3"), tmp_path / "model")
    with pytest.raises(ModelError, match="does not fit this base"):
        open_tuned(load_model(find_base(str(tuned_folder(run))), "float32"), other)
