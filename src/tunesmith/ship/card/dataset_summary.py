"""What a card says of a dataset: counts by licence, author, year and origin, made from its rows; never a row itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from tunesmith.core.artifacts import Artifact

__all__ = ["dataset_numbers", "dataset_summary"]

_COUNTS = (
    *(
        "train",
        "val",
        "test",
        "examples",
        "documents",
        "train_rows",
        "train_tokens",
        "learned_tokens",
        "longest",
        "answer_tokens",
    ),
    *("with_end", "dropped", "leaks", "copies_dropped", "removed_copies", "removed_by_kind", "near_copy_documents"),
    *("not_looked_for", "golden", "redacted"),
)
_HUB = ("hf:", "https://huggingface.co/datasets/")
_SPLITS = ("train", "val", "test")


def dataset_numbers(dataset: Artifact) -> dict[str, Any]:
    """The counts among the numbers of a dataset; names of files and samples of text are left out."""
    numbers = dataset.numbers
    kept = {key: numbers[key] for key in _COUNTS if key in numbers}
    if numbers.get("cut"):
        kept["cut"] = {key: value for key, value in numbers["cut"].items() if key in {"num_cut", "share"}}
    kept["findings"] = [{key: one.get(key) for key in ("name", "severity", "count")} for one in numbers.get("findings", ())]
    return kept


def dataset_summary(dataset: Artifact) -> dict[str, Any]:
    """Sources, authors, years, languages, licences, sizes and origins of the rows.

    Years and authors count documents where the dataset was made from documents, else rows.
    """
    report = orjson.loads((dataset.path / "report.json").read_bytes())
    rows = [row for split in _SPLITS for row in _rows(dataset, split)]
    documents = report.get("documents") or {}
    quality = (report.get("quality") or {}).get("summary") or {}
    return {
        "documents_read": report.get("documents_read"),
        "splits": report.get("splits"),
        "sources": _sources(rows),
        "authors": _authors(documents, rows),
        "years": documents.get("years") or _years(rows),
        "languages": quality.get("languages"),
        "licences": dict(Counter(str(row.get("license") or "not named") for row in rows)),
        "left_out": [note for note in report.get("notes", ()) if str(note).endswith("left out")],
        "unreadable": len(report.get("failures", ())),
        "origins": report.get("origins"),
        "answers": len(rows),
        "synthetic_answers": sum(_generated(row) for row in rows),
    }


def _rows(dataset: Artifact, split: str) -> Iterator[dict[str, Any]]:
    path = dataset.path / f"{split}.jsonl"
    for line in path.read_bytes().split(b"\n") if path.is_file() else ():
        if line.strip():
            yield orjson.loads(line)


def _generated(row: Mapping[str, Any]) -> bool:
    """Whether a model wrote the answer."""
    origin = row.get("origin") or {}
    return bool(origin) and origin.get("generated") != "prompt"


def _sources(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the rows come from: web sites by name, data sets of the hub by id, and how many files; no names of files."""
    hosts: Counter[str] = Counter()
    hub: Counter[str] = Counter()
    files = set()
    own = 0
    for row in rows:
        source = str(row.get("source") or "")
        address = urlsplit(source)
        if _generated(row) and row["origin"].get("kind") == "own_answers":
            own += 1
        elif source.startswith(_HUB):
            hub[_hub_id(source)] += 1
        elif address.scheme in {"http", "https"} and address.hostname:
            hosts[address.hostname] += 1
        else:
            files.add(source)
    return {"sites": dict(hosts.most_common()), "hub": dict(hub.most_common()), "files": len(files), "own_answers": own}


def _hub_id(source: str) -> str:
    """`owner/name` of `hf:owner/name/config:split` or of the address of a data set's page."""
    path = next(source.removeprefix(start) for start in _HUB if source.startswith(start))
    return "/".join(re.split(r"[/:?#@]", path)[:2])


def _authors(documents: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Authors by share, the unnamed as an empty name."""
    if documents.get("authors"):
        return [{key: one.get(key) for key in ("name", "documents", "share")} for one in documents["authors"]]
    of_document = {
        str(row.get("group") or row.get("id")): str((row.get("meta") or {}).get("author") or "")
        for row in rows
        if not _generated(row)
    }
    counts = Counter(of_document.values())
    total = sum(counts.values())
    return [
        {"name": name, "documents": n, "share": n / total} for name, n in sorted(counts.items(), key=lambda kv: (-kv[1], kv[0]))
    ]


def _years(rows: list[dict[str, Any]]) -> dict[str, int]:
    dates = {str(row.get("group") or row.get("id")): str((row.get("meta") or {}).get("date") or "")[:4] for row in rows}
    return dict(sorted(Counter(year for year in dates.values() if year.isdigit()).items()))
