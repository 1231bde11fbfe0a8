"""The frozen trunk, computed once: the output of the layers below the lowest adapted one never changes, so it is cached.

It is computed for all rows before the first step, in an order that depends only on the rows (so a resumed run reads the same
numbers), stored memory-mapped in the model's own number type, and read by training and validation.

Shapes: T tokens of a tree, M tokens of all rows, D width.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunesmith.core.files import replace_file, sha256_file, storage_errors
from tunesmith.core.records import digest
from tunesmith.models.batching import by_length
from tunesmith.models.chat import Encoded
from tunesmith.models.packed.layout import Tree, tokens_of
from tunesmith.models.packed.model import PackedModel, layers_of

__all__ = ["Trunk", "cache_bytes", "kept_trunk", "lowest_adapted", "room_for_cache"]

_SHARE_OF_DISK = 0.25  # of the free disk, at most
_EXACT, _ROUNDED = 1e-4, 1e-2  # nats per token that reading instead of computing may change, float32 and rounded types


def lowest_adapted(modules: Sequence[str]) -> int:
    """Number of the lowest layer that has an adapted module; everything below it is the trunk."""
    return min(int(found.group(1)) for name in modules if (found := re.search(r"\.(\d+)\.", name)))


def cache_bytes(num_tokens: int, width: int, bytes_a_number: int) -> int:
    """Size of the cached hidden states."""
    return num_tokens * width * bytes_a_number


def room_for_cache(folder: Path, size: int) -> str:
    """Empty if `size` bytes may be stored on the disk of `folder`, else the reason why not."""
    free = shutil.disk_usage(folder).free
    if size <= _SHARE_OF_DISK * free:
        return ""
    return f"it would take {size / 2**30:.1f} GiB, more than a quarter of the {free / 2**30:.1f} GiB that are free"


class _Reached(Exception):
    """Stops the forward pass at the end of the trunk and carries the hidden states."""

    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self.hidden = hidden


class _Stand(torch.nn.Module):
    """Replaces one frozen layer: `forward` returns the cached hidden states; other attributes are read from the real layer."""

    def __init__(self, layer: torch.nn.Module, give: Callable[[torch.Tensor], torch.Tensor], *, as_tuple: bool) -> None:
        super().__init__()
        self._give, self._as_tuple = give, as_tuple
        object.__setattr__(self, "_layer", layer)  # not a child: its weights keep their names and places

    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> Any:
        """The cached hidden states instead of the layer's own output."""
        given = self._give(hidden)
        return (given,) if self._as_tuple else given

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(object.__getattribute__(self, "_layer"), name)


class Trunk:
    """The kept hidden states below layer `depth`, of `rows`, in `file`."""

    def __init__(self, lean: PackedModel, rows: Sequence[Encoded], *, depth: int, file: Path) -> None:
        self.lean, self.depth, self.file = lean, depth, file
        self._layers = layers_of(lean.decoder)
        self._begin = {row: 0 for row in rows}
        total = 0
        for row in self._begin:
            self._begin[row] = total
            total += len(row.ids)
        self._total = total
        self._kept: torch.Tensor | None = None
        self._as_tuple = False

    def fill(self, on_done: Callable[[int], None] = lambda rows: None) -> None:
        """Compute what is kept, unless the file is there, whole and unchanged since it was finished."""
        rows = list(self._begin)
        width, dtype = self.lean.head.weight.shape[1], self.lean.head.weight.dtype
        shape, mark = (self._total, width), self.file.with_suffix(".done")
        kind: Any = np.float32 if dtype == torch.float32 else np.int16
        whole = mark.is_file() and self.file.is_file() and mark.read_text(encoding="ascii") == sha256_file(self.file)
        with storage_errors("keeping what the frozen layers compute", self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            kept = np.memmap(self.file, kind, "r+" if whole else "w+", shape=shape)
        self._kept = torch.from_numpy(kept).view(dtype)
        batches = list(by_length([len(row.ids) for row in rows], most=64))
        for batch in batches[:1] if whole else batches:  # the first tells how layers answer, whole or not
            tree = self.lean.lay_out([rows[i] for i in batch])
            hidden_TD = self._below(tree)
            if not whole:
                for row, path in zip(tree.rows, tree.paths, strict=True):
                    own_TD = hidden_TD[torch.from_numpy(tokens_of(tree.segments, path)).to(hidden_TD.device)]
                    self._kept[self._begin[row] : self._begin[row] + len(row.ids)] = own_TD.to("cpu", dtype)
                on_done(len(batch))
        if not whole:
            with storage_errors("keeping what the frozen layers compute", self.file):
                kept.flush()
                replace_file(mark, sha256_file(self.file).encode())

    def _places(self, tree: Tree) -> torch.Tensor:
        """Position of each token of the tree in the file; a shared token is stored once for each of its rows."""
        begins = torch.tensor([self._begin[row] for row in tree.rows])
        return begins[tree.any_row_T.cpu()] + tree.positions_T.cpu()

    @torch.no_grad()
    def _below(self, tree: Tree) -> torch.Tensor:
        last = self._layers[self.depth - 1]

        def stop(module: Any, given: Any, out: Any) -> None:
            self._as_tuple = isinstance(out, tuple)
            raise _Reached(out[0] if self._as_tuple else out)

        handle = last.register_forward_hook(stop)
        try:
            self.lean.hidden(tree)
        except _Reached as reached:
            return reached.hidden[0]
        finally:
            handle.remove()
        raise ValueError("the trunk was never reached")

    @contextmanager
    def standing_in(self, tree: Tree) -> Iterator[None]:
        """Inside, the layers of the trunk give what is kept for `tree`, and compute nothing."""
        if self._kept is None:
            raise ValueError("the trunk was not filled")
        now = self._kept[self._places(tree)].to(tree.ids_T.device)[None]
        before = list(self._layers[: self.depth])
        try:
            for i, layer in enumerate(before):
                give = (lambda hidden: now) if i == self.depth - 1 else (lambda hidden: hidden)
                self._layers[i] = _Stand(layer, give, as_tuple=self._as_tuple)
            yield
        finally:
            for i, layer in enumerate(before):
                self._layers[i] = layer


def kept_trunk(
    lean: PackedModel,
    rows: Sequence[Encoded],
    *,
    depth: int,
    folder: Path,
    base: str,
    on_done: Callable[[int], None] = lambda rows: None,
) -> PackedModel:
    """The same model reading its lowest `depth` layers from a file in `folder`, filled for `rows`.

    The file's name is the hash of all that its content depends on; others in the folder are deleted. ValueError if the
    model, read so, gives other log-probabilities than before.
    """
    unique = list(dict.fromkeys(rows))
    parts = (base, str(lean.head.weight.dtype), str(depth), str(lean.share))
    name = digest(*parts, *(str(row.ids) for row in unique))[:24]
    for old in folder.glob("*") if folder.is_dir() else ():
        if old.stem != name:
            old.unlink()
    trunk = Trunk(lean, unique, depth=depth, file=folder / f"{name}.hidden")
    trunk.fill(on_done)
    reading = replace(lean, trunk=trunk)
    tree = lean.lay_out(unique[:4])
    off = float((reading.score(tree)[0] - lean.score(tree)[0]).abs().mean())
    if off > (_EXACT if lean.head.weight.dtype == torch.float32 else _ROUNDED):
        raise ValueError(f"cached hidden states change its log-probabilities by {off:.2g} nats per token")
    return reading
