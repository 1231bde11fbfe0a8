"""PPO computes the advantages, losses and gradients of TRL's trainer, learns a reward, and resumes to the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from fakes import examples, train_tiny
from tunesmith.core.errors import RecipeError, TrainingError
from tunesmith.models.adapters import attach
from tunesmith.models.chat import open_chat
from tunesmith.models.load import find_base, load_model
from tunesmith.models.packed.model import packed
from tunesmith.models.reach import choose_modules
from tunesmith.models.tuned import refuse_scorer
from tunesmith.train import policy
from tunesmith.train import sampled as sampled_module
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.heads import HEAD_FILES, head_of, put_head
from tunesmith.train.method import identity, open_method
from tunesmith.train.methods import ppo
from tunesmith.train.padded import PaddedModel
from tunesmith.train.samples import Group, Sample

LETTERS = "def reward(answer):\n    return sum(c.isascii() and c.isalpha() for c in answer) / 12\n"
REWARDS = [[1.0, 0.0, 0.5], [0.2, 0.9, -1.0]]
NUMBERS: dict[str, Any] = {
    "gamma": 0.98,
    "lam": 0.9,
    "value_weight": 0.3,
    "clip_value": 0.05,
    "clip_low": 0.02,
    "clip_high": 0.02,
}


# --- the formulas of TRL's PPOTrainer, as it computes them: padded rows, masks, a loop from the last token on ----------------


@dataclass(frozen=True)
class Padded:
    """Tensors of all answers (R, T), zero and False behind the end of a row."""

    log_p: torch.Tensor
    values: torch.Tensor
    mask: torch.Tensor


def computed(model: Any, groups: Sequence[Group]) -> Padded:
    """log π and value of each token of each answer, from plain transformers."""
    rows = []
    for group in groups:
        for sample in group.samples:
            ids = torch.tensor([[*group.prompt, *sample.ids]])
            out = model(input_ids=ids, output_hidden_states=True, use_cache=False)
            every = torch.log_softmax(out.logits[0, :-1].double(), -1).gather(1, ids[0, 1:, None])[:, 0]
            value = head_of(model)(out.hidden_states[-1][0].float())[:-1, 0].double()
            begin = len(group.prompt) - 1
            rows.append((every[begin:], value[begin:]))
    log_p, values = (torch.nn.utils.rnn.pad_sequence([row[n] for row in rows], batch_first=True) for n in (0, 1))
    lengths = torch.tensor([len(row[0]) for row in rows])
    return Padded(log_p, values, torch.arange(log_p.shape[1])[None] < lengths[:, None])


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (values * mask).sum() / mask.sum()


def masked_whiten(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask) * mask.sum() / (mask.sum() - 1)
    return (values - mean) * torch.rsqrt(variance + 1e-8)


def advantages_and_returns(
    old: Padded, base: Padded, scores: Sequence[float], s: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rewards = -s.beta * (old.log_p - base.log_p)
    ends = old.mask.sum(1) - 1
    rewards[torch.arange(len(ends)), ends] += torch.tensor(scores, dtype=torch.float64)
    length, last, reversed_ = rewards.shape[1], torch.zeros(len(ends), dtype=torch.float64), []
    for t in reversed(range(length)):
        next_values = old.values[:, t + 1] if t < length - 1 else 0.0
        delta = rewards[:, t] + s.gamma * next_values - old.values[:, t]
        last = delta + s.gamma * s.lam * last
        reversed_.append(last)
    advantages = torch.stack(reversed_[::-1], dim=1)
    returns = advantages + old.values
    whitened = masked_whiten(advantages, old.mask)
    return whitened.masked_fill(~old.mask, 0), returns, advantages


def trl_loss(new: Padded, old: Padded, advantages: torch.Tensor, returns: torch.Tensor, s: Any) -> torch.Tensor:
    clipped = torch.clamp(new.values, old.values - s.clip_value, old.values + s.clip_value)
    vf_loss = 0.5 * masked_mean(torch.max((new.values - returns) ** 2, (clipped - returns) ** 2), new.mask)
    ratio = torch.exp(new.log_p - old.log_p)
    pg_losses, pg_losses2 = -advantages * ratio, -advantages * torch.clamp(ratio, 1 - s.clip_low, 1 + s.clip_high)
    value_weight: float = s.value_weight
    return masked_mean(torch.max(pg_losses, pg_losses2), new.mask) + value_weight * vf_loss


# --- ours against them ------------------------------------------------------------------------------------------------


def adapted(path: Path, method: Any) -> Any:
    """The tiny base in float32 under an adapter that changes it, with a head that gives values."""
    model = load_model(find_base(str(path)), "float32")
    made, _ = attach(model, kind="lora", rank=4, alpha=8.0, dropout=0.0, modules=choose_modules(model, "all", "all"), seed=7)
    put_head(made, method, seed=7)
    torch.nn.init.normal_(next(head_of(made).parameters()), std=0.3)
    move(made)
    return made.eval()


def move(model: Any) -> None:
    """The weights a few steps later, so that ratios are not 1 and values are others."""
    draw = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            far = 0.02 if "lora_B" in name else 0.1 if "method_head" in name else 0.0
            parameter += far * torch.randn(parameter.shape, generator=draw)


def groups(chat: Any) -> list[Group]:
    """Answers of different lengths, some cut and some ended."""
    made = []
    for n, (example, rewards) in enumerate(zip(examples(2), REWARDS, strict=True)):
        prompt = tuple(chat.encode_prompt(example.prompt))
        samples = [
            Sample((*prompt[place : place + 3 + 2 * place + n], *([chat.end_ids[0]] if place % 2 else [])), "", False, (r,), r)
            for place, r in enumerate(rewards)
        ]
        made.append(Group(example, prompt, tuple(samples)))
    return made


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("beta", "updates"), [(0.2, 2), (0.0, 2), (0.2, 1)])
@pytest.mark.parametrize("reads", ["trees", "padded"])
def test_advantages_losses_and_gradients_are_those_of_trl(reads: str, beta: float, updates: int, tiny_path: Path) -> None:
    chat = open_chat(find_base(str(tiny_path)))
    options = {"rewards": [{"function": "json_valid"}], "samples": 3, "beta": beta, "updates": updates, **NUMBERS}
    method: Any = open_method("ppo", options)
    model, found = adapted(tiny_path, method), groups(chat)
    with packed(model) as lean:
        forward = ExecutionPath(lean if reads == "trees" else PaddedModel(model, chat.pad_id), reads, shares=reads == "trees")
        units = method.units(forward, found)
        with torch.no_grad():
            old = computed(model, found)
            with model.disable_adapter():
                base = computed(model, found)
        scores = [sample.reward for group in found for sample in group.samples]
        advantages, returns, plain = advantages_and_returns(old, base, scores, method.settings)
        ours, ours_returns, _ = (torch.cat(columns) for columns in zip(*map(method._columns, units), strict=True))
        assert torch.allclose(ours, advantages[old.mask], rtol=1e-5, atol=1e-5)
        assert torch.allclose(ours_returns, returns[old.mask], rtol=1e-5, atol=1e-5) and not torch.allclose(plain, advantages)
        if updates > 1:
            move(model)
        new = computed(model, found)
        before = old if updates > 1 else Padded(new.log_p.detach(), old.values, old.mask)
        expected = trl_loss(new, before, advantages, returns, method.settings)
        wanted = gradients(model, expected)
        batch = forward.batch(units)
        loss = method.loss(forward, batch) / batch.weight
        made = gradients(model, loss)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-6)
    assert "method_head.linear.weight" in wanted and any("lora_A" in name for name in wanted)
    ours_all, wanted_all = (torch.cat([found[name].flatten().double() for name in wanted]) for found in (made, wanted))
    assert float((ours_all - wanted_all).norm()) <= 1e-5 * float(wanted_all.norm())


FAULTS = {
    "no discount": (
        "generalised_advantages",
        lambda r, v, *, gamma, lam: policy.generalised_advantages(r, v, gamma=1.0, lam=lam),
    ),
    "no lambda": (
        "generalised_advantages",
        lambda r, v, *, gamma, lam: policy.generalised_advantages(r, v, gamma=gamma, lam=1.0),
    ),
    "not whitened": ("whitened", lambda values: values),
    "no half": ("clipped_value_loss", lambda *v, clip: 2 * policy.clipped_value_loss(*v, clip=clip)),
    "values not clipped": ("clipped_value_loss", lambda *v, clip: policy.clipped_value_loss(*v, clip=1e6)),
    "ratio not clipped": ("clipped_loss", lambda r, a, *, low, high: policy.clipped_loss(r, a, low=1.0, high=1e6)),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_another_formula_would_be_noticed(fault: str, tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppo, *FAULTS[fault])
    with pytest.raises(AssertionError):
        test_advantages_losses_and_gradients_are_those_of_trl("trees", 0.2, 2, tiny_path)


def test_advantages_of_a_short_answer_are_those_worked_out_by_hand() -> None:
    rewards, values = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.5, 0.2, 0.4])
    last = 1.0 - 0.4
    middle = 0.9 * 0.4 - 0.2 + 0.9 * 0.8 * last
    first = 0.9 * 0.2 - 0.5 + 0.9 * 0.8 * middle
    found = policy.generalised_advantages(rewards, values, gamma=0.9, lam=0.8)
    assert found.tolist() == pytest.approx([first, middle, last])
    assert policy.whitened(torch.tensor([3.0])).tolist() == [3.0]


# --- a run ------------------------------------------------------------------------------------------------------------


def run(base: Path, place: Path, file: Path, *, train: dict[str, Any] | None = None, **options: Any) -> Any:
    chosen = {"rewards": [{"file": str(file)}], "samples": 4, "max_new_tokens": 6, "watch": {"kl": 0}, **options}
    steps = {"max_steps": 4, "evaluate_every": 2, "checkpoint_every": 3, "learning_rate": 0.02} | (train or {})
    objective = {"kind": "ppo", "options": chosen}
    return train_tiny(base, place, objective=objective, method={"dropout": 0.0}, train=steps, rows=examples(12))


def rows(place: Path, name: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (place / "work" / f"{name}.jsonl").read_bytes().splitlines()]


def result(place: Path) -> list[str]:
    names = (
        "adapter/adapter_model.safetensors",
        *(f"adapter/{name}" for name in HEAD_FILES),
        "metrics.jsonl",
        "rollouts.jsonl",
    )
    return [hashlib.sha256((place / "out" / name).read_bytes()).hexdigest() for name in names]


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("reward") / "reward_file.py"
    file.write_text(LETTERS)
    return file


@pytest.fixture(scope="module")
def undisturbed(letters: Path, tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on each rollout, left alone."""
    place = tmp_path_factory.mktemp("undisturbed")
    run(tiny_path, place, letters, updates=2)
    return place


@pytest.mark.parametrize("call", [2, 4])
def test_a_run_whose_reward_failed_continues_to_the_same_bytes(
    call: int, undisturbed: Path, letters: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, real = [0], sampled_module.Sampler.groups

    def failing(self: Any, *arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            raise TrainingError("the judge does not answer", value="", expected="an answer", hint="start it")
        return real(self, *arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(TrainingError, match="judge"):
        patch.setattr(sampled_module.Sampler, "groups", failing)
        run(tiny_path, tmp_path, letters, updates=2)
    run(tiny_path, tmp_path, letters, updates=2)
    assert result(tmp_path) == result(undisturbed)


def test_every_answer_is_kept_with_its_reward_and_mean_advantage(undisturbed: Path) -> None:
    answers = rows(undisturbed, "rollouts")
    assert len(answers) == 2 * 4 * 4 and all(isinstance(row["advantage"], float) for row in answers)
    validations = [row for row in rows(undisturbed, "metrics") if "val_loss" in row]
    assert all({"val_explained", "val_kl", "val_reward"} <= set(row) for row in validations)
    assert validations[0]["val_explained"] == pytest.approx(0.0, abs=1e-6)  # values are zero at first
    refuse_scorer(undisturbed / "out" / "adapter")  # its model writes answers


def test_a_reward_and_its_values_are_learned(letters: Path, tiny_path: Path, tmp_path: Path) -> None:
    steps = {"max_steps": 8, "evaluate_every": 8, "learning_rate": 0.05, "schedule": "constant", "warmup": 0.0}
    made = run(tiny_path, tmp_path, letters, train=steps, samples=16, beta=0.01)
    rewards = [row["reward"] for row in rows(tmp_path, "metrics") if "loss" in row]
    assert sum(rewards[-2:]) > 1.5 * sum(rewards[:2]) and made.figures["reward"] == -made.fitted.best_loss > 0


def test_settings_of_ppo_have_their_limits_and_their_name() -> None:
    for options in ({"lam": 1.5}, {"gamma": 0}, {"clip_value": 0}, {"kl_gradient": "plain"}):
        with pytest.raises(RecipeError):
            open_method("ppo", options)
    assert identity(open_method("ppo")) == {"kind": "ppo"}
    assert identity(open_method("ppo", {"samples": 2, "lam": 0.95})) == {"kind": "ppo", "samples": 2}


def test_a_reward_that_is_always_the_same_ends_the_run(tiny_path: Path, tmp_path: Path) -> None:
    """Without an end: advantages of a constant reward differ by the place of a token alone, and whitening makes them large."""
    file = tmp_path / "constant.py"
    file.write_text("def reward(answer, reference):\n    return float(answer == reference)\n")
    with pytest.raises(TrainingError, match="never differ"):
        run(tiny_path, tmp_path / "run", file, train={"max_steps": 30, "evaluate_every": 0}, samples=2, max_new_tokens=2)
