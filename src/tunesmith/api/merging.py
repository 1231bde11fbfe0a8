"""`merge_adapters`: one or several adapters merged into a base, outside of a project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.errors import StorageError
from tunesmith.core.files import commit, new_temporary, remove_tree, sha256_file, storage_errors
from tunesmith.core.reporter import Reporter, SilentReporter

if TYPE_CHECKING:  # what loads torch is imported when it is used
    from tunesmith.models.load import BaseFolder
    from tunesmith.models.merge import MergePrecision
    from tunesmith.models.mixing import AdapterMix, MixMethod

__all__ = ["MergeResult", "merge_adapters"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeResult:
    """A merged model. `base`: its name; `adapters` with their `weights`; `method` and `density` are what combined several.

    `files`: its weight files; `bytes`: the size of the whole folder. `vocabulary`: the rows of an extended embedding, or None.
    `untied`: whether the output head became a matrix of its own. `notes`: what the user should know, a sentence each.
    """

    path: Path
    base: str
    adapters: tuple[str, ...]
    weights: tuple[float, ...]
    method: str
    density: float | None
    files: tuple[str, ...]
    bytes: int
    vocabulary: int | None
    untied: bool
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"path": str(self.path)}


def merge_adapters(  # noqa: PLR0913 (the options of a merge, by name)
    *adapters: str | Path,
    out: str | Path,
    base: str = "",
    weights: Sequence[float] = (),
    method: MixMethod = "linear",
    density: float = 0.5,
    seed: int = 7,
    precision: MergePrecision = "auto",
    max_shard_size: str = "",
    offline: bool = False,
    reporter: Reporter | None = None,
) -> MergeResult:
    """Merge adapters (peft or mlx-lm files) into one model folder in standard files.

    `out`: a folder that does not exist yet, or is empty. `base`: the full-precision base; without it, the one that the adapters
    name. `weights`: one per adapter, 1 each by default. `method`: `linear`, `ties`, `dare` or `dare_ties`; the share `density`
    of each update is kept by all but `linear`, and `seed` draws it for `dare`. `precision`: type of the stored weights, `auto`
    is the base's. `max_shard_size`: largest weight file, such as `2GB`; empty keeps the base's own files.

    Raises:
        ModelError: an adapter that is incomplete, pickled, zero, not finite or made for another base, a quantised base, DoRA
            among several adapters, or weights that do not fit.
        StorageError: `out` holds something, or the disk is full.
    """
    from tunesmith.models.foreign_adapters import checked_adapter
    from tunesmith.models.load import find_base
    from tunesmith.models.merged_files import check_precision, check_size
    from tunesmith.models.mixing import AdapterMix
    from tunesmith.models.trained_on import base_to_merge

    heard, target, given = reporter or SilentReporter(), Path(out), tuple(Path(adapter) for adapter in adapters)
    check_precision(precision)
    check_size(max_shard_size)
    _check_target(target)
    AdapterMix(folders=given, weights=tuple(weights), method=method, density=density, seed=seed)  # before anything is opened
    with ExitStack() as opened:
        folders = tuple(opened.enter_context(checked_adapter(folder, with_modules=True)) for folder in given)
        chosen = find_base(base_to_merge(given, base), offline=offline, reporter=heard)
        mix = AdapterMix(folders=folders, weights=tuple(weights), method=method, density=density, seed=seed)
        notes = _notes(given, chosen)
        for note in notes:
            heard.warn(note)
        with _new_folder(target) as temporary:
            return _merged(chosen, mix, given, target, temporary, precision, max_shard_size, notes)


def _merged(
    base: BaseFolder,
    mix: AdapterMix,
    given: Sequence[Path],
    out: Path,
    temporary: Path,
    precision: MergePrecision,
    max_shard_size: str,
    notes: tuple[str, ...],
) -> MergeResult:
    from tunesmith.models.merge import merge

    made = merge(base, mix, temporary, precision=precision, max_shard_size=max_shard_size)
    several = mix.method != "linear"
    settings = {
        "base": base.name,
        "adapters": [str(folder) for folder in given],
        "weights": list(mix.all_weights),
        "method": mix.method,
        **({"density": mix.density, "seed": mix.seed} if several else {}),
        "precision": precision,
        "max_shard_size": max_shard_size,
    }
    inputs = [{"kind": "base", "id": base.fingerprint}]
    inputs += [{"kind": "adapter", "id": sha256_file(folder / "adapter_model.safetensors")} for folder in mix.folders]
    if out.is_dir():
        out.rmdir()  # empty, as was checked
    commit(temporary, out, {"kind": "merged", "inputs": inputs, "settings": settings, "notes": list(notes)})
    return MergeResult(
        path=out,
        base=base.name,
        adapters=tuple(str(folder) for folder in given),
        weights=mix.all_weights,
        method=mix.method,
        density=mix.density if several else None,
        files=tuple(sorted(file.name for file in out.glob("*.safetensors"))),
        bytes=sum(file.stat().st_size for file in out.iterdir()),
        vocabulary=made.vocabulary,
        untied=made.untied,
        notes=notes,
    )


def _notes(adapters: Sequence[Path], base: BaseFolder) -> tuple[str, ...]:
    from tunesmith.models.older_readers import unread_by_older_readers
    from tunesmith.models.trained_on import trained_on

    notes = []
    for adapter in adapters:
        if quantised := trained_on(adapter).quantised:
            notes.append(
                f"{adapter.name} was trained on a quantised base ({trained_on(adapter).base}: {quantised}) and is merged into"
                f" {base.name} in full precision: answers may differ slightly from those during training"
            )
    if unread := unread_by_older_readers(base.config):
        notes.append(unread)
    return tuple(notes)


def _check_target(out: Path) -> None:
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise StorageError(
            "the folder for the merged model exists already",
            value=str(out),
            expected="a new or an empty folder: nothing is overwritten",
            hint="choose another folder with --out DIR",
        )


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder next to `out`; removed again unless it was renamed."""
    with storage_errors("writing the merged model", out, safe="nothing was left at the target"):
        temporary = new_temporary(out)
        try:
            yield temporary
        finally:
            if temporary.is_dir():
                remove_tree(temporary)
