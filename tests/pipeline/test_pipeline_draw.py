"""The dataset stage with copies, columns, a golden set and a mixture: each knob changes what is learned, and is told."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from fakes import write_posts
from tunesmith.api import Project
from tunesmith.core.errors import ArtifactError, BlockedError, RecipeError
from tunesmith.core.records import MIXED, Example, Message, read_jsonl
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.dataset.golden import add_golden, golden_example
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.pipeline.recipe_file import recipe_from

SETTINGS: dict[str, Any] = {"build": {"passage_words": 40, "min_words": 5}, "split": {"val": 0.2, "test": 0.3}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_posts(tmp_path / "posts", 24)


def made(base: Path, folder: Path, root: Path, *overrides: str) -> tuple[Any, dict[str, list[Example]]]:
    """The numbers of the dataset and its splits."""
    dataset = Project(recipe_from({"base": str(base), "sources": [str(folder)], **SETTINGS}, overrides), root).dataset
    return dataset.numbers, {
        name: list(read_jsonl(dataset.path / f"{name}.jsonl", Example)) for name in ("train", "val", "test")
    }


def found(folder: Path) -> Any:
    return extract(gather([str(folder)]), reporter=SilentReporter())


def test_a_post_published_twice_with_a_word_changed_is_left_out_unless_asked_for(
    tiny_path: Path, folder: Path, tmp_path: Path
) -> None:
    first = sorted(folder.iterdir())[0]
    (folder / "99-again.md").write_text(first.read_text().replace("There is", "There was", 1))
    numbers, _ = made(tiny_path, folder, tmp_path)
    assert numbers["copies_dropped"] == 1 and numbers["removed_copies"] == 0
    kept, _ = made(tiny_path, folder, tmp_path, "build.dedup=0")
    assert kept["copies_dropped"] == 0


def test_golden_documents_are_held_out_for_ever_and_the_dataset_has_another_id(
    tiny_path: Path, folder: Path, tmp_path: Path
) -> None:
    before, parts = made(tiny_path, folder, tmp_path)
    documents = {document.id: document for document in found(folder).documents}
    chosen = [parts["train"][0].document_id, parts["test"][0].document_id]
    add_golden(tmp_path, [golden_example(documents[id]) for id in chosen])
    after, kept = made(tiny_path, folder, tmp_path)
    assert after["golden"] == {"items": 2, "held_out": before["examples"] - after["examples"]} and after["leaks"] == 0
    assert not {row.document_id for rows in kept.values() for row in rows} & set(chosen)


def test_a_rewording_of_a_golden_item_in_train_blocks(tiny_path: Path, folder: Path, tmp_path: Path) -> None:
    _, parts = made(tiny_path, folder, tmp_path)
    row = parts["train"][0]
    said = row.answer.split()
    turned = " ".join(random.Random(1).sample(said, len(said)))
    messages = (Message(role="user", content="Which?"), Message(role="assistant", content=turned))
    add_golden(tmp_path, [Example(id="g", messages=messages, document_id="g", group="g", source="g")])
    with pytest.raises(BlockedError) as caught:
        made(tiny_path, folder, tmp_path)
    assert caught.value.name == "leak" and "golden" in str(caught.value)
    assert made(tiny_path, folder, tmp_path, "allow=[leak]")[0]["leaks"] == 1


def test_a_golden_set_with_a_changed_byte_stops_the_dataset(tiny_path: Path, folder: Path, tmp_path: Path) -> None:
    add_golden(tmp_path, [golden_example(found(folder).documents[0])])
    items = tmp_path / "golden" / "0001" / "items.jsonl"
    items.write_bytes(items.read_bytes().replace(b"shed", b"shop", 1))
    with pytest.raises(ArtifactError, match="not as it was frozen"):
        made(tiny_path, folder, tmp_path)


def test_general_rows_go_into_train_alone_and_the_epochs_of_each_source_are_told(
    tiny_path: Path, folder: Path, tmp_path: Path
) -> None:
    general = tmp_path / "general.jsonl"
    rows = [{"prompt": f"What is {n} plus {n}?", "completion": f"It is {2 * n}."} for n in range(40)]
    general.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain, _ = made(tiny_path, folder, tmp_path)
    numbers, parts = made(
        tiny_path, folder, tmp_path, f"mix.general=[{general}]", "mix.weights={general.jsonl: 2}", "train.epochs=3"
    )
    strange = [row for row in parts["train"] if row.source == "general.jsonl"]
    assert strange and not [row for name in ("val", "test") for row in parts[name] if row.source == "general.jsonl"]
    assert numbers["train"] == plain["train"] + len(strange)
    assert {row.meta.get(MIXED) for row in strange} == {"general"}, "they are to be spread evenly over the batches"
    assert not [row for row in parts["train"] if MIXED in row.meta and row.source != "general.jsonl"]
    told = next(source for source in numbers["mix"]["sources"] if source["source"] == "general.jsonl")
    assert told["seen"] == len(strange) == 2 * told["rows"] and told["epochs"] == 6.0
    assert 0.25 < numbers["mix"]["general_share"] < 0.4


def test_a_cap_leaves_rows_of_the_largest_source_out(tiny_path: Path, tmp_path: Path) -> None:
    for name, count in (("many", 90), ("few", 30), ("fewer", 30)):
        rows = [{"prompt": f"{name} {n}?", "completion": f"{name} number {n}", "url": f"{name}{n}"} for n in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"base": str(tiny_path), "sources": [str(tmp_path / f"{n}.jsonl") for n in ("many", "few", "fewer")]}
    capped = Project(recipe_from({**settings, "mix": {"max_source": 0.4}}, []), tmp_path).dataset.numbers
    seen = {source["source"]: source["seen"] for source in capped["mix"]["sources"]}
    assert seen["many.jsonl"] <= 0.4 * sum(seen.values()) and capped["mix"]["sources"][0]["left_out"] > 0


@pytest.mark.parametrize(
    ("overrides", "column"),
    [(("split.by=time",), "date"), (("split.by=author",), "author"), (("split.by=group", "split.group=team"), "team")],
)
def test_the_dataset_is_split_by_what_the_recipe_says(
    tiny_path: Path, tmp_path: Path, overrides: tuple[str, ...], column: str
) -> None:
    rows = [
        {
            "prompt": f"What of {n}?",
            "completion": f"Of {n} there is this and that to say.",
            "url": f"u{n}",
            "author": f"a{n % 23}",
            "team": f"t{n % 19}",
            "date": f"20{10 + n % 13}-0{1 + n % 9}-01",
        }
        for n in range(150)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, parts = made(tiny_path, tmp_path / "rows.jsonl", tmp_path, *overrides)
    values = {name: {row.meta[column] for row in part} for name, part in parts.items()}
    assert not values["train"] & values["test"] and not values["train"] & values["val"]
    if column == "date":
        assert max(values["train"]) < min(values["val"]) and max(values["val"]) < min(values["test"])


def test_stratify_puts_every_label_into_every_split_and_names_labels_in_the_numbers(tiny_path: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"{n}?", "completion": f"n{n}", "url": f"u{n}", "label": "rare" if n < 4 else "common"} for n in range(60)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for seed in range(8):
        numbers, _ = made(tiny_path, tmp_path / "rows.jsonl", tmp_path, "split.stratify=label", f"split.seed={seed}")
        assert all(numbers["labels"]["rare"].values())


@pytest.mark.parametrize(
    "overrides",
    [("mix.share=0.3",), ("split.group=team",), ("split.by=group",), ("split.by=time", "split.seed=3"), ("build.dedup=0.1",)],
)
def test_a_knob_that_can_have_no_effect_is_an_error(overrides: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError):
        recipe_from({"sources": ["./posts"]}, overrides)
