"""Promises of the voice: an author is known on unseen documents by how, not by what is written; else it is not measured."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest

from shared_paths import material
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.eval.metrics.metric import Unscored
from tunesmith.eval.metrics.registry import all_metrics
from tunesmith.eval.metrics.voice import LEAST_AUC, Voice, Writing, _rows, fit_voice, packaged_writing
from tunesmith.eval.metrics.voice_features import masked, pieces, prose, rhythm

pytest.importorskip("sklearn", reason="needs scikit-learn")
NOUNS = [
    "kettle",
    "hinge",
    "drawer",
    "clock",
    "torch",
    "knife",
    "window",
    "radio",
    "chair",
    "umbrella",
    "lamp",
    "cord",
    "paint",
    "rust",
    "wheel",
    "spring",
    "tin",
    "bench",
]


def written(style: str, document: int, words: int = 240) -> str:
    """One of two made-up writers on the same subjects: short sentences without commas, or long ones with asides."""
    rng = random.Random(f"{style} {document}")
    parts: list[str] = []
    while sum(len(part.split()) for part in parts) < words:
        a, b, c = (rng.choice(NOUNS) for _ in range(3))
        if style == "short":
            parts.append(rng.choice([f"I took the {a}.", f"It was the {b}!", f"So I went to my {c} again.", f"Not the {a}."]))
        else:
            parts.append(
                rng.choice(
                    [
                        f"However, the {a}, which had been near the {b} for a while, was rather like a {c}; still, we kept it.",
                        f"Although one may wonder whether a {a} (or indeed a {b}) is needed, the {c} would have been enough.",
                    ]
                )
            )
    return " ".join(parts)


def writings(style: str, count: int, name: str, author: str | None = None) -> list[Writing]:
    return [Writing(text=written(style, number), document=f"{name} {number}", author=author) for number in range(count)]


@cache
def known() -> Voice:
    return fit_voice(writings("short", 12, "own"), writings("long", 12, "other"), words=60)


def test_two_writers_on_the_same_subjects_are_told_apart_on_unseen_documents() -> None:
    check = known().check
    assert check.reason == "" and check.auc is not None and check.auc > 0.95
    assert (check.num_documents, check.num_others, check.words) == (12, 12, 60)


def test_an_answer_in_the_author_s_manner_scores_high_and_another_one_low() -> None:
    like, unlike, short = known().score([written("short", 99), written("long", 99), "Too short."])
    assert isinstance(like, float) and isinstance(unlike, float) and like > 0.8 > 0.2 > unlike
    assert isinstance(short, Unscored) and "60 words" in short.reason


def test_one_and_the_same_writer_under_two_names_is_not_measured() -> None:
    voice = fit_voice(
        writings("short", 12, "own"), [Writing(text=written("short", n + 50), document=f"o{n}") for n in range(12)], words=60
    )
    assert voice.check.auc is not None and "cannot be distinguished from other writing" in voice.check.reason
    assert all(isinstance(score, Unscored) for score in voice.score([written("short", 99)]))


def test_several_named_authors_are_not_one_voice() -> None:
    own = [Writing(text=written("short", n), document=f"d{n}", author=("ada", "bob", "cid")[n % 3]) for n in range(12)]
    voice = fit_voice(own, writings("long", 12, "other"), words=60)
    assert voice.check.reason.startswith("3 authors wrote the documents")
    guests = [Writing(text=one.text, document=one.document, author="ada" if n else "bob") for n, one in enumerate(own)]
    assert fit_voice(guests, writings("long", 12, "other"), words=60).check.reason == ""


def test_too_few_documents_are_not_measured() -> None:
    assert (
        "5 documents of the author" in fit_voice(writings("short", 5, "own"), writings("long", 9, "o"), words=60).check.reason
    )
    assert "0 documents of others" in fit_voice(writings("short", 9, "own"), [], words=60).check.reason


def test_a_text_of_the_training_documents_is_scored_by_classifiers_that_have_not_seen_it() -> None:
    voice = known()
    fold = next(fold for fold in voice._folds if "own 3" not in fold.seen)
    assert sum("own 3" not in one.seen for one in voice._folds) == 1
    (score,) = voice.score([written("short", 3)], ["own 3"])
    found = pieces(prose(written("short", 3)), 60, 6)
    alone = 1 / (1 + np.exp(-(voice._slope * fold.decide(found) + voice._offset)))
    assert score == pytest.approx(float(alone.mean()))


def test_many_passages_of_one_document_weigh_as_much_as_one_long_text() -> None:
    passages = [Writing(text=written("short", n * 50 + k, 70), document=f"own {n}") for n in range(8) for k in range(20)]
    voice = fit_voice(passages, writings("long", 12, "other"), words=60)
    assert voice.check.reason == "" and voice.check.num_documents == 8
    assert len(_rows(passages, 1, 60)) == 8 * 6


def test_subjects_are_masked_and_manner_is_kept() -> None:
    assert masked("However, the Kettle wasn't 3.5 litres; was it?") == "However, the A* wasn't # a*; was it?"
    assert masked("The kettle.") == masked("The hinge.")


def test_markdown_code_and_addresses_are_no_part_of_a_manner() -> None:
    assert prose("# A *title*\n\n- one [link](https://x.y)\n```\ncode\n```\nIt’s `x` www.a.b") == "A title one link It's"


def test_pieces_are_of_one_length_and_spread_over_the_text() -> None:
    text = " ".join(map(str, range(100)))
    found = pieces(text, 10, 4)
    assert [piece.split()[0] for piece in found] == ["0", "30", "60", "90"]
    assert pieces("one two", 10, 4) == []
    assert len(rhythm("")) == len(rhythm("One. Two three!"))


def test_the_other_writing_of_the_package_is_there() -> None:
    found = packaged_writing()
    assert len(found) == 48 and len({one.document for one in found}) == 48
    assert all(len(one.text.split()) > 30 for one in found)


def test_the_voice_is_a_metric_of_the_registry_without_a_scorer_of_its_own() -> None:
    metric = all_metrics()["voice"]
    assert metric.score is None and f"{LEAST_AUC}" in metric.measures


# --- real writing -----------------------------------------------------------------------------------------------------


def real(name: str, count: int) -> list[Writing]:
    """Documents of the shared writing, evenly spread."""
    folder = material(f"writing/{name}")
    paths = sorted(folder.rglob("*.md"))
    found = extract(gather([str(path) for path in paths[:: max(1, len(paths) // count)]]), reporter=SilentReporter()).documents
    return [Writing(text=one.text, document=one.id, author=one.author) for one in found]


@pytest.mark.slow
def test_a_real_author_is_known_and_many_real_authors_are_not_one_voice() -> None:
    one, many = real("mtlynch", 32), real("18f", 40)
    voice = fit_voice(one, many, words=120)
    assert voice.check.reason == "" and voice.check.auc is not None and voice.check.ci is not None
    assert voice.check.auc >= 0.9
    assert voice.check.brier is not None and voice.check.brier < 0.12
    named = fit_voice(many, one, words=120)
    assert "authors wrote the documents" in named.check.reason
    unnamed = [Writing(text=writing.text, document=writing.document) for writing in many]
    halves = fit_voice(unnamed[::2], unnamed[1::2], words=120)
    assert halves.check.auc is not None and halves.check.auc < LEAST_AUC and halves.check.reason
