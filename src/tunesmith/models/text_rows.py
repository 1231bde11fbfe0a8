"""Plain text as training rows, without a chat template: as a base reads documents, one after the other.

A document begins with the token that the tokenizer itself writes before a text (BOS, for tokenizers that write one) and ends
with its end-of-sequence token. One that is too long for a row is cut between words where that is possible, and nothing is
dropped: the last token of a part is shown again before the next, as context, so that every token is learned once.
"""

from __future__ import annotations

from bisect import bisect_left

from tunesmith.models.chat import Chat, Encoded

__all__ = ["cut_text", "encode_text_row"]

_SEARCHED = 0.5  # share of a row that is searched backwards for the beginning of a word


def encode_text_row(chat: Chat, text: str, *, before: str = "", ends: bool = True, max_tokens: int | None = None) -> Encoded:
    """The row of a text: every token is learned that another one precedes. `before` is context; with `ends`, the token for the
    end of a document follows. Cut at `max_tokens` from the right, counted in `dropped`.
    """
    context = tuple(chat.encode_text(before)) if before else _opening(chat)
    ids = (*context, *chat.encode_text(text), *(_ending(chat) if ends else ()))
    learned = [place >= max(1, len(context)) for place in range(len(ids))]  # nothing predicts a first token
    dropped = 0 if max_tokens is None else sum(learned[max_tokens:])
    return Encoded(ids[:max_tokens], tuple(learned[:max_tokens]), dropped)


def cut_text(chat: Chat, text: str, *, max_tokens: int) -> list[tuple[str, str]]:
    """The parts of a document as (before, text), each a row of at most `max_tokens`. Their texts, joined, are `text`.

    Raises:
        ValueError: fewer than 8 tokens a row.
    """
    if max_tokens < 8:
        raise ValueError(f"a row of {max_tokens} tokens")
    masked = chat.template.masked(text)
    starts = [low for low, _ in chat.tokens(masked)[1]]
    parts: list[tuple[str, str]] = []
    begin, before = 0, ""
    while True:
        room = max_tokens - len(_ending(chat)) - len(chat.encode_text(before) if before else _opening(chat))
        end = _end(chat, masked, starts, begin, room)
        parts.append((before, chat.template.unmasked(masked[begin:end])))
        if end == len(masked):
            return parts
        before = chat.template.unmasked(masked[starts[bisect_left(starts, end) - 1] : end])
        begin = end


def _end(chat: Chat, masked: str, starts: list[int], begin: int, room: int) -> int:
    """Where the part that begins at the character `begin` ends, with `room` tokens at most."""
    first = bisect_left(starts, begin)
    end = _border(masked, starts, first, first + room)
    while end < len(masked) and len(chat.tokens(masked[begin:end])[0]) > room and room > 1:  # apart, tokens may be others
        room -= 1
        end = _border(masked, starts, first, first + room)
    return end


def _border(masked: str, starts: list[int], first: int, most: int) -> int:
    """The last character before token `most` where a word begins, its space included; else where a token begins."""
    if most >= len(starts):
        return len(masked)
    for number in range(most, max(first + 1, most - round(_SEARCHED * (most - first))) - 1, -1):
        place = starts[number]
        if starts[number - 1] < place:
            if masked[place].isspace() and not masked[place - 1].isspace():
                return place
            if masked[place - 1] == " " and starts[number - 1] < place - 1 and not masked[place].isspace():
                return place - 1  # a tokenizer that leaves the space out of what a word covers
    return next(starts[number] for number in range(most, first, -1) if starts[number] > starts[number - 1])


def _opening(chat: Chat) -> tuple[int, ...]:
    """What the tokenizer itself writes before a text: its BOS, or nothing."""
    bos = chat.tokenizer.bos_token_id
    written = chat.tokenizer("a")["input_ids"]
    return (bos,) if bos is not None and written[:1] == [bos] else ()


def _ending(chat: Chat) -> tuple[int, ...]:
    """The token that ends a document; nothing for a tokenizer without one."""
    eos = chat.tokenizer.eos_token_id
    return () if eos is None else (int(eos),)
