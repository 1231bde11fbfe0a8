"""Copies with words inserted, swapped, moved or replaced are found; labels, templates and other texts are not."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from shared_material import example

from tunesmith.data.dataset.leaks import find_leaks, not_looked_for, without_copies
from tunesmith.data.similar.records import near_copy_groups
from tunesmith.data.similar.same_words import have_same_words, near_copy_components, same_words_between

_SYLLABLES = [a + b for a in "bdfgklmnprstv" for b in ("a", "e", "i", "o", "u", "an", "er", "il", "on", "us")]
_VOCABULARY = sorted({"".join(random.Random(n).choices(_SYLLABLES, k=2 + n % 3)) for n in range(3000)})


def prose(seed: int, sentences: int = 10, words: int = 12) -> str:
    draw = random.Random(seed)
    return " ".join(" ".join(draw.choices(_VOCABULARY, k=words)).capitalize() + "." for _ in range(sentences))


def inserted(text: str) -> str:
    return " ".join(f"{word} indeed" if place % 4 == 3 else word for place, word in enumerate(text.split()))


def swapped(text: str) -> str:
    said = text.split()
    said[: len(said) // 2 * 2] = [word for place in range(0, len(said) - 1, 2) for word in (said[place + 1], said[place])]
    return " ".join(said)


def reversed_sentences(text: str) -> str:
    return " ".join(reversed([f"{sentence}." for sentence in text.split(". ")])).replace("..", ".")


def replaced(text: str, seed: int = 0) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice(_VOCABULARY) if draw.random() < 0.12 else word for word in text.split())


@pytest.mark.parametrize("attack", [inserted, swapped, reversed_sentences, replaced])
def test_a_twin_of_every_test_row_in_train_is_found_and_leaves_train(attack: Callable[[str], str]) -> None:
    test = [example(f"t{n}?", prose(n), id=f"t{n}", group=f"td{n}") for n in range(20)]
    twins = [example(f"a{n}?", attack(row.answer), id=f"a{n}", group=f"ad{n}") for n, row in enumerate(test)]
    others = [example(f"b{n}?", prose(100 + n), id=f"b{n}", group=f"bd{n}") for n in range(20)]
    found = {finding.name: finding for finding in find_leaks({"train": [*twins, *others], "test": test})}
    assert sum(found[name].count for name in ("near_copies", "same_words") if name in found) == 20
    assert all(found[name].severity == "error" for name in ("near_copies", "same_words") if name in found)
    kept, removed = without_copies({"train": [*twins, *others], "test": test})
    assert sum(removed.values()) == 20 and kept["train"] == tuple(others) and kept["test"] == tuple(test)


def test_what_was_removed_is_counted_by_kind() -> None:
    texts = [prose(n) for n in range(3)]
    train = [texts[0], texts[1].replace(texts[1].split()[60], "else", 1), inserted(texts[2])]
    splits = {
        name: [example(f"{name}{n}?", text, id=f"{name}{n}", group=f"{name}{n}d") for n, text in enumerate(answers)]
        for name, answers in (("train", train), ("test", texts))
    }
    assert without_copies(splits)[1] == {"exact_copies": 1, "near_copies": 1, "same_words": 1}


def test_short_answers_and_templates_are_no_copies() -> None:
    labels = ["positive, and that is all there is to say", "negative, and that is all there is to say"] * 5
    filled = [f"In the year {1900 + 7 * n} the {word} of {other} was what it is, so it is not and never has been there."
              for n, (word, other) in enumerate(zip(_VOCABULARY[:40:2], _VOCABULARY[1:40:2], strict=True))]  # fmt: skip
    for texts in (labels, filled):
        assert near_copy_components(texts) == [None] * len(texts)
        assert not list(same_words_between(texts, ["train", "test"] * (len(texts) // 2)))


def test_the_same_words_shuffled_over_the_whole_text_are_another_text_and_that_is_told() -> None:
    text = prose(1)
    assert not have_same_words(text, " ".join(random.Random(1).sample(text.split(), len(text.split()))))
    assert "words shuffled over the whole text" in not_looked_for(paraphrases=True)


def test_translations_are_named_as_not_looked_for_and_paraphrases_where_they_are_not() -> None:
    assert "translations" in not_looked_for(paraphrases=True)
    assert any("paraphrases" in what for what in not_looked_for(paraphrases=False))
    assert not any("paraphrases" in what for what in not_looked_for(paraphrases=True))


def test_components_of_near_copies_join_through_a_chain_and_leave_others_alone() -> None:
    first = prose(1, 20)
    texts = [prose(2), first, prose(3), swapped(first), inserted(first), "Yes.", "Yes.", prose(2)]
    assert near_copy_components(texts) == [0, 1, None, 1, 1, None, None, 0]
    assert near_copy_components([]) == [] and near_copy_components(["", "one"]) == [None, None]


def test_one_post_under_thirty_names_is_one_component() -> None:
    post = prose(1, 30)
    posts = [replaced(post, seed) for seed in range(30)]
    assert near_copy_components([*posts, prose(2, 30), prose(3, 30)]) == [0] * 30 + [None, None]


def test_groups_are_compared_by_all_their_answers_together() -> None:
    parts = [prose(n, 5) for n in range(4)]
    one = [example(f"a{n}?", text, id=f"a{n}", group="a") for n, text in enumerate(parts)]
    cut_elsewhere = swapped(" ".join(parts)).split()
    other = [
        example(f"b{n}?", " ".join(cut_elsewhere[n * 30 : (n + 1) * 30]), id=f"b{n}", group="b")
        for n in range(len(cut_elsewhere) // 30)
    ]
    alone = [example("c?", prose(9, 20), id="c", group="c")]
    assert near_copy_groups([*alone, *other, *one]) == {"a": "a", "b": "a"}
