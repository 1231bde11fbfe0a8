"""The base's own answers to general questions, as training rows: what keeps a model from forgetting what it could do.

A model that is tuned on one author alone answers everything in that author's voice. Rows that the base wrote itself hold it
where it was, on questions that have nothing to do with the author (self-distillation; Yang et al. 2024, "Self-Distillation
Bridges Distribution Gap in Language Model Fine-Tuning"; Huang et al. 2024, "Self-Synthesized Rehearsal").
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tunesmith.core.files import make_folders, replace_file
from tunesmith.core.records import Example, Message, Origin, digest, read_jsonl, to_json
from tunesmith.core.reporter import Reporter
from tunesmith.eval.metrics.repetition import loops
from tunesmith.models.chat import Chat
from tunesmith.models.generate import GREEDY, Request, answer
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.models.memory import release_memory
from tunesmith.pipeline.evidence import EXAMPLES

__all__ = ["QUESTIONS", "own_answers"]

QUESTIONS = EXAMPLES / "general_questions.txt"
_MOST_TOKENS = 96


def own_answers(base: BaseFolder, chat: Chat, folder: Path, *, reporter: Reporter) -> tuple[Example, ...]:
    """The base's greedy answers to the packaged general questions, kept in `folder` by base and template.

    Answers that are empty, cut at the token limit, or loop are left out: they are no example.
    """
    questions = QUESTIONS.read_text(encoding="utf-8").split("\n")[:-1]
    file = folder / f"{digest(base.fingerprint, chat.fingerprint, *questions)[:16]}.jsonl"
    if not file.exists():
        rows = _made(base, chat, questions, reporter)
        make_folders(folder)
        replace_file(file, b"".join(to_json(row) + b"\n" for row in rows))
    return tuple(read_jsonl(file, Example))


def _made(base: BaseFolder, chat: Chat, questions: list[str], reporter: Reporter) -> list[Example]:
    model = load_model(base, "float32")
    prompts = [(Message(role="user", content=question),) for question in questions]
    requests = [Request(messages=p, max_new_tokens=_MOST_TOKENS, sampling=GREEDY, number=0) for p in prompts]
    with reporter.progress("own answers", total=len(questions), unit="answers") as progress:
        said = answer(model, chat, requests, batch_examples=len(requests), context=base.context, on_done=progress.advance)
    del model
    release_memory()
    made = []
    today = datetime.now(UTC).date().isoformat()
    for prompt, one in zip(prompts, said, strict=True):
        text = one.text.strip()
        if one.finish_reason != "stop" or not text or loops(text):
            continue
        mark = digest("own answer", base.fingerprint, prompt[0].content)
        made.append(
            Example(
                id=mark[:16],
                messages=(*prompt, Message(role="assistant", content=text)),
                document_id=mark[:16],
                group=mark[:16],
                source="own answers of the base",
                origin=Origin(
                    kind="own_answers",
                    model=base.name,
                    prompt_sha256=digest(prompt[0].content),
                    date=today,
                    generated="answer",
                ),
            )
        )
    return made
