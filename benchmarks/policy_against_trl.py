"""Losses and gradients of GRPO with each correction and of RLOO on fixed answers: Tunesmith's and TRL's.

Usage: python benchmarks/policy_against_trl.py [--base apprentice] [--record]        (needs `pip install trl`)

Both get the same base under the same adapter with drawn weights, in float32 without dropout, the same answers (token ids of two
prompts, eight answers each, of different lengths) and the same rewards. TRL tokenises the prompts, pads, makes advantages, old
and reference log-probabilities and the loss with its own trainers; nothing of Tunesmith takes part in that.
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

import torch

from against_trl import adapted, base_as_reference, compared, conclude, gradient
from tunesmith.core.records import Example, Message
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base
from tunesmith.models.packed.model import packed
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.method import open_method
from tunesmith.train.samples import Group, Sample

_SAMPLES, _LONGEST = 8, 24
_CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    # name, method, our settings, TRL's
    ("GRPO, mean over tokens (DAPO)", "grpo", {}, {"loss_type": "dapo"}),
    ("GRPO, mean over answers", "grpo", {"mean": "answer"}, {"loss_type": "grpo"}),
    ("Dr. GRPO", "grpo", {"mean": "limit", "scale": "none"}, {"loss_type": "dr_grpo", "scale_rewards": "none"}),
    ("GRPO, scaled by the batch", "grpo", {"scale": "batch"}, {"loss_type": "dapo", "scale_rewards": "batch"}),
    ("GRPO, beta 0.1", "grpo", {"beta": 0.1}, {"loss_type": "dapo", "beta": 0.1}),
    (
        "GRPO, beta 0.1, plain gradient",
        "grpo",
        {"beta": 0.1, "kl_gradient": "plain"},
        {"loss_type": "dapo", "beta": 0.1, "use_bias_correction_kl": False},
    ),
    (
        "GRPO, second update, clip-higher",
        "grpo",
        {"updates": 2, "clip_low": 0.05, "clip_high": 0.1},
        {"loss_type": "dapo", "num_iterations": 2, "epsilon": 0.05, "epsilon_high": 0.1},
    ),
    (
        "GSPO, second update",
        "grpo",
        {"updates": 2, "ratio": "answer", "mean": "answer", "clip_low": 0.01, "clip_high": 0.02, "beta": 0.05},
        {
            "loss_type": "grpo",
            "num_iterations": 2,
            "importance_sampling_level": "sequence",
            "epsilon": 0.01,
            "epsilon_high": 0.02,
            "beta": 0.05,
        },
    ),
    ("RLOO, beta 0.05", "rloo", {"beta": 0.05}, {"beta": 0.05}),
    (
        "RLOO, second update",
        "rloo",
        {"beta": 0.05, "updates": 2, "clip_low": 0.1, "clip_high": 0.1},
        {"beta": 0.05, "num_iterations": 2, "epsilon": 0.1},
    ),
]


def work(chat: Chat) -> list[Group]:
    """Two prompts with answers of 4 to 24 tokens, every second one ended; rewards between 0 and 1."""
    draw = torch.Generator().manual_seed(3)
    groups = []
    for n, thing in enumerate(("kettle", "ladder of the old house")):
        question = Message(role="user", content=f"Tell me about the {thing}.")
        example = Example(
            id=str(n),
            messages=(question, Message(role="assistant", content="It waits.")),
            document_id=str(n),
            group=str(n),
            source="made",
        )
        prompt = tuple(chat.encode_prompt(example.prompt))
        vocabulary = sorted(set(prompt))
        samples = []
        for place in range(_SAMPLES):
            size = 4 + (7 * place + 3 * n) % (_LONGEST - 4)
            words = [vocabulary[int(i)] for i in torch.randint(len(vocabulary), (size,), generator=draw)]
            words = [word if word not in chat.end_ids else vocabulary[0] for word in words]
            reward = float(torch.rand((), generator=draw))
            ids = (*words, chat.end_ids[0]) if place % 2 else tuple(words)
            samples.append(Sample(ids, "", bool(place % 2), (reward,), reward))
        groups.append(Group(example, prompt, tuple(samples)))
    return groups


def move(model: Any) -> None:
    """The weights after a first update."""
    draw = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B.default" in name:
                parameter += (0.01 * torch.randn(parameter.shape, generator=draw)).to(parameter)


def ours(base: Any, groups: list[Group], kind: str, settings: dict[str, Any]) -> tuple[float, torch.Tensor]:
    """Loss and gradient on token trees."""
    model = adapted(base)
    rewards = [{"function": "json_valid"}]
    method: Any = open_method(kind, {"rewards": rewards, "samples": _SAMPLES, "max_new_tokens": _LONGEST, **settings})
    with packed(model) as lean:
        path = ExecutionPath(lean, "token trees", shares=True)
        units = method.units(path, groups)
        if method.draws.updates > 1:
            move(model)
        batch = path.batch(units)
        loss = method.loss(path, batch) / batch.weight
        return float(loss.detach()), gradient(model, loss)


def theirs(
    base: Any, chat: Chat, groups: list[Group], kind: str, settings: dict[str, Any], *, exact: bool = False
) -> tuple[float, torch.Tensor]:
    """Loss and gradient of TRL's trainer for the same answers and rewards; `exact` computes them in float64."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    prompts = [chat.render(group.example.prompt, answer_next=True) for group in groups]
    rewards = [sample.reward for group in groups for sample in group.samples]
    answers = [list(sample.ids) for group in groups for sample in group.samples]
    config, trainer_class = (GRPOConfig, GRPOTrainer) if kind == "grpo" else (RLOOConfig, RLOOTrainer)
    model = adapted(base).double() if exact else adapted(base)
    tokenizer = chat.tokenizer
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(chat.end_ids[0])
    trainer = trainer_class(
        model=model,
        reward_funcs=lambda prompts, completions, **_: rewards,
        args=config(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=len(answers),
            num_generations=_SAMPLES,
            max_completion_length=_LONGEST,
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_dropout=True,
            **settings,
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
        processing_class=tokenizer,
    )
    base_as_reference(trainer.model)
    trainer._generate_single_turn = lambda *given, **named: (answers, None) if kind == "grpo" else answers
    trainer.current_gradient_accumulation_steps = 1
    rows = [{"prompt": prompt} for prompt in prompts for _ in range(_SAMPLES)]
    trainer.model.train()
    inputs = trainer._generate_and_score_completions(rows)
    if settings.get("num_iterations", 1) > 1:
        move(trainer.model)
    loss = trainer._compute_loss(trainer.model, inputs)
    return float(loss.detach()), gradient(trainer.model, loss)


def main() -> None:
    """Compare all cases; fails above 1e-5, or for gradients above three times the rounding of TRL itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="apprentice")
    parser.add_argument("--record", action="store_true", help="write a dated result file")
    chosen = parser.parse_args()
    base = find_base(chosen.base)
    chat = open_chat(base)
    groups = work(chat)
    found: list[dict[str, Any]] = []
    for name, kind, settings, peers in _CASES:
        given = (base, chat, groups, kind, peers)
        found.append(compared(name, ours(base, groups, kind, settings), theirs(*given), theirs(*given, exact=True)))
    conclude("policy-against-trl", base.name, found, record=chosen.record)


if __name__ == "__main__":
    main()
