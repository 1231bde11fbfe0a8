"""Where a mail lies: what folders and labels of mail programs are called in the languages that people use them in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

__all__ = ["Place", "place_of", "place_of_path"]

Place = Literal["spam", "trash", "draft", "sent", "received", ""]

# Names in lower case, of Gmail, Outlook, Apple Mail and Thunderbird; a line for each place and group of languages.
_NAMES: dict[Place, str] = {
    "sent": """sent|sent mail|sent items|sent messages|sent e-mail|sent email|gesendet|gesendete objekte|gesendete elemente
        |gesendete nachrichten|envoyés|messages envoyés|éléments envoyés|e-mails envoyés|enviados|elementos enviados
        |mensajes enviados|itens enviados|e-mails enviados|enviadas|mensagens enviadas|posta inviata|inviata|inviati
        |messaggi inviati|elementi inviati|verzonden|verzonden items|verzonden berichten|wysłane|elementy wysłane
        |отправленные|надіслані|skickat|skickade|skickade objekt|sendt|sendte elementer|sendt post|sendte|lähetetyt
        |lähetetyt viestit|odeslané|odeslaná pošta|elküldött|elküldött elemek|gönderilmiş|gönderilenler|gönderilmiş postalar
        |gönderilmiş öğeler|送信済み|送信済みメール|送信済みアイテム|已发送|已发邮件|已发送邮件|寄件備份|보낸편지함
        |보낸 메일함|보낸 편지함        |enviats|trimise|απεσταλμένα""",
    "draft": """draft|drafts|entwurf|entwürfe|brouillon|brouillons|borrador|borradores|rascunho|rascunhos|bozza|bozze
        |concept|concepten|wersje robocze|szkice|черновик|черновики|чернетки|utkast|kladde|kladder|luonnokset|koncepty
        |piszkozatok|taslaklar|下書き|草稿|임시보관함|임시 보관함|templates|vorlagen|modèles|outbox|postausgang|boîte d'envoi
        |unsent messages|bandeja de salida|in uscita|esborranys|ciorne|πρόχειρα""",
    "spam": """spam|junk|junk e-mail|junk email|junk-e-mail|bulk mail|bulk|werbung|spamverdacht|courrier indésirable
        |indésirables|pourriel|correo no deseado|no deseado|lixo eletrônico|lixo eletrónico|posta indesiderata|indesiderata
        |ongewenste e-mail|ongewenst|reclame|niechciane|спам|нежелательная почта|skräppost|søppelpost|uønsket mail|roskaposti
        |nevyžádaná pošta|levélszemét|gereksiz|gereksiz e-posta|迷惑メール|垃圾邮件|垃圾郵件|스팸|스팸함|정크 메일""",
    "trash": """trash|bin|deleted|deleted items|deleted messages|deleted mail|papierkorb|gelöscht|gelöschte elemente
        |gelöschte objekte|corbeille|éléments supprimés|messages supprimés|papelera|eliminados|elementos eliminados|lixeira
        |lixo|itens excluídos|itens eliminados|cestino|posta eliminata|elementi eliminati|prullenbak|verwijderd
        |verwijderde items|kosz|elementy usunięte|корзина|удаленные|кошик|papperskorg|papperskorgen|papirkurv|slettet
        |roskakori|poistetut|koš|odstraněná pošta|kuka|törölt elemek|çöp kutusu|çöp|silinmiş öğeler|ゴミ箱|废纸篓|已删除邮件
        |已删除|垃圾桶|휴지통|지운 편지함|paperera|coș de gunoi""",
    "received": """inbox|in|posteingang|eingang|boîte de réception|bandeja de entrada|recibidos|caixa de entrada|entrada
        |posta in arrivo|in arrivo|postvak in|odebrane|skrzynka odbiorcza|входящие|вхідні|inkorg|inkorgen|innboks|indbakke
        |saapuneet|doručená pošta|beérkező levelek|gelen kutusu|受信トレイ|受信箱|收件箱|收件匣|받은편지함|receive""",
}
_PLACES: dict[str, Place] = {
    " ".join(name.split()): place for place, names in _NAMES.items() for name in names.split("|") if name.strip()
}
_ORDER: tuple[Place, ...] = ("spam", "trash", "draft", "sent", "received")
_NUMBERED = re.compile(r"(?:[-_ ]?\d+|\s*\(\d+\))$")
_SUFFIX = re.compile(r"\.(?:mbox|mbx|sbd|eml|emlx|maildir)$", re.IGNORECASE)


def place_of(labels: Iterable[str]) -> Place:
    """The place that labels of one mail state: the one that weighs most where there are several. Empty: they state none."""
    found = {_PLACES.get(label.strip().strip('"').casefold().rpartition("/")[2], "") for label in labels}
    return next((place for place in _ORDER if place in found), "")


def place_of_path(name: str) -> Place:
    """The place that the names of a file and of its folders state, the innermost first."""
    for part in reversed(name.split("/")):
        bare = _SUFFIX.sub("", part.strip()).lstrip(".").casefold()
        for known in (bare, _NUMBERED.sub("", bare), bare.rpartition(".")[2]):
            if known in _PLACES:
                return _PLACES[known]
    return ""
