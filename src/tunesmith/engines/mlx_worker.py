"""The process in which MLX runs: a script for the Python that has `mlx-lm`, started by `mlx`. It needs nothing of Tunesmith.

Protocol, over standard input and output: a line of JSON each, {"do": NAME, …}; the answer of "logits" is followed by bytes.
Log-probabilities come from the model's own logits of all positions, in one forward pass per row.
"""

import json
import os
import sys
from typing import Any

__all__ = ["Worker"]

_ALL = 1 << 20  # the penalty's window: all tokens


class Worker:
    """One loaded model. Each method answers one kind of request. Shapes: T position, V vocabulary."""

    def __init__(self, folder: str, adapter: str | None) -> None:
        import mlx_lm

        self.model, self.tokenizer = mlx_lm.load(folder, adapter_path=adapter)[:2]
        self.version = str(mlx_lm.__version__)

    def tokenize(self, text: str, add_special: bool) -> dict[str, Any]:
        """Ids of a text."""
        return {"ids": list(self.tokenizer.encode(text, add_special_tokens=add_special))}

    def render(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """The template's text."""
        return {"prompt": self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)}

    def answer(self, ids: list[int], max_tokens: int, sampling: dict[str, Any], stop: list[str]) -> dict[str, Any]:
        """One answer with mlx_lm's own generation."""
        import mlx.core as mx
        from mlx_lm.generate import stream_generate
        from mlx_lm.sample_utils import make_logits_processors, make_sampler

        mx.random.seed(sampling["seed"])
        penalty = sampling["repetition_penalty"]
        sampler = make_sampler(
            temp=sampling["temperature"], top_p=sampling["top_p"], min_p=sampling["min_p"], top_k=sampling["top_k"]
        )
        processors = make_logits_processors(None, penalty if penalty != 1 else None, _ALL)
        text, made, reason = "", [], "length"
        stream = stream_generate(
            self.model, self.tokenizer, ids, max_tokens=max_tokens, sampler=sampler, logits_processors=processors
        )
        for piece in stream:
            text += piece.text
            made.append(int(piece.token))
            reason = piece.finish_reason or reason
            cuts = [at for one in stop if (at := text.find(one)) >= 0]
            if cuts:
                text, reason = text[: min(cuts)], "stop"
                break
        return {"text": text, "ids": made, "reason": reason}

    def logits(self, ids: list[int]) -> tuple[dict[str, Any], bytes]:
        """(T, V) float32, as bytes."""
        import mlx.core as mx

        found = self.model(mx.array([ids]))[0].astype(mx.float32)
        mx.eval(found)
        return {"shape": list(found.shape)}, bytes(memoryview(found))


def _main(settings: dict[str, Any]) -> None:
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print goes to the log, not into our answers
    worker = Worker(settings["folder"], settings["adapter"])
    out.write(json.dumps({"version": worker.version}).encode() + b"\n")
    out.flush()
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        found = getattr(worker, asked.pop("do"))(**asked)
        head, content = found if isinstance(found, tuple) else (found, b"")
        out.write(json.dumps(head).encode() + b"\n" + content)
        out.flush()


if __name__ == "__main__":
    sys.path.pop(0)  # our own folder, in which `mlx` would be mlx.py
    _main(json.loads(sys.argv[1]))
