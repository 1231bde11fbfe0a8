"""Writing survives: a kill at any point leaves the old state or the new, and damage is never taken for an artifact."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from power_cut import FullDisk, Op, Recorder, Tree, build, outcomes, read_tree
from tunesmith.core.disk import Disk
from tunesmith.core.errors import StorageError
from tunesmith.core.files import (
    MANIFEST,
    checked_name,
    collect_temporary,
    commit,
    damage,
    new_temporary,
    replace_file,
    storage_errors,
    verify,
)

CONTENT = {"a.txt": b"first file\n", "deep/b.bin": bytes(range(256)), "deep/er/c.txt": "ünïcode\n".encode()}


def filled(final: Path, content: dict[str, bytes] | None = None) -> Path:
    temporary = new_temporary(final)
    for name, data in (content or CONTENT).items():
        (temporary / name).parent.mkdir(parents=True, exist_ok=True)
        (temporary / name).write_bytes(data)
    return temporary


def holds(final: Path, content: dict[str, bytes]) -> bool:
    return verify(final) is not None and all((final / name).read_bytes() == data for name, data in content.items())


def test_a_committed_directory_verifies_and_its_manifest_names_every_file(tmp_path: Path) -> None:
    whole = commit(filled(tmp_path / "x"), tmp_path / "x", {"kind": "dataset"})
    assert verify(tmp_path / "x") == whole
    assert [fact["path"] for fact in whole["files"]] == sorted(CONTENT)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_an_exception_before_the_rename_leaves_nothing_visible(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        commit(filled(tmp_path / "x"), tmp_path / "x", {}, before_rename=fail)
    assert not (tmp_path / "x").exists() and verify(tmp_path / "x") is None


def test_every_flipped_byte_and_every_shortened_file_is_detected(tmp_path: Path) -> None:
    final = tmp_path / "x"
    commit(filled(final), final, {})
    for name, data in CONTENT.items():
        for damaged in (*(data[:n] for n in range(0, len(data), 9)), *(flipped(data, n) for n in range(0, len(data), 9))):
            (final / name).write_bytes(damaged)
            assert verify(final) is None
        (final / name).write_bytes(data)
    assert verify(final) is not None
    (final / "a.txt").unlink()
    assert verify(final) is None


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("manifest", [b"", b"{", b"[]", b"null", b"{}", b'{"files": 3}', b'{"files": [{}]}', b"\xff\xfe"])
def test_a_torn_manifest_is_no_artifact_and_no_crash(tmp_path: Path, manifest: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(manifest)
    assert verify(tmp_path) is None


def test_a_manifest_that_points_outside_its_directory_does_not_verify(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s")
    inside = tmp_path / "x"
    commit(filled(inside, {"a": b"s"}), inside, {})
    manifest = orjson.loads((inside / MANIFEST).read_bytes())
    manifest["files"][0]["path"] = "../secret"
    assert damage(inside) == "" and resealed(inside, manifest) == "manifest.json cannot be understood"


def resealed(folder: Path, manifest: dict[str, object]) -> str:
    """The damage that is seen when somebody wrote a manifest with a true seal."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    plain = orjson.dumps({k: v for k, v in manifest.items() if k != "seal"}, option=option)
    whole = {**orjson.loads(plain), "seal": hashlib.sha256(plain).hexdigest()}
    (folder / MANIFEST).write_bytes(orjson.dumps(whole, option=option))
    return damage(folder)


def test_a_damaged_target_is_replaced_and_a_good_one_is_kept(tmp_path: Path) -> None:
    final = tmp_path / "x"
    commit(filled(final), final, {"made": 1})
    assert commit(filled(final, {"a.txt": b"other"}), final, {"made": 2})["made"] == 1
    (final / "a.txt").write_bytes(b"torn")
    assert commit(filled(final), final, {"made": 3})["made"] == 3
    assert holds(final, CONTENT) and [p.name for p in tmp_path.iterdir()] == ["x"]


# --- every state that a power cut can leave ------------------------------------------------------------------------------


def recorded(root: Path, act: Callable[[Recorder], object]) -> tuple[Tree, list[Op]]:
    """The tree before, and the operations of `act`."""
    before, disk = read_tree(root), Recorder(root)
    act(disk)
    return before, disk.log


def fill(root: Path, disk: Disk, content: dict[str, bytes] | None = None) -> Path:
    """A temporary directory, filled through the recorder as a stage would fill it."""
    temporary = new_temporary(root / "x", disk=disk)
    for name, data in (content or CONTENT).items():
        for above in reversed(Path(name).parents[:-1]):
            if not (temporary / above).is_dir():
                disk.make_folder(temporary / above)
        disk.write(temporary / name, data)
    return temporary


def bad_states(before: Tree, log: Sequence[Op], place: Path, good: Callable[[Path, bool], bool]) -> Iterator[bool]:
    """For each state whether it is bad; `good` is told whether all operations had been done."""
    shutil.rmtree(place, ignore_errors=True)
    for cut, tree in outcomes(before, log):
        yield not good(build(tree, place), cut == len(log))
        shutil.rmtree(place)


def nothing_or_all(root: Path, ended: bool) -> bool:
    return holds(root / "x", CONTENT) or (not ended and not (root / "x").exists())


def new_artifact(root: Path) -> tuple[Tree, list[Op]]:
    root.mkdir()
    return recorded(root, lambda disk: commit(fill(root, disk), root / "x", {}, disk=disk))


def test_every_cut_in_a_commit_leaves_nothing_or_the_whole(tmp_path: Path) -> None:
    before, log = new_artifact(tmp_path / "root")
    found = list(bad_states(before, log, tmp_path / "state", nothing_or_all))
    assert not any(found) and len(found) > 200


def test_each_sync_of_a_commit_is_needed_and_its_absence_is_found(tmp_path: Path) -> None:
    """The planted faults: a protocol without one of its syncs."""
    before, log = new_artifact(tmp_path / "root")
    syncs = [i for i, op in enumerate(log) if op.kind == "sync"]
    assert len(syncs) == 8  # three files, the manifest, three folders, the folder above
    for i in syncs:
        assert any(bad_states(before, [*log[:i], *log[i + 1 :]], tmp_path / "state", nothing_or_all)), log[i]


def test_a_commit_that_renames_first_is_found(tmp_path: Path) -> None:
    before, log = new_artifact(tmp_path / "root")
    at = next(i for i, op in enumerate(log) if op.kind == "rename")
    first = next(i for i, op in enumerate(log) if op.kind == "sync")
    old, new = log[at].path, log[at].new
    late = [replace(op, path=op.path.replace(old, new)) for op in log[first:at]]
    assert any(bad_states(before, [*log[:first], log[at], *late, *log[at + 1 :]], tmp_path / "state", nothing_or_all))


def test_a_cut_while_a_good_artifact_is_made_again_keeps_the_old(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    commit(filled(root / "x"), root / "x", {"made": 1})
    before, log = recorded(root, lambda disk: commit(fill(root, disk, {"a": b"new"}), root / "x", {"made": 2}, disk=disk))
    assert not any(bad_states(before, log, tmp_path / "state", lambda r, _: holds(r / "x", CONTENT)))


def test_a_cut_while_a_damaged_artifact_is_replaced_never_makes_the_damage_look_good(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    small = {"a.txt": b"first", "b.txt": b"second"}
    commit(filled(root / "x", small), root / "x", {})
    (root / "x" / "a.txt").write_bytes(b"damaged")
    before, log = recorded(root, lambda disk: commit(fill(root, disk, small), root / "x", {}, disk=disk))

    def good(place: Path, ended: bool) -> bool:
        return holds(place / "x", small) or (not ended and verify(place / "x") is None)

    assert not any(bad_states(before, log, tmp_path / "state", good))


def test_every_cut_in_replace_file_leaves_the_old_or_the_new_content(tmp_path: Path) -> None:
    root, old, new = tmp_path / "root", b"old " * 100, b"new " * 300
    root.mkdir()
    (root / "f").write_bytes(old)
    before, log = recorded(root, lambda disk: replace_file(root / "f", new, disk=disk))

    def good(place: Path, ended: bool) -> bool:
        return (place / "f").read_bytes() in ({new} if ended else {old, new})

    assert not any(bad_states(before, log, tmp_path / "state", good))
    for i in [i for i, op in enumerate(log) if op.kind == "sync"]:
        assert any(bad_states(before, [*log[:i], *log[i + 1 :]], tmp_path / "state", good))
    write, sync, rename, last = log
    assert any(bad_states(before, [write, rename, replace(sync, path="f"), last], tmp_path / "state", good))


def test_a_disk_that_fills_up_at_any_operation_of_a_commit_leaves_nothing_or_the_whole(tmp_path: Path) -> None:
    for at in itertools.count(1):
        root = tmp_path / str(at)
        root.mkdir()
        disk, temporary = FullDisk(at), filled(root / "x")
        try:
            commit(temporary, root / "x", {}, disk=disk)
        except OSError:
            assert nothing_or_all(root, ended=False)
        else:
            break
        shutil.rmtree(temporary, ignore_errors=True)
        commit(filled(root / "x"), root / "x", {})
        assert holds(root / "x", CONTENT) and [p.name for p in root.iterdir()] == ["x"]
    assert at == disk.count + 1 > 10


def test_a_flip_of_any_byte_of_the_manifest_is_seen(tmp_path: Path) -> None:
    final = tmp_path / "x"
    commit(filled(final), final, {"kind": "dataset", "note": "words that no file depends on", "number": 1.5})
    data = (final / MANIFEST).read_bytes()
    for n in range(len(data)):
        (final / MANIFEST).write_bytes(flipped(data, n))
        assert verify(final) is None and damage(final), n


def dead_pid() -> int:
    global _DEAD
    if not _DEAD:
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        _DEAD = child.pid
    return _DEAD


_DEAD = 0


# --- leftovers, names, full disks -------------------------------------------------------------------------------------


def test_leftovers_of_dead_processes_are_collected_and_those_of_the_living_kept(tmp_path: Path) -> None:
    mine = new_temporary(tmp_path / "sub" / "x")
    dead = tmp_path / "sub" / f".tmp-x-{dead_pid()}-0123abcd"
    (dead / "deep").mkdir(parents=True)
    torn = tmp_path / f".tmp-recipe.yaml-{dead_pid()}-0123abcd"
    torn.write_bytes(b"half")
    assert collect_temporary(tmp_path) == 2
    assert mine.is_dir() and not dead.exists() and not torn.exists()
    assert collect_temporary(tmp_path, alone=True) == 1 and not mine.exists()


def traversals() -> list[str]:
    steps = ["..", ".", "", "a/..", "../..", "a/../..", "./..", "..\\..", "a\0b", "\\", "a\\b", "../../../../../../etc"]
    ends = ["", "/", "/passwd", "/x/y", "/..", "/.", "//x", "/../x", "/.ssh/id"]
    starts = ["", "/", "//", "a/", "a/b/", "../", "./"]
    names = {s + step + e for s in starts for step in steps for e in ends}
    return sorted(n for n in names if not _plain(n))


def _plain(name: str) -> bool:
    return all(p not in {"", ".", ".."} and "\\" not in p and "\0" not in p for p in name.split("/"))


def test_more_than_three_hundred_names_that_leave_the_directory_are_refused() -> None:
    names = traversals()
    assert len(names) >= 300
    for name in names:
        with pytest.raises(ValueError, match="not a plain relative path"):
            checked_name(name)


@given(st.lists(st.sampled_from(["..", ".", "/", "\\", "a", "~", "%2e", "\0", " ", "é", ":"]), max_size=12).map("".join))
def test_no_name_that_is_accepted_leads_out_of_the_directory(name: str) -> None:
    try:
        path = checked_name(name)
    except ValueError:
        return
    root = Path("/root/of/all")
    assert Path(os.path.normpath(root / path)).is_relative_to(root) and Path(os.path.normpath(root / path)) != root


FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_becomes_a_storage_error_in_four_parts_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: raise_(FULL))
    with pytest.raises(StorageError) as caught, storage_errors("writing the recipe", tmp_path):
        replace_file(tmp_path / "f", b"data")
    problem = caught.value.problems[0]
    assert problem.what == "the disk is full while writing the recipe"
    assert problem.value and problem.expected and "free some space" in problem.hint
    assert list(tmp_path.iterdir()) == []


def raise_(error: Exception) -> None:
    raise error


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO]))
def test_every_kind_of_disk_trouble_has_words_of_its_own(number: int) -> None:
    with pytest.raises(StorageError) as caught, storage_errors("working", Path("place")):
        raise OSError(number, "trouble", "some/file")
    assert "some/file" in str(caught.value) and "hint: " in str(caught.value)


def test_safetensors_full_disk_in_words_is_understood_too() -> None:
    with pytest.raises(StorageError, match="the disk is full"), storage_errors("saving", Path("x")):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_an_error_that_is_not_the_disks_passes_through_unchanged() -> None:
    with pytest.raises(KeyError), storage_errors("working", Path("x")):
        raise KeyError("ours")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


def test_on_a_really_full_disk_what_was_there_stays_and_nothing_half_written_does(small_disk: Path) -> None:
    replace_file(small_disk / "f", b"old")
    with pytest.raises(StorageError, match="the disk is full"), storage_errors("writing", small_disk):
        replace_file(small_disk / "f", b"x" * 100_000)
    assert (small_disk / "f").read_bytes() == b"old" and [p.name for p in small_disk.iterdir()] == ["f"]
