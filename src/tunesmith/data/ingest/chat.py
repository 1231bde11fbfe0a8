"""Chats to documents and pairs: threads by silence, names of people replaced, one's own turns as the answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tunesmith.core.records import Document, Example, Message, Role, digest, to_json
from tunesmith.data.ingest.item import Reading, make_document
from tunesmith.data.ingest.policy import EVERYBODY, Policy
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.lexicon import NOT_TOPICS, STOP_WORDS, VERBS
from tunesmith.data.text.prose import tidy
from tunesmith.data.text.words import num_words

__all__ = ["Said", "example", "read_chat", "read_chats", "threads"]

_SILENCE_S = 8 * 3600
_LEAST_WORDS = 200  # a thread of fewer words goes on after a silence
_MAX_TURNS = 60
_COMMON = STOP_WORDS | VERBS | NOT_TOPICS
_OWN_NOTE = "chats without a message of the person named as `me`"
_UNANSWERED = "chats without an answer by the person named as `me`"
# What an app writes in place of a message, in the languages of its menus: media that were left out, deleted messages, calls.
_THINGS = (
    r"image|video|audio|sticker|gif|document|contact\ card|bild|ton|dokument|kontaktkarte|photo|vidéo|contact|imagen|vídeo"
    r"|documento|tarjeta\ de\ contacto|imagem|áudio|figurinha|immagine|adesivo|scheda\ contatto|afbeelding|contactkaart"
)
_LEFT_OUT = (
    r"omitted|weggelassen|omis|omise|absente?|omitid[oa]|ocultad[oa]|oculta|omess[oai]|esclus[oa]|non\ incluso|weggelaten"
)
_MEDIA = re.compile(
    rf"""^(?:<[^<>\n]{{3,60}}>
    |(?:{_THINGS})\ (?:{_LEFT_OUT})
    |(?:this\ message\ was|you)\ deleted(?:\ this\ message)?\.?|null|missed\ (?:voice|video|group)\ call.*
    |(?:diese\ nachricht\ wurde|du\ hast\ diese\ nachricht)\ gelöscht\.?|ce\ message\ a\ été\ supprimé\.?
    |(?:vous\ avez\ supprimé|tu\ as\ supprimé)\ ce\ message\.?
    |(?:(?:se\ eliminó|eliminaste)\ este\ mensaje|este\ mensaje\ fue\ eliminado)\.?
    |(?:mensagem|esta\ mensagem\ foi)\ apagada\.?|você\ apagou\ esta\ mensagem\.?
    |(?:questo\ messaggio\ è\ stato|hai)\ eliminato(?:\ questo\ messaggio)?\.?
    |(?:dit\ bericht\ (?:is|werd)|(?:je|u)\ hebt\ dit\ bericht)\ verwijderd\.?
    |verpasster?\ (?:sprach|video)anruf.*|appel\ (?:vocal|vidéo)\ manqué.*|llamada\ perdida.*
    |chiamata\ (?:vocale|video)\ persa.*
    |.*\((?:file\ attached|datei\ angehängt|fichier\ joint|archivo\ adjunto|file\ allegato|arquivo\ anexado
    |bestand\ bijgevoegd)\))$""",
    re.IGNORECASE | re.VERBOSE,
)
_EDITED = re.compile(
    r"\s*<[^<>\n]{0,30}\b(?:edited|bearbeitet|modifié|editó|editada|modificato|bewerkt)\b[^<>\n]{0,10}>$", re.IGNORECASE
)


class Said(NamedTuple):
    """One message. `aliases` are other names of its author (a handle, an id); `time` is seconds since 1970, None if unknown."""

    author: str
    text: str
    time: float | None = None
    date: str | None = None
    aliases: tuple[str, ...] = ()


def read_chats(chats: Iterable[tuple[str | None, Sequence[Said]]], *, name: str, policy: Policy) -> Reading:
    """The chats of one file, each with its title, read by `read_chat`. UnreadableError if none holds a message with words."""
    documents: list[Document] = []
    pairs: list[Example] = []
    notes: Counter[str] = Counter()
    for title, said in chats:
        reading = read_chat(said, name=name, title=title, policy=policy)
        documents += reading.documents
        pairs += reading.pairs
        notes.update(reading.notes)
    if not documents and not pairs:
        unanswered = notes[_UNANSWERED] > 0
        raise UnreadableError(
            f"{', '.join((*policy.me, *policy.authors))} answers no message in it within 8 hours"
            if unanswered
            else "it holds no message with words"
        )
    return Reading(documents=tuple(documents), pairs=tuple(pairs), notes=dict(notes))


def read_chat(said: Sequence[Said], *, name: str, title: str | None = None, policy: Policy = EVERYBODY) -> Reading:
    """The threads of one chat. With names in `policy` (a name, handle or id) pairs, otherwise documents.

    In documents every participant is `Speaker 1`, `Speaker 2`, … in order of appearance, also where others call them by name.
    In pairs the named person is the assistant and all others are the user; such names stand before their turns if there are
    several.
    A thread ends with a silence of 8 hours (in documents only once it has 200 words). A chat in which that person says
    nothing is read as documents, and noted.
    """
    shown = (one._replace(text=_EDITED.sub("", tidy(one.text))) for one in said)
    kept = [one for one in shown if one.text and not _MEDIA.match(one.text)]
    own = {one.author for one in kept if policy.own and policy.is_own(one.author, *one.aliases)}
    replaced = _replace_names(kept, own)
    if own:
        return _pairs(replaced, own, name=name, title=title)
    documents = tuple(
        make_document(
            name=name,
            text="\n\n".join(f"{one.author}: {one.text}" for one in _merged(thread)),
            title=None if title in {one.author for one in kept} else title,
            date=thread[0].date,
            extraction="chat",
        )
        for thread in threads(replaced)
    )
    return Reading(documents=documents, notes={_OWN_NOTE: 1} if policy.own and documents else {})


def example(messages: Sequence[Message], *, name: str, group: str, title: str | None = None) -> Example | None:
    """A pair from turns: leading answers and trailing questions cut off, turns of one role joined; None if nothing is left."""
    turns: list[Message] = []
    for message in messages:
        if turns and turns[-1].role == message.role:
            turns[-1] = Message(role=message.role, content=f"{turns[-1].content}\n\n{message.content}")
        elif message.role != "assistant" or any(turn.role == "user" for turn in turns):
            turns.append(message)
    while turns and turns[-1].role != "assistant":
        turns.pop()
    if not turns:
        return None
    content = [[turn.role, turn.content] for turn in turns]
    return Example(
        id=digest("example", group, to_json(content))[:16],
        messages=tuple(turns),
        document_id=digest("document", group)[:16],
        group=group,
        source=name,
        title=title,
    )


def _pairs(said: Sequence[Said], own: set[str], *, name: str, title: str | None) -> Reading:
    others = {one.author for one in said} - own
    group = digest("chat", name, title or "", said[0].author, said[0].text)[:16]
    found: list[Example] = []
    for thread in threads(said, least_words=0):
        for start in range(0, len(thread), _MAX_TURNS):
            messages = [_message(one, own, several=len(others) > 1) for one in thread[start : start + _MAX_TURNS]]
            if made := example(messages, name=name, group=group):
                found.append(made)
    return Reading(pairs=tuple(found), notes={} if found else {_UNANSWERED: 1})


def _message(one: Said, own: set[str], *, several: bool) -> Message:
    role: Role = "assistant" if one.author in own else "user"
    return Message(role=role, content=f"{one.author}: {one.text}" if several and role == "user" else one.text)


def threads(said: Sequence[Said], *, least_words: int = _LEAST_WORDS) -> list[list[Said]]:
    """The messages cut where a silence of 8 hours follows at least so many words."""
    found: list[list[Said]] = []
    size = 0
    for one in said:
        before = found[-1][-1].time if found else None
        silent = before is not None and one.time is not None and one.time - before >= _SILENCE_S
        if not found or (silent and size >= least_words):
            found.append([])
            size = 0
        found[-1].append(one)
        size += num_words(one.text)
    return found


def _merged(thread: Sequence[Said]) -> list[Said]:
    """Messages of one person in a row as one turn, a line each."""
    turns: list[Said] = []
    for one in thread:
        if turns and turns[-1].author == one.author:
            turns[-1] = turns[-1]._replace(text=f"{turns[-1].text}\n{one.text}")
        else:
            turns.append(one)
    return turns


def _replace_names(said: Sequence[Said], own: set[str]) -> list[Said]:
    """Authors by number, in their own place and wherever a message says their name, or a part of it that is no common word.

    Whole names and what follows an @ are known in any case, parts only as written or in capitals: Rose rose early.
    """
    numbers: dict[str, str] = {}
    for one in said:
        if one.author not in own:
            numbers.setdefault(one.author, f"Speaker {len(numbers) + 1}")
    spoken: dict[str, str] = {}
    for one in said:
        if one.author in numbers:
            for label in (one.author, *one.aliases):
                if re.search(r"\w{2}", label):  # a name that is one emoji or letter stands for much else
                    spoken.setdefault(label.casefold(), numbers[one.author])
    known = ((label, numbers[one.author]) for one in said if one.author in numbers for label in (one.author, *one.aliases))
    parts: dict[str, str] = {}
    written: set[str] = set()
    for label, number in dict.fromkeys(known):
        for part in re.findall(r"[^\W\d_]{3,}", label):
            if part[0].isupper() and part.casefold() not in STOP_WORDS:
                parts.setdefault(part.casefold(), number)
                written |= {part, part.upper()}
    for short, number in _short_names(said, parts).items():
        parts.setdefault(short.casefold(), number)
        written |= {short, short.upper()}
    whole, mentioned, plain = (_any_of(names) for names in (spoken, parts, written))
    pattern = re.compile(rf"(?<!\w)(?:@?(?i:{whole})|@(?i:{mentioned})|(?:{plain}))(?!\w)")
    numbered = {**parts, **spoken}

    return [
        one._replace(
            author=numbers.get(one.author, one.author),
            text=pattern.sub(lambda found: numbered.get(found[0].removeprefix("@").casefold(), found[0]), one.text),
            aliases=(),
        )
        for one in said
    ]


def _short_names(said: Sequence[Said], parts: Mapping[str, str]) -> dict[str, str]:
    """Beginnings of names by which people are called in the chat, Zeb for Zebulon: with a capital, and no common word."""
    used = {word for one in said for word in re.findall(r"[^\W\d_]{3,}", one.text)}
    found = {}
    for word in sorted(used):
        low = word.casefold()
        if not word.istitle() or low in used or low in _COMMON:
            continue
        meant = {number for part, number in parts.items() if part.startswith(low) and len(part) > len(low) + 1}
        if len(meant) == 1:
            found[word] = meant.pop()
    return found


def _any_of(names: Iterable[str]) -> str:
    """A pattern for any of these names, the longest first; for none, one that matches nothing."""
    return "|".join(map(re.escape, sorted(names, key=lambda name: (-len(name), name)))) or "(?!)"
