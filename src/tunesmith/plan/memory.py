"""Bytes that a whole command takes, from shapes alone: the largest of what training, merging and evaluation hold at once.

A process holds its libraries, the weights of a stage, and what that stage computes on. As counted on token trees
(`docs/log.md`), an adapted layer keeps of each token five widths, keys, values and two inner widths for the backward pass;
with adapters in the MLP, one width and one inner width more. Attention keeps its probabilities up to `KEPT_KEYS` keys, and
beyond `_BY_KERNEL` one width and two numbers a head, which the library's kernel wants back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tunesmith.plan.shape import Shape

__all__ = [
    "ENOUGH",
    "ENOUGH_CACHE",
    "KEPT_KEYS",
    "LIBRARIES",
    "MOMENTS",
    "PROMPT_TOKENS",
    "SCORED",
    "SUITE_BATCH",
    "SUITE_PROMPT",
    "Memory",
    "Stages",
    "always_there",
    "answering",
    "computing",
    "drawing",
    "kept_a_token",
    "left_by_training",
    "memory_of",
    "opening",
    "stages",
]

# The engine's own numbers, which tests hold these to.
KEPT_KEYS = 256  # up to so many, attention's probabilities are kept
ENOUGH = 384  # tokens that training takes at once on a CPU, where it chooses
SCORED = 3072  # tokens that validation and evaluation score at once
ENOUGH_CACHE = 768 * 2**20  # bytes of keys and values of answers in work, at most
PROMPT_TOKENS = 2048  # of new prompts that a pass of generation takes in
SUITE_BATCH = 128  # questions of a suite at once
SUITE_PROMPT = 80  # tokens of a long one in its template

LIBRARIES = 500 * 2**20
_PROJECT = 100 * 2**20  # dataset, tokenizer and tables of a run, and what earlier stages left in pieces
# What a process keeps of training in bfloat16 on a CPU: a kernel for every length and shape, and pieces of freed memory
# between them. Measured after a run on 135 M parameters: 1,016 MiB, where libraries and project are 600. Other sizes were not.
_KERNELS = 400 * 2**20
_HEAD = 3 * 32 * 2**20  # logits, gradient and a copy of the chunk of predictions that meets the output matrix
_COPIES = 2  # of what is trained, in float32: itself and its gradient; the best ones are in files
MOMENTS: Mapping[str, float] = MappingProxyType(  # what an optimiser keeps for each number, in float32 numbers
    {"adamw": 2, "adamw_8bit": 0.5, "lion": 1, "muon": 1, "paged_adamw_8bit": 0.5, "schedule_free": 2}
)
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes a weight: 4 bits, a scale of 8 bits for 64, a scale of 32 bits for 256 of those
_BY_KERNEL = 512  # keys beyond which the library's kernel attends
_SMALL = 112  # numbers a token of a layer: what adapters of usual rank, norms and masks keep
_AROUND = 2  # widths outside the layers: the last hidden state and its gradient
_SHARE = 0.5  # of what is free once the model is there, as training itself takes it
_HOLES = 2.2  # times what is kept: results on their way, and free pieces between living ones that fit nothing
_SPARE_COLUMNS = 32  # of a slot for an answer, beyond prompt and answer


@dataclass(frozen=True, slots=True)
class Memory:
    """Of training. `least`: bytes with one example at once; `likely`: bytes with the `tokens` at once that it will choose."""

    least: int
    likely: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Stages:
    """Bytes of the process at the peak of each stage."""

    training: int
    merging: int
    evaluation: int

    @property
    def peak(self) -> int:
        """Of the whole command."""
        return max(self.training, self.merging, self.evaluation)

    @property
    def largest(self) -> str:
        """The name of the stage with the peak."""
        return max(("training", "merging", "evaluation"), key=lambda name: getattr(self, name))


def always_there(
    shape: Shape,
    *,
    trainable: int,
    bytes_a_weight: int,
    four_bit: bool = False,
    optimizer: str = "adamw",
    states_on_disk: bool = False,
    whole: bool = False,
) -> int:
    """Bytes of weights, adapter with gradient and moments (once more in a rounded type), the head's chunk, and libraries.

    `four_bit`: the linear layers of the blocks are in NF4, of which the largest is whole while it is used. `states_on_disk`:
    the moments are in memory a part at a time, while nothing is kept for a backward pass. `whole`: the base's own weights move,
    in its number type, and so have gradients and moments.
    """
    size = bytes_a_weight if whole else 4
    moments = 0.0 if states_on_disk else MOMENTS[optimizer] * (4 if "8bit" in optimizer else size)
    copies = size if whole else _COPIES * size + (bytes_a_weight if bytes_a_weight < 4 else 0)
    adapter = int(trainable * (copies + moments))
    weights = shape.num_parameters * bytes_a_weight
    if four_bit:
        rest = shape.num_parameters - shape.linear_params
        weights = rest * bytes_a_weight + int(shape.linear_params * _NF4) + shape.width * shape.inner * bytes_a_weight
    return weights + adapter + _HEAD + LIBRARIES


def kept_a_token(
    shape: Shape,
    *,
    adapted_layers: int,
    adapted_mlp: bool,
    bytes_a_weight: int,
    checkpointing: bool,
    length: int,
    dora: bool = False,
) -> int:
    """Bytes saved for the backward pass per token of an example of `length`; with checkpointing, those of one layer.

    `dora`: each adapted layer has a magnitude, whose gradient needs the results of base and update, and peft's own passes
    keep the inputs of an adapted layer in float32, and the products within an MLP.
    """
    layer = 5 * shape.width + 2 * shape.key_width + 2 * shape.inner + _SMALL
    if adapted_mlp:
        layer += shape.width + shape.inner + _SMALL // 2
    if dora:
        wide = 4 // bytes_a_weight  # of the adapter's numbers, which are float32, in numbers of this size
        results = 2 * shape.width + 2 * shape.key_width + adapted_mlp * (2 * shape.inner + shape.width)
        copied = (wide - 1) * wide * (4 * shape.width + adapted_mlp * (2 * shape.width + shape.inner))
        layer += (1 + wide) * results + copied + wide * shape.width + 2 * adapted_mlp * shape.inner + _SMALL // 2
    if length <= KEPT_KEYS:
        layer += shape.heads * length
    elif length > _BY_KERNEL:
        layer += shape.width + 2 * shape.heads
    whole = adapted_layers * shape.width + layer if checkpointing else adapted_layers * layer
    return (whole + _AROUND * shape.width) * bytes_a_weight


def memory_of(
    there: int,
    a_token: Callable[[int], int],
    *,
    longest: int,
    batch_tokens: int,
    wanted: int,
    free: int,
    unit: int = 0,
) -> Memory:
    """What a run takes whose longest row has `longest` tokens and whose largest batch `batch_tokens`, with `free` bytes.

    `there` bytes are there anyway; `a_token(length)` is what a token of an example of that length keeps. `wanted` tokens
    at once are taken as they are; 0 leaves it to what is enough and what fits. `unit`: tokens of the most rows that are never
    parted; 0: of the longest row alone.
    """
    most = max(a_token(longest), a_token(min(longest, KEPT_KEYS)))
    fits = int(_SHARE * max(0, free - there) / most)
    chosen = min(ENOUGH, 1 << fits.bit_length() - 1 if fits else 0)
    least = unit or longest
    tokens = max(least, min(batch_tokens, wanted or chosen))
    at_once = tokens * (most if tokens > longest else a_token(longest))
    return Memory(there + least * a_token(longest), there + int(_HOLES * at_once), tokens)


def left_by_training(shape: Shape, *, bytes_a_weight: int) -> int:
    """Bytes that training in bfloat16 leaves in the process: no more than a small model's weights in float32."""
    return min(_KERNELS, 4 * shape.num_parameters) if bytes_a_weight == 2 else 0


def computing(shape: Shape, tokens: int, *, bytes_a_number: int) -> int:
    """Bytes of results on their way while `tokens` pass through a layer forwards, nothing kept."""
    return tokens * (6 * shape.width + 4 * shape.inner) * bytes_a_number


def answering(shape: Shape, *, answers: int, prompt: int, room: int, free: int) -> int:
    """Bytes of keys and values while so many answers of up to `room` tokens to prompts of `prompt` are asked for at once."""
    wanted = answers * (prompt + room + _SPARE_COLUMNS) * 8 * shape.layers * shape.key_width  # two float32 numbers a key
    return min(wanted, ENOUGH_CACHE, free // 4)


def drawing(shape: Shape, *, answers: int, prompt: int, room: int, free: int) -> int:
    """Bytes while a step's answers are drawn from the model that is trained: their keys and values, and a pass over prompts."""
    passed = min(PROMPT_TOKENS, answers * prompt)
    return answering(shape, answers=answers, prompt=prompt, room=room, free=free) + int(
        _HOLES * computing(shape, passed, bytes_a_number=4)
    )


def opening(shape: Shape, *, bytes_a_weight: int, file_bytes: int) -> int:
    """Bytes while a base is put into 4 bits: the pages of its file, all weights in the run's type, and those in 4 bits."""
    weights = shape.num_parameters * bytes_a_weight + int(shape.linear_params * _NF4)
    return LIBRARIES + file_bytes + weights


def stages(
    shape: Shape, *, training: int, test_tokens: int, trainable: int, cache: int, file_bytes: int = 0, kept: int = 0
) -> Stages:
    """`training`: bytes of that stage alone. `test_tokens`: of all rows to be scored; `cache`: what `answering` takes; `kept`:
    what `left_by_training` says.

    Merging holds the weights in float32, their copy on its way to the disk, and the file of the base that is read for it
    (`file_bytes`: the largest), whose pages count as the process's own while they are there. Evaluation holds one copy of the
    weights in float32 at a time, with what answers and a pass over prompts take, or scores, or with the base alongside the
    merged model, and the files of both, to check the sums.
    """
    one = LIBRARIES + _PROJECT + kept + 4 * shape.num_parameters + 4 * trainable
    copy = 4 * shape.num_parameters
    scored = int(_HOLES * computing(shape, min(SCORED, test_tokens), bytes_a_number=4))
    answered = cache + int(_HOLES * computing(shape, PROMPT_TOKENS, bytes_a_number=4)) if cache else 0
    return Stages(_PROJECT + training, one + copy + file_bytes, one + max(answered, scored, copy, 2 * file_bytes) + _HEAD)
