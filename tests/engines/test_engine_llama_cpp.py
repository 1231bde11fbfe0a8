"""llama.cpp itself, on a tiny model: what it answers, what it scores, its adapters, and how it fails."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from fakes import TEMPLATE, conversation
from gguf_files import write_gguf, write_gguf_adapter
from tunesmith.core.errors import EngineError, ModelError
from tunesmith.engines import llama_cpp, llama_cpp_logits
from tunesmith.engines.engine import ALONE, EngineRequest, FullLogits, TopTokens
from tunesmith.engines.llama_cpp import LlamaCpp, LoraFile
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import Chat
from tunesmith.models.generation.requests import Sampling
from tunesmith.models.load import BaseFolder, load_model

BOUND = 0.05  # nats: the tiny model's logits reach 40, and llama.cpp keeps keys and values in float16
ROW = (2, 10, 60, 61, 62, 63, 7, 12, 90, 91, 92)


@pytest.fixture(scope="module")
def file(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    return write_gguf(tiny_path, folder / "tiny.gguf", dtype=np.float32, pre="gpt-2", template=TEMPLATE)


@pytest.fixture(scope="module")
def engine(file: Path, trained_adapter: Path, tiny_path: Path) -> Iterator[LlamaCpp]:
    adapter = write_gguf_adapter(trained_adapter, tiny_path, file.parent / "adapter.gguf")
    with LlamaCpp(file, context=512, threads=1, adapters={"mine": LoraFile(adapter)}) as running:
        yield running


def expected_logits(model: Any, row: tuple[int, ...]) -> np.ndarray:
    with torch.inference_mode():
        found: np.ndarray = torch.log_softmax(model(input_ids=torch.tensor([row])).logits[0].double(), -1).numpy()
    return found


def test_it_says_what_it_serves_and_reads_the_same_tokens_and_template(engine: LlamaCpp, tiny_chat: Chat, file: Path) -> None:
    assert engine.model == str(file.resolve()) and engine.version
    messages = conversation("Where is the water?")
    assert engine.render(messages) == tiny_chat.render(messages, answer_next=True)
    for text in ("the water", "<|user|>\nnaïve — 東京 🧵<|end|>", " two  spaces\tand\n\ntabs"):
        assert list(engine.tokenize(text)) == tiny_chat.tokenizer(text)["input_ids"]


def test_greedy_answers_repeat_end_at_a_stop_text_and_count_their_tokens(engine: LlamaCpp) -> None:
    request = EngineRequest(ids=ROW, max_new_tokens=12, adapter=ALONE)
    first, again = engine.answer([request, request])
    assert (first.text, first.ids, first.ended_by) == (again.text, again.ids, again.ended_by)
    assert first.ids is not None and first.num_tokens == len(first.ids) <= 12 and first.prompt_tokens == len(ROW)
    cut = engine.answer([EngineRequest(ids=ROW, max_new_tokens=12, stop=(first.text[2:4],), adapter=ALONE)])[0]
    assert cut.text == first.text[: first.text.index(first.text[2:4])] and cut.finish_reason == "stop"
    assert engine.usage.tokens_per_s is not None and engine.memory_bytes() > 2**20


def test_a_conversation_is_rendered_by_the_server(engine: LlamaCpp, tiny_chat: Chat) -> None:
    messages = conversation("the water")
    by_messages, by_ids = engine.answer(
        [
            EngineRequest(messages=messages, max_new_tokens=6),
            EngineRequest(ids=tuple(tiny_chat.encode_prompt(messages)), max_new_tokens=6),
        ]
    )
    assert by_messages.ids == by_ids.ids and by_messages.prompt_tokens == by_ids.prompt_tokens


def test_scores_are_those_of_transformers_for_likely_and_for_unlikely_tokens(engine: LlamaCpp, tiny: BaseFolder) -> None:
    expected = expected_logits(load_model(tiny, "float32"), ROW)
    [scores] = engine.score([ROW], [3], top=5, adapter=ALONE)
    at = np.arange(2, len(ROW) - 1)
    assert np.abs(np.array(scores.log_p) - expected[at, ROW[3:]]).max() < BOUND
    assert min(scores.log_p) < -6, "a token that no list of the likeliest holds"
    assert list(scores.is_top) == (expected[at].argmax(-1) == ROW[3:]).tolist()
    assert [top.ids[0] for top in scores.top] == expected[at].argmax(-1).tolist()
    assert np.abs(np.array(scores.top[0].log_p) - np.sort(expected[2])[::-1][:5]).max() < BOUND


def test_rows_longer_than_a_batch_are_scored_like_short_ones(engine: LlamaCpp, tiny: BaseFolder) -> None:
    row = tuple((7 * n) % 300 + 8 for n in range(300))
    expected = expected_logits(load_model(tiny, "float32"), row)
    [scores] = engine.score([row], [200], adapter=ALONE)
    assert np.abs(np.array(scores.log_p) - expected[np.arange(199, 299), row[200:]]).max() < BOUND


def test_the_whole_distribution_can_be_had_and_agrees_with_the_server(engine: LlamaCpp, tiny: BaseFolder) -> None:
    assert isinstance(engine, FullLogits)
    found = llama_cpp_logits.log_softmax(engine.logits(ROW, adapter=ALONE))
    assert np.abs(np.exp(found) - np.exp(expected_logits(load_model(tiny, "float32"), ROW))).max() < BOUND
    [server] = engine.next_tokens([ROW], 5, adapter=ALONE)
    assert np.abs(found[-1][list(server.ids)] - np.array(server.log_p)).max() < 1e-3


def test_an_adapter_is_chosen_request_by_request(engine: LlamaCpp, tiny: BaseFolder, trained_adapter: Path) -> None:
    expected = expected_logits(open_adapter(load_model(tiny, "float32"), trained_adapter), ROW)
    alone = engine.score([ROW], [1], adapter=ALONE)[0].log_p
    adapted = np.array(engine.score([ROW], [1])[0].log_p)
    assert np.abs(adapted - expected[np.arange(len(ROW) - 1), ROW[1:]]).max() < BOUND
    assert np.abs(adapted - np.array(alone)).max() > 4 * BOUND
    [with_it], [without] = engine.next_tokens([ROW], 1, adapter="mine"), engine.next_tokens([ROW], 1, adapter=ALONE)
    assert abs(with_it.log_p[0] - expected[-1].max()) < BOUND and with_it != without
    with pytest.raises(EngineError, match="started without this adapter"):
        engine.score([ROW], [1], adapter="another")


def test_what_cannot_be_scored_is_refused_and_the_next_row_is_scored_all_the_same(engine: LlamaCpp) -> None:
    with pytest.raises(EngineError, match="cannot read this row"):
        engine.score([(5, 99999, 5)], [1])
    assert len(engine.score([ROW], [1])[0].log_p) == len(ROW) - 1


def test_a_library_that_disagrees_with_the_server_is_not_believed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LlamaCpp(file, context=64, threads=1) as running:
        monkeypatch.setattr(running, "_next", lambda row, top, adapter: TopTokens((5, 6), (-0.1, -0.2)))
        with pytest.raises(EngineError, match="disagree about the next token"):
            running.score([ROW], [1])


def test_a_library_without_a_needed_function_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(llama_cpp_logits._FUNCTIONS, "llama_read_minds", (None,))
    with pytest.raises(EngineError, match="does not export"):
        llama_cpp_logits.Library(str(file), context=64, threads=1)


def test_draws_are_repeated_by_their_seed_and_the_difference_to_ours_is_stated(engine: LlamaCpp) -> None:
    def drawn(seed: int) -> tuple[int, ...] | None:
        how = Sampling(temperature=3.0, top_p=0.9, seed=seed)
        return engine.answer([EngineRequest(ids=ROW, max_new_tokens=12, sampling=how)])[0].ids

    assert drawn(1) == drawn(1) != drawn(2)
    assert not engine.differences(Sampling(repetition_penalty=1.2))
    assert "own random numbers" in engine.differences(Sampling(temperature=1.0))[0]


def test_the_fingerprint_is_that_of_file_adapters_and_version(file: Path, engine: LlamaCpp) -> None:
    with LlamaCpp(file, context=64, threads=1) as plain:
        first = plain.fingerprint
        assert first != engine.fingerprint
        plain.version = "another"
        assert plain.fingerprint != first


def test_a_server_killed_in_the_middle_of_an_answer_is_reported_as_ended(file: Path) -> None:
    with LlamaCpp(file, context=512, threads=1) as running, ThreadPoolExecutor(1) as pool:
        process = psutil.Process(running._process.pid)
        process.suspend()  # so that no answer can be finished before the kill
        asked = pool.submit(running.answer, [EngineRequest(ids=ROW, max_new_tokens=400)])
        process.kill()
        with pytest.raises(EngineError, match=r"llama\.cpp ended; the end of its log"):
            asked.result()


def test_leaving_the_block_stops_both_processes(file: Path) -> None:
    with LlamaCpp(file, context=64, threads=1) as running:
        running.score([ROW], [1])
        assert running._library is not None
        pids = (running._process.pid, running._library.pid)
        assert all(psutil.pid_exists(pid) for pid in pids)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_the_server_ends_when_its_parent_is_gone(file: Path) -> None:
    settings = f'{{"file": "{file}", "context": 64, "slots": 1, "threads": 1, "adapters": [], "port": 0}}'
    command = [sys.executable, "-m", "tunesmith.engines.llama_cpp_server", settings]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def test_a_cut_file_is_refused_before_it_is_opened_and_an_unknown_model_with_the_end_of_the_log(
    file: Path, tmp_path: Path
) -> None:
    content = file.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError):
        LlamaCpp(tmp_path / "cut.gguf")
    (tmp_path / "unknown.gguf").write_bytes(content.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lhama"))
    with pytest.raises(EngineError, match="unknown model architecture: 'lhama'"):
        LlamaCpp(tmp_path / "unknown.gguf", context=64, threads=1)


def test_a_port_in_use_is_refused(file: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(EngineError, match="cannot listen on this port"):
            LlamaCpp(file, port=other.getsockname()[1])


def test_a_server_of_another_file_is_refused(file: Path) -> None:
    with LlamaCpp(file, context=64, threads=1) as running:
        running.file = file.with_name("other.gguf")
        with pytest.raises(EngineError, match="serves another model"):
            running._read_served()


def test_a_missing_installation_comes_with_the_command_that_installs_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(llama_cpp, "version", missing)
    with pytest.raises(EngineError) as caught:
        LlamaCpp(file)
    assert caught.value.problems[0].hint == "pip install 'tunesmith[llama-cpp]'"
