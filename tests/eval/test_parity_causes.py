"""Planted faults: every way in which a form stops being the tuned model fails, and is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from parity_faults import as_server, change_config, change_weights, compared, copied, opened

from fakes import TEMPLATE, byte_tokenizer, make_base, train_tiny
from tunesmith.models.adapters import open_adapter
from tunesmith.models.load import StoredType, find_base, load_model
from tunesmith.models.merge import merge
from tunesmith.systems.opening import OpenedSystem

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Made:
    """The base, an adapter, the merged model, base and adapter opened, and a folder for the form with the fault."""

    base: Path
    adapter: Path
    merged: Path
    tested: OpenedSystem
    out: Path

    def with_adapter(self, **config: Any) -> Path:
        """The merged model of the same adapter with another configuration."""
        adapter = change_config(copied(self.adapter, self.out / "adapter"), "adapter_config.json", **config)
        merge(find_base(str(self.base)), adapter, self.out / "form")
        return self.out / "form"

    def with_weights(self, change: Callable[[Tensors], None]) -> Path:
        return change_weights(copied(self.merged, self.out / "form"), change)

    def on_changed_base(self, change: Callable[[Tensors], None]) -> Path:
        """The adapter merged into a base whose weights were changed."""
        base = change_weights(copied(self.base, self.out / "base"), change)
        merge(find_base(str(base)), self.adapter, self.out / "form")
        return self.out / "form"

    def with_config(self, **changes: Any) -> Path:
        return change_config(copied(self.merged, self.out / "form"), **changes)

    def with_template(self, template: str) -> Path:
        form = copied(self.merged, self.out / "form")
        (form / "chat_template.jinja").write_text(template)
        return form


@pytest.fixture(scope="module")
def parts(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, Path, OpenedSystem]]:
    place = tmp_path_factory.mktemp("parity")
    train_tiny(tiny_path, place, train={"max_steps": 6})
    adapter = change_config(place / "out" / "adapter", "adapter_config.json", base_model_name_or_path=str(tiny_path))
    merge(find_base(str(tiny_path)), adapter, place / "merged")
    with opened(adapter) as (tested,):
        yield tiny_path, adapter, place / "merged", tested


@pytest.fixture
def made(parts: tuple[Path, Path, Path, OpenedSystem], tmp_path: Path) -> Made:
    return Made(*parts, tmp_path)


# --- the faults -------------------------------------------------------------------------------------------------------


def every_matrix(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], None]:
    def apply(tensors: Tensors) -> None:
        for name, tensor in tensors.items():
            if tensor.dim() == 2:
                tensors[name] = change(tensor)

    return apply


def in_4_bits(w: torch.Tensor) -> torch.Tensor:
    blocks = w.reshape(-1, 32)
    scale = blocks.abs().amax(-1, keepdim=True).clamp_min(1e-9) / 7
    return ((blocks / scale).round() * scale).reshape(w.shape)


def in_8_bits_per_row(w: torch.Tensor) -> torch.Tensor:
    scale = w.abs().amax(-1, keepdim=True).clamp_min(1e-9) / 127
    return (w / scale).round() * scale


def interleaved(tensors: Tensors) -> None:
    for name in tensors:
        if "q_proj" in name or "k_proj" in name:
            rows = tensors[name].reshape(-1, 2, 4, tensors[name].shape[1])  # heads of 8 rows: halves become pairs
            tensors[name] = rows.transpose(1, 2).reshape(tensors[name].shape)


def without_last_layer(made: Made) -> Path:
    def shorter(tensors: Tensors) -> None:
        for name in [name for name in tensors if "layers.1." in name]:
            del tensors[name]

    return change_config(made.with_weights(shorter), num_hidden_layers=1)


def zeroed(tensors: Tensors) -> None:
    tensors["model.layers.1.mlp.up_proj.weight"].zero_()


def one_layer_of_the_base(made: Made) -> Path:
    def restore(tensors: Tensors) -> None:
        from safetensors.torch import load_file

        base = load_file(made.base / "model.safetensors")
        tensors.update({name: tensor for name, tensor in base.items() if "layers.0." in name})

    return made.with_weights(restore)


def untied(made: Made) -> Path:
    """As after training that moved an output matrix of its own: stored, and declared as one."""

    def add(tensors: Tensors) -> None:
        embedding = tensors["model.embed_tokens.weight"]
        tensors["lm_head.weight"] = embedding + 0.05 * embedding.std() * torch.randn(embedding.shape)

    torch.manual_seed(1)
    return change_config(made.with_weights(add), tie_word_embeddings=False)


def resized(made: Made) -> Path:
    def longer(tensors: Tensors) -> None:
        embedding = tensors["model.embed_tokens.weight"]
        tensors["model.embed_tokens.weight"] = torch.cat([embedding, embedding[:16]])

    return change_config(made.with_weights(longer), vocab_size=400)


def with_another_end(made: Made) -> Path:
    """The most frequent token of the answers ends an answer as well."""
    return change_config(copied(made.merged, made.out / "form"), "generation_config.json", eos_token_id=list(range(7, 200)))


def with_other_merges(made: Made) -> Path:
    form = copied(made.merged, made.out / "form")
    tokenizer = json.loads((form / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][2:]
    (form / "tokenizer.json").write_text(json.dumps(tokenizer))
    return form


def fine_tuned_further(w: torch.Tensor) -> torch.Tensor:
    return w + 0.05 * w.std() * torch.randn(w.shape, generator=torch.Generator().manual_seed(w.numel()))


def of_another_base(made: Made) -> str:
    return f"{make_base(made.out / 'other', seed=11)}+{made.adapter}"


def of_another_width(made: Made) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = json.loads((made.base / "config.json").read_text())
    LlamaForCausalLM(LlamaConfig(**{**shape, "hidden_size": 64})).save_pretrained(made.out / "form")
    byte_tokenizer(TEMPLATE).save_pretrained(made.out / "form")
    return made.out / "form"


BOS_FIRST = "{{ bos_token }}" + TEMPLATE
FAULTS: dict[str, tuple[str, Callable[[Made], str | Path]]] = {
    "the adapter's scale is left out": ("scale", lambda made: made.with_adapter(lora_alpha=4.0)),
    "the update is added twice": ("scale", lambda made: made.with_adapter(lora_alpha=16.0)),
    "the scale is that of rsLoRA": ("scale", lambda made: made.with_adapter(use_rslora=True)),
    "the update is subtracted": ("scale", lambda made: made.with_adapter(lora_alpha=-8.0)),
    "the scale is two hundredths off": ("scale", lambda made: made.with_adapter(lora_alpha=8.16)),
    "the base is shipped": ("adapter not applied", lambda made: made.base),
    "a layer was not merged": ("adapter not applied", one_layer_of_the_base),
    "merged into a base of 4 bits": ("merged into a quantised base", lambda m: m.on_changed_base(every_matrix(in_4_bits))),
    "merged into a base of 8 bits": (
        "merged into a quantised base",
        lambda made: made.on_changed_base(every_matrix(in_8_bits_per_row)),
    ),
    "an output matrix of its own": ("tied embeddings untied", untied),
    "more embeddings": ("vocabulary resized", resized),
    "rounded to bfloat16 and stored in float32": (
        "dtype",
        lambda m: m.with_weights(every_matrix(lambda w: w.bfloat16().float())),
    ),
    "rounded to float16 and stored in float32": ("dtype", lambda m: m.with_weights(every_matrix(lambda w: w.half().float()))),
    "another chat template": ("chat template", lambda made: made.with_template(TEMPLATE.replace("|>\n'", "|> '"))),
    "the turn of the answer is not opened": (
        "chat template",
        lambda made: made.with_template(TEMPLATE.replace("{{ '<|assistant|>\n' }}", "{{ '<|assistant|>' }}")),
    ),
    "a BOS before every prompt": ("BOS added", lambda made: made.with_template(BOS_FIRST)),
    "another base of the rotary frequencies": (
        "RoPE settings",
        lambda made: made.with_config(rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
    ),
    "rotary frequencies scaled": (
        "RoPE settings",
        lambda made: made.with_config(rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
    ),
    "another epsilon of the norms": ("norm epsilon", lambda made: made.with_config(rms_norm_eps=1e-2)),
    "further stop tokens": ("stop tokens", with_another_end),
    "a shorter context": ("context length", lambda made: made.with_config(max_position_embeddings=64)),
    "an adapter on another base": ("adapter of another base", of_another_base),
    "query and key rows interleaved": ("q/k permutation", lambda made: made.with_weights(interleaved)),
    "a layer is missing": ("layer missing", without_last_layer),
    "a matrix is zero": ("layer missing", lambda made: made.with_weights(zeroed)),
    "a model of another width": ("another model", of_another_width),
    "a model of the same shape": ("another model", lambda made: make_base(made.out / "form", seed=23)),
    "a base that was trained further": ("another base", lambda made: made.on_changed_base(every_matrix(fine_tuned_further))),
    "other merges of the tokenizer": ("tokenizer", with_other_merges),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_and_its_cause_is_named(fault: str, made: Made) -> None:
    cause, plant = FAULTS[fault]
    report = compared(made.tested, plant(made))
    assert report.passed is False and report.exit_code == 2
    assert report.causes[0].name == cause, report.causes
    assert report.causes[0].evidence and report.causes[0].hint


def test_a_doubled_and_a_missing_bos_are_told_apart(made: Made) -> None:
    one, two = made.with_template(BOS_FIRST), copied(made.merged, made.out / "two")
    (two / "chat_template.jinja").write_text("{{ bos_token }}" + BOS_FIRST)
    assert compared(one, two).causes[0].name == "BOS doubled"
    assert compared(one, made.merged).causes[0].name == "BOS missing"


def test_answers_that_run_on_are_told_from_those_that_end_early(made: Made) -> None:
    early = with_another_end(made)
    found = compared(early, made.merged)
    assert found.passed is False and found.causes[0].name == "stop tokens"
    assert found.answers is not None and found.answers.run_on
    turned = compared(made.merged, early).answers
    assert turned is not None and turned.other_ends and not turned.run_on


def test_an_end_token_that_the_form_does_not_declare_fails_though_no_answer_shows_it(made: Made) -> None:
    two = change_config(copied(made.merged, made.out / "two"), "generation_config.json", eos_token_id=[7, 1])
    assert compared(two, made.merged).failed == ("b does not declare the end token 1",)


SERVED: dict[str, tuple[str, Callable[[Made], str | Path]]] = {
    "the server runs the base": ("adapter not applied", lambda made: made.base),
    "the server applies the adapter twice": ("scale", lambda made: made.with_adapter(lora_alpha=12.0)),
    "the server runs another model": ("another model", lambda made: make_base(made.out / "form", seed=23)),
    "the server has another template": ("chat template", lambda made: made.with_template(TEMPLATE.replace("|>\n'", "|> '"))),
}


@pytest.mark.parametrize("fault", SERVED)
def test_behind_an_address_the_numbers_name_the_cause(fault: str, made: Made) -> None:
    cause, plant = SERVED[fault]
    report = compared(made.tested, plant(made), b_as=as_server)
    assert report.passed is False and report.apart is not None and report.apart.what == "top tokens"
    assert report.causes[0].name == cause, report.causes


def test_a_difference_without_a_known_sign_is_called_unknown(made: Made) -> None:
    def one_matrix(tensors: Tensors) -> None:
        tensors["model.layers.0.mlp.down_proj.weight"] += 0.3 * torch.randn(32, 64, generator=torch.Generator().manual_seed(3))

    assert compared(made.tested, made.with_weights(one_matrix)).causes[0].name == "unknown"


# --- clean pairs ------------------------------------------------------------------------------------------------------


def by_peft(made: Made) -> Path:
    """Merged and saved by peft and transformers themselves."""
    tuned = open_adapter(load_model(find_base(str(made.base)), "float32"), made.adapter)
    tuned.merge_and_unload().save_pretrained(made.out / "form")
    for file in find_base(str(made.base)).other_files():
        shutil.copyfile(file, made.out / "form" / file.name)
    return made.out / "form"


def untied_with_the_same_numbers(made: Made) -> Path:
    form = made.with_weights(lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}))
    return change_config(form, tie_word_embeddings=False)


def stored(made: Made, precision: StoredType) -> Path:
    merge(find_base(str(made.base)), made.adapter, made.out / "form", precision=precision)
    return made.out / "form"


def turned_around(tensors: Tensors) -> None:
    for name in reversed(list(tensors)):
        tensors[name] = tensors.pop(name)


CLEAN: dict[str, Callable[[Made], str | Path]] = {
    "the adapter itself": lambda made: made.adapter,
    "a copy of the adapter": lambda made: copied(made.adapter, made.out / "adapter"),
    "the base and the adapter": lambda made: f"{made.base}+{made.adapter}",
    "merged": lambda made: made.merged,
    "a copy of the merged folder": lambda made: copied(made.merged, made.out / "form"),
    "merged in float32": lambda made: stored(made, "float32"),
    "merged by peft": by_peft,
    "the output matrix stored twice": untied_with_the_same_numbers,
    "tensors in another order": lambda made: made.with_weights(turned_around),
    "a template that writes the same": lambda made: made.with_template(TEMPLATE + "{# nothing #}"),
    "rotary settings written the older way": lambda made: made.with_config(rope_theta=10000.0),
    "a longer context": lambda made: made.with_config(max_position_embeddings=2048),
    "another type declared": lambda made: made.with_config(torch_dtype="float32"),
    "alpha and rank written as rsLoRA": lambda made: made.with_adapter(use_rslora=True, lora_alpha=4.0),
}


@pytest.mark.parametrize("pair", CLEAN)
def test_a_clean_pair_raises_no_alarm(pair: str, made: Made) -> None:
    report = compared(made.tested, CLEAN[pair](made))
    assert report.passed is True and report.exit_code == 0, (report.failed, report.missing)
    assert report.causes == () and report.as_dict()["cause"] is None


@pytest.mark.parametrize(
    "how", ["server", "served in bfloat16", "served in float16", "merged against itself", "merged behind a server"]
)
def test_a_clean_form_in_another_engine_or_type_raises_no_alarm(how: str, made: Made) -> None:
    if how == "merged against itself":
        report = compared(made.merged, made.merged)
    elif "server" in how:
        report = compared(made.tested if how == "server" else made.merged, made.merged, b_as=as_server)
    else:
        precision: StoredType = "bfloat16" if "bfloat16" in how else "float16"
        report = compared(made.tested, made.merged, precision=precision)
    assert report.passed is True and report.causes == (), (report.failed, report.missing)


def test_a_context_that_was_cut_to_save_memory_is_no_fault_of_the_form(made: Made) -> None:
    """llama.cpp is started with 4096 tokens at most, though the file may hold more."""
    report = compared(made.tested, made.merged, b_as=lambda side: replace(side, context=64))
    assert report.passed is True and report.prompts.left_out, report.failed


def test_a_wrong_scale_is_named_in_a_form_of_16_bits_too(made: Made) -> None:
    adapter = change_config(copied(made.adapter, made.out / "adapter"), "adapter_config.json", lora_alpha=16.0)
    merge(find_base(str(made.base)), adapter, made.out / "form", precision="bfloat16")
    assert compared(made.tested, made.out / "form").causes[0].name == "scale"


@pytest.mark.parametrize("kind", ["rslora", "dora"])
def test_other_kinds_of_adapters_raise_no_alarm(kind: str, made: Made) -> None:
    train_tiny(made.base, made.out, train={"max_steps": 2}, method={"kind": kind})
    adapter = made.out / "out" / "adapter"
    merge(find_base(str(made.base)), adapter, made.out / "form")
    assert compared(f"{made.base}+{adapter}", made.out / "form").passed is True


def test_a_fused_architecture_and_another_seed_raise_no_alarm(phi_path: Path, tmp_path: Path) -> None:
    train_tiny(phi_path, tmp_path, train={"max_steps": 2, "seed": 3})
    merge(find_base(str(phi_path)), tmp_path / "out" / "adapter", tmp_path / "form")
    assert compared(f"{phi_path}+{tmp_path / 'out' / 'adapter'}", tmp_path / "form").passed is True
