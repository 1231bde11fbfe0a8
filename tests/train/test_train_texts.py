"""Continued pre-training: the loss of every token is that of its own document alone, in whatever order rows are laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
import torch.nn.functional as F

from fakes import examples, train_tiny
from tunesmith.core.errors import TrainingError
from tunesmith.core.texts import Text
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base, load_model
from tunesmith.models.packed.model import packed
from tunesmith.models.text_rows import cut_text
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.method import open_method
from tunesmith.train.padded import PaddedModel

STORY = "The {0} stands in the shed. Rain falls on the roof, and the {0} waits for a hand that may not come. "


def texts(count: int, *, times: int = 1) -> list[Text]:
    things = ("kettle", "ladder", "needle", "candle", "button", "saddle")
    return [
        Text(id=f"t{n}", text=STORY.format(f"{things[n % 6]} {n}") * times, document_id=f"t{n}", group=f"t{n}", source="a.md")
        for n in range(count)
    ]


def in_parts(chat: Chat, rows: list[Text], most: int) -> list[Text]:
    found = []
    for row in rows:
        parts = cut_text(chat, row.text, max_tokens=most)
        about: dict[str, Any] = {"document_id": row.id, "group": row.id, "source": row.source}
        found += [
            Text(id=f"{row.id}:{n}", text=text, before=before, ends=n == len(parts), **about)
            for n, (before, text) in enumerate(parts, 1)
        ]
    return found


def reference(model: Any, chat: Chat, rows: list[Text]) -> tuple[torch.Tensor, int]:
    """Σ −log p of each row alone, from plain transformers, the row tokenised by the library."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for row in rows:
        ids = [chat.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (row.before, row.text)]
        whole = torch.tensor([[*ids[0], *ids[1], *([7] if row.ends else [])]])
        begin = max(1, len(ids[0]))
        logits = model(input_ids=whole).logits[0].double()
        total = total + F.cross_entropy(logits[begin - 1 : -1], whole[0, begin:], reduction="sum")
        count += whole.shape[1] - begin
    return total, count


@pytest.mark.parametrize("kind", ["trees", "padded"])
def test_the_loss_is_that_of_each_document_alone(kind: str, tiny_path: Path) -> None:
    base = find_base(str(tiny_path))
    model, chat, method = load_model(base, "float32"), open_chat(base), open_method("cpt")
    model.requires_grad_(True)
    rows = [*in_parts(chat, texts(2, times=3), 64), *texts(2)]
    assert len(rows) > 4 and rows[1].before
    wanted, count = reference(model, chat, rows)
    wanted.backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    with packed(model) as lean:
        forward = ExecutionPath(lean if kind == "trees" else PaddedModel(model, chat.pad_id), kind)
        units = method.prepare(rows, chat, max_tokens=100)
        batch = forward.batch(units)
        loss = method.loss(forward, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        found = method.validate(forward, units, lambda _: None)
    assert batch.weight == count
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    for name, parameter in model.named_parameters():
        off = parameter.grad - gradients[name]
        assert float(off.norm()) <= 1e-4 * max(1e-3, float(gradients[name].norm())), name
    mean = float(wanted.detach()) / count
    assert found["loss"] == pytest.approx(mean, rel=1e-5)
    assert found["perplexity"] == pytest.approx(2.718281828459045**mean, rel=1e-4)


def test_documents_that_saw_one_another_would_be_noticed(tiny_path: Path) -> None:
    base = find_base(str(tiny_path))
    model, chat = load_model(base, "float32"), open_chat(base)
    one, other = texts(2)
    alone = float(reference(model, chat, [one, other])[0].detach())
    joined = Text(id="j", text=other.text, before=one.text, document_id="j", group="j", source="a.md")
    together = float((reference(model, chat, [one])[0] + reference(model, chat, [joined])[0]).detach())
    assert together != pytest.approx(alone, rel=1e-3)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_run_on_texts_lowers_their_perplexity_and_asks_nothing(kind: str, tiny_path: Path, tmp_path: Path) -> None:
    method = {"kind": "full"} if kind == "full" else {}
    train = {"max_steps": 4, "evaluate_every": 4, "learning_rate": 0.003 if kind == "full" else 0.01}
    made = train_tiny(tiny_path, tmp_path, objective={"kind": "cpt"}, rows=texts(12), method=method, train=train)  # type: ignore[arg-type]
    rows = [orjson.loads(line) for line in (tmp_path / "work" / "metrics.jsonl").read_bytes().splitlines()]
    seen = [row for row in rows if "val_perplexity" in row]
    assert seen[-1]["val_perplexity"] < 0.9 * seen[0]["val_perplexity"] and not any(row["samples"] for row in seen)
    assert made.figures["perplexity"] == min(row["val_perplexity"] for row in seen)


@pytest.mark.parametrize(("kind", "rows"), [("cpt", examples(8)), ("sft", texts(8))])
def test_rows_of_the_other_kind_stop_before_the_first_step(kind: str, rows: list[Any], tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=f"objective.kind {kind} cannot learn from these rows") as caught:
        train_tiny(tiny_path, tmp_path, objective={"kind": kind}, rows=rows)
    (problem,) = caught.value.problems
    assert "8 of 8" in str(problem.value) and problem.expected and problem.hint
