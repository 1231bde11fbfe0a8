"""`plan --params` and `lora` as people and scripts meet them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunesmith.cli.main import main

CONFIG: dict[str, Any] = {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 48,
} | {
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151936,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
    "decoder_sparse_step": 1,
}


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG), encoding="utf-8")
    return str(file)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        main(list(words))
        code: Any = 0
    except SystemExit as end:
        code = end.code
    found = capsys.readouterr()
    return int(code or 0), found.out, found.err


def test_plan_of_a_config_prints_the_contract(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "plan", "--params", config, "--json")
    found = json.loads(out)
    assert code == 0 and found["parameters"] == 30_532_122_624  # Qwen3-30B-A3B: "30.5B", "3.3B activated"
    assert 3.3e9 < found["active_parameters"] < 3.4e9
    assert {"by_kind", "dimensions", "training", "serving", "gpus", "time", "settings", "adapter_parameters"} <= found.keys()
    assert set(found["by_kind"]) == {"embedding", "attention", "router", "experts", "norms", "head"}


def test_lora_of_two_numbers_prints_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    words = "lora --hidden 4096 --layers 32 --ranks 4,8,16,32,64 --targets q_proj,k_proj,v_proj,o_proj --json"
    code, out, _ = said(capsys, *words.split())
    found = json.loads(out)
    assert code == 0 and [row["rank"] for row in found["ranks"]] == [4, 8, 16, 32, 64]
    assert [row["parameters"] for row in found["ranks"]] == [2**20 * rank for rank in (4, 8, 16, 32, 64)]
    assert [one["budget_mb"] for one in found["budgets"]] == [10, 50, 100, 500]
    assert {"share", "adapter_mb", "adapter_mb_bf16", "memory_bytes", "memory_saved_bytes"} <= found["ranks"][0].keys()


@pytest.mark.parametrize(
    "words",
    [
        "plan --params CONFIG",
        "lora --config CONFIG --targets attention --budget-mb 5",
        "lora --hidden 64 --layers 2 --targets q_proj",
    ],
)
def test_the_tables_fit_a_terminal_of_80_columns(
    words: str, config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = said(capsys, *words.replace("CONFIG", config).split())
    lines = [line.rstrip() for line in out.splitlines()]
    assert code == 0 and len(lines) > 5 and max(map(len, lines)) <= 80 and "…" not in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("lora --hidden 4096 --layers 32 --ranks 4,x --targets q_proj", "'x' is not one"),
        ("lora --hidden 4096 --targets q_proj", "which model is missing"),
        ("lora --config CONFIG --hidden 8", "--hidden has no effect with --config"),
        ("lora --hidden 4096 --layers -1 --targets q_proj", "wrong layers: -1"),
        ("lora --config CONFIG --targets gate_proj", "linear layers of this model: k_proj, o_proj, q_proj, v_proj"),
        ("plan --params CONFIG --precision fp4", "wrong precision"),
        ("plan --params nothing.json", "no config of a model"),
        ("plan --params CONFIG --prices nothing.csv", "cannot read the table of GPUs"),
        ("plan --rank 8", "--rank needs --params"),
        ("plan --context 8", "--context needs --params"),
        ("plan --params CONFIG --source ./posts", "--source has no effect with --params"),
        ("plan --params CONFIG --set train.epochs=3", "--set has no effect with --params"),
    ],
)
def test_a_wrong_word_is_answered_with_what_was_expected(
    words: str, expected: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(capsys, *words.replace("CONFIG", config).split())
    assert code == 1 and out == "" and expected in err and "hint:" in err and "expected" in err


def test_neither_loads_torch(config: str) -> None:
    code = (
        "import sys; from tunesmith.cli.main import main\n"
        f"main(['plan', '--params', {config!r}, '--json'])\n"
        f"main(['lora', '--config', {config!r}, '--targets', 'q_proj', '--json'])\n"
        "print('HEAVY', sorted({'torch', 'transformers', 'peft', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stderr
