"""Writing survives: a kill at any point leaves the old state or the new, and damage is never taken for an artifact."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.core import files
from tunesmith.core.errors import StorageError
from tunesmith.core.files import (
    MANIFEST,
    checked_name,
    collect_temporary,
    commit,
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
    (inside / MANIFEST).write_bytes(orjson.dumps(manifest))
    assert verify(inside) is None


def test_a_damaged_target_is_replaced_and_a_good_one_is_kept(tmp_path: Path) -> None:
    final = tmp_path / "x"
    commit(filled(final), final, {"made": 1})
    assert commit(filled(final, {"a.txt": b"other"}), final, {"made": 2})["made"] == 1
    (final / "a.txt").write_bytes(b"torn")
    assert commit(filled(final), final, {"made": 3})["made"] == 3
    assert holds(final, CONTENT) and [p.name for p in tmp_path.iterdir()] == ["x"]


# --- every prefix of the operations -----------------------------------------------------------------------------------


class Kill(BaseException):
    """The process is gone: no handler but `finally` may see it."""


class Shim:
    """Counts what reaches the disk and stops before operation number `at`; the unsynced may be lost or torn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.count, self.at, self.synced = 0, at, set[str]()
        for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (shutil, "rmtree"), (Path, "mkdir")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name), name))
        write = files._write_durably

        def write_and_note(path: Path, data: bytes) -> None:
            self._tick()
            write(path, data)

        monkeypatch.setattr(files, "_write_durably", write_and_note)

    def _tick(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise Kill

    def _counted(self, original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._tick()
            if name == "fsync":
                self.synced.add(os.readlink(f"/proc/self/fd/{arguments[0]}"))
            return original(*arguments, **named)

        return call

    def lose(self, root: Path, keep: Callable[[int], int]) -> None:
        """What was never synced keeps only part of its bytes, as after a power cut."""
        for path in root.rglob("*"):
            if path.is_file() and str(path) not in self.synced and ".tmp-" in str(path):
                os.truncate(path, keep(path.stat().st_size))


LOSSES: dict[str, Callable[[int], int]] = {"kept": lambda n: n, "torn": lambda n: n // 2, "lost": lambda n: 0}
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to see which file is synced")


def states(make: Callable[[Path], None], before: Callable[[Path], None], tmp_path: Path) -> Iterator[tuple[Path, bool]]:
    """The folder after a kill at each operation of `make` and each kind of loss; and whether `make` had ended."""
    for loss, keep in LOSSES.items():
        for at in itertools.count(1):
            root = tmp_path / f"{loss}-{at}"
            root.mkdir()
            before(root)
            with pytest.MonkeyPatch.context() as patch:
                shim, ended = Shim(patch, at), True
                try:
                    make(root)
                except Kill:
                    ended = False
            shim.lose(root, keep)
            yield root, ended
            if ended:
                break


@needs_proc
def test_a_kill_at_any_operation_of_a_commit_leaves_nothing_or_the_whole(tmp_path: Path) -> None:
    seen = 0
    for root, ended in states(lambda r: void(commit(filled(r / "x"), r / "x", {})), lambda r: None, tmp_path):
        assert holds(root / "x", CONTENT) or (not ended and not (root / "x").exists())
        collect_dead(root)
        commit(filled(root / "x"), root / "x", {})  # and the next try succeeds whatever the last one left
        assert holds(root / "x", CONTENT) and [p.name for p in root.iterdir()] == ["x"]
        seen += 1
    assert seen >= 30


@needs_proc
def test_a_kill_while_a_good_artifact_is_made_again_keeps_the_old(tmp_path: Path) -> None:
    def before(root: Path) -> None:
        commit(filled(root / "x"), root / "x", {"made": 1})

    for root, _ in states(lambda r: void(commit(filled(r / "x", {"a": b"new"}), r / "x", {"made": 2})), before, tmp_path):
        assert holds(root / "x", CONTENT)


@needs_proc
def test_a_kill_while_a_damaged_artifact_is_replaced_never_makes_the_damage_look_good(tmp_path: Path) -> None:
    def before(root: Path) -> None:
        commit(filled(root / "x"), root / "x", {})
        (root / "x" / "a.txt").write_bytes(b"damaged")

    for root, ended in states(lambda r: void(commit(filled(r / "x"), r / "x", {})), before, tmp_path):
        assert holds(root / "x", CONTENT) if ended else (holds(root / "x", CONTENT) or verify(root / "x") is None)


@needs_proc
def test_a_kill_at_any_operation_of_replace_file_leaves_the_old_or_the_new_content(tmp_path: Path) -> None:
    old, new = b"old " * 100, b"new " * 300
    for root, ended in states(lambda r: replace_file(r / "f", new), lambda r: void((r / "f").write_bytes(old)), tmp_path):
        assert (root / "f").read_bytes() in ({new} if ended else {old, new})


@needs_proc
def test_a_commit_without_its_syncs_is_caught_by_the_shim(tmp_path: Path) -> None:
    """The planted fault: rename first, sync never. The same check must find a visible directory that does not verify."""

    def careless(root: Path) -> None:
        temporary = filled(root / "x")
        (temporary / MANIFEST).write_bytes(orjson.dumps({"files": files.file_facts(temporary)}))
        lost.lose(root, lambda n: 0)
        temporary.rename(root / "x")

    with pytest.MonkeyPatch.context() as patch:
        lost = Shim(patch, at=-1)
        careless(tmp_path)
    assert (tmp_path / "x").exists() and verify(tmp_path / "x") is None


def void(_: object) -> None:
    return None


def collect_dead(root: Path) -> None:
    """As if another process had written the leftovers, and died."""
    for path in root.glob(".tmp-*"):
        path.rename(path.with_name(f".tmp-x-{dead_pid()}-{uuid.uuid4().hex[:8]}"))
    collect_temporary(root)


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
