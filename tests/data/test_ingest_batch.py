"""All kinds of files in one batch, the hostile ones among them: each ends as documents, pairs or a named reason."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from shared_material import ingest, material

from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.item import Gathered

# A process of its own: the memory of this one holds what other tests left behind.
SCRIPT = """
import json, re, resource, sys, warnings
warnings.simplefilter("ignore")
from tunesmith.core.errors import DatasetError
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.item import Gathered
gathered = gather(sys.argv[1:])
slowest = (0.0, "")

def work():
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)  # what others do on this machine does not count

for item in gathered.items:
    start = work()
    try:
        extract(Gathered(items=(item,)), reporter=SilentReporter())
    except DatasetError:
        pass
    slowest = max(slowest, (work() - start, item.name))
own = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]  # ru_maxrss of this process begins with its parent's
most = max(int(own), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024
print(json.dumps({"slowest": slowest, "mebibytes": most, "items": len(gathered.items)}))
"""


def measured(*sources: Path) -> dict[str, Any]:
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc, which only Linux has")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT, *map(str, sources)]
    done = subprocess.run(command, capture_output=True, env=environment, check=True, timeout=600)
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def hostile(folder: Path) -> None:
    """One file of every kind that would take too much time or memory if it were believed."""
    folder.mkdir()
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    laughs = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a0 "ha">{entities}]><d>&a11;</d>'
    for name, member, data in (
        ("laughs.docx", "word/document.xml", laughs.encode()),
        ("laughs.epub", "META-INF/container.xml", laughs.encode()),
        ("zeros.zip", "a.txt", bytes(120_000_000)),
        ("blanks.docx", "word/document.xml", b" " * 120_000_000),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(member, data)
        (folder / name).write_bytes(buffer.getvalue())
    (folder / "deep.json").write_bytes(b"[" * 500_000)
    (folder / "deep.html").write_bytes(b"<div>" * 100_000 + b"words")
    (folder / "giant.csv").write_bytes(b'prompt,completion\n"' + b"x" * 20_000_000)
    (folder / "giant.srt").write_bytes(b"1\n00:00:01,000 --> 00:00:02,000\n" + b"<" * 5_000_000)
    (folder / "giant.mbox").write_bytes(b"From a@x.org Tue Apr 11 08:00:00 2023\n" + b"Subject: " + b"x" * 5_000_000)
    (folder / "giant.txt").write_bytes(b"12/03/2023, 09:00 - Ada: " + b"a:" * 4_000_000)
    (folder / "bomb.json.gz").write_bytes(gzip.compress(b" " * 60_000_000, compresslevel=1))
    (folder / "loop.pdf").write_bytes(
        b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 1 0 R /Kids [1 0 R] >>\nendobj\ntrailer << /Root 1 0 R >>"
    )
    (folder / "good.md").write_text("Good words, after all.")


@pytest.mark.slow
def test_hostile_files_of_every_kind_take_under_five_seconds_and_the_good_one_is_read(tmp_path: Path) -> None:
    hostile(tmp_path / "in")
    found = measured(tmp_path / "in")
    seconds, name = found["slowest"]
    assert seconds < 5, name
    assert int(str(found["mebibytes"])) < 512
    batch = ingest(tmp_path / "in")
    assert "good.md" in {document.source for document in batch.documents}
    named = {failure.source.split("/")[0] for failure in batch.failures}
    assert {
        "laughs.docx",
        "laughs.epub",
        "zeros.zip",
        "blanks.docx",
        "deep.json",
        "bomb.json.gz",
        "loop.pdf",
        "giant.csv",
    } <= named


@pytest.mark.nightly
def test_every_shared_file_ends_as_documents_pairs_or_a_named_reason() -> None:
    sources = [str(material(name)) for name in ("files", "feeds", "pages/article-extraction-benchmark")]
    gathered = gather(sources)
    pages = [item for item in gathered.items if item.kind == "html"][::6]
    items = tuple(item for item in gathered.items if item.kind != "html" or item in pages)
    batch = extract(Gathered(items=items, failures=gathered.failures), reporter=SilentReporter())
    every: tuple[Any, ...] = (*batch.documents, *batch.pairs, *batch.failures)
    ends = {one.source for one in every}
    hashes = {document.sha256 for document in batch.documents}
    for item in items:
        if item.name not in ends:  # a copy of another file's text, kept once
            alone = extract(Gathered(items=(item,)), reporter=SilentReporter())
            assert alone.documents and {document.sha256 for document in alone.documents} <= hashes, item.name
    assert all(failure.reason and "Traceback" not in failure.reason for failure in batch.failures)
    kinds = {item.kind for item in items}
    assert kinds >= {"pdf", "docx", "subtitles", "chat", "table", "archive", "rows", "html", "feed", "text"}
    assert {document.extraction for document in batch.documents} >= {"pdf", "docx", "subtitles", "chat", "html"}


@pytest.mark.nightly
def test_no_shared_file_takes_five_seconds_or_half_a_gigabyte() -> None:
    found = measured(material("files"), material("feeds/hostile"))
    seconds, name = found["slowest"]
    assert seconds < 5, name
    assert int(str(found["mebibytes"])) < 512 and int(str(found["items"])) > 90
