"""Whole runs on architectures that are not plain: trained, merged, and what was left out is in the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import PACKED, REFUSED, SEEING, make
from fakes import TEMPLATE, byte_tokenizer, train_tiny
from tunesmith.models.adapters import adapter_moves, open_adapter
from tunesmith.models.load import find_base, load_model
from tunesmith.models.merge import merge

pytestmark = pytest.mark.filterwarnings("ignore")  # of kernels that are not installed


def whole_base(name: str, folder: Path) -> Path:
    """A folder with random weights of this architecture and a tokenizer."""
    model, tokenizer = make({**PACKED, **REFUSED, **SEEING}[name]), byte_tokenizer(TEMPLATE)
    model.resize_token_embeddings(len(tokenizer))
    for rate in ("attn_pdrop", "resid_pdrop", "embd_pdrop"):
        if name == "GPT-2":
            setattr(model.config, rate, 0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=torch.arange(8, 60)[None], use_cache=False).logits
    return found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("GPT-2", ["attn_pdrop 0.1", "switched off", "token trees"]),
        ("Falcon-H1", ["padded rows: its layers leak", "state-space layers"]),
        ("GLM-4 MoE", ["experts", "layers named like experts", "token trees"]),
        ("Gemma 3 with vision", ["vision and other inputs", "21 of 21 linear layers"]),
    ],
)
def test_a_run_learns_merges_to_the_same_model_and_reports_what_it_left_out(name: str, said: list[str], tmp_path: Path) -> None:
    base = find_base(str(whole_base(name, tmp_path / "base")))
    train_tiny(base.path, tmp_path, train={"max_steps": 2}, method={"targets": "all"})
    adapted = open_adapter(load_model(base, "float32"), tmp_path / "out" / "adapter")
    assert adapter_moves(adapted)
    merge(base, tmp_path / "out" / "adapter", tmp_path / "merged")
    merged = load_model(find_base(str(tmp_path / "merged")), "float32")
    wanted = logits(adapted)
    assert float((logits(merged) - wanted).abs().max()) <= 1e-4 * float(wanted.abs().max())
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(words in page for words in said), [words for words in said if words not in page]
