"""Promises of tar archives: read like a folder under any packing, nothing outside of them, and never more than the limits."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from test_containers_networks import OWN, mastodon
from test_ingest_containers import ingest

from tunesmith.data.ingest import tar_package
from tunesmith.data.ingest.tar_package import TarPackage, is_tar
from tunesmith.data.text.decode import UnreadableError

POST = "The kettle stands on the bench, and nobody has boiled it since the spring. I did not ask why.\n"
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "x.tar": lambda data: data,
    "x.tar.gz": gzip.compress,
    "x.tgz": gzip.compress,
    "x.tar.bz2": bz2.compress,
    "x.tar.xz": lzma.compress,
}


def tar(files: dict[str, str | bytes], *, links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize("name", PACKED)
def test_a_tar_of_posts_is_read_like_their_folder(tmp_path: Path, name: str) -> None:
    data = PACKED[name](tar({"./blog/one.md": POST, "blog/two.md": POST.replace("kettle", "lamp"), "blog/p.png": b"\x89PNG"}))
    (tmp_path / name).write_bytes(data)
    found = ingest(tmp_path / name)
    assert [(one.source, one.text) for one in found.documents] == [
        (f"{name}/blog/one.md", POST.strip()),
        (f"{name}/blog/two.md", POST.replace("kettle", "lamp").strip()),
    ]
    assert not found.failures and is_tar(data)


def test_an_export_in_a_tar_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "archive-20230401.tar.gz").write_bytes(gzip.compress(tar(dict(mastodon()))))
    found = ingest(tmp_path)
    assert [one.text for one in found.documents] == [f"{OWN}\n\nAnd it rang."] and not found.failures


def test_links_and_paths_that_lead_out_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("SECRETMARK words that are not in the archive.")
    files: dict[str, str | bytes] = {"in.md": POST, "../secret.md": "UPMARK words", "/etc/motd.md": "ROOTMARK words"}
    (tmp_path / "x.tar").write_bytes(tar(files, links={"link.md": str(tmp_path / "secret.md")}))
    assert [one.text for one in ingest(tmp_path / "x.tar").documents] == [POST.strip()]


def test_a_cut_archive_is_named_and_the_rest_read(tmp_path: Path) -> None:
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(tar({f"{n}.md": POST * 50 for n in range(20)}))[:-200])
    (tmp_path / "own.md").write_text(POST)
    found = ingest(tmp_path)
    assert [one.source for one in found.documents] == ["own.md"]
    assert [(one.source, one.reason) for one in found.failures] == [("cut.tar.gz", "the archive is damaged or cut")]


def test_what_only_begins_like_a_packed_file_is_no_tar() -> None:
    for data in (b"", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", gzip.compress(POST.encode()), b"PK\x03\x04" + b"\0" * 600):
        assert not is_tar(data)


def test_an_archive_never_takes_more_than_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_package, "MAX_MEMBER_BYTES", 1000)
    monkeypatch.setattr(tar_package, "MAX_ALL_BYTES", 1500)
    package = TarPackage(tar({"a.md": "a" * 900, "big.md": "b" * 1001, "c.md": "c" * 900, "film.mp4": b"f" * 9000}))
    assert package.read("a.md") == b"a" * 900 and package.head("a.md", 3) == b"aaa" and package.head("big.md", 3) == b""
    for name in ("big.md", "c.md"):
        with pytest.raises(UnreadableError, match="unpacks to more than"):
            package.read(name)
    with pytest.raises(UnreadableError, match="lacks its part"):
        package.read("nowhere.md")
    monkeypatch.setattr(tar_package, "MAX_MEMBERS", 1)
    with pytest.raises(UnreadableError, match="files"):
        TarPackage(tar({"a.md": "a", "b.md": "b"}))
    monkeypatch.setattr(tar_package, "_MAX_PACKED_BYTES", 5000)
    with pytest.raises(UnreadableError, match="the archive unpacks to more than"):
        TarPackage(tar({"film.mp4": b"f" * 9000}))
