"""`kill -9` in the middle of an ingest: the same command again gives the same bytes, and fetches nothing a second time."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import orjson
import pytest
from local_server import Answer, serving

KILLS = int(os.environ.get("TUNESMITH_KILLS", "4"))
MAIN = "from tunesmith.cli.main import main; main()"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def start(source: str, project: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", MAIN, "ingest", source, "--project", str(project), "--json", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT)


def finish(process: subprocess.Popen[bytes]) -> dict[str, bytes]:
    """The files of the artifact; of the manifest all but the moment it was made."""
    out, _ = process.communicate()
    assert process.returncode == 0
    folder = Path(orjson.loads(out)["artifact"])
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    manifest = orjson.loads(files.pop("manifest.json"))
    assert manifest.pop("created") and manifest.pop("seal", True)
    return {**files, "manifest": orjson.dumps(manifest), "name": folder.name.encode()}


def write_posts(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        words = (
            f"It rained for {number} hours, and *nobody* in the harbour minded [it](http://x.org/{number}) very much.\n\n" * 20
        )
        (folder / f"{number:03d}.md").write_text(f"---\ntitle: Post {number}\n---\n\n{words}")


def written(project: Path) -> int:
    """How many bytes of documents a run in this project has written so far."""
    return sum(path.stat().st_size for path in project.rglob(".tmp-*/documents.jsonl"))


def kill_at(num_bytes: int, source: Path, project: Path) -> bool:
    """Whether a run was killed once it had written this much, before it was through."""
    process = start(str(source), project)
    while process.poll() is None and written(project) < num_bytes:
        try:
            process.wait(timeout=0.005)
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    process.communicate()
    return process.returncode == -9


@pytest.mark.slow
def test_after_kills_at_random_moments_the_artifact_is_the_same(tmp_path: Path) -> None:
    write_posts(tmp_path / "posts", 240)  # enough for several readers
    whole = finish(start(str(tmp_path / "posts"), tmp_path / "whole"))
    draw, project = random.Random(20), tmp_path / "killed"
    sizes = [0, *(draw.randrange(1, len(whole["documents.jsonl"]) // 2) for _ in range(KILLS - 1))]
    assert [kill_at(size, tmp_path / "posts", project) for size in sizes] == [True] * KILLS
    assert finish(start(str(tmp_path / "posts"), project)) == whole
    assert not list(project.rglob(".tmp-*")), "what was half written is still there"


def test_after_a_kill_in_the_middle_of_fetching_only_the_rest_is_fetched(tmp_path: Path) -> None:
    names = [f"page-{number}" for number in range(6)]
    body = "<p>It rained, and nobody in the harbour minded it very much, since all of them had been wet before.</p>" * 5
    pages: dict[str, Answer | Callable[[BaseHTTPRequestHandler], None]] = {
        f"/{name}": (200, {"Content-Type": "text/html"}, f"<html><body><article><h1>{name}</h1>{body}{name}</article>".encode())
        for name in names
    }
    options = ("--allow-private", "--set", "fetch.delay_s=0")
    with serving(dict(pages)) as server:
        listed = "".join(f"<url><loc>{server.url(f'/{name}')}</loc></url>" for name in names)
        server.answers["/sitemap.xml"] = (200, {"ETag": '"1"'}, f"<urlset>{listed}</urlset>".encode())
        whole = finish(start(server.url("/sitemap.xml"), tmp_path / "whole", *options))
        server.asked.clear()
        process: list[subprocess.Popen[bytes]] = []

        def killing(handler: BaseHTTPRequestHandler) -> None:
            server.answers["/page-3"] = pages["/page-3"]
            process[0].kill()

        server.answers["/page-3"] = killing
        process.append(start(server.url("/sitemap.xml"), tmp_path / "killed", *options))
        process[0].communicate()
        assert process[0].returncode == -9 and server.paths() == ["/sitemap.xml", "/page-0", "/page-1", "/page-2"]
        assert finish(start(server.url("/sitemap.xml"), tmp_path / "killed", *options)) == whole
        assert server.paths()[4:] == ["/sitemap.xml", "/page-3", "/page-4", "/page-5"]
