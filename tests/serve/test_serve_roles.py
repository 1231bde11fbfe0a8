"""What each key may do: every route of the whole server is tried with each role."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3
from echo_engine import Echo, chat_body, opened, registry_of
from running_server import Running, running

from tunesmith.api.traffic import ab_set, rollback
from tunesmith.core.errors import EngineError
from tunesmith.serve import keys as keeping
from tunesmith.serve.app import make_app
from tunesmith.serve.keys import Keys, Role, read_keys
from tunesmith.serve.observing import Observer

SECRETS: dict[str, str] = {role: f"{role}-0123456789abcdef" for role in ("admin", "client", "metrics")}
ROLES: dict[str, Role] = {"admin": "admin", "client": "client", "metrics": "metrics"}
BODIES: dict[str, Any] = {
    "/v1/chat/completions": chat_body("Tea?"),
    "/v1/completions": {"model": "words", "prompt": "Tea"},
    "/v1/feedback": {"response_id": "chatcmpl-0", "thumb": "up"},
    "/v1/models/{name}/aliases/{alias}": {"version": "v1"},
    "/v1/ab/{name}": {"arms": {"words": 1}},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    registry = registry_of(Echo(), "words", "others")
    traffic = opened(tmp_path_factory.mktemp("roles") / "serve.db", registry=registry, ab={"mine": {"words": 1.0}})
    with running(registry, traffic=traffic, keys=SECRETS, roles=ROLES) as found:
        yield found


def routes(server: Running, tmp_path: Path) -> list[tuple[str, str]]:
    """Method and path of every route that the whole application has."""
    traffic = opened(tmp_path / "other.db", registry=server.registry)
    app = make_app(server.pipeline, Observer(lambda line: None))
    traffic.add_routes(app)
    traffic.database.close()
    return [(method, str(getattr(route, "path", ""))) for route in app.routes for method in getattr(route, "methods", ())]


def ask(server: Running, role: str, method: str, path: str) -> tuple[int, Any]:
    name = "mine" if path.startswith("/v1/ab") else "words"
    at = server.url + path.replace("{name}", name).replace("{alias}", "live")
    body = BODIES.get(path) if method != "GET" else None
    headers = {"Authorization": f"Bearer {SECRETS[role]}"}
    found = urllib3.request(method, at, json=body, headers=headers, retries=False, timeout=30)
    return found.status, json.loads(found.data) if "json" in found.headers["content-type"] else None


CLIENTS = {
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/feedback"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{name}"),
    ("GET", "/v1/ab/{name}"),
    *(("GET", path) for path in ("/", "/chat.css", "/chat.js")),
}


def wrong(server: Running, tmp_path: Path) -> list[tuple[str, str, str, int]]:
    """Routes that a role may use and must not, or must and may not."""
    found = []
    for method, path in routes(server, tmp_path):
        allowed = {"admin": True, "client": (method, path) in CLIENTS, "metrics": (method, path) == ("GET", "/metrics")}
        for role, may in allowed.items():
            status, body = ask(server, role, method, path)
            refused = status == 403 and body["error"]["code"] == "role_missing"
            if refused == may or status == 401:
                found.append((role, method, path, status))
    return found


def test_every_route_is_open_to_its_roles_alone(server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(routes(server, tmp_path)) == 14 and not wrong(server, tmp_path)
    opened_too_far = {**keeping._OPEN_TO, ("PUT", "/v1/models/{name}/aliases/{alias}"): "client"}
    monkeypatch.setattr(keeping, "_OPEN_TO", opened_too_far)
    assert [one[:2] for one in wrong(server, tmp_path)] == [("client", "PUT")]


def test_a_refusal_names_what_is_missing_and_routes_that_are_not_there_are_still_404(server: Running) -> None:
    status, body = ask(server, "client", "PUT", "/v1/ab/{name}")
    needed = "PUT /v1/ab/{name} needs a key with the role admin; the key 'client' has the role client"
    assert status == 403
    assert body == {"error": {"message": needed, "type": "permission_error", "param": None, "code": "role_missing"}}
    assert ask(server, "client", "POST", "/v1/nothing")[0] == 404
    for do in (lambda: ab_set("mine", {"words": 1}, url=server.url, key=SECRETS["client"]),
               lambda: rollback("words", url=server.url, key=SECRETS["client"])):  # fmt: skip
        with pytest.raises(EngineError, match="needs a key with the role admin"):
            do()
    assert ab_set("mine", {"words": 2}, url=server.url, key=SECRETS["admin"]) == {"words": 2}


def test_the_check_costs_no_thread_per_request(server: Running) -> None:
    def workers() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name.startswith("AnyIO")}  # where FastAPI runs plain functions

    before = workers()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ask(server, "client", "GET", "/v1/models"), range(32)))
        assert workers() <= before


def test_without_keys_everything_is_open_as_it_was(tmp_path: Path) -> None:
    registry = registry_of(Echo(), "words")
    with running(registry, traffic=opened(tmp_path / "serve.db", registry=registry)) as server:
        for method, path in (("GET", "/metrics"), ("PUT", "/v1/models/words/aliases/live")):
            body = {"version": "v1"} if method == "PUT" else None
            assert urllib3.request(method, server.url + path, json=body, timeout=30).status == 200


A, B, C = ("a" * 16, "b" * 16, "c" * 16)


@pytest.mark.parametrize(
    ("content", "alone", "expected"),
    [
        (f"ada {A}\n# nobody\n\nbob {B}\n", "", {A: ("ada", "admin"), B: ("bob", "admin")}),  # as before there were roles
        (f"ada {A} admin\nbob {B}\n", "", {A: ("ada", "admin"), B: ("bob", "client")}),
        (f"ada {A} client\neye {B} metrics\n", C, {A: ("ada", "client"), B: ("eye", "metrics"), C: ("default", "admin")}),
        ("", C, {C: ("default", "admin")}),
        (f"\ufeff# by an editor of Windows\r\n  # indented\r\nada {A} client\r\n", "", {A: ("ada", "client")}),
    ],
)
def test_a_file_of_keys_gives_roles(tmp_path: Path, content: str, alone: str, expected: dict[str, tuple[str, Role]]) -> None:
    file = tmp_path / "keys"
    file.write_text(content)
    keys = read_keys(file, alone)
    assert {key: keys.client_of(key) for key in (A, B, C) if keys.client_of(key)} == expected
    assert not Keys({}) and keys.client_of("") is None and keys.client_of("unknown-key-of-16") is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"ada {B} root", "admin|client|metrics"),
        ("ada short", "16 characters"),
        (f"ada {'ü' * 16}", "ASCII"),  # it would be read and never match: headers have no one encoding
        (f"ada {'k' * 16}\0", "ASCII"),
        (f"{B}", "NAME KEY"),
        (f"me {B}", "no other client"),
        (f"ada {A}", "no other client"),
        (f"default {B}", "no other client"),
        (f"ada {C}", "no other client"),
    ],
)
def test_a_line_of_the_file_that_cannot_be_used_is_named(tmp_path: Path, line: str, why: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"me {A}\n{line}\n")
    with pytest.raises(EngineError) as caught:
        read_keys(file, C)
    problem = caught.value.problems[0]
    assert "line 2" in str(problem.value) and why in problem.expected and problem.hint
    with pytest.raises(EngineError, match="cannot be read"):
        read_keys(tmp_path / "none")


def test_keys_that_would_leave_the_server_open_or_never_match_are_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# app KEY client\n")
    with pytest.raises(EngineError, match="everybody"):
        read_keys(tmp_path / "keys")
    assert read_keys(tmp_path / "keys", C) and not read_keys("")
    for alone in ("short", " " * 20, "ü" * 20, f"{A} {B}"):
        with pytest.raises(EngineError, match="of the environment") as caught:
            read_keys("", alone)
        assert alone not in str(caught.value)
