"""What the sender of a mail wrote: without quotations and the lines above them, forwarded mails, sign-offs, signatures."""

from __future__ import annotations

import re

from lxml import etree, html

from tunesmith.data.text.words import num_words

__all__ = ["own_part", "subject_of", "without_marked"]

_HEAD = r"From|Von|De|Da|Van|Från|Fra|Od|От|Lähettäjä|Kimden"
_SENT = (
    r"Sent|Date|To|Gesendet|Datum|An|Envoyé|Envoyé le|À|Enviado|Enviado el|Fecha|Para|Inviato|Data|A|Verzonden|Aan|Skickat"
    r"|Till|Sendt|Til|Wysłano|Do|Отправлено|Дата|Кому|Lähetetty|Odesláno"
)
_FORWARDED = (
    r"original message|forwarded message|original appointment|ursprüngliche nachricht|originalnachricht"
    r"|weitergeleitete nachricht"
    r"|message d'origine|message original|message transféré|message transmis|mensaje original|mensaje reenviado"
    r"|messaggio originale|messaggio inoltrato|mensagem original|mensagem encaminhada"
    r"|oorspronkelijk bericht|doorgestuurd bericht|ursprungligt meddelande|vidarebefordrat|videresendt|wiadomość oryginalna"
    r"|oryginalna wiadomość|przekazana wiadomość|исходное сообщение|пересылаемое сообщение|forwarded by"
)
_MOBILE = (
    r"sent from my \w.*|sent from (?:mail|outlook|yahoo|proton|samsung)\b.*|sent via .*|get outlook for .*"
    r"|von meinem \w.* gesendet"
    r"|gesendet von .*|envoyé de(?:puis)? m(?:on|a) .*|envoyé de(?:puis)? .*|enviado desde .*|enviado do meu .*|inviato da .*"
    r"|verstuurd van(?:af)? .*|verzonden van(?:af)? .*|skickat från .*|sendt fra .*|wysłano z .*|отправлено с .*"
)
_CUT = re.compile(
    rf"^(?:-- ?|[-_*]{{2,}} ?(?:{_FORWARDED})\b.*|begin forwarded message:?|anfang der weitergeleiteten nachricht:?"
    rf"|début du message (?:réexpédié|transféré).*|inizio messaggio inoltrato:?|inicio del mensaje reenviado:?|{_MOBILE})$",
    re.IGNORECASE | re.MULTILINE,
)
_OUTLOOK = re.compile(rf"^\*?(?:{_HEAD}) ?:\*? [^\n]+\n\*?(?:{_SENT}) ?:\*? ", re.MULTILINE)
_RULE = re.compile(r"^_{10,}[ \t]*$", re.MULTILINE)  # of Outlook only where a head follows; newsletters draw such lines too
_RULE_AND_HEAD = re.compile(rf"{_RULE.pattern}(?:\n[^\n]*){{0,3}}?\n\*?(?:{_HEAD}) ?:\*? [^\n]", re.MULTILINE)
_VERB = (
    r"wrote|writes|schrieb|schreibt|a écrit|écrit|escribió|escribe|ha scritto|scrive|escreveu|escreve|schreef|skrev|skriver"
    r"|napisał\(?a?\)?|pisze|написал\(?а?\)?|пишет|kirjoitti|napsal\(?a?\)?|írta|yazdı|şunu yazdı|写道|寫道|のメール|작성"
)
_ANNOUNCED = re.compile(
    rf"^(?:(?:on|am|le|el|il|em|op|den|dnia|w dniu|dne|на|в|em|pe|tarihinde)\b[^\n]{{3,200}}?(?:{_VERB})[^\n]{{0,80}}:"
    rf"|(?!\s*>)[^\n]{{2,120}}(?<![^\W\d_])(?:{_VERB})(?: [^\n]{{0,60}})?:)[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_IN_TWO = re.compile(
    rf"^((?!\s*>)[^\n]{{5,120}})\n((?!\s*>)[^\n]{{0,120}}(?:{_VERB})[^\n]{{0,60}}:[ \t]*)$", re.MULTILINE | re.IGNORECASE
)
_DATED = re.compile(r"\d{4}|\d{1,2}[:.]\d{2}|@")
_TIMED = re.compile(r"\d{1,2}:\d{2}|\bkl\.? ?\d|@")
_CLOSING_TEXT = """
best|all the best|best wishes|best regards|kind regards|kindest regards|warm regards|warmest regards|regards|cheers|thanks
|many thanks|thank you|thanks again|thanks so much|yours|yours truly|yours sincerely|yours faithfully|sincerely|love
|lots of love|much love|take care|warmly|with love|talk soon|see you|xo|xoxo|x|xx|hugs|br|kr|rgds
|viele grüße|viele liebe grüße|liebe grüße|schöne grüße|beste grüße|herzliche grüße|freundliche grüße|grüße|gruß|gruss
|viele grüsse|liebe grüsse|mit freundlichen grüßen|mit freundlichen grüssen|mit besten grüßen|herzlich|herzlichst|lg|vg|mfg
|alles liebe|cordialement|bien cordialement|bien à vous|bien à toi|amicalement|bises|bisous|merci|à bientôt|salutations
|saludos|un saludo|saludos cordiales|un abrazo|abrazos|atentamente|besos|gracias|cordiali saluti|un caro saluto|saluti
|un abbraccio|distinti saluti|grazie|abraços|um abraço|atenciosamente|cumprimentos|beijos|obrigado|obrigada|groet|groeten
|groetjes|met vriendelijke groet|met vriendelijke groeten|hartelijke groet|mvg|liefs|mvh|vänliga hälsningar|hälsningar
|med vänliga hälsningar|hilsen|med venlig hilsen|med vennlig hilsen|vh|kram|pozdrawiam|z poważaniem|serdecznie pozdrawiam
|с уважением|с наилучшими пожеланиями|всего доброго|s pozdravem|terveisin|ystävällisin terveisin|saygılarımla|sevgiler
"""
_CLOSINGS = frozenset(" ".join(one.split()) for one in _CLOSING_TEXT.split("|"))
_MARKED = re.compile(
    r"""\b(?:class|id)=["']?[^"'<>]*\b(?:gmail_signature(?:_prefix)?|gmail_attr|moz-signature|moz-cite-prefix|Signature"""
    r"""|ms-outlook-mobile-signature|protonmail_signature_block|x_gmail_signature|yahoo_signature|protonmail_quote"""
    r"""|yahoo_quoted|yahoo-quoted-begin|tutanota_quote|OutlookMessageHeader)\b"""
)
_SUBJECT = re.compile(
    r"^(?:(?:\[[^\]]{1,40}\]\s*)*(?:re|aw|antw|sv|vs|fwd?|fw|wg|tr|rv|rif|res|enc|odp|pd|i|ref)(?:\[\d+\])?:\s*)+", re.I
)
_LIST_TAG = re.compile(r"^\[[^\]]{1,40}\]\s*(?=\S)")


def subject_of(text: str) -> str | None:
    """A subject without the marks of answers and forwards, and of the mailing list that it went to."""
    bare = _SUBJECT.sub("", " ".join(text.split()))
    return _LIST_TAG.sub("", bare) or None


def without_marked(page: str) -> str:
    """The HTML of a mail without what mail programs mark as a signature, as a quoted mail, or as the line above a
    quotation."""
    if not _MARKED.search(page):
        return page
    try:
        root = html.fromstring(f"<div>{page}</div>".encode("utf-8", "replace"), parser=html.HTMLParser(encoding="utf-8"))
    except (etree.LxmlError, ValueError):
        return page  # the reader of fragments says what is wrong with it
    for element in root.xpath("//*[@class or @id]"):
        marks = f"{element.get('class') or ''} {element.get('id') or ''}"
        if _MARKED.search(f'class="{marks}"') and element.getparent() is not None:
            element.drop_tree()
    return str(etree.tostring(root, encoding="unicode", method="html"))


def own_part(text: str, *, sender: str | None = None) -> str:
    """What the sender wrote. Lines that begin with `>` are quotations; below an announcement without such lines the rest is
    one. `sender`: the name by which a sign-off without a closing phrase is known."""
    text = _IN_TWO.sub(_joined, text)
    ends = [match.start() for pattern in (_CUT, _OUTLOOK, _RULE_AND_HEAD) if (match := pattern.search(text))]
    text = text[: min(ends)] if ends else text
    text = _without_announced(_RULE.sub("", text))
    kept = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith(">"))
    return _without_sign_off(kept, sender)


def _joined(match: re.Match[str]) -> str:
    return f"{match[1]} {match[2]}" if _DATED.search(match[1]) else match[0]


def _without_announced(text: str) -> str:
    parts: list[str] = []
    start = 0
    for match in _ANNOUNCED.finditer(text):
        if match.start() < start:
            continue
        below = text[match.end() :].lstrip()
        if not below.startswith(">") and not _TIMED.search(match[0]):
            continue  # "As my father wrote in 1984:" is prose
        parts.append(text[start : match.start()])
        start = match.end()
        if not below.startswith(">"):
            return "".join(parts)
    return "".join([*parts, text[start:]])


def _without_sign_off(text: str, sender: str | None) -> str:
    """The text up to a closing phrase with at most four short lines below it, or to a last line that is the sender's name."""
    lines = text.rstrip().split("\n")
    names = {part.casefold() for part in re.findall(r"\w+", sender or "")}
    filled = [at for at, line in enumerate(lines) if line.strip()]
    for at in filled[-5:]:
        if at != filled[0] and _closes(lines[at], names):
            below = [lines[other] for other in filled if other > at]
            if len(below) <= 4 and all(num_words(line) <= 8 for line in below):
                return "\n".join(lines[:at]).rstrip()
    return "\n".join(lines)


def _closes(line: str, names: set[str]) -> bool:
    said = line.strip().strip("*_–—- \t").rstrip("!.,;:)").casefold()
    if said in _CLOSINGS:
        return True
    words = re.findall(r"\w+", said)
    if (
        names
        and words
        and len(words) <= 3
        and all(word in names or (len(word) == 1 and _is_initial(word, names)) for word in words)
    ):
        return True
    head, comma, tail = said.partition(",")
    return bool(comma) and head.strip() in _CLOSINGS and num_words(tail) <= 3


def _is_initial(letter: str, names: set[str]) -> bool:
    return any(name.startswith(letter) for name in names)
