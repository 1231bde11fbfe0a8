"""The options of supervised fine-tuning compute what their formulas say, on token trees and on padded rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
import torch.nn.functional as F

from fakes import conversation, example, examples, train_tiny
from tunesmith.core.answer_weights import answer_weights, as_column
from tunesmith.core.errors import TrainingError
from tunesmith.core.records import MIXED, Example
from tunesmith.data.ingest.rows import record_of
from tunesmith.data.text.decode import UnreadableError
from tunesmith.models.adapters import attach
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base, load_model
from tunesmith.models.packed.head import Head, Penalty
from tunesmith.models.packed.model import packed
from tunesmith.models.reach import choose_modules
from tunesmith.train import loss_weights as loss_weights_module
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.method import identity, open_method
from tunesmith.train.padded import PaddedModel

SYSTEM = "Be brief, be kind, and say no more than was asked."
PATHS = ["trees", "padded"]


def told(*contents: str, id: str, source: str = "made.md", meta: dict[str, str] | None = None) -> Example:
    made = Example(id=id, messages=conversation(*contents, system=SYSTEM), document_id=id, group=id, source=source)
    return replace(made, meta=meta or {})


ROWS = [
    told("And then?", "It waited.", "Tell me more.", "No.", id="a", meta=as_column([0.0, 2.0])),
    told("And then?", "It left, and I left with it.", id="b", source="notes-1", meta={"weight": "0.25"}),
    told("Why?", "Because.", "Why that?", "Enough.", "One more.", "No.", id="c", meta=as_column([0.5, 0.0, 1.0])),
    told("Who?", "The kettle.", id="d"),
]
WEIGHTS = {"a": (0, 2), "b": (0.25 * 3,), "c": (0.5, 0, 1), "d": (1,)}
OPTIONS: dict[str, Any] = {
    "label_smoothing": 0.1,
    "z_loss": 0.01,
    "weight_column": "weight",
    "source_weights": {"notes-*": 3.0},
}


@contextmanager
def path_of(kind: str, base: Path) -> Iterator[tuple[ExecutionPath, Chat]]:
    """The tiny base with an adapter that is not at its start, read as trees or as padded rows."""
    folder = find_base(str(base))
    model = load_model(folder, "float32")
    modules = choose_modules(model, "all", "all")
    model, _ = attach(model, kind="lora", rank=4, alpha=8.0, dropout=0.0, modules=modules, seed=7)
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    chat = open_chat(folder)
    with packed(model) as lean:
        yield ExecutionPath(lean if kind == "trees" else PaddedModel(model, chat.pad_id), kind, shares=kind == "trees"), chat


def answers_of(model: Any, chat: Chat, row: Example) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(logits_NV, target_N) of each answer and its end token, from plain transformers."""
    found = []
    for turn, message in enumerate(row.messages):
        if message.role == "assistant":
            asked = chat.render(row.messages[:turn], answer_next=True)
            coded = [
                chat.tokenizer(text, add_special_tokens=False)["input_ids"]
                for text in (asked, f"{asked}{message.content}<|end|>")
            ]
            ids, begin = torch.tensor([coded[1]]), len(coded[0])
            found.append((model(input_ids=ids).logits[0, begin - 1 : -1].double(), ids[0, begin:]))
    return found


def published(model: Any, chat: Chat, rows: Sequence[Example]) -> tuple[torch.Tensor, float]:
    """The weighted sum of the smoothed losses, and of the weights, by the textbook's formulas."""
    total, count = torch.zeros((), dtype=torch.float64), 0.0
    for row in rows:
        for weight, (logits_NV, target_N) in zip(WEIGHTS[row.id], answers_of(model, chat, row), strict=True):
            log_p_NV = torch.log_softmax(logits_NV, -1)
            nll_N = -log_p_NV.gather(1, target_N[:, None])[:, 0]
            smooth_N = 0.9 * nll_N + 0.1 * -log_p_NV.mean(-1) + 0.01 * torch.logsumexp(logits_NV, -1) ** 2
            total, count = total + weight * smooth_N.sum(), count + weight * len(target_N)
    return total, count


def gradient(model: Any, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("kind", PATHS)
def test_weights_smoothing_and_z_loss_are_their_formulas(kind: str, tiny_path: Path) -> None:
    method: Any = open_method("sft", OPTIONS)
    with path_of(kind, tiny_path) as (forward, chat):
        wanted, count = published(forward.model, chat, ROWS)
        wanted_gradient = gradient(forward.model, wanted)
        units = method.prepare(ROWS, chat, max_tokens=500)
        batch = forward.batch(units)
        loss = method.loss(forward, batch)
        assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
        assert batch.weight == pytest.approx(count) and count != int(count)
        off = gradient(forward.model, loss) - wanted_gradient
        assert float(off.norm()) <= 1e-4 * float(wanted_gradient.norm())


def test_rows_that_were_mixed_in_are_units_of_a_kind_of_their_own(tiny_path: Path) -> None:
    plain = example("What is new?", "Nothing at all.", id="1")
    mixed = replace(plain, id="2", meta={MIXED: "general"})
    units = open_method("sft").prepare([plain, mixed], open_chat(find_base(str(tiny_path))), max_tokens=200)
    assert [unit.kind for unit in units] == ["", "general"]


def test_weights_that_go_to_other_tokens_would_be_noticed(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loss_weights_module.LossWeights._answers
    monkeypatch.setattr(loss_weights_module.LossWeights, "_answers", lambda self, row: real(self, row)[::-1])
    with pytest.raises(AssertionError):
        test_weights_smoothing_and_z_loss_are_their_formulas("padded", tiny_path)


@pytest.mark.parametrize("kind", PATHS)
def test_validation_weighs_tokens_and_does_not_smooth(kind: str, tiny_path: Path) -> None:
    method: Any = open_method("sft", {**OPTIONS, "neftune_alpha": 5.0})
    with path_of(kind, tiny_path) as (forward, chat):
        found = method.validate(forward, method.prepare(ROWS, chat, max_tokens=500), lambda _: None)
        total = count = right = 0.0
        with torch.no_grad():
            for row in ROWS:
                for weight, (logits_NV, target_N) in zip(WEIGHTS[row.id], answers_of(forward.model, chat, row), strict=True):
                    total += weight * float(F.cross_entropy(logits_NV, target_N, reduction="sum"))
                    right += weight * int((logits_NV.argmax(-1) == target_N).sum())
                    count += weight * len(target_N)
    assert found["loss"] == pytest.approx(total / count, rel=1e-5)
    assert found["accuracy"] == pytest.approx(right / count, abs=1e-9)


@pytest.mark.parametrize("cap", [None, 3.0])
def test_the_penalties_of_the_chunked_head_are_those_of_whole_logits(
    cap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.models.packed.head.LOGIT_BYTES", 4 * 400 * 16)
    torch.manual_seed(3)
    top = Head(torch.randn(400, 16).requires_grad_(), torch.randn(400).requires_grad_(), 0.7, cap)
    hidden, target, weights = torch.randn(75, 16, requires_grad=True), torch.randint(0, 400, (75,)), torch.rand(75)
    logits = top.logits(hidden)
    plain = F.cross_entropy(logits, target, reduction="none", label_smoothing=0.2) + 0.05 * logits.logsumexp(-1).square()
    assert top.bias is not None
    inputs = [hidden, top.weight, top.bias]
    wanted = torch.autograd.grad(3 * (plain * weights).sum(), inputs)
    loss = top.loss(hidden, target, weights, Penalty(label_smoothing=0.2, z_loss=0.05))
    assert float(loss.detach()) == pytest.approx(float((plain * weights).sum().detach()), rel=1e-5)
    torch.testing.assert_close(torch.autograd.grad(3 * loss, inputs), wanted, rtol=1e-4, atol=1e-5)


def test_the_last_answer_alone_is_learned_where_the_recipe_says_so(tiny_path: Path) -> None:
    chat = open_chat(find_base(str(tiny_path)))
    row = told("Why?", "Because.", "Why that?", "Enough.", id="x")
    for only, words in ((True, ["Enough.<|end|>"]), (False, ["Because.<|end|>", "Enough.<|end|>"])):
        (unit,) = open_method("sft", {"last_turn_only": only}).prepare([row], chat, max_tokens=500)
        assert [text for text, learned in chat.pieces(unit.rows[0]) if learned] == words
        assert unit.signal == () and unit.weight == unit.rows[0].num_learned


@pytest.mark.parametrize("kind", PATHS)
def test_noise_on_embeddings_is_scaled_by_the_length_of_each_row(kind: str, tiny_path: Path) -> None:
    long = told("Tell me about the ladder, and about the shed that it stands in.", "It waits." * 20, id="l")
    rows = [long, told("Why?", "No.", id="s"), example("Who?", "I.", id="t")]
    method: Any = open_method("sft", {"neftune_alpha": 5.0})
    seen: list[torch.Tensor] = []
    with path_of(kind, tiny_path) as (forward, chat):
        units = method.prepare(rows, chat, max_tokens=500)
        lengths = [len(unit.rows[0].ids) for unit in units]
        batch = forward.batch(units)
        forward.model.get_base_model().model.layers[0].register_forward_pre_hook(
            lambda module, given, named: seen.append(given[0].detach().clone()), with_kwargs=True
        )
        losses = []
        for noisy in (False, True, True):
            torch.manual_seed(11)
            loss: torch.Tensor = method.loss(forward, batch) if noisy else forward.nll(batch)
            losses.append(float(loss.detach()))
        method.validate(forward, units, lambda _: None)
    assert losses[1] == losses[2] != losses[0]
    noise = seen[1] - seen[0]
    assert torch.equal(seen[1], seen[2])
    if kind == "trees":
        layout: Any = batch.layout
        own = [
            noise[0, layout.segments[layout.paths[n][-1]].begin : layout.segments[layout.paths[n][-1]].end] for n in range(3)
        ]
        shared = noise[0, layout.segments[layout.paths[0][0]].begin : layout.segments[layout.paths[0][0]].end]
        assert layout.paths[0][0] == layout.paths[1][0]
        assert float(shared.abs().max()) == pytest.approx(5 / (lengths[0] * 32) ** 0.5, rel=0.05)  # of the longest
    else:
        own = [noise[n, :length] for n, length in enumerate(lengths)]
    for found, length in zip(own, lengths, strict=True):
        most = 5 / (length * 32) ** 0.5
        assert 0.9 * most < float(found.abs().max()) <= most * 1.00001
        assert abs(float(found.mean())) < 0.1 * most and float(found.std()) == pytest.approx(most / 3**0.5, rel=0.1)


def test_weights_of_one_size_change_nothing_and_noise_depends_on_the_step_alone(tiny_path: Path, tmp_path: Path) -> None:
    def run(name: str, options: dict[str, Any], **train: Any) -> list[float]:
        place = tmp_path / name
        settings = {"max_steps": 3, "evaluate_every": 3, **train}
        train_tiny(tiny_path, place, objective={"options": options}, train=settings, method={"layers": 1, "dropout": 0.0})
        rows = [orjson.loads(line) for line in (place / "work" / "metrics.jsonl").read_bytes().splitlines()]
        return [row["loss"] for row in rows if "loss" in row]

    plain = run("plain", {})
    noisy = run("noisy", {"neftune_alpha": 20.0})
    assert noisy[0] != pytest.approx(plain[0], rel=1e-4)
    assert run("scaled", {"neftune_alpha": 20.0, "source_weights": {"*": 0.001}}) == pytest.approx(noisy, rel=1e-5)
    reports = [(tmp_path / name / "out" / "report.html").read_text() for name in ("plain", "noisy")]
    assert ["computed once and cached" in page for page in reports] == [
        True,
        False,
    ]  # of embeddings that change, nothing is kept


@pytest.mark.parametrize(
    ("options", "rows", "what", "value"),
    [
        ({"source_weights": {"nowhere": 2.0}}, ROWS, "fits no source", "nowhere"),
        ({"weight_column": "wieght"}, ROWS, "no row has the column", "wieght"),
        ({"source_weights": {"*": 0.0}}, ROWS, "every answer of the train split has the weight 0", "4 rows"),
        ({"weight_column": "weight"}, [told("a", "b", id="e", meta={"weight": "heavy"})], "cannot be read", "row e"),
        ({"weight_column": "weight"}, [told("a", "b", id="f", meta={"weight": "-1"})], "cannot be read", "row f"),
        ({}, [told("a", "b", id="g", meta={"answer_weights": "1 1"})], "cannot be read", "2 weights for 1 answers"),
    ],
)
def test_weights_that_cannot_be_meant_stop_before_the_first_step(
    options: dict[str, Any], rows: list[Example], what: str, value: str
) -> None:
    method: Any = open_method("sft", options)
    with pytest.raises(TrainingError, match=what) as caught:
        method.check({"train": rows, "val": rows})
    (problem,) = caught.value.problems
    assert value in str(problem.value) and problem.expected and problem.hint


def test_a_run_checks_the_weights_of_its_rows(tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="fits no source"):
        train_tiny(tiny_path, tmp_path, objective={"options": {"source_weights": {"nowhere": 1.0}}}, rows=examples(8))


def test_only_settings_that_differ_from_their_defaults_name_a_run() -> None:
    assert identity(open_method("sft", {"z_loss": 0.0, "source_weights": {}, "last_turn_only": False})) == {}
    assert identity(open_method("sft", {"z_loss": 1e-4})) == {"kind": "sft", "z_loss": 1e-4}


# --- rows -------------------------------------------------------------------------------------------------------------


def turns(*weights: Any) -> dict[str, Any]:
    said = [[{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}] for n in range(len(weights))]
    for pair, weight in zip(said, weights, strict=True):
        pair[1] |= {} if weight is None else {"weight": weight}
    return {"messages": [turn for pair in said for turn in pair]}


def test_weights_of_turns_are_read_and_a_row_ends_with_an_answer_that_counts() -> None:
    record, left_out = record_of(turns(0, 1, None, 0.5, 0), name="f")
    assert isinstance(record, Example) and record.answer == "a3"
    assert answer_weights(record.meta, 4) == (0.0, 1.0, 1.0, 0.5) and left_out == ("turns after the last answer left out",)
    plain, _ = record_of(turns(1, None, 1.0), name="f")
    assert isinstance(plain, Example) and plain.meta == {} and answer_weights(plain.meta, 3) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("weights", "words"),
    [((0, 0), "weight 0"), ((1, -1), "not -1"), (("1",), "not 1"), ((True,), "not True"), ((1e999,), "not inf")],
)
def test_weights_of_turns_that_are_none_are_named(weights: tuple[Any, ...], words: str) -> None:
    with pytest.raises(UnreadableError, match=words):
        record_of(turns(*weights), name="f")
