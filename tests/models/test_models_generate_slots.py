"""Answers made in slots are the answers of the library's own generation, one by one, token for token: every architecture."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Any, get_args

import pytest
import torch
import transformers
from transformers import GenerationConfig

from tunesmith.models.adapters import AdapterKind, attach
from tunesmith.models.generation.engine import Engine, Limits, shared_prefix
from tunesmith.models.generation.fits import fits
from tunesmith.models.generation.plain import run_plain
from tunesmith.models.generation.requests import Job
from tunesmith.models.packed.lowrank import lean_adapters
from tunesmith.models.reach import choose_modules

VOCABULARY = 97
END = 5
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": END,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "smollm": ("Llama", {"hidden_size": 24, "num_attention_heads": 3, "num_key_value_heads": 1, "tie_word_embeddings": True}),
    "smollm3": ("SmolLM3", {"num_hidden_layers": 4, "no_rope_layer_interval": 2}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {}),
    "phi3": ("Phi3", {"original_max_position_embeddings": 512}),
    "mistral with a window": ("Mistral", {"sliding_window": 7}),
    "gemma2 capped": ("Gemma2", {"sliding_window": 7, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    "gemma3": (
        "Gemma3Text",
        {
            "sliding_window": 7,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "query_pre_attn_scalar": 8,
        },
    ),
    "granite": ("Granite", {"attention_multiplier": 0.2, "logits_scaling": 2.0}),
}


def make(kind: str, **changes: Any) -> Any:
    """A tiny model of random weights, loud enough that its answers vary."""
    name, own = KINDS[kind]
    shape = {**SMALL, **own, **changes}
    torch.manual_seed(3)
    config = getattr(transformers, f"{name}Config")(**shape)
    family = name.removesuffix("Text")
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4.0)
    model.generation_config = GenerationConfig()
    return model.requires_grad_(False)


def prompts(count: int, *, shared: int, seed: int = 1) -> list[tuple[int, ...]]:
    draw = random.Random(seed)
    head = [draw.randrange(8, VOCABULARY) for _ in range(shared)]
    return [(*head, *(draw.randrange(8, VOCABULARY) for _ in range(draw.randrange(1, 24)))) for _ in range(count)]


def one_by_one(model: Any, prompt: Sequence[int], room: int, ends: Sequence[int] = (END,)) -> list[int]:
    settings = GenerationConfig(max_new_tokens=room, do_sample=False, eos_token_id=list(ends), pad_token_id=0)
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        made = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    tokens: list[int] = made[0, len(prompt) :].tolist()
    return tokens


def in_slots(model: Any, jobs: Sequence[Job], *, most: int = 4, ends: Collection[int] = (END,), **how: Any) -> list[list[int]]:
    engine = Engine(
        model,
        jobs,
        ends=lambda job, tokens: tokens[-1] in ends,
        limits=Limits(most, 1, 2**30),
        **how,
    )
    said: list[list[int]] = [[] for _ in jobs]
    for made in engine.run():
        for one in made:
            said[one.job].append(one.token)
    return said


@pytest.mark.parametrize("explicit", [True, False], ids=["written out", "by kernel"])
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_answers_in_slots_are_those_one_by_one(kind: str, explicit: bool) -> None:
    model = make(kind)
    assert fits(model).reason == ""
    asked = prompts(7, shared=12)
    whole = [one_by_one(model, p, 24, ()) for p in asked]
    ends = {whole[0][3], whole[1][7]}  # the random model never learned to stop, so tokens that it likes end its answers
    wanted = [said[: next((n for n, t in enumerate(said, start=1) if t in ends), 24)] for said in whole]
    assert len({len(said) for said in wanted}) > 1
    jobs = [Job(p, 24) for p in asked]
    assert shared_prefix(jobs) == 12
    assert in_slots(model, jobs, ends=ends, explicit=explicit) == wanted


@pytest.mark.parametrize("explicit", [True, False], ids=["written out", "by kernel"])
@pytest.mark.parametrize("most", [1, 3, 40])
@pytest.mark.parametrize("shared", [0, 20])
def test_any_number_of_slots_gives_the_same_answers(most: int, shared: int, explicit: bool) -> None:
    model = make("llama")
    asked = prompts(9, shared=shared, seed=4)
    jobs = [Job(p, 4 + 7 * (n % 4)) for n, p in enumerate(asked)]
    wanted = [one_by_one(model, job.ids, job.room) for job in jobs]
    assert in_slots(model, jobs, most=most, explicit=explicit) == wanted


@pytest.mark.parametrize("explicit", [True, False], ids=["written out", "by kernel"])
@pytest.mark.parametrize("most", [2, 40])
def test_a_prompt_asked_several_times_is_computed_once_and_answered_as_if_alone(most: int, explicit: bool) -> None:
    model, asked = make("llama"), prompts(5, shared=10)
    jobs = [Job(p, 6 + 5 * n) for n in range(3) for p in asked]
    computed: list[int] = []

    def call(**named: Any) -> Any:
        computed.append(named["input_ids"].numel())
        return model(**named)

    limits = Limits(most, fits(model).bytes_per_token, 2**30)
    engine = Engine(model, jobs, ends=lambda job, said: False, limits=limits, explicit=explicit, call=call)
    said: list[list[int]] = [[] for _ in jobs]
    for made in engine.run():
        for one in made:
            said[one.job].append(one.token)
    assert said == [one_by_one(model, job.ids, job.room, ()) for job in jobs]
    if most >= len(jobs):
        new = sum(job.room - 1 for job in jobs)
        assert sum(computed) == 10 + sum(len(p) - 10 for p in asked) + new


def adapted(kind: str, how: AdapterKind = "lora") -> Any:
    base = make(kind)
    model, _ = attach(base, kind=how, rank=4, alpha=16, dropout=0.1, modules=choose_modules(base, "all", "all"), seed=0)
    model.eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    return model.requires_grad_(False)


@pytest.mark.parametrize("kind", ["llama", "phi3", "gemma3"])
@pytest.mark.parametrize("how", get_args(AdapterKind))
def test_base_and_adapted_answers_of_one_batch_are_those_of_each_alone(kind: str, how: AdapterKind) -> None:
    model = adapted(kind, how)
    asked = prompts(5, shared=10)
    jobs = [Job(p, 14, adapter=on) for p in asked for on in (True, False)]
    said = in_slots(model, jobs, most=4)
    tuned = [one_by_one(model, p, 14) for p in asked]
    with model.disable_adapter():
        base = [one_by_one(model, p, 14) for p in asked]
    assert said[0::2] == tuned and said[1::2] == base and tuned != base


def test_the_adapter_layers_are_left_as_they_were() -> None:
    model = adapted("llama")
    before = one_by_one(model, prompts(1, shared=9)[0], 12)
    in_slots(model, [Job(p, 6, adapter=n % 2 == 0) for n, p in enumerate(prompts(5, shared=9))])
    assert one_by_one(model, prompts(1, shared=9)[0], 12) == before
    assert not [m for m in model.modules() if "forward" in m.__dict__]


def test_answers_inside_training_leave_the_forward_functions_of_training_in_place() -> None:
    model = adapted("llama")
    with lean_adapters(model) as count:
        leaned = {id(m): m.forward for m in model.modules() if "forward" in vars(m)}
        in_slots(model, [Job(p, 6) for p in prompts(3, shared=9)])
        assert {id(m): m.forward for m in model.modules() if "forward" in vars(m)} == leaned and len(leaned) == count > 0
    assert not [m for m in model.modules() if "forward" in vars(m)]


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_a_recurrent_model_does_not_fit_and_its_answers_are_made_one_by_one() -> None:
    torch.manual_seed(0)
    shape = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "pad_token_id": 0}
    model = transformers.MambaForCausalLM(transformers.MambaConfig(**shape)).eval()
    model.generation_config = GenerationConfig()
    assert fits(model).reason
    asked = prompts(3, shared=5)
    said: list[list[int]] = [[] for _ in asked]
    for made in run_plain(model, [Job(p, 10) for p in asked], lambda job, tokens: tokens[-1] == END):
        for one in made:
            said[one.job].append(one.token)
    assert said == [one_by_one(model, p, 10) for p in asked]


def test_attention_sinks_do_not_fit() -> None:
    torch.manual_seed(0)
    config = transformers.GptOssConfig(**{**SMALL, "num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 8})
    assert fits(transformers.GptOssForCausalLM(config).eval()).reason


def test_a_model_whose_memory_is_hidden_is_found_by_the_trial() -> None:
    """The planted fault: attention that looks right, but a state beside it that every forward pass changes."""
    model = make("llama")
    layer = model.model.layers[1]
    inner = layer.mlp.forward
    layer.mlp.forward = lambda x: inner(x) + x.mean(1, keepdim=True)
    assert "memory of its own" in fits(model).reason


def test_a_window_that_attention_is_not_told_is_found() -> None:
    model = make("mistral with a window")
    model.config.sliding_window = 9
    for layer in model.model.layers:
        layer.self_attn.config = make("llama").config
    assert fits(model).reason


def test_rotations_that_change_with_length_limit_what_fits() -> None:
    ropes = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    assert fits(make("llama", rope_parameters=ropes, max_position_embeddings=64)).longest == 64
    assert fits(make("llama")).longest is None
