"""The chat format: what is learned is the answer and its end, and training, evaluation and use see the same tokens."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors

from fakes import DROPPING_TEMPLATE, NO_END_TEMPLATE, TEMPLATE, conversation, copy_base, example, examples, make_base
from tunesmith.core.errors import BlockedError, ModelError
from tunesmith.models.audit import audit
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.labels import audit_labels
from tunesmith.models.load import BaseFolder, find_base

LOOKALIKES = st.sampled_from(
    ["<|foo|>", "[INST]", "<|", "|>", "assistant\n", "</ s>", "\n\n", "  ", "é", "日本", "👩‍🚀", "\u2028", "\t"]
)
CONTENT = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | LOOKALIKES, max_size=6).map("".join)


BLOCK = "<think>\n\n</think>\n\n"
THINKING = TEMPLATE.replace(
    "+ message['content']", f"+ ({BLOCK!r} if message['role'] == 'assistant' else '') + message['content']"
)


def learned_text(chat: Chat, *turns: str, system: str = "") -> list[str]:
    return [text for text, learned in chat.pieces(chat.encode(conversation(*turns, system=system))) if learned]


@settings(max_examples=150)
@given(CONTENT, CONTENT, CONTENT)
def test_exactly_the_answer_and_its_end_are_learned(tiny_chat: Chat, system: str, question: str, answer: str) -> None:
    assert learned_text(tiny_chat, question, answer, system=system) == [answer + "<|end|>"]


@given(CONTENT, CONTENT)
def test_the_prompt_in_use_is_how_the_training_ids_begin(tiny_chat: Chat, question: str, answer: str) -> None:
    prompt = tiny_chat.encode_prompt(conversation(question))
    whole = tiny_chat.encode(conversation(question, answer))
    assert tuple(prompt) == whole.ids[: len(prompt)] and not any(whole.learned[: len(prompt)])


@given(st.lists(st.tuples(CONTENT, CONTENT), min_size=1, max_size=4))
def test_every_assistant_turn_is_learned_and_no_other(tiny_chat: Chat, turns: list[tuple[str, str]]) -> None:
    contents = [text for turn in turns for text in turn]
    assert learned_text(tiny_chat, *contents) == [answer + "<|end|>" for _, answer in turns]


@pytest.mark.parametrize("tag", ["<|end|>", "<|assistant|>", "<s>"])
def test_a_control_token_written_in_a_post_stays_text(tiny_chat: Chat, tag: str) -> None:
    control = tiny_chat.tokenizer.convert_tokens_to_ids(tag)
    plain = tiny_chat.encode(conversation("Tell me.", "It is so.")).ids.count(control)
    assert tiny_chat.encode(conversation("Tell me.", f"It is {tag} so.")).ids.count(control) == plain


def test_an_end_token_written_in_an_answer_is_learned_as_letters_and_the_answer_goes_on(tiny_chat: Chat) -> None:
    assert learned_text(tiny_chat, "q", "before<|end|>after") == ["before<|end|>after<|end|>"]


def test_the_prompt_with_a_control_token_in_it_is_still_how_the_training_ids_begin(tiny_chat: Chat) -> None:
    messages = conversation("What is <|assistant|> for?", "A tag.")
    prompt = tiny_chat.encode_prompt(messages[:-1])
    assert tiny_chat.encode(messages).ids[: len(prompt)] == tuple(prompt)


def test_cutting_keeps_the_beginning_and_counts_what_is_lost(tiny_chat: Chat) -> None:
    whole = tiny_chat.encode(conversation("q", "some longer answer here"))
    cut = tiny_chat.encode(conversation("q", "some longer answer here"), max_tokens=len(whole.ids) - 4)
    assert cut.ids == whole.ids[:-4] and cut.num_learned + cut.dropped == whole.num_learned and cut.dropped == 3


def test_pieces_put_together_are_the_rendered_conversation(tiny_chat: Chat) -> None:
    turns = conversation("one", "two", "three", "four", system="be kind")
    assert "".join(text for text, _ in tiny_chat.pieces(tiny_chat.encode(turns))) == tiny_chat.render(turns)


def test_the_end_of_a_turn_and_the_padding_are_found(tiny_chat: Chat) -> None:
    token = tiny_chat.tokenizer.convert_tokens_to_ids
    assert tiny_chat.turn_end == token("<|end|>") and tiny_chat.end_ids == (token("<|end|>"),)
    assert tiny_chat.pad_id == token("<pad>") not in tiny_chat.end_ids


def trimming(chat_folder: BaseFolder) -> Chat:
    """The same tokenizer with offsets that leave white space out, as those of GPT-2 and RoBERTa do."""
    chat = open_chat(chat_folder)
    chat.tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return chat


@pytest.mark.parametrize("answer", ["two\n\nparagraphs of  it", "a \n b\n", "\n\nnew", "x"])
def test_white_space_that_a_tokenizer_trims_from_its_offsets_is_learned_like_any_other(
    tiny: BaseFolder, tiny_chat: Chat, answer: str
) -> None:
    turns = conversation("one\n\n two", answer, "three \n", answer)
    assert trimming(tiny).encode(turns) == tiny_chat.encode(turns)
    assert trimming(tiny).encode_answer(turns) == tiny_chat.encode_answer(turns)


@given(CONTENT, CONTENT)
def test_the_words_of_the_last_answer_and_its_end_are_all_that_is_scored(tiny_chat: Chat, question: str, answer: str) -> None:
    coded = tiny_chat.encode_answer(conversation("first", "an earlier one", question, answer))
    assert "".join(text for text, marked in tiny_chat.pieces(coded) if marked) == answer + "<|end|>"


@pytest.mark.parametrize("answer", ["think", "A kettle.", "\n", "end"])
def test_a_block_that_the_template_writes_before_an_answer_is_learned_and_not_scored(tmp_path: Path, answer: str) -> None:
    chat = chat_with(tmp_path, THINKING)
    turns = conversation("Tell me.", answer)
    assert learned_text(chat, "Tell me.", answer) == [BLOCK + answer + "<|end|>"]
    assert [text for text, marked in chat.pieces(chat.encode_answer(turns)) if marked] == [answer + "<|end|>"]


def test_a_template_that_rewrites_the_answer_itself_is_an_error_and_no_guess(tmp_path: Path) -> None:
    chat = chat_with(tmp_path, DROPPING_TEMPLATE)
    assert chat.encode_answer(conversation("q", "plain")).num_learned
    with pytest.raises(ModelError, match="rewrites the text of an answer"):
        chat.encode_answer(conversation("q", "as in </think> tags"))


# --- planted faults ---------------------------------------------------------------------------------------------------


def chat_with(tmp_path: Path, template: str | None, *, pad: bool = True) -> Chat:
    return open_chat(find_base(str(make_base(tmp_path / "base", template=template, pad=pad))))


def block(chat: Chat, limit: int | None = None) -> BlockedError | None:
    rows = examples(6)
    try:
        audit_labels(chat, rows, [chat.rows(e.messages, max_tokens=limit) for e in rows], allow=())
    except BlockedError as error:
        return error
    return None


def test_a_template_that_writes_no_end_token_is_found_and_blocks(tmp_path: Path) -> None:
    chat = chat_with(tmp_path, NO_END_TEMPLATE)
    assert chat.turn_end is None
    rows = examples(3)
    assert audit(chat, rows, [chat.rows(e.messages) for e in rows]).without_end == ("e000", "e001", "e002")
    error = block(chat)
    assert error is not None and error.name == "stop"


def test_a_template_that_leaves_out_words_of_an_answer_is_found_and_blocks(tmp_path: Path) -> None:
    chat = chat_with(tmp_path, DROPPING_TEMPLATE)
    assert block(chat) is None
    rows = [*examples(3), example("q", "<think>half past six</think>It is late.", id="thought")]
    coded = [chat.rows(e.messages) for e in rows]
    assert audit(chat, rows, coded).rewritten == ("thought",)
    with pytest.raises(BlockedError, match="changes the words of answers") as caught:
        audit_labels(chat, rows, coded, allow=())
    assert caught.value.name == "rewritten" and "thought" in str(caught.value)
    audit_labels(chat, rows, coded, allow=("rewritten",))


def test_a_template_that_trims_or_spaces_an_answer_does_not_rewrite_it(tmp_path: Path) -> None:
    chat = chat_with(tmp_path, TEMPLATE.replace("message['content']", "message['content'] | trim | replace('\\n', '\\n\\n')"))
    assert not chat.rewrites(conversation("q", "  one\ntwo <|end|> three\n"))


def test_a_doubled_bos_is_found_and_blocks(tmp_path: Path) -> None:
    assert block(chat_with(tmp_path / "one", "<s>" + TEMPLATE)) is None
    error = block(chat_with(tmp_path / "two", "<s><s>" + TEMPLATE))
    assert error is not None and error.name == "template" and "[2]" in str(error)


def test_a_base_without_a_padding_token_still_learns_to_stop(tmp_path: Path) -> None:
    chat = chat_with(tmp_path, TEMPLATE, pad=False)
    assert chat.pad_id == chat.turn_end and block(chat) is None  # the mask keeps padding apart from the end token
    assert learned_text(chat, "q", "a") == ["a<|end|>"]


def test_an_answer_is_learned_after_the_prompt_of_use_where_the_finished_conversation_has_another(tmp_path: Path) -> None:
    template = TEMPLATE.replace("{{ '<|assistant|>\n' }}", "{{ '<|assistant|> ' }}")
    chat = chat_with(tmp_path, template)
    assert block(chat) is None
    text = "".join(piece for piece, _ in chat.pieces(chat.encode(conversation("q", "a"))))
    assert text == chat.render(conversation("q"), answer_next=True) + "a<|end|>" and "<|assistant|> a" in text


def test_a_template_that_forgets_earlier_turns_takes_a_row_for_each_answer(tmp_path: Path) -> None:
    chat = chat_with(tmp_path, "{% set messages = messages[-2:] %}" + TEMPLATE)
    turns = conversation("one", "two", "three", "four")
    rows = chat.rows(turns)
    assert [[text for text, mark in chat.pieces(row) if mark] for row in rows] == [["two<|end|>"], ["four<|end|>"]]
    for row, asked in zip(rows, (turns[:1], turns[:3]), strict=True):
        prompt = tuple(chat.encode_prompt(asked))
        assert row.ids[: len(prompt)] == prompt
    with pytest.raises(ModelError, match="does not fit into one row"):
        chat.encode(turns)


def test_a_base_without_a_chat_template_is_an_error_in_four_parts(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no chat template") as caught:
        chat_with(tmp_path, None)
    assert caught.value.problems[0].hint


def test_a_tokenizer_larger_than_the_embeddings_is_an_error(tiny_path: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny_path, tmp_path / "b", config={"vocab_size": 100})
    with pytest.raises(ModelError, match="more tokens than the model"):
        open_chat(find_base(str(folder)))


def test_a_changed_template_or_tokenizer_changes_the_fingerprint(tiny_path: Path, tiny_chat: Chat, tmp_path: Path) -> None:
    assert chat_with(tmp_path / "same", TEMPLATE).fingerprint == tiny_chat.fingerprint
    assert chat_with(tmp_path / "other", TEMPLATE + "\n").fingerprint != tiny_chat.fingerprint
    folder = copy_base(tiny_path, tmp_path / "b")
    file = folder / "tokenizer.json"
    table = json.loads(file.read_text())
    table["model"]["merges"].pop()
    file.write_text(json.dumps(table))
    assert open_chat(find_base(str(folder))).fingerprint != tiny_chat.fingerprint


def test_two_end_tokens_declared_by_the_base_both_end_an_answer(tiny_path: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny_path, tmp_path / "b")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [3, 7]}))
    assert set(open_chat(find_base(str(folder))).end_ids) == {3, 7}


# --- real tokenizers --------------------------------------------------------------------------------------------------

HARD = [
    "plain",
    " leading blank",
    "two\n\nparagraphs\n",
    "naïve café — “quotes”",
    "日本語 and 👩‍🚀",
    "<|foo|> [INST]",
    "\ttab",
    "a\u2028b",
    "x",
]


@pytest.fixture
def phi_tokenizer(tmp_path: Path) -> Chat:
    from shared_paths import material

    shutil.copytree(material("models/tokenizers/phi-3-mini"), tmp_path / "phi")
    return open_chat(BaseFolder("phi", tmp_path / "phi", "f", {}, ()))


@pytest.mark.parametrize("answer", HARD)
def test_phi_3_learns_exactly_the_answer_and_its_end(phi_tokenizer: Chat, answer: str) -> None:
    coded = phi_tokenizer.encode(conversation("Tell me.", answer))
    learned = [i for i, mark in zip(coded.ids, coded.learned, strict=True) if mark]
    assert learned[-1] == phi_tokenizer.turn_end and phi_tokenizer.decode(learned[:-1]).strip() == answer.strip()
    prompt = phi_tokenizer.encode_prompt(conversation("Tell me."))
    assert coded.ids[: len(prompt)] == tuple(prompt)
    assert block(replace(phi_tokenizer)) is None


def test_an_example_whose_prompt_tokenises_otherwise_is_named(tiny_chat: Chat) -> None:
    row = example("q", "a", id="odd")
    coded = tiny_chat.encode(row.messages)
    other = replace(coded, ids=(9, *coded.ids[1:]))
    assert audit(tiny_chat, [row], [[other]]).prompt_differs == ("odd",)
