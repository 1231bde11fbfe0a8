"""An adapter on disk that is served: found once, with the hashes of its files, and read only while these are still true."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.core.files import sha256_file
from tunesmith.models.continuous.adapters import Update, updates_of
from tunesmith.models.foreign_adapters import CONFIG, WEIGHTS, checked_adapter
from tunesmith.models.tuned import refuse_scorer, tuned_fingerprint

__all__ = ["AdapterFiles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFiles:
    """`key`: the hash of both files. `base`: fingerprint of the base that it was trained on; empty if its run is not known."""

    folder: Path
    key: str
    weights_sha256: str
    config_sha256: str
    base: str = ""

    @classmethod
    def of(cls, folder: Path, *, base: str = "") -> AdapterFiles:
        """The adapter in a folder, checked without opening its tensors for use. ModelError for what cannot be served."""
        refuse_scorer(folder)
        with checked_adapter(folder) as usable:
            if usable != folder:
                raise ModelError(
                    "an adapter in MLX's form cannot be served by the embedded engine",
                    value=str(folder),
                    expected="an adapter as peft writes it",
                    hint="merge it and serve the merged model: tunesmith merge --adapter",
                )
            return cls(
                folder=folder,
                key=tuned_fingerprint(folder),
                weights_sha256=sha256_file(folder / WEIGHTS),
                config_sha256=sha256_file(folder / CONFIG),
                base=base,
            )

    def check_base(self, fingerprint: str) -> None:
        """ModelError if it was trained on other weights than those of the base with this fingerprint."""
        if self.base and self.base != fingerprint:
            raise ModelError(
                "the adapter was trained on another base",
                value=f"{self.folder}: base {self.base[:12]}",
                expected=f"the base with fingerprint {fingerprint[:12]}",
                hint="serve it on the base of its run",
            )

    def check(self, fingerprint: str) -> None:
        """ModelError if a file is gone or has changed since `of`, or if it belongs to another base."""
        self.check_base(fingerprint)
        self._bytes(CONFIG, self.config_sha256)
        self._bytes(WEIGHTS, self.weights_sha256)

    def read(self, fingerprint: str) -> dict[str, Update]:
        """Its updates for the base with this fingerprint. The bytes are hashed before a tensor is made of them.

        ModelError if a file is gone or has changed since `of`, or belongs to another base.
        """
        from safetensors.torch import load

        self.check_base(fingerprint)
        config = self._bytes(CONFIG, self.config_sha256)
        weights = self._bytes(WEIGHTS, self.weights_sha256)
        settings: dict[str, Any] = json.loads(config)
        return updates_of(load(weights), settings)

    def _bytes(self, name: str, sha256: str) -> bytes:
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise ModelError(
                "the adapter is gone from the disk",
                value=str(self.folder / name),
                expected=f"the file that was there when the server started ({error.strerror or error})",
                hint="copy it back, or start the server again without it",
            ) from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ModelError(
                "the adapter has changed on the disk since it was checked",
                value=str(self.folder / name),
                expected=f"the bytes with SHA-256 {sha256[:12]}…",
                hint="start the server again to serve the new one as a version of its own",
            )
        return content
