"""A local hub that the hub's library is pointed at, with a token, no waiting between retries, and nothing left open."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from local_hub import TOKEN, LocalHub, local_hub

__all__ = ["hub", "waits"]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the library would have waited before each retry; it does not."""
    waited: list[float] = []
    clock = SimpleNamespace(sleep=waited.append, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)
    return waited


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waits: list[float]) -> Iterator[LocalHub]:
    from huggingface_hub import close_session

    monkeypatch.delenv("TUNESMITH_OFFLINE")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with local_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
        close_session()
