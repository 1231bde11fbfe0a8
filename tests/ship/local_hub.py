"""A hub on a free port of this machine: the endpoints that `huggingface_hub` publishes by, over real HTTP, with planted faults.

It keeps repositories with commits and a store of large objects, as the real one does. It was written from the client's source;
the real hub was never asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

from huggingface_hub.utils.sha import git_hash
from local_server import running

__all__ = ["TOKEN", "LocalHub", "Repository", "local_hub"]

TOKEN = "hf_" + "aQ7xZ2mN9kLp4RtV8wYb3cDf6gHj1sTu"  # never valid anywhere
_LARGE = 512  # bytes from which a file is stored as a large object
Files = dict[str, tuple[str, bytes]]  # path → ("regular" or "lfs", content)


@dataclass
class Repository:
    """One repository: its visibility, and (id, files) of every commit."""

    private: bool
    commits: list[tuple[str, Files]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def at(self, revision: str) -> Files:
        """The files of a commit, or of `main`."""
        if revision == "main":
            return self.commits[-1][1]
        return next(files for oid, files in self.commits if oid == revision)

    def commit(self, files: Files, message: str) -> str:
        oid = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits.append((oid, files))
        self.messages.append(message)
        return oid


class LocalHub(ThreadingHTTPServer):
    """`repositories` by type and id, `objects` by SHA-256, `asked`: (method, path, status) of every request.

    Faults: `refusals` maps `METHOD path-pattern` to answers (status, body) given first; `cut_after`: bytes of an upload after
    which the connection is closed, for as long as it is set; `spoil`: turns the content of a committed file into other content;
    `ignores_privacy`: creates public repositories only; `part_bytes`: uploads in parts of this size; `before_commit`: called
    before a commit; `upload_begins`: called with the number of an upload; ConnectionAbortedError in it breaks the upload off.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.user, self.token = "ada", TOKEN
        self.writable = {"ada"}
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.asked: list[tuple[str, str, int]] = []
        self.uploads: list[str] = []
        self.lock = threading.Lock()
        self.refusals: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self.cut_after: int | None = None
        self.spoil: Callable[[str, bytes], bytes | None] = lambda path, content: content
        self.ignores_privacy = False
        self.part_bytes = 0
        self.before_commit: Callable[[], None] = lambda: None
        self.upload_begins: Callable[[int], None] = lambda number: None
        self.num_begun = 0
        self.stored = threading.Event()
        self.clients: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, name: str, *, kind: str = "model", private: bool = True, files: Files | None = None) -> Repository:
        repository = self.repositories[kind, name] = Repository(private)
        repository.commit({".gitattributes": ("regular", b""), **(files or {})}, "initial commit")
        return repository

    def content(self, name: str, *, kind: str = "model") -> dict[str, bytes]:
        """What the repository holds now, by path."""
        return {path: content for path, (_, content) in self.repositories[kind, name].at("main").items()}

    def paths(self, method: str = "") -> list[str]:
        return [path for used, path, _ in self.asked if not method or used == method]


_REPO = r"/api/(?P<kind>model|dataset)s/(?P<repo>[^/]+/[^/]+)"


class _Handler(BaseHTTPRequestHandler):
    server: LocalHub

    def _answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        data = json.dumps({} if body is None else body).encode()
        self.server.asked.append((self.command, self.path, status))
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refused(self, status: int, said: str, code: str = "") -> None:
        self._answer(status, {"error": said}, {"X-Error-Message": said, **({"X-Error-Code": code} if code else {})})

    def _body(self) -> bytes:
        """The whole body; cut off after `cut_after` bytes of an upload."""
        length, limit = int(self.headers.get("Content-Length", 0)), self.server.cut_after
        if self.command == "PUT":
            with self.server.lock:
                self.server.num_begun += 1
                number = self.server.num_begun
            self.server.upload_begins(number)
        if self.command == "PUT" and limit is not None and length > limit:
            self.rfile.read(limit)
            self.connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        return self.rfile.read(length)

    def _handle(self) -> None:
        try:
            self._route(self._body())
        except (ConnectionAbortedError, BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # a planted cut, or a client that was killed

    do_GET = do_POST = do_PUT = do_HEAD = _handle

    def _route(self, body: bytes) -> None:
        self.server.clients.append(str(self.headers.get("User-Agent")))
        path = self.path.partition("?")[0]
        for pattern, answers in self.server.refusals.items():
            if answers and re.fullmatch(pattern, f"{self.command} {path}"):
                status, said = answers.pop(0)
                self._answer(status, said)
                return
        if not path.startswith("/storage/") and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._refused(401, "Invalid credentials in Authorization header")
            return
        for method, pattern, handle in _ROUTES:
            if method == self.command and (found := re.fullmatch(pattern, path)):
                handle(self, found, body)
                return
        self._refused(404, f"no such endpoint: {self.command} {path}")

    def _repository(self, found: re.Match[str], *, write: bool = False) -> Repository | None:
        name = unquote(found["repo"])
        repository = self.server.repositories.get((found["kind"], name))
        mine = name.split("/")[0] in self.server.writable
        if repository is None or (repository.private and not mine):
            self._refused(404, "Repository not found", "RepoNotFound")
            return None
        if write and not mine:
            self._refused(403, "you must use a write token to upload to a repository")
            return None
        return repository

    def whoami(self, found: re.Match[str], body: bytes) -> None:
        self._answer(200, {"name": self.server.user, "type": "user", "orgs": []})

    def create(self, found: re.Match[str], body: bytes) -> None:
        asked = json.loads(body)
        owner, kind = asked.get("organization") or self.server.user, asked.get("type", "model")
        name = f"{owner}/{asked['name']}"
        if owner not in self.server.writable:
            self._refused(403, f"You don't have the rights to create a {kind} under the namespace {owner}")
        elif (kind, name) in self.server.repositories:
            self._refused(409, f"You already created this {kind} repo: {name}")
        else:
            self.server.add(name, kind=kind, private=asked.get("visibility") == "private" and not self.server.ignores_privacy)
            prefix = "datasets/" if kind == "dataset" else ""
            self._answer(200, {"url": f"{self.server.url}/{prefix}{name}", "name": name})

    def info(self, found: re.Match[str], body: bytes) -> None:
        if (repository := self._repository(found)) is None:
            return
        revision = unquote(found.groupdict().get("revision") or "main")
        oid = repository.commits[-1][0] if revision == "main" else revision
        siblings = [{"rfilename": path} for path in repository.at(revision)]
        self._answer(
            200,
            {"_id": "1", "id": found["repo"], "private": repository.private, "sha": oid, "siblings": siblings, "tags": [],
             "downloads": 0, "likes": 0},
        )  # fmt: skip

    def preupload(self, found: re.Match[str], body: bytes) -> None:
        if (repository := self._repository(found, write=True)) is None:
            return
        there = repository.at("main")
        files = []
        for one in json.loads(body)["files"]:
            mode = "lfs" if one["size"] >= _LARGE else "regular"
            oid = None
            if one["path"] in there:
                kind, content = there[one["path"]]
                oid = hashlib.sha256(content).hexdigest() if kind == "lfs" else git_hash(content)
            files.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._answer(200, {"files": files})

    def batch(self, found: re.Match[str], body: bytes) -> None:
        objects: list[dict[str, Any]] = []
        for one in json.loads(body)["objects"]:
            oid, size = one["oid"], one["size"]
            entry: dict[str, Any] = {"oid": oid, "size": size}
            if oid not in self.server.objects:
                upload: dict[str, Any] = {"href": f"{self.server.url}/storage/{oid}?X-Signature=secret-signature"}
                if (part := self.server.part_bytes) and size > part:
                    parts = {str(n + 1): f"{self.server.url}/storage/{oid}/{n + 1}" for n in range(-(-size // part))}
                    upload = {"href": f"{self.server.url}/storage/{oid}/complete", "header": {"chunk_size": str(part), **parts}}
                entry["actions"] = {"upload": upload, "verify": {"href": f"{self.server.url}/verify"}}
            objects.append(entry)
        self._answer(200, {"transfer": "basic", "objects": objects})

    def store(self, found: re.Match[str], body: bytes) -> None:
        if hashlib.sha256(body).hexdigest() != found["oid"]:
            self._refused(400, "the content does not match its hash")
            return
        with self.server.lock:
            self.server.objects[found["oid"]] = body
            self.server.uploads.append(found["oid"])
        self.server.stored.set()
        self._answer(200)

    def store_part(self, found: re.Match[str], body: bytes) -> None:
        with self.server.lock:
            self.server.parts.setdefault(found["oid"], {})[int(found["number"])] = body
        self._answer(200, headers={"ETag": f'"{found["number"]}"'})

    def complete(self, found: re.Match[str], body: bytes) -> None:
        numbers = [part["partNumber"] for part in json.loads(body)["parts"]]
        whole = b"".join(self.server.parts[found["oid"]][number] for number in numbers)
        self.store(found, whole)

    def verify(self, found: re.Match[str], body: bytes) -> None:
        asked = json.loads(body)
        there = self.server.objects.get(asked["oid"], b"")
        if len(there) == asked["size"]:
            self._answer(200)
        else:
            self._refused(422, "the stored object has another size")

    def validate_yaml(self, found: re.Match[str], body: bytes) -> None:
        if "license: unheard-of" in json.loads(body)["content"]:
            self._answer(400, {"errors": [{"message": '"license" must be one of [apache-2.0, mit]'}], "warnings": []})
        else:
            self._answer(200, {"errors": [], "warnings": []})

    def commit(self, found: re.Match[str], body: bytes) -> None:
        self.server.before_commit()
        if (repository := self._repository(found, write=True)) is None:
            return
        lines = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit", repository.commits[-1][0]) != repository.commits[-1][0]:
            self._refused(412, "A commit has happened since. Please refresh and try again.")
            return
        files = dict(repository.at("main"))
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "lfsFile" and value["oid"] not in self.server.objects:
                self._refused(400, f"LFS object {value['oid']} is not in the storage")
                return
            lfs = line["key"] == "lfsFile"
            content = self.server.objects[value["oid"]] if lfs else base64.b64decode(value["content"])
            if (kept := self.server.spoil(value["path"], content)) is not None:
                files[value["path"]] = ("lfs" if lfs else "regular", kept)
        oid = repository.commit(files, f"{header['summary']}\n{header['description']}")
        address = f"{self.server.url}/{'datasets/' if found['kind'] == 'dataset' else ''}{found['repo']}"
        self._answer(200, {"commitUrl": f"{address}/commit/{oid}", "commitOid": oid, "pullRequestUrl": None})

    def paths_info(self, found: re.Match[str], body: bytes) -> None:
        if (repository := self._repository(found)) is None:
            return
        there = repository.at(unquote(found["revision"]))
        answer = []
        for path in parse_qs(body.decode()).get("paths", []):
            if path in there:
                kind, content = there[path]
                entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
                if kind == "lfs":
                    entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
                answer.append(entry)
        self._answer(200, answer)

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


_ROUTES: tuple[tuple[str, str, Callable[[_Handler, re.Match[str], bytes], None]], ...] = (
    ("GET", r"/api/whoami-v2", _Handler.whoami),
    ("POST", r"/api/repos/create", _Handler.create),
    ("GET", _REPO, _Handler.info),
    ("GET", _REPO + r"/revision/(?P<revision>[^/]+)", _Handler.info),
    ("POST", _REPO + r"/preupload/main", _Handler.preupload),
    ("POST", _REPO + r"/commit/main", _Handler.commit),
    ("POST", _REPO + r"/paths-info/(?P<revision>[^/]+)", _Handler.paths_info),
    ("POST", r"(?:/datasets)?/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", r"/storage/(?P<oid>[0-9a-f]{64})", _Handler.store),
    ("PUT", r"/storage/(?P<oid>[0-9a-f]{64})/(?P<number>\d+)", _Handler.store_part),
    ("POST", r"/storage/(?P<oid>[0-9a-f]{64})/complete", _Handler.complete),
    ("POST", r"/verify", _Handler.verify),
    ("POST", r"/api/validate-yaml", _Handler.validate_yaml),
)


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    with running(LocalHub()) as hub:
        yield hub
