"""The client, the kept replies and the budget, against a real server on this machine."""

from __future__ import annotations

import builtins
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import fake_llm as fake_llm_module
import pytest
from fake_llm import Asked, Character, FakeLLM, Hold, Said, fake_llm, saying, with_usage

from tunesmith.core.errors import GeneratorError, RecipeError, StorageError
from tunesmith.core.records import Message
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.synth.endpoint import Endpoint
from tunesmith.data.synth.generator import Generator
from tunesmith.data.synth.ledger import Budget, Estimate, Ledger
from tunesmith.data.synth.replies import Replies
from tunesmith.data.synth.request import Request
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.sections.dataset import GeneratorConfig
from tunesmith.pipeline.synthesis import open_generator

QUIET = SilentReporter().progress("", total=1, unit="")
HELLO = (Message(role="user", content="Hello"),)


def numbered(n: int) -> tuple[Message, ...]:
    return (Message(role="user", content=f"Question {n}"),)


@contextmanager
def generator(
    server: FakeLLM, folder: Path, *, waits: list[float] | None = None, budget: Budget | None = None, **settings: Any
) -> Iterator[Generator]:
    """A generator that writes down how long it would wait, and does not."""

    def wait(seconds: float) -> bool:
        (waits if waits is not None else []).append(seconds)
        return False

    timeout_s = settings.pop("timeout_s", 120.0)
    end = Endpoint(server.url, api_key=settings.pop("api_key", ""), wait=wait, timeout_s=timeout_s)
    try:
        yield Generator(end, Replies(folder), Ledger(budget or Budget()), model="fake-1", max_tokens=64, **settings)
    finally:
        end.close()


def script(*said: Said) -> Character:
    """One reply after the other; the last one for ever."""
    rest, lock = list(said), threading.Lock()

    def play(asked: Asked) -> Said:
        with lock:
            return rest.pop(0) if len(rest) > 1 else rest[0]

    return play


# --- replies are paid once --------------------------------------------------------------------------------------------


def test_a_request_is_paid_once_and_another_draw_model_prompt_or_temperature_is_another_request(tmp_path: Path) -> None:
    with fake_llm(saying("hi")) as server:
        for _ in range(2):
            with generator(server, tmp_path) as g:
                assert g.ask(HELLO).reply.text == "hi"
                g.ask(HELLO, draw=1)
                g.ask(HELLO, temperature=0.0)
                g.ask(numbered(1))
        assert len(server.asked) == 4 and set(server.paid.values()) == {1}
        assert len({g.ask(HELLO).key for _ in range(3)}) == 1


def test_what_is_asked_is_what_was_set(tmp_path: Path) -> None:
    with fake_llm(saying("hi")) as server, generator(server, tmp_path, temperature=0.3, seed=11) as g:
        asked = g.ask(HELLO, draw=2)
    body = server.asked[0].body
    assert (body["model"], body["temperature"], body["seed"], body["max_tokens"]) == ("fake-1", 0.3, 13, 64)
    assert server.asked[0].headers["idempotency-key"] == asked.key


def test_a_damaged_reply_is_paid_again_and_not_believed(tmp_path: Path) -> None:
    with fake_llm(saying("hi")) as server, generator(server, tmp_path) as g:
        path = Replies(tmp_path).path(g.ask(HELLO).key)
        whole = path.read_bytes()
        for damaged in (b"", b"{}", whole[:40], whole.replace(b'"hi"', b'"ho"'), whole.replace(b"20", b"21")):
            path.write_bytes(damaged)
            assert g.ask(HELLO).reply.text == "hi"
            assert path.read_bytes() == whole
        assert len(server.asked) == 6


def test_a_full_disk_is_said_and_leaves_no_half_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tunesmith.data.synth.replies.replace_file", full)
    with fake_llm(saying("hi")) as server, generator(server, tmp_path) as g, pytest.raises(StorageError, match="full"):
        g.ask(HELLO)
    assert not list(tmp_path.rglob("*.json"))


def test_no_key_and_no_address_of_the_server_lies_on_the_disk(tmp_path: Path) -> None:
    with fake_llm(saying("hi")) as server, generator(server, tmp_path, api_key="sk-secret-123") as g:
        g.ask(HELLO)
        assert server.asked[0].headers["authorization"] == "Bearer sk-secret-123"
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert kept and b"sk-secret" not in kept and b"127.0.0.1" not in kept and b"Hello" not in kept


# --- errors and retries -----------------------------------------------------------------------------------------------


def test_a_rate_limit_is_waited_out_for_as_long_as_the_server_says(tmp_path: Path) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    for header, low, high in (
        ({"Retry-After": "7"}, 7.0, 7.0),
        ({"Retry-After": date}, 20.0, 30.0),
        ({"retry-after-ms": "250"}, 0.25, 0.25),
        ({"Retry-After": "soon"}, 1.0, 1.0),
        ({"Retry-After": f"Mon, {9**30} Nov 2026 10:00:00 GMT"}, 1.0, 1.0),
        ({}, 1.0, 1.0),
    ):
        waits: list[float] = []
        with (
            fake_llm(script(Said(status=429, headers=header), Said("hi"))) as server,
            generator(server, tmp_path / repr(header), waits=waits) as g,
        ):
            assert g.ask(HELLO).reply.text == "hi"
        assert len(waits) == 1 and low <= waits[0] <= high


def test_a_rate_limit_told_to_one_worker_holds_for_all(tmp_path: Path) -> None:
    waits: list[float] = []
    once = script(Said(status=429, headers={"Retry-After": "40"}), Said("hi"))
    with fake_llm(once) as server, generator(server, tmp_path, waits=waits) as g:
        g.ask(numbered(1))
        g.ask(numbered(2))
    assert waits[0] == 40 and 30 < waits[1] <= 40


def test_a_rate_limit_told_to_one_worker_holds_for_another_that_tries_again(tmp_path: Path) -> None:
    """Worker 2 meets a server error while worker 1 is told to wait: it waits as long, not the second it would else."""
    limited, begun = threading.Event(), threading.Event()
    waits: list[float] = []

    def play(asked: Asked) -> Said:
        if asked.user == "Question 1" and not limited.is_set():
            begun.wait(30)
            return Said(status=429, headers={"Retry-After": "40"})
        if asked.user == "Question 2" and not limited.is_set():
            begun.set()
            limited.wait(30)
            return Said(status=503)
        return Said("hi")

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        limited.set()
        return False

    with fake_llm(play) as server:
        end = Endpoint(server.url, wait=wait)
        g = Generator(end, Replies(tmp_path), Ledger(Budget()), model="fake-1", max_tokens=64, concurrency=2)
        g.each(lambda n: g.ask(numbered(n)), [1, 2], QUIET)
        end.close()
    assert waits[0] == 40 and all(30 < seconds <= 40 for seconds in waits[1:]) and len(waits) >= 2


def test_server_errors_are_tried_again_with_growing_pauses_and_then_given_up(tmp_path: Path) -> None:
    waits: list[float] = []
    with fake_llm(saying("overloaded", status=503)) as server, generator(server, tmp_path, waits=waits) as g:
        with pytest.raises(GeneratorError, match="does not answer after 6 attempts") as caught:
            g.ask(HELLO)
        assert waits == [1, 2, 4, 8, 16] and len(server.asked) == 6
    assert "build.style=passages" in str(caught.value) and "overloaded" in str(caught.value)


def test_a_server_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with fake_llm() as server:
        pass
    with generator(server, tmp_path) as g, pytest.raises(GeneratorError, match="after 3 attempts") as caught:
        g.ask(HELLO)
    assert server.url in str(caught.value) and "passages" in str(caught.value)


@pytest.mark.parametrize("page", ["<html>hello</html>", '{"choices": []}', '{"choices": [{}]}', "[1]", '{"hello": 1}'])
def test_a_page_that_is_no_reply_is_said_and_not_kept(tmp_path: Path, page: str) -> None:
    web = saying("", page=page)
    with (
        fake_llm(web) as server,
        generator(server, tmp_path) as g,
        pytest.raises(GeneratorError, match="not a chat completion"),
    ):
        g.ask(HELLO)
    assert not list(tmp_path.rglob("*.json"))


def test_a_server_that_never_answers_is_given_up_after_the_timeout(tmp_path: Path) -> None:
    waits: list[float] = []
    with fake_llm() as server, generator(server, tmp_path, waits=waits, timeout_s=0.05) as g:
        server.hold = hold = Hold(0)
        with pytest.raises(GeneratorError, match="does not answer"):
            g.ask(HELLO)
        hold.end()
    assert len(waits) == 5 and len(server.asked) == 6 and not server.paid


def test_a_very_long_pause_ends_the_work_with_what_is_kept(tmp_path: Path) -> None:
    tomorrow = saying("", status=429, headers={"Retry-After": "86400"})
    with (
        fake_llm(tomorrow) as server,
        generator(server, tmp_path) as g,
        pytest.raises(GeneratorError, match="long pause") as caught,
    ):
        g.ask(HELLO)
    assert "cached" in str(caught.value)


@pytest.mark.parametrize(("key", "said"), [("sk-secret-123", "refuses the key"), ("", "wants a key")])
def test_a_wrong_key_is_said_at_once_and_never_shown(tmp_path: Path, key: str, said: str) -> None:
    character = saying(f"bad key {key}", status=401)
    with fake_llm(character) as server, generator(server, tmp_path, api_key=key) as g:
        with pytest.raises(GeneratorError, match=said) as caught:
            g.ask(HELLO)
        assert len(server.asked) == 1
    assert "sk-secret" not in str(caught.value)


def test_an_unknown_model_is_answered_with_those_that_are_there(tmp_path: Path) -> None:
    with fake_llm(saying("no such model", status=404)) as server, generator(server, tmp_path) as g:
        server.models = ["llama-x", "qwen-y"]
        with pytest.raises(GeneratorError, match="llama-x, qwen-y"):
            g.ask(HELLO)


def test_a_request_that_the_server_does_not_take_costs_nothing_and_is_no_end(tmp_path: Path) -> None:
    with fake_llm(saying("context too long", status=400)) as server, generator(server, tmp_path) as g:
        reply = g.ask(HELLO).reply
        assert (reply.stop, reply.prompt_tokens, reply.completion_tokens) == ("not_taken", 0, 0) and g.ledger.usage.tokens == 0
    assert not list(tmp_path.rglob("*.json"))


def test_redirects_are_not_followed(tmp_path: Path) -> None:
    with fake_llm(saying("hi")) as other:
        elsewhere = saying("", status=307, headers={"Location": f"{other.url}/chat/completions"})
        with fake_llm(elsewhere) as server, generator(server, tmp_path) as g, pytest.raises(GeneratorError):
            g.ask(HELLO)
        assert not other.asked


def test_a_reply_that_is_cut_or_refused_says_so(tmp_path: Path) -> None:
    for finish, stop in (("length", "length"), ("content_filter", "refused"), ("stop", "stop")):
        with fake_llm(saying("x", finish=finish)) as server, generator(server, tmp_path / finish) as g:
            assert g.ask(HELLO).reply.stop == stop


# --- several at once --------------------------------------------------------------------------------------------------


def test_results_come_in_order_and_no_more_requests_are_under_way_than_allowed(tmp_path: Path) -> None:
    together = threading.Barrier(3)

    def slow(asked: Asked) -> Said:
        together.wait(timeout=30)  # answers only when three are there at once
        return Said(asked.user)

    with fake_llm(slow) as server, generator(server, tmp_path, concurrency=3) as g:
        texts = g.each(lambda n: g.ask(numbered(n)).reply.text, range(12), QUIET)
    assert texts == [f"Question {n}" for n in range(12)] and server.most_under_way == 3


def until_stopped(monkeypatch: pytest.MonkeyPatch, first: int) -> Callable[[Asked], None]:
    """What holds back every question after the `first` so many until the work was stopped, so that no thread can run ahead."""
    stopped, stop = threading.Event(), Endpoint.stop

    def stop_and_tell(self: Endpoint) -> None:
        stop(self)
        stopped.set()

    monkeypatch.setattr(Endpoint, "stop", stop_and_tell)

    def hold(asked: Asked) -> None:
        if int(asked.user.split()[-1]) >= first:
            assert stopped.wait(timeout=30)

    return hold


def test_the_first_error_ends_the_work_and_keeps_what_is_paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = until_stopped(monkeypatch, 10)

    def play(asked: Asked) -> Said:
        hold(asked)
        return Said("wrong key", status=401) if asked.user == "Question 5" else Said("hi")

    with fake_llm(play) as server, generator(server, tmp_path, concurrency=2) as g:
        with pytest.raises(GeneratorError, match="wants a key"):
            g.each(lambda n: g.ask(numbered(n)), range(50), QUIET)
        assert len(server.asked) <= 10 + 2
    assert len(list(tmp_path.rglob("*.json"))) == sum(server.paid.values())


def test_two_workers_with_the_same_request_share_one_reply(tmp_path: Path) -> None:
    both = threading.Event()

    def play(asked: Asked) -> Said:
        if len(server.asked) == 2:
            both.set()
        return Said(f"reply {both.wait(timeout=1)}")  # long enough for a second worker to come, if one could

    with fake_llm(play) as server, generator(server, tmp_path, concurrency=2) as g:
        texts = g.each(lambda n: g.ask(HELLO).reply.text, range(2), QUIET)
        assert texts == ["reply False"] * 2 and set(server.paid.values()) == {1}
        assert (g.ledger.usage.requests, g.ledger.paid) == (1, 1)


def test_a_request_that_failed_is_tried_by_the_worker_that_waited_for_it(tmp_path: Path) -> None:
    with fake_llm(script(Said(status=400), Said("hi"))) as server, generator(server, tmp_path, concurrency=2) as g:
        stops = g.each(lambda n: g.ask(HELLO).reply.stop, range(2), QUIET)
    assert sorted(stops) == ["not_taken", "stop"] and len(server.asked) == 2


def test_one_request_at_a_time_is_counted_as_one_even_if_the_server_thread_ends_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply is out, its thread has not run on, the next request is there: a count that included the first would say two."""
    second, send = threading.Event(), fake_llm_module._Handler._send_bytes

    def play(asked: Asked) -> Said:
        if asked.user == "Question 1":
            second.set()
        return Said("hi")

    def send_and_linger(self: Any, *reply: Any) -> None:
        send(self, *reply)
        assert second.wait(timeout=30)

    monkeypatch.setattr(fake_llm_module._Handler, "_send_bytes", send_and_linger)
    with fake_llm(play) as server, generator(server, tmp_path, concurrency=1) as g:
        g.each(lambda n: g.ask(numbered(n)), range(2), QUIET)
    assert server.most_under_way == 1


def test_work_in_several_steps_begins_no_further_step_once_it_is_stopped(tmp_path: Path) -> None:
    """A step under way ends and is kept; the step after it would be paid for and read by nobody."""
    with fake_llm(saying("hi")) as server:
        end = Endpoint(server.url)
        g = Generator(end, Replies(tmp_path), Ledger(Budget()), model="fake-1", max_tokens=64)
        g.ask(numbered(1))
        end.stop()
        assert g.ask(numbered(1)).reply.text == "hi"
        with pytest.raises(GeneratorError, match="stopped"):
            g.ask(numbered(2))
        end.close()
        assert len(server.asked) == 1


class Impatient:
    """A person who presses Ctrl-C at the first result."""

    def advance(self, amount: float = 1, text: str | None = None) -> None:
        raise KeyboardInterrupt


def test_ctrl_c_waits_for_what_is_under_way_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = until_stopped(monkeypatch, 4)

    def play(asked: Asked) -> Said:
        hold(asked)
        return Said("hi")

    with fake_llm(play) as server, generator(server, tmp_path, concurrency=3) as g:
        with pytest.raises(KeyboardInterrupt):
            g.each(lambda n: g.ask(numbered(n)), range(60), Impatient())  # type: ignore[arg-type]
        assert 1 <= len(server.paid) <= 4 + 3
    assert len(list(tmp_path.rglob("*.json"))) == sum(server.paid.values())


# --- the budget -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 5])
def test_the_token_budget_is_kept_and_a_larger_one_goes_on_without_paying_twice(tmp_path: Path, concurrency: int) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 60}
    with fake_llm(lambda asked: with_usage(Said("hi"), usage)) as server:
        with generator(server, tmp_path, budget=Budget(max_tokens=1000), concurrency=concurrency) as g:
            with pytest.raises(GeneratorError, match="token budget is used up") as caught:
                g.each(lambda n: g.ask(numbered(n)), range(40), QUIET)
            spent = g.ledger.usage.tokens
        assert 900 < spent <= 1000 and spent == 70 * sum(server.paid.values())
        assert "max_tokens_total=2000" in str(caught.value) and "none is paid twice" in str(caught.value)
        with generator(server, tmp_path, budget=Budget(max_tokens=3000), concurrency=concurrency) as g:
            assert len(g.each(lambda n: g.ask(numbered(n)), range(40), QUIET)) == 40
        assert set(server.paid.values()) == {1} and len(server.paid) == 40


def test_the_money_budget_is_kept(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 60}
    budget = Budget(max_cost=0.001, price_in=1.0, price_out=2.0)  # 130e-6 a reply
    with fake_llm(lambda asked: with_usage(Said("hi"), usage)) as server, generator(server, tmp_path, budget=budget) as g:
        with pytest.raises(GeneratorError, match="money budget is used up"):
            g.each(lambda n: g.ask(numbered(n)), range(40), QUIET)
        assert 5 <= sum(server.paid.values()) <= 7


def test_replies_without_a_token_count_are_counted_at_their_upper_bound(tmp_path: Path) -> None:
    with fake_llm(lambda asked: with_usage(Said("twelve bytes"), None)) as server, generator(server, tmp_path) as g:
        g.ask(HELLO)
        usage = g.ledger.usage
    assert usage.uncounted == 1 and usage.completion_tokens == 12 and usage.prompt_tokens == 8 + len("Hello") // 2


def test_a_ledger_that_let_everything_through_would_be_caught(tmp_path: Path) -> None:
    """The negative control of the budget tests: without a limit the same work costs more than the limit."""
    usage = {"prompt_tokens": 10, "completion_tokens": 60}
    with fake_llm(lambda asked: with_usage(Said("hi"), usage)) as server, generator(server, tmp_path) as g:
        g.each(lambda n: g.ask(numbered(n)), range(40), QUIET)
        assert g.ledger.usage.tokens == 2800 and g.ledger.usage.requests == 40 and len(server.paid) == 40


def test_the_estimate_says_work_requests_tokens_money_limit_and_where_the_text_goes() -> None:
    estimate = Estimate(work="10 questions", requests=21, prompt_tokens=9000, completion_tokens=1000)
    budget = Budget(max_tokens=5000, max_cost=2.0, price_in=10.0, price_out=30.0)
    text = estimate.text(budget, model="m", host="example.org")
    for part in ("10 questions", "21 requests", "m at example.org", "10,000 tokens", "0.12", "5,000 tokens or 2.00"):
        assert part in text
    assert estimate.exceeds(budget) and not estimate.exceeds(Budget())
    assert "no limit is set" in estimate.text(Budget(), model="m", host="h")


# --- settings ---------------------------------------------------------------------------------------------------------


def test_no_reply_is_shared_between_servers_models_seeds_or_lengths() -> None:
    base: dict[str, Any] = {"url": "u", "model": "m", "messages": HELLO, "temperature": 0.0, "seed": 1, "max_tokens": 9}
    others: list[dict[str, Any]] = [
        {"url": "v"}, {"model": "n"}, {"temperature": 0.1}, {"seed": 2}, {"max_tokens": 8},
        {"messages": (Message(role="system", content="Hello"),)}, {"messages": (*HELLO, *HELLO)},
    ]  # fmt: skip
    keys = {Request(**{**base, **other}).key for other in ({}, *others)}
    assert len(keys) == 8


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "generator.url and generator.model"),
        ({"url": "http://127.0.0.1:1/v1"}, "generator.model"),
        ({"model": "m"}, "generator.url"),
    ],
)
def test_a_style_that_needs_a_model_says_so_before_anything_is_read(settings: dict[str, str], said: str) -> None:
    with pytest.raises(RecipeError, match="needs a language model") as caught:
        recipe_from({"sources": ["x"], "build": {"style": "qa"}, "generator": settings})
    assert said in str(caught.value) and "build.style=passages" in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://x/v1", "http://user:pw@host/v1", "http://host/v1?key=1", "localhost:80", "http://a b/"])
def test_an_address_with_a_name_a_key_or_another_scheme_is_refused(url: str) -> None:
    with pytest.raises(RecipeError, match=r"generator\.url"):
        recipe_from({"sources": ["x"], "generator": {"url": url}})


def test_knobs_without_effect_are_told() -> None:
    with pytest.raises(RecipeError, match="words_per_pair has no effect"):
        recipe_from({"sources": ["x"], "build": {"style": "passages", "words_per_pair": 50}})
    with pytest.raises(RecipeError, match="max_cost has no effect"):
        recipe_from({"sources": ["x"], "generator": {"max_cost": 1}})


def test_a_key_variable_that_is_not_set_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    g = GeneratorConfig(url="http://127.0.0.1:1/v1", model="m", api_key_env="SOME_KEY")
    with pytest.raises(GeneratorError, match="SOME_KEY"), open_generator(g, tmp_path):
        raise AssertionError("opened")


def test_a_missing_client_is_said_with_the_command_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "openai":
            raise ImportError("No module named openai")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(GeneratorError, match=r"pip install 'tunesmith\[synth\]'"):
        Endpoint("http://127.0.0.1:1/v1")


def test_the_client_is_imported_only_when_it_is_used() -> None:
    code = "import sys, tunesmith.pipeline.synthesis, tunesmith.data.synth.qa; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
