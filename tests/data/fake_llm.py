"""A language model that is none: a real HTTP server in the shape of an OpenAI-compatible one, and the characters it plays.

A character is a function from what is asked to what is said. `paid` counts complete replies by request: nothing may stand
there twice.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local_server import running

from tunesmith.data.text.lexicon import STOP_WORDS
from tunesmith.data.text.sentences import split_sentences
from tunesmith.data.text.words import words

__all__ = ["Asked", "Character", "FakeLLM", "Hold", "Said", "fake_llm", "good", "obedient", "saying"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, taken apart as a model would read it."""

    system: str
    user: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def role(self) -> str:
        """Who the model shall be, told by the form of the answer that is wanted."""
        keys: tuple[tuple[str, str], ...] = (
            ("questions", "planner"),
            ("sentences", "writer"),
            ("verdict", "critic"),
            ("winner", "judge"),
        )
        keys = (*keys, ("correctness", "grader"), ("plain", "rewriter"), ("tasks", "inventor"), ("harder", "evolver"))
        return next((role for key, role in keys if f'"{key}"' in self.system), "answerer")

    @property
    def material(self) -> str:
        """What stands between the marks, without the bars."""
        found = re.search(r"\[source (\w+)\]\n(.*?)\n\[end of source \1\]", self.user, re.DOTALL)
        return "\n".join(line[2:] for line in found.group(2).split("\n")) if found else ""

    def line(self, name: str) -> str:
        found = re.search(rf"^{name}: (.*)$", self.user, re.MULTILINE)
        return found.group(1) if found else ""


@dataclass(frozen=True, slots=True)
class Said:
    """A reply; a status other than 200 is an error. `page`: what is sent instead of a reply, as a web page. `logprobs`: of its
    tokens, as the interface writes them. `dies`: the connection ends in the middle of the reply.
    """

    text: str = ""
    finish: str = "stop"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    page: str = ""
    dies: bool = False
    logprobs: Any = None
    usage: Mapping[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 20})


Character = Callable[[Asked], Said]


def as_json(**value: Any) -> Said:
    return Said(json.dumps(value))


def saying(text: str, **rest: Any) -> Character:
    """A character that says one thing, whatever is asked."""
    return lambda asked: Said(text, **rest)


def sentences_of(material: str) -> list[str]:
    return [s for line in material.split("\n") for s in split_sentences(line) if len(words(s)) >= 8 and s[-1] in ".!?"]


def topic(sentence: str) -> list[str]:
    """The longest content words of a sentence, in their order."""
    content = [w for w in words(sentence) if w.casefold() not in STOP_WORDS and len(w) > 3]
    chosen = sorted(content, key=lambda w: (-len(w), w))[:3]
    return [w for w in content if w in chosen][:3] or ["this"]


def question_about(sentence: str) -> str:
    return f"What is worth knowing about {' and '.join(topic(sentence))}?"


def good(asked: Asked) -> Said:
    """Writes what is wanted: questions about sentences of the material, and these sentences as answers."""
    there = sentences_of(asked.material)
    if asked.role == "planner":
        taken = asked.line("Questions wanted")
        fresh = [s for s in there if question_about(s) not in taken]
        count = int(re.match(r"\d+", taken).group())  # type: ignore[union-attr]
        step = max(1, len(fresh) // count)
        chosen = fresh[::step][:count]
        return as_json(questions=[{"question": question_about(s), "quotes": [s]} for s in chosen])
    if asked.role == "writer":
        wanted = set(words(asked.line("Question")))
        best = max(there, key=lambda s: (len(wanted & set(words(s))), s), default="")
        return as_json(sentences=[{"text": best, "quotes": [best]}])
    return _OTHERS.get(asked.role, _passes)(asked)


def _passes(asked: Asked) -> Said:
    return as_json(verdict="pass", reason="")


def _rewrites(asked: Asked) -> Said:
    """The content words of each sentence, which is plain enough."""
    plain = []
    for line in asked.material.split("\n"):
        for sentence in split_sentences(line):
            kept = " ".join(w for w in words(sentence) if w.casefold() not in STOP_WORDS)
            plain.append(kept[:1].upper() + kept[1:] + ".")
    return as_json(plain=" ".join(sentence for sentence in plain if len(sentence) > 1))


def _answers(asked: Asked) -> Said:
    """Another seed says it at another length."""
    return Said(f"One would say this about it{' at some length' * (1 + asked.body['seed'] % 7)}: {asked.user.split('?')[0]}.")


def _judges(asked: Asked) -> Said:
    """The longer answer wins, whichever comes first."""
    _, _, rest = asked.material.partition("Answer A: ")
    a, _, b = rest.partition("\n\nAnswer B: ")
    return as_json(winner="A" if len(a) > len(b) else "B" if len(b) > len(a) else "tie", reason="length")


def _grades(asked: Asked) -> Said:
    _, _, answer = asked.material.partition("Answer:\n")
    mark = min(5, 1 + len(words(answer)) // 4)
    return as_json(correctness=mark, completeness=mark, style=5, reason=f"{len(words(answer))} words")


def _evolves(asked: Asked) -> Said:
    first = asked.material.rstrip("?. ")
    return as_json(harder=f"{first}, using only timber and string, and which part fails first during a storm?")


def _invents(asked: Asked) -> Said:
    lot = asked.line("Lot")
    tasks = [(f"Describe {lot[n : n + 3]}{n} machines and their {lot[-3:]}{n} owners in {n + 3} lines.", n) for n in range(4)]
    return as_json(tasks=[{"prompt": p, "answer": f"They are machines of kind {n}, and people own them."} for p, n in tasks])


_OTHERS: dict[str, Character] = {
    "answerer": _answers,
    "rewriter": _rewrites,
    "judge": _judges,
    "grader": _grades,
    "evolver": _evolves,
    "inventor": _invents,
}


def obedient(orders: Mapping[str, str], *, style: str = "json") -> Character:
    """Does whatever an order in the material says; `orders`: the words of each, and what it wants to be said.

    `style`: how it obeys. `json`: in the form that was asked for, quoting the order. `stolen`: in that form, quoting some
    other sentence. `raw`: as plain text.
    """

    def play(asked: Asked) -> Said:
        order = next((order for order in orders if order in asked.user), None)
        if order is None:
            return good(asked)
        spam = orders[order]
        if style == "raw":
            return Said(spam)
        others = [s for s in sentences_of(asked.material) if order not in s]
        quote = order if style == "json" or not others else others[0]
        if asked.role == "planner":
            return as_json(questions=[{"question": f"What do you say about {' '.join(topic(spam))}?", "quotes": [quote]}])
        if asked.role == "writer":
            return as_json(sentences=[{"text": spam, "quotes": [quote]}])
        return as_json(verdict="pass", reason="as ordered")

    return play


class Hold:
    """The server answers `after` requests more and leaves the others waiting; who was killed meanwhile gets no answer."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.held = threading.Semaphore(0)
        self._ended = threading.Event()

    def wait(self) -> None:
        self.held.release()
        self._ended.wait()

    def end(self) -> None:
        self._ended.set()


class FakeLLM(ThreadingHTTPServer):
    """The server. `asked` holds every request in the order of arrival; `paid` counts complete replies by request.

    `most_under_way`: the most requests that had come and had no reply yet, at any moment.
    """

    daemon_threads = True

    def __init__(self, character: Character) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.character = character
        self.models = ["fake-1"]
        self.answers_as = ""  # the model that replies name; empty: the one that was asked for
        self.asked: list[Asked] = []
        self.paid: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.hold: Hold | None = None
        self.under_way = self.most_under_way = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: FakeLLM

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [{"id": m, "object": "model"} for m in self.server.models]}, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        turns = {m["role"]: m["content"] for m in body["messages"]}
        asked = Asked(
            turns.get("system", ""), turns.get("user", ""), body, {name.lower(): value for name, value in self.headers.items()}
        )
        server = self.server
        with server.lock:
            server.asked.append(asked)
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
            hold = server.hold
            if hold is not None:
                hold.left -= 1
        try:
            if hold is not None and hold.left < 0:
                hold.wait()
                return  # whoever asked was killed
            said = server.character(asked)
        finally:
            # Before the reply is sent: whoever has it may ask again while this thread still waits for its turn to run.
            with server.lock:
                server.under_way -= 1
        try:
            self._reply(asked, said)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client was killed

    def _reply(self, asked: Asked, said: Said) -> None:
        if said.dies:
            self._send_bytes(200, b'{"id": "x", "obj', {"Content-Type": "application/json", "Content-Length": "400"})
            self.close_connection = True
            return
        if said.page:
            self._send_bytes(200, said.page.encode(), {"Content-Type": "text/html"})
            return
        if said.status != 200:
            self._send(said.status, {"error": {"message": said.text or "no"}}, said.headers)
            return
        message = {"role": "assistant", "content": said.text}
        choice = {"index": 0, "message": message, "finish_reason": said.finish}
        if said.logprobs is not None and asked.body.get("logprobs"):
            choice["logprobs"] = {"content": said.logprobs}
        usage = {**said.usage, "total_tokens": sum(said.usage.values())} if said.usage else None
        with self.server.lock:
            self.server.paid[self.headers["Idempotency-Key"]] += 1
        body = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": self.server.answers_as or asked.body["model"],
            "choices": [choice],
        }
        self._send(200, {**body, "usage": usage} if usage else body, said.headers)

    def _send(self, status: int, value: Any, headers: Mapping[str, str]) -> None:
        self._send_bytes(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})

    def _send_bytes(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


def fake_llm(character: Character = good) -> AbstractContextManager[FakeLLM]:
    return running(FakeLLM(character))


def with_usage(said: Said, usage: Mapping[str, int] | None) -> Said:
    return replace(said, usage=usage)
