"""The keys of clients, and what each may do.

| role | may |
|---|---|
| `admin` | everything |
| `client` | ask for answers and embeddings, give feedback, list models, read the weights of a split |
| `metrics` | read `/metrics` |
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from fastapi import Request

from tunesmith.core.errors import EngineError
from tunesmith.serve.errors import ApiError

__all__ = ["Client", "Keys", "Role", "check_role", "read_keys"]

Role = Literal["admin", "client", "metrics"]
_ALONE = "default"  # name of the key of the environment
_LEAST_CHARS = 16
_EXAMPLE = 'python -c \'import secrets; print("me", secrets.token_urlsafe(32), "client")\' >> FILE'

_OPEN_TO: Mapping[tuple[str, str], Role] = {  # what is not here needs an admin
    ("POST", "/v1/chat/completions"): "client",
    ("POST", "/v1/completions"): "client",
    ("POST", "/v1/embeddings"): "client",
    ("POST", "/v1/feedback"): "client",
    ("GET", "/v1/models"): "client",
    ("GET", "/v1/models/{name}"): "client",
    ("GET", "/v1/ab/{name}"): "client",
    **{("GET", path): "client" for path in ("/", "/chat.css", "/chat.js")},
    ("GET", "/metrics"): "metrics",
}


class Client(NamedTuple):
    """Whose key it is: the name in the log, and the role."""

    name: str
    role: Role


class Keys:
    """The keys that clients may use, by name; a name without a role is an admin. Only the keys' hashes are kept, and a
    comparison takes the same time for all."""

    def __init__(self, keys: Mapping[str, str], roles: Mapping[str, Role] | None = None) -> None:
        roles = roles or {}
        self._known = [
            (hashlib.sha256(key.encode()).digest(), Client(name, roles.get(name, "admin"))) for name, key in keys.items()
        ]

    def __bool__(self) -> bool:
        return bool(self._known)

    def client_of(self, given: str) -> Client | None:
        """Whose key this is; None if it is none of ours."""
        wanted = hashlib.sha256(given.encode()).digest()
        found = None
        for known, client in self._known:
            if hmac.compare_digest(known, wanted):
                found = client
        return found


async def check_role(request: Request) -> None:
    """A dependency of all routes: ApiError 403 where the caller's role does not suffice."""
    # async, because FastAPI runs a plain function in a thread
    path = request.scope["route"].path
    needed = _OPEN_TO.get((request.method, path), "admin")
    role, name = request.state.role, request.state.key
    if role not in ("admin", needed):
        what = f"{request.method} {path} needs a key with the role {needed}; the key {name!r} has the role {role}"
        raise ApiError(403, what, code="role_missing")


def read_keys(file: str | Path, alone: str = "") -> Keys:
    """The keys of a file with a line `NAME KEY [ROLE]` per client, and `alone`, an admin's.

    If no line of the file names a role, all are admins; as soon as one does, a line without one is a client's.
    Raises EngineError for a file or a line that cannot be used, for a file without any key, and for a key that no header can
    have.
    """
    if alone and not _is_key(alone):
        raise EngineError(
            "the key of the environment cannot be used",
            value=f"{len(alone)} characters",
            expected=f"{_LEAST_CHARS} or more letters, digits and signs of ASCII, without spaces",
            hint="export TUNESMITH_SERVE_KEY=$(python -c 'import secrets; print(secrets.token_urlsafe(32))')",
        )
    keys, roles = dict[str, str](), dict[str, Role]()
    for number, parts in _lines(file) if file else ():
        if len(parts) not in (2, 3) or not _is_key(parts[1]) or not set(parts[2:]) <= set(get_args(Role)):
            expected = f"NAME KEY, or NAME KEY {'|'.join(get_args(Role))}; {_LEAST_CHARS} characters or more, all of ASCII"
            raise _bad_line(file, number, expected)
        name, key = parts[:2]
        if name in keys or key in keys.values() or (alone and (name == _ALONE or key == alone)):
            raise _bad_line(file, number, "a name and a key that no other client has")
        keys[name] = key
        if parts[2:]:
            roles[name] = cast(Role, parts[2])
    if file and not keys and not alone:
        raise EngineError(
            "the file of keys has no key, so everybody could do everything",
            value=str(file),
            expected="a line NAME KEY, or NAME KEY ROLE, per client",
            hint=_EXAMPLE,
        )
    if roles:
        roles = {name: roles.get(name, "client") for name in keys}
    return Keys(keys | ({_ALONE: alone} if alone else {}), roles)


def _is_key(text: str) -> bool:
    """Whether a client can send this as a key: other characters reach servers in more than one encoding."""
    return len(text) >= _LEAST_CHARS and text.isascii() and text.isprintable() and " " not in text


def _lines(file: str | Path) -> list[tuple[int, list[str]]]:
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(
            "the file of keys cannot be read", value=str(file), expected=f"a readable file ({error})", hint="check the path"
        ) from error
    numbered = [(number, line.split()) for number, line in enumerate(lines, start=1) if not line.lstrip().startswith("#")]
    return [(number, parts) for number, parts in numbered if parts]


def _bad_line(file: str | Path, number: int, expected: str) -> EngineError:
    return EngineError(
        "the file of keys has a line that cannot be used", value=f"{file}, line {number}", expected=expected, hint=_EXAMPLE
    )
