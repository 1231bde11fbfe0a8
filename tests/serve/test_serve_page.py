"""The page of a server: it talks to the server alone, holds nothing that a request put there, and runs in a real browser."""

from __future__ import annotations

import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from echo_engine import Echo, opened, registry_of
from running_server import Running, running

KEY = "a-key-of-at-least-16"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("page")
    with running(registry_of(Echo(), "mine", "other"), traffic=opened(folder / "serve.db")) as found:
        yield found


def fetched(url: str, **headers: str) -> tuple[int, str, Mapping[str, str]]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as response:
        return response.status, response.read().decode(), response.headers


@pytest.mark.parametrize(("path", "kind"), [("/", "text/html"), ("/chat.css", "text/css"), ("/chat.js", "text/javascript")])
def test_the_page_may_load_only_its_own_files_and_says_nothing_that_a_request_said(
    server: Running, path: str, kind: str
) -> None:
    status, text, headers = fetched(f"{server.url}{path}")
    assert status == 200 and headers["Content-Type"].startswith(kind)
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
    _, again, kinds = fetched(f"{server.url}{path}?content=planted&kind=text/plain&name=planted")
    assert again == text and kinds["Content-Type"] == headers["Content-Type"]


def test_a_server_with_keys_shows_its_page_to_keys_alone() -> None:
    with running(
        registry_of(Echo(), "mine"), keys={"me": KEY, "watch": KEY + "2"}, roles={"me": "client", "watch": "metrics"}
    ) as server:
        for path in ("/", "/chat.js", "/chat.css"):
            assert fetched(server.url + path, Authorization=f"Bearer {KEY}")[0] == 200
            for headers, status in (({}, 401), ({"Authorization": f"Bearer {KEY}2"}, 403)):
                with pytest.raises(urllib.error.HTTPError) as caught:
                    fetched(server.url + path, **headers)
                assert caught.value.code == status
                caught.value.close()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium on this machine")
def test_a_real_browser_runs_the_page_and_finds_the_models(server: Running, tmp_path: Path) -> None:
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=5000", "--dump-dom", server.url + "/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert '<option value="mine">' in done.stdout and '<option value="other">' in done.stdout
    assert "version v1" in done.stdout and "CONSOLE" not in done.stderr and "Refused" not in done.stderr
