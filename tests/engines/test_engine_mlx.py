"""MLX: the conversation with its worker, played by a script that speaks the same lines; for real where MLX is installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fakes import conversation
from tunesmith.core.errors import EngineError
from tunesmith.engines import mlx_worker
from tunesmith.engines.engine import ALONE, EngineRequest
from tunesmith.engines.mlx import PYTHON, Mlx
from tunesmith.models.chat import Chat
from tunesmith.models.generation.requests import Sampling
from tunesmith.models.load import BaseFolder, load_model

ROW = (2, 10, 60, 61, 62, 63, 7, 12, 90)
WORKER = """
import json, struct, sys
out = sys.stdout.buffer
def say(found, content=b""):
    out.write(json.dumps(found).encode() + b"\\n" + content); out.flush()
say({"version": "0.0-fake"})
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "tokenize": say({"ids": [len(asked["text"])]})
    elif asked["do"] == "render": say({"prompt": "<" + asked["messages"][0]["content"] + ">"})
    elif asked["do"] == "answer":
        if asked["max_tokens"] == 13: sys.exit("out of memory")
        say({"text": json.dumps(asked["sampling"]), "ids": [5, 7], "reason": "stop"})
    else:
        values = [float(3 * t + v) for t in range(len(asked["ids"])) for v in range(3)]
        say({"shape": [len(asked["ids"]), 3]}, struct.pack(f"{len(values)}f", *values))
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mlx]:
    (tmp_path / "model").mkdir()
    (tmp_path / "worker.py").write_text(WORKER, encoding="utf-8")
    monkeypatch.setattr(mlx_worker, "__file__", str(tmp_path / "worker.py"))
    with Mlx(tmp_path / "model", python=sys.executable) as running:
        yield running


def test_answers_scores_and_logits_are_read_from_the_worker(engine: Mlx) -> None:
    assert engine.version == "0.0-fake" and engine.tokenize("abc") == (3,)
    assert engine.render(conversation("Hello")) == "<Hello>"
    [answer] = engine.answer([EngineRequest(ids=(1, 2), max_new_tokens=4, sampling=Sampling(top_k=3, seed=9))])
    assert answer.ids == (5, 7) and '"top_k": 3' in answer.text and '"seed": 9' in answer.text
    assert engine.logits((0, 1)).tolist() == [[0, 1, 2], [3, 4, 5]]
    [scores, nothing] = engine.score([(0, 2, 1), (0, 1)], [1, 2], top=2)
    expected = torch.log_softmax(torch.tensor([0.0, 1.0, 2.0]), -1)
    assert np.allclose(scores.log_p, [expected[2], expected[1]]) and scores.is_top == (True, False)
    assert scores.top[0].ids == (2, 1) and nothing.log_p == ()
    assert engine.next_tokens([(0,)], 1)[0].ids == (2,) and engine.memory_bytes() > 2**20


def test_a_worker_that_dies_in_an_answer_is_reported_with_its_last_words(engine: Mlx) -> None:
    with pytest.raises(EngineError, match="out of memory"):
        engine.answer([EngineRequest(ids=(1, 2), max_new_tokens=13)])


def test_an_adapter_cannot_be_switched(engine: Mlx) -> None:
    engine.answer([EngineRequest(ids=(1,), max_new_tokens=1, adapter=ALONE)])
    with pytest.raises(EngineError, match="cannot switch adapters"):
        engine.answer([EngineRequest(ids=(1,), max_new_tokens=1, adapter="mine")])


def test_what_means_something_else_in_mlx_is_stated(engine: Mlx) -> None:
    assert not engine.differences(Sampling(repetition_penalty=1.2))
    assert len(engine.differences(Sampling(temperature=0.7, top_p=0.9))) == 2


def test_without_a_python_of_its_own_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(PYTHON, raising=False)
    monkeypatch.setattr("tunesmith.engines.served.find_spec", lambda package: None)  # where this one has mlx-lm
    with pytest.raises(EngineError, match="needs a Python environment of its own"):
        Mlx(tmp_path)


@pytest.mark.skipif(not os.environ.get(PYTHON), reason=f"{PYTHON} names no Python with mlx-lm")
def test_the_real_mlx_reads_scores_and_answers_like_transformers(tiny_path: Path, tiny: BaseFolder, tiny_chat: Chat) -> None:
    with torch.inference_mode():
        logits = load_model(tiny, "float32")(input_ids=torch.tensor([ROW])).logits[0]
    with Mlx(tiny_path) as engine:
        assert engine.tokenize("the water<|end|>") == tuple(tiny_chat.tokenizer("the water<|end|>")["input_ids"])
        assert engine.render(conversation("Hello")) == tiny_chat.render(conversation("Hello"), answer_next=True)
        assert np.abs(engine.logits(ROW) - logits.numpy()).max() < 0.01
        [scores] = engine.score([ROW], [3])
        expected = torch.log_softmax(logits, -1)[torch.arange(2, len(ROW) - 1), torch.tensor(ROW[3:])]
        assert np.abs(np.array(scores.log_p) - expected.numpy()).max() < 0.01
        [answer] = engine.answer([EngineRequest(ids=ROW, max_new_tokens=3)])
        assert answer.ids is not None and answer.ids[0] == int(logits[-1].argmax())
