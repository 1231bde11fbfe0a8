"""Between the recipe's `judge` section and the judge: the server or the local model, the kept replies, the budget."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Store
from tunesmith.core.errors import GeneratorError
from tunesmith.core.reporter import Reporter
from tunesmith.data.synth.endpoint import Endpoint, Wording
from tunesmith.data.synth.generator import Generator, Server
from tunesmith.data.synth.judge import Judge
from tunesmith.data.synth.ledger import Budget, Ledger
from tunesmith.data.synth.reply_log import ReplyLog
from tunesmith.data.synth.rubric import GENERAL, read_rubric
from tunesmith.pipeline.keys import key_of
from tunesmith.pipeline.sections.eval import JudgeConfig

__all__ = ["OpenedJudge", "open_judge"]

_WORDS = Wording("the judge", "judge", "replies are cached", "verdicts that are in the file need no server")

_REASON_CHARS = 300  # as many as are kept: a small model that may write on goes round in circles


@dataclass(frozen=True, slots=True)
class OpenedJudge:
    """A judge that is ready. `name`: the model and where it is; `weak`: it runs on this machine, so it is small."""

    judge: Judge
    name: str
    weak: bool


@contextmanager
def open_judge(j: JudgeConfig, project: Path, *, reporter: Reporter) -> Iterator[OpenedJudge]:
    """The judge of a recipe; its replies are kept in the project.

    Raises:
        GeneratorError: no judge is named, the key's variable is not set, or the extra `synth` is missing.
        EvaluationError: a rubric that cannot be used.
        ModelError, ArtifactError, EngineError: a local model that cannot be opened.
    """
    rubric = read_rubric(Path(j.rubric).expanduser()) if j.rubric else GENERAL
    ledger = Ledger(
        Budget(
            max_tokens=j.max_tokens_total,
            max_cost=j.max_cost,
            price_in=j.price_per_million_in,
            price_out=j.price_per_million_out,
        ),
        section="judge",
    )

    replies = ReplyLog(project / ".tunesmith" / "replies" / "judge.jsonl")

    def judge(server: Server, model: str, concurrency: int, **form: Any) -> Judge:
        generator = Generator(
            server,
            replies,
            ledger,
            model=model,
            temperature=0.0,
            max_tokens=j.max_reply_tokens,
            concurrency=concurrency,
        )
        return Judge(generator, rubric, **form)

    with closing(replies):
        if j.local:
            from tunesmith.systems.as_server import as_server
            from tunesmith.systems.opening import Opening, open_system

            how = Opening(store=Store(project / ".tunesmith"), reporter=reporter, at_once=j.concurrency)
            with open_system(j.local, how) as opened, closing(as_server(opened.system, at_once=j.concurrency)) as own:
                schema = j.json_schema and own.takes_schema
                made = judge(own, opened.label, own.at_once, schema=schema, reason_chars=_REASON_CHARS)
                reporter.note(_how_asked(own.at_once, schema))
                yield OpenedJudge(made, opened.label, weak=True)
            return
        with closing(_server(j)) as server:
            try:
                made = judge(server, j.model, j.concurrency, schema=j.json_schema)
                yield OpenedJudge(made, f"{j.model} at {j.url}", weak=False)
            finally:
                _tell(server, ledger, reporter)


def _how_asked(at_once: int, schema: bool) -> str:
    many = f"the judge answers {at_once} requests at once" if at_once > 1 else "the judge answers one request at a time"
    return f"{many}, {'held to the form of a verdict' if schema else 'in whatever form it likes'}"


def _tell(server: Server, ledger: Ledger, reporter: Reporter) -> None:
    """Say which tries brought no reply: with them the work took longer, and no verdict is missing unless an error says so."""
    if tries := ", ".join(f"{count:,} {what}" for what, count in sorted(server.failed.items())):
        reporter.note(f"tries of the judge without a reply: {tries}; {ledger.usage.requests:,} replies are kept")


def _server(j: JudgeConfig) -> Endpoint:
    if not j.url or not j.model:
        raise GeneratorError(
            "no judge is named",
            value=f"judge.url={j.url!r}, judge.model={j.model!r}, judge.local={j.local!r}",
            expected="the address of an OpenAI-compatible server and the name of a model there, or a local model",
            hint="--judge http://127.0.0.1:11434/v1 --model NAME   or   --judge FOLDER",
        )
    key = key_of(j.api_key_env, whose="the judge's", setting="judge.api_key_env", error=GeneratorError)
    return Endpoint(j.url, api_key=key, timeout_s=j.timeout_s, words=_WORDS)
