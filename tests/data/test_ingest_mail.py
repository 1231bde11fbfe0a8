"""Mails become what their sender wrote; quotations, signatures and addresses do not come along."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest
from shared_material import ingest

from tunesmith.data.ingest.readers.mail import read_mail
from tunesmith.data.text.decode import UnreadableError

HEAD = "From: Ada Byron <ada@x.org>\nDate: Tue, 11 Apr 2023 08:00:00 +0000\nSubject: {}\n"
LINE = "From ada@x.org Tue Apr 11 08:00:00 2023\n"


def mail(body: str, *, subject: str = "Rain", kind: str = "text/plain; charset=utf-8", extra: str = "") -> str:
    return f"{LINE}{HEAD.format(subject)}{extra}Content-Type: {kind}\n\n{body}\n\n"


def test_a_mailbox_gives_a_document_a_message_with_its_metadata() -> None:
    box = mail("It rained all morning here.\n\nAnd then it stopped.") + mail("From here on it was dry.", subject="Re: Fwd: Dry")
    first, second = read_mail(box.encode(), name="a.mbox").documents
    assert first.text == "It rained all morning here.\n\nAnd then it stopped."
    assert (first.title, first.author, first.date) == ("Rain", "Ada Byron", "2023-04-11") and second.title == "Dry"


@pytest.mark.parametrize(
    "tail",
    [
        "> You asked.\n> Twice.",
        "On Mon, 10 Apr 2023 at 09:00, Tom Doe <tom@x.org> wrote:\n> You asked.",
        "On Mon, 10 Apr 2023 at 09:00, Tom Doe\n<tom@x.org> wrote:\n> You asked.",
        "-- \nAda Byron\nHarbour Master",
        "-----Original Message-----\nFrom: Tom",
        "________________________________\nFrom: Tom",
        "________________________________\n\nVon: Tom Doe\nGesendet: Montag\nYou asked.",
        "From: Tom Doe\nSent: Monday\nTo: Ada\nYou asked.",
        "Sent from my telephone",
        "Am 10.04.2023 um 09:00 schrieb Tom Doe:\n> You asked.",
    ],
)
def test_quotations_and_signatures_are_dropped(tail: str) -> None:
    text = read_mail(mail(f"It rained all morning here.\n\n{tail}").encode(), name="a.mbox").documents[0].text
    assert text == "It rained all morning here."


def test_a_line_drawn_across_a_newsletter_cuts_nothing() -> None:
    text = "It rained all morning here.\n\n________________\n\nFrom here on it was dry.\n\n____________\nMore of it."
    kept = read_mail(mail(text).encode(), name="a.mbox").documents[0].text
    assert kept == "It rained all morning here.\n\nFrom here on it was dry.\n\nMore of it."


def test_plain_text_is_preferred_and_html_is_read_without_its_quotes() -> None:
    html = "<p>It rained all morning here.</p><blockquote><p>You asked.</p></blockquote>"
    both = f"--b\nContent-Type: text/html\n\n{html}\n--b\nContent-Type: text/plain\n\nPlain words were here all along.\n--b--"
    alone = read_mail(mail(html, kind="text/html").encode(), name="a.mbox").documents[0].text
    assert alone == "It rained all morning here."
    found = read_mail(mail(both, kind='multipart/alternative; boundary="b"').encode(), name="a.mbox").documents[0]
    assert found.text == "Plain words were here all along."


def test_encoded_words_bodies_and_wrong_charsets_are_read() -> None:
    body = base64.b64encode("Größe und mehr Wörter, fünf.".encode()).decode()
    found = read_mail(
        mail(body, subject="=?utf-8?q?Gr=C3=B6=C3=9Fe?=", extra="Content-Transfer-Encoding: base64\n").encode(), name="a"
    )
    assert (found.documents[0].title, found.documents[0].text) == ("Größe", "Größe und mehr Wörter, fünf.")
    raw = mail("It rained all morning here, \udce4.", subject="\udce4").encode("utf-8", "surrogateescape")
    assert read_mail(raw, name="a").documents[0].text.encode()


def test_short_mails_are_counted_and_a_message_that_cannot_be_parsed_is_named() -> None:
    bad = mail("words", kind="text/plain; charset=no-such-charset")
    found = read_mail((mail("It rained all morning here.") + mail("Thanks!") + bad).encode(), name="a.mbox")
    assert len(found.documents) == 1 and found.notes["mails with under five words of their own left out"] >= 1
    with pytest.raises(UnreadableError, match="five words"):
        read_mail(mail("Thanks!").encode(), name="a.mbox")


def test_mail_is_told_by_its_first_line_and_single_messages_by_name(tmp_path: Path) -> None:
    (tmp_path / "Inbox").write_text(mail("It rained all morning here."))
    (tmp_path / "one.eml").write_text(mail("One more message than before.").removeprefix(LINE))
    (tmp_path / "post.txt").write_text("From here on it was dry.\n\nYes.")
    found = ingest(tmp_path)
    assert {document.source: document.extraction for document in found.documents} == {
        "Inbox": "mail",
        "one.eml": "mail",
        "post.txt": "text",
    }


def test_deep_nesting_and_giant_lines_are_named_in_time() -> None:
    deep = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(3000))
    start = time.process_time()
    with pytest.raises(UnreadableError):
        read_mail(f"{LINE}{HEAD.format('x')}{deep}".encode(), name="a.mbox")
    box = (
        mail("word " * 500_000) + mail(">" * 3_000_000) + mail("On " + "x" * 2_000_000) + mail("<" * 300_000, kind="text/html")
    )
    assert len(read_mail(box.encode(), name="a.mbox").documents) == 1
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    "mark", ["yahoo_quoted", "gmail_signature", "moz-signature", "protonmail_quote", "protonmail_signature_block"]
)
def test_what_a_mail_program_marks_as_quoted_or_as_a_signature_is_left_out(mark: str) -> None:
    page = (
        f"<p>It rained all morning here.</p><div class='{mark}'><p>On Monday Tom said</p><p>That it was dry all day.</p></div>"
    )
    (found,) = read_mail(mail(page, kind="text/html; charset=utf-8").encode(), name="a.mbox").documents
    assert found.text == "It rained all morning here."
