"""Settings of the server: what `tunesmith serve` serves, to whom, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tunesmith.core.settings import Section

__all__ = ["ServeConfig"]


class ServeConfig(Section):
    """`tunesmith serve`. No artifact depends on these settings. References and paths are as on the command line."""

    models: list[Annotated[str, Field(min_length=1)]] = ["run:latest"]
    """What is served where the command names nothing: runs, releases, folders, BASE+ADAPTER, FILE.gguf or addresses, each
    optionally as NAME=REFERENCE or NAME@ALIAS=REFERENCE."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What runs model folders, runs and adapters: this process, or one vLLM for each base, which is started, and started again
    when it has ended. The environment variable TUNESMITH_VLLM names the Python that has vLLM."""
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on. Any but loopback needs a key."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port. 0: a free one."""
    keys: str = ""
    """A file with a line NAME KEY, or NAME KEY ROLE, per client; roles are admin, client and metrics. TUNESMITH_SERVE_KEY in
    the environment is an admin's key as well. Once there is a key, every route but /healthz needs one."""
    allow_hosts: list[str] = []
    """Further host names by which the server may be addressed."""
    allow_origins: list[str] = []
    """Origins of web pages that may call it."""
    rate: Annotated[float, Field(ge=0)] = 0.0
    """Requests per minute for each key. 0: no limit."""
    max_waiting: Annotated[int, Field(ge=0)] = 512
    """Requests that wait before each engine; one more is answered with 429."""
    rows: Annotated[int, Field(ge=1, le=1024)] = 32
    """Answers made at once for each base."""
    max_adapters: Annotated[int, Field(ge=1)] = 16
    """Adapters in memory at once for each base; the least recently used one makes room. With vLLM: in one batch."""
    preload: bool = True
    """Whether adapters are read at the start, as far as all of them fit into `serve.max_adapters`. Else each is read when it is
    first asked for."""
    pin: list[str] = []
    """Names of adapters, or NAME@VERSION or NAME@ALIAS, that are read at the start and never make room for others."""
    context: Annotated[int, Field(ge=0)] = 0
    """Tokens of prompt and answer together. 0: the model's own limit."""
    prefix_mib: Annotated[int, Field(ge=0)] = 0
    """Maximum MiB that each base keeps of prompts that were read before. 0: an eighth of the free memory."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number type of the weights, in this process and in vLLM."""
    speculative: Annotated[str, Field(min_length=1)] = "off"
    """Where guesses of an answer's next tokens come from, several of which the model checks in one pass: `off`, `ngram` (what
    followed the same words before, in prompt or answer), or a reference to a smaller model with the same tokenizer. Answers do
    not depend on it. It holds for models in this process."""
    speculative_tokens: Annotated[int, Field(ge=1, le=64)] = 16
    """Most tokens that are guessed at a time; fewer where they would cost more than they save."""
    drain: Annotated[float, Field(ge=0)] = 60.0
    """Seconds for requests in work to finish after SIGTERM."""
    pause: Annotated[float, Field(ge=0)] = 0.0
    """Seconds from SIGTERM until new requests are refused; meanwhile /healthz?ready is already 503."""
    stall: Annotated[float, Field(ge=0)] = 120.0
    """Seconds for which a server behind an address may be silent in the middle of an answer, which then ends with an error.
    0: no limit."""
    database: str = ""
    """A file for SQLite, or the postgresql:// address of a database, that keeps feedback and traffic. Empty:
    .tunesmith/serve.db of the project."""
    capture: bool = False
    """Whether prompts and answers are kept as well."""
    keep_days: Annotated[float, Field(ge=0)] = 0.0
    """Days after which kept texts are erased. 0: they are kept until they are forgotten."""
    redact: bool = True
    """Whether the secrets and personal data that the data stage's checks find are taken out of kept texts."""
    traffic: str = ""
    """A YAML file that says who gets which model (docs/guides/traffic.md)."""

    @model_validator(mode="before")
    @classmethod
    def _off_is_a_word(cls, values: Any) -> Any:
        """YAML reads `off` as no."""
        if isinstance(values, dict) and values.get("speculative") is False:
            return {**values, "speculative": "off"}
        return values
