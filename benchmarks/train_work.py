"""What the training benchmark trains on: the reference work (random weights), or the sample posts on a real base."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reference_work import END, reference_examples, reference_model

__all__ = ["ATTENTION", "Work", "real_work", "reference_work", "write_post_rows"]

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_ALL = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
_POSTS = Path(__file__).parents[1] / "src" / "tunesmith" / "examples" / "posts"


@dataclass(frozen=True)
class Work:
    """Rows as (ids, learned), a function that makes the model in a number type, and how it is trained.

    The first `skipped` steps warm up and do not count.
    """

    rows: Sequence[tuple[list[int], list[bool]]]
    model: Callable[[torch.dtype], Any]
    tokenizer: Callable[[], Any]
    pad_id: int
    batch: int
    targets: tuple[str, ...]
    dropout: float
    skipped: int

    @property
    def flops(self) -> float:
        """Floating point operations of an example at least: linear layers forward and back, the head where it learns."""
        model = self.model(torch.float32)
        linear = [m.weight.numel() for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and ".layers." in n]
        tokens = sum(len(ids) for ids, _ in self.rows) / len(self.rows)
        learned = sum(sum(learned) for _, learned in self.rows) / len(self.rows)
        return 4.0 * (tokens * sum(linear) + learned * model.get_output_embeddings().weight.numel())


def reference_work(count: int, *, stretch: int = 1) -> Work:
    """`count` drawn examples on a model of random weights, batches of 4, adapters on attention, no dropout."""

    def tokenizer() -> Any:
        import transformers
        from tokenizers import Tokenizer, models

        words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "</s>": END}, unk_token="<unk>"))
        return transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>")

    rows = [(p + a, [False] * len(p) + [True] * len(a)) for p, a in reference_examples(count, stretch=stretch)]
    return Work(rows, reference_model, tokenizer, 0, 4, ATTENTION, 0.0, 2)


def real_work(base: Path, rows: Path, count: int) -> Work:
    """The first `count` rows of a file of `write_post_rows` on the model in `base`, as the product trains by default.

    Every step counts: the first steps of a run grouped by length are its longest.
    """

    def model(dtype: torch.dtype) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(base, dtype=dtype)

    def tokenizer() -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(base)

    found = json.loads(rows.read_text())
    return Work(found["rows"][:count], model, tokenizer, found["pad_id"], 8, _ALL, 0.05, 0)


def write_post_rows(base: Path, file: Path) -> str:
    """Build the dataset of the sample posts for `base`, and write its training rows as token ids; gives the base's fingerprint.

    A file that was written for the same base is kept.
    """
    from tunesmith.api import Project
    from tunesmith.pipeline.recipe import Recipe

    project = Project(Recipe(base=str(base), sources=[str(_POSTS)]), Path(tempfile.mkdtemp()))
    fingerprint = project.base.fingerprint
    if file.exists() and json.loads(file.read_text())["base"] == fingerprint:
        return fingerprint
    coded = [project.chat.encode(example.messages, max_tokens=1024) for example in project.rows("train")]
    rows = [(list(row.ids), [bool(mark) for mark in row.learned]) for row in coded]
    file.write_text(json.dumps({"base": fingerprint, "pad_id": project.chat.pad_id, "rows": rows}))
    return fingerprint
