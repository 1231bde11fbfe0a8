"""Where a push goes: the repository's name, the hub's address, and the token, each checked before anything is sent."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from tunesmith.core.errors import HubError
from tunesmith.models.bases import is_offline

__all__ = ["checked_repository", "hub_address", "hub_token", "is_hub_id", "refuse_offline"]

_LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|::1")
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_DEFAULT = "https://huggingface.co"


def checked_repository(name: str) -> str:
    """`OWNER/NAME` as it was given. HubError for any other form: a path, an address, one name alone, or `..`."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, and in no __all__

    parts = name.split("/")
    try:
        validate_repo_id(name)
        for part in parts:  # the library takes a name such as `owner/.git` for one whole
            validate_repo_id(part)
        if len(parts) != 2:
            raise HFValidationError("it needs an owner and a name")
    except HFValidationError as error:
        raise HubError(
            "not the name of a repository",
            value=name,
            expected=f"OWNER/NAME of letters, digits, '-', '_' and '.' ({str(error).splitlines()[0][:120]})",
            hint="tunesmith push run:latest your-name/your-model --dry-run",
        ) from error
    return name


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a repository on the hub, and not that of a path."""
    return _HUB_ID.fullmatch(name) is not None


def hub_address() -> str:
    """The address of the hub: HF_ENDPOINT, else huggingface.co. HubError unless it is https, or http on this machine.

    Anything else would send the token and the files in clear text.
    """
    address = (os.environ.get("HF_ENDPOINT") or _DEFAULT).rstrip("/")
    parts = urlsplit(address)
    local = parts.scheme == "http" and _LOOPBACK.fullmatch(parts.hostname or "")
    if not parts.hostname or parts.username or parts.password or (parts.scheme != "https" and not local):
        raise HubError(
            "HF_ENDPOINT is not an address that files may be sent to",
            value=f"{parts.scheme}://{parts.hostname or ''}",
            expected="https://HOST without a user name (http only on this machine)",
            hint="unset HF_ENDPOINT to use huggingface.co",
        )
    return address


def hub_token() -> str:
    """The token of HF_TOKEN, else the one that `hf auth login` stored. HubError if there is none."""
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        raise HubError(
            "no token for the hub",
            value="HF_TOKEN is not set, and no login is stored",
            expected="an access token that may write",
            hint="hf auth login   (or set HF_TOKEN)",
        )
    return token


def refuse_offline() -> None:
    """HubError if TUNESMITH_OFFLINE, or the setting of the hub's library, forbids the network."""
    from huggingface_hub import is_offline_mode

    name = "TUNESMITH_OFFLINE" if is_offline() else "HF_HUB_OFFLINE" if is_offline_mode() else ""
    if name:
        raise HubError(
            f"{name} forbids sending anything",
            value=os.environ.get(name, ""),
            expected="a push with the network allowed, or --dry-run",
            hint=f"unset {name}",
        )
