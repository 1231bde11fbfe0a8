"""The base with passages found for each question: by the question alone, from the training split, and never the test answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fakes import conversation, example, examples
from tunesmith.core.errors import ModelError
from tunesmith.core.records import Example, Origin, Quote, Support
from tunesmith.core.reporter import SilentReporter
from tunesmith.eval.evaluate import Conditions, choose_items, evaluate
from tunesmith.eval.results import Item
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder
from tunesmith.systems.registry import kind_of
from tunesmith.systems.retrieval import passage_of, retrieval_prompts

TRAIN = [
    example("One?", "A kettle boils water for tea.", id="a"),
    example("Two?", "The ladder stood behind the barn, and a kettle under it.", id="b"),
    example("Three?", "My aunt planted roses in spring.", id="c"),
]


def item(question: str, reference: str = "So it is.") -> Item:
    return Item(id=question, group="g", title=None, prompt=conversation(question, system="Be brief."), reference=reference)


def system_text(
    chat: Chat, question: str, *, train: list[Example] = TRAIN, context: int = 768, room: int = 16, **more: str
) -> str:
    made = retrieval_prompts(chat, train, [item(question, **more)], context=context, room=room)
    return "" if made is None else made.prompts[0][0].content


def test_passages_that_fit_the_question_stand_in_the_system_text_the_best_last(tiny_chat: Chat) -> None:
    text = system_text(tiny_chat, "Does the kettle hold water?")
    assert text.startswith("Be brief.\n\nPassages by the author follow.")
    assert text.endswith(f"{TRAIN[1].answer}\n\n{TRAIN[0].answer}") and "roses" not in text


def test_what_is_looked_for_is_the_question_and_never_the_reference(tiny_chat: Chat) -> None:
    assert system_text(tiny_chat, "And then?", reference="My aunt planted roses.") == ""
    with_reference = system_text(tiny_chat, "The kettle?", reference="My aunt planted roses.")
    assert with_reference == system_text(tiny_chat, "The kettle?") != ""


def test_a_passage_that_holds_the_test_answer_is_not_shown(tiny_chat: Chat) -> None:
    """The planted leak: case and punctuation of the copy are others."""
    secret = "the kettle that my aunt bought in spring has never once boiled in the winter house"
    leaked = example("Four?", f"So: {secret.upper().replace(' never', ', never')}!", id="x")
    train = [*TRAIN, leaked]
    assert "WINTER" in system_text(tiny_chat, "The kettle?", train=train)
    assert "WINTER" not in system_text(tiny_chat, "The kettle?", train=train, reference=f"Yes, {secret}.")


def test_passages_leave_room_for_the_answer(tiny_chat: Chat) -> None:
    plain = len(tiny_chat.encode_prompt(item("The kettle?").prompt))
    assert system_text(tiny_chat, "The kettle?", context=plain + 20) == ""
    made = [retrieval_prompts(tiny_chat, TRAIN, [item("The kettle?")], context=plain + more, room=16) for more in (135, 600)]
    sizes = [len(tiny_chat.encode_prompt(one.prompts[0])) for one in made if one is not None]
    assert len(sizes) == 2 and plain < sizes[0] <= plain + 135 - 16 and sizes[0] < sizes[1]


def test_of_a_generated_answer_the_quotes_of_the_author_are_the_passage() -> None:
    quotes = (Quote(text="It boils.", start=0, end=9), Quote(text="It boils.", start=0, end=9))
    support = (Support(sentence="s", quotes=quotes), Support(sentence="t", quotes=(Quote(text="Tea, too.", start=9, end=18),)))
    origin = Origin(kind="qa", model="m", prompt_sha256="0", date="2026-11-28", generated="both", support=support)
    assert passage_of(replace(TRAIN[0], origin=origin)) == "It boils.\n\nTea, too."
    assert passage_of(replace(TRAIN[0], origin=replace(origin, support=()))) == TRAIN[0].answer


def test_without_the_extra_the_encoder_is_asked_for_before_training(tiny_chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.data.similar.embeddings._PACKAGE", "no_such_encoder")
    kind = kind_of("retrieval_embeddings")
    assert kind is not None and kind.make_prompts is not None
    with pytest.raises(ModelError, match="not installed") as caught:
        kind.make_prompts(tiny_chat, TRAIN, [item("The kettle?")], context=768, room=16)
    assert "tunesmith[embeddings]" in caught.value.problems[0].hint


def test_the_retrieving_base_is_measured_when_it_is_asked_for(tiny: BaseFolder, trained_adapter: Path) -> None:
    items = choose_items(examples(4), 0)
    found = evaluate(
        tiny,
        adapter=trained_adapter,
        merged=None,
        items=items,
        train=examples(12),
        general=items[:1],
        conditions=Conditions(baselines=("retrieval", "few_shot"), max_new_tokens=4, batch_examples=8),
        reporter=SilentReporter(),
    )
    assert [run.name for run in found.systems] == ["base", "few_shot", "retrieval", "tuned"]
    assert len({run.likelihoods for run in found.systems}) == 4
    assert found.numbers["passages found by words and shown, at most"] == 1
