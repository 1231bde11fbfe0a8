"""A stand-in for vLLM's server: it speaks vLLM's HTTP with the tokenizer and template that it is given, and dies on request.

`install` makes a Python that has it in vLLM's place, for TUNESMITH_VLLM; what runs there is `main`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["install", "main"]


def install(folder: Path, *, fault: str = "") -> Path:
    """A program that runs Python with a package `vllm` which is this file. `fault`: `no start`, `old`, `template` …"""
    package = folder / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for each in (package, package.parent, package.parent.parent):
        (each / "__init__.py").touch()
    code = Path(__file__).read_text(encoding="utf-8")
    (package / "api_server.py").write_text(code, encoding="utf-8")
    program = folder / "python"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{folder}" STAND_IN_FAULT="{fault}" exec "{sys.executable}" "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    return program


class Model:
    """What the command line gives: a folder, adapters by name, a template."""

    def __init__(self, words: list[str]) -> None:
        from jinja2.sandbox import ImmutableSandboxedEnvironment
        from tokenizers import Tokenizer

        parser = argparse.ArgumentParser()
        for name in ("port", "max-model-len", "max-num-seqs", "max-loras", "max-cpu-loras", "max-lora-rank"):
            parser.add_argument(f"--{name}", type=int)
        for name in ("host", "model", "served-model-name", "dtype", "chat-template"):
            parser.add_argument(f"--{name}")
        for name in ("enforce-eager", "enable-lora", "disable-uvicorn-access-log", "disable-log-stats"):
            parser.add_argument(f"--{name}", action="store_true")
        parser.add_argument("--lora-modules", nargs="+", default=[])
        self.options = parser.parse_args(words)
        self.fault = os.environ.get("STAND_IN_FAULT", "")
        if self.fault == "no start":
            sys.stderr.write("ValueError: the KV cache does not fit\n")
            raise SystemExit(1)
        self.adapters = dict(one.split("=", 1) for one in self.options.lora_modules)
        for path in self.adapters.values():
            rank = json.loads((Path(path) / "adapter_config.json").read_bytes())["r"]
            if rank > self.options.max_lora_rank:
                raise SystemExit(f"LoRA rank {rank} is greater than max_lora_rank")
        self.names = [self.options.served_model_name, *self.adapters]
        self.tokenizer = Tokenizer.from_file(str(Path(self.options.model) / "tokenizer.json"))
        text = Path(self.options.chat_template).read_text(encoding="utf-8")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self.template = environment.from_string(f"<s>{text}" if self.fault == "template" else text)
        self.heard: list[dict[str, Any]] = []

    def ids(self, body: dict[str, Any]) -> list[int]:
        """Of a prompt or a conversation."""
        if "messages" not in body:
            return body["prompt"] if isinstance(body["prompt"], list) else list(self.tokenizer.encode(body["prompt"]).ids)
        variables = body.get("chat_template_kwargs") or {}
        text = self.template.render(messages=body["messages"], add_generation_prompt=True, **variables)
        if self.fault == "adapter" and body["model"] in self.adapters:
            text += " "
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def words(self, body: dict[str, Any]) -> list[str]:
        """Of the answer: who says it, and what was asked."""
        who = Path(self.adapters[body["model"]]).name if body["model"] in self.adapters else "base"
        asked = body["messages"][-1]["content"] if "messages" in body else str(body["prompt"])
        return [f"{who} heard:", *(f" {word}" for word in asked.split())]


class Handler(BaseHTTPRequestHandler):
    """vLLM's routes. Those under /v1 want the key, the others are open, as vLLM has it."""

    model: Model
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path.startswith("/v1") and self.headers.get("Authorization") != f"Bearer {os.environ.get('VLLM_API_KEY', '')}":
            self.whole({"error": "Unauthorized"}, 401)
        elif self.path == "/v1/models":
            self.whole({"data": [{"id": name, "owned_by": "vllm"} for name in self.model.names]})
        elif self.path == "/tokenize":
            self.whole({"tokens": self.model.ids(body)})
        elif self.path.endswith("completions"):
            self.complete(body)
        else:
            there: dict[str, Any] = {
                "/health": {},
                "/version": {"version": "0.31.9" if self.model.fault == "old" else "0.32.0"},
                "/heard": self.model.heard,
            }
            there["/options"] = vars(self.model.options)
            self.whole(there.get(self.path, {"error": {"message": "no such route"}}), 200 if self.path in there else 404)

    def complete(self, body: dict[str, Any]) -> None:
        self.model.heard.append(body)
        if body["model"] not in self.model.names:
            self.whole({"error": {"message": f"The model {body['model']} does not exist.", "code": 404}}, 404)
            return
        words, is_chat = self.model.words(body), "messages" in body
        usage = {"prompt_tokens": len(self.model.ids(body)), "completion_tokens": len(words)}
        dies = "die" in words[-1]
        if not body.get("stream"):
            if dies:
                self.die()
            text = "".join(words)
            choice = {"index": 0, "finish_reason": "stop", "logprobs": None}
            choice |= {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
            self.whole({"model": body["model"], "choices": [choice], "usage": usage})
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for at, word in enumerate(words):
            end = "stop" if at + 1 == len(words) else None
            part = {"delta": {"content": word}} if is_chat else {"text": word}
            self.event({"choices": [{"index": 0, "finish_reason": end, **part}]})
            if dies and at == 1:
                self.die()
        self.event({"choices": [], "usage": usage})
        self.chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def die(self) -> None:
        sys.stderr.write("EngineDeadError: out of memory\n")
        sys.stderr.flush()
        os._exit(3)

    def event(self, body: dict[str, Any]) -> None:
        self.chunk(b"data: " + json.dumps(body).encode() + b"\n\n")

    def chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def whole(self, body: Any, status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


def main() -> None:
    """Serve until the parent ends."""
    Handler.model = Model(sys.argv[1:])
    with ThreadingHTTPServer((Handler.model.options.host, Handler.model.options.port), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        threading.Event().wait()


if __name__ == "__main__":
    main()
