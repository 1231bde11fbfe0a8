"""Methods that sample: a run is a pure function of its seed, its formulas are the published ones, bad rewards are refused."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from fakes import Told, examples, train_tiny
from tunesmith.core.errors import RecipeError, TrainingError
from tunesmith.core.records import Example, Message
from tunesmith.models.adapters import attach
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.generate import Request, Sampling, answer
from tunesmith.models.load import find_base, load_model
from tunesmith.models.packed.model import packed
from tunesmith.models.reach import choose_modules
from tunesmith.train import sampled as sampled_module
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.hacking import hacked, read_rewards
from tunesmith.train.method import identity, open_method
from tunesmith.train.padded import PaddedModel
from tunesmith.train.policy import group_advantages, leave_one_out
from tunesmith.train.rewards.opening import open_rewards, try_rewards
from tunesmith.train.rewards.reward import Asked
from tunesmith.train.rewards.settings import RewardConfig, WatchConfig, labels_of
from tunesmith.train.rollouts import RolloutFiles
from tunesmith.train.samples import Group, Sample
from tunesmith.train.units import Unit

LETTERS = "def reward(answer):\n    return sum(c.isascii() and c.isalpha() for c in answer) / 12\n"
STEPS = {"max_steps": 4, "evaluate_every": 2, "checkpoint_every": 3, "learning_rate": 0.02}


def recipe(file: Path, **more: Any) -> dict[str, Any]:
    """The options of a method whose reward is the file."""
    return {"rewards": [{"file": str(file)}], "samples": 4, "max_new_tokens": 10, **more}


def reward_file(folder: Path, text: str = LETTERS) -> Path:
    file = folder / "reward_file.py"
    file.write_text(text)
    return file


def run(base: Path, place: Path, file: Path, *, kind: str = "grpo", train: dict[str, Any] | None = None, **options: Any) -> Any:
    objective = {"kind": kind, "options": recipe(file, **options)}
    return train_tiny(base, place, objective=objective, method={"dropout": 0.0}, train=STEPS | (train or {}), rows=examples(12))


def result(place: Path) -> list[str]:
    names = ("adapter/adapter_model.safetensors", "metrics.jsonl", "rollouts.jsonl")
    return [hashlib.sha256((place / "out" / name).read_bytes()).hexdigest() for name in names]


def rows(place: Path, name: str = "metrics") -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (place / "work" / f"{name}.jsonl").read_bytes().splitlines()]


# --- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on each rollout, left alone."""
    place = tmp_path_factory.mktemp("undisturbed")
    run(tiny_path, place, reward_file(place), updates=2)
    return place


def test_every_answer_is_kept_with_every_reward(undisturbed: Path) -> None:
    answers = rows(undisturbed, "rollouts")
    assert len(answers) == 2 * 4 * 4 and {row["rollout"] for row in answers} == {0, 1}
    for row in answers:
        letters = sum(c.isascii() and c.isalpha() for c in row["answer"]) / 12
        assert row["rewards"] == {"reward": pytest.approx(letters)} and row["reward"] == pytest.approx(letters)
    steps = [row for row in rows(undisturbed) if "loss" in row]
    first = [row["reward"] for row in answers if row["rollout"] == 0]
    assert steps[0]["reward"] == steps[1]["reward"] == pytest.approx(sum(first) / len(first))


@pytest.mark.parametrize("call", [2, 3, 4, 7])
def test_a_run_whose_reward_failed_continues_to_the_same_bytes(
    call: int, undisturbed: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether in the middle of the steps on one rollout or not: what is done stays, and what follows is the same."""
    file = reward_file(undisturbed)  # the same file, as its path is a setting
    calls = 0
    real = sampled_module.Sampler.groups

    def failing(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise TrainingError("the judge does not answer", value="", expected="an answer", hint="start it")
        return real(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(sampled_module.Sampler, "groups", failing)
        if call <= 5:
            with pytest.raises(TrainingError, match="judge"):
                run(tiny_path, tmp_path, file, updates=2)
    run(tiny_path, tmp_path, file, updates=2)
    assert result(tmp_path) == result(undisturbed)


def test_answers_that_are_already_there_are_read_unless_the_weights_are_others(
    undisturbed: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = reward_file(undisturbed)
    run(tiny_path, tmp_path, file, updates=2)
    drawn: list[int] = []
    real = sampled_module.Sampler.groups

    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        drawn.append(named["samples"])
        return real(self, *arguments, **named)

    monkeypatch.setattr(sampled_module.Sampler, "groups", counted)
    for folder in ("checkpoints", "metrics.jsonl"):  # as after a kill before the first checkpoint
        path = tmp_path / "work" / folder
        path.rename(tmp_path / folder)
    run(tiny_path, tmp_path, file, updates=2)
    assert drawn.count(4) == 0 and result(tmp_path) == result(undisturbed)
    numbers = tmp_path / "work" / "rollouts" / "00000001.json"
    numbers.write_bytes(numbers.read_bytes().replace(b'"weights":"', b'"weights":"0', 1))
    for folder in ("checkpoints", "metrics.jsonl"):
        (tmp_path / "work" / folder).rename(tmp_path / f"{folder}.2")
    run(tiny_path, tmp_path, file, updates=2)
    assert drawn.count(4) == 1 and result(tmp_path) == result(undisturbed)


def test_a_reward_is_learned_by_each_method(tiny_path: Path, tmp_path: Path) -> None:
    file = reward_file(tmp_path)
    steps = {"max_steps": 8, "evaluate_every": 4, "learning_rate": 0.05, "schedule": "constant", "warmup": 0.0}
    short = {"samples": 16, "max_new_tokens": 6, "beta": 0, "watch": {"kl": 0}}
    for kind in ("grpo", "rloo"):
        made = run(tiny_path, tmp_path / kind, file, kind=kind, train=steps, **short)
        rewards = [row["reward"] for row in rows(tmp_path / kind) if "loss" in row]
        assert sum(rewards[-2:]) > 1.5 * sum(rewards[:2])
        assert made.figures["reward"] == -made.fitted.best_loss > 0


def test_a_reward_that_is_hacked_ends_the_run_with_the_weights_before(tiny_path: Path, tmp_path: Path) -> None:
    """Planted: the reward counts characters, so one letter again and again earns the most."""
    told = Told()
    place, file = tmp_path / "run", reward_file(tmp_path, "def reward(answer):\n    return len(answer) / 10\n")
    objective = {"kind": "grpo", "options": recipe(file, samples=8, max_new_tokens=24, watch={"kl": 0})}
    made = train_tiny(
        tiny_path,
        place,
        objective=objective,
        method={"dropout": 0.0},
        train={"max_steps": 40, "evaluate_every": 4, "learning_rate": 0.02, "batch_examples": 8},
        rows=examples(30),
        reporter=told,
    )
    events = [row for row in rows(place) if row.get("event") == "reward_hacked"]
    assert len(events) == 1 and made.reading.shape == "reward hacked" and made.fitted.stopped_early
    assert made.fitted.num_steps == events[0]["step"] < 40 and made.fitted.best_step < events[0]["step"]
    assert any("repeat themselves" in warning and "best weights before" in warning for warning in told.warnings)


# --- the watch --------------------------------------------------------------------------------------------------------


def validation(**figures: float) -> dict[str, float]:
    usual = {
        "reward": 0.2,
        "reward_low": 0.1,
        "kl": 0.0,
        "length": 40.0,
        "repetition": 0.0,
        "ended": 0.75,
        "reward_second": 0.5,
    }
    return {f"val_{name}": value for name, value in (usual | figures).items()}


SECOND = [RewardConfig(function="json_valid", name="first"), RewardConfig(function="json_valid", name="second", weight=0)]


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"length": 90.0}, "2.2 times as long"),
        ({"length": 60.0, "ended": 0.1}, "only 10% of the answers end by themselves (75% before)"),
        ({"kl": 3.5}, "3.5 nats per token away"),
        ({"repetition": 0.5}, "50% of the answers repeat"),
        ({"reward_second": 0.3}, "second, which is not trained on, fell from 0.5 to 0.3"),
        ({"length": 70.0, "kl": 2.0, "repetition": 0.2, "ended": 0.5, "reward_second": 0.45}, ""),
        ({"length": 90.0, "reward_low": 0.15}, ""),  # the reward did not rise by more than chance
        ({"length": 10.0}, ""),
    ],
)
def test_a_rising_reward_is_doubted_for_a_reason_alone(figures: dict[str, float], reason: str) -> None:
    last = validation(reward=0.8, reward_first=0.8, **({"reward_low": 0.7} | figures))
    event = hacked([validation(reward_first=0.2), last], WatchConfig(), SECOND)
    assert (event is None) == (not reason) and (event is None or reason in event.text)
    shape = read_rewards([validation(reward_first=0.2), last], WatchConfig(), SECOND).shape
    assert shape == ("reward hacked" if reason else "nothing learned" if "reward_low" in figures else "learning")
    off = WatchConfig(length=0, ended=0, kl=0, repetition=0, second=0)
    assert hacked([validation(reward_first=0.2), last], off, SECOND) is None


# --- bad rewards ------------------------------------------------------------------------------------------------------

BROKEN = {
    "it cannot be imported": ("import nothing_of_this_name\n", "cannot be used", "nothing_of_this_name"),
    "it has no such function": ("def other(answer):\n    return 1.0\n", "cannot be used", "no function 'reward'"),
    "it wants what there is not": ("def reward(answer, teacher):\n    return 1.0\n", "cannot be used", "teacher"),
    "it raises": ("def reward(answer):\n    return 1 / len(answer)\n", "failed", "ZeroDivisionError"),
    "it gives no number": ("def reward(answer):\n    return None if 'a' in answer else 1.0\n", "failed", "gave None"),
    "it gives NaN": ("def reward(answer):\n    return float('nan') if not answer else 1.0\n", "not a number", "nan"),
    "it is constant": ("def reward(answer):\n    return 0.5\n", "is constant", "0.5 for"),
    "its process ends": ("import os\n\ndef reward(answer):\n    os._exit(3)\n", "failed", "its process ended"),
    "it hangs": ("def reward(answer):\n    while True:\n        pass\n", "did not answer in time", "0.5 s"),
}


@pytest.mark.parametrize("fault", list(BROKEN))
def test_a_broken_reward_is_refused_before_anything_is_trained(fault: str, tmp_path: Path) -> None:
    text, what, value = BROKEN[fault]
    config = RewardConfig(file=str(reward_file(tmp_path, text)), seconds=0.5 if fault == "it hangs" else 60)
    with pytest.raises(TrainingError) as caught:
        rewards = open_rewards([config], train=(), seed=7)
        try:
            try_rewards(rewards, examples(4))
        finally:
            rewards.close()
    problem = caught.value.problems[0]
    assert what in problem.what and value in str(problem.value) and problem.expected and problem.hint


def test_a_good_reward_passes_the_trial_and_prints_as_it_likes(tmp_path: Path) -> None:
    text = (
        "def score(reference, answer, **rest):\n    print('hello')\n    return answer == reference and bool(rest['prompt'])\n"
    )
    config = RewardConfig(file=str(reward_file(tmp_path, text)), name="score")
    rewards = open_rewards([config, RewardConfig(function="tunesmith.eval.metrics.json_valid", weight=0)], train=(), seed=7)
    try:
        try_rewards(rewards, examples(4))
        assert rewards.labels == ("score", "json_valid") and rewards.total((1.0, 5.0)) == 1.0
    finally:
        rewards.close()


def test_a_metric_with_an_argument_is_a_reward() -> None:
    rewards = open_rewards([RewardConfig(function="json_field:order.id")], train=(), seed=7)
    try:
        prompt = (Message(role="user", content="Cancel 7."),)
        said = [
            Asked("1", prompt, text, '{"order": {"id": 7}}')
            for text in ('{"order": {"id": 7}, "more": 1}', '{"order": {"id": 8}}', "no")
        ]
        assert [number for (number,) in rewards.score(said)] == [1.0, 0.0, 0.0]
    finally:
        rewards.close()


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        ({}, "exactly one of"),
        ({"function": "json_valid", "file": "x.py"}, "exactly one of"),
        ({"address": "http://127.0.0.1:9/v1"}, "model"),
        ({"address": "http://me:secret@host/v1", "model": "m"}, "without user name"),
        ({"voice": "loud"}, "voice: training"),
        ({"function": "json_valid", "wait": 1}, "setting"),
    ],
)
def test_a_reward_that_is_set_wrongly_is_an_error_in_the_recipe(reward: dict[str, Any], expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        open_method("grpo", {"rewards": [reward]})
    assert expected in str(caught.value) and all(p.hint for p in caught.value.problems)


def test_a_method_that_samples_needs_a_reward_that_counts(tiny_path: Path, tmp_path: Path) -> None:
    for kind, rewards in (("grpo", []), ("rloo", [{"function": "json_valid", "weight": 0}])):
        with pytest.raises(TrainingError, match="no reward") as caught:
            train_tiny(tiny_path, tmp_path, objective={"kind": kind, "options": {"rewards": rewards}})
        assert "objective.rewards" in caught.value.problems[0].hint


def test_a_changed_reward_file_makes_another_run(tmp_path: Path) -> None:
    before = identity(open_method("grpo", recipe(reward_file(tmp_path))))
    again = identity(open_method("grpo", recipe(reward_file(tmp_path))))
    changed = identity(open_method("grpo", recipe(reward_file(tmp_path, LETTERS + "\n"))))
    assert before == again != changed


def test_two_rewards_of_one_name_are_told_apart() -> None:
    assert labels_of([RewardConfig(function="json_valid")] * 2 + [RewardConfig(file="a b.py", name="x-y")]) == [
        "json_valid",
        "json_valid_2",
        "x_y",
    ]


def test_rewards_that_never_differ_end_the_run(tiny_path: Path, tmp_path: Path) -> None:
    file = reward_file(tmp_path, "def reward(answer, reference):\n    return float(answer == reference)\n")
    with pytest.raises(TrainingError, match="never differ") as caught:
        run(tiny_path, tmp_path / "run", file, train={"max_steps": 30, "evaluate_every": 0}, samples=2, max_new_tokens=2)
    assert "objective.samples" in caught.value.problems[0].hint


def test_updates_with_dropout_and_prompts_without_room_are_refused(tiny_path: Path, tmp_path: Path) -> None:
    file = reward_file(tmp_path)
    with pytest.raises(TrainingError, match="without dropout"):
        train_tiny(tiny_path, tmp_path / "a", objective={"kind": "grpo", "options": recipe(file, updates=2)})
    with pytest.raises(TrainingError, match="leaves no room") as caught:
        run(tiny_path, tmp_path / "b", file, max_new_tokens=100_000)
    assert "max_new_tokens=" in caught.value.problems[0].hint


# --- the formulas -----------------------------------------------------------------------------------------------------


def adapted(path: Path) -> Any:
    """The tiny base in float32 under an adapter that changes it."""
    model = load_model(find_base(str(path)), "float32")
    made, _ = attach(model, kind="lora", rank=4, alpha=8.0, dropout=0.0, modules=choose_modules(model, "all", "all"), seed=7)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=draw))
    return made.eval()


def groups(chat: Chat, model: Any, rewards: Sequence[Sequence[float]]) -> list[Group]:
    """Answers of different lengths, some cut and some ended, with these rewards."""
    made = []
    for n, (example, own) in enumerate(zip(examples(len(rewards)), rewards, strict=True)):
        prompt = tuple(chat.encode_prompt(example.prompt))
        samples = [
            Sample(
                (*prompt[place : place + 3 + 2 * place + n], *([chat.end_ids[0]] if place % 2 else [])),
                "",
                bool(place % 2),
                (r,),
                r,
            )
            for place, r in enumerate(own)
        ]
        made.append(Group(example, prompt, tuple(samples)))
    return made


def answer_log_probs(model: Any, group: Group) -> list[torch.Tensor]:
    """log p of the tokens of each answer, from plain logits of transformers."""
    found = []
    for sample in group.samples:
        ids = torch.tensor([[*group.prompt, *sample.ids]])
        log_p = torch.log_softmax(model(input_ids=ids).logits[0, :-1].double(), -1)
        found.append(log_p.gather(1, ids[0, 1:, None])[len(group.prompt) - 1 :, 0])
    return found


def published(
    model: Any, found: Sequence[Group], old: list[list[torch.Tensor]], base: list[list[torch.Tensor]], s: Any
) -> torch.Tensor:
    """The objective of GRPO and its relatives, answer by answer and token by token, as their papers write it."""
    means: list[torch.Tensor] = []
    tokens: list[torch.Tensor] = []
    everything = [sample.reward for group in found for sample in group.samples]
    spread_of_all = torch.tensor(everything).double().std()
    for group, old_group, base_group in zip(found, old, base, strict=True):
        rewards = torch.tensor([sample.reward for sample in group.samples]).double()
        scales = {"group": rewards.std() + 1e-4, "batch": spread_of_all + 1e-4, "none": torch.tensor(1.0)}
        scale: torch.Tensor = scales[s.scale]
        advantages = (rewards - rewards.mean()) / scale
        for log_p, before, reference, a in zip(answer_log_probs(model, group), old_group, base_group, advantages, strict=True):
            ratio = (log_p - before).exp() if s.ratio == "token" else (log_p - before).mean().exp().expand(len(log_p))
            per_token = -torch.min(ratio * a, ratio.clamp(1 - s.clip_low, 1 + s.clip_high) * a)
            kl = (reference - log_p).exp() - (reference - log_p) - 1
            per_token = per_token + s.beta * (kl * ratio if s.kl_gradient == "unbiased" else kl)
            tokens.append(per_token)
            means.append(per_token.mean())
    if s.mean == "answer":
        return torch.stack(means).mean()
    total = torch.cat(tokens).sum()
    return total / (sum(map(len, tokens)) if s.mean == "token" else len(means) * s.max_new_tokens)


def gradient(model: Any, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def moved(model: Any) -> None:
    """The weights a few steps later, so that ratios are not 1."""
    draw = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter += 0.02 * torch.randn(parameter.shape, generator=draw)


REWARDS = [[1.0, 0.0, 0.5, 0.0], [0.0, 0.2, 0.9, 1.0]]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta": 0.3, "mean": "answer"},
        {"beta": 0.3, "kl_gradient": "plain"},
        {"scale": "none", "mean": "limit"},
        {"scale": "batch", "updates": 2, "clip_low": 0.02, "clip_high": 0.05},
        {"ratio": "answer", "mean": "answer", "updates": 2, "clip_low": 0.01, "clip_high": 0.01, "beta": 0.1},
    ],
)
@pytest.mark.parametrize("path", ["trees", "padded"])
def test_grpo_is_the_published_objective_with_each_correction(path: str, options: dict[str, Any], tiny_path: Path) -> None:
    base = find_base(str(tiny_path))
    chat, model = open_chat(base), adapted(tiny_path)
    method: Any = open_method("grpo", {"rewards": [{"function": "json_valid"}], "samples": 4, "max_new_tokens": 32, **options})
    found = groups(chat, model, REWARDS)
    with packed(model) as lean:
        forward = ExecutionPath(lean if path == "trees" else PaddedModel(model, chat.pad_id), path, shares=path == "trees")
        units = method.units(forward, found)
        with torch.no_grad():
            old = [answer_log_probs(model, group) for group in found]
            with model.disable_adapter():
                reference = [answer_log_probs(model, group) for group in found]
        if method.draws.updates > 1:
            moved(model)
        else:
            old = [[row.detach() for row in answer_log_probs(model, group)] for group in found]
        batch = forward.batch(units)
        expected = published(model, found, old, reference, method.settings)
        wanted = gradient(model, expected)
        loss = method.loss(forward, batch) / batch.weight
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-6, rel=1e-5)
    assert float((gradient(model, loss) - wanted).norm()) <= 1e-4 * float(wanted.norm())


@pytest.mark.parametrize(("beta", "updates"), [(0.0, 1), (0.2, 2)])
def test_rloo_is_the_published_objective(beta: float, updates: int, tiny_path: Path) -> None:
    base = find_base(str(tiny_path))
    chat, model = open_chat(base), adapted(tiny_path)
    options = {"rewards": [{"function": "json_valid"}], "beta": beta, "updates": updates, "clip_low": 0.05, "clip_high": 0.05}
    method: Any = open_method("rloo", options)
    found = groups(chat, model, REWARDS)
    with packed(model) as lean:
        forward = ExecutionPath(lean, "trees", shares=True)
        units = method.units(forward, found)
        with torch.no_grad():
            old = [[row.sum() for row in answer_log_probs(model, group)] for group in found]
            with model.disable_adapter():
                reference = [[row.sum() for row in answer_log_probs(model, group)] for group in found]
        if updates > 1:
            moved(model)
        expected = torch.zeros((), dtype=torch.float64)
        for group, before, far in zip(found, old, reference, strict=True):
            rewards = [s.reward - beta * float(b - f) for s, b, f in zip(group.samples, before, far, strict=True)]
            for place, row in enumerate(answer_log_probs(model, group)):
                a = rewards[place] - (sum(rewards) - rewards[place]) / (len(rewards) - 1)
                ratio = (row.sum() - before[place]).exp()
                expected = expected - torch.min(ratio * a, ratio.clamp(0.95, 1.05) * a) / 8
        wanted = gradient(model, expected)
        batch = forward.batch(units)
        loss = method.loss(forward, batch) / batch.weight
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=5e-6, rel=1e-5)
    assert float((gradient(model, loss) - wanted).norm()) <= 1e-4 * float(wanted.norm())


def test_prompts_without_an_advantage_are_left_out_and_still_count(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exact: the same losses and gradient norms as with everything computed."""
    file = reward_file(tmp_path, "def reward(answer):\n    return float('e' in answer)\n")
    run(tiny_path, tmp_path / "lean", file, samples=3)
    monkeypatch.setattr(sampled_module.SampledBatches, "_cut", whole)
    run(tiny_path, tmp_path / "whole", file, samples=3)
    lean, full = ([row for row in rows(tmp_path / name) if "loss" in row] for name in ("lean", "whole"))
    assert any(0 < row["idle"] < 1 for row in lean) and sum(r["learned"] for r in lean) < sum(r["learned"] for r in full)
    for name in ("loss", "grad_norm", "reward"):  # as long as no rounding has changed a token
        assert [r[name] for r in lean] == pytest.approx([r[name] for r in full], rel=1e-3, abs=1e-6), name


def whole(self: Any, units: Sequence[Unit]) -> Any:
    path = self._sampler.path
    from tunesmith.train.batches import Batches, Sizes

    return Batches(units, sizes=Sizes(examples=len(units)), seed=0, most_tokens=10**6, lay_out=path.batch)


def test_advantages_are_those_of_the_papers() -> None:
    rewards = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 0.0]])
    first = torch.tensor([-2.0, -1.0, 3.0])
    assert torch.allclose(group_advantages(rewards, "none")[0], first)
    assert torch.allclose(group_advantages(rewards, "group")[0], first / (math.sqrt(7) + 1e-4))
    assert not group_advantages(rewards, "group")[1].any()
    assert torch.allclose(leave_one_out(rewards)[0], torch.tensor([-3.0, -1.5, 4.5]))


# --- rollouts on disk -------------------------------------------------------------------------------------------------


def test_a_rollout_reads_back_as_it_was_and_a_damaged_one_not(tmp_path: Path) -> None:
    example: Example = examples(1)[0]
    samples = (Sample((5, 6), "ab", True, (0.1,), 0.1), Sample((5,), "a", False, (1 / 3,), 1 / 3))
    group = Group(example, (1, 2, 3), samples)
    unit = Unit(group.rows, 3, (0.25, 1e-9), (0.5, -0.5, -1 / 3), answers=samples)
    files = RolloutFiles(tmp_path, keep=2, labels=["r"])
    for number in range(4):
        files.write(number, "weights", [group], [unit])
    assert files.read(3, "weights") == [unit] == files.read(3, None)
    assert files.read(3, "others") is None and files.read(1, None) is None and files.read(9, None) is None
    numbers = tmp_path / "00000003.json"
    numbers.write_bytes(numbers.read_bytes().replace(b"0.25", b"0.26"))
    assert files.read(3, None) is None
    files.collect(4, tmp_path / "all.jsonl")
    assert len((tmp_path / "all.jsonl").read_bytes().splitlines()) == 8


def test_the_end_token_of_an_answer_is_known(tiny_path: Path) -> None:
    base = find_base(str(tiny_path))
    chat, model = open_chat(base), load_model(base, "float32").eval()
    asked = [
        Request(messages=examples(1)[0].prompt, max_new_tokens=60, sampling=Sampling(temperature=1.0), number=n)
        for n in range(8)
    ]
    made = answer(model, chat, asked, batch_examples=8, context=base.context)
    assert {one.end_id is None for one in made} == {True, False}
    for one in made:
        assert (one.end_id in chat.end_ids) == (one.finish_reason == "stop")
        assert one.num_tokens == len(one.ids or ()) + (one.end_id is not None)
