"""Small real things to test on: a 2-layer model with its own tokenizer and chat template, folders with planted faults, posts.

Nothing here is a mock: every folder is opened by transformers as a base from the hub would be.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from tunesmith.core.records import Example, Message, Preference
from tunesmith.core.reporter import Event, Progress, Reporter, SilentReporter
from tunesmith.models.load import BaseFolder, find_base
from tunesmith.pipeline.sections.run import MethodConfig, TrainConfig
from tunesmith.train import run as run_module
from tunesmith.train.method import DEFAULT, open_method
from tunesmith.train.order import Place
from tunesmith.train.results import Trained
from tunesmith.train.run import train_adapter

__all__ = [
    "DROPPING_TEMPLATE",
    "NO_END_TEMPLATE",
    "TEMPLATE",
    "Told",
    "byte_tokenizer",
    "conversation",
    "copy_base",
    "example",
    "examples",
    "golden_rows",
    "make_base",
    "make_tokenizer",
    "preferences",
    "train_tiny",
    "write_posts",
]

torch.set_num_threads(1)  # tiny products gain nothing from a second core, and the numbers stay the same
if not torch.accelerator.is_available():  # torch's own writes down the stack, three times, for devices that are not here
    torch.manual_seed = torch.default_generator.manual_seed
run_module.SAMPLE_TOKENS = 8  # what a tiny model says at a validation tells nothing, and takes a third of a run

Architecture = Literal["llama", "phi3"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
NO_END_TEMPLATE = TEMPLATE.replace("<|end|>", "")
DROPPING_TEMPLATE = TEMPLATE.replace("message['content']", "message['content'].split('</think>')[-1]")
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
MERGES = (
    "Ġ t|h e|i n|Ġ a|r e|o n|e r|Ġt he|n d|o u|Ġ s|Ġ w|a t|i s|e n|o r|e d|Ġ o|Ġ b|Ġ h|i t|in g|Ġ i|a l|Ġ m|Ġ p|a n|Ġ f|"
    "e s|a r|Ġ c|Ġa nd|Ġt o|Ġo f|l e|s t|Ġ d|Ġ l|a s|ou t|Ġi t|v e|l l|h at|Ġt hat|Ġw as"
)
VOCABULARY = 384


def make_base(
    folder: Path,
    *,
    architecture: Architecture = "llama",
    template: str | None = TEMPLATE,
    pad: bool = True,
    seed: int = 7,
    tied: bool = True,
) -> Path:
    """A whole base of some forty thousand random weights, with a context of 768."""
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 768,
        "tie_word_embeddings": tied,
        "bos_token_id": 2,
        "eos_token_id": 7,
        "pad_token_id": 0,
    }
    torch.manual_seed(seed)
    if architecture == "phi3":
        model: Any = Phi3ForCausalLM(Phi3Config(**shape, original_max_position_embeddings=768))
    else:
        model = LlamaForCausalLM(LlamaConfig(**shape))
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # layers that outweigh the embedding, so that answers vary
            if parameter.dim() > 1 and "embed" not in name:
                parameter.mul_(15.0)
        model.model.norm.weight.mul_(20.0)
    logging.disable_progress_bar()
    model.save_pretrained(folder, safe_serialization=True)
    byte_tokenizer(template, pad=pad).save_pretrained(folder)
    return folder


def make_tokenizer(
    folder: Path, template: str, *, special: Sequence[str] = (), ends: Sequence[str] = ("<|end|>",)
) -> BaseFolder:
    """A base of tokenizer, template and declared end tokens alone, without weights. `special`: further control tokens."""
    tokenizer = byte_tokenizer(template, pad=True)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    tokenizer.eos_token = ends[0]
    tokenizer.save_pretrained(folder)
    declared = [tokenizer.convert_tokens_to_ids(end) for end in ends]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": declared}))
    return BaseFolder("tokens alone", folder, "no weights", {}, ())


def byte_tokenizer(template: str | None, *, pad: bool = True) -> PreTrainedTokenizerFast:
    """A byte tokenizer of 384 tokens with this chat template."""
    merges = [(left, right) for left, _, right in (pair.partition(" ") for pair in MERGES.split("|"))]
    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="<|end|>", unk_token="<unk>", pad_token="<pad>" if pad else None
    )
    if template is not None:
        fast.chat_template = template
    return fast


def copy_base(base: Path, folder: Path, *, without: Sequence[str] = (), config: dict[str, Any] | None = None) -> Path:
    """The same base elsewhere, with some files left out and some keys of its config changed."""
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns(*without))
    if config:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    return folder


def conversation(*contents: str, system: str = "") -> tuple[Message, ...]:
    """User and assistant in turn."""
    roles: list[Literal["user", "assistant"]] = ["user", "assistant"]
    turns = tuple(Message(role=roles[n % 2], content=text) for n, text in enumerate(contents))
    return (Message(role="system", content=system), *turns) if system else turns


def example(prompt: str, answer: str, *, id: str, group: str = "") -> Example:
    return Example(id=id, messages=conversation(prompt, answer), document_id=group or id, group=group or id, source="made.md")


_THINGS = (
    "kettle",
    "ladder",
    "needle",
    "candle",
    "button",
    "saddle",
    "barrel",
    "window",
    "anchor",
    "basket",
    "mirror",
    "pencil",
)


_WORDS = [
    "slow",
    "rain",
    "old",
    "hand",
    "green",
    "door",
    "cold",
    "stone",
    "late",
    "light",
    "red",
    "string",
    "warm",
    "oil",
    "long",
    "road",
    "small",
    "bell",
    "wet",
    "rope",
    "dry",
    "wood",
    "soft",
    "cloth",
    "hard",
    "nail",
    "thin",
    "wire",
    "deep",
    "well",
    "high",
    "shelf",
    "low",
    "tide",
    "far",
    "hill",
    "near",
    "gate",
    "dark",
    "room",
    "new",
    "key",
    "last",
    "drop",
    "first",
    "turn",
    "left",
    "over",
    "right",
    "under",
    "kept",
    "found",
    "lost",
    "heard",
    "seen",
    "held",
]


def examples(count: int, *, each: int = 1) -> list[Example]:
    """Short questions and answers of unequal length, in one voice; `each` of them share a document."""
    rows = []
    for n in range(count):
        thing = _THINGS[n % len(_THINGS)]
        answer = f"The {thing} waits, and I wait with it." + " It was a slow day." * (n % 4)
        rows.append(example(f"Tell me about the {thing} {n}.", answer, id=f"e{n:03d}", group=f"d{n // each:03d}"))
    return rows


def preferences(count: int) -> list[Preference]:
    """Prompts with a short answer that is preferred to a long one, each a document of its own."""
    rows = []
    for n in range(count):
        thing = _THINGS[n % len(_THINGS)]
        about: dict[str, Any] = {"document_id": f"d{n:03d}", "group": f"d{n:03d}", "source": "made.md"}
        chosen = f"The {thing} waits."
        rejected = f"The {thing} waits, and {' '.join(random.Random(n).sample(_WORDS, 16 + n % 4))}, and I wait with it."
        asked = conversation(f"Tell me about the {thing} {n}.")
        rows.append(Preference(id=f"p{n:03d}", prompt=asked, chosen=chosen, rejected=rejected, **about))
    return rows


def golden_rows() -> list[Example]:
    """Seven questions with answers of seven documents, for a golden set."""
    words = ("kettle", "lamp", "hinge", "anvil", "rope", "ladder", "stove")
    return [example(f"What of the {word}?", f"{word}, a tin.", id=f"g{n}", group=f"g{n}") for n, word in enumerate(words)]


def write_posts(folder: Path, count: int = 14) -> Path:
    """Short posts in Markdown, two passages each, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        thing, draw = _THINGS[n % len(_THINGS)], random.Random(n)
        paragraphs = [
            f"There is a {thing} in the shed. "
            + " ".join(f"{' '.join(draw.sample(_WORDS, 8)).capitalize()}." for _ in range(4))
            for _ in range(2)
        ]
        body = "\n\n".join(paragraphs)
        (folder / f"{n:02d}-{thing}.md").write_text(f"---\ntitle: The {thing}, part {n}\n---\n\n{body}\n")
    return folder


class Told:
    """A reporter that keeps its notes, warnings and events."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.events: list[Event] = []

    def event(self, event: Event) -> None:
        self.events.append(event)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def progress(self, name: str, *, total: float, unit: str, done: float = 0) -> Progress:
        return SilentReporter().progress(name, total=total, unit=unit, done=done)


def train_tiny(
    base: Path,
    place: Path,
    *,
    train: dict[str, Any] | None = None,
    method: dict[str, Any] | None = None,
    objective: dict[str, Any] | None = None,
    rows: Sequence[Example] | Sequence[Preference] | Mapping[str, Sequence[Any]] | None = None,
    general: Sequence[Example] = (),
    run_id: str = "tiny",
    reporter: Reporter | None = None,
    begin: Callable[..., Trained] | None = None,
) -> Trained:
    """A run of a few steps on the tiny base; the result lies in `place/out`, what resuming needs in `place/work`.

    `rows`: those of the splits, or a list whose last four are the validation's. `begin`: what makes the run, if not torch.
    """
    from tunesmith.models.chat import open_chat

    folder = find_base(str(base))
    made: Any = rows if rows is not None else examples(20)
    splits = made if isinstance(made, Mapping) else {"train": made[:-4], "val": made[-4:]}
    settings: dict[str, Any] = {
        "max_steps": 6,
        "batch_examples": 4,
        "evaluate_every": 2,
        "checkpoint_every": 2,
        "patience": 0,
        "min_delta": 0.0,
    }
    settings |= {"learning_rate": 0.01, "precision": "float32"} | (train or {})
    return (begin or train_adapter)(
        folder,
        open_chat(folder),
        {**splits, "general": general},
        objective=open_method(**{"kind": DEFAULT, **(objective or {})}),
        method=MethodConfig.model_validate({"rank": 4, "alpha": 8.0, "dropout": 0.1} | (method or {})),
        train=TrainConfig.model_validate(settings),
        precision="float32",
        place=Place(run_id, place / "work", place / "out"),
        reporter=reporter or SilentReporter(),
    )
