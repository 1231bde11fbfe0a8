"""How well the questions of a dataset fit their answers: by words, and by an encoder or the base where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunesmith.core.records import Example
from tunesmith.core.reporter import Reporter
from tunesmith.data.dataset.fit import BY_WORDS, EmbeddingScore, Fit, Score, WordScore, measure_fit
from tunesmith.data.similar.embeddings import open_encoder
from tunesmith.eval.fit import likelihood_score
from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.models.memory import release_memory

__all__ = ["measure_fits"]

_ROWS_BY_BASE = 100
_SEED = 7


def measure_fits(
    splits: Mapping[str, Sequence[Example]],
    *,
    documents: set[str],
    chat: Chat,
    base: BaseFolder | None,
    encoder: str,
    reporter: Reporter,
) -> list[Fit]:
    """The fit of the rows that come from `documents` (ids); empty where none does. With `base` also by its likelihood, with
    an `encoder` by its vectors.

    By these 100 rows are measured, evenly spaced over all. By likelihood: five passes over an answer for each.
    """
    rows = [row for part in splits.values() for row in part if row.document_id in documents]
    if not rows:
        return []
    found = [measure_fit(rows, WordScore([row.answer for row in rows]), method=BY_WORDS, seed=_SEED)]
    only = range(len(rows))[:: max(1, len(rows) // _ROWS_BY_BASE)][:_ROWS_BY_BASE]
    if encoder:
        by_vectors = EmbeddingScore(open_encoder(encoder).encode)
        found.append(measure_fit(rows, by_vectors, method=f"vectors of {encoder}", seed=_SEED, only=only))
    if base is None:
        return found
    model = load_model(base, "float32")
    with reporter.progress("fit of the questions", total=len(only), unit="rows") as progress:
        by_base = likelihood_score(model, chat)

        def counted(answer: str, questions: Sequence[str]) -> Sequence[float]:
            progress.advance(1)
            return by_base(answer, questions)

        score: Score = counted
        found.append(measure_fit(rows, score, method=f"likelihood of the answer under {base.name}", seed=_SEED, only=only))
    del model
    release_memory()
    return found
