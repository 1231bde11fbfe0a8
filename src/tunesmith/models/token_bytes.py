"""The bytes that each token of a tokenizer stands for: what tokens of two tokenizers are compared by."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["ids_by_bytes"]

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\u2581"  # how SentencePiece writes a space


def ids_by_bytes(tokenizer: Any) -> dict[bytes, int]:
    """Bytes → id of every ordinary token of a fast tokenizer (byte pairs or SentencePiece); the lowest id where two agree."""
    by_bytes = "ByteLevel" in json.dumps(json.loads(tokenizer.backend_tokenizer.to_str()).get("decoder"))
    letters = _byte_letters() if by_bytes else {}
    special = set(tokenizer.all_special_ids)
    found: dict[bytes, int] = {}
    for token, number in tokenizer.get_vocab().items():
        if number in special:
            continue
        if by_bytes and all(letter in letters for letter in token):
            raw = bytes(letters[letter] for letter in token)
        elif match := _BYTE.fullmatch(token):
            raw = bytes([int(match[1], 16)])
        else:
            raw = token.replace(_SPACE, " ").encode()
        found[raw] = min(number, found.get(raw, number))
    return found


def _byte_letters() -> dict[str, int]:
    """The letter → the byte that it stands for in vocabularies of byte pairs: printable bytes are themselves (GPT-2)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}
