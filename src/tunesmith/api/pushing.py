"""`push`: publish an adapter, a model, GGUF files, a dataset or a release on a Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tunesmith.core.reporter import Reporter
from tunesmith.ship.hub.prepare import prepare
from tunesmith.ship.hub.records import LeftOut, Pushed, PushFile, PushFinding, PushList
from tunesmith.ship.hub.send import send

__all__ = ["LeftOut", "PushFile", "PushFinding", "PushList", "Pushed", "push"]


def push(  # noqa: PLR0913 (what a person may choose about a push)
    reference: str | Path,
    repository: str,
    *,
    project: str | Path = ".",
    dry_run: bool = False,
    public: bool = False,
    base: str = "",
    with_data: bool = False,
    allow: Sequence[str] = (),
    confirm: Callable[[PushList], bool] | None = None,
    reporter: Reporter | None = None,
) -> Pushed:
    """Publish `reference` (`run:latest`, an id, a folder or a file) as `repository` (`OWNER/NAME`), private unless `public`.

    Everything is validated, searched for secrets and personal data, and hashed before the network is used. All files are sent
    in one commit, and their hashes are read back. Sending continues where an earlier, interrupted call stopped. The token is
    that of HF_TOKEN or of `hf auth login`; HF_ENDPOINT names another hub.

    Args:
        project: folder whose artifacts `reference` may name.
        dry_run: make the list, and stop.
        base: the base that an adapter's configuration is to name, in the copy that is sent.
        with_data: send rows of data that are in a model's folder too.
        allow: names of findings that do not stop the push (`secrets`, `emails` …).
        confirm: shown the list before anything is sent; the push ends as a dry run if it answers False.

    Raises:
        ArtifactError: nothing there, damaged, or of no kind that is published.
        BlockedError: secrets or personal data, or a file that cannot be searched.
        DatasetError, ModelError: a part that others could not open.
        HubError: a wrong name, no token, no right, another visibility than asked for, no room, a broken connection, or a hub
            that holds other bytes than were sent.
    """
    listed = prepare(
        str(reference),
        repository,
        project=Path(project),
        public=public,
        base=base,
        with_data=with_data,
        allow=allow,
        reporter=reporter,
    )
    if (confirm is not None and not confirm(listed)) or dry_run:
        return Pushed(listed=listed)
    return send(listed, reporter=reporter)
