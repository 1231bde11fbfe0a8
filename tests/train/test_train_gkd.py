"""A larger model teaches: the published divergence from it on a mixture of answers, and no teacher that reads other tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from test_train_distilling import published
from test_train_sampled import adapted, gradient, groups

from fakes import copy_base, examples, make_base, train_tiny
from tunesmith.core.errors import TrainingError
from tunesmith.models.chat import open_chat
from tunesmith.models.load import find_base, load_model
from tunesmith.models.packed.model import packed
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.method import identity, open_method
from tunesmith.train.padded import PaddedModel
from tunesmith.train.teacher import check_teacher, with_teacher


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model of the same family."""
    return make_base(tmp_path_factory.mktemp("teacher") / "teacher", seed=8)


def run(base: Path, place: Path, teacher: Path, **options: Any) -> list[dict[str, Any]]:
    """The rollouts of a short run."""
    objective = {"kind": "gkd", "options": {"teacher": str(teacher), "max_new_tokens": 8, **options}}
    train = {"max_steps": 3, "evaluate_every": 3, "learning_rate": 0.05}
    made = train_tiny(base, place, objective=objective, method={"dropout": 0.0}, train=train, rows=examples(16))
    assert made.reading.shape == "learning" or options.get("on_policy")
    assert "the teacher" in (place / "out" / "report.html").read_text(encoding="utf-8")
    return [orjson.loads(line) for line in (place / "out" / "rollouts.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("path", ["trees", "padded"])
def test_the_loss_is_the_divergence_from_the_teacher_on_the_same_tokens(
    path: str, beta: float, tiny_path: Path, teacher: Path
) -> None:
    chat, model, other = (
        open_chat(find_base(str(tiny_path))),
        adapted(tiny_path),
        load_model(find_base(str(teacher)), "float32"),
    )
    method: Any = open_method("gkd", {"teacher": str(teacher), "beta": beta})
    found = groups(chat, model, [[0.0] * 3] * 2)
    expected, count = torch.zeros((), dtype=torch.float64), 0
    for group in found:
        for sample in group.samples:
            ids, begin = torch.tensor([[*group.prompt, *sample.ids]]), len(group.prompt) - 1
            told = other(input_ids=ids).logits[0, begin:-1].detach()
            expected = expected + published(model(input_ids=ids).logits[0, begin:-1], told, beta).sum()
            count += len(sample.ids)
    wanted = gradient(model, expected / count)
    with packed(model) as lean, packed(other) as theirs:
        both = [lean, theirs] if path == "trees" else [PaddedModel(one, chat.pad_id) for one in (model, other)]
        own, far = (ExecutionPath(one, path, shares=path == "trees") for one in both)
        forward = ExecutionPath(own.reads, path, shares=own.shares, taught_by=far)
        batch = forward.batch(method.units(forward, found))
        loss = method.loss(forward, batch) / batch.weight
        ours = gradient(model, loss)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()) / count, rel=1e-5)
    assert float((ours - wanted).norm()) <= 1e-5 * float(wanted.norm())


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_share_of_the_prompts_is_answered_by_the_model(share: float, tiny_path: Path, tmp_path: Path, teacher: Path) -> None:
    written = {example.id: example.answer for example in examples(16)}
    rollouts = run(tiny_path, tmp_path, teacher, on_policy=share)
    own = [row["answer"] != written[row["example"]] for row in rollouts]
    assert len(own) == 12 and all(row["ended"] for row, drawn in zip(rollouts, own, strict=True) if not drawn)
    assert all(own) if share == 1 else 2 <= sum(own) <= 10


def test_the_dataset_answers_are_learned_to_their_end_token(tiny_path: Path, tmp_path: Path, teacher: Path) -> None:
    written = {example.id: example.answer for example in examples(16)}
    rollouts = run(tiny_path, tmp_path, teacher, on_policy=0.0)
    assert len(rollouts) == 12 and all(row["answer"] == written[row["example"]] for row in rollouts)
    chat = open_chat(find_base(str(tiny_path)))
    kept = orjson.loads((tmp_path / "work" / "rollouts" / "00000000.json").read_bytes())["units"]
    rows = {tuple(chat.answer_row(one.messages).ids) for one in examples(16)}
    for entry in kept:
        (ids, _, ended, *_), whole = entry["answers"][0], (*entry["prompt"], *entry["answers"][0][0])
        assert ended and ids[-1] in chat.end_ids and any(row[: len(whole)] == whole for row in rows)


def test_a_teacher_of_another_tokenizer_is_refused_before_the_first_step(
    tiny_path: Path, tmp_path: Path, teacher: Path
) -> None:
    """Planted: two tokens that changed places, and a merge that is missing."""
    swapped, unmerged = copy_base(teacher, tmp_path / "swapped"), copy_base(teacher, tmp_path / "unmerged")
    for folder, fault in ((swapped, "vocab"), (unmerged, "merges")):
        file = folder / "tokenizer.json"
        found = json.loads(file.read_text(encoding="utf-8"))
        model = found["model"]
        if fault == "vocab":
            model["vocab"]["a"], model["vocab"]["b"] = model["vocab"]["b"], model["vocab"]["a"]
        else:
            model["merges"] = [pair for pair in model["merges"] if "".join(pair) != "in"]
        file.write_text(json.dumps(found), encoding="utf-8")
        with pytest.raises(TrainingError, match="another tokenizer") as caught:
            run(tiny_path, tmp_path / fault, folder)
        problem = caught.value.problems[0]
        assert str(folder) in str(problem.value) and problem.expected and problem.hint
        assert ("'a' is" if fault == "vocab" else "it cuts") in str(problem.value) or "'b' is" in str(problem.value)
        assert not (tmp_path / fault / "work" / "metrics.jsonl").exists()


def test_a_teacher_that_is_not_there_or_reads_too_little_is_refused(tiny_path: Path, tmp_path: Path, teacher: Path) -> None:
    with pytest.raises(TrainingError, match="needs a teacher") as caught:
        identity(open_method("gkd"))
    assert "self_distillation" in caught.value.problems[0].hint
    with pytest.raises(TrainingError, match="not on this machine"):
        identity(open_method("gkd", {"teacher": str(tmp_path / "nothing")}))
    short = copy_base(teacher, tmp_path / "short", config={"max_position_embeddings": 16})
    with pytest.raises(TrainingError, match="cannot read rows") as caught:
        run(tiny_path, tmp_path / "run", short)
    assert "train.max_tokens=16" in caught.value.problems[0].hint


def test_a_run_is_named_by_the_weights_of_its_teacher(tiny_path: Path, tmp_path: Path, teacher: Path) -> None:
    moved = copy_base(teacher, tmp_path / "moved")
    names = [identity(open_method("gkd", {"teacher": str(folder)})) for folder in (teacher, moved, tiny_path)]
    assert names[0] == names[1] != names[2]


def test_a_model_that_only_reads_padded_rows_can_teach(tiny_path: Path, tmp_path: Path, teacher: Path) -> None:
    """Each of the two has an execution path of its own."""
    chat, model = open_chat(find_base(str(tiny_path))), adapted(tiny_path)
    method: Any = open_method("gkd", {"teacher": str(teacher)})
    units = method.units(None, groups(chat, model, [[0.0] * 2] * 2))
    losses = []
    for padded in (False, True):
        with packed(model) as lean:
            own = ExecutionPath(lean, "trees", shares=True)
            made = with_teacher(own, method, units, chat=chat, precision="float32", reporter=None)  # type: ignore[arg-type]
            with made as path:
                far = path.teacher if not padded else ExecutionPath(PaddedModel(path.teacher.model, chat.pad_id), "padded")
                forward = ExecutionPath(lean, "trees", shares=True, taught_by=far)
                losses.append(float(method.loss(forward, forward.batch(units)).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_teacher_that_cannot_read_what_the_model_will_answer_is_refused(
    tiny_path: Path, teacher: Path, tmp_path: Path
) -> None:
    chat = open_chat(find_base(str(tiny_path)))
    method: Any = open_method("gkd", {"teacher": str(teacher)})
    units = method.prepare(examples(4), chat, max_tokens=400)
    longest = max(len(row.ids) for unit in units for row in unit.rows)
    folder = find_base(str(copy_base(teacher, tmp_path / "short", config={"max_position_embeddings": longest})))
    check_teacher(folder, chat, units)
    with pytest.raises(TrainingError, match="cannot read rows"):
        check_teacher(folder, chat, units, drawn=longest)
