"""The batch of a server gives each request the answer that it would get alone, whoever shares the batch with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fakes import conversation, make_base
from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import CONFIG, WEIGHTS, attach, open_adapter, save_adapter
from tunesmith.models.chat import open_chat
from tunesmith.models.continuous.adapters import updates_of
from tunesmith.models.continuous.generator import Capacity, Continuous, Order, Token
from tunesmith.models.continuous.text import GrowingText
from tunesmith.models.generation.plain import run_plain
from tunesmith.models.generation.requests import Job, Sampling
from tunesmith.models.load import find_base, load_model

KINDS: dict[str, dict[str, Any]] = {
    "four": {"kind": "lora", "rank": 4, "modules": ["q_proj", "v_proj"]},
    "two": {"kind": "rslora", "rank": 2, "modules": ["gate_proj", "down_proj", "o_proj"]},
    "dora": {"kind": "dora", "rank": 3, "modules": ["q_proj", "up_proj"]},
}
CAPACITY = Capacity(rows=4, memory_bytes=2**30, prefix_bytes=2**24, piece_tokens=24)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return find_base(str(make_base(tmp_path_factory.mktemp("bases") / "tiny")))


def saved_adapter(base: Any, name: str, folder: Path) -> Path:
    """An adapter that is not near zero."""
    about, model = KINDS[name], load_model(base, "float32")
    leaves = about["modules"]
    modules = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n.rsplit(".", 1)[-1] in leaves]
    seed = list(KINDS).index(name)
    adapted, _ = attach(model, kind=about["kind"], rank=about["rank"], alpha=8.0, dropout=0.0, modules=modules, seed=seed)
    with torch.no_grad():
        for n, p in adapted.named_parameters():
            if "lora_B" in n:
                p.normal_(std=0.3)
    save_adapter(adapted, base.address, folder)
    return folder


@pytest.fixture(scope="module")
def adapters(base: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved adapters of different kind, rank and target."""
    return {name: saved_adapter(base, name, tmp_path_factory.mktemp(name)) for name in KINDS}


@dataclass
class Heard:
    """What a request was told: its tokens. Ends at the tokens that the chat declares."""

    ends: Sequence[int]
    tokens: list[Token] = field(default_factory=list)

    def __call__(self, token: Token) -> bool:
        self.tokens.append(token)
        return token.id in self.ends

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]


def asking(question: str) -> Any:
    """Under a system message of more than one block of the prefix cache."""
    return conversation(question, system="You answer about the hinge of the north door, and about nothing else.")


def put(batch: Continuous, name: str, folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_bytes())
    batch.bank.put(name, updates_of(load_file(folder / WEIGHTS), config))


def alone(base: Any, folder: Path | None, jobs: Sequence[Job], ends: Sequence[int]) -> list[list[int]]:
    """By transformers and peft, one request at a time."""
    model = load_model(base, "float32")
    model = open_adapter(model, folder) if folder else model
    return [[made.token for made in one] for one in run_plain(model, jobs, lambda n, tokens: tokens[-1] in ends)]


def test_requests_of_the_base_and_of_unlike_adapters_join_and_leave_one_batch_and_get_their_own_answers(
    base: Any, adapters: dict[str, Path]
) -> None:
    chat = open_chat(base)
    batch = Continuous(load_model(base, "float32"), CAPACITY)
    for name, folder in adapters.items():
        put(batch, name, folder)
    drawn = Sampling(temperature=0.9, top_p=0.95)
    asked = [
        (key, Job(tuple(chat.encode_prompt(asking(f"Tell me {'more ' * n}about it, {n}."))), 8 + 5 * n, how, seed=n))
        for n in range(3)
        for key in ("", *adapters)
        for how in (Sampling(), drawn)
    ]
    heard = [Heard(chat.end_ids) for _ in asked]
    for (key, job), told in zip(asked, heard, strict=True):
        batch.add(Order(job, key, told, salt=key, logprobs=2))
        batch.step()  # the others are at work meanwhile
    while not batch.is_idle:
        batch.step()
    assert not batch.rows and batch.prefix.hits > 0
    for key in ("", *adapters):
        own = [at for at, (of, _) in enumerate(asked) if of == key]
        wanted = alone(base, adapters.get(key), [asked[at][1] for at in own], chat.end_ids)
        assert [heard[at].ids for at in own] == wanted
    greedy = heard[0].tokens
    assert all(token.log_p is not None and token.top[0] == (token.id, token.log_p) for token in greedy)


def test_a_request_that_is_given_up_frees_its_slot_and_changes_no_other_answer(base: Any) -> None:
    chat = open_chat(base)
    jobs = [Job(tuple(chat.encode_prompt(conversation("w" * n))), 20) for n in (40, 9, 77)]
    wanted = alone(base, None, jobs, ())
    batch = Continuous(load_model(base, "float32"), CAPACITY)
    heard = [Heard(()) for _ in jobs]
    orders = [Order(job, "", told) for job, told in zip(jobs, heard, strict=True)]
    for order in orders:
        batch.add(order)
    for _ in range(9):
        batch.step()
    batch.drop(orders[0])
    assert len(batch.rows) == 2
    while not batch.is_idle:
        batch.step()
    assert [told.ids for told in heard[1:]] == wanted[1:] and len(heard[0].ids) < 20


def test_a_prompt_read_before_is_not_read_again_under_the_same_adapter_and_is_under_another(base: Any) -> None:
    chat = open_chat(base)
    batch = Continuous(load_model(base, "float32"), CAPACITY)
    long = conversation("Where is the lamp over the vice? " * 8)
    job = Job(tuple(chat.encode_prompt(long)), 4)
    orders = [Order(job, "", Heard(()), salt=salt) for salt in ("a", "a", "b")]
    for order in orders:
        batch.add(order)
        while not batch.is_idle:
            batch.step()
    first, again, other = orders
    assert (first.cached, other.cached) == (0, 0)
    assert again.cached == (len(job.ids) - 1) // 32 * 32 and again.tokens == first.tokens


def test_an_adapter_of_another_base_is_refused_and_leaves_the_model_as_it_was(
    base: Any, adapters: dict[str, Path], tmp_path: Path
) -> None:
    batch = Continuous(load_model(base, "float32"), CAPACITY)
    config = json.loads((adapters["four"] / CONFIG).read_bytes())
    tensors = load_file(adapters["four"] / WEIGHTS)
    wide = {name: torch.cat([t, t], 1) if "lora_A" in name else t for name, t in tensors.items()}
    with pytest.raises(ModelError, match="does not fit this base"):
        batch.bank.put("wide", updates_of(wide, config))
    assert "wide" not in batch.bank and not any("forward" in vars(m) for m in batch.forward.model.modules())
    put(batch, "four", adapters["four"])
    batch.bank.remove("four")
    assert not any("forward" in vars(m) for m in batch.forward.model.modules())


@pytest.mark.parametrize("stop", [(), ("the",), ("Ω the", " th")])
def test_text_that_grows_token_by_token_is_the_text_of_all_tokens_cut_at_the_first_stop_text(base: Any, stop: Any) -> None:
    chat = open_chat(base)
    whole = "Naïve 😀 kettles, Ω the end of it — in the rain. 日本語"
    ids = chat.encode_text(whole)
    grown = GrowingText(chat, stop)
    pieces = []
    for at, token in enumerate(ids):
        pieces.append(grown.add(token, last=at == len(ids) - 1))
        if grown.finish:
            break
    cuts = [whole.find(one) for one in stop]
    assert "".join(pieces) == (whole[: min(cuts)] if cuts else whole)
    assert all("�" not in piece for piece in pieces)
