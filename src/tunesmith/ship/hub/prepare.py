"""From a reference to the list of what leaves: chosen, validated, searched and hashed. Touches no network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from tunesmith.core.errors import ArtifactError, BlockedError, HubError, ModelError
from tunesmith.core.files import sha256_file
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.ship.hub.address import checked_repository
from tunesmith.ship.hub.card import base_models, card_metadata
from tunesmith.ship.hub.choose import Chosen, choose
from tunesmith.ship.hub.records import Kind, PushFile, PushFinding, PushList
from tunesmith.ship.hub.search import FINDINGS, search
from tunesmith.ship.hub.validate import base_of_adapter, validate, validate_base

__all__ = ["prepare"]

_CONFIG, _BASE = "adapter_config.json", "base_model_name_or_path"


def prepare(
    reference: str,
    repository: str,
    *,
    project: Path,
    public: bool = False,
    base: str = "",
    with_data: bool = False,
    allow: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> PushList:
    """The list of what a push of `reference` would send to `repository`.

    `base`: what an adapter's configuration is to name as its base, in the copy that is sent. `with_data`: a model's push takes
    rows of data along. `allow`: names of findings that do not stop the push.

    Raises:
        ArtifactError: nothing there, damaged, or of no kind that is published.
        BlockedError: the search found what must not leave.
        DatasetError, ModelError: a part that others could not open.
        HubError: not the name of a repository, or of a finding.
    """
    checked_repository(repository)
    _known(allow)
    with _readable(reference):
        chosen = choose(reference, project=project, with_data=with_data)
        if base and chosen.kind is not Kind.ADAPTER:
            raise ModelError(
                "only an adapter names its base",
                value=f"--base {base}",
                expected=f"a push with an adapter, not {chosen.origin}",
                hint="leave --base out",
            )
        validate(chosen.files, chosen.kind)
        files = _hashed(chosen, base, reporter or SilentReporter())
        findings = search(files, public=public)
        _stop_at([finding for finding in findings if finding.blocks and finding.name not in allow])
        return PushList(
            repository=repository,
            kind=chosen.kind,
            origin=chosen.origin,
            public=public,
            files=tuple(files),
            left_out=chosen.left_out,
            findings=findings,
            allowed=tuple(finding.name for finding in findings if finding.blocks),
            warnings=tuple(_warnings(chosen, files, base)),
        )


@contextmanager
def _readable(reference: str) -> Iterator[None]:
    """ArtifactError that names a file which cannot be read."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            "a file cannot be read",
            value=str(error.filename or reference),
            expected=f"a file that you may read ({error.strerror or error})",
            hint="change its permissions, or move it out of the folder",
        ) from error


def _known(allow: Sequence[str]) -> None:
    for name in allow:
        if name not in FINDINGS:
            raise HubError(
                "no finding has this name",
                value=name,
                expected=f"one of {', '.join(FINDINGS)}",
                hint="the blocked push names what to allow",
            )


def _hashed(chosen: Chosen, base: str, reporter: Reporter) -> list[PushFile]:
    files = []
    with reporter.progress("hash", total=len(chosen.files), unit="files") as progress:
        for name, path in sorted(chosen.files.items()):
            content = _with_base(path, base, chosen.settings) if PurePosixPath(name).name == _CONFIG else None
            if content is None:
                files.append(PushFile(path=name, size=path.stat().st_size, sha256=sha256_file(path), source=path))
            else:
                sha256 = hashlib.sha256(content).hexdigest()
                changed = f"{_BASE} is {base}"
                files.append(
                    PushFile(path=name, size=len(content), sha256=sha256, source=path, content=content, changed=changed)
                )
            progress.advance(text=name)
    return files


def _with_base(path: Path, base: str, settings: Mapping[str, Any]) -> bytes | None:
    """The configuration of an adapter that names `base`; None where it names it already, or none is asked for."""
    config = orjson.loads(path.read_bytes())
    validate_base(base or base_of_adapter(config), trained_on=str(settings.get("base", "")))
    if not base or config.get(_BASE) == base:
        return None
    return orjson.dumps({**config, _BASE: base}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _stop_at(findings: Sequence[PushFinding]) -> None:
    if findings:
        raise BlockedError.joined(
            [
                BlockedError(
                    f"the push holds {finding.text}",
                    name=finding.name,
                    value=f"{finding.count} in {', '.join(finding.places)}",
                    expected="nothing that must not leave",
                    hint=f"remove it from the file, or send it all the same with --allow {finding.name}",
                )
                for finding in findings
            ]
        )


def _warnings(chosen: Chosen, files: Sequence[PushFile], base: str) -> list[str]:
    said = []
    if base and chosen.kind is Kind.ADAPTER:
        said.append(f"it was not checked that {base} holds the weights that the adapter was trained on")
    if "README.md" not in chosen.files:
        said.append("no README.md: the repository will have no card, and so name no licence")
    elif chosen.kind is Kind.ADAPTER:
        config = next(file for file in files if file.path == _CONFIG)
        with config.open() as opened:
            named = base_of_adapter(orjson.loads(opened.read()))
        bases = base_models(card_metadata("README.md", chosen.files["README.md"].read_text(encoding="utf-8-sig")))
        if named not in bases:
            said.append(f"the card names {', '.join(bases)} as its base, and the adapter {named}")
    return said
