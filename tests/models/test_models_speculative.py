"""Drafts change how many passes an answer takes, and nothing else: the same tokens, draws and log-probabilities as without."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_models_continuous import KINDS, put, saved_adapter
from test_models_generate_slots import make as architecture
from test_models_generate_slots import one_by_one, prompts

from fakes import VOCABULARY, conversation, make_base
from tunesmith.models.chat import open_chat
from tunesmith.models.continuous import generator
from tunesmith.models.continuous.attention import Step
from tunesmith.models.continuous.draft_model import DraftModel
from tunesmith.models.continuous.drafts import Chance, Drafter, Lookup, NGrams, Writing, share
from tunesmith.models.continuous.forward import Costs
from tunesmith.models.continuous.generator import Capacity, Continuous, Order, Token
from tunesmith.models.generation.requests import Job, Sampling
from tunesmith.models.load import find_base, load_model

FREE = Costs(((1, 1.0), (2, 1.0)))  # a pass costs the same for any number of tokens, so that all guesses are checked
NOTHING = Costs(((1, 0.0), (2, 0.0)))
CAPACITY = Capacity(rows=6, memory_bytes=2**30, prefix_bytes=2**24, piece_tokens=24)
SETTINGS = {
    "greedy": Sampling(),
    "penalised": Sampling(repetition_penalty=1.3),
    "drawn": Sampling(temperature=0.8),
    "drawn from few": Sampling(temperature=0.9, top_p=0.9, top_k=40, min_p=0.02, repetition_penalty=1.1),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return find_base(str(make_base(tmp_path_factory.mktemp("bases") / "tiny")))


@pytest.fixture(scope="module")
def adapters(base: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: saved_adapter(base, name, tmp_path_factory.mktemp(name)) for name in KINDS}


@dataclass
class Heard:
    """Ends at the tokens of `ends`. `state` is what a grammar would be: the tokens so far decide which may follow."""

    ends: Sequence[int]
    tokens: list[Token] = field(default_factory=list)

    def __call__(self, token: Token) -> bool:
        self.tokens.append(token)
        return token.id in self.ends

    def allow(self, logits_V: torch.Tensor) -> None:
        """A third of the vocabulary, by the sum of all tokens so far: one wrong token, and all that follows is another text."""
        logits_V[(torch.arange(len(logits_V)) + sum(token.id for token in self.tokens)) % 3 != 0] = float("-inf")

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]


class Scripted:
    """Knows the answers, and is wrong at every place of an answer with this chance."""

    bytes_per_token = 0

    def __init__(self, answers: dict[tuple[Any, ...], list[int]], wrong: float) -> None:
        self.answers, self.wrong, self.chance = answers, wrong, random.Random(5)

    def draft(self, rows: Sequence[Any], most: Sequence[int], costs: Costs) -> list[list[int]]:
        drafts = []
        for row, count in zip(rows, most, strict=True):
            known = self.answers[key_of(row)]
            here = (known + [3] * count)[len(row.tokens) :][:count]
            drafts.append([one - 1 if one and self.chance.random() < self.wrong else one for one in here])
        return drafts

    def left(self, row: Writing) -> None:
        return


def key_of(order: Order) -> tuple[Any, ...]:
    return (order.adapter, order.job, order.allow is None)


def orders(base: Any, adapters: Sequence[str] = ("",)) -> list[tuple[Order, Heard]]:
    """Answers of every setting for every adapter, some by a grammar, of unlike lengths, many more than the batch has rows."""
    chat, made = open_chat(base), []
    for n, sampling in enumerate(SETTINGS.values()):
        for adapter in adapters:
            for grammar in (False, True):
                prompt = conversation(
                    "Where is the lamp? " * (1 + 3 * n), system="You answer about the hinge of the north door."
                )
                heard = Heard(chat.end_ids)
                job = Job(tuple(chat.encode_prompt(prompt)), 20 + 9 * n, sampling, seed=n)
                made.append(
                    (Order(job, adapter, heard, salt=adapter, logprobs=2, allow=heard.allow if grammar else None), heard)
                )
    return made


def answered(batch: Continuous, asked: Sequence[tuple[Order, Heard]]) -> tuple[list[Heard], int]:
    """What each request heard, and the number of passes. Requests join one after the other."""
    passes = 0
    for order, _ in asked:
        batch.add(order)
        batch.step()
        passes += 1
    while not batch.is_idle:
        batch.step()
        passes += 1
    return [heard for _, heard in asked], passes


def batch_of(base: Any, adapters: dict[str, Path], drafter: Drafter | None = None) -> Continuous:
    batch = Continuous(load_model(base, "float32"), CAPACITY, drafter=drafter, draft_tokens=6, costs=FREE)
    for name, folder in adapters.items():
        put(batch, name, folder)
    return batch


@pytest.fixture(scope="module")
def plain(base: Any, adapters: dict[str, Path]) -> tuple[list[Heard], int, dict[tuple[Any, ...], list[int]]]:
    """Without drafts: answers, passes, and the answers by request."""
    asked = orders(base, ("", *adapters))
    heard, passes = answered(batch_of(base, adapters), asked)
    return heard, passes, {key_of(order): told.ids for order, told in asked}


@pytest.mark.parametrize("wrong", [0.0, 0.3, 1.0])
def test_right_and_wrong_drafts_give_the_answers_of_no_drafts_for_every_setting_and_adapter(
    base: Any, adapters: dict[str, Path], plain: Any, wrong: float
) -> None:
    """Greedy, penalised, drawn and under a grammar, of four models in one batch, with the prefix cache; half of the right
    drafts reach beyond the answer's end."""
    batch = batch_of(base, adapters, Scripted(plain[2], wrong))
    asked = orders(base, ("", *adapters))
    found, passes = answered(batch, asked)
    assert [heard.ids for heard in found] == [heard.ids for heard in plain[0]]
    for heard, wanted in zip(found, plain[0], strict=True):
        assert [token.log_p for token in heard.tokens] == pytest.approx([token.log_p for token in wanted.tokens], abs=1e-3)
        assert [[id for id, _ in token.top] for token in heard.tokens] == [
            [id for id, _ in token.top] for token in wanted.tokens
        ]
    drafted, accepted = (sum(getattr(order, name) for order, _ in asked) for name in ("drafted", "accepted"))
    assert drafted > 0 and batch.prefix.hits > 0
    if wrong == 0:
        assert accepted > 0.8 * drafted and passes < 0.4 * plain[1]
    if wrong == 1:
        assert accepted == 0 and passes == plain[1]


def accept_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "is_right", lambda draft, at, token: at < len(draft))


def keep_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens see one column too many: that of a draft that was wrong."""
    whole = Step.bias
    monkeypatch.setattr(Step, "bias", lambda self, *how: whole(self, *how).roll(1, -1).index_fill_(-1, torch.tensor([0]), 0.0))


def draw_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A uniform number is used up for every draft, right or wrong."""
    take = Continuous._take

    def wasteful(self: Continuous, rows: Any, logits_NV: torch.Tensor) -> None:
        for row, draft, _ in rows:
            for _ in draft:
                row.voice.uniform()
        take(self, rows, logits_NV)

    monkeypatch.setattr(Continuous, "_take", wasteful)


@pytest.mark.parametrize("plant", [accept_all, keep_rejected, draw_twice])
def test_a_planted_fault_gives_other_answers(
    base: Any, plain: Any, plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong draft accepted, its keys seen afterwards, or a draw spent on it: each is found by the comparison above."""
    plant(monkeypatch)
    asked = orders(base)
    found, _ = answered(batch_of(base, {}, Scripted(plain[2], 0.3)), asked)
    assert [heard.ids for heard in found] != [plain[2][key_of(order)] for order, _ in asked]


@pytest.mark.parametrize("explicit", [True, False], ids=["written out", "by kernel"])
@pytest.mark.parametrize("kind", ["smollm", "mistral with a window", "gemma2 capped"])
def test_guessed_tokens_attend_as_their_architecture_does(kind: str, explicit: bool) -> None:
    """Against answers one by one by the library, with drafts half of which are wrong, in rows of unlike drafts."""
    model = architecture(kind)
    jobs = [Job(ids, 24, seed=n) for n, ids in enumerate(prompts(7, shared=12))]
    wanted = {("", job, True): one_by_one(model, job.ids, job.room, ()) for job in jobs}
    batch = Continuous(model, CAPACITY, drafter=Scripted(wanted, 0.2), draft_tokens=9, costs=FREE)
    batch.forward._explicit = explicit
    asked = [(Order(job, "", heard), heard) for job in jobs for heard in [Heard(())]]
    answered(batch, asked)
    assert [heard.ids for _, heard in asked] == list(wanted.values())
    assert 0 < sum(order.accepted for order, _ in asked) < sum(order.drafted for order, _ in asked)


def test_n_grams_guess_a_text_that_is_said_again_and_leave_other_answers_as_they_are(base: Any, plain: Any) -> None:
    """One more request may only say its prompt again, as one that edits a text does."""
    asked = orders(base)
    ids = asked[-1][0].job.ids[-40:]
    copying = Heard(())

    def allow(logits_V: torch.Tensor) -> None:
        only = ids[len(copying.tokens)]
        logits_V[torch.arange(len(logits_V)) != only] = float("-inf")

    copy = Order(Job(ids, len(ids)), "", copying, allow=allow)
    answered(batch_of(base, {}, NGrams()), [(copy, copying), *asked])
    assert copying.ids == list(ids) and copy.accepted > 20
    assert [heard.ids for _, heard in asked] == [plain[2][key_of(order)] for order, _ in asked]


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 12))
def test_what_is_looked_up_followed_the_longest_earlier_occurrence(text: list[int], count: int) -> None:
    lookup = Lookup()
    half = len(text) // 2
    lookup.add(text[:half])
    lookup.add(text[half:])
    found = lookup.continued(count)
    earlier = [
        (shared, at)
        for at in range(2, len(text))
        if (shared := next((n for n in range(min(at, 16)) if text[at - 1 - n] != text[-1 - n]), min(at, 16))) >= 2
    ]
    if not earlier:
        assert found == []
        return
    at = max(earlier[-8:])[1]
    wanted = list(text)
    for n in range(count):
        wanted.append(wanted[at + n])
    assert found == wanted[len(text) :]


CPU = Costs(((1, 63.0), (2, 90.0), (8, 116.0), (32, 231.0), (64, 330.0)))  # milliseconds, SmolLM2 on one core


def test_a_draft_is_shared_out_by_what_it_saves() -> None:
    """Alone, long drafts of sure guesses pay and short ones of doubtful guesses do not; a machine with less to spare checks
    fewer, and guesses that cost something must save it."""
    assert share([0.9], [16], CPU)[0] >= 8 and share([0.3], [16], CPU) == [0]
    assert sum(share([0.4] * 32, [8] * 32, CPU)) == 0 < sum(share([0.9] * 32, [8] * 32, CPU))
    assert share([0.95, 0.1], [8, 8], CPU)[1] == 0 < share([0.95, 0.1], [8, 8], CPU)[0]
    assert share([0.9], [8], CPU, each=60.0) == [0] and share([0.9], [0], CPU) == [0]
    assert share([0.3] * 4, [8] * 4, FREE) == [8] * 4


@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.integers(0, 5)), min_size=1, max_size=3))
def test_no_other_share_gives_more_tokens_per_second(rows: list[tuple[float, int]]) -> None:
    """Against every share that there is."""
    chances, most = [p for p, _ in rows], [count for _, count in rows]

    def rate(counts: Sequence[int]) -> float:
        expected = sum(p**j for p, count in zip(chances, counts, strict=True) for j in range(count + 1))
        return expected / CPU.of(len(rows) + sum(counts))

    best = max(map(rate, product(*(range(count + 1) for count in most))))
    assert rate(share(chances, most, CPU)) == pytest.approx(best)


def test_a_row_whose_guesses_fail_gets_none_and_one_whose_guesses_succeed_gets_many() -> None:
    bad, good = Chance(), Chance()
    tried = 0
    for _ in range(50):
        tried += share([bad.value], [8], CPU)[0]
        bad.compare([1], [2])
        good.compare([1, 2], [1, 2, 3])
    assert tried < 15 and share([bad.value], [8], CPU) == [0] and share([good.value], [8], CPU) == [8]
    for _ in range(100):
        bad.forget()
    assert share([bad.value], [8], CPU) > [0]


def test_a_pass_costs_time_and_more_tokens_do_not_cost_less(base: Any) -> None:
    costs = batch_of(base, {}).forward.costs()
    sizes = [costs.of(count) for count in (1, 2, 5, 8, 20, 64, 100)]
    assert sizes == sorted(sizes) and sizes[0] > 0
    assert CPU.of(5) == pytest.approx(103.0) and CPU.of(96) == pytest.approx(429.0) and CPU.of(64) == 330.0


@pytest.mark.parametrize("own", [True, False])
def test_a_draft_model_gives_the_answers_of_no_drafts(base: Any, plain: Any, tmp_path: Path, own: bool) -> None:
    """The model itself, whose guesses are right where the likeliest token is taken, and another one, whose guesses are not."""
    small = load_model(base if own else find_base(str(make_base(tmp_path / "other", seed=8))), "float32")
    drafter = DraftModel(small, vocabulary=VOCABULARY, context=400, piece_tokens=24, costs=NOTHING)
    asked = orders(base)
    found, _ = answered(batch_of(base, {}, drafter), asked)
    assert [heard.ids for heard in found] == [plain[2][key_of(order)] for order, _ in asked]
    greedy = asked[0][0]
    assert greedy.accepted == greedy.drafted > 0 if own else greedy.accepted < greedy.drafted
    assert not drafter._slots and not drafter._free


def test_a_draft_model_of_a_short_context_does_not_draft_beyond_it(base: Any, plain: Any) -> None:
    drafter = DraftModel(load_model(base, "float32"), vocabulary=VOCABULARY, context=60, piece_tokens=24, costs=NOTHING)
    asked = orders(base)
    found, _ = answered(batch_of(base, {}, drafter), asked)
    assert [heard.ids for heard in found] == [plain[2][key_of(order)] for order, _ in asked]
    long = [order for order, _ in asked if len(order.job.ids) >= 60]
    assert long and not any(order.drafted for order in long)
