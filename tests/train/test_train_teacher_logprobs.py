"""A server's likeliest tokens teach: asked for over HTTP, kept with the answers, aligned by bytes, learned as published."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from fake_llm import Asked, Character, Said, fake_llm

from fakes import copy_base, examples, train_tiny
from tunesmith.api.synth_file import Made, synthesize
from tunesmith.core.errors import GeneratorError, TrainingError
from tunesmith.core.records import Example, read_jsonl
from tunesmith.core.reporter import SilentReporter
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base
from tunesmith.models.packed.divergence import ListedTokens
from tunesmith.models.packed.head import Head
from tunesmith.models.token_bytes import ids_by_bytes
from tunesmith.pipeline.sections.dataset import GeneratorConfig
from tunesmith.train.method import identity, open_method


def teaching(chat: Chat) -> Character:
    """A server that answers in tokens of this tokenizer: each with probability 0.6, and 0.3 for the token after it."""

    spelled = {number: list(raw) for raw, number in ids_by_bytes(chat.tokenizer).items()}

    def character(asked: Asked) -> Said:
        text = f"The {asked.user.split()[-2]} waits — and I wait with it, as it was a slow day."

        def one(token: int, p: float) -> dict[str, Any]:
            raw = spelled[token]
            return {"token": bytes(raw).decode(errors="replace"), "logprob": math.log(p), "bytes": raw}

        listed = []
        for token in chat.encode_text(text):
            first, second = one(token, 0.6), one(40 + token % 60, 0.3)
            unknown = {"token": "a token of others", "logprob": math.log(0.05), "bytes": list(b"a token of others")}
            listed.append({**first, "top_logprobs": [first, second, unknown][: asked.body["top_logprobs"]]})
        return Said(text, logprobs=listed)

    return character


def distilled(folder: Path, character: Character, *, top: int = 3, times: int = 1) -> Made:
    """What `synth distil` writes, from 16 requests however often it is called."""
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": one.prompt[-1].content}) + "\n" for one in examples(16)), "utf-8")
    with fake_llm(character) as server:
        settings = GeneratorConfig(url=server.url, model="fake-1", top_logprobs=top)
        made, *others = (
            synthesize(
                "distil",
                prompts,
                folder / f"d{n}.jsonl",
                generator=settings,
                replies=folder / "replies",
                reporter=SilentReporter(),
            )
            for n in range(times)
        )
        for other in others:
            assert other.files["logprobs"].read_bytes() == made.files["logprobs"].read_bytes()
        assert len(server.asked) == 16
        assert all(("top_logprobs" in asked.body) == bool(top) for asked in server.asked)
        return made


@pytest.fixture(scope="module")
def chat(tiny_path: Path) -> Chat:
    return open_chat(find_base(str(tiny_path)))


@pytest.fixture
def answers(chat: Chat, tmp_path: Path) -> tuple[list[Example], Path]:
    made = distilled(tmp_path, teaching(chat))
    return list(read_jsonl(made.files["out"], Example)), made.files["logprobs"]


# --- asking -----------------------------------------------------------------------------------------------------------


def test_log_probabilities_are_asked_for_paid_once_and_kept_under_the_hash_of_the_request(chat: Chat, tmp_path: Path) -> None:
    made = distilled(tmp_path, teaching(chat), times=2)
    kept = [orjson.loads(line) for line in made.files["logprobs"].read_bytes().splitlines()]
    rows = list(read_jsonl(made.files["out"], Example))
    assert [row["request"] for row in kept] == [one.origin.prompt_sha256 for one in rows if one.origin]
    assert b"".join(bytes.fromhex(token) for token, *_ in kept[0]["tokens"]).decode() == rows[0].answer
    assert all(len(likeliest) == 3 for _, _, likeliest in kept[0]["tokens"])


def test_a_server_without_log_probabilities_is_told_and_answers_alone_can_be_had(tmp_path: Path) -> None:
    def silent(asked: Asked) -> Said:
        return Said("The kettle waits, and I wait with it.")

    (tmp_path / "alone").mkdir()
    with pytest.raises(GeneratorError, match="gives no log-probabilities") as caught:
        distilled(tmp_path, silent)
    assert "generator.top_logprobs=0" in caught.value.problems[0].hint
    made = distilled(tmp_path / "alone", silent, top=0)
    assert "logprobs" not in made.files


# --- the formula ------------------------------------------------------------------------------------------------------


def by_hand(logits: torch.Tensor, listed: dict[int, float]) -> torch.Tensor:
    """The divergence of the teacher's listed tokens, and all others together, from the student's: float64."""
    p = torch.softmax(logits.double(), -1)
    rest_q, rest_p = 1 - sum(listed.values()), 1 - torch.stack([p[token] for token in listed]).sum()
    value = sum((q * (math.log(q) - p[token].log()) for token, q in listed.items()), torch.zeros((), dtype=torch.float64))
    return value + rest_q * (math.log(rest_q) - rest_p.log()) if rest_q > 1e-9 else value


def test_the_divergence_of_listed_tokens_is_that_of_its_definition_in_value_and_gradient() -> None:
    torch.manual_seed(7)
    hidden, weight = torch.randn(4, 8, requires_grad=True), torch.randn(30, 8, requires_grad=True)
    listed = [{3: 0.5, 7: 0.25, 11: 0.1}, {0: 1.0}, {5: 0.6, 0: 0.4}, {2: 0.3}]
    ids = torch.tensor([[*one, *[-1] * (3 - len(one))] for one in listed])
    log_q = torch.tensor([[*(math.log(q) for q in one.values()), *[0.0] * (3 - len(one))] for one in listed])
    expected = torch.stack([by_hand(row, one) for row, one in zip(hidden @ weight.t(), listed, strict=True)])
    wanted = torch.autograd.grad(expected.sum(), (hidden, weight))
    formula = ListedTokens(ids, log_q)
    assert torch.allclose(formula((hidden @ weight.t()).detach(), slice(0, 4))[0].double(), expected, rtol=1e-5)
    ours = torch.autograd.grad(Head(weight).summed(hidden, formula), (hidden, weight))
    for one, other in zip(ours, wanted, strict=True):
        assert float((one - other).norm()) <= 1e-5 * float(other.norm())


# --- a run ------------------------------------------------------------------------------------------------------------


def test_each_target_token_gets_what_the_teacher_listed_for_it(chat: Chat, answers: tuple[list[Example], Path]) -> None:
    rows, file = answers
    method: Any = open_method("teacher_logprobs", {"file": str(file)})
    (unit,) = method.prepare(rows[:1], chat, max_tokens=500)
    row, most = unit.rows[0], int(unit.signal[0])
    targets = [token for token, mark in zip(row.ids, row.learned, strict=True) if mark]
    numbers = torch.tensor(unit.signal[1:], dtype=torch.float64).view(2, len(targets), most)
    assert most == 2 and numbers[0, :, 0].tolist() == targets  # what the base does not know is left to the rest
    words = numbers[:, :-1] if targets[-1] in chat.end_ids else numbers
    assert torch.allclose(words[1, :, 0].exp(), torch.tensor(0.6, dtype=torch.float64))
    assert all(ids[1] == 40 + ids[0] % 60 for ids in words[0].tolist() if ids[1] >= 0)
    assert numbers[0, -1].tolist() == [targets[-1], -1] and numbers[1, -1, 0] == 0  # the end is learned as it is


def test_a_run_nears_the_teacher_and_rows_from_elsewhere_are_learned_as_they_are(
    chat: Chat, answers: tuple[list[Example], Path], tiny_path: Path, tmp_path: Path
) -> None:
    rows, file = answers
    objective = {"kind": "teacher_logprobs", "options": {"file": str(file)}}
    train_tiny(tiny_path, tmp_path / "run", objective=objective, rows=[*examples(4), *rows])
    log = [orjson.loads(line) for line in (tmp_path / "run" / "out" / "metrics.jsonl").read_bytes().splitlines()]
    seen = [row["val_loss"] for row in log if "val_loss" in row]
    assert seen[-1] < 0.95 * seen[0] and "val_accuracy" in log[0] | log[-1]


def test_the_identity_of_a_run_is_that_of_the_numbers_and_not_of_their_file(
    answers: tuple[list[Example], Path], tmp_path: Path
) -> None:
    _, file = answers
    copy, other = tmp_path / "copy.jsonl", tmp_path / "other.jsonl"
    copy.write_bytes(file.read_bytes())
    other.write_bytes(file.read_bytes() + b"\n")
    names = [identity(open_method("teacher_logprobs", {"file": str(one)})) for one in (file, copy, other)]
    assert names[0] == names[1] != names[2]


def test_what_does_not_fit_is_refused_before_the_first_step(
    chat: Chat, answers: tuple[list[Example], Path], tiny_path: Path, tmp_path: Path
) -> None:
    """Planted: a teacher whose tokens are cut otherwise, numbers of other rows, a damaged file, and none at all."""
    rows, file = answers
    unmerged = copy_base(tiny_path, tmp_path / "unmerged")
    tokenizer = json.loads((unmerged / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["merges"] = []
    (unmerged / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(file.read_bytes()[:-20])
    for base, learned, numbers, what in (
        (unmerged, rows, file, "another tokenizer"),
        (tiny_path, list(examples(12)), file, "no row has log-probabilities"),
        (tiny_path, rows, broken, "cannot be read"),
        (tiny_path, rows, tmp_path / "gone.jsonl", "does not exist"),
    ):
        objective = {"kind": "teacher_logprobs", "options": {"file": str(numbers)}}
        with pytest.raises(TrainingError, match=what) as caught:
            train_tiny(base, tmp_path / "run", objective=objective, rows=learned)
        problem = caught.value.problems[0]
        assert problem.expected and problem.hint and not (tmp_path / "run" / "work" / "metrics.jsonl").exists()


def test_the_bytes_of_tokens_are_those_of_both_families_of_tokenizers(chat: Chat) -> None:
    known = ids_by_bytes(chat.tokenizer)
    for text in ("The kettle — waits.", "été 漢字 \n\ttabs"):
        ids = chat.encode_text(text)
        raw = {number: token for token, number in known.items()}
        assert b"".join(raw[number] for number in ids).decode() == text
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    pieces = {"<unk>": 0, "\u2581The": 1, "a": 2, "<0x0A>": 3, "\u2581": 4}
    sentence_piece = Tokenizer(models.BPE(vocab=pieces, merges=[]))
    sentence_piece.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    found = ids_by_bytes(PreTrainedTokenizerFast(tokenizer_object=sentence_piece, unk_token="<unk>"))
    assert found == {b" The": 1, b"a": 2, b"\n": 3, b" ": 4}


def test_an_end_token_that_the_server_lists_as_well_changes_nothing(chat: Chat, answers: tuple[list[Example], Path]) -> None:
    rows, file = answers
    method: Any = open_method("teacher_logprobs", {"file": str(file)})
    plain = method.prepare(rows[:3], chat, max_tokens=500)
    for last in (b"<|end|>", b""):
        method.__dict__["_listed"] = {key: [*listed, (last, -0.1, ())] for key, listed in method._listed.items()}
        assert method.prepare(rows[:3], chat, max_tokens=500) == plain
