"""The recipe of the embedded base: clean text, honest hold-out, data order without random state, weights that open."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

RECIPE = Path(__file__).parents[2] / "recipes" / "apprentice"
if not RECIPE.is_dir():
    pytest.skip("the recipe travels with the repository, not with the package", allow_module_level=True)
sys.path.insert(0, str(RECIPE))

import build  # noqa: E402
import corpus  # noqa: E402
import curve  # noqa: E402
import judge  # noqa: E402
import lessons  # noqa: E402
import losses  # noqa: E402
import mixes  # noqa: E402
import model as recipe_model  # noqa: E402
import own  # noqa: E402
import package  # noqa: E402
import pretrain  # noqa: E402
import rows  # noqa: E402
import tokenizer as recipe_tokenizer  # noqa: E402
from model import Llama, Shape, hugging_face_config  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402

from tunesmith.data.ingest.item import make_document  # noqa: E402
from tunesmith.models.generate import Completion  # noqa: E402
from tunesmith.models.precision import Precision  # noqa: E402

TINY = Shape(vocab_size=300, width=32, mlp_width=48, layers=2, heads=4, kv_heads=2, context=64)
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is the cat?"},
    {"role": "assistant", "content": "The cat is on the mat."},
]
APPRENTICE = Path(__file__).parents[2] / "src" / "tunesmith" / "models" / "apprentice"
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


def test_a_word_of_the_question_weighs_more_in_the_answer_the_first_time(tokens):
    ids, mask = recipe_tokenizer.encode_chat(
        tokens,
        [{"role": "user", "content": "Tell me about kettles."}, {"role": "assistant", "content": "A kettle is a kettle."}],
        "answers",
    )
    marked = [i for i, m in zip(ids, mask, strict=True) if m == rows.TAKEN_UP]
    assert tokens.decode(marked).strip() == "kettle"
    assert ids[mask.index(rows.TAKEN_UP) - 1] not in marked


def test_answers_that_leave_the_subject_are_told_from_those_that_stay():
    question = {"role": "user", "content": "What do you say about the harbour?"}
    stays = [question, {"role": "assistant", "content": "The harbour lies still."}]
    leaves = [question, {"role": "assistant", "content": "I think that's a good question."}]
    assert recipe_tokenizer.stays_on_subject(stays) and not recipe_tokenizer.stays_on_subject(leaves)


def test_a_lesson_asks_for_words_that_stand_in_its_answer():
    sentences = ["The smallest draft of the kettle was drawn in copper.", "Too short."]
    frequency = Counter(word for s in sentences * 2 for word in corpus.content_words(s))
    (pair,) = lessons.sentence_pairs(sentences, frequency)
    (_, question), (_, answer) = pair.messages
    assert answer == sentences[0] and judge.takes_up(question, answer)
    assert all(
        listed.messages[1][1].lower().rstrip(".") in listed.messages[0][1]
        for listed in lessons.said_back(["kettle", "brass", "heron", "tide", "moss", "lamp", "rope"], 9)
    )


def test_people_of_a_story_are_renamed_in_title_and_text_alike():
    text = "One day, Lily went out. It rained, but Lily sang. Then Lily went home."
    story = make_document(name="s", text=text, title="A story about Lily", extraction="text")
    other = lessons.renamed(story, ["Johannes"], 1)
    assert "Lily" not in other.text + str(other.title) and other.text.count("Johannes") == 3
    assert (other.source, lessons.renamed(story, ["Johannes"], 1)) == (story.source, other)


def test_only_what_an_own_answer_says_again_is_marked():
    assert own.repeated([1, 2, 3, 4, 5, 1, 2, 3, 4, 6]) == [False] * 8 + [True, False]
    assert not any(own.repeated(range(50)))


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


def test_the_loss_weighs_words_taken_up_and_turns_against_what_is_to_be_avoided():
    torch.manual_seed(0)
    model = Llama(TINY)
    ids = torch.randint(0, TINY.vocab_size, (1, 4))
    nats = model.losses(ids[:, :-1], ids[:, 1:])[0]
    mask = torch.tensor([[1, rows.TAKEN_UP, rows.AVOID]])
    for weight, avoid in ((4.0, 1.0), (2.0, 4.0)):
        how = losses.Weights(taken_up=weight, avoid=avoid)
        kinds = torch.ones(TINY.vocab_size, 3, dtype=torch.bool)  # without a weight of echoes nothing hangs on them
        loss = losses.mean_loss(model, ids[:, :-1], ids[:, 1:], mask, weights=how, kinds_V3=kinds)
        expected = (nats[0] + weight * nats[1] - avoid * torch.log(1 - torch.exp(-nats[2]))) / (1 + weight)
        torch.testing.assert_close(loss, expected)


def _echoes_after(text, tokenizer):
    """(pieces of `text`, the echoes at each, whether what comes next was said before)."""
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False).ids])
    found = losses.echoes(ids[:, :-1], ids[:, 1:], losses.word_kinds(tokenizer))
    pieces = [tokenizer.id_to_token(i) for i in ids[0, :-1].tolist()]
    told = [
        {tokenizer.id_to_token(int(i)) for i in said[marks]}
        for said, marks in zip(found.said_BTK[0], found.is_echo_BTK[0], strict=True)
    ]
    return pieces, told, found.is_again_BT[0].tolist()


def test_an_echo_is_a_subject_said_before_in_the_same_turn_or_the_end_of_a_run_said_before():
    tokenizer = Tokenizer.from_file(str(APPRENTICE / "tokenizer.json"))
    asked = "<|user|>\nTell me about the house.<|end|>\n<|assistant|>\n"
    pieces, told, again = _echoes_after(f"{asked}My house is old, and my house was", tokenizer)
    begin, second = pieces.index("<|assistant|>"), len(pieces) - 1 - pieces[::-1].index("Ġhouse")
    assert not any(told[begin : pieces.index("My") + 1])  # a word of the question may be taken up
    assert told[pieces.index(",")] == {"Ġhouse", "Ġold"}
    assert told[second - 1] == {"Ġold"} and again[second - 1]  # what is really said is no echo
    _, told, _ = _echoes_after("<|assistant|>\nand it was of no use, and it was so", tokenizer)
    assert "Ġof" in told[-1]


def test_echoes_are_pushed_down_where_something_is_learned_and_what_was_just_said_is_not_taken_up():
    torch.manual_seed(0)
    model = Llama(TINY)
    ids = torch.tensor([[20, 21, 22, 23, 22, 24, 25, 22]])
    x, y = ids[:, :-1], ids[:, 1:]
    kinds = torch.zeros(TINY.vocab_size, 3, dtype=torch.bool)
    kinds[[22, 24], 2] = True  # the subjects
    mask = torch.tensor([[0, rows.TAKEN_UP, 1, 1, 0, 1, rows.TAKEN_UP]])
    log_p = model(x)[0].log_softmax(-1)
    nats = model.losses(x, y)[0]
    # at 3 the first subject is right; at 4 nothing is learned; at 5 it was said twice; at 6 it is right, and was just said
    wrong = [(2, 22), (5, 22), (5, 22), (5, 24), (6, 24)]
    unlike = sum(-torch.log(1 - log_p[at, i].exp()) for at, i in wrong)
    expected = (nats[[2, 3, 5, 6]].sum() + 3.0 * nats[1] + 2.0 * unlike) / (4 + 3)
    how = losses.Weights(taken_up=3.0, echo=2.0)
    torch.testing.assert_close(losses.mean_loss(model, x, y, mask, weights=how, kinds_V3=kinds), expected)


def test_marks_and_line_breaks_are_no_words():
    tokenizer = Tokenizer.from_file(str(APPRENTICE / "tokenizer.json"))
    kinds = losses.word_kinds(tokenizer)
    texts = [tokenizer.decode([i]) for i in range(tokenizer.get_vocab_size())]
    assert all(text.strip().isalpha() for text, kind in zip(texts, kinds.tolist(), strict=True) if any(kind))
    told = {text: tuple(kind) for text, kind in zip(texts, kinds.tolist(), strict=True)}
    assert (
        told[" house"] == (True, False, True) and told[" the"] == (True, False, False) and told["ing"] == (False, True, False)
    )
    assert told["\n"] == told["’"] == told[" “"] == (False, False, False)


@pytest.mark.parametrize("block", [7, 128])
def test_the_lean_model_is_the_library_model_with_one_block_of_queries_and_with_several(block, tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(recipe_model, "_BLOCK", block)
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


def _tiny_run(
    folder: Path, monkeypatch, tokens, *, steps: int, start: Path | None = None, precision: str = "float32"
) -> pretrain.State:
    """A whole phase through the recipe's own loop, uncompiled, with a checkpoint at every second step."""
    monkeypatch.setattr(torch, "compile", lambda function: function)
    monkeypatch.setattr(pretrain, "evaluate", lambda *_: {})
    monkeypatch.setitem(pretrain.MIXES, "stable", {"text-a": 0.7, "chat-b": 0.3})
    shards = folder.parent / "shards"
    if not shards.is_dir():
        shards.mkdir()
        _shards(shards)
        for path in list(shards.glob("*.train.*")):
            path.with_name(path.name.replace("train", "held")).write_bytes(path.read_bytes())
        recipe_tokenizer.write_tokenizer(tokens, shards / "tokenizer", TINY.context)
    told = [
        "--shards",
        str(shards),
        "--out",
        str(folder),
        "--steps",
        str(steps),
        "--rows",
        "4",
        "--length",
        "16",
        "--seed",
        "3",
    ]
    told += ["--save-every", "2", "--samples", "0", "--threads", "1", "--shape", json.dumps(asdict(TINY))]
    told += ["--precision", precision]
    return pretrain.main(pretrain.arguments().parse_args([*told, *(["--from", str(start)] if start else [])]))


def test_a_phase_killed_and_resumed_ends_with_the_weights_of_one_never_stopped(tmp_path, monkeypatch, tokens):
    whole = _tiny_run(tmp_path / "whole", monkeypatch, tokens, steps=7)
    at = rows.Batches.at

    def killed(batches: rows.Batches, step: int):
        if step == 5:
            raise KeyboardInterrupt
        return at(batches, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rows.Batches, "at", killed)
        _tiny_run(tmp_path / "cut", monkeypatch, tokens, steps=7)
    resumed = _tiny_run(tmp_path / "cut", monkeypatch, tokens, steps=7, start=tmp_path / "cut" / "latest")
    assert (resumed.step, resumed.tokens) == (whole.step, whole.tokens) == (7, 7 * 4 * 16)
    for name in ("model", "optimiser"):
        files = [tmp_path / run / "latest" / f"{name}.safetensors" for run in ("whole", "cut")]
        first, second = (load_file(file) for file in files)
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_phase_goes_on_in_the_precision_that_was_measured_at_its_start(tmp_path, monkeypatch, tokens):
    asked = []

    def measured(wanted, **_):
        asked.append(wanted)
        return Precision(wanted or ("bfloat16" if len(asked) == 1 else "float32"), "measured", 1.0, 1.0)

    monkeypatch.setattr(pretrain, "choose_precision", measured)
    first = _tiny_run(tmp_path / "a", monkeypatch, tokens, steps=2, precision="auto")
    latest = tmp_path / "a" / "latest"
    resumed = _tiny_run(tmp_path / "a", monkeypatch, tokens, steps=4, start=latest, precision="auto")
    another = _tiny_run(tmp_path / "b", monkeypatch, tokens, steps=6, start=latest, precision="auto")
    assert asked == [None, "bfloat16", None]
    assert [s.precision for s in (first, resumed, another)] == ["bfloat16", "bfloat16", "float32"]


def test_a_pause_of_the_machine_does_not_spend_the_phase(tmp_path, monkeypatch, tokens):
    clock = itertools.count(step=1000.0)
    monkeypatch.setattr(pretrain.time, "monotonic", lambda: next(clock))
    state = _tiny_run(tmp_path / "paused", monkeypatch, tokens, steps=3)
    assert state.spent_s == state.seconds == 3 * pretrain.LONGEST_STEP_S


def test_packaged_weights_are_a_start_that_remembers_what_it_has_seen(tmp_path):
    torch.manual_seed(0)
    model = Llama(TINY)
    package.write_weights(model, tmp_path, dtype=torch.float32, seen=pretrain.State(shape={}, seed=0, tokens=123, seconds=4.5))
    again, _, state = pretrain.load_weights(tmp_path, seed=7)
    assert (state.tokens, state.seconds, state.step, state.seed) == (123, 4.5, 0, 7)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_same_weights_are_packaged_to_the_same_bytes(tmp_path):
    torch.manual_seed(0)
    model, seen = Llama(TINY), pretrain.State(shape={}, seed=0, tokens=123, seconds=4.5)
    made = set()
    for number in range(8):
        package.write_weights(model, tmp_path / str(number), seen=seen)
        made.add((tmp_path / str(number) / "model.safetensors").read_bytes())
    assert len(made) == 1 and b'"format":"pt","seconds":"4.5","tokens":"123"' in made.pop()


def test_the_curve_names_its_axes_and_every_line():
    history = [{"phase": p, "tokens": t, "held": {"text-stories": 2.0 - t / 1e7}} for p, t in ((0, 1e6), (0, 3e6), (1, 5e6))]
    drawn = ElementTree.fromstring(curve.draw(history, "A & B"))
    words = " ".join(drawn.itertext())
    assert all(word in words for word in ("A & B", "millions", "bits per byte", "text-stories"))
    assert len([element for element in drawn if element.tag.endswith("polyline")]) == 1


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


def test_every_step_of_the_build_is_a_script_of_the_recipe(tmp_path):
    steps = build.commands(tmp_path, SHARED, stable_steps=3, decay_steps=2, polish_steps=1, rounds=3, seed=0)
    assert all((RECIPE / command[0]).is_file() for _, command in steps)
    order = [command[0] for _, command in steps]
    assert order.index("lessons.py") < order.index("tokenizer.py") < order.index("own.py") < order.index("judge.py")
    assert len({left_behind for left_behind, _ in steps}) == len(steps)
    assert order.count("own.py") == 1 + 3 and order.count("pretrain.py") == 2 + 3
    polishes = [command for _, command in steps if "--mix" in command]
    assert [float(c[c.index("--peak") + 1]) for c in polishes] == [build.POLISH_PEAK] * 3
    assert [Path(c[c.index("--from") + 1]).parent.name for c in polishes] == ["decayed", "polished-1", "polished-2"]
    assert [c[c.index("--mix") + 1] for c in polishes] == ["polish", "polish", "finish"]


def test_more_rounds_of_polish_make_the_last_round_package_and_judgement_anew(tmp_path):
    def made(rounds: int) -> list[Path]:
        steps = build.commands(tmp_path, SHARED, stable_steps=3, decay_steps=2, polish_steps=1, rounds=rounds, seed=0)
        return [left_behind for left_behind, _ in steps]

    assert set(made(2)[:-4]) < set(made(3)) and not set(made(2)[-4:]) & set(made(3))


def test_the_card_says_of_the_answers_what_was_measured_of_them():
    samples = [{"question": f"Q{i}?", "answer": text} for i, text in enumerate(["a a a a", "one two three", "b b c d"])]
    chat = {"mean_words": 24.6, "distinct_and_without_loops": 0.9, "ended": 0.985}
    told = package.limits({"chat": chat, "samples": samples})
    assert "25 words long" in told and "10.0% of them" in told and "and 1.5% do not end" in told and "`Q2?` → `b b c d`" in told


def test_a_phase_of_the_build_that_was_cut_off_goes_on_from_its_own_checkpoint(tmp_path):
    def starts() -> list[str]:
        steps = build.commands(tmp_path, SHARED, stable_steps=3, decay_steps=2, polish_steps=1, rounds=1, seed=0)
        return [command[command.index("--from") + 1] for _, command in steps if "--from" in command]

    fresh = starts()
    (tmp_path / "finished-1" / "latest").mkdir(parents=True)
    assert [Path(a).parent.name for a in fresh] == ["stable", "decayed"]
    assert [Path(a).parent.name for a in starts()] == ["stable", "finished-1"]


def test_every_mix_reads_what_there_is_and_the_polish_more_of_its_own_answers():
    assert set(mixes.MIXES) == set(losses.WEIGHTS) == {"stable", "decay", "polish", "finish"}
    assert all(min(mix.values()) > 0 for mix in mixes.MIXES.values())
    assert mixes.POLISH["chat-own"] > mixes.DECAY["chat-own"] and "chat-own" not in mixes.STABLE


def test_a_better_answer_ends_repeats_nothing_and_takes_up_its_question():
    question, plain = "Why does the hinge squeak?", "The hinge is dry, so I put a drop of oil on it and move the door."
    loop = "The hinge is dry and the hinge is dry and the hinge is dry and the hinge is dry and the hinge is dry and"
    assert own.good(question, Completion(plain, "stop", 20))
    assert not own.good(question, Completion(plain, "length", 20))
    assert not own.good(question, Completion(loop, "stop", 20))
    assert not own.good("Tell me about Portugal.", Completion(plain, "stop", 20))


def test_an_answer_that_goes_in_circles_is_no_better_one_though_its_trigrams_differ():
    question, circling = "What are pajamas?", "Pajamas is a pajamas, a pajamas, and a pajamas."
    assert judge.distinct(circling) == 1 and not judge.loops(circling) and judge.moving_ttr(circling) < 0.5
    assert not own.good(question, Completion(circling, "stop", 12))
    assert judge.moving_ttr("") == 1 and judge.moving_ttr("one two three " * 25) == pytest.approx(3 / 25)


def test_the_third_saying_of_a_word_of_the_subject_is_marked_on_its_first_token(tmp_path, tokens):
    text = "The lid is a lid, and the lid of the lid."
    assert [text[at:][:3] for at in own.said_too_often(text)] == ["lid", "lid"]
    assert own.said_too_often("You and you and you, because you were there and there and there.") == []
    recipe_tokenizer.write_tokenizer(tokens, tmp_path, 64)
    wrapped = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    ids, marks = own.to_avoid(wrapped, text)
    starts = [begin for begin, _ in wrapped(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]]
    assert ids == wrapped(text, add_special_tokens=False)["input_ids"]
    marked = {at for at, mark in enumerate(marks) if mark}
    of_words = {max(i for i, begin in enumerate(starts) if begin <= place) for place in own.said_too_often(text)}
    assert of_words <= marked and marked - of_words <= {i for i, mark in enumerate(own.repeated(ids)) if mark}


def test_of_the_good_answers_the_most_varied_of_some_length_is_learned():
    question, short = "What of hinges?", "Hinges creak."
    plain = "Hinges creak, so I put a drop of oil on each one and close the door again with some care."
    dull = "Hinges creak, so I put a drop of oil on each one and close the door again with a drop of care."
    said = [Completion(text, "stop", 20) for text in (short, dull, plain)]
    assert own.good(question, said[1]) and own.most_varied(question, said) == said[2]
    assert own.most_varied(question, said[:2]) == said[1] and own.most_varied(question, said[:1]) == said[0]
    assert own.most_varied("Tell me about Portugal.", said) is None
    assert own.most_varied(question, [Completion(plain, "length", 20)]) is None


def test_rounds_ask_other_questions_until_all_have_been_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(own, "_ASKED", ("a", "b"))
    for name in "ab":
        lines = [
            {
                "id": f"{name}{i}",
                "split": "train",
                "learn": "answers",
                "messages": [{"role": "user", "content": f"{name}{i}"}] * 2,
            }
            for i in range(6)
        ]
        (tmp_path / f"chat-{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    asked = [{q[-1].content for q in own._questions(tmp_path, 4, number)} for number in range(4)]
    assert all(len(one) == 4 for one in asked) and len(asked[0] | asked[1] | asked[2]) == 12
    assert asked[3] == asked[0]


def test_config_names_what_the_library_needs():
    config = hugging_face_config(TINY)
    assert (config["eos_token_id"], config["pad_token_id"], config["tie_word_embeddings"]) == (7, 0, True)
