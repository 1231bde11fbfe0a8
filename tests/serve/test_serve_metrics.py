"""Metrics by OpenTelemetry's names: read as Prometheus reads them, with the conventions' attributes and buckets."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from echo_engine import Echo, chat_body, registry_of
from prometheus_client.parser import text_string_to_metric_families
from running_server import Running, running

from tunesmith.serve.engine import Delta, Usage
from tunesmith.serve.errors import ApiError
from tunesmith.serve.pipeline import Call
from tunesmith.serve.replies import Told

COMMON = {"gen_ai_provider_name": "tunesmith", "gen_ai_request_model": "words", "gen_ai_response_model": "words@v1"}
BUCKETS = {  # of the conventions, first and last
    "gen_ai_server_request_duration_seconds": (14, "0.01", "81.92"),
    "gen_ai_server_time_to_first_token_seconds": (16, "0.001", "10.0"),
    "gen_ai_server_time_per_output_token_seconds": (13, "0.01", "2.5"),
    "gen_ai_client_token_usage": (14, "1.0", "6.7108864e+07"),
}


async def fail(target: str) -> None:
    if target == "broken":
        raise ApiError(502, "the engine's answer broke off", code="upstream_broke_off")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(registry_of(Echo(before=fail), "words", "broken")) as found:
        ask(found, chat_body("Tea?"), 200)
        ask(found, {**chat_body("Tea?"), "stream": True}, 200)
        ask(found, {"model": "words", "prompt": "Tea?"}, 200, "/v1/completions")
        ask(found, chat_body("Tea?", "broken"), 502)
        ask(found, chat_body("Tea?", "made-up-7"), 404)
        ask(found, {"model": "words", "input": ["Black tea", "Tea"]}, 200, "/v1/embeddings")
        ask(found, {"model": "broken", "input": "Tea"}, 502, "/v1/embeddings")
        ask(found, {"model": "made-up-8", "input": "Tea"}, 404, "/v1/embeddings")
        yield found


def ask(server: Running, body: dict[str, Any], status: int, path: str = "/v1/chat/completions") -> None:
    assert urllib3.request("POST", server.url + path, json=body).status == status


def text_of(server: Running) -> str:
    return urllib3.request("GET", f"{server.url}/metrics").data.decode()


def samples(server: Running, name: str, **labels: str) -> list[Any]:
    found = [sample for family in text_string_to_metric_families(text_of(server)) for sample in family.samples]
    return [one for one in found if one.name == name and all(one.labels.get(key) == value for key, value in labels.items())]


@pytest.mark.parametrize("name", BUCKETS)
def test_each_histogram_has_the_buckets_of_the_conventions(server: Running, name: str) -> None:
    bounds = [one.labels["le"] for one in samples(server, f"{name}_bucket", gen_ai_operation_name="chat")]
    bounds = bounds[: bounds.index("+Inf")]
    assert (len(bounds), bounds[0], bounds[-1]) == BUCKETS[name]


def test_answers_are_counted_by_operation_and_models_and_errors_by_their_status(server: Running) -> None:
    count = "gen_ai_server_request_duration_seconds_count"
    for operation, number in (("chat", 2), ("text_completion", 1)):
        (one,) = samples(server, count, gen_ai_operation_name=operation, error_type="", **COMMON)
        assert one.value == number
    (broken,) = samples(server, count, error_type="502", gen_ai_operation_name="chat")
    assert broken.labels["gen_ai_response_model"] == "" and broken.value == 1
    assert "made-up" not in text_of(server), "a client cannot make labels"
    assert samples(server, count, error_type="404", gen_ai_operation_name="chat")[0].value == 1


def test_embeddings_are_counted_as_an_operation_of_their_own(server: Running) -> None:
    own, count = {"gen_ai_operation_name": "embeddings"}, "gen_ai_server_request_duration_seconds_count"
    assert samples(server, count, error_type="", **own, **COMMON)[0].value == 1
    assert {one.labels["error_type"]: one.value for one in samples(server, count, **own)} == {"": 1, "502": 1, "404": 1}
    assert samples(server, "gen_ai_client_token_usage_sum", gen_ai_token_type="input", **own, **COMMON)[0].value == 3
    (tokens,) = samples(server, "vllm:prompt_tokens_total", model_name="words@v1")
    assert tokens.value == 3 * 3 + 3, "three answers, and the texts"
    (line,) = [one for one in server.log if one["event"] == "embeddings" and one["status"] == 200]
    assert (line["texts"], line["prompt_tokens"], line["model"]) == (2, 3, "words@v1") and "Black" not in str(line)


def test_tokens_are_told_by_their_type(server: Running) -> None:
    for kind, tokens in (("input", 3), ("output", 3)):
        (one,) = samples(
            server, "gen_ai_client_token_usage_sum", gen_ai_operation_name="chat", gen_ai_token_type=kind, **COMMON
        )
        assert one.value == 2 * tokens


def test_an_answer_that_came_whole_has_no_time_of_a_first_token() -> None:
    call, told = Call(ask=Any, model="words"), Told()  # type: ignore[arg-type]
    told.hear(call, Delta(0, "all of it", "stop"))
    told.hear(call, Usage(3, 9))
    assert not told.came_in_pieces(False) and told.came_in_pieces(True)
    pieces = Told()
    for delta in (Delta(0, "all"), Delta(0, " of it", "stop")):
        pieces.hear(call, delta)
    assert pieces.came_in_pieces(False)


def test_promtool_finds_nothing_in_these_names(server: Running) -> None:
    if (program := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed")
    ours = "".join(line for line in text_of(server).splitlines(keepends=True) if "gen_ai_" in line)
    for text, fine in ((ours, True), (ours.replace("_token_usage", "_tokenUsage"), False)):
        done = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == fine, done.stdout + done.stderr
