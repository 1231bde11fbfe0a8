"""The export of a Buttondown newsletter: emails in Markdown with a table about them, or what its API answers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Broken, Container, Entry, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import columns, day, json_value, line, mappings, stored_rows
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_FIELDS = (b'"subject"', b'"publish_date"', b'"slug"')
_VARIABLE = re.compile(r"\{\{.{0,500}?\}\}|\{%.{0,500}?%\}|<!-- buttondown-editor-mode: .{0,40}? -->", re.DOTALL)
_STATUS: dict[str, Status] = {
    "sent": "published",
    "imported": "published",
    "about_to_send": "published",
    "in_flight": "published",
    "resending": "published",
    "scheduled": "scheduled",
    "deleted": "deleted",
}
_PRIVATE: dict[str, Status] = {"private": "private", "hidden": "private", "premium": "protected", "premium_only": "protected"}


def _is_export(name: str, head: bytes) -> bool:
    return all(field in head for field in _FIELDS) and b'"body"' in head


def _table(tree: Tree) -> str | None:
    if "emails.csv" in tree and {"subject", "slug", "publish_date"} <= columns(tree.head("emails.csv")):
        return "emails.csv"
    if "emails.json" in tree and all(field in tree.head("emails.json") for field in _FIELDS):
        return "emails.json"
    return None


def _claimed(tree: Tree) -> Collection[str]:
    if _table(tree) is None:
        return ()
    inside = [name for name in tree.names if name.startswith("emails/") and name.endswith((".md", ".html"))]
    return [name for name in ("emails.csv", "emails.json") if name in tree] + inside


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    table = _table(tree) or tree.names[0]
    rows = list(stored_rows(tree.read(table), name=table)) if table.endswith(".csv") else _of_json(tree.read(table))
    if not rows:
        raise UnreadableError("it holds no emails")
    for number, row in enumerate(rows, 1):
        slug = line(row.get("slug")) or line(row.get("id")) or str(number)
        name = next((f"emails/{slug}{suffix}" for suffix in (".md", ".html") if f"emails/{slug}{suffix}" in tree), slug)
        body = row.get("body")
        if not isinstance(body, str) and name not in tree:
            yield Broken(name=name, reason="the table names it, and it is missing; unpack the whole export")
            continue
        try:
            content = body if isinstance(body, str) else decode(tree.read(name))
        except UnreadableError as error:
            yield Broken(name=name, reason=str(error))
            continue
        is_html = content.lstrip().startswith("<") and not content.lstrip().startswith("<!-- buttondown-editor-mode: plaintext")
        text = _VARIABLE.sub("", content)
        yield Text(name=name, content=text, kind="fragment" if is_html else "markdown", facts=_facts(row))


def _of_json(data: bytes) -> list[Mapping[str, Any]]:
    value = json_value(data)
    return mappings(value.get("results", value.get("emails")) if isinstance(value, Mapping) else value)


def _facts(row: Mapping[str, Any]) -> Facts:
    status = _STATUS.get(str(row.get("status") or "sent").strip().lower(), "draft")
    kind = str(row.get("email_type") or row.get("archival_mode") or "").strip().lower()
    if status == "published":
        status = _PRIVATE.get(kind, status)
    return Facts(
        title=line(row.get("subject")),
        url=line(row.get("canonical_url")) or line(row.get("absolute_url")),
        date=day(row.get("publish_date"), row.get("creation_date")),
        status=status,
    )


CONTAINER = Container(
    name="buttondown",
    title="a Buttondown export",
    taken="emails that were sent, with subject, date and address",
    left_out="drafts, scheduled, private and premium emails; variables of the template",
    file=_is_export,
    suffixes=frozenset([".json"]),
    folder=_claimed,
    entries=_entries,
)
