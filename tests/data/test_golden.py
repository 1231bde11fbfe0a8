"""The golden set: frozen for good, every changed byte found, and never trained on, not even reworded."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from near_copies import prose
from shared_material import document, example

from tunesmith.core.errors import ArtifactError, DatasetError
from tunesmith.core.records import Example
from tunesmith.data.dataset.golden import add_golden, golden_damage, golden_example, read_golden
from tunesmith.data.similar.records import find_rewordings

ITEMS = [example(f"Question {n}?", prose(n, 40), id=f"g{n}") for n in range(6)]


def test_versions_add_up_and_what_is_there_already_adds_nothing(tmp_path: Path) -> None:
    first, added = add_golden(tmp_path, ITEMS[:4])
    second, more = add_golden(tmp_path, ITEMS[2:])
    assert (added, more) == (4, 2) and [v.added for v in second.versions] == [4, 2]
    assert second.items == tuple(ITEMS) and first.id != second.id
    again, nothing = add_golden(tmp_path, ITEMS)
    assert nothing == 0 and again == second == read_golden(tmp_path)


def test_documents_can_be_golden(tmp_path: Path) -> None:
    post = document("A post.\n\nWith two paragraphs.")
    kept, _ = add_golden(tmp_path, [golden_example(post)])
    assert kept.items[0].answer == post.text and kept.items[0].group == post.id


def test_no_golden_set_is_an_empty_one(tmp_path: Path) -> None:
    assert read_golden(tmp_path).items == () and golden_damage(tmp_path) == () and read_golden(tmp_path).id == ""
    with pytest.raises(DatasetError, match="no rows to add"):
        add_golden(tmp_path, [])


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    add_golden(tmp_path, ITEMS[:3])
    add_golden(tmp_path, ITEMS[3:])
    draw = random.Random(4)
    files = sorted((tmp_path / "golden").rglob("*.json*"))
    assert len(files) == 4
    for file in files:
        data = file.read_bytes()
        for _ in range(25):
            place = draw.randrange(len(data))
            changed = bytearray(data)
            changed[place] ^= 1 << draw.randrange(8)
            file.write_bytes(changed)
            assert golden_damage(tmp_path), (file.name, place)
        file.write_bytes(data[:-1])
        assert golden_damage(tmp_path)
        file.write_bytes(data)
    assert golden_damage(tmp_path) == ()


def test_a_version_that_is_gone_replaced_or_foreign_is_found_and_nothing_is_built_on_it(tmp_path: Path) -> None:
    add_golden(tmp_path, ITEMS[:3])
    add_golden(tmp_path, ITEMS[3:])
    first = tmp_path / "golden" / "0001"
    shutil.copytree(first, tmp_path / "kept")
    shutil.rmtree(first)
    assert "missing" in golden_damage(tmp_path)[0]
    with pytest.raises(ArtifactError):
        add_golden(tmp_path, [example("New?", "new", id="new")])
    other = tmp_path / "other"
    add_golden(other, [example("Easier?", "easy", id="easy")])
    shutil.copytree(other / "golden" / "0001", first)  # a whole and valid version, but not the one that was followed
    assert "does not follow" in golden_damage(tmp_path)[0]
    shutil.rmtree(first)
    shutil.copytree(tmp_path / "kept", first)
    (first / "more.txt").write_text("x")
    assert "does not belong" in golden_damage(tmp_path)[0]


def reworded(text: str, seed: int) -> str:
    """The sentences in another order, each turned around."""
    draw = random.Random(seed)
    said = [sentence.split() for sentence in text.split(". ")]
    draw.shuffle(said)
    return ". ".join(" ".join(words[len(words) // 2 :] + words[: len(words) // 2]) for words in said)


def test_a_rewording_of_a_golden_item_in_train_is_found_and_other_rows_are_not() -> None:
    def text(seed: int) -> str:
        return ". ".join(prose(100 * seed + n, 12) for n in range(5))

    golden = [example(f"q{n}?", text(n), id=f"g{n}") for n in range(20)]
    train = [example(f"t{n}?", text(1000 + n), id=f"t{n}") for n in range(300)]
    assert find_rewordings({"train": train, "golden": golden}) == ()
    planted = [example(f"p{n}?", reworded(text(n), n), id=f"p{n}") for n in range(10)]
    found = find_rewordings({"train": [*train, *planted], "golden": golden})
    assert found[0].severity == "error" and found[0].count == 10
    assert {row.split(" ~ ")[0] for row in found[0].rows} == {f"train:p{n}" for n in range(10)}


def test_an_example_with_columns_keeps_its_hash_through_the_file(tmp_path: Path) -> None:
    item = Example(**{**{name: getattr(ITEMS[0], name) for name in ITEMS[0].__slots__}, "meta": {"z": "1", "a": "2"}})
    assert add_golden(tmp_path, [item])[1] == 1 and add_golden(tmp_path, [item])[1] == 0
