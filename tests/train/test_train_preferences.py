"""The relatives of DPO compute the published losses and gradients, whatever parts a batch is learned in, and learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from fakes import preferences, train_tiny
from tunesmith.core.errors import RecipeError
from tunesmith.models.adapters import attach
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base, load_model
from tunesmith.models.packed.model import packed
from tunesmith.models.reach import choose_modules
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.formulas import log_odds
from tunesmith.train.method import identity, open_method
from tunesmith.train.padded import PaddedModel
from tunesmith.train.units import Unit

E = 0.2  # label smoothing


@dataclass(frozen=True)
class Answer:
    """What plain transformers give of one answer: Σ log π with gradient, the same of the base, and the number of tokens."""

    log_p: torch.Tensor
    base: torch.Tensor
    tokens: int

    @property
    def ratio(self) -> torch.Tensor:
        return self.log_p - self.base

    @property
    def mean(self) -> torch.Tensor:
        return self.log_p / self.tokens


def sigmoid(x: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + torch.exp(-x))


def cdpo(c: Answer, r: Answer) -> torch.Tensor:
    margin = 0.3 * (c.ratio - r.ratio)
    return -(1 - E) * torch.log(sigmoid(margin)) - E * torch.log(sigmoid(-margin))


def robust_dpo(c: Answer, r: Answer) -> torch.Tensor:
    margin = 0.3 * (c.ratio - r.ratio)
    return (-(1 - E) * torch.log(sigmoid(margin)) + E * torch.log(sigmoid(-margin))) / (1 - 2 * E)


def ipo(c: Answer, r: Answer) -> torch.Tensor:
    return (c.ratio / c.tokens - r.ratio / r.tokens - 1 / (2 * 0.3)) ** 2


def ipo_summed(c: Answer, r: Answer) -> torch.Tensor:
    return (c.ratio - r.ratio - 1 / (2 * 0.3)) ** 2


def dpo_per_token(c: Answer, r: Answer) -> torch.Tensor:
    return -torch.log(sigmoid(0.3 * (c.ratio / c.tokens - r.ratio / r.tokens)))


def simpo(c: Answer, r: Answer) -> torch.Tensor:
    return -torch.log(sigmoid(2.5 * c.mean - 2.5 * r.mean - 1.2))


def orpo(c: Answer, r: Answer) -> torch.Tensor:
    odds_c, odds_r = (torch.exp(a.mean) / (1 - torch.exp(a.mean)) for a in (c, r))
    return -c.mean - 0.25 * torch.log(sigmoid(torch.log(odds_c / odds_r)))


PAIRWISE: dict[str, tuple[str, dict[str, Any], Callable[[Answer, Answer], torch.Tensor]]] = {
    "cDPO": ("dpo", {"beta": 0.3, "label_smoothing": E}, cdpo),
    "robust": ("dpo", {"beta": 0.3, "loss": "robust", "label_smoothing": E}, robust_dpo),
    "IPO": ("dpo", {"beta": 0.3, "loss": "ipo"}, ipo),
    "IPO summed": ("dpo", {"beta": 0.3, "loss": "ipo", "per_token": False}, ipo_summed),
    "DPO per token": ("dpo", {"beta": 0.3, "per_token": True}, dpo_per_token),
    "SimPO": ("simpo", {"beta": 2.5, "gamma": 1.2}, simpo),
    "ORPO": ("orpo", {"weight": 0.25}, orpo),
}


def adapted(path: Path) -> Any:
    """The tiny base in float32 under an adapter that changes it."""
    model = load_model(find_base(str(path)), "float32")
    modules = choose_modules(model, "all", "all")
    made, _ = attach(model, kind="lora", rank=4, alpha=8.0, dropout=0.0, modules=modules, seed=7)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=draw))
    return made.eval()


def measured(model: Any, chat: Chat, prompt: Any, answer: str) -> Answer:
    """One answer and its end token, from plain logits of transformers."""

    def log_p() -> torch.Tensor:
        every = torch.log_softmax(model(input_ids=ids).logits[0, :-1].double(), -1)
        return every.gather(1, ids[0, 1:, None])[begin - 1 :, 0].sum()

    asked = chat.render(list(prompt), answer_next=True)
    coded = [chat.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (asked, asked + answer + "<|end|>")]
    ids, begin = torch.tensor([coded[1]]), len(coded[0])
    with torch.no_grad(), model.disable_adapter():
        base = log_p()
    return Answer(log_p(), base, ids.shape[1] - begin)


def gradient(model: Any, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def referenced(method: Any, path: ExecutionPath, units: list[Unit]) -> list[Unit]:
    if not hasattr(method, "reference"):
        return units
    with path.model.disable_adapter():
        found = method.reference(path, units, lambda _: None)
    return [replace(unit, reference=numbers) for unit, numbers in zip(units, found, strict=True)]


class Prepared:
    """A model with an adapter, its chat format, five pairs, and what transformers give of their answers."""

    def __init__(self, tiny: Path) -> None:
        self.chat, self.model, self.rows = open_chat(find_base(str(tiny))), adapted(tiny), preferences(5)

    def answers(self) -> list[tuple[Answer, Answer]]:
        every = [tuple(measured(self.model, self.chat, row.prompt, said) for said in row.answers) for row in self.rows]
        return every  # type: ignore[return-value]


@pytest.fixture(scope="module")
def prepared(tiny_path: Path) -> Prepared:
    return Prepared(tiny_path)


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize("reads", ["trees", "padded"])
def test_losses_and_gradients_are_the_published_ones(name: str, reads: str, prepared: Prepared) -> None:
    kind, options, formula = PAIRWISE[name]
    method: Any = open_method(kind, options)
    model, chat = prepared.model, prepared.chat
    expected = torch.stack([formula(c, r) for c, r in prepared.answers()]).sum()
    wanted = gradient(model, expected)
    with packed(model) as lean:
        path = ExecutionPath(lean if reads == "trees" else PaddedModel(model, chat.pad_id), reads, shares=reads == "trees")
        units = referenced(method, path, method.prepare(prepared.rows, chat, max_tokens=500))
        loss = method.loss(path, path.batch(units))
        figures = method.validate(path, units, lambda _: None)
        ours = gradient(model, loss)
    rounding = 5e-5 if name == "IPO summed" else 1e-5  # a square of sums over whole answers, and processors round differently
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=rounding, abs=2e-5)
    assert float((ours - wanted).norm()) <= 1e-4 * float(wanted.norm())
    assert figures["loss"] == pytest.approx(float(expected.detach()) / 5, rel=rounding, abs=1e-5)
    assert set(figures) == set(method.figures)


def swapped(formula: Any) -> Any:
    return lambda chosen, rejected: formula(rejected, chosen)


def test_a_formula_with_the_answers_swapped_would_be_noticed(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (kind, options, formula) in PAIRWISE.items():
        monkeypatch.setitem(PAIRWISE, name, (kind, options, swapped(formula)))
        with pytest.raises(AssertionError):
            test_losses_and_gradients_are_the_published_ones(name, "padded", prepared)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": "robust"}, "label_smoothing above 0"),
        ({"loss": "ipo", "label_smoothing": 0.1}, "no effect"),
        ({"label_smoothing": 0.5}, "less than 0.5"),
        ({"loss": "hinge"}, "sigmoid"),
    ],
)
def test_a_setting_of_dpo_without_effect_or_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        open_method("dpo", options)
    (problem,) = caught.value.problems
    assert said in problem.expected and problem.hint


def test_new_settings_with_their_default_value_change_no_identity() -> None:
    assert identity(open_method("dpo")) == {"kind": "dpo", "beta": 0.1}
    assert identity(open_method("dpo", {"loss": "sigmoid", "per_token": "auto"})) == {"kind": "dpo", "beta": 0.1}
    assert identity(open_method("dpo", {"loss": "ipo"})) == {"kind": "dpo", "beta": 0.1, "loss": "ipo"}
    assert identity(open_method("sft")) == {} and identity(open_method("simpo")) == {"kind": "simpo"}


def test_odds_of_an_answer_that_is_certain_are_finite_with_a_finite_gradient() -> None:
    log_p = torch.tensor([0.0, -1e-15, -0.5, -50.0], dtype=torch.float64, requires_grad=True)
    odds = log_odds(log_p)
    odds.sum().backward()  # type: ignore[no-untyped-call]
    assert bool(odds.isfinite().all()) and log_p.grad is not None and bool(log_p.grad.isfinite().all())
    assert float(odds[2].detach()) == pytest.approx(math.log(math.exp(-0.5) / (1 - math.exp(-0.5))))


@pytest.mark.parametrize("kind", ["simpo", "orpo"])
def test_short_answers_that_are_preferred_are_learned_without_a_reference(kind: str, tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path, objective={"kind": kind}, rows=preferences(20))
    log = [orjson.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_bytes().splitlines()]
    seen = [row for row in log if "val_loss" in row]
    assert seen[-1]["val_preference_accuracy"] == 1 and seen[-1]["val_loss"] < seen[0]["val_loss"]
    assert not (tmp_path / "work" / "reference").exists()
