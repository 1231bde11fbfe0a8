"""Mail: what the owner of the mailbox sent is taken; what others sent, drafts, spam and machines' mail is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_ingest_containers import ingest

from tunesmith.data.ingest.mail_places import place_of, place_of_path
from tunesmith.data.ingest.mail_words import own_part, subject_of
from tunesmith.data.ingest.policy import EVERY_STATUS, Policy
from tunesmith.data.ingest.readers.mail import read_mail

ADA, BOB = "Ada Byron <ada@mill.example>", "Bob Roe <bob@roe.example>"
OWN = "The kettle was on before the rain had stopped, and nobody spoke of the harvest."


def mail(sender: str, body: str, *, labels: str = "", extra: str = "", subject: str = "Rain") -> str:
    tagged = f"X-Gmail-Labels: {labels}\n" if labels else ""
    return f"{tagged}{extra}From: {sender}\nDate: Fri, 4 Mar 2022 10:00:00 +0100\nSubject: {subject}\n\n{body}\n"


def mbox(*mails: str) -> bytes:
    return "".join(f"From x@y Fri Mar 04 10:00:00 2022\n{one}\n" for one in mails).encode()


def labelled(sent: str, draft: str, spam: str, trash: str, inbox: str) -> bytes:
    return mbox(
        mail(ADA, f"{OWN} One.", labels=f"{sent},Clocks"),
        mail(BOB, "BOBMARK writes to her about all of the clocks.", labels=f"{inbox},Important"),
        mail("Ada <ada@mill.example>", "DRAFTMARK of a letter that was never sent.", labels=draft),
        mail("Win <w@spam.example>", "SPAMMARK you have won a million clocks today.", labels=spam),
        mail(ADA, "TRASHMARK what she wrote and then threw away.", labels=f"{trash},{sent}"),
        mail(ADA, f"{OWN} Two.", labels=f"{inbox},{sent}"),
    )


LANGUAGES = [
    ("Sent", "Drafts", "Spam", "Trash", "Inbox"),
    ("Gesendet", "Entwürfe", "Spam", "Papierkorb", "Posteingang"),
    ("=?UTF-8?Q?Messages_envoy=C3=A9s?=", "Brouillons", "Spam", "Corbeille", "=?UTF-8?Q?Bo=C3=AEte_de_r=C3=A9ception?="),
    ("Enviados", "Borradores", "Spam", "Papelera", "Recibidos"),
    ("Отправленные", "Черновики", "Спам", "Корзина", "Входящие"),
    ("送信済みメール", "下書き", "迷惑メール", "ゴミ箱", "受信トレイ"),
]


@pytest.mark.parametrize("words", LANGUAGES)
@pytest.mark.parametrize("me", [(), ("Ada Byron",), ("ada@mill.example",)])
def test_labels_of_every_language_say_what_was_sent(words: tuple[str, str, str, str, str], me: tuple[str, ...]) -> None:
    words = ("Sent", *words[1:]) if words[0].startswith("=?") and me else words
    found = read_mail(labelled(*words), name="All mail Including Spam and Trash.mbox", policy=Policy(me=me))
    published = [document for document in found.documents if document.status == "published"]
    assert [document.text for document in published] == [f"{OWN} One.", f"{OWN} Two."]
    assert sorted(document.status for document in found.documents) == ["deleted", "draft", "published", "published"]
    assert not [one for one in found.documents if "BOBMARK" in one.text or "SPAMMARK" in one.text]
    assert found.notes["mails of other senders left out"] == 1 and found.notes["spam left out"] == 1


def test_without_a_name_or_label_every_sender_is_kept_with_his_name() -> None:
    found = read_mail(mbox(mail(ADA, OWN), mail(BOB, f"{OWN} Bob.")), name="a.mbox")
    assert [document.author for document in found.documents] == ["Ada Byron", "Bob Roe"]


@pytest.mark.parametrize("me", ["ada byron", "ADA@mill.example"])
def test_the_sender_decides_once_a_name_is_given(tmp_path: Path, me: str) -> None:
    (tmp_path / "a.mbox").write_bytes(mbox(mail(ADA, OWN), mail(BOB, "BOBMARK writes to her about the clocks.")))
    (tmp_path / "b.eml").write_text(mail(BOB, "BOBMARK writes once more about the clocks."))
    found = ingest(tmp_path, Policy(me=(me,), today="2026-01-01"))
    assert [(one.text, one.title, one.date) for one in found.documents] == [(OWN, "Rain", "2022-03-04")]
    assert "2 mails of other senders left out" in found.notes


@pytest.mark.parametrize(
    "files",
    [
        {"Takeout/Mail/Sent.mbox": 1, "Takeout/Mail/Inbox.mbox": 0, "Takeout/Mail/Spam.mbox": 0},
        {"Gesendete Elemente/1.eml": 2, "Posteingang/1.eml": 3, "Junk-E-Mail/1.eml": 3},
        {"Sent Messages.mbox/mbox": 1, "Sent Messages.mbox/table_of_contents": 9, "INBOX.mbox/mbox": 0},
        {"Mail/x.org/Sent": 1, "Mail/x.org/Sent.msf": 9, "Mail/x.org/INBOX": 0, "Mail/x.org/INBOX.msf": 9},
        {"Old mail/Sent": 1, "Old mail/Inbox": 0},
        {"Maildir/Sent/cur/1646384400.M1.host:2,S": 2, "Maildir/cur/1646384401.M2.host:2,S": 3},
        {"Envoyés/Messages/12.emlx": 4, "Boîte de réception/Messages/13.emlx": 5},
    ],
    ids=["takeout", "eml", "apple", "thunderbird", "thunderbird without lists", "maildir", "emlx"],
)
def test_folders_of_every_program_say_what_was_sent(tmp_path: Path, files: dict[str, int]) -> None:
    sent, received = mail(ADA, OWN), mail(BOB, "BOBMARK writes to her about all of the clocks.")
    contents = [mbox(received), mbox(sent), sent.encode(), received.encode()]
    contents += (
        [f"{len(one.encode())}\n{one}<?xml PLISTMARK?>".encode() for one in (sent, received)] + [b""] * 3 + [b"LISTMARK"]
    )
    for name, number in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(contents[number])
    found = ingest(tmp_path)
    assert [(one.text, one.author) for one in found.documents] == [(OWN, "Ada Byron")] and not found.failures
    named = ingest(tmp_path, Policy(me=("Ada Byron",), today="2026-01-01"))
    assert [one.text for one in named.documents] == [OWN]


def test_drafts_and_deleted_mails_of_a_maildir_are_known_by_the_flags_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "cur").mkdir()
    for name, body in (
        ("1646384400.a:2,S", OWN),
        ("1646384401.b:2,DS", f"{OWN} Draft."),
        ("1646384402.c:2,ST", f"{OWN} Gone."),
    ):
        (tmp_path / "cur" / name).write_text(mail(ADA, body))
    assert [one.text for one in ingest(tmp_path).documents] == [OWN]
    drafts = ingest(tmp_path, Policy(publication=EVERY_STATUS, today="2026-01-01")).documents
    assert {one.status for one in drafts} == {"published", "draft"}


@pytest.mark.parametrize(
    ("sender", "head"),
    [
        ("Shop <news@shop.example>", "List-Unsubscribe: <https://shop.example/u>\n"),
        ("Ada Byron <ada@mill.example>", "Auto-Submitted: auto-replied\n"),
        ("Bank <no-reply@bank.example>", ""),
        ("MAILER-DAEMON <mailer-daemon@x.example>", ""),
        ("Shop <x@shop.example>", "Precedence: bulk\n"),
    ],
)
def test_mails_of_machines_are_left_out_and_counted(sender: str, head: str) -> None:
    found = read_mail(mbox(mail(ADA, OWN), mail(sender, "MACHINEMARK words to read and to click on.", extra=head)), name="a")
    assert [one.text for one in found.documents] == [OWN] and found.notes == {"automatic mails left out": 1}


def test_a_newsletter_of_ones_own_is_writing() -> None:
    box = mbox(mail(ADA, OWN, extra="List-Unsubscribe: <https://mill.example/u>\n"))
    assert [one.text for one in read_mail(box, name="a", policy=Policy(me=("Ada Byron",))).documents] == [OWN]
    assert not read_mail(box, name="a").documents


def test_a_letter_to_a_mailing_list_stays() -> None:
    head = "List-Unsubscribe: <https://l.example>\nList-Post: <mailto:l@l.example>\nPrecedence: list\n"
    assert len(read_mail(mbox(mail(ADA, OWN, extra=head, subject="[mills] Re: Rain")), name="a").documents) == 1
    assert subject_of("[mills] Re: AW: [mills] Rain") == "Rain" and subject_of("[mills] Rain") == "Rain"


def test_a_mail_that_thunderbird_marks_as_deleted_is_deleted() -> None:
    found = read_mail(mbox(mail(ADA, OWN, extra="X-Mozilla-Status: 0009\n")), name="Sent")
    assert [one.status for one in found.documents] == ["deleted"]


@pytest.mark.parametrize(
    "tail",
    [
        "Best,\nAda",
        "Best, Ada",
        "Kind regards\n\nAda Byron\nThe Old Mill\n+1 555 0100",
        "Viele Grüße\nAda",
        "Cordialement,\n\nAda Byron",
        "Un abrazo,\nAda",
        "– Ada",
        "A.",
        "Thanks!",
        "Bob Roe writes:\n\n> QUOTEMARK",
        "Bob <bob@x.example> schrieb am 03.03.2022:\n> QUOTEMARK",
        "Le jeu. 3 mars 2022 à 21:12, Bob <bob@x.example> a écrit :\nQUOTEMARK without marks",
        "El jue, 3 mar 2022 a las 21:12, Bob (<bob@x.example>) escribió:\n\n> QUOTEMARK",
        "Il giorno gio 3 mar 2022 alle 21:12 Bob ha scritto:\nQUOTEMARK",
        "Op do 3 mrt. 2022 om 21:12 schreef Bob:\n> QUOTEMARK",
        "Von: Bob\nGesendet: Donnerstag\nAn: Ada\nQUOTEMARK",
        "De : Bob\nEnvoyé : jeudi\nÀ : Ada\nQUOTEMARK",
        "---------- Forwarded message ---------\nFrom: Bob\nQUOTEMARK",
        "-------- Weitergeleitete Nachricht --------\nQUOTEMARK",
        "Von meinem iPhone gesendet",
        "Envoyé de mon iPhone",
    ],
)
def test_what_stands_below_the_own_words_is_cut_off(tail: str) -> None:
    assert own_part(f"{OWN}\n\n{tail}", sender="Ada Byron").strip() == OWN


@pytest.mark.parametrize(
    "text",
    [
        f"As my father wrote in 1984:\n\n{OWN}",
        f"{OWN}\n\nThanks to all of you who came to the mill on Sunday, it was a fine day for bread.",
        f"Here is what I wrote:\n\n{OWN}",
    ],
)
def test_prose_that_only_looks_like_an_announcement_or_a_sign_off_stays(text: str) -> None:
    assert own_part(text, sender="Ada Byron") == text


def test_answers_between_quotations_stay_in_their_order() -> None:
    text = "Bob writes:\n\n> one\n\nFirst answer.\n\nAm 03.03.2022 um 21:12 schrieb Bob:\n> two\n\nSecond answer."
    assert own_part(text).split() == ["First", "answer.", "Second", "answer."]


def test_a_quotation_of_a_page_is_known_by_its_marks() -> None:
    quoted = "<div>On Thu, Mar 3, 2022 at 9:12 PM Bob wrote:<br></div><blockquote>QUOTEMARK</blockquote>"
    html = f"<p>{OWN}</p>{quoted}<p>And more.</p>"
    one = mbox(mail(ADA, html, extra="Content-Type: text/html\n"))
    assert read_mail(one, name="a").documents[0].text == f"{OWN}\n\nAnd more."


@pytest.mark.parametrize(
    "mark", ["gmail_signature", "moz-signature", "gmail_attr", "moz-cite-prefix", "protonmail_signature_block"]
)
def test_what_a_mail_program_marks_as_no_text_is_none(mark: str) -> None:
    page = f'<div>{OWN}</div><div dir="ltr" class="x {mark} y">SIGNMARK <b>Ada</b></div><p>And more.</p>'
    one = mbox(mail(ADA, page, extra="Content-Type: text/html\n"))
    assert read_mail(one, name="a").documents[0].text == f"{OWN}\n\nAnd more."


def test_names_of_places_are_whole_names() -> None:
    assert place_of_path("Mail/All mail Including Spam and Trash.mbox") == "" and place_of(["Sent by Bob"]) == ""
    assert place_of_path("Takeout/Mail/Gesendet-001.mbox") == "sent" and place_of_path("INBOX.sbd/Drafts") == "draft"
    assert place_of(["[Gmail]/Sent Mail", "Important"]) == "sent" and place_of_path("a/INBOX.Sent/x.eml") == "sent"


def test_a_sent_folder_counts_even_if_the_name_asked_for_is_written_otherwise() -> None:
    found = read_mail(mbox(mail(ADA, OWN)), name="Sent.mbox", policy=Policy(me=("Augusta",)))
    assert [(one.text, one.author) for one in found.documents] == [(OWN, None)]


def test_a_conversation_carries_one_thread_and_no_address() -> None:
    first = mail(ADA, f"{OWN} One.", extra="Message-ID: <1@mill.example>\n")
    second = mail(ADA, f"{OWN} Two.", extra="References: <1@mill.example> <2@x>\nMessage-ID: <3@mill.example>\n")
    threads = {one.thread for one in read_mail(mbox(first, second), name="a").documents}
    assert len(threads) == 1 and "@" not in str(threads)


def test_a_large_mailbox_is_read_from_its_pages_and_gives_what_a_small_one_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = labelled("Sent", "Drafts", "Spam", "Trash", "Inbox") + mbox("From: broken\x00", mail(ADA, "Ok."))
    for folder in ("alone", "beside"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "All mail.mbox").write_bytes(data)
    (tmp_path / "beside" / "Sent.mbox").write_bytes(mbox(mail(ADA, f"{OWN} Three.")))
    whole = [ingest(tmp_path / folder) for folder in ("alone", "beside")]
    assert [len(found.documents) for found in whole] == [2, 1]  # beside a folder of sent mail, other folders are left out
    monkeypatch.setattr("tunesmith.data.ingest.read_item._MAPPED_BYTES", 1000)
    monkeypatch.setattr("tunesmith.data.ingest.gather._MAX_FILE_BYTES", 1000)
    for folder, found in zip(("alone", "beside"), whole, strict=True):
        again = ingest(tmp_path / folder)
        assert (again.documents, again.notes, again.failures) == (found.documents, found.notes, found.failures)
    assert ingest(tmp_path / "alone" / "All mail.mbox").documents == whole[0].documents
    (tmp_path / "alone" / "a.md").write_text("Words of mine. " * 100)  # nothing else may be as large
    assert "larger than 256 MB" in ingest(tmp_path / "alone").failures[0].reason
