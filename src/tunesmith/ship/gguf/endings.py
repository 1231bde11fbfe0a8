"""Special tokens of a GGUF file: begin, end, padding, and every token at which an answer ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gguf import GGUFWriter

from tunesmith.core.errors import ModelError
from tunesmith.models.load import BaseFolder

__all__ = ["add_special_tokens", "added_around"]

# Tokens at which llama.cpp ends an answer whatever the file says (`special_eog_ids` in its src/llama-vocab.cpp).
_ENDS_BY_TEXT = frozenset(
    {
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
        "<|endoftext|>",
        "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>",
        "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
    }
)  # fmt: skip
_ENDS_OF_FILES = frozenset(
    {
        "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]", "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>",
        "<reponame>", "<|file_sep|>",
    }
)  # fmt: skip


def add_special_tokens(writer: GGUFWriter, base: BaseFolder, tokenizer: Any, end_ids: Sequence[int]) -> tuple[str, ...]:
    """Write the ids of the special tokens, and whether a text gets a begin or end token.

    `end_ids`: all tokens at which the model stops. A GGUF file has room for three (end of sequence, of turn, of message);
    llama.cpp knows further ones by their text. Returns sentences on tokens at which llama.cpp stops and transformers does not.
    ModelError if an end has no place.
    """
    prefix, suffix = added_around(tokenizer)
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else base.config.get("bos_token_id")
    ends = list(dict.fromkeys(end_ids))
    if prefix not in ((), (begin,)) or suffix not in ((), (ends[0] if ends else None,)):
        raise ModelError(
            "the tokenizer adds tokens around a text that a GGUF file cannot ask for",
            value=tokenizer.convert_ids_to_tokens([*prefix, *suffix]),
            expected="at most the begin token in front and the end token after it",
            hint="ship the merged folder instead: --to merged",
        )
    if isinstance(begin, int):
        writer.add_bos_token_id(begin)
    texts = tokenizer.convert_ids_to_tokens(ends)
    others = [token for token, text in zip(ends[1:], texts[1:], strict=True) if text not in _ENDS_BY_TEXT]
    if len(others) > 2:
        raise ModelError(
            "the model stops at more tokens than a GGUF file has room for",
            value=tokenizer.convert_ids_to_tokens(others),
            expected="at most two beyond the end token and those that llama.cpp knows",
            hint="remove the ones that are never written from eos_token_id in generation_config.json",
        )
    places = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    for end, add in zip([*ends[:1], *others], places, strict=False):
        add(end)
    for name, add in (("unk", writer.add_unk_token_id), ("pad", writer.add_pad_token_id)):
        if (own := getattr(tokenizer, f"{name}_token_id", None)) is not None:
            add(own)
    writer.add_add_bos_token(bool(prefix))
    writer.add_add_eos_token(bool(suffix))
    vocabulary = tokenizer.get_vocab()
    surplus = sorted(text for text in _ENDS_BY_TEXT | _ENDS_OF_FILES if text in vocabulary and vocabulary[text] not in ends)
    return (f"llama.cpp also stops at {', '.join(surplus)}",) if surplus else ()


def added_around(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that the tokenizer puts before and after a plain text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return tuple(whole[:start]), tuple(whole[start + len(bare) :])
    return (), ()
