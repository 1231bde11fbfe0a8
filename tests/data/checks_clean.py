"""Clean rows for the planted faults: sentences written for this test about a repair shop, put together by a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tunesmith.core.records import Example, Message

__all__ = ["FOREIGN", "clean_rows", "conversation", "json_rows", "label_rows", "swapped", "words_of"]


def _listed(text: str) -> list[str]:
    return text.strip().replace("\n", "|").split("|")


_THINGS = _listed("""
kettle|hinge|drawer|mantel clock|torch|bread knife|sash window|valve radio|kitchen chair|umbrella|brass tap
bicycle bell|zip|music box|desk lamp|soldering iron|letter scale|garden gate|barometer|toaster|door lock
enamel pan|sewing machine|toy boat|thermos|fan heater|rucksack|doorbell|pepper mill|fishing reel|picture frame
typewriter|egg timer|watering can|wheelbarrow|rocking horse|record player|camera shutter|coffee grinder
wall mirror|step ladder|bird feeder|bellows|accordion|metronome|sundial|weather vane
""")
_PLACES = _listed("""
in the back room|under the skylight|beside the stove|at the long bench|near the river|on the allotment
behind the school|at the ferry landing|in my grandmother's attic|on the second shelf|by the north window
in a damp cellar|at the chapel bazaar
""")
_WHENS = _listed("""
last winter|one wet Tuesday|before the frost came|in early spring|during the long strike|after supper
on market day|years ago|the week the mill closed|around harvest|on a windless morning|between two storms
late in October
""")
_PEOPLE = _listed("""
the baker|a retired pilot|my neighbour Olga|the postman|a girl from the choir|the harbour master
an impatient tenor|our librarian|the chess club|a nurse on her way home|the widow next door|two brothers
a beekeeper|the new curate|a bus driver
""")
_CAUSES = _listed("""
a spring had lost its temper|lime had narrowed the spout|somebody had used the wrong glue
rust had crept under the paint|one tooth was bent|a thread was stripped|dust had turned to felt
the pin sat too loose|an old repair had failed|the wood had swollen|the grease had gone hard as amber
a washer was missing|the contacts were black|mice had nested there|the cord had rotted through
""")
_CURES = _listed("""
a drop of thin oil and an hour of patience|three strokes with a fine file|a washer cut from an old boot
hot vinegar and a bottle brush|a new pin turned from a nail|beeswax rubbed in with the thumb
a splint of ash and some thread|nothing but a thorough clean|a strip of brass bent twice
a longer screw and a little sawdust|boiled linseed oil and a warm day|the spare part from a dead twin
""")
_MORALS = _listed("""
Look twice before you pull|Screws tell the truth if you let them|Nobody thanks you for haste
A quiet machine is a content machine|Keep the old part until the new one works|Patience is cheaper than solder
What moved once will move again|Label the tin, not the lid|Cold metal lies about its size
The loudest part is seldom the guilty one|Write down the order of the washers|Daylight is half the job
""")
_KINDS = _listed("""
old|green|borrowed|heavy|tin|walnut|cheap|travelling|blue|battered|Danish|nameless|copper|spare|crooked
polished|folding|oak|noisy|second-hand|painted|modest|broad|tiny|stubborn|Welsh
""")
_HOWS = _listed("""
slowly|without a word|by lamplight|against all advice|for once|in good spirits|after some thought
with cold fingers|by mere chance|to the sound of rain|grudgingly|with half an eye|on the third attempt
before breakfast|in a borrowed apron
""")
_SENTENCES = (
    "The {thing} that {person} brought {when} had one fault, and {cause}.",
    "{When} I stood {place} with the {thing} in pieces, because {cause}.",
    "What cured it was {cure}, though {person} had advised a hammer.",
    "I charged 4.50 for the {other}, and {how} {person} paid with plums.",
    "{Moral}, as {person} used to mutter {how} over every {other}.",
    "It took {number} minutes {how} by the {other} {place}.",
    "{When} nobody {place} believed that {cause}, least of all {person}.",
    "So {how} I gave it {cure} and left it {place} overnight.",
    "Whoever owns a {thing} should listen to it {when}.",
    "By version 2.4.1 of my notes the {other} {place} had {how} grown a page {number}.",
    "“It is only a {thing},” said {person}, and I let that pass.",
    "From 9:30 to 11:15 {person} argued {how} that {cause}, not bad luck.",
    "{Moral}: I have it in chalk above the {other}.",
    "The catalogue of 1987 lists {number} parts of a {other}, and {person} lacked {how} just one.",
)
_PROMPTS = (
    "How did you mend the {thing} of {person} {when}?",
    "Tell me what went wrong with the {thing} {place}, where {cause}.",
    "Why would {cure} help a {thing} that came in {when}?",
    "{Person} asks about a {thing} {place}. What is your advice?",
    "What did {person} learn when {cause} in the {thing}?",
    "Describe the {thing} that stood {place} {when}.",
    "Is {cure} right for a {thing}, or for a {other} {place}?",
    "When {cause}, which tool do you take to the {thing} of {person}?",
    "Write a few lines on the {thing}, the {other} and {person}.",
    "Which mattered more {when}, the {thing} or the {other} {place}?",
    "Can a {thing} be saved once {cause}, as {person} fears?",
    "Give {person} three reasons to keep the {thing} {place}.",
)
FOREIGN = {
    "German": (
        "Der {n}. Kessel stand nicht auf dem Herd, und die Feder war wie immer zu schwach für das Gewicht.",
        "Ich habe die Uhr mit einem Tropfen Öl zum Laufen gebracht, auch wenn es {n} Stunden gedauert hat, denn sie ist alt.",
    ),
    "French": (
        "La bouilloire numéro {n} est restée dans la cuisine, mais elle ne chauffe plus et il faut changer le fil pour nous.",
        "Les vis sont dans une boîte sur la table, avec les {n} ressorts qui ne servent plus, et vous pouvez les prendre.",
    ),
    "Spanish": (
        "El reloj de la cocina tiene {n} años y no funciona muy bien, pero los muelles son buenos para otra cosa.",
        "Las llaves están en la caja con los tornillos, y también hay {n} piezas que no se usan cuando llueve por la noche.",
    ),
    "Cyrillic": ("Чайник номер {n} стоит на плите, но он больше не кипит, и пружину пора менять.",),
    "Chinese": ("第{n}把水壶放在炉子上，但是弹簧太旧了，应该换一个新的。",),
}


def _filled(template: str, draw: random.Random) -> str:
    thing, other = (f"{draw.choice(_KINDS)} {name}" for name in draw.sample(_THINGS, 2))
    values = {
        "thing": thing,
        "other": other,
        "place": draw.choice(_PLACES),
        "when": draw.choice(_WHENS),
        "person": draw.choice(_PEOPLE),
        "cause": draw.choice(_CAUSES),
        "cure": draw.choice(_CURES),
        "how": draw.choice(_HOWS),
        "Moral": draw.choice(_MORALS),
        "number": str(draw.randint(3, 90)),
    }
    values |= {"When": _capital(draw.choice(_WHENS)), "Person": _capital(values["person"])}
    return template.format(**values)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def words_of(seed: int, num_sentences: int) -> str:
    """Some sentences of the shop."""
    draw = random.Random(f"answer {seed}")
    return " ".join(_filled(template, draw) for template in draw.sample(_SENTENCES, num_sentences))


def clean_rows(count: int, *, seed: int = 0) -> list[Example]:
    """Rows without a planted fault: prompts all different, answers of three to six sentences, eight rows a document."""
    rows = []
    for number in range(count):
        draw = random.Random(f"prompt {seed} {number}")
        prompt = _filled(_PROMPTS[number % len(_PROMPTS)], draw)
        answer = words_of(seed * 1_000_003 + number, draw.randint(3, 6))
        rows.append(conversation(f"row{number}", ("user", prompt), ("assistant", answer), group=f"post{number // 8}"))
    return rows


def label_rows(count: int) -> list[Example]:
    """Rows whose answers are one of three labels, evenly."""
    rows = clean_rows(count, seed=5)
    return [swapped(row, answer=("mechanical", "electrical", "wooden")[number % 3]) for number, row in enumerate(rows)]


def json_rows(count: int) -> list[Example]:
    """Rows whose answers are JSON objects with the same keys."""
    draw = random.Random("json")
    return [
        swapped(
            row, answer=f'{{"thing": "{draw.choice(_THINGS)}", "minutes": {number + 3}, "cause": "{draw.choice(_CAUSES)}"}}'
        )
        for number, row in enumerate(clean_rows(count, seed=6))
    ]


def conversation(id: str, *turns: tuple[str, str], group: str = "") -> Example:
    """An example of (role, content) turns, in whatever order."""
    messages = tuple(Message(role=role, content=content) for role, content in turns)  # type: ignore[arg-type]
    return Example(id=id, messages=messages, document_id=group or id, group=group or id, source="test.jsonl")


def swapped(row: Example, *, prompt: str | None = None, answer: str | None = None, system: str = "") -> Example:
    """The row with another prompt, answer or system prompt."""
    turns: Sequence[tuple[str, str]] = [("system", system)] if system else []
    asked = row.messages[0].content if prompt is None else prompt
    said = row.messages[-1].content if answer is None else answer
    return conversation(row.id, *turns, ("user", asked), ("assistant", said), group=row.group)
