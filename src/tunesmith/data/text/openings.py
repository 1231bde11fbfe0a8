"""What keeps a passage from standing alone: openings that point back, references to what is not there, page furniture."""

from __future__ import annotations

import re

from tunesmith.data.text.lexicon import STOP_WORDS, VERBS
from tunesmith.data.text.sentences import split_sentences

__all__ = ["announces", "is_closing_heading", "is_furniture", "is_label", "is_sign_off", "points_at_missing", "points_back"]

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_FIRST_WORDS_TEXT = """
it it's its it'd it'll they they're they'd they'll they've them their theirs he he's he'd she she's she'd him her his hers
that that's those these such so but and or nor yet however therefore thus hence instead otherwise also then though still
nevertheless nonetheless meanwhile moreover furthermore besides additionally consequently accordingly similarly likewise
again afterwards afterward later earlier another others other both neither either here here's there which whose because
plus anyway anyways regardless alternatively conversely specifically incidentally importantly worse next second secondly
third thirdly fourth finally lastly eventually ultimately clearly obviously unfortunately fortunately luckily sadly
thankfully surprisingly interestingly amazingly sure yes no yeah nope okay ok well right exactly indeed true granted
admittedly now except not none too same soon suddenly naturally apparently evidently basically essentially overall
nothing everything nobody even
"""
_FIRST_WORDS = frozenset(_FIRST_WORDS_TEXT.split())
_FIRST_PHRASES = re.compile(
    r"(?:for (?:example|instance|that|this|these|those)|"
    r"in (?:addition|contrast|comparison|other words|fact|short|any case|that case|this case|turn|summary|particular|the end|"
    r"response|return|both|either|each|doing so|practice|theory|reality|the meantime|total|all|hindsight|retrospect)|"
    r"on (?:the other|top of|the contrary|the plus side|the upside|the downside|that|the flip side)|"
    r"as (?:a result|well|mentioned|noted|described|discussed|before|such|you can see|you might|expected|for|i said|"
    r"i mentioned)|"
    r"at (?:this|that|the time|the same time|first|least|last|the end|some point|one point)|"
    r"after (?:that|all|a while|a few|several|some|doing|hearing|seeing)|before (?:that|this|long)|"
    r"by (?:then|that|contrast|comparison|the time|this)|from (?:there|then|that|this)|even (?:so|then|worse|better|with)|"
    r"of (?:course|these|those|that)|to (?:that end|be clear|be fair|be honest|my|make matters|"
    r"do (?:this|that|so)|this|achieve)|"
    r"with (?:that|this|these|those|all)|if (?:so|not|that|this)|not (?:only|that|quite|exactly)|until (?:then|now)|"
    r"the (?:other|others|same|second|third|fourth|fifth|sixth|next|last|final|former|latter|rest|result|results|answer|"
    r"solution|reason|trick|above|only (?:other|exception|problem|thing|difference)|first (?:one|two)|following)|"
    r"one (?:other|more|last|final|such|exception|is|was|of (?:them|these|those))|what(?:'s| is) (?:more|worse)|"
    r"a (?:second|third|similar|better|final|further|related|few \w+ later|\w+ later)|"
    r"all (?:of )?(?:this|that|these|those|in all)|"
    r"(?:two|three|four|five|six|several|many|\d+) \w+ later|more (?:importantly|specifically|generally)|"
    r"some (?:others|of (?:them|these|those))|many of (?:them|these|those)|most of (?:them|these|those)|each of (?:them|these)|"
    r"because of (?:this|that|it)|based on (?:this|that|these)|once (?:again|there|that)|what about|how so|why not|why\?)\b",
    re.IGNORECASE,
)
_ORIENTING_TEXT = """
post article blog guide page site website essay series tutorial report review newsletter week month year morning evening
afternoon weekend summer winter spring fall autumn quarter decade century season spring's
"""
_ORIENTING = frozenset(_ORIENTING_TEXT.split())  # "this week" and "this post" need nothing before them
_THINGS = frozenset(("it", "it's", "its", "they", "they're", "them", "their", "theirs", "themselves", "itself"))
_PERSONS_TEXT = "he he's he'd he'll she she's she'd she'll him her his hers himself herself"
_PERSONS = frozenset(_PERSONS_TEXT.split())
_PEOPLE = re.compile(
    r"(?:\w+(?:er|or|ist|ant|man|woman|eer|ian)|boss|mom|mother|dad|father|wife|husband|friend|girlfriend|boyfriend|brother|"
    r"sister|son|daughter|child|kid|somebody|someone|everyone|anyone|person|client|fiancée?|agent|chief|lawyer|student|guy)"
)
_LATER_POINTERS = re.compile(
    r"\b(?:(?:as|like) (?:i|we) (?:said|mentioned|wrote|noted)|aforementioned|mentioned (?:above|earlier|before)|"
    r"previous(?:ly)? (?:section|mentioned|described)|above|on the other hand|by contrast|similar(?! to))\b|"
    r"\b(?:any|either|one|so)[.!]$",
    re.IGNORECASE,
)
_SPOKEN = re.compile(r"^[“\"][^”\"]+[”\"],? (?:he|she|they|said he|said she)\b")  # who speaks was said before
_SPEECH = re.compile(r"[“\"][^”\"]*[”\"]")
_SPEAKER = re.compile(r"[A-Z][\w.]*(?: [A-Z][\w.]*){0,2}: (?=[A-Z“\"])")  # Katherine: That is …
_MARKS = re.compile(r"(?:- |\d{1,3}\. |> )+")
_REFERENCE_MARK = re.compile(r"\[\^?\d{1,3}\]|\(\d{1,2}\) |[*†‡]+ ?\w|\^\d")


def points_back(text: str) -> bool:
    """Whether a passage begins with something that only what stands before it explains. Judged by its first sentence.

    Found: connecting words ("However", "The second …"), pronouns without a noun before them, "this/these/those" other than
    "this post" or "this week", reference marks, a beginning in mid-sentence or mid-quotation, a list that does not begin at 1.
    """
    if re.match(r"(?:[2-9]|\d\d)\. ", text) or _REFERENCE_MARK.match(text):
        return True
    bare = _SPEAKER.sub("", _MARKS.sub("", text, count=1).lstrip("*_ "), count=1)
    sentence = split_sentences(bare)[0] if bare else ""
    if not sentence or sentence[0] in "”’)],;:…–—&" or sentence[0].islower() or sentence.startswith("..."):
        return not re.match(r"[a-z]\w*[A-Z]", sentence)  # iPhone, eBay
    opening = sentence.lstrip("\"“‘'(")
    if sentence.count("”") > sentence.count("“") and "“" not in sentence.partition("”")[0]:
        return True
    words = [word.lower().replace("’", "'") for word in _WORD.findall(opening)]
    if not words:
        return True
    if words[0] in _FIRST_WORDS:
        return not _is_empty_subject(words)
    plain = opening.replace("’", "'")
    if words[0] == "first" and plain[5:6] == ",":
        return True  # of several, which were announced
    if _SPOKEN.search(bare) and not re.search(r"[a-z,] [A-Z][a-z]+", _SPEECH.sub("", bare)):
        return True
    return bool(_FIRST_PHRASES.match(plain) or _LATER_POINTERS.search(plain)) or _leans(opening)


def _is_empty_subject(words: list[str]) -> bool:
    """`There are …`, `It is hard to …`, `Those who …`: the first word stands for what comes after it."""
    first, second = words[0], words[1] if len(words) > 1 else ""
    if first == "there":
        return second in {"are", "is", "was", "were", "has", "have"}
    if first == "those":
        return second in {"who", "of"}
    return (first == "it" and _is_expletive(words[1:6])) or (first == "it's" and _is_expletive(["is", *words[1:5]]))


def _leans(sentence: str) -> bool:
    """A pronoun, a demonstrative or "also" in the sentence, with nothing before it that it can mean."""
    noun = person = False
    tokens = _WORD.findall(sentence.replace("’", "'"))
    for position, token in enumerate(tokens):
        word, following = token.lower(), tokens[position + 1].lower() if position + 1 < len(tokens) else ""
        if word in {"this", "these", "those"}:
            meant = following in _ORIENTING or (word == "those" and following in {"who", "of", "that", "in"})
            if not meant:
                return True
        elif (word == "they" and position < 4) or (word == "that" and not following and not noun):
            return True
        elif (word in _THINGS and not noun) or (word in _PERSONS and not person):
            return not (word == "it" and _is_expletive(tokens[position + 1 : position + 6]))
        elif word in {"also", "instead", "either", "another"} and position < 6 and (word != "another" or position < 2):
            return True
        capital = token[0].isupper() and (position > 0 or word not in VERBS) and not word.endswith(("ly", "ing"))
        if word not in STOP_WORDS and len(word) > 2 and not word.endswith(("ly", "ing")):
            noun = noun or capital or (position > 0 and tokens[position - 1].lower() in _BEFORE_NOUNS)
        person = person or (capital and word not in STOP_WORDS) or bool(_PEOPLE.fullmatch(word))
    return bool(tokens) and tokens[-1].lower() in {"too", "either"}


_BEFORE_NOUNS_TEXT = "a an the my our your his her its their some any every each no of in for with about at on from"
_BEFORE_NOUNS = frozenset(_BEFORE_NOUNS_TEXT.split())


def _is_expletive(after: list[str]) -> bool:
    """`It is hard to …`, `it takes …`: the pronoun stands for what follows it."""
    words = [word.lower() for word in after]
    return bool(words) and (
        words[0] in {"takes", "took", "seems", "seemed", "turns", "turned"}
        or (words[0] in {"is", "was", "would", "can", "will"} and bool({"to", "that"} & set(words[1:])))
    )


_SHOWN = (
    r"(?:code|snippet|listing|script|command|output|figure|fig\.?|table|chart|graph|plot|diagram|screenshot|image|picture|photo|"
    r"photograph|video|gif|map|illustration|animation|slide|outline|template|flag|example|query|function|clip|demo|tweet|comment|formula|equation|log)"
)
_WHERE = re.compile(
    rf"\b{_SHOWN}s?,?(?: \w+){{0,2}} (?:below|above)\b|"
    rf"\b(?:above|below),? (?:is|are|you(?:'ll| can| will)|shows?|{_SHOWN})\b|"
    r"\b(?:see|as|shown|seen|listed|modified|adapted|reproduced|attached|included|embedded|pictured|illustrated|depicted"
    r"|displayed|the|look) (?:below|above)\b(?! all)|"
    r"\b(?:below|above)(?:[.:)]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_SHOWN_HERE = re.compile(
    r"!\[|\bin (?:this|these|the) (?:\w+ )?(?:screenshot|picture|photo|image|chart|graph|diagram|figure|video)s?\b|"
    rf"\b(?:the|these?|this) (?:\w+ ){{0,2}}(?:figure|chart|graph|screenshot|diagram|snippet|gif|image|photo|picture|table)s?"
    r" (?:here )?(?:shows?|illustrates?|depicts?|demonstrates?|compares?|summarizes?|is from|comes? from)\b|"
    rf"\bthe (?:following|next) (?:\w+ )?{_SHOWN}s?\b|"
    r"\(?\bpictured (?:here|left|right|at)\b|\((?:left|right|top|bottom|center|pictured)\)|"
    r"\bhere(?:'s| is| are) (?:a|an|the|my|our|some|one) (?:\w+ ){0,2}"
    r"(?:screenshot|photo|picture|video|diagram|chart|graph|snippet|code|example|map|image|clip|table)s?\b|"
    r"\b(?:figure|fig\.|table|listing) \d|"
    r"\blook(?:s|ed)? (?:something )?like this(?:[.!:]|$)|\bhere's (?:what|how) (?:it|that|this|they) looks?\b",
    re.IGNORECASE | re.MULTILINE,
)


def points_at_missing(text: str) -> bool:
    """Whether a passage speaks of code, a table or a picture as if it stood there: "the code below", "the chart shows"."""
    plain = text.replace("’", "'")
    lowered = plain.lower()
    placed = ("below" in lowered or "above" in lowered) and _WHERE.search(plain)
    return bool(placed or _SHOWN_HERE.search(plain))


_ANNOUNCED = re.compile(
    r"\b(?:several|following|few|two|three|four|five|six|seven|eight|ten|\d|some|many|list of|number of)\b[\w\s,'-]{0,40}"
    r"\b(?:advantages|benefits|reasons|ways|steps|tips|options|examples|lessons|goals|principles|rules|things|questions|factors|"
    r"points|areas|changes|mistakes|criteria|requirements|issues|problems|challenges|takeaways|tools|categories|types|kinds|ideas|suggestions|recommendations|techniques|"
    r"strategies|approaches|features|components|parts|highlights|themes)\b[^.!?:]{0,30}[.:]$|"
    r"^(?:so,? |now,? |first,? )?let(?:'|’)s (?:start|begin|dive|"
    r"take a (?:closer )?look|look at|walk through|see (?:how|what|why))\b[^.!?]{0,100}[.!:]$",
    re.IGNORECASE,
)


def announces(text: str) -> bool:
    """Whether the last sentence promises what is to follow: "It has several advantages.", "Let's start with the lid."."""
    lines = text.rstrip().rsplit("\n", 1)
    sentences = split_sentences(lines[-1])
    return bool(sentences) and bool(_ANNOUNCED.search(sentences[-1]))


_FURNITURE = re.compile(
    r"(?:\[\^?\d{1,3}\]:? |[*†‡]+ ?(?=[A-Z(])|\^\d+:? |"
    r"(?:many |special |big |huge |a (?:big|huge|special) |with )?(?:thanks|thank you|kudos|hat tip|shout-?out)\b|"
    r"share (?:this|on|it on)\b|tweet this|read (?:more\b|on\b|the (?:full|rest|next|previous)|next\b)|continue reading|"
    r"click here|back to (?:the )?(?:top|home|table|contents)|leave a (?:comment|reply)|subscribe\b|sign up (?:for|to)\b|"
    r"join (?:my|our|the) (?:mailing|news)|"
    r"follow (?:me|us) |posted (?:in|by|on)\b|filed under|tags?:|categor(?:y|ies):|related(?: \w+)?:|previous(?:ly)?(?: \w+)?:|"
    r"next(?: \w+)?:|permalink|comments? (?:are closed|\()|originally (?:published|posted|appeared)|"
    r"(?:[\w'-]+ ){0,4}(?:photos?|photograph|images?|illustrations?|art|artwork|graphics?|icons?) "
    r"(?:by|credits?|courtesy|via|source)\b|(?:edited|illustrated|written|translated) by\b|"
    r"this (?:post|article|essay|piece) (?:was|is|has been|originally|first) "
    r"(?:originally|also|published|posted|cross|part of|the \w+ "
    r"(?:post|part|article) (?:in|of)|appeared)|discuss (?:on|this)|view (?:all|comments)|©|copyright\b|all rights reserved|"
    r"(?:prepared|performed) (?:by|under)\b|(?:watch|read|see|listen|view|download|check out) .{0,60}\bhere[.!]$|related [—–-]|"
    r"watch for (?:the|our|my|part) |(?:if you(?:'re| are|'d| would| want)|want to|ready to|to) .{0,40}learn more\b.{0,60}"
    r"(?:check out|see|read) (?:our|my|the|this|these) |"
    r"disclaimer:|full disclosure:|source:|sources:|via:|h/t\b|caption:|see also\b)",
    re.IGNORECASE,
)
_SIGN_OFF = re.compile(
    r"(?:(?:thanks|thank you)(?: (?:so much|again|for reading|everyone|all|you))*|cheers|best(?: (?:wishes|regards))?|"
    r"(?:kind )?regards|sincerely|yours(?: truly)?|love|happy \w+ing|see you(?: \w+){0,4}|until next time|stay tuned|bye|ciao|"
    r"that's (?:it|all)(?: folks| for now| for today)?|to be continued|(?:—|–|--?) ?[A-Z]\w+(?: [A-Z]\w+)?|xo+|the end|enjoy)"
    r"(?:,? ?[A-Z]\w*){0,2}[,.!:) ]*$",
    re.IGNORECASE,
)
_CLOSING_HEADING = re.compile(
    r"(?:footnotes?|references|further reading|related(?: \w+)?|links|sources|"
    r"previous (?:updates|posts|articles)|other posts.*|credits|acknowledge?ments?|thanks|comments?|"
    r"see also|read more|more (?:like this|posts)|share(?: this.*)?|tags|about the author|citations?|bibliography|"
    r"table of contents|contents|on this page|subscribe.*|newsletter)[:.]?",
    re.IGNORECASE,
)
_PART_OF_SERIES = re.compile(r"(?:- |\d+\. )(?:(?:part|chapter|day|week|episode) \w+|overview|introduction)\b", re.IGNORECASE)
_CLOSING_LINK = re.compile(
    r"\byou can (?:sign up|apply|register|subscribe|learn more|read more|join us) here[.!]$", re.IGNORECASE
)
_MAX_FURNITURE_WORDS = 60


def is_furniture(text: str) -> bool:
    """Whether a block belongs to the page and not to the text: footnote, thanks, credits, sign-off, navigation, sharing."""
    plain = text.replace("’", "'").strip().lstrip("(")
    plain = _MARKS.sub("", plain, count=1) if "\n" not in plain else plain
    if "\n" in plain and all(_PART_OF_SERIES.match(line) for line in plain.split("\n")):
        return True
    return (bool(_FURNITURE.match(plain)) and len(plain.split()) <= _MAX_FURNITURE_WORDS) or is_sign_off(plain)


def is_sign_off(sentence: str) -> bool:
    """Whether a sentence takes leave of the reader and says nothing else: "Thanks for reading!", "Cheers, Ada"."""
    if re.match(r"stay tuned\b", sentence, re.IGNORECASE):
        return len(sentence.split()) <= 25
    if len(sentence.split()) <= 25 and _CLOSING_LINK.search(sentence):
        return True
    return len(sentence.split()) <= 8 and bool(_SIGN_OFF.match(" ".join(sentence.replace("’", "'").split())))


def is_label(text: str) -> bool:
    """Whether a paragraph is a heading that is not marked as one: a few words in one line that end in no sign."""
    return "\n" not in text and len(text.split()) <= 12 and text[-1:].isalnum()


def is_closing_heading(heading: str) -> bool:
    """Whether a heading stands over what is not prose of the author: footnotes, links, thanks, comments."""
    return bool(_CLOSING_HEADING.fullmatch(heading.strip()))
