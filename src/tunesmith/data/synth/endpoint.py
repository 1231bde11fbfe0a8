"""The wire: an OpenAI-compatible server, asked through the `openai` client with our own retries.

Rate limits are honoured (`Retry-After`), for all workers at once. Redirects are not followed: text goes to the address
that was named and nowhere else. The key is read from the environment and appears in no message.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tunesmith.core.errors import GeneratorError
from tunesmith.data.synth.request import Reply, Request, Stop

if TYPE_CHECKING:
    import openai

__all__ = ["GENERATOR", "Endpoint", "Wording"]

_ATTEMPTS = 6
_ATTEMPTS_UNMET = 3  # where nobody ever was at that address: no reason to wait half a minute
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_PATIENCE_S = 900.0  # a server that asks for a longer pause than this is left alone until the same command is typed again
_AGAIN = frozenset({408, 409, 425, 429})
_UNUSABLE = frozenset({400, 413, 422})  # this one request is not accepted; others may be


@dataclass(frozen=True, slots=True)
class Wording:
    """How messages name a server: `who` it is, the `section` of the recipe that sets it, what trying `again` costs, and what
    works `without` it."""

    who: str
    section: str
    again: str
    without: str


GENERATOR = Wording(
    "the generator", "generator", "replies are cached", "--set build.style=passages makes examples without a model"
)


class Endpoint:
    """One server. `ask` may be called from many threads.

    `wait(seconds)` is how a pause is made; it returns True if the work was stopped meanwhile.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        timeout_s: float = 120.0,
        attempts: int = _ATTEMPTS,
        wait: Callable[[float], bool] | None = None,
        words: Wording = GENERATOR,
    ) -> None:
        self.url = url.rstrip("/")
        self._key = api_key
        self._attempts = attempts
        self._words = words
        self._stopped = threading.Event()
        self._wait: Callable[[float], bool] = wait or self._stopped.wait
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._takes_no_schema = False
        self._met = False  # whether anybody was there
        self._failed: Counter[str] = Counter()
        self._client = _client(self.url, api_key, timeout_s, words)

    @property
    def failed(self) -> Mapping[str, int]:
        """Tries that brought no reply and were, or could have been, made again: how many timed out, and so on."""
        with self._lock:
            return dict(self._failed)

    def stop(self) -> None:
        """End all pauses: nobody waits for their replies any more."""
        self._stopped.set()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, request: Request) -> Reply:
        """The reply to one request. Rate limits, server errors and lost connections are tried again: six times in all, or three
        where nobody ever was there.

        Raises:
            GeneratorError: no answer, wrong key, no such model, or a pause longer than 15 minutes is asked for.
        """
        import openai

        attempt = 0
        fault: openai.APIError | None = None
        while attempt < (self._attempts if self._met else min(self._attempts, _ATTEMPTS_UNMET)):
            self._pause(attempt, fault)
            if self._stopped.is_set():
                raise _Stopped
            attempt += 1
            sent = replace(request, schema="") if self._takes_no_schema else request
            try:
                reply = self._once(sent)
                self._met = True
                return reply
            except openai.APIStatusError as error:
                self._met = True
                if error.status_code in _UNUSABLE:
                    if sent.schema:  # the server may take the request without it
                        self._takes_no_schema, fault, attempt = True, None, attempt - 1
                        continue
                    return _not_taken()
                if error.status_code not in _AGAIN and error.status_code < 500:
                    raise self._final(error, request) from None
                fault = error
            except openai.APIError as error:  # no connection, a timeout, or a body that is no reply
                self._met = self._met or isinstance(error, openai.APITimeoutError)
                fault = error
            with self._lock:
                self._failed[_kind_of(fault)] += 1
        if fault is None:
            raise AssertionError("an endpoint needs at least one attempt")
        raise self._gave_up(fault, attempt) from None

    def models(self) -> list[str]:
        """The names of the models that the server offers; empty if it does not say."""
        import openai

        try:
            return [model.id for model in self._client.models.list()]
        except openai.APIError:
            return []

    def _once(self, request: Request) -> Reply:
        from openai.types.chat import ChatCompletion

        completion = (
            self._client.post(  # not `chat.completions.create`, which takes half a millisecond to copy what it is given
                "/chat/completions",
                cast_to=ChatCompletion,
                body=_body(request),
                options={"headers": {"Idempotency-Key": request.key}},
            )
        )
        choices = getattr(completion, "choices", None)
        if not choices or getattr(choices[0], "message", None) is None:
            raise GeneratorError(
                "the server's reply is not a chat completion",
                value=" ".join(str(completion).split())[:120],
                expected=f"an OpenAI-compatible server at {self.url}",
                hint=f"check {self._words.section}.url: it often ends in /v1; {self._words.without}",
            )
        reply = _read(completion, request)
        if request.top_logprobs and reply.text and not reply.logprobs:
            raise GeneratorError(
                "the server gives no log-probabilities",
                value=f"{request.model} at {self.url}",
                expected="a server that takes logprobs and top_logprobs, such as vLLM, llama.cpp or a cloud that offers them",
                hint="--set generator.top_logprobs=0 takes the answers alone",
            )
        return reply

    def _pause(self, attempt: int, fault: openai.APIError | None) -> None:
        """Wait for the server's own word, or twice as long as before; and for a pause that another worker was told of."""
        if fault is not None:
            told = _retry_after(getattr(getattr(fault, "response", None), "headers", {}))
            if told is not None and told > _PATIENCE_S:
                raise GeneratorError(
                    f"{self._words.who} asks for a long pause",
                    value=f"Retry-After: {told:.0f} s",
                    expected=f"at most {_PATIENCE_S:.0f} s",
                    hint=f"type the same command later: {self._words.again}",
                )
            seconds = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (attempt - 1)) if told is None else told
            now = time.monotonic()
            with self._lock:
                longer = self._not_before - now  # a pause that another worker was told of since
                self._not_before = max(self._not_before, now + seconds)
            if self._wait(max(seconds, longer)):
                raise _Stopped
        elif (left := self._not_before - time.monotonic()) > 0 and self._wait(left):
            raise _Stopped

    def _final(self, error: openai.APIStatusError, request: Request) -> GeneratorError:
        said = self._said(error)
        if error.status_code in (401, 403):
            return GeneratorError(
                f"{self._words.who} {'refuses the key' if self._key else 'wants a key'}",
                value=said,
                expected="a key that it accepts",
                hint=f"export it in a variable and name that: --set {self._words.section}.api_key_env=OPENAI_API_KEY",
            )
        if error.status_code == 404 and (names := self.models()):
            return GeneratorError(
                f"{self._words.who} has no such model",
                value=request.model,
                expected="one of " + ", ".join(names[:10]),
                hint=f"--set {self._words.section}.model={names[0]}",
            )
        section = self._words.section
        return GeneratorError(
            f"{self._words.who} refuses the request",
            value=said,
            expected=f"an OpenAI-compatible server at {self.url}",
            hint=f"check {section}.url (it often ends in /v1) and {section}.model; {self._words.without}",
        )

    def _gave_up(self, error: openai.APIError, attempts: int) -> GeneratorError:
        return GeneratorError(
            f"{self._words.who} does not answer after {attempts} attempts",
            value=self._said(error),
            expected=f"an OpenAI-compatible server at {self.url}",
            hint=f"start it and type the same command again ({self._words.again}); {self._words.without}",
        )

    def _said(self, error: openai.APIError) -> str:
        """What went wrong, in one short line, without the key."""
        cause = error.__cause__
        text = f"{error.message} ({cause})" if cause is not None else error.message
        line = " ".join(text.split())
        return (line.replace(self._key, "[key]") if self._key else line)[:300]


class _Stopped(GeneratorError):
    """Another worker ended the work; nobody reads this."""

    def __init__(self) -> None:
        super().__init__("stopped", value="", expected="", hint="")


def _kind_of(fault: openai.APIError) -> str:
    import openai

    status = getattr(fault, "status_code", None)
    if isinstance(fault, openai.APITimeoutError) or status == 408:
        return "timed out"
    if status == 429:
        return "rate limited"
    if isinstance(fault, openai.APIConnectionError):
        return "connection lost"
    return "server error" if status is not None and status >= 400 else "no reply in it"


def _client(url: str, api_key: str, timeout_s: float, words: Wording) -> openai.OpenAI:
    try:
        import openai
    except ImportError as error:
        raise GeneratorError(
            "the client for language models is not installed",
            value="openai",
            expected="the extra `synth`",
            hint=f"pip install 'tunesmith[synth]'; {words.without}",
        ) from error
    # Headers that the client would take from the environment of another account are left out.
    omit: Any = openai.Omit()
    return openai.OpenAI(
        base_url=url,
        api_key=api_key or "none",  # the client insists on one; servers without keys ignore it
        max_retries=0,
        default_headers={"OpenAI-Organization": omit, "OpenAI-Project": omit},
        http_client=openai.DefaultHttpxClient(follow_redirects=False, timeout=timeout_s),
    )


def _body(request: Request) -> dict[str, Any]:
    """The request as servers in OpenAI's manner take it; what was not set is left out."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        "temperature": request.temperature,
        "seed": request.seed,
        "max_tokens": request.max_tokens,
    }
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.schema:
        schema = {"name": "reply", "strict": True, "schema": _parsed(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


@lru_cache(maxsize=16)
def _parsed(schema: str) -> Any:
    return json.loads(schema)


def _read(completion: Any, request: Request) -> Reply:
    choice, used = completion.choices[0], getattr(completion, "usage", None)
    text = choice.message.content or ""
    stop: Stop = "stop"
    if getattr(choice.message, "refusal", None) or choice.finish_reason == "content_filter":
        stop = "refused"
    elif choice.finish_reason == "length":
        stop = "length"
    tokens = (getattr(used, "prompt_tokens", None), getattr(used, "completion_tokens", None))
    counted = all(isinstance(count, int) and count >= 0 for count in tokens)
    most = (request.most_prompt_tokens, min(request.max_tokens, len(text.encode())))
    prompt_tokens, completion_tokens = tokens if counted else most
    return Reply(
        text=text,
        stop=stop,
        prompt_tokens=int(prompt_tokens or 0),
        completion_tokens=int(completion_tokens or 0),
        date=datetime.now(UTC).date().isoformat(),
        counted=counted,
        logprobs=_logprobs(choice),
        model=str(getattr(completion, "model", None) or ""),
        fingerprint=str(getattr(completion, "system_fingerprint", None) or ""),
    )


def _logprobs(choice: Any) -> str:
    """The log-probabilities of a reply as `Reply.logprobs` keeps them; empty if there are none."""
    listed = getattr(getattr(choice, "logprobs", None), "content", None)
    if not listed:
        return ""
    return json.dumps([[_hex(one), one.logprob, [[_hex(o), o.logprob] for o in one.top_logprobs or ()]] for one in listed])


def _hex(token: Any) -> str:
    """The bytes of a token. Its text is not enough where a token is a part of a character."""
    own = getattr(token, "bytes", None)
    return (bytes(own) if own else token.token.encode()).hex()


def _not_taken() -> Reply:
    """A request that the server did not take costs nothing."""
    return Reply(text="", stop="not_taken", prompt_tokens=0, completion_tokens=0, date=datetime.now(UTC).date().isoformat())


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait (`retry-after-ms`, or `Retry-After` as seconds or as a date), if it does."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name) or ""
        try:
            seconds = float(value) / scale
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
            except (ValueError, TypeError, OverflowError):
                continue
        if seconds == seconds and seconds < float("inf"):  # neither NaN nor endless
            return max(0.0, seconds)
    return None
