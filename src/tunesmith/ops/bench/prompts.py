"""What the options are asked: prompts of the run's own test split, of a file, or of a small set that comes with Tunesmith."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Example, Message, spread_over_documents
from tunesmith.data.dataset.load import load_examples
from tunesmith.ops.bench.options import run_behind
from tunesmith.pipeline.finished import dataset_rows

__all__ = ["Prompts", "find_prompts"]

_MOST = 1000  # of a dataset
_POSTS = Path(__file__).parents[2] / "examples" / "posts"
_LETTERS = (200, 1200)  # of a paragraph that is asked about
_TALK = (
    "Tell me how a kettle works.",
    "What should I think of before I buy a bicycle?",
    "Write a short letter to a neighbour about a loud dog.",
    "Why is the sky blue in the day and red in the evening?",
    "Give me advice for a first visit to a big city.",
    "Explain what a bank does with the money in an account.",
    "How do I keep bread fresh for a week?",
    "Write a short story about a lighthouse.",
)
_TASKS = ("Summarise this text in one sentence:", "Correct the spelling of this text:", "What is this text about?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Conversations that end with a question. `source`: where they come from, in words."""

    conversations: tuple[tuple[Message, ...], ...]
    source: str

    def part(self, begin: int, count: int) -> list[tuple[Message, ...]]:
        """So many from this place on. Where they are used up they begin again, each with another number before it, so that no
        server has read it."""
        found = []
        for at in range(begin, begin + count):
            again, place = divmod(at, len(self.conversations))
            *before, last = self.conversations[place]
            text = f"({again + 1}) {last.content}" if again else last.content
            found.append((*before, replace(last, content=text)))
        return found


def find_prompts(reference: str, store: Store, file: str | Path = "") -> Prompts:
    """The prompts of `file`: rows in any form that `tunesmith check` reads, or a text file (.txt) with one in each line.
    Without a file, those of the test split of the dataset of the reference's run, else a set that comes with Tunesmith.

    Raises:
        EvaluationError: a file without a prompt.
        DatasetError, SourceError: a file that cannot be read.
    """
    if file:
        path = Path(file).expanduser()
        found = _lines(path) if path.suffix.lower() == ".txt" and path.is_file() else _asked(load_examples(path).examples)
        if not found:
            raise EvaluationError(
                "there is no prompt in this file",
                value=str(file),
                expected="rows that end with an answer, or a .txt file with a prompt in each line",
                hint="leave --prompts out to use those of the dataset",
            )
        return Prompts(conversations=tuple(found), source=path.name)
    run = run_behind(reference, store)
    if run is not None and run.dataset is not None and (found := _asked(dataset_rows(run.dataset, "test"))):
        return Prompts(conversations=tuple(found), source=f"the test split of dataset {run.dataset.id[:8]}")
    return Prompts(conversations=tuple(_own()), source="prompts that come with Tunesmith")


def _asked(rows: Sequence[Example]) -> list[tuple[Message, ...]]:
    """The conversations up to the last answer of rows that have one."""
    spread = spread_over_documents(rows, _MOST)
    found = [row.messages[:-1] for row in spread if row.messages and row.messages[-1].role == "assistant"]
    return [messages for messages in found if messages and messages[-1].role == "user"]


def _lines(path: Path) -> list[tuple[Message, ...]]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [(Message(role="user", content=line.strip()),) for line in lines if line.strip()]


def _own() -> list[tuple[Message, ...]]:
    """Talk, and tasks about paragraphs of the sample posts: prompts of 10 to 300 tokens."""
    texts = [part for file in sorted(_POSTS.rglob("*.md")) for part in file.read_text(encoding="utf-8").split("\n\n")]
    paragraphs = [text.strip() for text in texts if _LETTERS[0] < len(text) < _LETTERS[1] and text[0].isalpha()]
    found = []
    for at, text in enumerate(paragraphs):
        found += [_TALK[at]] if at < len(_TALK) else []
        found.append(f"{_TASKS[at % len(_TASKS)]}\n\n{text}")
    return [(Message(role="user", content=text),) for text in found]
