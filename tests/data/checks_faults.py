"""Faults to plant in clean rows, each with the finding that must name it. As a script: writes the table of docs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from checks_clean import FOREIGN, clean_rows, json_rows, label_rows, swapped, words_of
from checks_planting import Fault, answer_of, in_turn, inserted, letters, one_of, prompt_of, turns_of
from checks_private_faults import PRIVATE_FAULTS

from tunesmith.core.records import Example
from tunesmith.data.checks import check_examples

__all__ = ["FAULTS", "Fault", "Measured", "measure", "table_of"]

_NUM_ROWS, _NUM_PLANTED = 480, 24
_BEGIN, _END = "<!-- measured -->", "<!-- /measured -->"


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


def _cut(text: str, draw: random.Random, n: int) -> str:
    said = text.split()
    return " ".join(said[: draw.randint(len(said) // 2, len(said) - 3)]).rstrip(".,:;”")


def _mojibake(text: str, draw: random.Random, n: int) -> str:
    nice = text.replace(". ", ("’s café. ", " – naïve. ", " “über”. ")[n % 3], 1)
    return nice.encode("utf-8").decode("cp1252", errors="replace").replace("\ufffd", "\x9d")


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


def _one_instruction(count: int) -> list[Example]:
    lead = "Answer the customer in your own words:"
    return [swapped(row, prompt=f"{lead} {row.messages[0].content}") for row in clean_rows(count)]


def _reworded(text: str, draw: random.Random, n: int) -> str:
    asked = text.partition(": ")[2]
    return (f"Reply to this customer: {asked}", f"{asked} Answer in your own words.", f"Customer says: {asked}")[n % 3]


def _with_licence(count: int) -> list[Example]:
    return [replace(row, license="CC BY 4.0") for row in clean_rows(count)]


def _licensed(row: Example, draw: random.Random, n: int) -> Example:
    return replace(row, license=("CC BY-NC 4.0", "All rights reserved", "CC-BY-NC-SA-4.0", "CC BY-ND 4.0")[n % 4])


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
    Fault("assistant speaks first", "roles", turns_of(lambda q, a: [("assistant", a), ("user", q), ("assistant", a)])),
    Fault("two user turns in a row", "roles", turns_of(lambda q, a: [("user", q), ("user", q), ("assistant", a)])),
    Fault("user has the last word", "roles", turns_of(lambda q, a: [("user", q), ("assistant", a), ("user", q)])),
    Fault("system turn in the middle", "roles", turns_of(lambda q, a: [("user", q), ("system", "Be kind."), ("assistant", a)])),
    Fault("empty answer", "empty_answers", answer_of(one_of("", "  ", "\n"))),
    Fault("empty prompt", "empty_prompts", prompt_of(one_of("", " ", "\n\n"))),
    Fault(
        "statement for a question",
        "questions",
        prompt_of(one_of("**Use oil {n}**: it keeps the hinge quiet.", "Rust is patient, and case {n} is no other.")),
    ),
    Fault("no system prompt", "system_prompt_mix", lambda row, draw, n: swapped(row), _with_system),
    Fault(
        "another system prompt", "system_prompts", lambda row, draw, n: swapped(row, system=f"You are clerk {n}."), _with_system
    ),
    Fault(
        "several exchanges among single ones",
        "conversations",
        turns_of(
            lambda q, a: [("user", q), ("assistant", a), ("user", "And what then?"), ("assistant", a[::-1].title()[::-1])]
        ),
    ),
    Fault(
        "[TODO] and its kin",
        "placeholders",
        answer_of(one_of("[TODO]", "TODO: write", "TBD", "N/A")),
    ),
    Fault("[insert name]", "fill_ins", answer_of(one_of("{text} Yours, [insert name]", "Dear [your name here], {text}"))),
    Fault(
        "lorem ipsum",
        "placeholders",
        answer_of(one_of("Lorem ipsum dolor sit amet, consectetur.", "{text} Lorem ipsum dolor sit amet.")),
    ),
    Fault("“As an AI language model”", "ai_disclaimers", answer_of(one_of(*_AI))),
    Fault("refusal", "refusals", answer_of(one_of(*_SORRY))),
    Fault(
        "talk of “the provided text”",
        "source_talk",
        answer_of(one_of("Based on the provided text, {lower}", "{text} This is not mentioned in the article.")),
    ),
    Fault("cut in mid-sentence", "cut_ends", answer_of(_cut)),
    Fault("answer repeats the prompt", "echoes", lambda row, draw, n: swapped(row, answer=row.messages[0].content)),
    Fault("looping answer", "loops", answer_of(lambda text, draw, n: text + " " + " ".join([text.split(". ")[0] + "."] * 5))),
    Fault("exact copy of a row", "duplicate_rows", _copy_of_first),
    Fault("same prompt, other answer", "duplicate_prompts", _same_prompt),
    Fault("nearly the same prompt", "near_duplicate_prompts", _near_prompt),
    Fault("contradictory answers", "contradictions", _against),
    Fault(
        "very long answer",
        "long_answers",
        answer_of(lambda text, draw, n: " ".join(words_of(90_000 + 50 * n + k, 6) for k in range(14))),
    ),
    Fault("very short answer", "short_answers", answer_of(one_of("Oil.", "Glue, mostly.", "A pin.", "Wax."))),
    Fault(
        "very long prompt",
        "long_prompts",
        prompt_of(lambda text, draw, n: words_of(70_000 + n, 6) + " " + words_of(80_000 + n, 6) + " " + text),
    ),
    Fault("blanks at an end", "blanks", answer_of(one_of("{text} ", " {text}", "{text}\n", "\t{text}"))),
    Fault("broken JSON among JSON", "broken_json", answer_of(one_of(*_BROKEN)), json_rows),
    Fault("prose among JSON", "not_json", answer_of(one_of("It was the dust in case {n}.", "thing: clock {n}")), json_rows),
    Fault(
        "other JSON keys", "json_style", answer_of(one_of('{{"item": "clock", "n": {n}}}', "```json\n{text}\n```")), json_rows
    ),
    Fault(
        "Markdown among plain text",
        "markdown_mix",
        answer_of(one_of("# Repair\n\n{text}", "**Note** {text}", "- {text}\n- Done.")),
    ),
    Fault("scarce label", "label_balance", answer_of(one_of("hydraulic")), label_rows),
    Fault(
        "label spelt otherwise",
        "label_spelling",
        answer_of(one_of("Mechanical", "mechanical.", "ELECTRICAL", "Wooden.")),
        label_rows,
    ),
    *(Fault(f"answer in {name}", "languages", answer_of(in_turn(texts))) for name, texts in FOREIGN.items()),
    Fault("one opening for many prompts", "prompt_openings", prompt_of(_template)),
    Fault("few different answers", "diversity", lambda row, draw, n: swapped(row, answer=words_of(n % 9, 4)), _few_answers),
    Fault(
        "one document with many rows",
        "source_share",
        lambda row, draw, n: Example(id=row.id, messages=row.messages, document_id="d", group="one", source="s"),
    ),
    Fault("no full stop in every third answer", "mixed_ends", answer_of(lambda text, draw, n: text.rstrip(".”"))),
    Fault("one opening for many answers", "answer_openings", answer_of(lambda text, draw, n: "Well, now then, " + text)),
    Fault("another wording of one instruction", "instruction_wording", prompt_of(_reworded), _one_instruction),
    Fault("licence that forbids use", "licences", _licensed, _with_licence),
    Fault("no licence among licensed rows", "licence_mix", lambda row, draw, n: replace(row, license=None), _with_licence),
    Fault("id of another row", "duplicate_ids", lambda row, draw, n: replace(row, id=f"row{n}#2")),
    Fault("stock phrases of chat models", "machine_phrases", answer_of(one_of(*_STOCK))),
    Fault("mojibake", "mojibake", answer_of(_mojibake)),
    Fault("U+FFFD", "replacement_characters", answer_of(lambda text, draw, n: text.replace("e", "\ufffd", 1))),
    Fault(
        "control characters",
        "control_characters",
        inserted(lambda draw, n: "He said" + ("\x00", "\x1b[0m", "\u202e", "\x08", "\u200b")[n % 5] + " so"),
    ),
    Fault(
        "HTML entities",
        "html_entities",
        inserted(lambda draw, n: f"Nuts {('&amp;', '&nbsp;', '&#39;', '&quot;', '&#x27;')[n % 5]} bolts"),
    ),
    Fault("HTML tags", "html", answer_of(one_of(*_TAGS))),
    Fault("MDX and shortcodes", "mdx", answer_of(one_of(*_MDX))),
    Fault("base64", "base64", inserted(lambda draw, n: ("data:image/png;base64," if n % 2 else "") + letters(draw, 240))),
    Fault("marks of a chat template", "chat_template", answer_of(one_of(*_MARKS))),
    *PRIVATE_FAULTS,
)
_MANY = {"prompt_openings": 96, "answer_openings": 96, "mixed_ends": 160, "diversity": _NUM_ROWS, "source_share": 120}


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
