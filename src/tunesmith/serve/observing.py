"""What the server tells of itself: metrics under vLLM's and OpenTelemetry's names, and one line of JSON per request, without
prompts or answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tunesmith.serve.genai_metrics import GenAiMetrics
from tunesmith.serve.pipeline import Call
from tunesmith.serve.registry import Version
from tunesmith.serve.replies import Told

__all__ = ["Embedding", "Observer", "to_stderr"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


def to_stderr(line: bytes) -> None:
    """Write a line of the log."""
    sys.stderr.write(line.decode() + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """A request for the embeddings of texts; `begun` by the monotonic clock."""

    id: str
    key: str
    asked: str
    num_texts: int
    begun: float = field(default_factory=time.monotonic)


class Observer:
    """Counts requests and writes the log. `write` takes a line of JSON."""

    def __init__(self, write: Callable[[bytes], None] = to_stderr) -> None:
        self._write = write
        self._all = CollectorRegistry()
        named: dict[str, Any] = {"registry": self._all, "labelnames": ["model_name"]}
        self._running = Gauge("vllm:num_requests_running", "Requests in work.", registry=self._all)
        self._waiting = Gauge("vllm:num_requests_waiting", "Requests in the queue.", registry=self._all)
        self._prompt = Counter("vllm:prompt_tokens", "Tokens of prompts.", **named)
        self._cached = Counter("vllm:prefix_cache_hits", "Tokens of prompts that were found in the prefix cache.", **named)
        self._generated = Counter("vllm:generation_tokens", "Tokens of answers.", **named)
        self._guesses = {
            "drafts": Counter("vllm:spec_decode_num_drafts", "Drafts that were checked.", **named),
            "drafted": Counter("vllm:spec_decode_num_draft_tokens", "Tokens of drafts.", **named),
            "accepted": Counter("vllm:spec_decode_num_accepted_tokens", "Tokens of drafts that were right.", **named),
        }
        self._first = Histogram("vllm:time_to_first_token_seconds", "From request to first text.", buckets=_SECONDS, **named)
        self._between = Histogram("vllm:time_per_output_token_seconds", "Between tokens.", buckets=_PER_TOKEN, **named)
        self._whole = Histogram("vllm:e2e_request_latency_seconds", "From request to end.", buckets=_SECONDS, **named)
        self._success = Counter(
            "vllm:request_success", "Finished answers.", registry=self._all, labelnames=["model_name", "finished_reason"]
        )
        self._refused = Counter(
            "tunesmith:requests_refused", "Requests without an answer.", registry=self._all, labelnames=["status"]
        )
        self._stalled = Counter("tunesmith:answers_stalled", "Answers given up for silence in their middle.", **named)
        self._genai = GenAiMetrics(self._all)

    def done(self, call: Call, version: Version | None, told: Told, status: int) -> None:
        """A request has ended: with status 499 if the client went away."""
        seconds = time.monotonic() - call.begun
        self._genai.done(call, version, told, status, seconds)
        if status != 200:
            self._refused.labels(str(status)).inc()
        if version is not None:
            name = version.full_name
            self._prompt.labels(name).inc(told.usage.prompt)
            self._cached.labels(name).inc(told.usage.cached)
            self._generated.labels(name).inc(told.usage.completion)
            for what, counter in self._guesses.items():
                counter.labels(name).inc(getattr(told.usage, what))
            self._whole.labels(name).observe(seconds)
            if told.first_s is not None and told.came_in_pieces(call.ask.stream):
                self._first.labels(name).observe(told.first_s)
                if told.usage.completion > 1:
                    self._between.labels(name).observe((told.last_s - told.first_s) / (told.usage.completion - 1))
            if call.notes.get("stalled"):
                self._stalled.labels(name).inc()
            for reason in told.finishes:
                self._success.labels(name, reason).inc()
        self.log(
            "request",
            id=call.id,
            trace_id=call.trace_id,
            key=call.key,
            asked=call.ask.model[:120],
            model=version.full_name if version is not None else None,
            status=status,
            stream=call.ask.stream,
            prompt_tokens=told.usage.prompt,
            completion_tokens=told.usage.completion,
            first_s=None if told.first_s is None else round(told.first_s, 4),
            seconds=round(seconds, 4),
        )

    def embedded(self, request: Embedding, version: Version | None, tokens: int, status: int) -> None:
        """A request for embeddings has ended: with status 499 if the client went away."""
        seconds = time.monotonic() - request.begun
        self._genai.embedded(request.asked, version, tokens, status, seconds)
        if status != 200:
            self._refused.labels(str(status)).inc()
        if version is not None:
            self._prompt.labels(version.full_name).inc(tokens)
            self._whole.labels(version.full_name).observe(seconds)
        self.log(
            "embeddings",
            id=request.id,
            key=request.key,
            asked=request.asked[:120],
            model=version.full_name if version is not None else None,
            status=status,
            texts=request.num_texts,
            prompt_tokens=tokens,
            seconds=round(seconds, 4),
        )

    def log(self, what: str, **about: Any) -> None:
        """One line."""
        self._write(orjson.dumps({"time": round(time.time(), 3), "event": what, **about}))

    def metrics(self, running: int, waiting: int) -> tuple[bytes, str]:
        """Everything in Prometheus' text form, and its media type."""
        self._running.set(running)
        self._waiting.set(waiting)
        return generate_latest(self._all), CONTENT_TYPE_LATEST
