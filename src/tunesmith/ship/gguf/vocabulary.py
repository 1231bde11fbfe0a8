"""The vocabulary of a GGUF file: texts, kinds, scores or merges of the tokens, from the tokenizer as transformers uses it.

Two kinds are known: byte-level BPE (`gpt2` in llama.cpp), and BPE over pieces with a byte fallback, as SentencePiece makes it
(`llama`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gguf import TokenType

from tunesmith.core.errors import ModelError
from tunesmith.ship.gguf.pre_tokenizers import pre_tokenizer

__all__ = ["Vocabulary", "vocabulary"]

_SPACE = "▁"  # how pieces write a space
_NEVER = -1e9  # the score of a piece that no merge makes
_COMPOSED = (
    "llama.cpp does not compose characters (NFC): a text with decomposed accents gets other token ids than in transformers"
)
_FIRST_SPACE = (
    "plain text outside the chat template gets no space in front of its first word in llama.cpp, in transformers it does"
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens in the order of their ids. `scores` are set for pieces, `merges` for bytes.

    `space_prefix`: whether llama.cpp puts a space before the first word (None: not asked for this kind). `differences`: where
    llama.cpp is known to give other ids than transformers, as sentences.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    scores: tuple[float, ...] = ()
    merges: tuple[str, ...] = ()
    space_prefix: bool | None = None
    differences: tuple[str, ...] = ()


def vocabulary(spec: Mapping[str, Any], num_rows: int, *, chat_opens_with_token: bool = False) -> Vocabulary:
    """The vocabulary of `spec`, the content of a tokenizer.json, for `num_rows` rows of the embedding.

    Rows without a token are named `[PAD17]` and marked unused. `chat_opens_with_token`: every prompt of the chat template
    begins with a control token. ModelError for a kind of tokenizer that llama.cpp would not reproduce.
    """
    model = spec["model"]
    if model["type"] != "BPE":
        raise _unknown(f"a {model['type']} model")
    if _is_byte_level(spec.get("pre_tokenizer")):
        return _of_bytes(spec, num_rows)
    if model.get("byte_fallback"):
        return _of_pieces(spec, num_rows, chat_opens_with_token=chat_opens_with_token)
    raise _unknown("BPE without bytes: characters that it does not know are lost")


def _unknown(what: str) -> ModelError:
    return ModelError(
        "this tokenizer cannot be written as GGUF",
        value=what,
        expected="byte-level BPE, or BPE over pieces with a byte fallback",
        hint="ship the merged folder instead: --to merged",
    )


def _of_bytes(spec: Mapping[str, Any], num_rows: int) -> Vocabulary:
    found = pre_tokenizer(spec)
    normalisers = [part["type"] for part in _parts(spec.get("normalizer"), "normalizers")]
    if set(normalisers) - {"NFC"}:
        raise _unknown(f"byte-level BPE after {', '.join(normalisers)}")
    tokens, kinds = _tokens(spec, num_rows, unknown=None)
    differences = [text for text in (found.difference, _COMPOSED if normalisers else "", _stripping(spec, phi=False)) if text]
    merges = tuple(" ".join(pair) for pair in _merges(spec))
    return Vocabulary("gpt2", found.name, tokens, kinds, merges=merges, differences=tuple(differences))


def _of_pieces(spec: Mapping[str, Any], num_rows: int, *, chat_opens_with_token: bool) -> Vocabulary:
    tokens, kinds = _tokens(spec, num_rows, unknown=spec["model"].get("unk_token"))
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(_merges(spec)):
        ranks.setdefault(left + right, rank)
    scores = tuple(-float(ranks[token]) if token in ranks else _NEVER for token in tokens)
    prefix = _space_prefix(spec)
    differences = [_stripping(spec, phi=True)]
    if prefix == "first" and chat_opens_with_token:
        differences.append(_FIRST_SPACE)
    has_prefix = prefix == "always" or (prefix == "first" and not chat_opens_with_token)
    known = tuple(text for text in differences if text)
    return Vocabulary("llama", "default", tokens, kinds, scores=scores, space_prefix=has_prefix, differences=known)


def _tokens(spec: Mapping[str, Any], num_rows: int, *, unknown: str | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    texts = [f"[PAD{row}]" for row in range(num_rows)]
    kinds = [int(TokenType.UNUSED)] * num_rows
    for text, place in spec["model"]["vocab"].items():
        if place < num_rows:
            texts[place] = text
            is_byte = unknown is not None and len(text) == 6 and text.startswith("<0x")
            kinds[place] = int(TokenType.BYTE if is_byte else TokenType.NORMAL)
    for added in spec.get("added_tokens", ()):
        if (place := int(added["id"])) < num_rows:
            special = TokenType.UNKNOWN if added["content"] == unknown else TokenType.CONTROL
            kinds[place] = int(special if added["special"] else TokenType.USER_DEFINED)
            # llama.cpp looks for these in the raw text, where a space is a space
            texts[place] = added["content"] if added["special"] or unknown is None else added["content"].replace(_SPACE, " ")
    return tuple(texts), tuple(kinds)


def _merges(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for merge in spec["model"]["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        yield left, right


def _space_prefix(spec: Mapping[str, Any]) -> str:
    """`always` (after every control token too), `first` (at the start of a text) or `never`."""
    normalisers = _parts(spec.get("normalizer"), "normalizers")
    cutters = _parts(spec.get("pre_tokenizer"), "pretokenizers")
    known = {"Prepend", "Replace", "Metaspace", "Split"}
    if odd := [part["type"] for part in (*normalisers, *cutters) if part["type"] not in known]:
        raise _unknown(f"pieces after {', '.join(odd)}")
    if any(part["type"] == "Prepend" for part in normalisers):
        return "always"
    schemes = [str(part.get("prepend_scheme", "always")) for part in cutters if part["type"] == "Metaspace"]
    return schemes[0] if schemes else "never"


def _stripping(spec: Mapping[str, Any], *, phi: bool) -> str:
    """A sentence where added tokens swallow spaces around them, which llama.cpp does for Phi-3 alone."""
    odd = [t["content"] for t in spec.get("added_tokens", ()) if t["lstrip"] or (t["rstrip"] and not phi)]
    return f"llama.cpp keeps the spaces around {', '.join(odd[:3])}, which transformers drops" if odd else ""


def _is_byte_level(part: Mapping[str, Any] | None) -> bool:
    return any(inner["type"] == "ByteLevel" for inner in _parts(part, "pretokenizers"))


def _parts(part: Mapping[str, Any] | None, key: str) -> Sequence[Mapping[str, Any]]:
    if part is None:
        return ()
    return tuple(inner for each in part[key] for inner in _parts(each, key)) if part["type"] == "Sequence" else (part,)
