"""The adapter as GGUF, on the base in a llama.cpp server, answers as the merged model does."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from export_sources import far, source_of

from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder
from tunesmith.ship.format import find_format

pytestmark = pytest.mark.skipif(find_spec("xllamacpp") is None, reason="llama.cpp is not installed")


def test_base_and_gguf_adapter_in_llama_cpp_are_the_merged_model(
    tiny: BaseFolder, tiny_chat: Chat, trained_adapter: Path, tmp_path: Path
) -> None:
    source = source_of(tiny, tiny_chat, trained_adapter, tmp_path / "merged")
    kind, place = find_format("gguf_lora"), tmp_path / "out"
    place.mkdir()
    written = kind.write(source, place, "")
    assert [file.name for file in place.iterdir()] == [written.main] == ["tiny-lora.gguf"]
    with kind.open(source, place / written.main) as opened:
        kl, same = far(source, opened.system)
    assert kl < 1e-4 and same > 0.99
