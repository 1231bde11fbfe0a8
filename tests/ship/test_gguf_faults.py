"""Faults that a converter may have, planted one by one: each is seen when the file is compared with the folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from gguf_models import folder_of, logits_of, token_ids

from llama_cpp_library import LlamaCpp
from tunesmith.models.chat import open_chat
from tunesmith.models.load import BaseFolder
from tunesmith.ship.gguf import tensors, write, write_gguf

EXACT = 2e-4
USER = 5  # <|user|>


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> BaseFolder:
    """A model with a head of its own that stops at `<|user|>` too, which llama.cpp does not know as an end."""
    place = tmp_path_factory.mktemp("untied") / "model"
    folder: BaseFolder = folder_of("Llama 3, own head size, biases", place)
    settings = {"eos_token_id": [folder.config["eos_token_id"], USER]}
    (place / "generation_config.json").write_text(json.dumps(settings))
    return folder


def differences(folder: BaseFolder, file: Path) -> set[str]:
    """In what llama.cpp and transformers differ: logits, template, ends, ids."""
    opened, chat = LlamaCpp(file), open_chat(folder)
    expected, ids = logits_of(folder, token_ids()), chat.tokenizer("Hello, 2 worlds")["input_ids"]
    found = {
        "logits": np.abs(opened.logits(token_ids()) - expected).max() > EXACT * np.abs(expected).max(),
        "template": opened.template() != chat.tokenizer.chat_template,
        "ends": not opened.ends(chat.end_ids) >= set(chat.end_ids),
        "ids": opened.tokenize("Hello, 2 worlds", around=True) != ids,
    }
    return {name for name, differs in found.items() if differs}


def keep_order(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tensors, "rows_in_pairs", lambda values, heads: values)


def other_theta(patch: pytest.MonkeyPatch) -> None:
    own = GGUFWriter.add_rope_freq_base
    patch.setattr(GGUFWriter, "add_rope_freq_base", lambda self, value: own(self, 10_000.0))


def no_template(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(write, "_add_template", lambda writer, template: None)


def other_template(patch: pytest.MonkeyPatch) -> None:
    own = GGUFWriter.add_chat_template
    patch.setattr(GGUFWriter, "add_chat_template", lambda self, text: own(self, text.replace("<|end|>", "</s>")))


def no_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GGUFWriter, "add_eot_token_id", lambda self, token: None)


def extra_begin(patch: pytest.MonkeyPatch) -> None:
    own = GGUFWriter.add_add_bos_token
    patch.setattr(GGUFWriter, "add_add_bos_token", lambda self, value: own(self, not value))


def no_head(patch: pytest.MonkeyPatch) -> None:
    own = tensors.folder_tensors
    patch.setattr(write, "folder_tensors", lambda *a: [found for found in own(*a) if found.name != "output.weight"])


FAULTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "query and key rows are left in their order": (keep_order, "logits"),
    "another rope theta": (other_theta, "logits"),
    "the head is missing": (no_head, "logits"),
    "the template is missing": (no_template, "template"),
    "the template ends turns otherwise": (other_template, "template"),
    "the end token is missing": (no_end, "ends"),
    "a begin token too many": (extra_begin, "ids"),
}


def test_a_file_without_a_fault_does_not_differ(folder: BaseFolder, tmp_path: Path) -> None:
    assert differences(folder, write_gguf(folder, tmp_path / "model.gguf", quant="f32").path) == set()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen_where_it_shows(
    fault: str, folder: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, where = FAULTS[fault]
    with monkeypatch.context() as patch:
        plant(patch)
        file: Any = write_gguf(folder, tmp_path / "model.gguf", quant="f32").path
    assert differences(folder, file) == {where}
