"""The export of Squarespace: the file of WordPress with blocks of its own, of which those that hold text are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tunesmith.data.ingest.container import Container, Entry, Text
from tunesmith.data.ingest.containers import wordpress
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import without_classes
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]

_DROPPED_TEXT = """
sqs-block-button button-block newsletter-block sqs-block-newsletter form-block sqs-block-form image-block sqs-block-image
gallery-block sqs-block-gallery embed-block sqs-block-embed summary-block sqs-block-summary-v2 sqs-block-code code-block
product-block sqs-block-product socialaccountlinks-v2-block sqs-block-socialaccountlinks-v2 audio-block sqs-block-audio
video-block sqs-block-video search-block sqs-block-search archive-block tagcloud-block menu-block map-block image-caption
"""
_DROPPED = frozenset(_DROPPED_TEXT.split())


def _is_export(name: str, head: bytes) -> bool:
    return b"wordpress.org/export/" in head and b"<rss" in head and b"squarespace" in head.lower()


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    for entry in wordpress.read_items(tree, policy):
        if isinstance(entry, Text) and isinstance(entry.content, str):
            yield replace(entry, content=without_classes(entry.content, _DROPPED))
        else:
            yield entry


CONTAINER = Container(
    name="squarespace",
    title="a Squarespace export",
    taken="posts and pages, with title, author, date and address",
    left_out="as for WordPress; blocks of buttons, sign-up and other forms, pictures, galleries, products, summaries and code",
    file=_is_export,
    suffixes=frozenset([".xml"]),
    entries=_entries,
)
