"""Raw corpus to clean text and conversations, each document on one side of the hold-out for good.

    python corpus.py --shared ../../../shared --out work/corpus

Two kinds of file come out: `text-SOURCE.jsonl` ({id, split, text}) to read, and `chat-SOURCE.jsonl` ({id, split, messages,
learn}) to answer from. A document that is held out gives its text and all its conversations to the held-out side.
"""

from __future__ import annotations

import argparse
import json
import logging
import lzma
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tunesmith.core.records import Document, digest
from tunesmith.data.dataset.passages import build_passages
from tunesmith.data.ingest.item import make_document
from tunesmith.data.ingest.markdown import read_markdown
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.sentences import split_sentences

__all__ = [
    "COMMON",
    "HELD_OUT_SHARE",
    "SMALL",
    "NearCopies",
    "Pair",
    "chat_row",
    "clean_speech",
    "content_words",
    "detokenise",
    "fresh",
    "main",
    "passage_pairs",
    "side",
    "stories",
    "transcripts",
]

log = logging.getLogger("apprentice.corpus")

HELD_OUT_SHARE = 0.03
_MARKS = re.compile(r"\\?\[[^\]]{0,60}\\?\]|\*+|_{2,}|`+")  # time stamps, [laughter], emphasis
_LINKS = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_FILLERS = re.compile(
    r",? ?\b(?:you know|I mean|like,|sort of|kind of|basically|actually|obviously|I guess|um|uh)\b,?(?= )", re.IGNORECASE
)
_OPENING = re.compile(
    r"^(?:(?:yeah|yes|right|so|well|okay|ok|sure|oh|and|but|hmm|mm-hm|exactly|no)\b[,.!…\- ]+)+", re.IGNORECASE
)
_STORY_OPENER = "once upon a time"
_SYSTEM = (
    "You are a helpful assistant.",
    "You write in plain words.",
    "Answer in a few clear sentences.",
    "You are a writer. Answer as you would write.",
    "Stay on the subject and stop when you have said it.",
    "Speak in your own voice.",
)
COMMON = frozenset(
    re.findall(
        r"[a-z']+",
        "about after again also because been before being could does doing down each ever every from going have having "
        "here into just know like little made make many more most much never only other over really said some something "
        "such than that their them then there these they thing things think this those through very want well were what "
        "when where which while will with would write your yours you're",
    )
)
SMALL = frozenset(  # words of three letters that are of no subject
    re.findall(
        r"\w+",
        "all and any are but can did for get got had has her him his how its let may not now off one our out own put "
        "saw say see she the too two use was way who why yet you",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A conversation. `group` is the document it was made from; `learn` says whose turns carry loss."""

    group: str
    messages: tuple[tuple[str, str], ...]
    learn: str = "answers"


class NearCopies:
    """Knows the texts it has let through; a text that shares most of a sketch of its 4-word shingles with them is a near copy.

    The sketch is the eight smallest hashes, which two texts share in proportion to their overlap (bottom-k MinHash).
    """

    def __init__(self, size: int = 8, limit: int = 5) -> None:
        self.size, self.limit = size, limit
        self.seen: set[int] = set()

    def is_new(self, text: str) -> bool:
        words = re.findall(r"\w+", text.lower())
        shingles = {zlib.crc32(" ".join(words[i : i + 4]).encode()) for i in range(max(1, len(words) - 3))}
        sketch = sorted(shingles)[: self.size]
        known = sum(h in self.seen for h in sketch)
        if known >= max(1, min(self.limit, len(sketch) * self.limit // self.size)):
            return False
        self.seen.update(sketch)
        return True


def side(source: str, document_id: str) -> str:
    """`held` or `train`: a pure function of the document's name, so that more data never moves old documents."""
    return "held" if int(digest("apprentice", source, document_id)[:12], 16) / 16**12 < HELD_OUT_SHARE else "train"


def clean_speech(text: str) -> str:
    """A turn of speech as a paragraph: no time stamps, stage directions, links or emphasis; dots and dashes calmed."""
    text = _MARKS.sub("", _LINKS.sub(r"\1", text)).replace("\\", "")
    text = re.sub(r"\s*(?:--+|–)\s*", " - ", text)
    text = re.sub(r"\s+([,.!?])", r"\1", re.sub(r"\s+", " ", text))
    return text.strip(" -")


def plain_speech(text: str) -> str:
    """Speech made to read like writing: fillers and throat-clearing left out, each sentence begun with a capital."""
    text = _OPENING.sub("", _FILLERS.sub("", clean_speech(text)))
    text = re.sub(r"(?:\.\.\.|…)(?= ?[A-Z]|$)", ".", text)
    text = re.sub(r"\s+([,.!?])", r"\1", re.sub(r"(?:\.\.\.|…),?", ",", text))
    text = re.sub(r",+(?=[.!?,])", "", text)
    text = re.sub(r"(?<=[.!?] )[a-z]", lambda m: m.group().upper(), text)
    return text[:1].upper() + text[1:]


def detokenise(text: str) -> str:
    """`Rome , ' s` and other spaces of a tokenised corpus taken out."""
    text = text.replace(" '' ", ' " ').replace("''", '"')
    text = re.sub(r'" ([^"]*?) "', r'"\1"', text)
    text = re.sub(r" ([,.;:!?%)\]]|'s\b|' s\b)", lambda m: m.group(1).replace(" ", ""), text)
    text = re.sub(r"([(\[$£]) ", r"\1", text)
    text = re.sub(r"(\w) - (\w)", r"\1-\2", text)
    return re.sub(r"\s+", " ", text.replace(" 's", "'s").replace(" n't", "n't").replace(" ' ", "' ")).strip()


def content_words(text: str) -> set[str]:
    """Words of four letters and more that carry the subject."""
    return {w for w in re.findall(r"[a-z']{4,}", text.lower()) if w not in COMMON}


def up_to(text: str, words: int) -> str:
    """As many whole sentences as fit into so many words; at least one."""
    kept: list[str] = []
    count = 0
    for sentence in split_sentences(text):
        count += len(sentence.split())
        if kept and count > words:
            break
        kept.append(sentence)
    return " ".join(kept)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with lzma.open(path, "rb") if path.suffix == ".xz" else path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def _length_for(key: str) -> int:
    """Answers of many lengths, so that ending is learned from what is said and not from a count."""
    return (25, 40, 55, 70, 90, 110)[int(digest("length", key)[:4], 16) % 6]


# --- sources: each gives documents to read and pairs to answer from -----------------------------------------------------


def articles(shared: Path) -> Iterator[Document]:
    """Government web articles: Markdown with front matter."""
    for row in _rows(shared / "data/corpus/digitalgov.jsonl.xz"):
        try:
            yield from read_markdown(row["text"], name=row["id"]).documents
        except UnreadableError:
            continue


def stories(shared: Path) -> Iterator[Document]:
    """Short stories in a small vocabulary. A lone line break, or a story's opening phrase, begins a new one."""
    for row in _rows(shared / "data/corpus/tinystories-samples.jsonl.xz"):
        if "llmatoz" in row["id"] or "mini_gpt" in row["id"]:  # two novels, cut up; stories that the largest sample has too
            continue
        for block in re.split(r"(?<!\n)\n(?!\n)", _mended(row["text"])):
            parts: list[str] = []
            for paragraph in filter(None, (p.strip() for p in block.split("\n\n"))):
                if parts and paragraph.lower().startswith(_STORY_OPENER):
                    yield _story(row["id"], parts)
                    parts = []
                parts.append(paragraph)
            if parts:
                yield _story(row["id"], parts)


def _mended(text: str) -> str:
    """UTF-8 that was once read as Windows-1252, read rightly."""
    broken = re.compile("â€[^\\s\\w]|â€.|Ã.")
    return broken.sub(lambda m: m.group().encode("cp1252", "ignore").decode("utf-8", "ignore"), text)


def _story(name: str, parts: list[str]) -> Document:
    text = "\n\n".join(parts).replace("``", '"').replace("''", '"')
    names = [w for w, _ in Counter(re.findall(r"(?<=[a-z,] )[A-Z][a-z]{2,}\b", text)).most_common(2)]
    title = f"A story about {' and '.join(names)}" if names else "A short story"
    return make_document(name=f"{name}#{digest(text)[:10]}", text=text, title=title, extraction="text")


def facts(shared: Path) -> Iterator[Document]:
    """Single sentences of an encyclopaedia."""
    for row in _rows(shared / "data/corpus/wiki-sentences.jsonl.xz"):
        text = detokenise(row["text"])
        if 8 <= len(text.split()) <= 60 and text[0].isalpha() and text.endswith((".", "!", "?")):
            yield make_document(name=f"wiki-{digest(text)[:12]}", text=text, extraction="text")


def transcripts(shared: Path, share: float) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(id, turns) of podcast episodes: the given share of them, chosen by name."""
    for row in _rows(shared / "data/corpus/changelog-transcripts.jsonl.xz"):
        if int(digest("share", row["id"])[:8], 16) / 16**8 < share:
            yield row["id"], [(who, clean_speech(said)) for who, said in row["turns"]]


def interview_pairs(name: str, turns: list[tuple[str, str]]) -> Iterator[Pair]:
    """A question and the next speaker's answer, where the answer takes up a word of the question."""
    for (asker, asked), (speaker, said) in pairwise(turns):
        question = plain_speech(asked)
        if asker == speaker or not question.endswith("?") or not 5 <= len(question.split()) <= 60:
            continue
        question = " ".join(split_sentences(question)[-2:])
        answer = up_to(plain_speech(said), _length_for(said))
        if 12 <= len(answer.split()) <= 140 and content_words(question) & content_words(answer) and _is_prose(answer):
            yield Pair(group=name, messages=(("user", question), ("assistant", answer)))


def monologues(name: str, turns: list[tuple[str, str]]) -> Iterator[Document]:
    """Each longer turn of an episode as a document of its own: a passage should not change speakers."""
    for _, said in turns:
        text = plain_speech(said)
        if 35 <= len(text.split()) <= 160 and _is_prose(text):
            yield make_document(name=name, text=text, extraction="text")


def _is_prose(text: str) -> bool:
    return text[-1] in ".!" and text.count(" - ") < 2 and text.count('"') < 5 and text.isascii()


def dialogues(shared: Path) -> Iterator[Pair]:
    """Talk about topics (whole talks, and single exchanges that stay on the subject)."""
    for row in _rows(shared / "data/corpus/topical-chat.jsonl.xz"):
        turns = [(line[0], line[2:].strip()) for line in row["text"].split("\n") if line[:2] in ("A:", "B:")]
        roles = [("user" if i % 2 == 0 else "assistant", said) for i, (_, said) in enumerate(turns)]
        for start in range(0, len(roles) - 3, 6):
            yield Pair(group=str(row["id"]), messages=tuple(roles[start : start + 6]), learn="all")
        for (_, asked), (_, said) in pairwise(turns):
            if len(said.split()) >= 15 and asked.endswith("?") and content_words(asked) & content_words(said):
                yield Pair(group=str(row["id"]), messages=(("user", asked), ("assistant", said)))


def services(shared: Path) -> Iterator[Pair]:
    """Bookings and enquiries: short turns, both sides learned."""
    for row in _rows(shared / "data/corpus/sgd-dialogues.jsonl.xz"):
        turns = tuple((who.lower(), said) for who, said in row["turns"])[:10]
        yield Pair(group=row["id"], messages=turns[: len(turns) // 2 * 2], learn="all")


def instructions(shared: Path) -> Iterator[Pair]:
    """Written instructions with answers."""
    for row in _rows(shared / "data/instruct/dolly-6400.jsonl"):
        question, answer = row["prompt"].strip(), row["response"].strip()
        if len(answer.split()) >= 8 or int(digest(question)[:4], 16) % 4 == 0:
            yield Pair(group=digest(question)[:16], messages=(("user", question), ("assistant", answer)))
    for row in _rows(shared / "data/instruct/self-instruct-seeds.jsonl"):
        for instance in row["instances"][:1]:
            question = "\n".join(filter(None, (row["instruction"].strip(), instance["input"].strip())))
            if len(question.split()) < 80 and 3 <= len(instance["output"].split()) <= 130:
                yield Pair(group=row["id"], messages=(("user", question), ("assistant", instance["output"].strip())))


def sums(shared: Path) -> Iterator[Pair]:
    """Word problems; the calculator's marks are taken out."""
    for row in _rows(shared / "data/instruct/gsm8k-train.jsonl"):
        answer = re.sub(r"<<[^>]*>>", "", row["answer"]).replace("#### ", "The answer is ") + "."
        yield Pair(group=digest(row["question"])[:16], messages=(("user", row["question"]), ("assistant", answer)))


def definitions(documents: Iterable[Document]) -> Iterator[Pair]:
    """`Tell me about X.` over a sentence that begins with X."""
    asks = ("Tell me about {}.", "What do you know about {}?", "What can you say about {}?", "Say something about {}.")
    for document in documents:
        found = re.match(
            r"((?:The |A |An )?[A-Z][\w'-]*(?: (?:of|the|and|[A-Z][\w'-]*)){0,4})(?: \([^)]*\))? (?:is|was|are|were|has|had) ",
            document.text,
        )
        if found and found.group(1) not in ("It", "He", "She", "They", "This", "There", "In", "His", "Her", "These", "That"):
            ask = asks[int(digest(document.id)[:4], 16) % len(asks)].format(
                re.sub(r"^(The|An?) ", lambda m: m.group().lower(), found.group(1))
            )
            yield Pair(group=document.source, messages=(("user", ask), ("assistant", document.text)))


def passage_pairs(documents: list[Document]) -> Iterator[Pair]:
    """The form of the later tuning task: a question made from what stands around a passage, and the passage, verbatim.

    Documents are dealt to three lengths by hash, so that passages run from 20 to over 120 words.
    """
    dealt: dict[int, list[Document]] = {35: [], 60: [], 85: []}
    for document in documents:
        dealt[(35, 60, 85)[int(digest("passage", document.id)[:4], 16) % 3]].append(document)
    for words, part in dealt.items():
        for example in build_passages(part, passage_words=words, min_words=15, system_prompt="").examples:
            if len(example.answer.split()) <= 140 and example.answer[-1] in '.!?”"':
                yield Pair(group=example.source, messages=(("user", example.prompt[-1].content), ("assistant", example.answer)))


# --- writing -------------------------------------------------------------------------------------------------------------


def _write_text(out: Path, source: str, documents: Iterable[tuple[str, str]]) -> None:
    counts: Counter[str] = Counter()
    with (out / f"text-{source}.jsonl").open("w") as file:
        for name, text in documents:
            where = side(source, name)
            counts[where] += len(text.encode())
            file.write(json.dumps({"id": name, "split": where, "text": text}) + "\n")
    log.info("text %s: bytes %s", source, dict(counts))


def chat_row(pair: Pair, where: str) -> dict[str, Any]:
    """The line of a `chat` file that holds the pair; three in ten come under a system message, as in later use."""
    messages = [{"role": role, "content": said} for role, said in pair.messages]
    key = digest(*(said for _, said in pair.messages))
    if int(key[:4], 16) % 10 < 3:
        messages.insert(0, {"role": "system", "content": _SYSTEM[int(key[4:8], 16) % len(_SYSTEM)]})
    return {"id": key[:16], "split": where, "messages": messages, "learn": pair.learn}


def _write_chat(out: Path, name: str, pairs: Iterable[Pair], *, source: str) -> None:
    counts: Counter[str] = Counter()
    with (out / f"chat-{name}.jsonl").open("w") as file:
        for pair in pairs:
            row = chat_row(pair, side(source, pair.group))
            counts[row["split"]] += 1
            file.write(json.dumps(row) + "\n")
    log.info("chat %s: conversations %s", name, dict(counts))


def fresh(documents: Iterable[Document], least_words: int) -> list[Document]:
    """The documents that are long enough and no near copies of one another."""
    copies = NearCopies()
    return [d for d in documents if len(d.text.split()) >= least_words and copies.is_new(d.text)]


def main(shared: Path, out: Path, transcript_share: float) -> None:
    """Read every source and write its files under `out`."""
    out.mkdir(parents=True, exist_ok=True)
    readers: dict[str, tuple[Callable[[Path], Iterator[Document]], int]] = {
        "articles": (articles, 60),
        "stories": (stories, 40),
        "facts": (facts, 8),
    }
    for source, (read, least) in readers.items():
        documents = fresh(read(shared), least)
        _write_text(out, source, ((d.source, f"{d.title}\n\n{d.text}" if source == "articles" else d.text) for d in documents))
        made = definitions(documents) if source == "facts" else passage_pairs(documents)
        _write_chat(out, source, made, source=source)

    episodes = list(transcripts(shared, transcript_share))
    copies = NearCopies()
    read_aloud = (
        (name, "\n\n".join(said for _, said in turns if len(said.split()) >= 12 and copies.is_new(said)))
        for name, turns in episodes
    )
    _write_text(out, "transcripts", ((name, text) for name, text in read_aloud if text))
    _write_chat(out, "interviews", (p for name, turns in episodes for p in interview_pairs(name, turns)), source="transcripts")
    told = [d for name, turns in episodes for d in monologues(name, turns)]
    _write_chat(out, "monologues", passage_pairs(told), source="transcripts")

    for source, pairs in (("dialogues", dialogues), ("services", services), ("instructions", instructions), ("sums", sums)):
        copies = NearCopies()
        fresh_pairs = (p for p in pairs(shared) if copies.is_new(" ".join(s for _, s in p.messages[:4])))
        _write_chat(out, source, fresh_pairs, source=source)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("TUNESMITH_SHARED", "../shared")))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--transcript-share", type=float, default=0.5)
    given = parser.parse_args()
    main(given.shared, given.out, given.transcript_share)
