"""Signatures of releases in the form of OpenSSF Model Signing: an elliptic-curve key in a file, nothing on the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunesmith.core.errors import ArtifactError
from tunesmith.core.files import replace_file, storage_errors

__all__ = ["SIGNATURE", "check_key", "sign", "signature_fault"]

SIGNATURE = "release.sig"
_EXTRA = "pip install 'tunesmith[sign]'"


def check_key(key: Path) -> None:
    """Read a private key before anything is made for it. ArtifactError if it cannot sign, or the library is missing."""
    _signer(key)


def sign(release: Path, key: Path) -> None:
    """Sign every file of a release, its manifest included, and put the signature next to them.

    Raises:
        ArtifactError: the key cannot sign.
        StorageError: the signature cannot be written.
    """
    import tempfile

    from model_signing import hashing

    every_file: Any = hashing.Config()  # type: ignore[no-untyped-call]
    config = _signer(key).set_hashing_config(every_file.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False))
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / SIGNATURE
        config.sign(release, made)
        content = made.read_bytes()
    with storage_errors("writing the signature", release / SIGNATURE, safe="the release itself is whole"):
        replace_file(release / SIGNATURE, content)


def signature_fault(release: Path, key: Path) -> str:
    """Why the signature of a release is not one by this public key over these files; empty if it is.

    ArtifactError if the key cannot be read or the library is missing.
    """
    verifying = _library("verifying")
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (OSError, ValueError, TypeError) as error:
        raise _bad_key(key, "a public key on an elliptic curve (P-256, P-384, P-521), as PEM", error) from error
    if not (release / SIGNATURE).is_file():
        return f"{SIGNATURE} is missing: this release is not signed"
    try:
        config.verify(release, release / SIGNATURE)
    except Exception as error:  # noqa: BLE001 (whatever the library raises over bytes from elsewhere: not a valid signature)
        return f"{SIGNATURE} is not a signature of this release by the key {key.name}: {_first_line(error)}"
    return ""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _signer(key: Path) -> Any:
    signing = _library("signing")
    try:
        return signing.Config().use_elliptic_key_signer(private_key=key)
    except (OSError, ValueError, TypeError) as error:
        expected = "an unencrypted private key on an elliptic curve (P-256, P-384, P-521), as PEM"
        raise _bad_key(key, expected, error) from error


def _bad_key(key: Path, expected: str, error: Exception) -> ArtifactError:
    return ArtifactError(
        "this key cannot be used",
        value=str(key),
        expected=f"{expected} ({_first_line(error)})",
        hint="openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem && openssl ec -in KEY.pem -pubout -out KEY.pub",
    )


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"model_signing.{name}")
    except ImportError as error:
        raise ArtifactError(
            "signatures need a library that is not installed", value="model-signing", expected="the extra `sign`", hint=_EXTRA
        ) from error
