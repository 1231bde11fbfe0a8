"""`release`: a finished model in one folder that proves itself, and checking such a folder anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.artifacts import Store

if TYPE_CHECKING:
    from tunesmith.ship.release.verify import Checked

__all__ = ["ReleaseCheck", "ReleaseResult", "release", "verify_release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseResult:
    """A release: its folder, id and verdict (None: never evaluated), the number of its files, and whether it was signed."""

    path: Path
    id: str
    verdict: str | None
    files: int
    signed: bool

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith release --json` prints."""
        return {**asdict(self), "path": str(self.path)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCheck:
    """What checking a release found. `faults` names all that is wrong; `notes` says what could not be checked.

    `recomputed`: the verdict was computed again from evidence in the release. `signed`: whether the signature is by the key
    that was given; None if there is one and no key was given.
    """

    ok: bool
    id: str
    verdict: str
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    recomputed: bool
    signed: bool | None

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith release verify DIR --json` prints."""
        return asdict(self)


def release(
    run: str = "run:latest",
    *,
    forms: Sequence[str] = (),
    name: str = "",
    allow_unproven: bool = False,
    with_writing: bool = False,
    sign: str | Path | None = None,
    project: str | Path = ".",
) -> ReleaseResult:
    """Put the model files, card, recipe, verdict and bill of materials of a run into one immutable folder.

    `forms`: `adapter`, `merged` and exports by the names of their folders (`gguf-q8_0`); all that there are by default.
    `with_writing`: also the rows that were learned from, and the evidence. `sign`: a private key (elliptic curve, PEM).

    Raises:
        ArtifactError: no such run or form, a damaged artifact, or a key that cannot sign.
        BlockedError: no verdict SHIP on what is released, and `allow_unproven` is off.
        StorageError: the disk is full, or cannot be written. Nothing is left behind.
    """
    from tunesmith.ship.release.make import make_release
    from tunesmith.ship.release.signature import check_key
    from tunesmith.ship.release.signature import sign as put_signature

    if sign is not None:
        check_key(Path(sign))
    store = Store(Path(project) / ".tunesmith")
    made = make_release(store, run, forms=forms, name=name, allow_unproven=allow_unproven, with_writing=with_writing)
    if sign is not None:
        put_signature(made.path, Path(sign))
    numbers = made.numbers
    return ReleaseResult(
        path=made.path, id=made.id, verdict=numbers["verdict"], files=int(numbers["files"]), signed=sign is not None
    )


def verify_release(folder: str | Path, *, key: str | Path | None = None) -> ReleaseCheck:
    """Check a release from its folder alone, offline. `key`: the public key (PEM) that must have signed it.

    Raises:
        ArtifactError: the folder holds no release, or the key cannot be read.
    """
    from tunesmith.pipeline.releasing import verify_release as check

    found: Checked = check(Path(folder), key=None if key is None else Path(key))
    return ReleaseCheck(
        ok=found.ok,
        id=found.id,
        verdict=found.verdict,
        faults=found.faults,
        notes=found.notes,
        recomputed=found.recomputed,
        signed=found.signed,
    )
