"""Artifacts: same inputs and settings give the same id and no second making; what fails leaves nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import ArtifactError, StorageError, TunesmithError
from tunesmith.core.files import MANIFEST

INPUTS = [{"kind": "sources", "id": "ab" * 32}]


def make(store: Store, settings: dict[str, object], *, kind: str = "dataset") -> Artifact:
    with store.create(kind, inputs=INPUTS, settings=settings) as draft:
        (draft.path / "rows.jsonl").write_text("{}\n")
        draft.numbers["rows"] = 1
    found = store.find(kind, store.identify(kind, INPUTS, settings))
    assert found is not None
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / ".tunesmith")


def test_the_same_inputs_and_settings_have_the_same_id_whatever_the_order_of_the_keys(store: Store) -> None:
    one = store.identify("dataset", INPUTS, {"a": 1, "b": {"c": 2, "d": 3}})
    assert one == store.identify("dataset", INPUTS, {"b": {"d": 3, "c": 2}, "a": 1})
    assert len(one) == 64


@pytest.mark.parametrize("other", [{"seed": 8}, {"seed": 7.5}, {"seed": "7"}, {"seed": 7, "more": None}, {}])
def test_a_changed_setting_another_kind_or_another_input_is_another_id(store: Store, other: dict[str, object]) -> None:
    one = store.identify("dataset", INPUTS, {"seed": 7})
    assert one != store.identify("dataset", INPUTS, other)
    assert one != store.identify("run", INPUTS, {"seed": 7})
    assert one != store.identify("dataset", [*INPUTS, *INPUTS], {"seed": 7})


def test_an_artifact_says_what_it_was_made_of_and_with(store: Store) -> None:
    manifest = make(store, {"seed": 7}).manifest
    assert manifest["inputs"] == INPUTS and manifest["settings"] == {"seed": 7} and manifest["numbers"] == {"rows": 1}
    assert {"version", "libraries", "machine", "created", "files"} <= set(manifest)
    assert manifest["libraries"]["numpy"]


def test_making_it_twice_keeps_the_first(store: Store) -> None:
    first = make(store, {"seed": 7})
    before = (first.path / MANIFEST).stat().st_mtime_ns
    assert make(store, {"seed": 7}).id == first.id
    assert (first.path / MANIFEST).stat().st_mtime_ns == before


def test_artifacts_made_within_one_second_are_listed_in_the_order_of_their_making(store: Store) -> None:
    made = [make(store, {"seed": seed}).id for seed in range(12)]
    assert [artifact.id for artifact in store.all()] == made and made != sorted(made)


def test_a_stage_that_fails_leaves_no_file_behind(store: Store) -> None:
    with pytest.raises(ValueError, match="in the middle"), store.create("run", inputs=[], settings={}) as draft:
        (draft.path / "half").write_text("half")
        raise ValueError("in the middle")
    assert store.all() == [] and not [p for p in store.root.rglob("*") if p.is_file()]


def test_a_full_disk_in_a_stage_is_a_storage_error_and_leaves_no_file(store: Store) -> None:
    full = pytest.raises(StorageError, match="the disk is full while writing the run")
    with full, store.create("run", inputs=[], settings={}) as draft:
        (draft.path / "half").write_text("half")
        raise OSError(28, "No space left on device")
    assert not [p for p in store.root.rglob("*") if p.is_file()]


def test_a_damaged_artifact_is_not_found_and_is_made_anew(store: Store) -> None:
    made = make(store, {"seed": 7})
    (made.path / "rows.jsonl").write_text("[]\n")
    assert store.find("dataset", made.id) is None
    assert (make(store, {"seed": 7}).path / "rows.jsonl").read_text() == "{}\n"


def test_artifacts_are_found_by_the_first_digits_and_as_latest(store: Store) -> None:
    one, run = make(store, {"seed": 1}), make(store, {"seed": 1}, kind="run")
    assert store.resolve(one.id[:10]).id == one.id == store.resolve(one.id.upper()).id
    assert store.resolve(f"dataset:{one.id}").id == store.resolve(f"dataset:{one.id[:9].upper()}").id == one.id
    with pytest.raises(ArtifactError, match="no such artifact"):
        store.resolve(f"run:{one.id}")  # it is a dataset
    assert store.resolve("run:latest").id == run.id


def test_latest_is_what_was_last_asked_for_though_it_was_made_before(store: Store) -> None:
    """Back to an earlier recipe: its run is found again, and the next word is about that one."""
    first, second = make(store, {"seed": 1}), make(store, {"seed": 2})
    assert store.resolve("dataset:latest").id in {first.id, second.id}  # made within one second, and not marked
    for artifact in (first, second, first):
        assert store.mark_latest(artifact) == artifact
        assert store.resolve("dataset:latest").id == artifact.id
    shutil.rmtree(first.path)
    assert store.resolve("dataset:latest").id == second.id


def error(store: Store, prefix: str) -> TunesmithError:
    with pytest.raises(ArtifactError) as caught:
        store.resolve(prefix)
    problem = caught.value.problems[0]
    assert problem.what and problem.expected and problem.hint
    return caught.value


def test_a_missing_artifact_is_an_error_that_names_those_that_are_there(store: Store) -> None:
    assert "none yet" in str(error(store, "beef"))
    made = make(store, {})
    for prefix in ("zz", "", "run:latest", "nonsense:latest"):
        assert f"dataset {made.id[:8]}" in str(error(store, prefix))


def test_an_ambiguous_prefix_is_an_error_that_counts(store: Store) -> None:
    ids = [make(store, {"seed": n}).id for n in range(17)]  # 17 ids cannot have 17 different first digits
    first = next(i[0] for i in ids if sum(j[0] == i[0] for j in ids) > 1)
    assert f"{sum(i[0] == first for i in ids)} artifacts begin with that" in str(error(store, first))


def test_a_damaged_artifact_is_named_when_it_is_asked_for(store: Store) -> None:
    made = make(store, {})
    (made.path / "rows.jsonl").unlink()
    assert "damaged" in str(error(store, made.id)) and str(made.path) in str(error(store, made.id))


@pytest.mark.parametrize("manifest", [b"{", b"[1]", b"{}", b'{"id": 3}', b"null"])
def test_a_folder_with_a_broken_manifest_does_not_hide_the_others(store: Store, manifest: bytes) -> None:
    made = make(store, {})
    broken = make(store, {"seed": 2})
    (broken.path / MANIFEST).write_bytes(manifest)
    assert store.resolve(made.id[:12]).id == made.id
