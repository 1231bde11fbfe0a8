"""A method is one file, its units stay whole; DPO computes the published loss and refuses what it cannot learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fakes import NO_END_TEMPLATE, conversation, examples, make_base, preferences, train_tiny
from tunesmith.core.errors import BlockedError, RecipeError, TrainingError
from tunesmith.core.records import Preference
from tunesmith.models.adapters import attach
from tunesmith.models.chat import Chat, Encoded, open_chat
from tunesmith.models.labels import audit_labels, encode_row
from tunesmith.models.load import find_base, load_model
from tunesmith.models.packed.layout import lay_out
from tunesmith.models.packed.model import packed
from tunesmith.models.reach import choose_modules
from tunesmith.train import execution as execution_module
from tunesmith.train import methods
from tunesmith.train.batches import Batches, Sizes, tokens_at_once
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.method import Method, method_names, open_method
from tunesmith.train.methods import dpo as dpo_module
from tunesmith.train.padded import PaddedModel
from tunesmith.train.units import Batch, Unit, rows_of

BETA = 0.3
DPO: dict[str, Any] = {"kind": "dpo", "options": {"beta": BETA}}
PLAIN: dict[str, Any] = {"dropout": 0.0}


def metrics(place: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (place / "work" / "metrics.jsonl").read_bytes().splitlines()]


def series(place: Path, name: str) -> list[float]:
    return [row[name] for row in metrics(place) if name in row]


# --- a method is one file ---------------------------------------------------------------------------------------------

TOY = '''"""A toy: squared negative log-likelihood of whole answers."""

from typing import Annotated

from pydantic import Field

from tunesmith.core.settings import Section
from tunesmith.core.records import Example
from tunesmith.train.units import Unit

__all__ = ["Method", "Settings"]


class Settings(Section):
    """Settings of the toy."""

    power: Annotated[int, Field(ge=1)] = 2
    """The exponent of each answer's loss."""


class Method:
    """A unit is an example, and counts once."""

    record = Example
    figures = {"loss": "lower"}
    loss_unit = "squared nats an answer"

    def __init__(self, settings):
        self.settings = settings

    def prepare(self, examples, chat, *, max_tokens):
        return [Unit(chat.rows(e.messages, max_tokens=max_tokens), weight=1) for e in examples]

    def loss(self, forward, batch):
        return (batch.sum_by_row(forward.log_probs(batch)).abs() / 10).pow(self.settings.power).sum()

    def validate(self, forward, units, on_done):
        total = sum(float(b.sum_by_row(p).abs().div(10).pow(2).sum()) for b, p, _ in forward.scored(units, on_done))
        return {"loss": total / len(units)}
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more file among the methods."""
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])


@pytest.mark.usefixtures("toy")
def test_a_method_is_added_by_one_file_and_trains(tiny_path: Path, tmp_path: Path) -> None:
    assert {"dpo", "sft", "toy"} <= set(method_names())
    made = train_tiny(tiny_path, tmp_path, objective={"kind": "toy", "options": {"power": 2}}, method=PLAIN)
    losses = series(tmp_path, "val_loss")
    assert losses[-1] < 0.9 * losses[0] and made.figures["loss"] == min(losses)
    assert "squared nats an answer" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("kind", "options", "best_by", "what", "hint"),
    [
        ("dop", {}, "loss", "objective.kind", "did you mean dpo?"),
        ("", {}, "loss", "objective.kind", "objective.kind=sft"),
        ("dpo", {"betta": 0.1}, "loss", "objective.betta", "did you mean objective.beta?"),
        ("dpo", {"beta": 0}, "loss", "objective.beta", "0.1  (the default)"),
        ("dpo", {"beta": True}, "loss", "objective.beta", "0.1  (the default)"),
        ("sft", {"beta": 0.1}, "loss", "objective.beta", "hint"),
        ("sft", {}, "margin", "train.best_by", "train.best_by=loss"),
        ("dpo", {}, "accuracy", "train.best_by", "did you mean preference_accuracy?"),
    ],
)
def test_what_a_method_does_not_know_is_an_error_in_four_parts(
    kind: str, options: dict[str, Any], best_by: str, what: str, hint: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        open_method(kind, options, best_by=best_by)
    (problem,) = caught.value.problems
    assert what in f"{problem.what} {problem.value}" and hint in f"hint {problem.hint}" and problem.expected


# --- units stay whole -------------------------------------------------------------------------------------------------


def pairs(sizes: Sequence[tuple[int, int, int]]) -> list[Unit]:
    """Pairs of rows with a prompt of their own: tokens of prompt, chosen and rejected."""
    made = []
    for n, (prompt, chosen, rejected) in enumerate(sizes):
        ids = [tuple([n + 10] * prompt + [side] * size) for side, size in ((2, chosen), (3, rejected))]
        marks = [tuple(place >= prompt for place in range(len(row))) for row in ids]
        made.append(Unit(tuple(Encoded(row, mark) for row, mark in zip(ids, marks, strict=True)), weight=1))
    return made


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=30),
    st.integers(1, 6),
    st.sampled_from([0, 150]),
    st.integers(20, 400),
    st.sampled_from([0, 90]),
    st.booleans(),
    st.integers(0, 4),
)
def test_a_pair_is_never_torn(
    sizes: list[tuple[int, int, int]], size: int, tokens: int, most: int, enough: int, shares: bool, halvings: int
) -> None:
    """Shuffled, sorted, cut by tokens or examples, learned in parts and halved: every pair is there once an epoch, whole."""
    units = pairs(sizes)
    batches = Batches(
        units,
        sizes=Sizes(examples=size, tokens=tokens),
        seed=3,
        most_tokens=most,
        lay_out=lambda part: Batch(tuple(part), lay_out(rows_of(part), share=shares)),
        enough=enough,
        shares=shares,
    )
    for _ in range(halvings):
        batches.shrink()
    parts = [part for index in range(len(batches)) for part in batches.at(index)]
    assert sorted(part_unit.rows[0].ids for part in parts for part_unit in part.units) == sorted(u.rows[0].ids for u in units)
    for part in parts:
        assert len(part.layout.rows) == 2 * len(part.units)  # type: ignore[attr-defined]
        cost = sum(tokens_at_once(unit, shares=shares) for unit in part.units)
        assert len(part.units) == 1 or cost <= batches.most_tokens


def test_a_pair_is_computed_with_its_prompt_once() -> None:
    (unit,) = pairs([(40, 10, 20)])
    assert len(lay_out(unit.rows).ids_T) == tokens_at_once(unit, shares=True) == 70
    assert tokens_at_once(unit, shares=False) == unit.num_tokens == 110


# --- the loss ---------------------------------------------------------------------------------------------------------


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


def answer_log_prob(model: Any, chat: Chat, prompt: Sequence[Any], answer: str) -> torch.Tensor:
    """Σ log p of an answer and its end token, from plain logits of transformers: nothing of ours but the template's text."""
    asked = chat.render(list(prompt), answer_next=True)
    coded = [chat.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (asked, asked + answer + "<|end|>")]
    ids, begin = torch.tensor([coded[1]]), len(coded[0])
    log_p = torch.log_softmax(model(input_ids=ids).logits[0, :-1].double(), -1)
    return log_p.gather(1, ids[0, 1:, None])[begin - 1 :, 0].sum()


def published_loss(model: Any, chat: Chat, rows: Sequence[Preference], *, beta: float) -> torch.Tensor:
    """Equation 7 of Rafailov et al. 2023, summed over the pairs."""
    total = torch.zeros((), dtype=torch.float64)
    for row in rows:
        with torch.no_grad(), model.disable_adapter():
            base = [answer_log_prob(model, chat, row.prompt, answer) for answer in row.answers]
        chosen, rejected = (answer_log_prob(model, chat, row.prompt, answer) for answer in row.answers)
        margin = beta * ((chosen - base[0]) - (rejected - base[1]))
        total = total - torch.log(1 / (1 + torch.exp(-margin)))
    return total


def gradient(model: Any, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("path", ["trees", "padded"])
def test_the_loss_is_the_published_one_on_fixed_batches(path: str, tiny_path: Path) -> None:
    base = find_base(str(tiny_path))
    chat, rows, model = open_chat(base), preferences(5), adapted(tiny_path)
    system = conversation("And then?", "It waited.", "Tell me more.", system="Be brief.")
    rows.append(
        Preference(id="s", prompt=system, chosen="No.", rejected="It waits on.", document_id="s", group="s", source="m")
    )
    method: Any = open_method("dpo", {"beta": BETA})
    expected = published_loss(model, chat, rows, beta=BETA)
    wanted = gradient(model, expected)
    with packed(model) as lean:
        forward = ExecutionPath(lean if path == "trees" else PaddedModel(model, chat.pad_id), path, shares=path == "trees")
        units = method.prepare(rows, chat, max_tokens=500)
        with model.disable_adapter():
            found = method.reference(forward, units, lambda _: None)
        units = [Unit(unit.rows, unit.weight, numbers) for unit, numbers in zip(units, found, strict=True)]
        loss = method.loss(forward, forward.batch(units))
        figures = method.validate(forward, units, lambda _: None)
    ours, published = float(loss.detach()), float(expected.detach())
    assert abs(ours - published) <= 1e-5 and abs(ours / 6 - math.log(2)) > 1e-3
    assert float((gradient(model, loss) - wanted).norm()) <= 1e-4 * float(wanted.norm())
    assert figures["loss"] == pytest.approx(published / 6, abs=1e-5)


def test_a_reference_of_the_other_answer_would_be_noticed(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = dpo_module.Method.reference
    monkeypatch.setattr(dpo_module.Method, "reference", lambda *given: [pair[::-1] for pair in real(*given)])
    with pytest.raises(AssertionError):
        test_the_loss_is_the_published_one_on_fixed_batches("padded", tiny_path)


# --- a run ------------------------------------------------------------------------------------------------------------


def test_short_answers_that_are_preferred_are_preferred_on_pairs_never_seen(tiny_path: Path, tmp_path: Path) -> None:
    made = train_tiny(tiny_path, tmp_path, objective=DPO, rows=preferences(24), train={"max_steps": 6, "best_by": "margin"})
    accuracy, margin = series(tmp_path, "val_preference_accuracy"), series(tmp_path, "val_margin")
    assert accuracy[0] == 0.5 and series(tmp_path, "val_loss")[0] == pytest.approx(math.log(2))
    assert accuracy[-1] > 0.9 and margin[-1] > 1 > margin[0] == 0
    assert made.figures["margin"] == max(margin) and "nats per pair" in (tmp_path / "out" / "report.html").read_text()


def test_swapped_preferences_teach_the_opposite(tiny_path: Path, tmp_path: Path) -> None:
    rows = [
        Preference(**{n: getattr(r, n) for n in ("id", "prompt", "group", "document_id", "source")}, chosen=c, rejected=j)
        for n, r in enumerate(preferences(24))
        for c, j in [(r.rejected, r.chosen) if n < 20 else r.answers]
    ]
    train_tiny(tiny_path, tmp_path, objective=DPO, rows=rows)
    assert series(tmp_path, "val_preference_accuracy")[-1] < 0.1


def test_parts_and_a_lack_of_memory_give_the_same_steps(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual: dict[str, Any] = {
        "objective": DPO,
        "rows": preferences(16),
        "method": PLAIN,
        "train": {"max_steps": 3, "learning_rate": 1e-3},
    }
    train_tiny(tiny_path, tmp_path / "whole", **usual)
    real = dpo_module.Method.loss

    def crowded(self: Any, forward: Any, batch: Batch) -> torch.Tensor:
        if len(batch.units) > 2:
            raise torch.OutOfMemoryError("not enough memory")
        return real(self, forward, batch)

    monkeypatch.setattr(dpo_module.Method, "loss", crowded)
    train_tiny(tiny_path, tmp_path / "parts", **usual)
    assert series(tmp_path / "parts", "loss") == pytest.approx(series(tmp_path / "whole", "loss"), rel=1e-4)


def test_the_reference_is_computed_once_kept_with_the_run_and_again_if_it_is_damaged(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual: dict[str, Any] = {"objective": DPO, "rows": preferences(12), "train": {"max_steps": 2}}
    calls: list[int] = []
    real = dpo_module.Method.reference

    def counted(self: Any, forward: Any, units: Sequence[Unit], on_done: Any) -> Any:
        calls.append(len(units))
        return real(self, forward, units, on_done)

    monkeypatch.setattr(dpo_module.Method, "reference", counted)
    train_tiny(tiny_path, tmp_path, **usual)
    files = sorted((tmp_path / "work" / "reference").glob("*.json"))
    kept = [file.read_bytes() for file in files]
    train_tiny(tiny_path, tmp_path, **usual)
    assert calls == [8, 4]
    files[0].write_bytes(kept[0].replace(b"-", b"", 1))
    train_tiny(tiny_path, tmp_path, **usual)
    assert len(calls) == 3 and [file.read_bytes() for file in files] == kept


def test_padded_rows_learn_the_same_as_trees(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual: dict[str, Any] = {
        "objective": DPO,
        "rows": preferences(12),
        "method": PLAIN,
        "train": {"max_steps": 3, "learning_rate": 1e-3},
    }
    train_tiny(tiny_path, tmp_path / "trees", **usual)
    monkeypatch.setattr(execution_module, "why_not_packed", lambda *_, **__: "for the comparison")
    train_tiny(tiny_path, tmp_path / "padded", **usual)
    for name in ("loss", "val_loss", "val_margin"):
        assert series(tmp_path / "padded", name) == pytest.approx(series(tmp_path / "trees", name), rel=1e-3, abs=1e-5)


# --- what it cannot use -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("objective", "rows"), [(DPO, examples(8)), ({"kind": "sft"}, preferences(8))])
def test_rows_of_another_kind_stop_before_the_first_step(
    objective: dict[str, Any], rows: list[Any], tiny_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="cannot learn from these rows") as caught:
        train_tiny(tiny_path, tmp_path, objective=objective, rows=rows)
    assert "objective.kind" in caught.value.problems[0].hint and not (tmp_path / "work").exists()


def test_checkpoints_of_another_objective_are_refused(tiny_path: Path, tmp_path: Path) -> None:
    rows = preferences(8)
    train_tiny(tiny_path, tmp_path, objective=DPO, rows=rows, train={"max_steps": 2})
    with pytest.raises(TrainingError, match="another objective"):
        train_tiny(tiny_path, tmp_path, objective={"kind": "dpo", "options": {"beta": 0.5}}, rows=rows, train={"max_steps": 2})


def test_both_answers_of_a_preference_are_audited_and_learned_with_their_end(tmp_path: Path, tiny_chat: Chat) -> None:
    rows = preferences(4)
    coded = [encode_row(tiny_chat, row, max_tokens=500) for row in rows]
    audit_labels(tiny_chat, rows, coded, allow=())
    for row, both in zip(rows, coded, strict=True):
        prompt = tuple(tiny_chat.encode_prompt(row.prompt))
        for answer, made in zip(row.answers, both, strict=True):
            learned = [token for token, mark in zip(made.ids, made.learned, strict=True) if mark]
            assert made.ids[: len(prompt)] == prompt and not any(made.learned[: len(prompt)])
            assert tiny_chat.decode(learned) == answer and learned[-1] in tiny_chat.end_ids
    endless = open_chat(find_base(str(make_base(tmp_path / "endless", template=NO_END_TEMPLATE))))
    found = [encode_row(endless, row, max_tokens=500) for row in rows]
    with pytest.raises(BlockedError, match="the end token is missing"):
        audit_labels(endless, rows, found, allow=())


def test_a_rejected_answer_that_is_cut_away_blocks(tiny_chat: Chat) -> None:
    """The chosen answer fits, the rejected one would not be learned at all."""
    long = conversation("word " * 60)
    row = Preference(id="x", prompt=long, chosen="a", rejected="b" * 400, document_id="x", group="x", source="m")
    limit = len(tiny_chat.encode_prompt(long)) + 2
    coded = [encode_row(tiny_chat, row, max_tokens=limit)]
    with pytest.raises(BlockedError, match="would be cut"):
        audit_labels(tiny_chat, [row], coded, allow=())


def test_earlier_answers_of_a_prompt_are_not_learned_again(tiny_chat: Chat) -> None:
    prompt = conversation("One?", "First answer.", "Two?")
    row = Preference(id="x", prompt=prompt, chosen="Yes.", rejected="No.", document_id="x", group="x", source="m")
    for made, answer in zip(encode_row(tiny_chat, row, max_tokens=500), row.answers, strict=True):
        learned = [token for token, mark in zip(made.ids, made.learned, strict=True) if mark]
        assert tiny_chat.decode(learned) == answer


def test_every_method_says_what_it_measures() -> None:
    for kind in method_names():
        method: Method = open_method(kind)
        assert method.figures["loss"] == "lower" and method.loss_unit
