"""A model in MLX that is asked in this process: its logits, and answers chosen by the same rules and draws as all others.

Shapes: T positions of one row, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunesmith.core.errors import EngineError, ModelError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import digest
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.generate import jobs_for
from tunesmith.models.generation.requests import Completion, Job, Request
from tunesmith.models.generation.sampling import Voice, choose
from tunesmith.models.generation.text import Ending
from tunesmith.ship.quantised_folder import needed
from tunesmith.systems.system import TokenLogprobs

__all__ = ["INSTALL", "MlxSystem", "open_mlx"]

INSTALL = "pip install 'tunesmith[mlx]'"


def open_mlx(path: Path, chat: Chat, *, context: int, label: str, adapter: Path | None = None) -> MlxSystem:
    """Open a folder with mlx-lm, with an adapter in its own format if given. EngineError if
    mlx-lm is missing, ModelError if it refuses the folder."""
    needed("mlx_lm", what="this format", install=INSTALL, error=EngineError)
    from mlx_lm.utils import load_model

    try:
        model, config = load_model(path)
        if adapter is not None:
            from mlx_lm.tuner.utils import load_adapters

            model = load_adapters(model, str(adapter))
            model.eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            "mlx-lm cannot open this folder",
            value=str(adapter or path),
            expected=f"a model or adapter that it knows ({str(error).splitlines()[0][:200]})",
            hint="update mlx-lm, or choose another format",
        ) from error
    files = [*sorted(path.glob("*.safetensors")), *(sorted(adapter.iterdir()) if adapter else [])]
    return MlxSystem(
        name="tuned",
        label=label,
        fingerprint=digest("mlx", *(sha256_file(file) for file in files)),
        precision=_type_of(model, config),
        model=model,
        chat=chat,
        context=context,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MlxSystem:
    """A model of mlx-lm in this process, asked one question at a time. `precision`: the type of its weights."""

    name: str
    label: str
    fingerprint: str
    precision: str
    model: Any
    chat: Chat
    context: int

    def answer(self, requests: Sequence[Request], *, on_done: Callable[[int], None] = lambda count: None) -> list[Completion]:
        """As `models.generate.answer`, with the same draws."""
        answers = []
        for request, job in zip(requests, jobs_for(self.chat, requests, self.context), strict=True):
            ending = Ending(self.chat, request.stop)
            answers.append(ending.completion(self._tokens(job, ending)))
            on_done(1)
        return answers

    def logprobs(self, rows: Sequence[Encoded], *, on_done: Callable[[int], None] = lambda count: None) -> list[TokenLogprobs]:
        """Computed in float32 from the logits on."""
        found = []
        for row, logits_TV in zip(rows, self.logits(rows), strict=True):
            at = [t for t in range(1, len(row.ids)) if row.learned[t]]
            targets = torch.tensor([row.ids[t] for t in at], dtype=torch.long)
            log_p_NV = torch.log_softmax(logits_TV[[t - 1 for t in at]], -1)
            log_p_N = log_p_NV.gather(1, targets[:, None])[:, 0]
            found.append(TokenLogprobs(tuple(log_p_N.tolist()), tuple((log_p_NV.argmax(-1) == targets).tolist())))
            on_done(1)
        return found

    def logits(self, rows: Sequence[Encoded]) -> Iterator[torch.Tensor]:
        """(T, V) of each row, in float32."""
        return (self._forward(row.ids, None) for row in rows)

    def kept_logits(self, rows: Sequence[Encoded]) -> Iterable[torch.Tensor]:
        """The same, computed again each time they are read."""
        return list(self.logits(rows))

    def _tokens(self, job: Job, ending: Ending) -> list[int]:
        from mlx_lm.models.cache import make_prompt_cache

        cache, voice, said = make_prompt_cache(self.model), Voice(job), list[int]()
        ids: Sequence[int] = job.ids
        while len(said) < job.room:
            token = choose(self._forward(ids, cache)[-1:], [voice])[0]
            said.append(token)
            if ending.reached(said):
                break
            ids = [token]
        return said

    def _forward(self, ids: Sequence[int], cache: Any) -> torch.Tensor:
        import mlx.core as mx
        import numpy as np

        logits = self.model(mx.array([list(ids)]), cache=cache)[0].astype(mx.float32)
        return torch.from_numpy(np.array(logits))


def _type_of(model: Any, config: dict[str, Any]) -> str:
    from mlx.utils import tree_flatten

    if "quantization" in config:
        return f"{config['quantization']['bits']} bits"
    return str(next(weight for name, weight in tree_flatten(model.parameters()) if "embed" in name).dtype).split(".")[-1]
