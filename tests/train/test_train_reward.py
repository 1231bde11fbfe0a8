"""A reward model computes the published loss and gradients, learns a planted preference, and says how sure it may be."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from sklearn.metrics import brier_score_loss

from fakes import conversation, preferences, train_tiny
from tunesmith.core.errors import TrainingError
from tunesmith.core.records import Preference
from tunesmith.data.rows.example import preferences_from_ranking
from tunesmith.data.rows.read import read_entry
from tunesmith.eval.preferred import calibration_error, measure_pairs
from tunesmith.models.adapters import attach
from tunesmith.models.chat import Encoded, open_chat
from tunesmith.models.load import find_base, load_model
from tunesmith.models.packed.model import packed
from tunesmith.models.reach import choose_modules
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.heads import head_of, put_head
from tunesmith.train.method import generates, identity, open_method
from tunesmith.train.methods import reward
from tunesmith.train.padded import PaddedModel

WORDS = [
    "stone",
    "river",
    "lamp",
    "cloud",
    "apple",
    "wheel",
    "paper",
    "glass",
    "chair",
    "table",
    "north",
    "south",
    "early",
    "green",
    "quiet",
]


def planted(count: int, *, shuffled: bool = False) -> list[Preference]:
    """Pairs of random words; the word `gold` stands somewhere in the preferred answer, and nothing else tells it."""
    made = []
    for n in range(count):
        draw = random.Random(n)
        plain, marked = ([draw.choice(WORDS) for _ in range(5)] for _ in range(2))
        marked[draw.randrange(5)] = "gold"
        said = [" ".join(marked), " ".join(plain)]
        if shuffled and draw.random() < 0.5:
            said.reverse()
        about = {"document_id": f"d{n}", "group": f"d{n}", "source": "made.md"}
        made.append(
            Preference(id=f"p{n:03d}", prompt=conversation(f"Say {n}."), chosen=said[0], rejected=said[1], **about)  # type: ignore[arg-type]
        )
    return made


def moved(path: Path, method: Any) -> Any:
    """The tiny base in float32 under an adapter that changes it, with a head."""
    model = load_model(find_base(str(path)), "float32")
    modules = choose_modules(model, "all", "all")
    made, _ = attach(model, kind="lora", rank=4, alpha=8.0, dropout=0.0, modules=modules, seed=7)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=draw))
    put_head(made, method, seed=7)
    return made.eval()


def plain_scores(model: Any, chat: Any, rows: list[Preference]) -> torch.Tensor:
    """As `AutoModelForSequenceClassification` of transformers pools: padded rows, the head on the last token of each row.

    (2U,): all chosen answers, then all rejected ones, as the collator of TRL's RewardTrainer stacks them.
    """
    texts = [
        chat.render(list(row.prompt), answer_next=True) + said + "<|end|>"
        for said_of in (lambda row: row.chosen, lambda row: row.rejected)
        for row in rows
        for said in (said_of(row),)  # type: ignore[no-untyped-call]
    ]
    coded = [chat.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    longest = max(map(len, coded))
    ids = torch.tensor([row + [chat.pad_id] * (longest - len(row)) for row in coded])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in coded])
    states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states[-1]
    logits = states @ head_of(model).weight.T  # (2U, T, 1)
    last: torch.Tensor = logits[torch.arange(len(coded)), torch.tensor([len(row) - 1 for row in coded]), 0]
    return last


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("options", [{}, {"margin": 0.4}, {"centre": 0.01}])
@pytest.mark.parametrize("reads", ["trees", "padded"])
def test_loss_and_gradients_are_those_of_trls_reward_trainer(reads: str, options: dict[str, float], tiny_path: Path) -> None:
    rows = [replace(row, meta={"score_gap": f"{0.5 * n}"}) for n, row in enumerate(preferences(5))]
    method: Any = open_method("reward", options)
    chat, model = open_chat(find_base(str(tiny_path))), moved(tiny_path, method)
    chosen, rejected = plain_scores(model, chat, rows).chunk(2)
    margin = torch.tensor([options.get("margin", 0.0) * 0.5 * n for n in range(5)])
    expected = -torch.nn.functional.logsigmoid(chosen - rejected - margin).mean()  # RewardTrainer.compute_loss
    expected = expected + options.get("centre", 0.0) * torch.mean((chosen + rejected) ** 2)
    wanted = gradients(model, expected)
    assert "method_head.weight" in wanted and any("lora_A" in name for name in wanted)
    with packed(model) as lean:
        path = ExecutionPath(lean if reads == "trees" else PaddedModel(model, chat.pad_id), reads, shares=reads == "trees")
        units = method.prepare(rows, chat, max_tokens=500)
        loss = method.loss(path, path.batch(units)) / 5
        ours = gradients(model, loss)
        assert method.validate(path, units, lambda _: None)["loss"] == pytest.approx(float(loss.detach()), rel=1e-6)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for name, grad in wanted.items():
        assert float((ours[name] - grad).norm()) <= 1e-5 * float(grad.norm()) + 1e-9, name


@pytest.mark.parametrize("fault", ["swapped", "token before", "margin added"])
def test_another_formula_or_token_would_be_noticed(fault: str, tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_row, real_losses = reward.Method.score_row, reward.Method._losses
    if fault == "token before":

        def one_less(row: Encoded) -> Encoded:
            made = real_row(row)
            return Encoded(made.ids[:-1], (*(False,) * (len(made.ids) - 2), True))

        monkeypatch.setattr(reward.Method, "score_row", staticmethod(one_less))
    elif fault == "swapped":
        monkeypatch.setattr(reward.Method, "_losses", lambda self, score_U2, units: real_losses(self, score_U2.flip(1), units))
    else:
        monkeypatch.setattr(reward.Method, "_margin", lambda self, row: -self.settings.margin * float(row.meta["score_gap"]))
    with pytest.raises(AssertionError):
        test_loss_and_gradients_are_those_of_trls_reward_trainer("padded", {"margin": 0.4}, tiny_path)


def test_a_planted_preference_is_learned_on_pairs_that_were_not_trained_on(tiny_path: Path, tmp_path: Path) -> None:
    rows = planted(84)
    made = train_tiny(
        tiny_path,
        tmp_path,
        objective={"kind": "reward"},
        rows={"train": rows[:48], "val": rows[48:]},
        train={"max_steps": 18, "batch_examples": 8, "evaluate_every": 18},
    )
    log = [orjson.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_bytes().splitlines()]
    untrained = next(row for row in log if "val_accuracy" in row)
    assert untrained["val_accuracy"] < 0.8 and not any(row.get("samples") for row in log)
    assert made.figures["accuracy"] >= 0.9 and made.figures["accuracy_low"] > 0.75 and made.figures["loss"] < 0.3
    assert (tmp_path / "out" / "adapter" / "head.safetensors").is_file()


# --- margins ----------------------------------------------------------------------------------------------------------


def test_the_margin_of_a_ranking_is_the_gap_of_its_scores(tiny_path: Path) -> None:
    entry, _ = read_entry({"prompt": "Which?", "answers": ["Good.", "Fair.", "Poor."], "scores": [9, 6, 2]})
    rows, _ = preferences_from_ranking(entry, name="made")
    units = open_method("reward", {"margin": 0.5}).prepare(rows, open_chat(find_base(str(tiny_path))), max_tokens=99)
    assert [unit.signal[0] for unit in units] == [1.5, 3.5, 2.0]
    assert len({unit.signal[1] for unit in units}) == 1  # one prompt, one cluster


@pytest.mark.parametrize(
    ("meta", "gap"), [({"margin": "2"}, 2.0), ({"score_chosen": "8", "score_rejected": "5.5"}, 2.5), ({"score_gap": "0"}, 0.0)]
)
def test_the_margin_of_a_preference_row_is_read_from_its_columns(meta: dict[str, str], gap: float, tiny_path: Path) -> None:
    (row,) = preferences(1)
    (unit,) = open_method("reward", {"margin": 1}).prepare(
        [replace(row, meta=meta)], open_chat(find_base(str(tiny_path))), max_tokens=99
    )
    assert unit.signal[0] == gap


@pytest.mark.parametrize("meta", [{}, {"score_gap": "much"}, {"margin": "-1"}, {"score_gap": "nan"}, {"score_chosen": "3"}])
def test_a_row_without_a_usable_rating_is_refused_where_the_margin_needs_one(meta: dict[str, str], tiny_path: Path) -> None:
    (row,) = preferences(1)
    with pytest.raises(TrainingError, match=r"objective\.margin needs to know") as caught:
        open_method("reward", {"margin": 1}).prepare(
            [replace(row, meta=meta)], open_chat(find_base(str(tiny_path))), max_tokens=99
        )
    (problem,) = caught.value.problems
    assert row.id in str(problem.value) and problem.expected and problem.hint


def test_rows_of_one_prompt_or_one_document_are_one_cluster(tiny_path: Path) -> None:
    one, two, three, four = preferences(4)
    rows = [one, replace(two, prompt=one.prompt), replace(three, group=two.group), four]
    units = open_method("reward").prepare(rows, open_chat(find_base(str(tiny_path))), max_tokens=99)
    assert [unit.signal[1] for unit in units] == [0, 0, 0, 1]


def test_a_cut_row_takes_no_more_tokens_than_it_may(tiny_path: Path) -> None:
    units = open_method("reward").prepare(preferences(3), open_chat(find_base(str(tiny_path))), max_tokens=30)
    assert all(len(row.ids) <= 30 and sum(row.learned) == 1 and row.learned[-1] for unit in units for row in unit.rows)


# --- figures ----------------------------------------------------------------------------------------------------------


def test_figures_of_pairs_are_those_worked_out_by_hand() -> None:
    found = measure_pairs([2.0, -1.0, 0.5, 0.0], ["a", "a", "b", "c"])
    assert found.accuracy.count == 2 and found.accuracy.share == pytest.approx((0.5 + 1 + 0) / 3)  # a tie is not right
    p = [1 / (1 + math.exp(-d)) for d in (2.0, -1.0, 0.5, 0.0)]
    assert found.loss == pytest.approx(-sum(map(math.log, p)) / 4)
    assert found.brier == pytest.approx(brier_score_loss([1] * 4, p))
    # bins of width 0.05 from 0.5: sure 0.881, 0.731, 0.622 and 0.5, each alone in its own
    assert found.calibration == pytest.approx((1 - p[0] + 0.7310586 + 1 - p[2] + 0.0) / 4)


def test_calibration_is_low_for_chances_that_are_right_and_high_for_boasting() -> None:
    draw = random.Random(7)
    true = [draw.choice([0.3, 1.0, 2.0]) for _ in range(6000)]
    honest = [d if draw.random() < 1 / (1 + math.exp(-d)) else -d for d in true]
    assert calibration_error(honest) < 0.02
    assert calibration_error([5 * d for d in honest]) > 0.15


def test_extreme_scores_give_finite_figures() -> None:
    found = measure_pairs([1e4, -1e4], ["a", "b"])
    assert found.loss == pytest.approx(5e3) and found.brier == pytest.approx(0.5) and found.calibration == pytest.approx(0.5)


def test_a_reward_model_writes_no_answers_and_is_named_by_its_settings() -> None:
    assert not generates(open_method("reward")) and generates(open_method("dpo"))
    assert identity(open_method("reward")) == {"kind": "reward"}
    assert identity(open_method("reward", {"margin": 0.5})) == {"kind": "reward", "margin": 0.5}
