"""Send a list of files to a hub in one commit, and read every hash back.

A cut connection, a kill or a full quota leaves no commit: what the hub has received waits there under its hash, and the same
command sends only the rest. Files travel by the hub's plain HTTP protocol (git LFS), which can be tested against a local hub.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

from tunesmith import __version__
from tunesmith.core.errors import ArtifactError, HubError, TunesmithError
from tunesmith.core.reporter import Progress, Reporter, SilentReporter
from tunesmith.ship.hub.address import hub_address, hub_token, refuse_offline
from tunesmith.ship.hub.library import HubWords, as_hub_error, speaking_through
from tunesmith.ship.hub.records import Pushed, PushFile, PushList

__all__ = ["send"]

_MB = 1e6
_PATHS_AT_ONCE = 500


def send(push: PushList, *, reporter: Reporter | None = None) -> Pushed:
    """Create the repository if it is missing, send the files in one commit, and compare every hash with what the hub holds.

    Raises:
        ArtifactError: a file changed since it was listed.
        HubError: no token, no right, another visibility than asked for, no room, a broken connection, other bytes on the hub.
    """
    from huggingface_hub import HfApi

    say = reporter or SilentReporter()
    refuse_offline()
    address, token = hub_address(), hub_token()
    words = HubWords(repository=push.repository, address=address, token=token)
    api = HfApi(endpoint=address, token=token, library_name="tunesmith", library_version=__version__)
    with speaking_through(say, words):
        with _worded(words, "asking who the token belongs to"):
            user = str(api.whoami().get("name", ""))
        words = HubWords(repository=push.repository, address=address, token=token, user=user)
        head = _ready_repository(api, push, words, say)
        commit, sent_bytes = _committed(api, push, words, head, say)
        remaining = _verified(api, push, words, commit)
    prefix = "datasets/" if push.repository_type == "dataset" else ""
    if remaining:
        say.warn(f"{len(remaining)} other files stay in the repository: {', '.join(remaining[:5])}")
    return Pushed(
        listed=push, url=f"{address}/{prefix}{push.repository}", commit=commit, sent_bytes=sent_bytes, remaining=remaining
    )


@contextmanager
def _worded(words: HubWords, doing: str) -> Iterator[None]:
    try:
        yield
    except TunesmithError:
        raise
    except Exception as error:
        if (worded := as_hub_error(error, words, doing)) is None:
            raise
        raise worded from None  # the library's own error carries addresses with signatures


def _ready_repository(api: Any, push: PushList, words: HubWords, say: Reporter) -> str:
    """The commit that the repository is at, after it was created if it was missing, and its visibility checked."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with _worded(words, "asking for the repository"):
        try:
            info = api.repo_info(push.repository, repo_type=push.repository_type)
        except RepositoryNotFoundError:
            info = None
    if info is None:
        visibility = "public" if push.public else "private"
        with _worded(words, "creating the repository"):
            api.create_repo(push.repository, repo_type=push.repository_type, visibility=visibility)
            info = api.repo_info(push.repository, repo_type=push.repository_type)
        say.note(f"created the {visibility} {push.repository_type} {push.repository}")
    if bool(info.private) is push.public:
        raise _other_visibility(push, words)
    return str(info.sha or "")


def _other_visibility(push: PushList, words: HubWords) -> HubError:
    value = f"{push.repository} at {words.address}"
    if push.public:
        return HubError(
            "the repository is private, and --public was asked for",
            value=value,
            expected="a public repository",
            hint="push without --public, then change the visibility in the settings of the repository",
        )
    return HubError(
        "the repository is public: anybody could read what is sent",
        value=value,
        expected="a private repository",
        hint="choose another name, make it private in its settings, or add --public",
    )


def _committed(api: Any, push: PushList, words: HubWords, head: str, say: Reporter) -> tuple[str, int]:
    """The id of the commit that holds all files, and how many bytes travelled."""
    from huggingface_hub import CommitOperationAdd

    allowed = f" Allowed findings: {', '.join(push.allowed)}." if push.allowed else ""
    with ExitStack() as stack:
        progress = stack.enter_context(say.progress("send", total=round(push.num_bytes / _MB, 1), unit="MB"))
        counter = _Counter(progress, push.num_bytes)
        operations = []
        for file in push.files:
            opened = stack.enter_context(_Counted(stack.enter_context(_opened(file)), counter, file.path))
            operations.append(CommitOperationAdd(path_in_repo=file.path, path_or_fileobj=opened))
            _same(file, operations[-1].upload_info.sha256.hex())
        counter.counts = True
        with _worded(words, "sending the files"):
            info = api.create_commit(
                push.repository,
                operations,
                commit_message=f"Tunesmith {__version__}: {push.kind.value}",
                commit_description=f"{push.origin}.{allowed}",
                repo_type=push.repository_type,
                parent_commit=head or None,
            )
    return str(info.oid), counter.num_bytes


def _opened(file: PushFile) -> BinaryIO:
    try:
        return file.open()
    except OSError as error:
        raise _changed(file, f"found {error.strerror or error}") from error


def _same(file: PushFile, sha256: str) -> None:
    if sha256 != file.sha256:
        raise _changed(file, f"found {sha256[:16]}…")


def _changed(file: PushFile, found: str) -> ArtifactError:
    return ArtifactError(
        "a file changed after it was listed",
        value=str(file.source),
        expected=f"SHA-256 {file.sha256[:16]}…, {found}",
        hint="type the same command again, and check the list",
    )


class _Counter:
    """How many bytes travelled; several files are sent at once, each in a thread. `counts`: after they were hashed."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._lock = progress, total, threading.Lock()
        self.counts, self.num_bytes = False, 0

    def add(self, amount: int, name: str) -> None:
        """Report `amount` more bytes of the file `name`. What is sent again after a broken connection moves no bar."""
        if self.counts and amount:
            with self._lock:
                shown = max(0, min(amount, self._total - self.num_bytes))
                self.num_bytes += amount
                self._progress.advance(shown / _MB, name)


class _Counted(io.BufferedReader):
    """A file whose sending is counted. The hub's library sends an open file by plain HTTP, and reads it again to retry.

    It sends in pieces, and reads a file in one go to hash it or to put it into the commit.
    """

    def __init__(self, raw: Any, counter: _Counter, name: str) -> None:
        super().__init__(raw)
        self._counter, self._path = counter, name

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size is not None and size > 0:
            self._counter.add(len(data), self._path)
        return data


def _verified(api: Any, push: PushList, words: HubWords, commit: str) -> tuple[str, ...]:
    """The other files of the repository. HubError that names every file whose hash on the hub is not the one of the list."""
    with _worded(words, "reading the hashes back"):
        there = {}
        paths = [file.path for file in push.files]
        for start in range(0, len(paths), _PATHS_AT_ONCE):
            part = paths[start : start + _PATHS_AT_ONCE]
            for one in api.get_paths_info(push.repository, part, revision=commit, repo_type=push.repository_type):
                there[one.path] = one
        info = api.repo_info(push.repository, repo_type=push.repository_type, revision=commit)
    different = [text for file in push.files if (text := _difference(file, there.get(file.path)))]
    if different:
        raise HubError(
            "the hub does not hold what was sent",
            value="; ".join(different),
            expected=f"the hashes of the list at commit {commit[:12]}",
            hint=f"delete the repository or these files at {words.address}, then type the same command again",
        )
    names = {sibling.rfilename for sibling in info.siblings or ()}
    return tuple(sorted(names - set(paths) - {".gitattributes"}))


def _difference(file: PushFile, there: Any) -> str:
    """What is wrong with a file on the hub. Large files are known by SHA-256, small ones by the hash that git gives."""
    if there is None:
        return f"{file.path} is missing"
    if there.size != file.size:
        return f"{file.path} has {there.size} bytes, not {file.size}"
    if getattr(there, "lfs", None) is not None:
        return "" if there.lfs.sha256 == file.sha256 else f"{file.path} has other bytes"
    return "" if there.blob_id == _git_hash(file) else f"{file.path} has other bytes"


def _git_hash(file: PushFile) -> str:
    from huggingface_hub.utils.sha import git_hash

    with file.open() as opened:
        return git_hash(opened.read())
