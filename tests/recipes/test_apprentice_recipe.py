"""The recipe of the embedded base: clean text, honest hold-out, data order without random state, weights that open."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

RECIPE = Path(__file__).parents[2] / "recipes" / "apprentice"
if not RECIPE.is_dir():
    pytest.skip("the recipe travels with the repository, not with the package", allow_module_level=True)
sys.path.insert(0, str(RECIPE))

import corpus  # noqa: E402
import judge  # noqa: E402
import package  # noqa: E402
import pretrain  # noqa: E402
import rows  # noqa: E402
import tokenizer as recipe_tokenizer  # noqa: E402
from model import Llama, Shape, hugging_face_config  # noqa: E402

TINY = Shape(vocab_size=300, width=32, mlp_width=48, layers=2, heads=4, kv_heads=2, context=64)
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is the cat?"},
    {"role": "assistant", "content": "The cat is on the mat."},
]
SHARED = Path(os.environ.get("TUNESMITH_SHARED", RECIPE.parents[2] / "shared"))


@pytest.fixture(scope="module")
def tokens():
    return recipe_tokenizer.train_tokenizer(iter(["The cat is on the mat. Where is the cat? 2024 " * 20]), TINY.vocab_size)


def test_near_copy_is_dropped_and_another_text_is_kept():
    copies = corpus.NearCopies()
    text = " ".join(f"word{i} follows word{i + 1}" for i in range(60))
    assert copies.is_new(text)
    assert not copies.is_new(text + " with a new ending")
    assert copies.is_new(
        "Something else entirely, about a boat and the river it lies on, with no word in common but small ones."
    )


def test_hold_out_is_a_fixed_share_and_never_moves():
    sides = [corpus.side("articles", f"post-{i}") for i in range(4000)]
    assert sides == [corpus.side("articles", f"post-{i}") for i in range(4000)]
    assert 0.02 < sides.count("held") / 4000 < 0.04


@pytest.mark.parametrize(
    ("said", "written"),
    [
        (r"Yeah, so \[01:46\] I like, um the tools... \[laughter\]", "I like the tools."),
        ("Well, you know, it works... And it stays.", "It works. And it stays."),
    ],
)
def test_speech_reads_like_writing(said, written):
    assert corpus.plain_speech(said) == written


def test_spaces_of_a_tokenised_corpus_are_taken_out():
    assert corpus.detokenise("The World Cup ( men 's golf ) , he said .") == "The World Cup (men's golf), he said."


def test_chat_template_writes_what_training_saw(tokens, tmp_path):
    from transformers import AutoTokenizer

    recipe_tokenizer.write_tokenizer(tokens, tmp_path, TINY.context)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    ids, _ = recipe_tokenizer.encode_chat(tokens, TALK, "answers")
    assert loaded.apply_chat_template(TALK, tokenize=False) == "".join(recipe_tokenizer.render(TALK))
    assert list(loaded.apply_chat_template(TALK)["input_ids"]) == ids


def test_loss_lies_on_the_answer_and_its_end_token_alone(tokens):
    ids, mask = recipe_tokenizer.encode_chat(tokens, TALK, "answers")
    learned = [i for i, m in zip(ids, mask, strict=True) if m]
    assert learned[-1] == recipe_tokenizer.END
    assert tokens.decode(learned) == "The cat is on the mat."
    both = recipe_tokenizer.encode_chat(tokens, TALK, "all")[1]
    assert sum(both) > sum(mask)


def test_digits_are_split_and_any_text_comes_back(tokens):
    text = "In 2024: žluťoučký kůň 🐎 “quoted”\n"
    assert [t for t in tokens.encode("2024").tokens] == list("2024")
    assert tokens.decode(tokens.encode(text).ids) == text


def _shards(folder: Path) -> dict[str, rows.Shard]:
    rng = np.random.default_rng(1)
    for name in ("text-a", "chat-b"):
        rng.integers(8, 300, 2000).astype(np.uint16).tofile(folder / f"{name}.train.bin")
        np.ones(2000, np.uint8).tofile(folder / f"{name}.train.mask")
        np.arange(0, 2000, 25, dtype=np.uint32).tofile(folder / f"{name}.train.starts")
    return {name: rows.Shard(folder, name) for name in ("text-a", "chat-b")}


def _batches(shards: dict[str, rows.Shard]) -> rows.Batches:
    return rows.Batches(shards, {"text-a": 0.7, "chat-b": 0.3}, seed=3, phase=0, rows=4, length=16)


def test_a_step_sees_the_same_rows_whatever_was_read_before(tmp_path):
    shards = _shards(tmp_path)
    walked = _batches(shards)
    first = [walked.at(step)[0] for step in range(40)]
    assert all(np.array_equal(_batches(shards).at(step)[0], first[step]) for step in (39, 7, 0))


def test_no_row_is_seen_twice_before_all_were_seen_once(tmp_path):
    batches = _batches(_shards(tmp_path))
    size = len(batches._order(1, 0))
    drawn = [batches._draw(1, n) for n in range(size)]
    assert len(set(drawn)) == size


def test_conversation_rows_begin_with_a_conversation(tmp_path):
    shard = _shards(tmp_path)["chat-b"]
    assert all(start % 25 == 0 for start in shard.row_starts(16, 5)[:-1])


def test_a_loop_put_into_an_answer_repeats_it_and_is_marked_to_be_avoided():
    ids, mask = np.arange(8, 108), np.ones(100, np.int64)
    starts = np.ones(300, bool)
    looped, marks = rows.with_loop(ids, mask, np.random.default_rng(5), starts)
    avoided = np.flatnonzero(marks == rows.AVOID)
    assert len(avoided) and set(looped[avoided]) <= set(looped[: avoided[0]])
    assert not (marks[avoided[-1] + 1 :] == 1).any()
    assert np.array_equal(ids, np.arange(8, 108)) and mask.all()


def test_the_lean_model_is_the_library_model(tmp_path):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    lean = Llama(TINY)
    package.write_weights(lean, tmp_path, dtype=torch.float32)
    library = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = torch.randint(0, TINY.vocab_size, (2, 20))
    torch.testing.assert_close(lean(ids), library(ids).logits, rtol=1e-4, atol=1e-5)
    assert sum(p.numel() for p in library.parameters()) == TINY.num_parameters


def test_resuming_gives_the_same_weights_as_never_stopping(tmp_path):
    torch.manual_seed(0)
    model = Llama(TINY)
    optimizers = pretrain.make_optimizers(model)
    batches = _batches(_shards(tmp_path))

    def learn(model, optimizers, step):
        ids = torch.from_numpy(batches.at(step)[0])
        model.losses(ids[:, :-1], ids[:, 1:]).mean().backward()
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    learn(model, optimizers, 0)
    state = pretrain.State(shape=model.describe(), seed=3, step=1)
    pretrain.save_checkpoint(tmp_path / "latest", model, optimizers, state)
    again, its_optimizers, its_state = pretrain.load_checkpoint(tmp_path / "latest")
    learn(model, optimizers, 1)
    learn(again, its_optimizers, its_state.step)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not list(tmp_path.glob("*.new")) and not list(tmp_path.glob("*.old"))


def test_learning_rate_rises_stays_and_falls_to_nothing():
    assert pretrain.scale_at(0, 0.0, decay=False, first_phase=True) == pytest.approx(1 / pretrain.WARMUP_STEPS)
    assert pretrain.scale_at(5000, 0.9, decay=False, first_phase=True) == 1.0
    assert pretrain.scale_at(0, 0.0, decay=False, first_phase=False) == 1.0
    falling = [pretrain.scale_at(0, d / 10, decay=True, first_phase=False) for d in range(11)]
    assert falling == sorted(falling, reverse=True) and falling[0] == 1.0 and falling[-1] == 0.0


def test_the_judge_sees_a_loop_and_passes_plain_prose():
    loop = "and I have a lid and I have a lid and I have a lid and I have a lid and I have a lid and I have a lid"
    prose = "The lid does not close. I look at the hinge, find a little rust, and clean it with a brush and some oil."
    assert judge.loops(loop) and not judge.loops(prose)
    assert judge.distinct(loop) < 0.5 < 0.7 < judge.distinct(prose)
    assert judge.takes_up("Why does the hinge squeak?", prose) and not judge.takes_up("Tell me about Portugal.", prose)


@pytest.mark.skipif(not (SHARED / "data" / "corpus").is_dir(), reason="the shared corpus is not on this machine")
def test_real_stories_become_documents_and_pairs():
    first = [story for story, _ in zip(corpus.stories(SHARED), range(40), strict=False)]
    pairs = list(corpus.passage_pairs(first))
    assert len(first) == 40 and len(pairs) > 20
    assert not any("â€" in d.text for d in first)
    assert all(json.dumps(pair.messages) and pair.messages[-1][0] == "assistant" for pair in pairs)


def test_config_names_what_the_library_needs():
    config = hugging_face_config(TINY)
    assert (config["eos_token_id"], config["pad_token_id"], config["tie_word_embeddings"]) == (7, 0, True)
