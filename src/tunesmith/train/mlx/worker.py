"""The process in which mlx-lm trains: a script for the Python that has it, started by `trainer`. It needs nothing of Tunesmith.

Protocol: a line of JSON each over standard input and output, {"do": NAME, …}. While it trains, each line that it reads is a
batch, and each optimiser step gives a line. Shapes: B rows, T positions, V vocabulary.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["Trainer"]

_PAD_TO = 32  # as mlx-lm does it: few shapes, so that its step is compiled few times
_ALL = 1 << 20  # the repetition penalty's window: all tokens

Say = Callable[[dict[str, Any]], None]


class Trainer:
    """A model of mlx-lm in training. `say` sends a line, `hear` reads the next one."""

    def __init__(self, settings: dict[str, Any], say: Say, hear: Callable[[], dict[str, Any]]) -> None:
        import mlx.core as mx
        from mlx_lm.utils import load_model

        self._say, self._hear, self._settings = say, hear, settings
        self._model, _ = load_model(Path(settings["base"]))
        self._model.set_dtype(getattr(mx, settings["precision"]))
        self._model.freeze()
        self._put_weights()
        self._optimizer = _clipping(settings)
        self._checkpointing = False  # whether the class of the layers has been patched, which is done once

    def _put_weights(self) -> None:
        """What is trained, at its start, as `mlx_lm.lora` makes it."""
        from mlx.utils import tree_flatten
        from mlx_lm.tuner.utils import linear_to_lora_layers

        s = self._settings
        if s["kind"] == "full":
            for path, module in self._model.named_modules():
                leaves = [leaf for owner, _, leaf in (name.rpartition(".") for name in s["names"]) if owner == path]
                module.unfreeze(recurse=False, keys=leaves)
        else:
            linear_to_lora_layers(self._model, s["num_layers"], s["lora"], use_dora=s["kind"] == "dora")
            self._model.load_weights(s["start"], strict=False)
        there = {name for name, _ in tree_flatten(self._model.trainable_parameters())}
        if there != set(s["names"]):
            odd = sorted(there ^ set(s["names"]))
            raise ValueError(f"mlx-lm would train other weights: {odd[0]} and {len(odd) - 1} more differ")

    def restore(self, weights: str, moments: str, step: int) -> None:
        """Take up the weights and the moments that `state` wrote, after `step` steps."""
        import mlx.core as mx
        from mlx.utils import tree_unflatten

        self._model.load_weights(weights, strict=False)
        self._optimizer.init(self._model.trainable_parameters())
        kept = dict(self._optimizer.state)
        loaded: Any = mx.load(moments)  # a dictionary, as the file is safetensors
        made = tree_unflatten(list(loaded.items()))
        self._optimizer.state = {**kept, **made, "step": mx.array(step, mx.uint64)}
        self._say({})

    def state(self, moments: str) -> None:
        """Write the moments; the weights are where `train` has left them."""
        import mlx.core as mx
        from mlx.utils import tree_flatten

        found = dict(tree_flatten({k: v for k, v in self._optimizer.state.items() if isinstance(v, dict)}))
        mx.save_safetensors(moments, found)
        self._say({})

    def train(self, weights: str) -> None:
        """Steps by `mlx_lm.tuner.trainer.train` until a line without rows comes; the weights are then in the file `weights`."""
        from mlx_lm.tuner.trainer import TrainingArgs, train

        s = self._settings
        every = s["accumulate"]
        args = TrainingArgs(
            iters=sys.maxsize,
            steps_per_report=every,
            steps_per_save=sys.maxsize,
            adapter_file=weights,
            grad_checkpoint=s["grad_checkpoint"] and not self._checkpointing,
            grad_accumulation_steps=every,
        )
        self._checkpointing = self._checkpointing or args.grad_checkpoint
        train(
            self._model,
            self._optimizer,
            train_dataset=None,
            args=args,
            loss=_mean_loss,
            iterate_batches=lambda **_: self._batches(),
            training_callback=_Report(self._step_done),
        )
        self._say({"ended": True})

    def _batches(self) -> Iterator[tuple[Any, ...]]:
        import mlx.core as mx

        while "rows" in (asked := self._hear()):
            if "seed" in asked:  # dropout is a function of the step, so that a resumed run draws the same masks
                mx.random.seed(asked["seed"])
            yield (*_arrays(asked["rows"]), mx.array(asked["share"], mx.float32))

    def _step_done(self, info: dict[str, Any]) -> None:
        norm = float(self._optimizer.state["grad_norm"])
        self._say(
            {
                "loss": info["train_loss"],
                "grad_norm": norm,
                "learned": int(info["trained_tokens"]),
                "memory": info["peak_memory"],
            }
        )

    def evaluate(self, batches: list[list[Any]]) -> None:
        """Mean −log p over the learned tokens, by mlx-lm's `evaluate`, and the share of them that are the likeliest."""
        import mlx.core as mx
        from mlx_lm.tuner.trainer import evaluate

        right = count = 0

        def loss(model: Any, ids: Any, learned: Any, rows: int) -> tuple[Any, Any]:
            nonlocal right, count
            summed, learned_count, hits = _scored(model, ids, learned)
            right, count = right + int(hits), count + int(learned_count)
            self._say({"done": rows})
            return summed / mx.maximum(learned_count, 1), learned_count  # a row that is cut may have nothing to learn

        found = evaluate(
            self._model,
            batches,
            batch_size=0,
            num_batches=-1,
            loss=loss,
            iterate_batches=lambda dataset, **_: ((*_arrays(rows), len(rows)) for rows in dataset),
        )
        mx.clear_cache()
        self._say({"loss": found, "accuracy": right / max(1, count), "learned": count})

    def answer(self, ids: list[int], room: int, ends: list[int], sampling: dict[str, Any]) -> None:
        """One answer by `mlx_lm.generate`, its end token included."""
        import mlx.core as mx
        from mlx_lm.generate import generate_step
        from mlx_lm.sample_utils import make_logits_processors, make_sampler

        self._model.eval()
        mx.random.seed(sampling["seed"])
        sampler = make_sampler(temp=sampling["temperature"], top_p=sampling["top_p"])
        processors = make_logits_processors(None, sampling["repetition_penalty"], _ALL)
        said = []
        for token, _ in generate_step(
            mx.array(ids), self._model, max_tokens=room, sampler=sampler, logits_processors=processors
        ):
            said.append(int(token))
            if said[-1] in ends:
                break
        self._say({"ids": said})


class _Report:
    """mlx-lm's callback, of which only the losses of training are heard."""

    def __init__(self, hear: Callable[[dict[str, Any]], None]) -> None:
        self.on_train_loss_report = hear


def _clipping(settings: dict[str, Any]) -> Any:
    """mlx's AdamW with torch's bias correction, a rate for each step, and gradients cut to a norm, which it keeps."""
    import mlx.core as mx
    from mlx import optimizers

    rates, most = mx.array(settings["rates"], mx.float32), settings["max_grad_norm"] or float("inf")

    class Clipping(optimizers.AdamW):  # type: ignore[misc]  # mlx has no types
        def apply_gradients(self, gradients: dict[str, Any], parameters: dict[str, Any]) -> Any:
            gradients, self.state["grad_norm"] = optimizers.clip_grad_norm(gradients, most)
            return super().apply_gradients(gradients, parameters)

    made = Clipping(lambda step: rates[mx.minimum(step, len(rates) - 1)], bias_correction=True, **settings["adamw"])
    made.state["grad_norm"] = mx.array(0.0)
    return made


def _mean_loss(model: Any, ids: Any, learned: Any, share: Any) -> tuple[Any, Any]:
    """The batch's share of the mean over all learned tokens of a step, and how many it has."""
    summed, count, _ = _scored(model, ids, learned)
    return summed * share, count


def _scored(model: Any, ids: Any, learned: Any) -> tuple[Any, Any, Any]:
    """Σ −log p of the learned tokens in float32, how many there are, and how many of them are the likeliest."""
    import mlx.core as mx
    from mlx import nn

    logits_BTV, targets, wanted = model(ids[:, :-1]).astype(mx.float32), ids[:, 1:], learned[:, 1:]
    nll = nn.losses.cross_entropy(logits_BTV, targets) * wanted
    hits = mx.logical_and(logits_BTV.argmax(-1) == targets, wanted).sum()
    return nll.sum(), wanted.sum(), hits


def _arrays(rows: list[Any]) -> tuple[Any, Any]:
    """ids_BT and learned_BT of rows (ids, learned), padded at the end with zeros that are not learned."""
    import mlx.core as mx
    import numpy as np

    width = 1 + _PAD_TO * -(-max(len(ids) for ids, _ in rows) // _PAD_TO)
    ids_BT, learned_BT = np.zeros((len(rows), width), np.int32), np.zeros((len(rows), width), bool)
    for row, (ids, learned) in enumerate(rows):
        ids_BT[row, : len(ids)] = ids
        learned_BT[row, : len(learned)] = learned
    return mx.array(ids_BT), mx.array(learned_BT)


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the process that started this one
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what mlx-lm prints goes to the log

    def say(found: dict[str, Any]) -> None:
        out.write(json.dumps(found).encode() + b"\n")
        out.flush()

    def hear() -> dict[str, Any]:
        line = sys.stdin.buffer.readline()
        if not line:
            sys.exit(0)
        found: dict[str, Any] = json.loads(line)
        return found

    import mlx_lm

    try:
        trainer = Trainer(hear(), say, hear)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        say({"refused": str(error)})
        return
    say({"version": str(mlx_lm.__version__)})
    while True:
        asked = hear()
        getattr(trainer, asked.pop("do"))(**asked)


if __name__ == "__main__":
    _main()
