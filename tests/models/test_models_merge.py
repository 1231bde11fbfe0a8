"""The merged model is the adapted model, and parity says so when it is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from architectures import PACKED
from fakes import conversation, copy_base, train_tiny
from tunesmith.core.errors import EvaluationError, ModelError
from tunesmith.core.records import Generation
from tunesmith.eval.parity import compare_models
from tunesmith.eval.results import ParityResult
from tunesmith.eval.tolerances import STORED
from tunesmith.models.adapters import attach, open_adapter, save_adapter
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.generate import generate
from tunesmith.models.load import BaseFolder, find_base, load_model, safetensors_shapes, stored_types
from tunesmith.models.merge import _by_file_name, merge, share_as_summed
from tunesmith.models.older_readers import for_older_readers
from tunesmith.models.reach import choose_modules

LIMIT = STORED["float32"].max_logit or 0.0


def merged(base: BaseFolder, adapter: Path, out: Path) -> Any:
    merge(base, adapter, out)
    return load_model(find_base(str(out)), "float32")


def parity(base: BaseFolder, chat: Chat, adapter: Path, other: Any) -> ParityResult:
    rows = [chat.encode(conversation(f"Question {n}?", "An answer. " * (1 + n % 5))) for n in range(11)]
    tuned = open_adapter(load_model(base, "float32"), adapter)
    return compare_models("adapter → merged", tuned, other, rows, ((), ()))


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


def typed(base: BaseFolder, folder: Path, *kinds: torch.dtype) -> BaseFolder:
    """The base with its tensors stored in `kinds`, in turn."""
    copy_base(base.path, folder)
    weights = load_file(folder / "model.safetensors")
    cast = {name: weights[name].to(kinds[n % len(kinds)]) for n, name in enumerate(sorted(weights))}
    save_file(cast, folder / "model.safetensors", metadata={"format": "pt"})
    return find_base(str(folder))


@pytest.mark.parametrize("kinds", [(torch.bfloat16,), (torch.float16,), (torch.float32, torch.bfloat16)], ids=str)
def test_each_tensor_keeps_the_base_s_type_and_holds_the_sum_rounded_once(
    kinds: tuple[torch.dtype, ...], tiny: BaseFolder, trained_adapter: Path, tmp_path: Path
) -> None:
    base = typed(tiny, tmp_path / "b", *kinds)
    merge(base, trained_adapter, tmp_path / "m")
    before, after = load_file(base.path / "model.safetensors"), load_file(tmp_path / "m" / "model.safetensors")
    update = load_file(trained_adapter / "adapter_model.safetensors")
    scale = 8.0 / 4  # alpha / rank
    assert before.keys() == after.keys()
    for name, old in before.items():
        key = f"base_model.model.{name.removesuffix('.weight')}"
        expected = old
        if f"{key}.lora_A.weight" in update:
            product = update[f"{key}.lora_B.weight"] @ update[f"{key}.lora_A.weight"]
            expected = (old.float() + product * scale).to(old.dtype)
        assert after[name].dtype == old.dtype and torch.equal(after[name], expected), name
    assert (tmp_path / "m" / "config.json").read_bytes() == (base.path / "config.json").read_bytes()


def test_a_set_precision_is_stored_and_declared_and_changes_nothing_else(
    tiny: BaseFolder, trained_adapter: Path, tmp_path: Path
) -> None:
    merge(tiny, trained_adapter, tmp_path / "m", precision="bfloat16")
    merge(tiny, trained_adapter, tmp_path / "exact")
    rounded, exact = load_file(tmp_path / "m" / "model.safetensors"), load_file(tmp_path / "exact" / "model.safetensors")
    assert all(torch.equal(rounded[name], exact[name].bfloat16()) for name in exact)
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (tiny.path, tmp_path / "m"))
    assert after == {**before, "dtype": "bfloat16"} and list(after) == list(before)


def sharded(base: BaseFolder, folder: Path) -> BaseFolder:
    """The base in two weight files with an index, beside another set of weights as Mistral ships it."""
    copy_base(base.path, folder)
    weights = load_file(folder / "model.safetensors")
    parts = {"model-00001-of-00002.safetensors": sorted(weights)[:5], "model-00002-of-00002.safetensors": sorted(weights)[5:]}
    for file, names in parts.items():
        save_file({name: weights[name] for name in names}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": sum(w.numel() * 4 for w in weights.values())}}
    index["weight_map"] = {name: file for file, names in parts.items() for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    (folder / "params.json").write_text("{}")
    (folder / "LICENSE").write_text("Apache-2.0")
    return find_base(str(folder))


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_weight_files_and_index_are_those_of_the_base_and_no_untuned_copy_comes_along(
    precision: Any, tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path, tmp_path: Path
) -> None:
    base = sharded(tiny, tmp_path / "b")
    merge(base, trained_adapter, tmp_path / "m", precision=precision)
    there = {file.name for file in (tmp_path / "m").iterdir()}
    assert there == {file.name for file in base.path.iterdir()} - {"consolidated.safetensors", "params.json"}
    index, own = (json.loads((f / "model.safetensors.index.json").read_text()) for f in (tmp_path / "m", base.path))
    size = sum(
        t.numel() * t.element_size()
        for file in there
        if file.endswith(".safetensors")
        for t in load_file(tmp_path / "m" / file).values()
    )
    assert index["weight_map"] == own["weight_map"] and index["metadata"]["total_size"] == size
    opened = load_model(find_base(str(tmp_path / "m")), "float32")
    assert parity(base, tiny_chat, trained_adapter, opened).max_abs_logit < (LIMIT if precision == "auto" else 1.0)


def test_an_index_that_names_a_file_that_is_missing_is_a_message(tiny: BaseFolder, tmp_path: Path) -> None:
    base = sharded(tiny, tmp_path / "b")
    (base.path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match="weights that the index names are missing"):
        find_base(str(base.path))
    (base.path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelError, match="index of the weights cannot be read"):
        find_base(str(base.path))


@pytest.mark.parametrize("name", ["Qwen3 MoE", "GPT-2", "Gemma 3, sliding and full layers"])
def test_tensors_are_stored_under_the_names_that_the_base_s_files_use(name: str, tiny: BaseFolder, tmp_path: Path) -> None:
    torch.manual_seed(1)
    PACKED[name]().save_pretrained(tmp_path / "b")
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tiny.path / file, tmp_path / "b" / file)
    config = tmp_path / "b" / "config.json"
    config.write_text(config.read_text().replace('"vocab_size": 128', '"vocab_size": 384'))
    weights = load_file(tmp_path / "b" / "model.safetensors")
    for key, tensor in weights.items():
        if tensor.shape[0] == 128 and ("embed" in key or "wte" in key or "lm_head" in key):
            weights[key] = tensor.repeat(3, 1)
    if name == "GPT-2":  # as the first files of this family name them
        weights = {key.removeprefix("transformer."): tensor for key, tensor in weights.items()}
    save_file(weights, tmp_path / "b" / "model.safetensors", metadata={"format": "pt"})
    base = find_base(str(tmp_path / "b"))
    model = load_model(base, "float32")
    adapted, _ = attach(model, kind="lora", rank=2, alpha=4.0, dropout=0.0, modules=choose_modules(model, "all", "all"), seed=1)
    with torch.no_grad():
        for key, parameter in adapted.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.05)
    save_adapter(adapted, "x", tmp_path / "a")
    merge(base, tmp_path / "a", tmp_path / "m")
    merged = find_base(str(tmp_path / "m"))
    assert safetensors_shapes(merged.weights[0]) == safetensors_shapes(base.weights[0])
    result = compare_models(
        "x", adapted.eval(), load_model(merged, "float32"), [open_chat(base).encode(conversation("q", "a" * 9))], ((), ())
    )
    assert result.max_abs_logit < 1e-5
    assert (
        compare_models(
            "x", adapted, load_model(base, "float32"), [open_chat(base).encode(conversation("q", "a" * 9))], ((), ())
        ).max_abs_logit
        > 1e-2
    )


def test_a_base_that_lacks_a_tensor_is_not_merged_into(tiny: BaseFolder, trained_adapter: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny.path, tmp_path / "b")
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="weights of the base are missing"):
        merge(find_base(str(folder)), trained_adapter, tmp_path / "m")


def test_a_tensor_that_has_no_place_in_the_base_s_files_is_a_message(tiny: BaseFolder) -> None:
    model = load_model(tiny, "float32")
    names = set(model.state_dict()) - {"model.norm.weight"}
    with pytest.raises(ModelError, match="has no place in the base's files"):
        _by_file_name(model, names, tiny, with_head=False)


def test_a_sum_that_float16_cannot_hold_is_a_message_and_not_infinity(
    tiny: BaseFolder, trained_adapter: Path, tmp_path: Path
) -> None:
    folder = copy_base(tiny.path, tmp_path / "b")
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][3, 3] = 70_000.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="does not fit into float16"):
        merge(find_base(str(folder)), trained_adapter, tmp_path / "m", precision="float16")


def test_an_adapter_that_is_not_finite_is_a_message(tiny: BaseFolder, trained_adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_adapter, tmp_path / "a")
    weights = load_file(tmp_path / "a" / "adapter_model.safetensors")
    weights[next(iter(weights))][0, 0] = float("nan")
    save_file(weights, tmp_path / "a" / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="update is not finite"):
        merge(tiny, tmp_path / "a", tmp_path / "m")


def test_plain_generation_of_the_merged_folder_stops_where_tunesmith_stops(
    tiny: BaseFolder, trained_adapter: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    def plain(folder: Path, ids: list[int]) -> list[int]:
        model = AutoModelForCausalLM.from_pretrained(folder)
        return [int(token) for token in model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False)[0, len(ids) :]]

    question = conversation("Tell me about the kettle.")
    ids = open_chat(tiny).encode_prompt(question)
    merge(tiny, trained_adapter, tmp_path / "free")
    free = plain(tmp_path / "free", ids)
    end = free[5]  # declared in config.json alone, as bases without a generation_config.json do
    folder = copy_base(tiny.path, tmp_path / "b", without=["generation_config.json"], config={"eos_token_id": [3, end]})
    base = find_base(str(folder))
    merge(base, trained_adapter, tmp_path / "m")
    chat, merged = open_chat(find_base(str(tmp_path / "m"))), find_base(str(tmp_path / "m"))
    assert set(json.loads((tmp_path / "m" / "generation_config.json").read_text())["eos_token_id"]) == {3, 7, end}
    (ours,) = generate(load_model(merged, "float32"), chat, [question], max_new_tokens=24, batch_examples=1, context=768)
    theirs = plain(tmp_path / "m", ids)
    assert (
        theirs == free[: free.index(end) + 1]
        and ours.finish_reason == "stop"
        and ours.num_tokens in {len(theirs), len(theirs) - 1}
    )
    (tmp_path / "m" / "generation_config.json").write_text("{}")  # the fault: what is not declared is run over
    assert len(plain(tmp_path / "m", ids)) == 24


def test_settings_for_generation_are_written_over_the_base_s(tiny: BaseFolder, trained_adapter: Path, tmp_path: Path) -> None:
    merge(tiny, trained_adapter, tmp_path / "m", generation={"temperature": 0.7, "do_sample": True})
    before, after = (json.loads((f / "generation_config.json").read_text()) for f in (tiny.path, tmp_path / "m"))
    assert after == {**before, "temperature": 0.7, "do_sample": True}


def test_a_small_fault_that_rounding_hides_from_the_logits_is_seen_in_the_sums(
    tiny: BaseFolder, trained_adapter: Path, tmp_path: Path
) -> None:
    tuned = open_adapter(load_model(tiny, "float32"), trained_adapter)
    found = []
    for n, adapter in enumerate((trained_adapter, changed_adapter(trained_adapter, tmp_path / "a", lora_alpha=8.1))):
        merge(tiny, adapter, tmp_path / f"m{n}", precision="bfloat16")
        opened = find_base(str(tmp_path / f"m{n}"))
        found.append(share_as_summed(tuned, load_model(opened, "float32"), list(stored_types(opened.weights))))
    limit = STORED["bfloat16"].as_summed or 0.0
    assert found[0] == 1.0 and found[1] < limit
    assert tuned.base_model.model.model.layers[0].self_attn.q_proj.merged_adapters == []  # it is still base and adapter


READER_4 = os.environ.get("TUNESMITH_TRANSFORMERS_4", "")
_READ = """
import json, sys, torch
from transformers import AutoModelForCausalLM, __version__
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
logits = model(torch.tensor([json.loads(sys.argv[2])])).logits[0]
print(json.dumps({"version": __version__, "logits": logits.tolist()}))
"""


@pytest.mark.skipif(not READER_4, reason="TUNESMITH_TRANSFORMERS_4 names no Python with transformers 4.57")
@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_transformers_4_reads_the_merged_folder_as_transformers_5_does(
    precision: Any, tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path, tmp_path: Path
) -> None:
    config = for_older_readers({**tiny.config, "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}})
    base = find_base(str(copy_base(tiny.path, tmp_path / "b", config=config)))
    merge(base, trained_adapter, tmp_path / "m", precision=precision)
    ids = list(tiny_chat.encode(conversation("Where is the kettle?", "On the shelf. " * 6)).ids)
    done = subprocess.run(
        [READER_4, "-c", _READ, str(tmp_path / "m"), json.dumps(ids)], capture_output=True, text=True, check=True
    )
    read = json.loads(done.stdout.splitlines()[-1])
    with torch.inference_mode():
        own = load_model(find_base(str(tmp_path / "m")), "float32")(input_ids=torch.tensor([ids])).logits[0]
    assert read["version"].startswith("4.57.")
    assert float((torch.tensor(read["logits"]) - own).abs().max()) < LIMIT


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


def test_a_merge_stored_in_bfloat16_differs_from_the_tuned_model_by_more_than_float32_may(
    tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path, tmp_path: Path
) -> None:
    merge(tiny, trained_adapter, tmp_path / "m", precision="bfloat16")
    assert parity(tiny, tiny_chat, trained_adapter, load_model(find_base(str(tmp_path / "m")), "float32")).max_abs_logit > LIMIT


def test_a_resized_vocabulary_is_an_error(tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path) -> None:
    model = load_model(tiny, "float32")
    model.resize_token_embeddings(400, mean_resizing=False)
    with pytest.raises(EvaluationError, match="different vocabularies"):
        parity(tiny, tiny_chat, trained_adapter, model)


def test_every_position_counts_once_and_one_greedy_answer_that_differs_does(tiny: BaseFolder, tiny_chat: Chat) -> None:
    def answers(*texts: str) -> list[Generation]:
        return [
            Generation(item_id=str(n), system="s", text=t, finish_reason="stop", num_tokens=1, fingerprint="f")
            for n, t in enumerate(texts)
        ]

    model = load_model(tiny, "float32")
    rows = [tiny_chat.encode(conversation("q", "a" * n)) for n in (1, 60)]
    long = "The same forty characters, and then more of "
    result = compare_models("x", model, model, rows, (answers("a", "b", f"{long}one", "d"), answers("a", "B", f"{long}two")))
    assert (result.max_abs_logit, result.greedy_equal, result.greedy_begun, result.greedy_total) == (0.0, 1, 2, 3)
    assert result.num_positions == sum(len(row.ids) for row in rows)


def test_files_of_a_given_size_hold_the_same_tensors_and_the_index_names_them_all(
    tiny: BaseFolder, trained_adapter: Path, tmp_path: Path
) -> None:
    merge(tiny, trained_adapter, tmp_path / "one")
    merge(tiny, trained_adapter, tmp_path / "m", max_shard_size="60KB")
    files = sorted((tmp_path / "m").glob("*.safetensors"))
    assert len(files) >= 3 and all(file.stat().st_size < 60_000 + 4_000 for file in files)  # and its header
    index = json.loads((tmp_path / "m" / "model.safetensors.index.json").read_text())
    parts = {name: (file.name, tensor) for file in files for name, tensor in load_file(file).items()}
    assert index["weight_map"] == {name: file for name, (file, _) in parts.items()}
    whole = load_file(tmp_path / "one" / "model.safetensors")
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name][1]) for name in whole)
    assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in whole.values())
    load_model(find_base(str(tmp_path / "m")), "float32")


def test_a_base_in_several_files_becomes_one_where_it_fits(tiny: BaseFolder, trained_adapter: Path, tmp_path: Path) -> None:
    merge(sharded(tiny, tmp_path / "b"), trained_adapter, tmp_path / "m", max_shard_size="2GB")
    assert [file.name for file in (tmp_path / "m").glob("*.safetensors*")] == ["model.safetensors"]


def test_a_size_that_is_none_is_a_message(tiny: BaseFolder, trained_adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="size of the weight files"):
        merge(tiny, trained_adapter, tmp_path / "m", max_shard_size="two")


@pytest.mark.parametrize("name", ["../outside.safetensors", "/outside.safetensors"])
def test_an_index_that_leads_out_of_its_folder_is_a_message(name: str, tiny: BaseFolder, tmp_path: Path) -> None:
    base = sharded(tiny, tmp_path / "b")
    file = base.path / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    file.write_text(json.dumps({"weight_map": dict.fromkeys(index["weight_map"], name)}))
    with pytest.raises(ModelError, match="index of the weights cannot be read"):
        find_base(str(base.path))
