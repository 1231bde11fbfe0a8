"""Adapters come and go while requests run: aliases that move, places that are few, files that change."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from running_server import Running, running
from tiny_models import loaded, make_adapter, make_adapters

from fakes import TEMPLATE, make_base
from gguf_files import write_gguf
from tunesmith.api.serving import serve
from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import ModelError
from tunesmith.serve.engines.adapter_files import AdapterFiles
from tunesmith.serve.engines.adapter_places import AdapterPlaces
from tunesmith.serve.errors import ApiError
from tunesmith.serve.loading.asked import Loading, Named
from tunesmith.serve.loading.folders import BaseGroup, place_folder
from tunesmith.systems.placing import Place

ASKED: list[Any] = [{"role": "user", "content": "Tell me about the lamp."}]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    return make_adapters(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def server(models: tuple[Path, dict[str, Path]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`mine` in two versions, of which only one fits into memory at a time."""
    base, adapters = models
    references = [f"mine={base}+{adapters['a']}", f"mine@next={base}+{adapters['b']}"]
    registry, refused = loaded(tmp_path_factory.mktemp("project"), *references, most_adapters=2)
    assert not refused
    with running(registry) as found:
        yield found


def ask(client: openai.OpenAI, model: str) -> Any:
    return client.chat.completions.create(model=model, messages=ASKED, max_tokens=8, temperature=0)


def test_an_alias_moves_two_hundred_times_under_load_and_no_request_fails_or_mixes_versions(server: Running) -> None:
    """Each answer is whole and that of the version that it names."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        versions = [version.id for version in server.registry if version.name == "mine"]
        wanted = {f"mine@{id}": ask(client, f"mine@{id}").choices[0].message.content for id in versions}
        assert len(set(wanted.values())) == 2
        over = threading.Event()

        def load() -> list[tuple[str, str]]:
            heard = []
            while not over.is_set():
                found = ask(client, "mine")
                heard.append((found.model, found.choices[0].message.content))
            return heard

        with ThreadPoolExecutor(4) as pool:
            loads = [pool.submit(load) for _ in range(4)]
            for n in range(200):
                moved = client.put("/models/mine/aliases/live", body={"version": versions[(n + 1) % 2]}, cast_to=object)
                assert moved == {"model": "mine", "alias": "live", "from": versions[n % 2], "to": versions[(n + 1) % 2]}
            over.set()
            heard = [one for done in loads for one in done.result()]
    assert heard and all(wanted[model] == text for model, text in heard)
    assert {model for model, _ in heard} == set(wanted)


def test_an_alias_is_only_moved_to_what_is_there(server: Running) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        for version, kind in (("nothing", openai.NotFoundError), (7, openai.BadRequestError)):
            with pytest.raises(kind):
                client.put("/models/mine/aliases/live", body={"version": version}, cast_to=object)
        assert ask(client, "mine@next").model == ask(client, "mine@" + ask(client, "mine@next").model[5:]).model


def test_few_places_are_given_to_those_asked_for_and_what_is_in_use_or_pinned_stays() -> None:
    now: list[str] = []

    async def load(key: str) -> None:
        await asyncio.sleep(0)
        if key == "broken":
            raise ModelError("the adapter is gone from the disk", value=key, expected="a file", hint="copy it back")
        now.append(key)

    async def unload(key: str) -> None:
        now.remove(key)

    async def work() -> None:
        places = AdapterPlaces(2, load, unload)
        async with places.use("pinned", pin=True):
            pass
        for key in ("a", "b", "a"):
            async with places.use(key):
                assert key in now
        assert sorted(now) == ["a", "pinned"]
        async with places.use("a"):
            with pytest.raises(ApiError, match="all places") as caught:
                async with places.use("b"):
                    raise AssertionError
            assert caught.value.status == 503 and caught.value.retry_after_s
        with pytest.raises(ModelError):
            async with places.use("broken"):
                raise AssertionError

        async def both() -> None:
            async with places.use("b"):
                assert now.count("b") == 1

        await asyncio.gather(both(), both(), both())

    asyncio.run(work())


def test_pins_stay_and_leave_the_others_a_place(models: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    base, adapters = models
    references = [f"{name}={base}+{folder}" for name, folder in adapters.items()]
    with pytest.raises(ModelError, match="what is to be pinned cannot be served"):
        loaded(tmp_path, *references, pin=frozenset({"nobody"}))
    with pytest.raises(ModelError, match="leave no place for the others"):
        loaded(tmp_path, *references, pin=frozenset({"a"}), most_adapters=1)
    third = make_adapter(base, tmp_path / "c", seed=9)
    registry, _ = loaded(tmp_path, *references, f"c={base}+{third}", pin=frozenset({"a@live"}), most_adapters=2)
    with running(registry) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        places = server.engines()[0]._places
        pinned = registry.resolve("a").target
        for name in ("b", "c", "b"):
            assert ask(client, name).choices and pinned in places.keys and places.pinned == {pinned}


def test_the_cache_of_prompts_has_the_limit_that_is_set(models: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    for mib in (0, 1):
        registry, _ = loaded(tmp_path, f"tiny={models[0]}", prefix_mib=mib)
        engine: Any = registry.resolve("tiny").engine
        assert (engine.batch.capacity.prefix_bytes == 2**20) == bool(mib)
        asyncio.run(engine.close())


def test_an_adapter_whose_file_changes_or_goes_is_refused_by_name_and_the_others_are_served_on(
    models: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    whole, adapters = models
    base = Path(shutil.copytree(whole, tmp_path / "tiny"))
    copies = {name: Path(shutil.copytree(folder, tmp_path / name)) for name, folder in adapters.items()}
    registry, _ = loaded(tmp_path, *(f"{name}={base}+{folder}" for name, folder in copies.items()), preload=False)
    content = bytearray((copies["a"] / "adapter_model.safetensors").read_bytes())
    content[-1] ^= 1
    (copies["a"] / "adapter_model.safetensors").write_bytes(content)
    with running(registry) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError, match="has changed on the disk"):
            ask(client, "a")
        assert ask(client, "b").choices
        (copies["a"] / "adapter_model.safetensors").unlink()
        with pytest.raises(openai.InternalServerError, match="is gone from the disk"):
            ask(client, "a")
        shutil.rmtree(base)  # its weights are in memory
        assert ask(client, "tiny").choices and ask(client, "b").choices


def test_an_adapter_of_another_base_is_refused_before_anything_is_served(
    models: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    other = make_base(tmp_path / "other", seed=8)
    adapter = make_adapter(other, tmp_path / "run" / "adapter", seed=3)
    with pytest.raises(ModelError, match="trained on another base"):
        AdapterFiles.of(adapter, base="0" * 64).check_base("1" * 64)
    wide = make_base(tmp_path / "phi", architecture="phi3")
    registry, refused = loaded(tmp_path, f"wrong={wide}+{adapter}", preload=False)
    with running(registry) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError, match="does not fit this base"):
            ask(client, "wrong")
        assert ask(client, "phi").choices and not refused
    registry, refused = loaded(tmp_path, f"wrong={wide}+{adapter}", f"right={other}+{adapter}")  # read at the start
    assert set(registry.names()) == {"right", "other"} and "wrong is not served" in str(refused[0])
    for engine in {id(version.engine): version.engine for version in registry}.values():
        asyncio.run(engine.close())
    with pytest.raises(ModelError, match="wrong is not served") as caught:  # and not its base, for which nobody asked
        serve([f"wrong={wide}+{adapter}"], project=tmp_path, port=0)
    problem = caught.value.problems[0]
    assert str(adapter) in str(problem.value) and "does not fit this base" in problem.expected and problem.hint
    registry, refused = loaded(tmp_path, f"wrong={wide}+{adapter}", f"phi={wide}")  # a base that was named is served
    assert registry.names() == ("phi",) and len(refused) == 1
    for version in registry:
        asyncio.run(version.engine.close())


def test_a_merged_model_is_served_although_its_run_names_another_base_and_an_adapter_is_not(
    models: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    base, adapters = models
    manifest = {"id": "f" * 64, "kind": "run", "inputs": [{"kind": "base", "id": "0" * 64}], "settings": {}}
    run = Artifact(tmp_path, manifest)
    how, groups = Loading(store=Store(tmp_path / ".tunesmith")), dict[str, BaseGroup]()
    place_folder(Named("model:latest", "merged"), Place(model=str(base), run=run), groups, how)
    assert [one.named.name for group in groups.values() for one in group.wanted] == ["merged"]
    with pytest.raises(ModelError, match="trained on another base"):
        place_folder(Named("run:latest"), Place(model=str(base), adapter=adapters["a"], run=run), groups, how)


def test_a_reference_that_cannot_be_opened_is_left_out_and_leaves_nothing_behind(
    models: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    base, adapters = models
    write_gguf(base, tmp_path / "x.gguf", template=TEMPLATE)
    gone = [f"gone={base}+{tmp_path / 'none'}", f"half={tmp_path / 'x.gguf'}+{tmp_path / 'y.gguf'}", "lost=run:latest"]
    registry, refused = loaded(tmp_path, *gone)
    assert not list(registry) and len(refused) == 3  # not even the base of the first: nobody asked for that alone
    registry, refused = loaded(tmp_path, *gone, f"b={base}+{adapters['b']}")
    assert set(registry.names()) == {"b", "tiny"} and len(refused) == 3
    engine: Any = registry.resolve("b").engine
    asyncio.run(engine.close())


def test_an_adapter_that_brings_another_template_than_its_base_is_not_served(
    models: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    base, adapters = models
    odd = Path(shutil.copytree(adapters["a"], tmp_path / "odd"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, odd)
    template = base / "chat_template.jinja"
    own = (
        template.read_text()
        if template.is_file()
        else json.loads((base / "tokenizer_config.json").read_text())["chat_template"]
    )
    (odd / "chat_template.jinja").write_text(own.replace("<|assistant|>", "<|user|>"))
    registry, refused = loaded(tmp_path, f"odd={base}+{odd}", f"b={base}+{adapters['b']}")
    assert set(registry.names()) == {"b", "tiny"}
    assert "odd is not served: transformers reads its prompts otherwise" in str(refused[0]) and "hint:" in str(refused[0])
    for engine in {id(version.engine): version.engine for version in registry}.values():
        asyncio.run(engine.close())
