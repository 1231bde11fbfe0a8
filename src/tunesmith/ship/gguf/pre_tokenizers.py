"""Which of llama.cpp's pre-tokenizers cuts a text as a byte-level tokenizer does, found by the pattern it cuts with.

llama.cpp knows pre-tokenizers by name only, each with its patterns in `src/llama-vocab.cpp`. A wrong name gives other token ids
without any error, so that a pattern that is not in this table is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import ModelError

__all__ = ["PreTokenizer", "pre_tokenizer"]

_GPT2 = "gpt-2's own pattern"  # ByteLevel with use_regex
_DIGITS = "one piece for each digit"
_LETTERS = r"[^\r\n\p{L}\p{N}]?"
_CASED = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_SMALL = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SHORT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_SHORT}|{_LETTERS}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_TAIL}"
_QWEN2 = rf"{_SHORT}|{_LETTERS}\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_TAIL}"
_TEKKEN = rf"{_LETTERS}{_CASED}*{_SMALL}+|{_LETTERS}{_CASED}+{_SMALL}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_TAIL}"
_GPT4O = (
    rf"{_LETTERS}{_CASED}*{_SMALL}+{_SHORT}?|{_LETTERS}{_CASED}+{_SMALL}*{_SHORT}?"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_TAIL}"
)
_APPRENTICE = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_MARKS = "combining marks, as Devanagari, Khmer and Thai have them, are cut off their letters in llama.cpp"


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """A pre-tokenizer of llama.cpp by `name`; `difference`: where it is known to cut differently, empty if nowhere."""

    name: str
    difference: str = ""


_KNOWN: Mapping[tuple[str, ...], PreTokenizer] = {
    (_GPT2,): PreTokenizer("gpt-2"),
    (_DIGITS, _GPT2): PreTokenizer("smollm"),
    (_LLAMA3,): PreTokenizer("llama-bpe"),
    (_QWEN2,): PreTokenizer("qwen2"),
    (_TEKKEN,): PreTokenizer("tekken", _MARKS),
    (_GPT4O,): PreTokenizer("gpt-4o", _MARKS),
    (_APPRENTICE,): PreTokenizer(
        "smollm", "two or more spaces or line breaks before a digit are one piece in llama.cpp and two in transformers"
    ),
}
_WITHOUT_IGNORED_MERGES = {"llama-bpe": PreTokenizer("smaug-bpe")}  # the same pattern; whole words are merged like any other


def pre_tokenizer(spec: Mapping[str, Any]) -> PreTokenizer:
    """llama.cpp's counterpart of a byte-level tokenizer, given the content of tokenizer.json. ModelError if there is none."""
    steps = tuple(_steps(spec.get("pre_tokenizer")))
    found = _KNOWN.get(steps)
    if found is None:
        raise ModelError(
            "llama.cpp has no pre-tokenizer that is known to cut text as this tokenizer does",
            value=" then ".join(steps)[:300] or "no pre-tokenizer",
            expected="the pattern of " + ", ".join(sorted({known.name for known in _KNOWN.values()})),
            hint="ship the merged folder instead: --to merged",
        )
    return found if spec["model"].get("ignore_merges") else _WITHOUT_IGNORED_MERGES.get(found.name, found)


def _steps(part: Mapping[str, Any] | None) -> list[str]:
    """The patterns with which a text is cut, one after the other."""
    if part is None:
        return []
    kind = part["type"]
    if kind == "Sequence":
        return [step for inner in part["pretokenizers"] for step in _steps(inner)]
    if kind == "ByteLevel" and not part.get("add_prefix_space"):
        return [_GPT2] if part.get("use_regex", True) else []
    if kind == "Digits" and part.get("individual_digits"):
        return [_DIGITS]
    isolated = part.get("behavior") == "Isolated" and not part.get("invert")
    inverted = part.get("behavior") == "Removed" and part.get("invert")
    if kind == "Split" and "Regex" in part["pattern"] and (isolated or inverted):
        return [str(part["pattern"]["Regex"])]
    return [f"{kind} { ({key: value for key, value in part.items() if key != 'type'}) }"]
