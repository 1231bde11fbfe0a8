"""The merged model is the adapted model, and parity says so when it is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fakes import conversation, train_tiny
from tunesmith.core.config import GateConfig
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Generation
from tunesmith.eval.parity import compare_hops
from tunesmith.eval.results import ParityResult
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.merge import merge

LIMIT = GateConfig().parity_logit


def merged(base: BaseFolder, adapter: Path, out: Path) -> Any:
    merge(base, adapter, out)
    return load_model(find_base(str(out)), "float32")


def parity(base: BaseFolder, chat: Chat, adapter: Path, other: Any) -> ParityResult:
    rows = [chat.encode(conversation(f"Question {n}?", "An answer. " * (1 + n % 5))) for n in range(11)]
    tuned = open_adapter(load_model(base, "float32"), adapter)
    return compare_hops("adapter → merged", tuned, other, chat, rows, ((), ()))


@pytest.mark.parametrize("name", ["tiny_path", "phi_path"])
@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
def test_the_merged_model_gives_the_logits_of_the_adapted_one(
    kind: str, name: str, tiny_chat: Chat, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base = find_base(str(request.getfixturevalue(name)))
    train_tiny(base.path, tmp_path, train={"max_steps": 2}, method={"kind": kind})
    adapter = tmp_path / "out" / "adapter"
    result = parity(base, tiny_chat, adapter, merged(base, adapter, tmp_path / "m"))
    assert result.max_abs_logit < 1e-4 and result.top1_agreement == 1.0 and result.mean_kl < 1e-6
    assert result.num_positions > 100 and result.precision == "float32"


def test_the_merged_folder_carries_tokenizer_and_template_byte_for_byte(
    tiny: BaseFolder, trained_adapter: Path, tmp_path: Path
) -> None:
    merge(tiny, trained_adapter, tmp_path / "m")
    for name in ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (tmp_path / "m" / name).read_bytes() == (tiny.path / name).read_bytes()
    assert not list((tmp_path / "m").glob("adapter*")) and not list((tmp_path / "m").glob("*.bin"))
    assert find_base(str(tmp_path / "m")).fingerprint != tiny.fingerprint


def test_tied_embeddings_stay_tied_and_untouched(tiny: BaseFolder, trained_adapter: Path, tmp_path: Path) -> None:
    merge(tiny, trained_adapter, tmp_path / "m")
    before, after = load_file(tiny.path / "model.safetensors"), load_file(tmp_path / "m" / "model.safetensors")
    assert before.keys() == after.keys() and "lm_head.weight" not in after
    assert torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])


def changed_adapter(adapter: Path, folder: Path, **changes: Any) -> Path:
    shutil.copytree(adapter, folder)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


@pytest.mark.parametrize("alpha", [8.1, 4.0, 16.0])
def test_a_merge_with_the_wrong_scale_is_caught(
    alpha: float, tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path, tmp_path: Path
) -> None:
    wrong = changed_adapter(trained_adapter, tmp_path / "a", lora_alpha=alpha)
    assert parity(tiny, tiny_chat, trained_adapter, merged(tiny, wrong, tmp_path / "m")).max_abs_logit > LIMIT


def test_a_merge_of_another_adapter_is_caught(tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path, tmp_path: Path) -> None:
    train_tiny(tiny.path, tmp_path, train={"seed": 8})
    other = merged(tiny, tmp_path / "out" / "adapter", tmp_path / "m")
    assert parity(tiny, tiny_chat, trained_adapter, other).max_abs_logit > LIMIT


def test_a_merge_that_left_the_adapter_out_is_caught(tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path) -> None:
    assert parity(tiny, tiny_chat, trained_adapter, load_model(tiny, "float32")).max_abs_logit > LIMIT


def test_an_output_head_that_came_untied_and_moved_is_caught(
    tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path, tmp_path: Path
) -> None:
    model = merged(tiny, trained_adapter, tmp_path / "m")
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() + 0.01)
    assert parity(tiny, tiny_chat, trained_adapter, model).max_abs_logit > LIMIT


def test_a_merge_stored_in_bfloat16_is_told_apart(
    tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path, tmp_path: Path
) -> None:
    merge(tiny, trained_adapter, tmp_path / "m", precision="bfloat16")
    assert parity(tiny, tiny_chat, trained_adapter, load_model(find_base(str(tmp_path / "m")), "float32")).max_abs_logit > LIMIT


def test_a_resized_vocabulary_is_an_error(tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path) -> None:
    model = load_model(tiny, "float32")
    model.resize_token_embeddings(400, mean_resizing=False)
    with pytest.raises(EvaluationError, match="different vocabularies"):
        parity(tiny, tiny_chat, trained_adapter, model)


def test_a_difference_under_padding_does_not_count_and_one_greedy_answer_that_differs_does(
    tiny: BaseFolder, tiny_chat: Chat
) -> None:
    def answers(*texts: str) -> list[Generation]:
        return [
            Generation(item_id=str(n), system="s", text=t, finish_reason="stop", num_tokens=1, fingerprint="f")
            for n, t in enumerate(texts)
        ]

    model = load_model(tiny, "float32")
    rows = [tiny_chat.encode(conversation("q", "a" * n)) for n in (1, 60)]
    result = compare_hops("x", model, model, tiny_chat, rows, (answers("a", "b", "c"), answers("a", "B")))
    assert (result.max_abs_logit, result.greedy_equal, result.greedy_total) == (0.0, 1, 2)
    assert result.num_positions == sum(len(row.ids) for row in rows)
