"""Secrets and personal data, made up, for the planted faults; the same sentences are the labelled set for `redact`.

What must go stands between ⟦ and ⟧. As a script: writes the table of redaction in the docs.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from checks_clean import clean_rows
from checks_planting import Fault, digits, inserted, letters
from stdnum import luhn
from stdnum.es import dni
from stdnum.fr import nir
from stdnum.it import codicefiscale

from tunesmith.data.checks import redact

__all__ = ["LOOKALIKES", "PRIVATE", "PRIVATE_FAULTS", "Private", "Redacted", "measure_redaction", "redaction_table"]

_EACH = 40
_BEGIN, _END = "<!-- redacted -->", "<!-- /redacted -->"
_UPPER = "ABCDEFGHKLMN"
LOOKALIKES = """
The book has the number 978-0-306-40615-7, its sequel 0-19-852663-6.
Release v1.2.3.4 is version 10.2.0.1 of the firmware, says section 4.3.2.1 of the leaflet.
The part number is 4111-2222-3333-4445, and the order 1234567890123 is older.
On 2024-03-15 at 12:30:45 the clock stopped, and at 10:15 it went again.
The ratio is 4:3:2:1, the MAC is 00:1A:2B:3C:4D:5E, and std::vector holds both.
Room 020 1234 is upstairs, room 555 is not, and the tram runs 2019-2021.
The password is written on the underside, and the token is a brass coin.
The commit 3b7c2f9e4d5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c fixed it, issue #123456.
It costs 1,250,000 of the old coins, 12.50 of the new, and 3.14159265358979 of nothing.
See https://kettles.example/2024/03/15/a-long-story-about-a-kettle-and-its-lid for more.
Set api_key = os.environ["API_KEY"] and password = "changeme" in the sample.
The bone of the kit is AB-12-34, the drawer 12345678 and the shelf 12-34-56.
He wrote @olga and #kettles, and met her at 5@7 street.
The SKU is SK1234 and AC/DC played on AC current; APOLLO11 flew in 1969.
The tax of 12345678901 coins was a joke, and so was plan B7.
The UUID 123e4567-e89b-12d3-a456-426614174000 stands on the box.
""".strip().split("\n")


@dataclass(frozen=True, slots=True)
class Private:
    """A kind of secret or personal datum: its name, the finding and the word of `redact` for it, and how it is made up."""

    kind: str
    finding: str
    word: str
    make: Callable[[random.Random, int], str]


def _aws(draw: random.Random, n: int) -> str:
    return f"Use ⟦AKIA{letters(draw, 16, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567')}⟧ for it"


def _github(draw: random.Random, n: int) -> str:
    return f"Use ⟦{('ghp_', 'gho_', 'ghs_')[n % 3]}{letters(draw, 36)}⟧ here"


def _slack(draw: random.Random, n: int) -> str:
    return f"Use ⟦xoxb-{digits(draw, 12)}-{letters(draw, 24)}⟧ here"


def _jwt(draw: random.Random, n: int) -> str:
    return f"Use ⟦eyJ{letters(draw, 20)}.eyJ{letters(draw, 40)}.{letters(draw, 43)}⟧ here"


def _service(draw: random.Random, n: int) -> str:
    """Tokens whose shapes come from detect-secrets."""
    shapes = (
        f"SG.{letters(draw, 22)}.{letters(draw, 43)}",
        f"AccountKey={letters(draw, 86)}==",
        f"{digits(draw, 9)}:AA{letters(draw, 33)}",
        f"{letters(draw, 32, '0123456789abcdef')}-us{n % 9 + 1}",
        f"sq0csp-{letters(draw, 43)}",
        f"SK{letters(draw, 32, '0123456789abcdef')}",
    )
    return f"Use ⟦{shapes[n % 6]}⟧ here"


def _key_block(draw: random.Random, n: int) -> str:
    kind = ("RSA ", "", "OPENSSH ", "EC ")[n % 4]
    lines = "\n".join(letters(draw, 64) for _ in range(4))
    return f"⟦-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----⟧"


def _assigned(draw: random.Random, n: int) -> str:
    shapes = (
        'api_key = "⟦{}⟧"',
        "PASSWORD=⟦{}⟧",
        'client_secret: "⟦{}⟧"',
        "the token is ⟦{}⟧",
        "DB_PASSWORD: ⟦{}⟧",
        '"access_key": "⟦{}⟧"',
    )
    return shapes[n % 6].format(letters(draw, 18) + str(n % 10))


def _url_password(draw: random.Random, n: int) -> str:
    return f"Connect to {('postgres', 'https', 'redis')[n % 3]}://olga:⟦{letters(draw, 12)}⟧@shop.kettles.org/db"


def _email(draw: random.Random, n: int) -> str:
    name, place = letters(draw, 6, "abcdefghijklm"), letters(draw, 7, "nopqrstuvwxyz")
    return f"Write to ⟦{(f'{name}.{n}', name, f'{name}+shop')[n % 3]}@{place}.{('org', 'co.uk', 'de')[n % 3]}⟧ for it"


def _phone(draw: random.Random, n: int) -> str:
    def d(count: int) -> str:
        return letters(draw, count, "23456789")

    shapes = (
        f"+44 20 {d(4)} {d(4)}",
        f"({d(3)}) {d(3)}-{d(4)}",
        f"+49 {d(3)} {d(7)}",
        f"{d(3)}-{d(3)}-{d(4)}",
        f"0{d(3)} {d(3)} {d(4)}",
    )
    return f"Ring ⟦{shapes[n % 5]}⟧ before noon"


def _card(draw: random.Random, n: int) -> str:
    body = ("4", "51", "37", "6011")[n % 4]
    body += letters(draw, (14 if body == "37" else 15) - len(body), "0123456789")
    number = body + luhn.calc_check_digit(body)
    joined = number if n % 2 or len(number) != 16 else " ".join(number[i : i + 4] for i in range(0, 16, 4))
    return f"Charge it to ⟦{joined}⟧ as usual"


def _iban(draw: random.Random, n: int) -> str:
    country, length = (("DE", 18), ("NL", 14), ("FR", 23), ("GB", 18))[n % 4]
    account = ((letters(draw, 4, _UPPER) if country in ("NL", "GB") else "") + digits(draw, length))[:length]
    check = 98 - int("".join(str(int(c, 36)) for c in account + country + "00")) % 97
    iban = f"{country}{check:02d}{account}"
    return f"Send it to ⟦{iban if n % 2 else ' '.join(iban[i : i + 4] for i in range(0, len(iban), 4))}⟧, please"


def _ipv4(draw: random.Random, n: int) -> str:
    return f"The scale reports to ⟦{'.'.join(str(draw.randint(11, 223)) for _ in range(4))}⟧ each night"


def _ipv6(draw: random.Random, n: int) -> str:
    groups = [f"{draw.randint(4096, 65535):x}" for _ in range(8)]
    return f"The scale reports to ⟦{':'.join(groups) if n % 2 else f'2001:db8:{groups[0]}::{groups[1]}'}⟧ each night"


def _ssn(draw: random.Random, n: int) -> str:
    return f"His is ⟦{draw.randint(100, 665)}-{draw.randint(10, 99)}-{digits(draw, 4)}⟧, they say"


def _identity(draw: random.Random, n: int) -> str:
    day, month, year = draw.randint(1, 28), draw.randint(1, 12), draw.randint(40, 99)
    number = digits(draw, 8)
    body = letters(draw, 6, "BCDFGLMNPRSTV") + f"{year}{'ABCDEHLMPRST'[month - 1]}{day:02d}A{letters(draw, 3, '0123456789')}"
    insee = f"{n % 2 + 1}{year}{month:02d}75{draw.randint(100, 999)}{draw.randint(100, 999)}"
    born = f"{year}{month:02d}{day:02d}"
    serial = letters(draw, 3, "0123456789")
    shapes = (
        number + dni.calc_check_digit(number),
        body + codicefiscale.calc_check_digit(body),
        insee + nir.calc_check_digits(insee),
        f"{born}-{serial}{luhn.calc_check_digit(born + serial)}",
        f"AB {draw.randint(10, 99)} {draw.randint(10, 99)} {draw.randint(10, 99)} C",
    )
    return f"Her number is ⟦{shapes[n % 5]}⟧, it says"


PRIVATE = (
    Private("AWS key", "secrets", "AWS_KEY", _aws),
    Private("GitHub token", "secrets", "GITHUB_TOKEN", _github),
    Private("Slack token", "secrets", "SLACK_TOKEN", _slack),
    Private("private key", "secrets", "PRIVATE_KEY", _key_block),
    Private("JWT", "secrets", "JWT", _jwt),
    Private("token of another service", "secrets", "", _service),
    Private("assigned secret", "secrets", "SECRET", _assigned),
    Private("password in an address", "secrets", "PASSWORD", _url_password),
    Private("e-mail address", "emails", "EMAIL", _email),
    Private("phone number", "phone_numbers", "PHONE", _phone),
    Private("card number", "card_numbers", "CARD", _card),
    Private("IBAN", "ibans", "IBAN", _iban),
    Private("IPv4 address", "ip_addresses", "IP", _ipv4),
    Private("IPv6 address", "ip_addresses", "IP", _ipv6),
    Private("US social security number", "social_security_numbers", "SSN", _ssn),
    Private("identity or tax number", "id_numbers", "ID_NUMBER", _identity),
)


def _planted(private: Private) -> Fault:
    def make(draw: random.Random, n: int) -> str:
        return private.make(draw, n).replace("⟦", "").replace("⟧", "")

    return Fault(private.kind, private.finding, inserted(make))


PRIVATE_FAULTS = tuple(_planted(private) for private in PRIVATE)


@dataclass(frozen=True, slots=True)
class Redacted:
    """What `redact` made of one kind: planted, gone, and of all words it put in for this kind, how many were right."""

    kind: str
    word: str
    planted: int
    gone: int
    put_in: int
    right: int


def measure_redaction(seed: int = 11) -> list[Redacted]:
    """Redact forty texts of each kind, the lookalikes, and 400 clean answers; every word put in outside of a mark is wrong."""
    right: Counter[str] = Counter()
    put_in: Counter[str] = Counter()
    rows = clean_rows(_EACH, seed=seed)
    counted = []
    for private in PRIVATE:
        draw = random.Random(f"{private.kind} {seed}")
        gone = 0
        word = private.word or "…"
        for n, row in enumerate(rows):
            before, rest = f"{row.answer} {private.make(draw, n)}.".split("⟦")
            secret, after = rest.split("⟧")
            counts: Counter[str] = Counter()
            clean = redact(before + secret + after, counts)
            held = clean.startswith(before) and clean.endswith(after) and secret not in clean
            gone += held
            names = counts if private.word else Counter({word: counts.total()})
            put_in.update(names)
            right[word] += held and counts.total() == 1
        counted.append((private, word, gone))
    for text in [*LOOKALIKES, *(row.answer for row in clean_rows(400, seed=seed + 1))]:
        redact(text, put_in)
    return [Redacted(p.kind, word, _EACH, gone, put_in[word], right[word]) for p, word, gone in counted]


def redaction_table(measured: list[Redacted]) -> str:
    """The table of the docs. Kinds that share a word share its precision."""
    lines = ["| kind | word | planted | replaced | recall | precision of the word |", "|---|---|--:|--:|--:|--:|"]
    for m in measured:
        precision = m.right / m.put_in if m.put_in else 0.0
        lines.append(f"| {m.kind} | `[{m.word}]` | {m.planted} | {m.gone} | {m.gone / m.planted:.3f} | {precision:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    page = Path(__file__).parents[2] / "docs" / "reference" / "checks.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    table = redaction_table(measure_redaction())
    page.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")
