"""Running a suite: each question is asked once, answers survive a kill, and what was not asked is unscored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from power_cut import Recorder, build, outcomes, read_tree
from tunesmith.core.records import Message
from tunesmith.eval.suites.run import rescored, run_suite, run_together, unfit_for
from tunesmith.eval.suites.store import AnswerStore
from tunesmith.eval.suites.suite import Suite, SuiteItem
from tunesmith.models.chat import Chat
from tunesmith.models.generate import answer
from tunesmith.models.generation.requests import GREEDY, Completion, Request
from tunesmith.models.load import BaseFolder, load_model


def item(id: str, prompt: str, reference: str, *, unscored: str = "", max_new_tokens: int = 8) -> SuiteItem:
    return SuiteItem(
        id=id,
        group=id,
        messages=(Message(role="user", content=prompt),),
        scorer="exact",
        references=(reference,),
        unscored=unscored,
        max_new_tokens=max_new_tokens,
    )


SUITE = Suite(
    name="s",
    version="1",
    licence="CC0",
    items=(item("a", "red", "RED"), item("b", "blue", "green"), item("c", "x", "", unscored="no reference")),
)


class Shouting:
    """Answers in capitals; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, requests: Sequence[Request]) -> list[Completion]:
        self.asked += [request.messages[-1].content for request in requests]
        assert all(request.sampling == GREEDY for request in requests)
        return [Completion(request.messages[-1].content.upper(), "stop", 2) for request in requests]


def test_answers_are_scored_and_an_unscored_item_is_not_asked() -> None:
    ask = Shouting()
    run = run_suite(SUITE, ask, system="base", fingerprint="f")
    assert ask.asked == ["red", "blue"] and run.num_asked == 2
    assert [(score.item_id, score.value, score.reason) for score in run.scores] == [
        ("a", 1.0, ""),
        ("b", 0.0, ""),
        ("c", None, "no reference"),
    ]
    assert {generation.fingerprint for generation in run.generations} == {run.fingerprint}
    assert rescored(SUITE, run) == run.scores


def test_a_repeated_run_asks_nothing_and_another_model_asks_everything(tmp_path: Path) -> None:
    first = run_suite(SUITE, Shouting(), system="base", fingerprint="f", saved=tmp_path)
    again, other = Shouting(), Shouting()
    second = run_suite(SUITE, again, system="base", fingerprint="f", saved=tmp_path)
    run_suite(SUITE, other, system="tuned", fingerprint="g", saved=tmp_path)
    assert again.asked == [] and second.scores == first.scores and second.generations == first.generations
    assert other.asked == ["red", "blue"]


def test_only_what_changed_in_the_suite_is_asked_again(tmp_path: Path) -> None:
    run_suite(SUITE, Shouting(), system="base", fingerprint="f", saved=tmp_path)
    changed = Suite(name="s", version="2", licence="CC0", items=(item("a", "red", "other"), item("d", "new", "NEW")))
    ask = Shouting()
    run = run_suite(changed, ask, system="base", fingerprint="f", saved=tmp_path)
    assert ask.asked == ["new"] and [score.value for score in run.scores] == [0.0, 1.0]


@pytest.mark.parametrize("fault", ["torn", "changed", "garbage"])
def test_a_torn_or_damaged_line_is_asked_again_and_the_rest_is_kept(tmp_path: Path, fault: str) -> None:
    run_suite(SUITE, Shouting(), system="base", fingerprint="f", saved=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes({"torn": whole[:-20], "changed": whole.replace(b"BLUE", b"GLUE"), "garbage": whole[:-1] + b"?\n"}[fault])
    ask = Shouting()
    run_suite(SUITE, ask, system="base", fingerprint="f", saved=tmp_path)
    assert ask.asked == ["blue"]
    ask = Shouting()
    assert run_suite(SUITE, ask, system="base", fingerprint="f", saved=tmp_path).scores[0].value == 1.0
    assert ask.asked == []


def test_a_run_that_breaks_off_continues_where_it_was(tmp_path: Path) -> None:
    items = tuple(item(str(n), f"word {n}", "x") for n in range(300))
    suite = Suite(name="s", version="1", licence="CC0", items=items)
    calls = 0

    def breaking(requests: Sequence[Request]) -> list[Completion]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return Shouting()(requests)

    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, breaking, system="base", fingerprint="f", saved=tmp_path)
    ask = Shouting()
    run = run_suite(suite, ask, system="base", fingerprint="f", saved=tmp_path)
    assert len(ask.asked) == 300 - 256 and len(run.generations) == 300


def test_the_same_question_is_asked_once_and_progress_adds_up() -> None:
    suite = Suite(
        name="s", version="1", licence="CC0", items=(item("a", "red", "RED"), item("b", "red", "x"), item("c", "e", "E"))
    )
    ask, done = Shouting(), list[int]()
    run = run_suite(suite, ask, system="base", fingerprint="f", on_done=done.append)
    assert ask.asked == ["red", "e"] and sum(done) == 3
    assert [score.value for score in run.scores] == [1.0, 0.0, 1.0]


def test_systems_are_asked_together_what_both_lack_and_alone_what_one_lacks(tmp_path: Path) -> None:
    part = Suite(name="s", version="1", licence="CC0", items=(item("a", "red", "RED"), item("d", "new", "NEW")))
    run_suite(part, Shouting(), system="base", fingerprint="f", saved=tmp_path)
    asked: list[tuple[tuple[str, ...], list[str]]] = []

    def ask(names: Sequence[str], requests: Sequence[Request]) -> list[list[Completion]]:
        asked.append((tuple(names), [request.messages[-1].content for request in requests]))
        return [[Completion(f"{name} {request.messages[-1].content}", "stop", 2) for request in requests] for name in names]

    done: list[int] = []
    runs = run_together(SUITE, ask, systems={"base": "f", "tuned": "g"}, saved=tmp_path, on_done=done.append)
    assert asked == [(("tuned",), ["red"]), (("base", "tuned"), ["blue"])]
    assert [said.text for said in runs["tuned"].generations] == ["tuned red", "tuned blue"]
    assert [said.text for said in runs["base"].generations] == ["RED", "base blue"]
    assert runs["base"].fingerprint != runs["tuned"].fingerprint and sum(done) == 6
    assert (runs["base"].num_asked, runs["tuned"].num_asked) == (1, 2)


def test_a_real_model_answers_and_what_does_not_fit_is_unscored(tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path) -> None:
    model = load_model(tiny, "float32")
    suite = Suite(
        name="s",
        version="1",
        licence="CC0",
        items=(item("a", "Say a word.", "x"), item("b", "Say two.", "y"), item("c", "long " * 400, "z")),
    )

    def ask(requests: Sequence[Request]) -> list[Completion]:
        return answer(model, tiny_chat, requests, batch_examples=4, context=tiny.context)

    run = run_suite(
        suite, ask, system="base", fingerprint=tiny.fingerprint, saved=tmp_path, unfit=unfit_for(tiny_chat, tiny.context)
    )
    assert [generation.item_id for generation in run.generations] == ["a", "b"]
    assert all(1 <= generation.num_tokens <= 8 for generation in run.generations)
    assert run.scores[2].value is None and "the base has 768" in run.scores[2].reason
    again = run_suite(
        suite, ask, system="base", fingerprint=tiny.fingerprint, saved=tmp_path, unfit=unfit_for(tiny_chat, tiny.context)
    )
    assert again.num_asked == 0 and again.scores == run.scores


def test_after_a_power_cut_at_any_moment_what_is_read_is_whole(tmp_path: Path) -> None:
    answers = {"a": Completion("first answer", "stop", 3), "b": Completion("second\nanswer", "length", 8)}
    (tmp_path / "disk").mkdir()
    disk = Recorder(tmp_path / "disk")
    store = AnswerStore(tmp_path / "disk", "f", disk=disk)
    for key, answer_ in answers.items():
        store.add([(key, answer_)])
    assert store.read() == answers and read_tree(tmp_path / "disk")
    states = list(outcomes({}, disk.log))
    assert len(states) >= 9
    for number, (cut, tree) in enumerate(states):
        left = AnswerStore(build(tree, tmp_path / str(number)), "f")
        found = left.read()
        assert set(found.items()) <= set(answers.items())
        assert cut < len(disk.log) or found == answers
        left.add([("c", answers["a"])])
        assert left.read() == {**found, "c": answers["a"]}
