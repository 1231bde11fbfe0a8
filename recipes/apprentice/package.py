"""A checkpoint as a folder that anything that opens a Llama opens.

python package.py --checkpoint work/final/latest --shards work/shards --out work/package [--judged work/judged.json]
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from judge import moving_ttr, table
from model import Llama, hugging_face_config
from pretrain import State, load_checkpoint
from safetensors.torch import save_file

__all__ = ["limits", "main", "write_card", "write_weights"]

log = logging.getLogger("apprentice.package")


def write_weights(model: Llama, out: Path, *, dtype: torch.dtype = torch.bfloat16, seen: State | None = None) -> None:
    """config.json, generation_config.json and model.safetensors, whose metadata say how much text the weights have seen."""
    out.mkdir(parents=True, exist_ok=True)
    config = hugging_face_config(model.shape) | {"dtype": str(dtype).removeprefix("torch.")}
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    ends = {"bos_token_id": 2, "eos_token_id": 7, "pad_token_id": 0}
    (out / "generation_config.json").write_text(json.dumps(ends, indent=2) + "\n")
    weights = {name: p.detach().to(dtype).contiguous() for name, p in model.named_parameters()}
    facts = {"tokens": str(seen.tokens), "seconds": f"{seen.seconds:.1f}"} if seen else {}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt", **facts})
    _in_order(out / "model.safetensors")
    (out / "model.safetensors").chmod(0o644)  # safetensors writes for the owner alone; this one travels in a package


def _in_order(path: Path) -> None:
    """Sort the metadata of a safetensors file, which the library writes in an order that changes from run to run."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = data[8:end].decode()
    told = json.loads(header)["__metadata__"]
    before, after = (json.dumps(facts, separators=(",", ":")) for facts in (told, dict(sorted(told.items()))))
    path.write_bytes(data[:8] + header.replace(before, after, 1).encode() + data[end:])


def write_card(template: Path, out: Path, facts: dict[str, Any]) -> None:
    """The model card, with the run's own numbers in the places marked `{{name}}`."""
    text = template.read_text()
    for name, value in facts.items():
        text = text.replace("{{" + name + "}}", str(value))
    out.write_text(text)


def limits(judged: dict[str, Any]) -> str:
    """What the answers are like, from the judge's figures, with the one that is middling in variety."""
    chat = judged["chat"]
    samples = sorted(judged["samples"], key=lambda sample: moving_ttr(sample["answer"]))
    middling = samples[len(samples) // 2]
    question, answer = (" ".join(middling[part].split()) for part in ("question", "answer"))
    return (
        "It takes up what it is asked about and has next to nothing to say of it. "
        f"Its answers are {chat['mean_words']:.0f} words long in the mean; "
        f"{1 - chat['distinct_and_without_loops']:.1%} of them still repeat themselves, "
        f"and {1 - chat['ended']:.1%} do not end.\n"
        f"One that is middling in variety: `{question[:160]}` → `{answer[:300]}`"
    )


def main(checkpoint: Path, shards: Path, out: Path, judged: Path | None) -> None:
    """Write the whole folder; the card's scores stay open until the model is judged."""
    model, _, state = load_checkpoint(checkpoint)
    write_weights(model, out, seen=state)
    for path in (shards / "tokenizer").iterdir():
        shutil.copy(path, out / path.name)
    results = json.loads(judged.read_text()) if judged and judged.is_file() else None
    write_card(
        Path(__file__).with_name("card.md"),
        out / "README.md",
        {
            "parameters": f"{model.shape.num_parameters:,}",
            "shape": f"width {model.shape.width}, {model.shape.layers} layers, {model.shape.heads} query heads over "
            f"{model.shape.kv_heads} key-value, tied embeddings",
            "vocab": f"{model.shape.vocab_size:,}",
            "tokens": f"{state.tokens / 1e6:.1f}",
            "minutes": f"{state.seconds / 60:.0f}",
            "scores": table(results) if results else "Not measured yet.",
            "limits": limits(results["apprentice"]) if results else "How its answers are has not been measured yet.",
        },
    )
    log.info("%s: %.1f MB, %.1f M tokens seen", out, (out / "model.safetensors").stat().st_size / 1e6, state.tokens / 1e6)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--judged", type=Path)
    given = parser.parse_args()
    main(given.checkpoint, given.shards, given.out, given.judged)
