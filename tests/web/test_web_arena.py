"""The page of an arena over real HTTP: forms only, nothing revealed, nothing run, nothing accepted from elsewhere."""

from __future__ import annotations

import html
import http.client
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest
from arena_made import HTML, made_arena

from tunesmith.core.errors import StorageError
from tunesmith.eval.arena.arena import Arena
from tunesmith.web.guard import MOST_BYTES
from tunesmith.web.serving import serving_arena


class Page:
    """A browser without JavaScript: links, forms and redirections."""

    def __init__(self, arena: Arena, address: str) -> None:
        self.arena, self.address, self.host = arena, address, address.removeprefix("http://")

    def ask(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, str, str]:
        """Status, the address redirected to, and the body."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        body = None if form is None else urlencode(form)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        kind = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            connection.request(method, path, body, kind | named)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("location", ""), answer.read().decode()
        finally:
            connection.close()

    def vote(self, choice: str, voter: str = "me") -> str:
        """Press a button; the page that was shown before."""
        _, _, shown = self.ask("GET", f"/v/{voter}?more=1")
        status, to, _ = self.ask("POST", f"/v/{voter}?more=1", {"token": token(shown), "choice": choice}, Origin=self.address)
        assert (status, to) == (303, f"/v/{voter}?more=1")
        return shown


def token(page: str) -> str:
    found = re.search(r'name="token" value="(\w+)"', page)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    arena = made_arena(tmp_path_factory.mktemp("served"))
    with serving_arena(arena) as address:
        yield Page(arena, address)


@pytest.fixture
def page(served: Page) -> Page:
    served.arena.file.unlink(missing_ok=True)
    return served


def test_a_name_leads_to_the_first_pair_and_each_vote_to_the_next(page: Page) -> None:
    assert "Which sounds more like me?" in page.ask("GET", "/")[2]
    assert page.ask("POST", "/start", {"name": "Zoë B"}, Origin=page.address)[:2] == (303, "/v/Zo%C3%AB%20B")
    assert "1 of 22" in page.vote("1") and "2 of 22" in page.vote("2") and "3 of 22" in page.vote("0")
    page.vote("s")
    assert [vote.choice for vote in page.arena.votes()] == ["left", "right", "tie", "skip"]


def test_nothing_says_which_system_wrote_what_before_the_end(page: Page) -> None:
    """The made-up answers name their system, so they are taken out of the page first."""
    for _ in range(22):
        shown = page.vote("1")
        answers = re.findall(r'<div class="text">(.*?)</div>', shown, re.DOTALL)
        rest = shown
        for answer in answers:
            rest = rest.replace(answer, "")
        assert len(answers) == 2 and not re.search(r"base|tuned|again|draw|seed", rest)
    assert page.ask("GET", "/v/me/results")[:2] == (303, "/v/me")
    assert "That was the last pair" in page.ask("GET", "/v/me")[2]


def test_an_answer_with_html_in_it_is_shown_as_text(page: Page) -> None:
    pages = [page.vote("0") for _ in range(22)]
    assert "<script>alert" not in "".join(pages) and "<b>bold" not in "".join(pages)
    assert any(html.escape(HTML).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in one for one in pages)


def test_the_results_come_when_the_voter_ends_and_no_vote_after_them(page: Page) -> None:
    for number in range(20):
        page.vote("12"[number % 2])
    assert "you cannot vote" in page.ask("GET", "/v/me/stop")[2]
    assert page.ask("POST", "/v/me/stop", {}, Origin=page.address)[:2] == (303, "/v/me/results")
    shown = page.ask("GET", "/v/me/results")[2]
    assert "Win rate of tuned" in shown and "Longer answer preferred" in shown and "tunesmith arena export" in shown
    assert "the first 12 pairs" in shown and "1 pair came again" in shown
    assert page.ask("GET", "/v/me")[:2] == (303, "/v/me/results")
    count = len(page.arena.votes())
    page.ask("POST", "/v/me", {"token": "0" * 16, "choice": "1"}, Origin=page.address)
    assert len(page.arena.votes()) == count


def test_the_rule_ends_the_vote_and_the_voter_may_continue(page: Page) -> None:
    while (shown := page.arena.showing("me")) is not None and page.arena.decision().state != "enough":
        page.arena.cast("me", shown.pair.id, "left" if shown.left == "tuned" else "right", again=shown.again)
    assert "That is enough to tell" in page.ask("GET", "/v/me")[2]
    assert "Answer 1" in page.ask("GET", "/v/me?more=1")[2]
    assert page.ask("POST", "/start", {"name": "you"}, Origin=page.address)[1] == "/v/you?more=1"


def test_two_tabs_cast_one_vote(page: Page) -> None:
    shown = token(page.ask("GET", "/v/me")[2])
    with ThreadPoolExecutor(4) as pool:
        forms = [{"token": shown, "choice": choice} for choice in "12120s"]
        codes = list(pool.map(lambda form: page.ask("POST", "/v/me", form, Origin=page.address)[0], forms))
    assert set(codes) == {303} and len(page.arena.votes()) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://127.0.0.1"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
    ],
)
def test_what_comes_from_another_site_is_refused(page: Page, headers: dict[str, str], status: int) -> None:
    assert page.ask("POST", "/v/me", {"token": "x", "choice": "1"}, **headers)[0] == status
    assert not page.arena.file.exists()


def test_a_form_that_is_too_long_no_vote_a_strange_name_and_a_path_are_refused(page: Page) -> None:
    assert page.ask("POST", "/start", {"name": "a" * MOST_BYTES}, Origin=page.address)[0] == 413
    status, _, shown = page.ask("POST", "/v/me", {"token": "x", "choice": "left"}, Origin=page.address)
    assert status == 400 and "this is not a vote" in shown
    assert page.ask("GET", "/v/%3Cscript%3E")[0] == 400 and "<script>" not in page.ask("GET", "/v/%3Cscript%3E")[2]
    assert page.ask("GET", "/v/..%2f..%2fetc")[0] == 404 and page.ask("GET", "/votes.jsonl")[0] == 404


def test_the_page_loads_nothing_from_elsewhere_and_works_without_its_script(page: Page) -> None:
    connection = http.client.HTTPConnection(page.host, timeout=30)
    connection.request("GET", "/v/me")
    answer = connection.getresponse()
    policy, shown = answer.headers["content-security-policy"], answer.read().decode()
    connection.close()
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"(?:src|href|action)=\"(?:https?:|//)", shown) and "onclick" not in shown
    assert page.ask("GET", "/page.css")[0] == 200 and "fetch(" not in page.ask("GET", "/arena.js")[2]


def test_a_port_that_is_taken_is_an_error_with_a_hint(page: Page) -> None:
    with pytest.raises(StorageError, match="port cannot be used"), serving_arena(page.arena, port=int(page.host[-5:])):
        pass


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium on this machine")
def test_a_real_browser_shows_a_pair_and_refuses_nothing_of_the_page(page: Page, tmp_path: Path) -> None:
    """Its policy lets the browser load the page's own style and script; their absence would be named in the log."""
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}",
    ]
    command += ["--window-size=375,760", f"--screenshot={tmp_path / 'pair.png'}", "--dump-dom", f"{page.address}/v/me"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Answer 1" in done.stdout and 'name="token"' in done.stdout and (tmp_path / "pair.png").stat().st_size > 5000
    assert "CONSOLE" not in done.stderr and "Refused" not in done.stderr
