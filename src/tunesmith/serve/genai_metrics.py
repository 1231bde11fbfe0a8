"""Metrics by the names of OpenTelemetry's semantic conventions for generative AI (0.1, in development), in Prometheus' form.

Names, attributes and buckets: github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/gen-ai-metrics.md. Dots become
underscores, the unit `s` the ending `_seconds`, and `{token}` none; an empty label is an attribute that is not there. Left out
are `server.address` and `server.port`, which whoever scrapes knows.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram

from tunesmith.serve.pipeline import Call
from tunesmith.serve.registry import Version
from tunesmith.serve.replies import Told

__all__ = ["GenAiMetrics"]

_PROVIDER = "tunesmith"
_OPERATIONS = {"chat": "chat", "completion": "text_completion"}
_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_response_model")
_DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = tuple(4.0**power for power in range(14))


class GenAiMetrics:
    """Four histograms in a registry of Prometheus' client."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, buckets: tuple[float, ...], *more: str) -> Histogram:
            return Histogram(name, text, (*_LABELS, *more), registry=registry, buckets=buckets)

        self._duration = histogram(
            "gen_ai_server_request_duration_seconds", "From request to the last token.", _DURATION, "error_type"
        )
        self._first = histogram("gen_ai_server_time_to_first_token_seconds", "From request to the first token.", _FIRST)
        self._between = histogram(
            "gen_ai_server_time_per_output_token_seconds", "Per token of an answer after the first.", _PER_TOKEN
        )
        self._tokens = histogram(
            "gen_ai_client_token_usage", "Tokens of a request, and of its answer.", _TOKENS, "gen_ai_token_type"
        )
        self._answered: set[str] = set()  # names that clients asked for and got an answer to

    def done(self, call: Call, version: Version | None, told: Told, status: int, seconds: float) -> None:
        """A request for an answer has ended."""
        labels = self._ended(_OPERATIONS[call.ask.kind], call.ask.model, version, status, seconds)
        if status == 200 and told.first_s is not None and told.came_in_pieces(call.ask.stream):
            self._first.labels(*labels).observe(told.first_s)
            if told.usage.completion > 1:
                self._between.labels(*labels).observe((told.last_s - told.first_s) / (told.usage.completion - 1))
        for kind, count in (("input", told.usage.prompt), ("output", told.usage.completion)):
            if count:
                self._tokens.labels(*labels, kind).observe(count)

    def embedded(self, asked: str, version: Version | None, tokens: int, status: int, seconds: float) -> None:
        """A request for embeddings of so many tokens has ended."""
        labels = self._ended("embeddings", asked, version, status, seconds)
        if tokens:
            self._tokens.labels(*labels, "input").observe(tokens)

    def _ended(
        self, operation: str, asked: str, version: Version | None, status: int, seconds: float
    ) -> tuple[str, str, str, str]:
        """The labels of a request. The name that it asked for is told if an answer under that name was ever given: others would
        let a client make labels without end."""
        if version is not None:
            self._answered.add(asked)
        known, answered_by = asked if asked in self._answered else "", version.full_name if version is not None else ""
        labels = (operation, _PROVIDER, known, answered_by)
        self._duration.labels(*labels, "" if status == 200 else str(status)).observe(seconds)
        return labels
