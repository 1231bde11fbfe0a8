"""A chain on the embedded base, from posts and preferences to its verdicts: first the voice, then what is preferred."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import preferences
from tunesmith.api import EXAMPLES, open_chain
from tunesmith.core.records import to_json
from tunesmith.eval.measured import improvement

SETTINGS: dict[str, Any] = {
    "base": "apprentice",
    "build.dedup": 0,
    "split.val": 0.2,
    "split.test": 0.3,
    "train.max_steps": 12,
    "train.evaluate_every": 12,
    "train.precision": "float32",
    "use.temperature": 0,
    "use.repetition_penalty": 1,
    "eval.max_new_tokens": 4,
    "eval.max_items": 12,
    "eval.draws": 300,
    "eval.suites": [],
    "eval.baselines": [],
    "stages.voice.on_no_help": "keep",
    "stages.taste.on_no_help": "keep",
    "stages.taste.objective.kind": "dpo",
}


@pytest.mark.nightly
def test_a_chain_learns_a_voice_and_then_which_answer_is_preferred(tmp_path: Path) -> None:
    posts = sorted((EXAMPLES / "posts").glob("*.md"))[:24]
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b"".join(to_json(row) + b"\n" for row in preferences(30)))
    sources = {"stages.voice.sources": [str(post) for post in posts], "stages.taste.sources": [str(rows)]}
    chain = open_chain(*posts, project=tmp_path, settings=SETTINGS | sources)
    found = chain.outcome
    voice, taste = found.stages
    m = voice.outcome.measurements
    both = m.comparison("base", "tuned")
    assert both is not None
    gain = improvement(both.differences["bits_per_byte"], "bits_per_byte")
    assert gain is not None and gain[1] > 0  # the whole interval
    assert (voice.began, taste.began) == ("apprentice", "voice")
    figures = chain.stage("taste").project.run.numbers["validation"]
    assert figures["preference_accuracy"] > 0.9
    assert list(found.deciding.measurements.systems) == ["base", "stage_voice", "tuned"]
