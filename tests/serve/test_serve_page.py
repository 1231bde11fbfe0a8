"""The page of a server: it talks to the server alone, holds nothing that a request put there, and runs in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from echo_engine import Echo, opened, registry_of
from running_server import Running, running

import tunesmith.serve.page

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


STUB = """
const asked = [], kinds = ["silent", "hangs", "hangs late", "whole"];
window.fetch = async (path, {body, signal} = {}) => {
  if (path === "/v1/models") return new Response('{"data": [{"id": "<b>\\"mine\\"</b>"}]}');
  asked.push(JSON.parse(body).messages.map(({role, content}) => `${role}: ${content}`));
  const kind = kinds.shift();
  const line = (delta, reason) => new TextEncoder().encode(
    `data: ${JSON.stringify({id: "c", choices: [{delta, finish_reason: reason}]})}\\n\\n`);
  return new Response(new ReadableStream({start(c) {
    if (kind === "hangs late" || kind === "whole") c.enqueue(line({content: "<i>Hel"}, null));
    if (kind === "silent" || kind === "whole") { c.enqueue(line({}, "stop")); c.close(); }
    else signal.addEventListener("abort", () => c.error(new DOMException("", "AbortError")));
  }}));
};
"""
DRIVER = """
(async () => {
  const rest = () => new Promise((done) => setTimeout(done, 50));
  const ask = async (words) => {
    document.getElementById("text").value = words;
    document.getElementById("ask").requestSubmit();
    for (let n = 0; n < 4; n++) await rest();
  };
  const press = async (id) => { document.getElementById(id).click(); for (let n = 0; n < 4; n++) await rest(); };
  await rest();
  await ask("one");
  await ask("two");
  await press("stop");
  await ask("three");
  await press("new");
  await ask("four");
  await ask("five");
  document.title = JSON.stringify(asked) + document.querySelectorAll("#log b, #log i, option b").length;
})();
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize("planted", [False, True], ids=["as it is", "planted"])
def test_questions_without_an_answer_and_earlier_conversations_are_not_sent(tmp_path: Path, planted: bool) -> None:
    folder = Path(tunesmith.serve.page.__file__).parent
    script = (folder / "chat.js").read_text(encoding="utf-8")
    if planted:
        latest = "const asked = {push: (one) => turns.push(one), toJSON: () => turns};"
        script = script.replace("asked.pop();", "").replace("const asked = turns;", latest)
    page = (folder / "chat.html").read_text(encoding="utf-8")
    scripts = "".join(f"<script>{one}</script>" for one in (STUB, script, DRIVER))
    (tmp_path / "page.html").write_text(page.replace('<script src="/chat.js"></script>', scripts), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    command += ["--virtual-time-budget=20000", "--dump-dom", (tmp_path / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    expected = [["one"], ["two"], ["three"], ["four"], ["four", "<i>Hel", "five"]]
    names = [["user: " + one if at != 1 else "assistant: " + one for at, one in enumerate(row)] for row in expected]
    assert (html.unescape(title[1]) == json.dumps(names, separators=(",", ":")) + "0") is not planted
