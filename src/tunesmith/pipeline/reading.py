"""What the stage `documents` does: sources in; documents, ready rows and failures out. It needs no model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import SourceError, StorageError
from tunesmith.core.files import collect_temporary, new_temporary, storage_errors
from tunesmith.core.records import canonical_json, digest
from tunesmith.core.reporter import Reporter
from tunesmith.data.ingest.cache import Cache
from tunesmith.data.ingest.decisions import read_document_decisions
from tunesmith.data.ingest.extract import write_extracted
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.item import Gathered
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.web import Limits, Web
from tunesmith.pipeline.recipe import Recipe

__all__ = ["Documents", "policy_of", "read_sources"]

_MANY = 200  # files from which several processes are worth the third of a second that they need to start
_MAX_WORKERS = 8
_REMOTE = ("http://", "https://", "hf:")


@dataclass(frozen=True, slots=True)
class Documents:
    """The artifact, and how much of it was fetched, unchanged on its server, or kept and not asked for."""

    artifact: Artifact
    traffic: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith ingest --json` prints: how many documents, what could not be used and why, the folder."""
        numbers = self.artifact.numbers
        return {"documents": numbers["documents"], "failed": numbers["failures"], "artifact": str(self.artifact.path)}


def read_sources(
    recipe: Recipe, store: Store, *, reporter: Reporter, allow_private: bool = False, offline: bool = False
) -> Documents:
    """The documents of all sources: found in the store if the sources hold what they held before, else made.

    Sources with a failure that may be gone another time (a library that is missing, a reader that was stopped), or with a text
    dated in the future, are read again each time; what comes out the same is the same artifact. What is fetched is kept in the
    store's folder `fetched`, so that nothing is fetched twice. SourceError for an address or a hub data set where `offline`
    forbids fetching.
    """
    if offline and (remote := next((s for s in recipe.sources if s.startswith(_REMOTE)), None)):
        raise SourceError(
            "an address cannot be read offline",
            value=remote,
            expected="files and folders of this machine",
            hint="leave --offline out, or save what the address gives and name the file",
        )
    limits = Limits(delay_s=recipe.fetch.delay_s, max_pages=recipe.fetch.max_pages)
    policy = policy_of(recipe, store.root.parent)
    web = Web(cache=Cache(store.root / "fetched"), allow_private=allow_private, limits=limits)
    gathered = gather(recipe.sources, policy=policy, web=web, reporter=reporter)
    parts = [part for item in gathered.items for part in (item.name, item.sha256, *sorted(item.without))]
    known = [(item.name, dict(item.about), item.url, item.charset) for item in gathered.items]
    told = canonical_json([facts for facts in known if any(facts[1:])])
    mark = digest(*parts, told, canonical_json([asdict(f) for f in gathered.failures]), canonical_json(dict(gathered.notes)))
    # The settings do not say where the sources lie: a folder that was moved is the same source.
    inputs, settings = (
        [{"kind": "sources", "id": mark}],
        {"policy": {name: value for name, value in asdict(policy).items() if name != "today"}},
    )
    id = store.identify("documents", inputs, settings)
    if (found := store.find("documents", id)) is None:
        with _extracted(gathered, store.directory("documents", id), reporter=reporter) as (folder, numbers):
            if numbers["passing"] or numbers["scheduled"]:  # another artifact, so that this one is not found another day
                seen = canonical_json([numbers["failures"], policy.today if numbers["scheduled"] else ""])
                inputs = [{"kind": "sources", "id": digest(mark, seen)}]
                id = store.identify("documents", inputs, settings)
            with store.create("documents", inputs=inputs, settings=settings) as draft:
                for file in sorted(folder.iterdir()):
                    file.replace(draft.path / file.name)
                draft.numbers |= numbers
        found = store.find("documents", id)
    if found is None:
        raise StorageError(
            "the documents just written do not read back",
            value=str(store.directory("documents", id)),
            expected="a healthy disk",
            hint="check the disk, then type the same command again",
        )
    return Documents(store.mark_latest(found), gathered.traffic)


def policy_of(recipe: Recipe, project: Path) -> Policy:
    """Whose words a recipe takes, and which; with what was decided about single documents of the project."""
    return Policy(
        me=(recipe.me,) if recipe.me else (),
        authors=tuple(recipe.authors),
        publication=tuple(recipe.ingest.publication),
        include=tuple(recipe.ingest.include),
        exclude=tuple(recipe.ingest.exclude),
        extras=tuple(recipe.ingest.extras),
        decided=read_document_decisions(project),
        today=datetime.now(UTC).date().isoformat(),
    )


@contextmanager
def _extracted(gathered: Gathered, final: Path, *, reporter: Reporter) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A temporary folder with the documents, and their numbers; what is not moved away goes with it."""
    workers = min(os.cpu_count() or 1, _MAX_WORKERS) if len(gathered.items) >= _MANY else 1
    with storage_errors(f"writing the documents {final.name[:8]}", final):
        collect_temporary(final.parent)
        folder = new_temporary(final)
        try:
            yield folder, write_extracted(gathered, folder, reporter=reporter, workers=workers)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
