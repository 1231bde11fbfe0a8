"""Adapters that change embeddings or heads: the merged model is what base and adapter were together, tied or not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakes import conversation, copy_base
from tunesmith.core.errors import ModelError
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import BaseFolder, find_base, load_model, load_tokenizer
from tunesmith.models.merge import Merged, merge

pytestmark = [  # peft's own warnings on what these adapters do
    pytest.mark.filterwarnings("ignore:.*(tie_word_embeddings|tied|embedding layer).*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
LIMIT = 1e-4


def tune(
    base: BaseFolder, folder: Path, chat: Chat, *, tokens: int = 0, with_tokenizer: bool = True, **config: Any
) -> torch.Tensor:
    """An adapter made by peft alone, as other tools make it; the logits of base and adapter together."""
    from peft import LoraConfig, get_peft_model

    model = load_model(base, "float32")
    tokenizer = load_tokenizer(base)
    if tokens:
        tokenizer.add_tokens([f"<new{n}>" for n in range(tokens)])
        model.resize_token_embeddings(model.config.vocab_size + tokens, mean_resizing=False)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **config))
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, parameter in adapted.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.05)
    adapted.save_pretrained(folder)
    if with_tokenizer:
        tokenizer.save_pretrained(folder)
    return logits(adapted, chat, tokens)


def logits(model: Any, chat: Chat, tokens: int = 0) -> torch.Tensor:
    ids = [*chat.encode(conversation("Where is the kettle?", "On the shelf. " * 3)).ids, *range(384, 384 + tokens)]
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(input_ids=torch.tensor([ids])).logits[0]
    return found


def merged(base: BaseFolder, adapter: Path, out: Path) -> tuple[Merged, BaseFolder]:
    made = merge(base, adapter, out)
    return made, find_base(str(out))


def config(folder: BaseFolder) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder.path / "config.json").read_text())
    return read


@pytest.mark.parametrize(
    ("changed", "untied"),
    [
        ({"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}, True),
        ({"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}, True),
        ({"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}, False),
        ({"target_modules": ["q_proj", "lm_head"]}, True),
        ({"target_modules": ["q_proj", "embed_tokens"]}, True),
    ],
    ids=["both saved", "embedding saved", "saved and tied", "LoRA on the head", "LoRA on the embedding"],
)
def test_a_tied_head_comes_out_as_base_and_adapter_had_it(
    changed: dict[str, Any], untied: bool, tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path
) -> None:
    wanted = tune(tiny, tmp_path / "a", tiny_chat, **changed)
    made, folder = merged(tiny, tmp_path / "a", tmp_path / "m")
    found = logits(load_model(folder, "float32"), tiny_chat)
    assert made == Merged(vocabulary=None, untied=untied)
    assert float((found - wanted).abs().max()) < LIMIT
    assert float((found - logits(load_model(tiny, "float32"), tiny_chat)).abs().max()) > 100 * LIMIT
    assert config(folder) == {**config(tiny), "tie_word_embeddings": not untied}
    assert ("lm_head.weight" in load_file(folder.path / "model.safetensors")) == untied


def test_the_fault_that_a_parted_head_would_be_is_seen(tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path) -> None:
    """Planted: the head that training left alone takes the trained embedding, as merging in place would make it."""
    wanted = tune(tiny, tmp_path / "a", tiny_chat, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    _, folder = merged(tiny, tmp_path / "a", tmp_path / "m")
    weights = load_file(folder.path / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, folder.path / "model.safetensors", metadata={"format": "pt"})
    assert float((logits(load_model(folder, "float32"), tiny_chat) - wanted).abs().max()) > 100 * LIMIT


@pytest.mark.parametrize("tied", [True, False])
def test_an_extended_vocabulary_brings_its_rows_and_its_tokenizer(
    tied: bool, tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path
) -> None:
    base = tiny if tied else untied_base(tiny, tmp_path / "b")
    more: dict[str, Any] = {"modules_to_save": ["embed_tokens", "lm_head"]} | ({"ensure_weight_tying": True} if tied else {})
    wanted = tune(base, tmp_path / "a", tiny_chat, tokens=3, target_modules=["q_proj"], **more)
    made, folder = merged(base, tmp_path / "a", tmp_path / "m")
    assert made == Merged(vocabulary=387, untied=False)
    assert config(folder) == {**config(base), "vocab_size": 387}
    assert float((logits(load_model(folder, "float32"), tiny_chat, 3) - wanted).abs().max()) < LIMIT
    tokenizer = load_tokenizer(folder)
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("a<new2>b", add_special_tokens=False)) == ["a", "<new2>", "b"]
    assert open_chat(folder).end_ids == tiny_chat.end_ids


def test_rows_that_peft_saved_because_their_number_changed_are_taken(tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path) -> None:
    wanted = tune(tiny, tmp_path / "a", tiny_chat, tokens=2, target_modules=["q_proj"])
    made, folder = merged(tiny, tmp_path / "a", tmp_path / "m")
    assert made == Merged(vocabulary=386, untied=False)
    assert float((logits(load_model(folder, "float32"), tiny_chat, 2) - wanted).abs().max()) < LIMIT


def untied_base(base: BaseFolder, folder: Path) -> BaseFolder:
    """The same base with a head of its own."""
    copy_base(base.path, folder, config={"tie_word_embeddings": False})
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] + 0.01
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return find_base(str(folder))


def without(adapter: Path, part: str) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if part not in name}
    assert len(kept) < len(weights)
    save_file(kept, adapter / "adapter_model.safetensors")


def test_new_tokens_without_their_rows_of_the_head_or_without_a_tokenizer_are_refused(
    tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path
) -> None:
    more: dict[str, Any] = {"tokens": 2, "target_modules": ["q_proj"]}
    tune(tiny, tmp_path / "a", tiny_chat, with_tokenizer=False, **more)
    with pytest.raises(ModelError, match="2 new tokens") as caught:
        merge(tiny, tmp_path / "a", tmp_path / "m")
    assert "tokenizer.json" in caught.value.problems[0].expected
    tune(tiny, tmp_path / "c", tiny_chat, **more)
    without(tmp_path / "c", "lm_head")
    with pytest.raises(ModelError, match="2 new tokens") as caught:
        merge(tiny, tmp_path / "c", tmp_path / "m")
    assert "rows of the output head" in caught.value.problems[0].expected and not (tmp_path / "m").exists()


def test_an_adapter_of_a_smaller_vocabulary_is_refused(tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path) -> None:
    tune(tiny, tmp_path / "a", tiny_chat, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    file = tmp_path / "a" / "adapter_model.safetensors"
    cut = {name: tensor[:300] if "embed" in name else tensor for name, tensor in load_file(file).items()}
    save_file({name: tensor.contiguous() for name, tensor in cut.items()}, file)
    with pytest.raises(ModelError, match="vocabulary does not fit"):
        merge(tiny, tmp_path / "a", tmp_path / "m")


def test_a_saved_module_that_the_base_does_not_have_is_refused(tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path) -> None:
    tune(tiny, tmp_path / "a", tiny_chat, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    file = tmp_path / "a" / "adapter_model.safetensors"
    save_file({**load_file(file), "base_model.model.model.other.weight": torch.zeros(2)}, file)
    with pytest.raises(ModelError, match="does not fit this base"):
        merge(tiny, tmp_path / "a", tmp_path / "m")
    shutil.rmtree(tmp_path / "m", ignore_errors=True)
