"""What bench_parity_engines.py asks: an engine of tunesmith.engines, or the transformers of another environment."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.records import Message
from tunesmith.engines.engine import ALONE, Engine, EngineRequest
from tunesmith.models.chat import Chat

Row = tuple[list[int], int]
"""Token ids, and the place of the first that is scored."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What an engine gave. `greedy`: ids with the end token, and whether it came; `scores`: ln p of each scored
    token of each row, and whether it was the likeliest."""

    engine: str
    greedy: list[tuple[list[int], bool]]
    scores: list[tuple[list[float], list[bool]]]
    seconds: float


def ask_engine(
    engine: Engine, prompts: Sequence[list[int]], rows: Sequence[Row], *, tokens: int, end: int, adapter: str
) -> Answers:
    """Everything that is compared. `adapter`: its name in the engine, empty for none or the only one."""
    name = adapter or (ALONE if engine.name == "vLLM" else None)
    scores = engine.score([ids for ids, _ in rows], [begin for _, begin in rows], adapter=name)
    begun = time.perf_counter()
    answers = engine.answer([EngineRequest(ids=tuple(ids), max_new_tokens=tokens, adapter=name) for ids in prompts])
    seconds = time.perf_counter() - begun
    if scores is None or any(one.ids is None for one in answers):
        raise SystemExit(f"{engine.name} does not report token ids and log-probabilities")
    greedy = []
    for one in answers:
        said, ended = list(one.ids or ()), one.finish_reason == "stop"
        greedy.append(([*said, end] if ended and said[-1:] != [end] else said, ended))  # some engines list the end token
    return Answers(f"{engine.name} {engine.version}", greedy, [(list(s.log_p), list(s.is_top)) for s in scores], seconds)


def ask_transformers(
    python: Path, model: Path, prompts: Sequence[list[int]], rows: Sequence[Row], *, tokens: int, end: int
) -> Answers:
    """The same of the transformers that the interpreter `python` has, through transformers_answers.py."""
    asked = {"model": str(model), "tokens": tokens, "ends": [end], "prompts": list(prompts), "rows": list(rows)}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    worker = Path(__file__).with_name("transformers_answers.py")
    done = subprocess.run(
        [python, worker], input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True, env=environment
    )
    found = json.loads(done.stdout)
    return Answers(found["version"], found["greedy"], found["scores"], found["seconds"])


def prompts_equal(engine: Engine, chat: Chat, texts: Sequence[str]) -> str:
    """How many conversations the engine's own template and tokenizer turn into the same ids."""
    equal, asked = 0, 0
    for system in ("", "Answer in one sentence."):
        for text in texts:
            messages = [
                Message(role="user", content=text),
                Message(role="assistant", content="Yes."),
                Message(role="user", content=text),
            ]
            messages = [Message(role="system", content=system), *messages] if system else messages
            prompt = engine.render(messages)
            ids = engine.tokenize(prompt) if prompt is not None else None
            if ids is not None:
                asked += 1
                equal += list(ids) == list(chat.encode_prompt(messages))
    return f"{equal} of {asked}" if asked else "not reported"
