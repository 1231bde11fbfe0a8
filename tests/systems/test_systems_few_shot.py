"""The base with similar training examples as turns: which are shown, that they fit, and that no test answer is among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import DROPPING_TEMPLATE, conversation, example, examples, make_tokenizer
from tunesmith.core.records import Example
from tunesmith.core.reporter import SilentReporter
from tunesmith.eval.evaluate import Conditions, choose_items, evaluate
from tunesmith.eval.results import Item
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import BaseFolder
from tunesmith.systems.few_shot import few_shot_prompts

TRAIN = [
    example("What is a kettle for?", "It boils water for tea.", id="a"),
    example("Where is the ladder?", "Behind the barn, under the kettle.", id="b"),
    example("Who planted the roses?", "My aunt did, in spring.", id="c"),
]


def item(question: str, reference: str = "So it is.") -> Item:
    return Item(id=question, group="g", title=None, prompt=conversation(question, system="Be brief."), reference=reference)


def shown(
    chat: Chat, question: str, *, train: list[Example] = TRAIN, context: int = 768, room: int = 16, **more: str
) -> list[str]:
    made = few_shot_prompts(chat, train, [item(question, **more)], context=context, room=room)
    return [] if made is None else [message.content for message in made.prompts[0]]


def test_similar_examples_stand_before_the_question_the_most_similar_last(tiny_chat: Chat) -> None:
    assert shown(tiny_chat, "Is the kettle for water?") == [
        "Be brief.",
        *("Where is the ladder?", "Behind the barn, under the kettle."),
        *("What is a kettle for?", "It boils water for tea."),
        "Is the kettle for water?",
    ]


def test_a_question_without_a_similar_example_keeps_its_plain_prompt(tiny_chat: Chat) -> None:
    assert shown(tiny_chat, "Why zeppelins?") == []
    made = few_shot_prompts(tiny_chat, TRAIN, [item("Why zeppelins?"), item("My aunt?")], context=768, room=16)
    assert made is not None and made.prompts[0] == item("Why zeppelins?").prompt
    assert made.numbers == {"examples shown to the few-shot base, at most": 1, "items with fewer examples": 1}


def test_examples_leave_room_for_the_answer_and_for_the_reference(tiny_chat: Chat) -> None:
    question = "Is the kettle for water?"
    plain = len(tiny_chat.encode_prompt(item(question).prompt))
    assert shown(tiny_chat, question, context=plain + 16) == []
    for context in range(plain + 16, plain + 140, 7):
        made = few_shot_prompts(tiny_chat, TRAIN, [item(question)], context=context, room=16)
        if made is not None:
            assert len(tiny_chat.encode_prompt(made.prompts[0])) + 16 <= context
    assert shown(tiny_chat, question, reference="zqx " * 230, context=768, room=1) == []


def test_a_training_example_that_holds_the_answer_is_not_shown(tiny_chat: Chat) -> None:
    """The planted leak: the reference of the test item, word for word, inside of a training answer."""
    secret = "the kettle that my aunt bought in spring has never once boiled in the winter house"
    leaked = example("What of the kettle?", f"I said that {secret}, and left.", id="x")
    train = [*TRAIN, leaked]
    assert not [text for text in shown(tiny_chat, "And the kettle?", train=train, reference=secret) if secret in text]
    assert [text for text in shown(tiny_chat, "And the kettle?", train=train) if secret in text]


def test_an_example_whose_answer_the_template_rewrites_is_not_shown(tmp_path: Path) -> None:
    chat = open_chat(make_tokenizer(tmp_path / "dropping", DROPPING_TEMPLATE))
    thinking = example("What is a kettle for?", "Let me think.</think>It boils water.", id="t")
    assert shown(chat, "And the kettle?", train=[thinking]) == []
    assert shown(chat, "And the kettle?", train=[thinking, TRAIN[0]])[1] == "What is a kettle for?"


@pytest.mark.parametrize("train", [[], [example("", "", id="e")], examples(3)])
def test_without_anything_to_show_nothing_is_made(tiny_chat: Chat, train: list[Example]) -> None:
    assert few_shot_prompts(tiny_chat, train, [item("Zeppelins?")], context=768, room=16) is None


def test_the_few_shot_base_is_measured_when_it_is_asked_for(tiny: BaseFolder, trained_adapter: Path) -> None:
    items = choose_items(examples(4), 0)
    found = evaluate(
        tiny,
        adapter=trained_adapter,
        merged=None,
        items=items,
        train=examples(12),
        general=items[:1],
        conditions=Conditions(baselines=("few_shot",), max_new_tokens=4, batch_examples=8),
        reporter=SilentReporter(),
    )
    assert [run.name for run in found.systems] == ["base", "few_shot", "tuned"]
    assert len(found.systems[1].likelihoods) == len(found.systems[1].generations) == len(items)
    assert found.systems[1].likelihoods != found.systems[0].likelihoods
