"""Learning from a teacher's distributions: the published divergences, chunk by chunk, and runs that end in the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
import torch.nn.functional as F
from test_train_sampled import adapted, answer_log_probs, gradient, groups

from fakes import examples, train_tiny
from tunesmith.core.errors import RecipeError, TrainingError
from tunesmith.core.records import Message, Origin, Quote, Support
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base, load_model
from tunesmith.models.packed import head as head_module
from tunesmith.models.packed.divergence import GeneralisedJSD, Predictions
from tunesmith.models.packed.head import Head
from tunesmith.models.packed.model import packed
from tunesmith.train import sampled as sampled_module
from tunesmith.train.distilling import read_divergence
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.method import open_method
from tunesmith.train.padded import PaddedModel
from tunesmith.train.samples import Group

STEPS = {"max_steps": 4, "evaluate_every": 2, "checkpoint_every": 3, "learning_rate": 0.02}
BETAS = [0.0, 0.1, 0.5, 1.0]


def published(student: torch.Tensor, teacher: torch.Tensor, beta: float) -> torch.Tensor:
    """The generalised Jensen-Shannon divergence of each prediction, as TRL's GKD trainer computes it, in float64."""
    log_s, log_t = F.log_softmax(student.double(), -1), F.log_softmax(teacher.double(), -1)
    if beta == 0:
        return F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(-1)
    if beta == 1:
        return F.kl_div(log_t, log_s, reduction="none", log_target=True).sum(-1)
    share = torch.tensor(beta, dtype=torch.float64)
    mixture = torch.logsumexp(torch.stack([log_s + torch.log1p(-share), log_t + torch.log(share)]), 0)
    of_teacher, of_student = (F.kl_div(mixture, one, reduction="none", log_target=True) for one in (log_t, log_s))
    return (share * of_teacher + (1 - share) * of_student).sum(-1)


# --- the formulas -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("shape", [{}, {"scale": 0.5, "cap": 5.0}])
def test_divergences_are_trls_in_value_and_gradient_whatever_the_chunks(
    beta: float, shape: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(7)
    hidden, teacher = torch.randn(70, 8, requires_grad=True), torch.randn(70, 6)
    weight, bias, far = torch.randn(50, 8, requires_grad=True), torch.randn(50, requires_grad=True), torch.randn(50, 6)
    told = Predictions(teacher, Head(far))

    raw = (hidden @ weight.t() + bias) * shape.get("scale", 1.0)
    logits = 5.0 * torch.tanh(raw / 5.0) if shape else raw
    expected = published(logits, teacher @ far.t(), beta).sum()
    wanted = torch.autograd.grad(expected, (hidden, weight, bias))
    sizes, real = set(), Head.logits

    def counted(self: Head, rows: torch.Tensor) -> torch.Tensor:
        sizes.add(len(rows))
        return real(self, rows)

    monkeypatch.setattr(head_module, "LOGIT_BYTES", 1)  # 32 rows at once
    monkeypatch.setattr(Head, "logits", counted)
    found = Head(weight, bias, **shape).summed(hidden, GeneralisedJSD(told, beta))
    ours = torch.autograd.grad(3 * found, (hidden, weight, bias))
    assert sizes == {6, 32}
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for one, other in zip(ours, wanted, strict=True):
        assert float((one / 3 - other).norm()) <= 1e-5 * float(other.norm())


@pytest.mark.parametrize("beta", BETAS)
def test_columns_that_are_no_tokens_are_left_out(beta: float) -> None:
    """Output matrices are padded to round sizes, and not to the same in each size of a model."""
    torch.manual_seed(7)
    student, teacher = torch.randn(5, 12, requires_grad=True), torch.randn(5, 10)
    for one, other in ((student, teacher), (student[:, :9], teacher)):
        size = min(one.shape[1], other.shape[1])
        value, slope = GeneralisedJSD(Predictions(other), beta)(one, slice(0, 5), slope=True)
        expected = published(one[:, :size], other[:, :size], beta)
        (wanted,) = torch.autograd.grad(expected.sum(), student)
        assert slope is not None and torch.allclose(value.double(), expected, rtol=1e-5)
        assert torch.allclose(slope, wanted[:, : one.shape[1]], atol=1e-6)


def shown_logits(model: Any, group: Group, method: Any, chat: Chat) -> list[torch.Tensor]:
    """What the base predicts along each answer after the teacher's prompt, from plain logits of transformers."""
    prompt = method.teacher_prompt(chat, group.example)
    found = []
    with torch.no_grad(), model.disable_adapter():
        for sample in group.samples:
            logits = model(input_ids=torch.tensor([[*prompt, *sample.ids]])).logits[0]
            found.append(logits[len(prompt) - 1 : -1])
    return found


@pytest.mark.parametrize("options", [{}, {"beta": 0.3, "context": "Answer as a sailor."}, {"beta": 0.0}])
@pytest.mark.parametrize("path", ["trees", "padded"])
def test_self_distillation_is_the_divergence_from_the_base_that_is_shown_more(
    path: str, options: dict[str, Any], tiny_path: Path
) -> None:
    chat, model = open_chat(find_base(str(tiny_path))), adapted(tiny_path)
    method: Any = open_method("self_distillation", options)
    bare = groups(chat, model, [[0.0] * 4] * 2)
    found = [Group(g.example, g.prompt, g.samples, method.teacher_prompt(chat, g.example)) for g in bare]
    expected, count = torch.zeros((), dtype=torch.float64), 0
    for group in found:
        for sample, teacher in zip(group.samples, shown_logits(model, group, method, chat), strict=True):
            ids = torch.tensor([[*group.prompt, *sample.ids]])
            student = model(input_ids=ids).logits[0, len(group.prompt) - 1 : -1]
            expected, count = expected + published(student, teacher, options.get("beta", 1.0)).sum(), count + len(sample.ids)
    wanted = gradient(model, expected / count)
    with packed(model) as lean:
        forward = ExecutionPath(lean if path == "trees" else PaddedModel(model, chat.pad_id), path, shares=path == "trees")
        batch = forward.batch(method.units(forward, found))
        loss = method.loss(forward, batch) / batch.weight
        figures = method.validate(forward, batch.units, lambda count: None)
        ours = gradient(model, loss)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()) / count, rel=1e-5)
    assert float((ours - wanted).norm()) <= 1e-5 * float(wanted.norm())
    assert figures["loss"] == pytest.approx(float(loss.detach()), rel=1e-6) and figures["ended"] == 0.5
    assert answer_log_probs(model, found[0])  # the same answers, with the adapter on again


def test_the_teacher_is_shown_context_and_demonstration_and_the_model_neither(tiny_chat: Chat) -> None:
    one = examples(1)[0]
    both: Any = open_method("self_distillation", {"context": "Answer as a sailor."})
    text = tiny_chat.decode(both.teacher_prompt(tiny_chat, one))
    assert "Answer as a sailor." in text and one.answer in text and text.index(one.prompt[-1].content) < text.index(one.answer)
    bare: Any = open_method("self_distillation", {"context": "Answer as a sailor.", "demonstration": False})
    text = tiny_chat.decode(bare.teacher_prompt(tiny_chat, one))
    assert "Answer as a sailor." in text and one.answer not in text


def test_the_teacher_is_shown_the_passages_that_fit_the_question(tiny_chat: Chat) -> None:
    """Of the training rows alone, the best last; of a generated row what it quotes, not what was written about it."""
    kettle, ladder, needle, *_ = train = examples(12)
    quote = Quote(text="The kettle was bought in Genoa.", start=0, end=31)
    support = (Support(sentence="It waits.", quotes=(quote,)),)
    made = Origin(kind="qa", model="m", prompt_sha256="", date="2026-11-29", generated="both", support=support)
    train[0] = replace(kettle, origin=made)
    method: Any = open_method("self_distillation", {"passages": 2, "demonstration": False})
    method.show(train)
    question = Message(role="user", content="What about the ladder and the kettle? The ladder!")
    asked = replace(ladder, messages=(question, kettle.messages[1]))
    text = tiny_chat.decode(method.teacher_prompt(tiny_chat, asked))
    assert quote.text in text and ladder.answer in text and needle.answer not in text and kettle.answer not in text
    assert text.index(quote.text) < text.index(ladder.answer)  # which fits better


# --- runs -------------------------------------------------------------------------------------------------------------


def run(base: Path, place: Path, *, train: dict[str, Any] | None = None, **options: Any) -> Any:
    objective = {"kind": "self_distillation", "options": {"max_new_tokens": 10, **options}}
    return train_tiny(base, place, objective=objective, method={"dropout": 0.0}, train=STEPS | (train or {}), rows=examples(12))


def result(place: Path) -> list[str]:
    names: Sequence[str] = ("adapter/adapter_model.safetensors", "metrics.jsonl", "rollouts.jsonl")
    return [hashlib.sha256((place / "out" / name).read_bytes()).hexdigest() for name in names]


def test_a_run_nears_its_teacher_and_continues_to_the_same_bytes(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = {"max_steps": 4, "evaluate_every": 4, "learning_rate": 0.05}
    made = run(tiny_path, tmp_path / "whole", train=steps)
    log = [orjson.loads(line) for line in (tmp_path / "whole" / "out" / "metrics.jsonl").read_bytes().splitlines()]
    seen = [row["val_loss"] for row in log if "val_loss" in row]
    assert made.reading.shape == "learning" and seen[-1] < 0.97 * seen[0]
    assert made.figures["loss"] == min(seen) and all("reward" not in row for row in log)
    calls, real = [], sampled_module.Sampler.groups

    def failing(self: Any, *arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise TrainingError("the power fails", value="", expected="", hint="")
        return real(self, *arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(TrainingError, match="power"):
        patch.setattr(sampled_module.Sampler, "groups", failing)
        run(tiny_path, tmp_path / "cut", train=steps)
    run(tiny_path, tmp_path / "cut", train=steps)
    assert result(tmp_path / "cut") == result(tmp_path / "whole")


def test_answers_that_were_drawn_are_read_with_what_the_teacher_was_shown(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill before the first checkpoint: nothing is drawn again, and the losses are the same."""
    run(tiny_path, tmp_path)
    before = result(tmp_path)
    for folder in ("checkpoints", "metrics.jsonl"):
        (tmp_path / "work" / folder).rename(tmp_path / folder)
    drawn: list[int] = []
    real = sampled_module.Sampler.groups

    def counted(self: Any, found: Sequence[Any], **named: Any) -> Any:
        drawn.append(len(found))
        return real(self, found, **named)

    monkeypatch.setattr(sampled_module.Sampler, "groups", counted)
    run(tiny_path, tmp_path)
    assert result(tmp_path) == before and len(drawn) == 3  # the validations


def test_what_cannot_be_learned_from_is_refused_before_the_first_step(tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="must be shown more"):
        open_method("self_distillation", {"demonstration": False, "context": " "})
    with pytest.raises(TrainingError, match="what the teacher is shown leaves no room") as caught:
        run(tiny_path, tmp_path / "long", context="again and " * 900)
    assert "768" in caught.value.problems[0].expected and "objective.context" in caught.value.problems[0].hint
    with pytest.raises(TrainingError, match="a full fine-tune has none") as caught:
        objective = {"kind": "self_distillation", "options": {"max_new_tokens": 4}}
        train_tiny(tiny_path, tmp_path / "full", objective=objective, method={"kind": "full"}, rows=examples(12))
    assert "method.kind=lora" in caught.value.problems[0].hint
    assert not (tmp_path / "full" / "work" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("losses", "shape"),
    [
        ([2.0], "too short to tell"),
        ([2.0, 2.1], "nothing learned"),
        ([2.0, 1.0, 1.05], "learning"),
        ([2, 1, 1.5], "overfitting"),
    ],
)
def test_the_curve_of_a_divergence_is_read(losses: list[float], shape: str) -> None:
    assert read_divergence([{"val_loss": loss} for loss in losses]).shape == shape


def test_what_a_teacher_predicts_is_by_the_output_matrix_that_it_had(tiny_path: Path) -> None:
    """Planted: the trained output matrix is put back before the logits are formed, as after `Forward.base`."""
    model = load_model(find_base(str(tiny_path)), "float32")
    chat = open_chat(find_base(str(tiny_path)))
    with packed(model) as lean:
        told = lean.predictions(lean.lay_out([chat.answer_row(one.messages) for one in examples(3)]))
        before = told.logits(slice(0, 4)).clone()
        matrix = lean.head.weight
        matrix.data = torch.zeros_like(matrix)
        assert torch.equal(told.logits(slice(0, 4)), before) and bool(before.any())
