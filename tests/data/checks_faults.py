"""Faults to plant in clean rows, each with the finding that must name it. As a script: writes the table of docs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from checks_clean import FOREIGN, clean_rows, conversation, json_rows, label_rows, swapped, words_of

from tunesmith.core.records import Example
from tunesmith.data.checks import check_examples

__all__ = ["FAULTS", "Fault", "Measured", "measure", "table_of"]

_NUM_ROWS, _NUM_PLANTED = 480, 24
_BEGIN, _END = "<!-- measured -->", "<!-- /measured -->"
_Plant = Callable[[Example, random.Random, int], Example]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault: what it is, which finding must name the row, and how a clean row gets it."""

    kind: str
    finding: str
    plant: _Plant
    base: Callable[[int], list[Example]] = clean_rows


@dataclass(frozen=True, slots=True)
class Measured:
    """How many planted rows were named, and how many rows without the fault were named by the same finding."""

    fault: Fault
    planted: int
    named: int
    clean: int
    false_alarms: int

    @property
    def recall(self) -> float:
        return self.named / self.planted


def _answer(make: Callable[[str, random.Random, int], str]) -> _Plant:
    return lambda row, draw, n: swapped(row, answer=make(row.answer, draw, n))


def _prompt(make: Callable[[str, random.Random, int], str]) -> _Plant:
    return lambda row, draw, n: swapped(row, prompt=make(row.messages[0].content, draw, n))


def _inserted(make: Callable[[random.Random, int], str]) -> _Plant:
    """Somewhere between two sentences of the answer."""

    def plant(answer: str, draw: random.Random, n: int) -> str:
        sentences = answer.split(". ")
        sentences.insert(draw.randint(1, len(sentences) - 1), make(draw, n))
        return ". ".join(sentences)

    return _answer(plant)


def _turns(make: Callable[[str, str], Sequence[tuple[str, str]]]) -> _Plant:
    return lambda row, draw, n: conversation(row.id, *make(row.messages[0].content, row.answer), group=row.group)


def _one_of(*texts: str) -> Callable[[str, random.Random, int], str]:
    return lambda text, draw, n: texts[n % len(texts)].format(text=text, lower=text[:1].lower() + text[1:], n=n)


def _cut(text: str, draw: random.Random, n: int) -> str:
    said = text.split()
    return " ".join(said[: draw.randint(len(said) // 2, len(said) - 3)]).rstrip(".,:;”")


def _letters(
    draw: random.Random, length: int, alphabet: str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
) -> str:
    return "".join(draw.choices(alphabet, k=length))


def _digits(draw: random.Random, length: int) -> str:
    return str(draw.randint(1, 9)) + _letters(draw, length - 1, "0123456789")


def _hex(draw: random.Random, length: int) -> str:
    return _letters(draw, length, "0123456789abcdef")


def _mojibake(text: str, draw: random.Random, n: int) -> str:
    nice = text.replace(". ", ("’s café. ", " – naïve. ", " “über”. ")[n % 3], 1)
    return nice.encode("utf-8").decode("cp1252", errors="replace").replace("\ufffd", "\x9d")


def _card(draw: random.Random, n: int) -> str:
    body = ("4", "51", "37", "6011")[n % 4]
    body += _letters(draw, (14 if body == "37" else 15) - len(body), "0123456789")
    total = sum(d if place % 2 else d * 2 - 9 * (d > 4) for place, d in enumerate(map(int, reversed(body))))
    number = body + str(-total % 10)
    joined = number if n % 2 or len(number) != 16 else " ".join(number[i : i + 4] for i in range(0, 16, 4))
    return f"Charge it to {joined} as usual"


def _iban(draw: random.Random, n: int) -> str:
    country, length = (("DE", 18), ("NL", 14), ("FR", 23), ("GB", 18))[n % 4]
    account = (_letters(draw, 4, "ABCDEFGHKLMN") if country in ("NL", "GB") else "") + _digits(draw, length)
    account = account[:length]
    check = 98 - int("".join(str(int(c, 36)) for c in account + country + "00")) % 97
    iban = f"{country}{check:02d}{account}"
    return f"Send it to {iban if n % 2 else ' '.join(iban[i : i + 4] for i in range(0, len(iban), 4))}, please"


def _ipv4(draw: random.Random, n: int) -> str:
    return f"The scale reports to {'.'.join(str(draw.randint(11, 223)) for _ in range(4))} each night"


def _ipv6(draw: random.Random, n: int) -> str:
    groups = [f"{draw.randint(4096, 65535):x}" for _ in range(8)]
    address = ":".join(groups) if n % 2 else f"2001:db8:{groups[0]}::{groups[1]}"
    return f"The scale reports to {address} each night"


def _phone(draw: random.Random, n: int) -> str:
    d = lambda k: _letters(draw, k, "23456789")  # noqa: E731 (digits, for brevity)
    number = (
        f"+44 20 {d(4)} {d(4)}",
        f"({d(3)}) {d(3)}-{d(4)}",
        f"+49 {d(3)} {d(7)}",
        f"{d(3)}-{d(3)}-{d(4)}",
        f"0{d(3)} {d(3)} {d(4)}",
    )
    return f"Ring {number[n % 5]} before noon"


def _email(draw: random.Random, n: int) -> str:
    name, place = _letters(draw, 6, "abcdefghijklm"), _letters(draw, 7, "nopqrstuvwxyz")
    return f"Write to {(f'{name}.{n}', name, f'{name}+shop')[n % 3]}@{place}.{('org', 'co.uk', 'de')[n % 3]} for it"


def _assigned(draw: random.Random, n: int) -> str:
    shapes = (
        'api_key = "{}"',
        "PASSWORD={}",
        'client_secret: "{}"',
        "the token is {}",
        "DB_PASSWORD: {}",
        '"access_key": "{}"',
    )
    return shapes[n % 6].format(_letters(draw, 18) + str(n % 10))


def _key_block(draw: random.Random, n: int) -> str:
    kind = ("RSA ", "", "OPENSSH ", "EC ")[n % 4]
    lines = "\n".join(_letters(draw, 64) for _ in range(4))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def _copy_of_first(row: Example, draw: random.Random, n: int) -> Example:
    first = clean_rows(n + 1)[n]
    return swapped(row, prompt=first.messages[0].content.upper() if n % 2 else first.messages[0].content, answer=first.answer)


def _same_prompt(row: Example, draw: random.Random, n: int) -> Example:
    return swapped(row, prompt="  " + clean_rows(n + 1)[n].messages[0].content.replace(" ", "  ", 1))


def _near_prompt(row: Example, draw: random.Random, n: int) -> Example:
    asked = clean_rows(n + 1)[n].messages[0].content
    shapes = ("Please, {}", "Could you tell me: {}", "{} Thanks!", "Just briefly, please. {}")
    return swapped(row, prompt=shapes[n % 4].format(asked[0].lower() + asked[1:]))


def _against(row: Example, draw: random.Random, n: int) -> Example:
    """Rows by twos: one prompt, two answers that cannot both hold."""
    other, number = n % 2, n // 2
    pairs = (
        ("Yes, the spring can be saved if you are gentle with it.", "No, that spring is lost whatever you do."),
        (f"It took {number + 3} minutes in all to set it right.", f"It took {number + 50} minutes in all to set it right."),
        ("The washer is the cause of the drip.", "The washer is not the cause of the drip."),
        ("mechanical", "electrical"),
    )
    return swapped(row, prompt=f"What is the truth about case {number} of the winter book?", answer=pairs[number % 4][other])


def _template(text: str, draw: random.Random, n: int) -> str:
    return "Answer as me: " + text


def _few_answers(count: int) -> list[Example]:
    return [swapped(row, answer=words_of(n % 9, 4)) for n, row in enumerate(clean_rows(count))]


def _with_system(count: int) -> list[Example]:
    return [swapped(row, system="You keep a repair shop.") for row in clean_rows(count)]


_SORRY = (
    "I'm sorry, but I can't help with that.",
    "I cannot assist with this request.",
    "Unfortunately, I am unable to provide that.",
)
_AI = (
    "As an AI language model, I own no shop. {text}",
    "{text} But as an AI, I cannot hold a screwdriver.",
    "I'm just an AI assistant. {text}",
)
_STOCK = (
    "It is important to note that care plays a crucial role. {text}",
    "In today's fast-paced world, repair is a testament to patience. {text}",
    "Furthermore, let us delve into the matter. {text}",
)
_TAGS = ("<p>{text}</p>", "{text}<br/>", '<div class="post">{text}</div>', '{text} <a href="/shop">more</a>')
_MDX = (
    "import Shop from '@site/Shop';\n\n{text}",
    '<Figure src="hinge.png" />\n\n{text}',
    ":::note\n{text}\n:::",
    "{{{{< youtube abc >}}}} {text}",
)
_MARKS = (
    "<|im_start|>{text}<|im_end|>",
    "[INST] {text} [/INST]",
    "### Response:\n{text}",
    "{text}<|end|>",
    "{text}<end_of_turn>",
)
_BROKEN = (
    '{{"thing": "clock", "minutes": 4, "cause": "dust",}}',
    '{{"thing": "clock", "minutes": 4',
    "{{'thing': 'clock', 'minutes': {n}}}",
)

FAULTS: tuple[Fault, ...] = (
    Fault("assistant speaks first", "roles", _turns(lambda q, a: [("assistant", a), ("user", q), ("assistant", a)])),
    Fault("two user turns in a row", "roles", _turns(lambda q, a: [("user", q), ("user", q), ("assistant", a)])),
    Fault("user has the last word", "roles", _turns(lambda q, a: [("user", q), ("assistant", a), ("user", q)])),
    Fault("system turn in the middle", "roles", _turns(lambda q, a: [("user", q), ("system", "Be kind."), ("assistant", a)])),
    Fault("empty answer", "empty_answers", _answer(_one_of("", "  ", "\n"))),
    Fault("empty prompt", "empty_prompts", _prompt(_one_of("", " ", "\n\n"))),
    Fault(
        "statement for a question",
        "questions",
        _prompt(_one_of("**Use oil {n}**: it keeps the hinge quiet.", "Rust is patient, and case {n} is no other.")),
    ),
    Fault("no system prompt", "system_prompt_mix", lambda row, draw, n: swapped(row), _with_system),
    Fault(
        "another system prompt", "system_prompts", lambda row, draw, n: swapped(row, system=f"You are clerk {n}."), _with_system
    ),
    Fault(
        "several exchanges among single ones",
        "conversations",
        _turns(lambda q, a: [("user", q), ("assistant", a), ("user", "And what then?"), ("assistant", a[::-1].title()[::-1])]),
    ),
    Fault(
        "[TODO] and its kin",
        "placeholders",
        _answer(_one_of("[TODO]", "TODO: write", "TBD", "N/A")),
    ),
    Fault("[insert name]", "fill_ins", _answer(_one_of("{text} Yours, [insert name]", "Dear [your name here], {text}"))),
    Fault(
        "lorem ipsum",
        "placeholders",
        _answer(_one_of("Lorem ipsum dolor sit amet, consectetur.", "{text} Lorem ipsum dolor sit amet.")),
    ),
    Fault("“As an AI language model”", "ai_disclaimers", _answer(_one_of(*_AI))),
    Fault("refusal", "refusals", _answer(_one_of(*_SORRY))),
    Fault(
        "talk of “the provided text”",
        "source_talk",
        _answer(_one_of("Based on the provided text, {lower}", "{text} This is not mentioned in the article.")),
    ),
    Fault("cut in mid-sentence", "cut_ends", _answer(_cut)),
    Fault("answer repeats the prompt", "echoes", lambda row, draw, n: swapped(row, answer=row.messages[0].content)),
    Fault("looping answer", "loops", _answer(lambda text, draw, n: text + " " + " ".join([text.split(". ")[0] + "."] * 5))),
    Fault("exact copy of a row", "duplicate_rows", _copy_of_first),
    Fault("same prompt, other answer", "duplicate_prompts", _same_prompt),
    Fault("nearly the same prompt", "near_duplicate_prompts", _near_prompt),
    Fault("contradictory answers", "contradictions", _against),
    Fault(
        "very long answer",
        "long_answers",
        _answer(lambda text, draw, n: " ".join(words_of(90_000 + 50 * n + k, 6) for k in range(14))),
    ),
    Fault("very short answer", "short_answers", _answer(_one_of("Oil.", "Glue, mostly.", "A pin.", "Wax."))),
    Fault(
        "very long prompt",
        "long_prompts",
        _prompt(lambda text, draw, n: words_of(70_000 + n, 6) + " " + words_of(80_000 + n, 6) + " " + text),
    ),
    Fault("blanks at an end", "blanks", _answer(_one_of("{text} ", " {text}", "{text}\n", "\t{text}"))),
    Fault("broken JSON among JSON", "broken_json", _answer(_one_of(*_BROKEN)), json_rows),
    Fault("prose among JSON", "not_json", _answer(_one_of("It was the dust in case {n}.", "thing: clock {n}")), json_rows),
    Fault(
        "other JSON keys", "json_style", _answer(_one_of('{{"item": "clock", "n": {n}}}', "```json\n{text}\n```")), json_rows
    ),
    Fault(
        "Markdown among plain text",
        "markdown_mix",
        _answer(_one_of("# Repair\n\n{text}", "**Note** {text}", "- {text}\n- Done.")),
    ),
    Fault("scarce label", "label_balance", _answer(_one_of("hydraulic")), label_rows),
    Fault(
        "label spelt otherwise",
        "label_spelling",
        _answer(_one_of("Mechanical", "mechanical.", "ELECTRICAL", "Wooden.")),
        label_rows,
    ),
    *(
        Fault(
            f"answer in {name}",
            "languages",
            lambda row, draw, n, texts=texts: swapped(row, answer=texts[n % len(texts)].format(n=n)),
        )
        for name, texts in FOREIGN.items()
    ),
    Fault("one opening for many prompts", "prompt_openings", _prompt(_template)),
    Fault("few different answers", "diversity", lambda row, draw, n: swapped(row, answer=words_of(n % 9, 4)), _few_answers),
    Fault(
        "one document with many rows",
        "source_share",
        lambda row, draw, n: Example(id=row.id, messages=row.messages, document_id="d", group="one", source="s"),
    ),
    Fault("stock phrases of chat models", "machine_phrases", _answer(_one_of(*_STOCK))),
    Fault("mojibake", "mojibake", _answer(_mojibake)),
    Fault("U+FFFD", "replacement_characters", _answer(lambda text, draw, n: text.replace("e", "\ufffd", 1))),
    Fault(
        "control characters",
        "control_characters",
        _inserted(lambda draw, n: "He said" + ("\x00", "\x1b[0m", "\u202e", "\x08", "\u200b")[n % 5] + " so"),
    ),
    Fault(
        "HTML entities",
        "html_entities",
        _inserted(lambda draw, n: f"Nuts {('&amp;', '&nbsp;', '&#39;', '&quot;', '&#x27;')[n % 5]} bolts"),
    ),
    Fault("HTML tags", "html", _answer(_one_of(*_TAGS))),
    Fault("MDX and shortcodes", "mdx", _answer(_one_of(*_MDX))),
    Fault("base64", "base64", _inserted(lambda draw, n: ("data:image/png;base64," if n % 2 else "") + _letters(draw, 240))),
    Fault("marks of a chat template", "chat_template", _answer(_one_of(*_MARKS))),
    Fault("AWS key", "secrets", _inserted(lambda draw, n: "Use AKIA" + _letters(draw, 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))),
    Fault(
        "GitHub token", "secrets", _inserted(lambda draw, n: f"Use {('ghp_', 'gho_', 'ghs_')[n % 3]}{_letters(draw, 36)} here")
    ),
    Fault("Slack token", "secrets", _inserted(lambda draw, n: f"Use xoxb-{_digits(draw, 12)}-{_letters(draw, 24)} here")),
    Fault("private key", "secrets", _inserted(_key_block)),
    Fault(
        "JWT",
        "secrets",
        _inserted(lambda draw, n: f"Use eyJ{_letters(draw, 20)}.eyJ{_letters(draw, 40)}.{_letters(draw, 43)} here"),
    ),
    Fault("assigned secret", "secrets", _inserted(_assigned)),
    Fault("e-mail address", "emails", _inserted(_email)),
    Fault("phone number", "phone_numbers", _inserted(_phone)),
    Fault("card number", "card_numbers", _inserted(_card)),
    Fault("IBAN", "ibans", _inserted(_iban)),
    Fault("IPv4 address", "ip_addresses", _inserted(_ipv4)),
    Fault("IPv6 address", "ip_addresses", _inserted(_ipv6)),
    Fault(
        "US social security number",
        "social_security_numbers",
        _inserted(lambda draw, n: f"His is {draw.randint(100, 665)}-{draw.randint(10, 99)}-{_digits(draw, 4)}"),
    ),
)
_MANY = {"prompt_openings": 96, "diversity": _NUM_ROWS, "source_share": 120}


def measure(fault: Fault, *, seed: int = 0) -> Measured:
    """Plant one kind of fault in the later rows of a clean set, and count what the checks say."""
    rows = fault.base(_NUM_ROWS)
    draw = random.Random(f"{fault.kind} {seed}")
    num_planted = _MANY.get(fault.finding, _NUM_PLANTED)
    places = draw.sample(range(min(60, _NUM_ROWS - num_planted), _NUM_ROWS), num_planted)
    for number, place in enumerate(sorted(places)):
        rows[place] = fault.plant(rows[place], draw, number)
    planted = {rows[place].id for place in places}
    named = {id for finding in check_examples(rows) if finding.name == fault.finding for id in finding.rows}
    twins = (
        {f"row{n}" for n in range(num_planted)} if fault.finding in ("duplicate_prompts", "near_duplicate_prompts") else set()
    )
    clean = {row.id for row in rows} - planted - twins
    return Measured(fault, len(planted), len(named & planted), len(clean), len(named & clean))


def table_of(measured: Sequence[Measured]) -> str:
    """The table of the docs."""
    lines = ["| fault | finding | planted | found | recall | clean rows | false alarms |", "|---|---|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {m.fault.kind} | `{m.fault.finding}` | {m.planted} | {m.named} | {m.recall:.3f} | {m.clean} | {m.false_alarms} |"
        for m in measured
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    page = Path(__file__).parents[2] / "docs" / "reference" / "checks.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    table = table_of([measure(fault) for fault in FAULTS])
    page.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")
