"""Data sets of a Hugging Face hub: which files of one belong to a split, fetched into the hub's own cache."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tunesmith.core.errors import SourceError

__all__ = ["HubFile", "fetch_from_hub", "is_hub"]

_NAME = re.compile(
    r"(?:hf:|https://huggingface\.co/datasets/)"
    r"(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<config>[\w.-]+))?(?::(?P<split>[\w.-]+))?/?$"
)
_DATA = re.compile(r"\.(?:parquet|jsonl|ndjson|json|csv|tsv)(?:\.gz)?$", re.IGNORECASE)
_NO_DATA = frozenset(["dataset_infos.json", "dataset_info.json", "state.json", "package.json", "config.json"])
_CONVERTED = "refs/convert/parquet"  # the hub keeps every data set that it can read as Parquet there
_HTTP = frozenset(["httpx", "httpx2", "httpcore", "httpcore2", "requests"])  # whichever the hub's library asks with
_MAX_BYTES = 10 * 1024**3


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a data set on this disk; `name` begins with the data set's; the licence is what its card says."""

    name: str
    path: Path
    license: str | None


def is_hub(source: str) -> bool:
    """Whether a source is `hf:OWNER/NAME`, or the address of a data set's page."""
    return source.startswith(("hf:", "https://huggingface.co/datasets/"))


def fetch_from_hub(source: str) -> list[HubFile]:
    """The files of `hf:OWNER/NAME[/CONFIG][:SPLIT]` in the order of their names; the split is `train` where there is one.

    The revision is resolved once, so that all files are of the same state. Files are kept in the hub's cache and fetched once.
    SourceError if the data set is unknown, closed, larger than 10 GB, or has no file of rows; `HF_ENDPOINT` names another hub.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    found = _NAME.match(source)
    if found is None:
        raise _error(source, "not the name of a data set", "hf:OWNER/NAME, hf:OWNER/NAME:SPLIT or hf:OWNER/NAME/CONFIG:SPLIT")
    repo = found["repo"]
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        info = api.dataset_info(repo, files_metadata=True)
        chosen = _chosen(_sizes(info), config=found["config"], split=found["split"])
        if not chosen:
            info = api.dataset_info(repo, revision=_CONVERTED, files_metadata=True)
            chosen = _chosen(_sizes(info), config=found["config"], split=found["split"])
        if not chosen:
            raise _error(source, "no file of rows in this data set", "Parquet, JSON lines or CSV files of that split")
        if sum(chosen.values()) > _MAX_BYTES:
            raise _error(source, "the data set is larger than 10 GB", "a smaller one, or one split or part of it")
        files = []
        for name in sorted(chosen):
            path = api.hf_hub_download(repo, name, repo_type="dataset", revision=info.sha)
            files.append(HubFile(f"{repo}/{name}", Path(path), _licence(info)))
    except SourceError:
        raise
    except Exception as error:
        known = isinstance(error, HfHubHTTPError | HFValidationError | LocalEntryNotFoundError | OSError)
        if not known and type(error).__module__.partition(".")[0] not in _HTTP:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise _error(source, "cannot get the data set from the hub", f"one that exists, and a connection ({reason})") from error
    return files


def _sizes(info: Any) -> dict[str, int]:
    return {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}


def _chosen(sizes: dict[str, int], *, config: str | None, split: str | None) -> dict[str, int]:
    """Files of rows in the folder or of the name of `config`, and of the split: named, else `train`, else all."""
    names = [name for name in sizes if _DATA.search(name) and PurePosixPath(name).name not in _NO_DATA]
    if config is not None:
        names = [name for name in names if config in _words(name, split_dashes=False)]
    if split is None and any("train" in _words(name) for name in names):
        split = "train"
    if split is not None:
        names = [name for name in names if split in _words(name) or split in _words(name, split_dashes=False)]
    # The same rows lie in some data sets in several formats: one is enough, the most exact.
    for suffix in (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv"):
        of_kind = [name for name in names if name.lower().removesuffix(".gz").endswith(suffix)]
        if of_kind:
            return {name: sizes[name] for name in of_kind}
    return {}


def _words(name: str, *, split_dashes: bool = True) -> Sequence[str]:
    """The parts of a path that may name a config or split: `data/train-00000-of-00001.parquet` has `data` and `train`."""
    stem = _DATA.sub("", name)
    return re.split(r"[/\-_.]" if split_dashes else r"/", stem)


def _licence(info: Any) -> str | None:
    card = info.card_data
    value = card.get("license") if card is not None else None
    text = ", ".join(map(str, value)) if isinstance(value, list) else value
    return text if isinstance(text, str) and text.strip() else None


def _error(source: str, what: str, expected: str) -> SourceError:
    return SourceError(
        what, value=source, expected=expected, hint="check the data set on its hub, or save its files and name their folder"
    )
