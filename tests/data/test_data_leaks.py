"""Every leak that is planted is found under its own name, and clean splits give none."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import pytest
from shared_material import example, ingest, material

from tunesmith.core.records import Example, Finding, Message
from tunesmith.core.texts import Text
from tunesmith.data.checks.asking import asks
from tunesmith.data.dataset import leaks
from tunesmith.data.dataset.leaks import find_leaks, without_copies
from tunesmith.data.similar.same_words import have_same_words
from tunesmith.data.similar.shingles import words_of

WORDS = [f"w{n}" for n in range(4000)]


def prose(seed: int, length: int = 60) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def changed(text: str, *places: int) -> str:
    said = text.split()
    for n in places:
        said[n] = f"changed{n}"
    return " ".join(said)


def clean() -> dict[str, list[Example]]:
    return {
        name: [example(f"{name} {n}?", prose(hash_of(name) + n), id=f"{name}{n}", group=f"{name}-doc{n}") for n in range(5)]
        for name in ("train", "val", "test")
    }


def hash_of(name: str) -> int:
    return {"train": 0, "val": 100, "test": 200}[name]


def named(findings: tuple[Finding, ...]) -> dict[str, tuple[str, int]]:
    return {finding.name: (finding.severity, finding.count) for finding in findings}


def talk(*answers: str, id: str, group: str = "") -> Example:
    """A conversation with these answers, asked for in words of its own."""
    turns = [
        message
        for number, answer in enumerate(answers)
        for message in (Message(role="user", content=f"{id}, {number}?"), Message(role="assistant", content=answer))
    ]
    return Example(id=id, messages=tuple(turns), document_id=id, group=group or f"{id}-doc", source="test.jsonl")


def runs(text: str) -> set[tuple[str, ...]]:
    said = words_of(text)
    return {tuple(said[n : n + 5]) for n in range(len(said) - 4)}


def plainly_alike(a: Example, b: Example) -> float:
    """How alike the most alike long answers of two conversations are: every one is compared with every other."""
    sides = [[runs(m.content) for m in e.messages if m.role == "assistant" and len(words_of(m.content)) >= 20] for e in (a, b)]
    found = [0.0]
    for first in sides[0]:
        for second in sides[1]:
            shared, smaller, larger = len(first & second), *sorted((len(first), len(second)))
            inside = shared / smaller if 8 <= smaller <= 0.75 * larger else 0.0
            found.append(max(shared / (smaller + larger - shared), inside))
    return max(found)


def plainly_same_words(a: Example, b: Example) -> bool:
    """Whether any two answers of two conversations have the same words."""
    sides = [[m.content for m in e.messages if m.role == "assistant"] for e in (a, b)]
    return any(have_same_words(first, second) for first in sides[0] for second in sides[1])


def drawn(seed: int) -> dict[str, list[Example]]:
    """Splits of conversations whose answers are drawn from a few texts, parts and changed forms of them."""
    draw = random.Random(seed)
    bases = [prose(1000 * seed + n, 30) for n in range(4)]
    stock = [
        *bases,
        *(changed(base, draw.randrange(30)) for base in bases),
        *(changed(base, 5, 12) for base in bases),
        *(f"{bases[n]} {bases[n - 1]}" for n in range(3)),
        "yes",
    ]
    return {
        split: [talk(*draw.choices(stock, k=draw.randint(1, 3)), id=f"{split}{n}") for n in range(draw.randint(1, 6))]
        for split in ("train", "val", "test")
    }


def test_clean_splits_give_no_finding() -> None:
    assert find_leaks(clean()) == ()


def test_one_document_in_two_splits_is_found() -> None:
    splits = clean()
    splits["test"].append(example("other?", prose(900), id="x", group="train-doc3"))
    found = find_leaks(splits)
    assert named(found) == {"same_source": ("error", 1)} and found[0].rows == ("train:train3 ~ test:x",)


def test_an_exact_copy_is_found_whatever_its_case_and_spacing() -> None:
    splits = clean()
    splits["val"].append(
        example("other?", "  " + splits["train"][0].answer.upper().replace(" ", "  ") + "!", id="x", group="g")
    )
    found = find_leaks(splits)
    assert named(found) == {"exact_copies": ("error", 1)} and found[0].rows == ("train:train0 ~ val:x",)


def test_a_near_copy_is_found() -> None:
    splits = clean()
    splits["test"].append(example("other?", changed(splits["train"][1].answer, 0), id="x", group="g"))
    assert named(find_leaks(splits)) == {"near_copies": ("error", 1)}


def test_a_related_text_is_a_warning() -> None:
    splits = clean()
    part = " ".join(splits["train"][1].answer.split()[:36])
    splits["test"].append(example("other?", f"{part} {prose(900, 30)}", id="x", group="g"))
    splits["train"][1] = example("train 1?", f"{part} {prose(901, 12)}", id="train1", group="train-doc1")
    assert named(find_leaks(splits)) == {"related_copies": ("warning", 1)}


def test_the_same_prompt_in_two_splits_is_a_warning() -> None:
    splits = clean()
    splits["test"].append(example("TRAIN 2 ?", prose(900), id="x", group="g"))
    assert named(find_leaks(splits)) == {"same_prompt": ("warning", 1)}


def test_copies_inside_one_split_are_no_leak() -> None:
    splits = clean()
    splits["train"].append(example("again?", splits["train"][0].answer, id="x", group="g"))
    assert find_leaks(splits) == ()


def test_rows_that_name_no_document_are_said_to_be_unchecked() -> None:
    splits = {name: [example(f"{name}?", prose(n), id=f"{name}1")] for n, name in enumerate(("train", "test"))}
    assert named(find_leaks(splits)) == {"no_source": ("info", 2)}


def test_similarity_is_the_exact_jaccard_of_five_word_runs() -> None:
    for places, length in (((30,), 60), ((10, 30, 50), 100), ((5, 25), 45), ((0, 59), 60)):
        base = prose(1, length)
        other = changed(base, *places)
        runs = [{tuple(t.split()[i : i + 5]) for i in range(length - 4)} for t in (base, other)]
        jaccard = len(runs[0] & runs[1]) / len(runs[0] | runs[1])
        found = named(
            find_leaks({"train": [example("a?", base, id="a", group="1")], "test": [example("b?", other, id="b", group="2")]})
        )
        less = "same_words" if have_same_words(base, other) else "related_copies" if jaccard >= 0.5 else None
        expected = "near_copies" if jaccard >= 0.8 else less
        assert list(found) == ([expected] if expected else [])


def test_a_passage_that_stands_inside_a_longer_one_is_a_copy() -> None:
    long = prose(1, 120)
    inside = " ".join(long.split()[30:80])
    splits = {"train": [example("a?", long, id="a", group="1")], "test": [example("b?", inside, id="b", group="2")]}
    assert named(find_leaks(splits)) == {"near_copies": ("error", 1)}


def test_a_post_published_twice_and_cut_elsewhere_leaves_nothing_of_itself_in_train() -> None:
    words = prose(1, 300).split()
    first = [" ".join(words[i : i + 60]) for i in range(0, 300, 60)]
    second = [" ".join(words[i : i + 60]) for i in range(20, 260, 60)]
    splits = {
        "train": [example(f"a{n}?", text, id=f"a{n}", group="1") for n, text in enumerate(first)],
        "test": [example(f"b{n}?", text, id=f"b{n}", group="2") for n, text in enumerate(second)],
    }
    kept, removed = without_copies(splits)
    assert sum(removed.values()) >= 4 and len(kept["test"]) == 4


def test_equal_labels_under_other_prompts_are_no_copies() -> None:
    splits = {
        name: [
            example(f"{name}: {prose(100 * s + n, 12)}", "positive", id=f"{name}{n}", group=f"{name}{n}-doc") for n in range(8)
        ]
        for s, name in enumerate(("train", "val", "test"))
    }
    assert find_leaks(splits) == () and not without_copies(splits)[1]


def test_the_same_label_under_the_same_prompt_is_a_copy() -> None:
    asked = "Is this a kind review? " + prose(3, 12)
    splits = {"train": [example(asked, "yes", id="a", group="1")], "test": [example(asked, "yes", id="b", group="2")]}
    assert without_copies(splits)[1] == {"exact_copies": 1}


def test_at_most_twenty_rows_are_shown_and_all_are_counted() -> None:
    shared = [prose(n) for n in range(30)]
    splits = {
        name: [example(f"{name}{n}?", text, id=f"{name}{n}", group=f"{name}{n}d") for n, text in enumerate(shared)]
        for name in ("train", "test")
    }
    finding = find_leaks(splits)[0]
    assert finding.count == 30 and len(finding.rows) == 20


def test_copies_are_removed_from_the_split_that_matters_less() -> None:
    splits = clean()
    splits["train"].append(example("t?", changed(splits["test"][0].answer, 1), id="t", group="g1"))
    splits["val"].append(example("v?", splits["test"][1].answer, id="v", group="g2"))
    kept, removed = without_copies(splits)
    assert (
        removed == {"exact_copies": 1, "near_copies": 1}
        and kept["test"] == tuple(splits["test"])
        and {"t", "v"}.isdisjoint(e.id for e in (*kept["train"], *kept["val"]))
    )
    assert find_leaks(kept) == ()


@pytest.mark.parametrize("repeated", ["", "the same refrain stands at the end of every single one of these "])
def test_two_thousand_rows_that_share_a_refrain_are_no_leaks(repeated: str) -> None:
    everything = [example(f"q{n}?", f"{repeated}{prose(n, 150)}", id=str(n), group=f"d{n}") for n in range(2000)]
    assert find_leaks({"train": everything[:1600], "val": everything[1600:1800], "test": everything[1800:]}) == ()


@pytest.mark.parametrize("seed", range(25))
def test_the_search_finds_what_comparing_everything_with_everything_finds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_MAX_ROWS", 10_000)
    splits = drawn(seed)
    found: dict[str, list[str]] = {"exact_copies": [], "near_copies": [], "same_words": [], "related_copies": []}
    for finding in find_leaks(splits):
        found[finding.name] += finding.rows
    rows = [(split, row) for split, members in splits.items() for row in members]
    alike = {f"{s}:{a.id} ~ {t}:{b.id}": plainly_alike(a, b) for (s, a), (t, b) in combinations(rows, 2) if s != t}
    moved = {f"{s}:{a.id} ~ {t}:{b.id}" for (s, a), (t, b) in combinations(rows, 2) if s != t and plainly_same_words(a, b)}
    copies = {pair for pair, similarity in alike.items() if similarity >= 0.8}
    assert sorted(found["exact_copies"] + found["near_copies"]) == sorted(copies)
    assert sorted(found["same_words"]) == sorted(moved - copies)
    related = {pair for pair, similarity in alike.items() if similarity >= 0.5}
    assert sorted(found["related_copies"]) == sorted(related - copies - moved)


def test_an_answer_copied_from_the_middle_of_a_conversation_is_found_once_and_its_row_leaves_train() -> None:
    shared = prose(1)
    splits = {
        "train": [talk(shared, changed(shared, 3), prose(2), id="a"), talk(prose(3), id="b")],
        "test": [talk(prose(4), shared, id="c")],
    }
    found = find_leaks(splits)
    assert named(found) == {"exact_copies": ("error", 1)} and found[0].rows == ("train:a ~ test:c",)
    kept, removed = without_copies(splits)
    assert removed == {"exact_copies": 1} and [row.id for row in kept["train"]] == ["b"]


def test_short_answers_before_the_last_are_no_copies() -> None:
    splits = {"train": [talk("Yes, gladly.", prose(1), id="a")], "test": [talk("Yes, gladly.", prose(2), id="b")]}
    assert find_leaks(splits) == ()


def test_a_near_copy_in_chinese_is_found() -> None:
    text = "".join(chr(0x4E00 + random.Random(1).randrange(5000) + n) for n in range(200))
    other = text[:100] + "雨" + text[101:]
    splits = {"train": [example("一?", text, id="a", group="1")], "test": [example("二?", other, id="b", group="2")]}
    assert named(find_leaks(splits)) == {"near_copies": ("error", 1)}


def test_rows_that_share_one_answer_are_compared_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    probed = leaks._probed

    def counted(shingles: Any, index: Any) -> Any:
        compared.append(1)
        return probed(shingles, index)

    monkeypatch.setattr(leaks, "_probed", counted)
    shared = prose(1)
    train = [example(f"q{n}?", shared, id=f"a{n}", group=f"d{n}") for n in range(2000)]
    splits = {"train": train, "test": [example("t?", changed(shared, 0), id="t", group="t-doc")]}
    assert named(find_leaks(splits)) == {"near_copies": ("error", 2000)} and len(compared) == 2


@pytest.mark.parametrize(
    "prompt",
    [
        "Why?",
        "Tell me about rain.",
        "“It rained.” What then?",
        "Continue from here: “It rained.”",
        "Calculate 1 + 1",
        "In what year did it begin",
        "Write a poem",
    ],
)
def test_questions_and_requests_pass(prompt: str) -> None:
    assert asks(prompt)


@pytest.mark.parametrize(
    "prompt", ["You mentioned that rain was a factor.", "**Use gutters**: They keep the wall dry", "Rain is wet."]
)
def test_statements_in_the_place_of_a_question_are_found(prompt: str) -> None:
    assert not asks(prompt)


def test_the_known_non_questions_of_the_seed_set_are_found() -> None:
    pairs = ingest(material("seed-qa")).pairs
    prompts = [pair.prompt[-1].content for pair in pairs]
    found = sum(not asks(prompt) for prompt in prompts)
    assert sum("?" not in prompt for prompt in prompts) == 91 and 91 - 6 <= found <= 91


def written(number: int, count: int) -> list[str]:
    return [f"word{number}n{place}" for place in range(count)]


def plain(id: str, said: list[str]) -> Text:
    return Text(id=id, text=" ".join(said), document_id=id, group=id, source="made")


@pytest.mark.parametrize("begin", [0, 350, 537, 600])
def test_a_passage_of_a_long_text_that_stands_in_another_is_found_wherever_both_are_cut(begin: int) -> None:
    """Planted: 200 words, a quarter of the test text; they may lie across the cut between two training rows."""
    author = written(1, 1500)
    train = [plain("a1", author[:750]), plain("a2", author[750:]), plain("b", written(2, 750))]
    test = [plain("t", [*written(3, 313), *author[begin : begin + 200], *written(4, 237)])]
    kept, removed = without_copies({"train": train, "test": test})
    assert "b" in {row.id for row in kept["train"]} and len(kept["train"]) < 3 and sum(removed.values()) >= 1
    assert not without_copies({"train": train, "test": [plain("t", written(3, 750))]})[1]
