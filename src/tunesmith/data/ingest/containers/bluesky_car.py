"""The repository of a Bluesky account (.car), which is recognised and not read."""

from __future__ import annotations

from tunesmith.data.ingest.container import Container

__all__ = ["CONTAINER"]


def _is_repository(name: str, head: bytes) -> bool:
    return b"roots" in head[:100] and b"version" in head[:200]


CONTAINER = Container(
    name="bluesky_car",
    title="the repository of a Bluesky account",
    taken="",
    left_out="",
    file=_is_repository,
    suffixes=frozenset([".car"]),
    instead="unpack it with `goat repo unpack FILE.car` and name the folder that this makes",
)
