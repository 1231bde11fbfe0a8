"""Answers with calls of tools in feedback, splits and shadows: what is kept and exported has the calls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from echo_engine import Echo, opened, registry_of
from running_server import running

from tunesmith.api.feedback import export_feedback
from tunesmith.data.rows.read import read_entry
from tunesmith.serve.ask import Ask
from tunesmith.serve.engine import Delta, Usage

MAIL = "ada@example.org"
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
CALL = {"id": "abc123def", "type": "function", "function": {"name": "look", "arguments": json.dumps({"who": MAIL})}}
TURNS = [
    {"role": "user", "content": "Who is it?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "abc123def", "content": f"Write to {MAIL}"},
    {"role": "user", "content": "And now?"},
]


class Calling(Echo):
    """It calls a tool named for the model, in parts if the answer is streamed."""

    async def generate(self, target: str, ask: Ask) -> AsyncIterator[Delta | Usage]:
        function = {"name": "look", "arguments": json.dumps({"from": target})}
        call = {"id": f"id-{target}", "type": "function", "function": function}
        if ask.stream:
            begin = {**call, "index": 0, "function": {"name": "look", "arguments": ""}}
            yield Delta(0, "I look.", extra={"tool_calls": [begin]})
            for letter in function["arguments"]:
                yield Delta(0, extra={"tool_calls": [{"index": 0, "function": {"arguments": letter}}]})
        else:
            yield Delta(0, "I look.", extra={"tool_calls": [call]})
        yield Delta(0, finish="tool_calls")
        yield Usage(3, 4)


def exported(form: Any, tmp_path: Path) -> list[dict[str, Any]]:
    export_feedback(form, tmp_path / f"{form}.jsonl", database=tmp_path / "serve.db")
    return [json.loads(line) for line in (tmp_path / f"{form}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("stream", [False, True])
def test_calls_and_results_are_kept_and_exported_without_personal_data(tmp_path: Path, stream: bool) -> None:
    engine = Calling(honours=frozenset({"tools"}))
    traffic = opened(tmp_path / "serve.db", capture=True)
    ids = []
    with running(registry_of(engine, "words", "others"), traffic=traffic) as server:

        def post(path: str, body: dict[str, Any]) -> bytes:
            found = urllib3.request("POST", server.url + path, json=body, retries=False, timeout=30)
            assert found.status == 200, found.data
            return found.data

        for model in ("words", "others"):
            said = post("/v1/chat/completions", {"model": model, "messages": TURNS, "tools": TOOLS, "stream": stream})
            ids.append(json.loads(said.split(b"\n")[0].removeprefix(b"data: "))["id"])
            assert stream or json.loads(said)["choices"][0]["message"]["tool_calls"][0]["id"] == f"id-{model}"
        post("/v1/feedback", {"response_id": ids[0], "thumb": "down", "correction": "It is her."})
        post("/v1/feedback", {"response_id": ids[1], "thumb": "up"})
    (example,) = exported("sft", tmp_path)
    assert example["tools"] == TOOLS and example["messages"][-1] == {"role": "assistant", "content": "It is her."}
    kept = example["messages"][1]["tool_calls"][0]
    assert (kept["id"], kept["function"]) == ("abc123def", {"name": "look", "arguments": '{"who": "[EMAIL]"}'})
    assert example["messages"][2] == {"role": "tool", "tool_call_id": "abc123def", "content": "Write to [EMAIL]"}
    assert MAIL not in (tmp_path / "sft.jsonl").read_text(encoding="utf-8")
    entry, _ = read_entry(example)
    assert (
        [turn.role for turn in entry.turns][1:3] == ["assistant", "tool"] and entry.turns[1].tool_calls and entry.tools == TOOLS
    )
    corrected, better = exported("preference", tmp_path)
    for pair, names in ((corrected, ("", "words")), (better, ("others", "words"))):
        for side, name in zip(("chosen", "rejected"), names, strict=True):
            (message,) = pair[side]
            arguments = [call["function"]["arguments"] for call in message.get("tool_calls", ())]
            assert arguments == ([json.dumps({"from": name})] if name else [])
    label = exported("labels", tmp_path)[1]
    assert {label["a"], label["b"]} == {f'I look.\nlook {{"from": "{name}"}}' for name in ("words", "others")}
    assert "tool: Write to [EMAIL]" in label["prompt"]


def test_a_shadow_gets_the_tools_and_its_calls_are_kept(tmp_path: Path) -> None:
    engine = Calling(honours=frozenset({"tools"}))
    registry = registry_of(engine, "words", "others")
    traffic = opened(tmp_path / "serve.db", registry=registry, capture=True, shadow={"words": "others"})
    with running(registry, traffic=traffic) as server:
        body = {"model": "words", "messages": TURNS[:1], "tools": TOOLS}
        assert urllib3.request("POST", f"{server.url}/v1/chat/completions", json=body).status == 200
        assert traffic.shadow is not None
        while traffic.shadow.counts["answered"] + traffic.shadow.counts["failed"] == 0:
            urllib3.request("GET", f"{server.url}/healthz")
        assert traffic.shadow.counts["answered"] == 1
    (row,) = exported("shadows", tmp_path)
    assert (row["a"], row["b"]) == tuple(f'I look.\nlook {{"from": "{name}"}}' for name in ("words", "others"))
