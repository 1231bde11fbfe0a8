"""Making a release: an immutable artifact whose id is the hash of everything in it. Nothing half-written is ever left."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Artifact, Draft, Store
from tunesmith.core.errors import ArtifactError, BlockedError
from tunesmith.core.files import sha256_file
from tunesmith.eval.files import read_verdict
from tunesmith.ship.card.collect import Lineage, lineage
from tunesmith.ship.card.sections.forms import ADAPTER, MERGED, folder_of_form
from tunesmith.ship.release.contents import Entry, contents, contents_digest

__all__ = ["KIND", "make_release"]

KIND = "release"
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EACCES}


def make_release(
    store: Store,
    run: str,
    *,
    forms: Sequence[str] = (),
    name: str = "",
    allow_unproven: bool = False,
    with_writing: bool = False,
) -> Artifact:
    """The release of a run in these forms (all that there are by default), found or made.

    Raises:
        ArtifactError: no such run, a damaged artifact, or a form that is not there.
        BlockedError: what is released was not found to help, and `allow_unproven` is off.
        StorageError: the disk is full, or cannot be written.
    """
    found = lineage(store, run)
    chosen = _chosen(found, forms)
    if not allow_unproven:
        _refuse_unproven(found, chosen)
    entries = contents(found, chosen, name=name, with_writing=with_writing)
    settings = {
        "name": name,
        "forms": chosen,
        "unproven": allow_unproven,
        "writing": with_writing,
        "contents": contents_digest({entry.path: entry.sha256 for entry in entries}),
    }

    def fill(draft: Draft) -> None:
        for entry in entries:
            _place(entry, draft.path / entry.path)
        draft.numbers |= _numbers(found, entries)

    return store.obtain(KIND, _inputs(found, chosen), settings, fill)


def _chosen(found: Lineage, forms: Sequence[str]) -> list[str]:
    """The names of the forms, as given or as their folders are called. ArtifactError for one that there is not."""
    there = [ADAPTER, *([MERGED] if found.model is not None else []), *sorted(found.exports)]
    by_name = {**{folder_of_form(form): form for form in there}, **{form: form for form in there}}
    if wrong := [form for form in forms if form not in by_name]:
        raise ArtifactError(
            "this run has no such form",
            value=wrong[0],
            expected=f"one of: {', '.join(folder_of_form(form) for form in there)}",
            hint="tunesmith export --to gguf --quant q8_0   makes another",
        )
    return list(dict.fromkeys(by_name[form] for form in forms)) or there


def _refuse_unproven(found: Lineage, forms: Sequence[str]) -> None:
    """BlockedError for a model that no verdict calls SHIP, and for every export that none does."""
    blocked = []
    verdict = None if found.evaluation is None else read_verdict(found.evaluation.path / "verdict.json").verdict
    if verdict != "SHIP":
        blocked.append(_unproven("this model", verdict or "never evaluated", "tunesmith eval" if verdict is None else ""))
    for form in forms:
        if form in found.exports and (held := found.exports[form].numbers.get("verdict")) != "SHIP":
            blocked.append(_unproven(f"the form {folder_of_form(form)}", held or "never asked the evaluation's questions", ""))
    if blocked:
        raise BlockedError.joined(blocked)


def _unproven(what: str, verdict: str, first: str) -> BlockedError:
    hint = "--allow-unproven releases it all the same, and the card says so at its top"
    return BlockedError(
        f"nothing shows that {what} is better than its base",
        name="unproven",
        value=verdict,
        expected="the verdict SHIP",
        hint=f"{first}   or   {hint}" if first else hint,
    )


def _inputs(found: Lineage, forms: Sequence[str]) -> list[dict[str, str]]:
    used = [found.run, found.documents, found.dataset, found.use, found.model, found.evaluation]
    used += [found.exports[form] for form in forms if form in found.exports]
    return [one.reference() for one in used if one is not None]


def _place(entry: Entry, target: Path) -> None:
    """Write what was made here; link what an artifact holds, or copy it where links cannot be made. Both are immutable.

    ArtifactError if the file is not the one that its artifact's manifest names.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.source is None:
        target.write_bytes(entry.content)
        return
    try:
        os.link(entry.source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(entry.source, target)
    if sha256_file(target) != entry.sha256:
        raise ArtifactError(
            "a file changed while the release was made",
            value=str(entry.source),
            expected=f"the bytes with the hash {entry.sha256[:16]}…, as its artifact was written",
            hint="delete the artifact's folder, run the command that made it again, and release again",
        )


def _numbers(found: Lineage, entries: Sequence[Entry]) -> dict[str, Any]:
    verdict = found.evaluation.numbers.get("verdict") if found.evaluation is not None else None
    return {"verdict": verdict, "files": len(entries), "evaluation": found.evaluation.id if found.evaluation else None}
