"""`check_examples` as a whole: order, wording, odd input; and `redact`."""

from __future__ import annotations

import pytest
from checks_clean import clean_rows, conversation, swapped
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.records import Example
from tunesmith.data.checks import check_examples, redact
from tunesmith.data.checks.secrets import find_secrets


def named(examples: list[Example]) -> dict[str, tuple[str, int, tuple[str, ...]]]:
    return {finding.name: (finding.severity, finding.count, finding.rows) for finding in check_examples(examples)}


def test_nothing_is_found_in_nothing() -> None:
    assert check_examples([]) == ()


def test_findings_come_worst_first_and_say_reason_and_fix() -> None:
    rows = clean_rows(40)
    rows[3] = swapped(rows[3], answer="")
    rows[4] = swapped(rows[4], answer=rows[4].answer + " Write to olga@kettles.org for it.")
    rows[5] = swapped(rows[5], answer="# Title\n\n" + rows[5].answer)
    found = check_examples(rows)
    assert [finding.severity for finding in found] == ["error", "warning", "info"]
    assert all(" Fix: " in finding.message and finding.message.endswith(".") for finding in found)
    assert found[0].rows == ("row3",) and "1 of 40" in found[0].message


def test_all_rows_are_named_and_not_only_the_first_twenty() -> None:
    rows = [swapped(row, answer="[TODO]") for row in clean_rows(50)]
    assert len(named(rows)["placeholders"][2]) == 50


def test_an_example_without_turns_is_a_finding_and_no_crash() -> None:
    assert named([conversation("empty")])["roles"] == ("error", 1, ("empty",))


def test_a_system_prompt_that_all_rows_share_is_looked_at_once() -> None:
    rows = [swapped(row, system="You are Olga, olga@kettles.org.") for row in clean_rows(30)]
    assert named(rows)["emails"][1] == 1


def test_the_same_prompt_under_two_system_prompts_is_no_copy() -> None:
    row = clean_rows(1)[0]
    pair = [swapped(row, system="Be brief."), swapped(row, system="Be kind.")]
    assert "duplicate_rows" not in named(pair)


def test_the_order_of_rows_changes_no_count() -> None:
    rows = clean_rows(60)
    rows[10:14] = [swapped(row, prompt=rows[0].messages[0].content, answer=f"{n}") for n, row in enumerate(rows[10:14])]
    counts = [{f.name: f.count for f in check_examples(order)} for order in (rows, rows[::-1])]
    assert counts[0] == counts[1] and counts[0]["contradictions"] == 5 - 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to olga@kettles.org today.", "Write to [EMAIL] today."),
        ("Card 4111 1111 1111 1111, please.", "Card [CARD], please."),
        ("IBAN GB82 WEST 1234 5698 7654 32.", "IBAN [IBAN]."),
        ("Ring +44 20 7946 0958 or (212) 555-0147.", "Ring [PHONE] or [PHONE]."),
        ("His number is 078-05-1120.", "His number is [SSN]."),
        ("From 203.0.113.9 and 2001:db8::8a2e:370:7334 here.", "From [IP] and [IP] here."),
        ("key AKIAIOSFODNN7EXAMPLE!", "key [AWS_KEY]!"),
        ('api_key = "q7Zt0pLx93VbNm21"', 'api_key = "[SECRET]"'),
        ("postgres://olga:h4mmerT1me@db/shop", "postgres://olga:[PASSWORD]@db/shop"),
        ("Nothing to hide at 9:30, said Olga.", "Nothing to hide at 9:30, said Olga."),
    ],
)
def test_redact_puts_the_kind_in_the_place_of_the_secret(text: str, expected: str) -> None:
    assert redact(text) == expected


@given(
    st.lists(
        st.sampled_from(
            ["olga@kettles.org", "4111 1111 1111 1111", " or ", "+44 20 7946 0958", "\n", "x: ", "203.0.113.9", "-"]
        )
    )
)
def test_redacting_twice_changes_nothing_more(pieces: list[str]) -> None:
    once = redact(" ".join(pieces))
    assert redact(once) == once and "@" not in once


@pytest.mark.parametrize("number", ["4111 1111 1111 1112", "GB82 WEST 1234 5698 7654 33"])
def test_a_wrong_check_digit_is_no_card_and_no_account(number: str) -> None:
    assert not {"card_numbers", "ibans"} & set(
        named([conversation("a", ("user", "Why?"), ("assistant", f"It is {number} here."))])
    )


@pytest.mark.parametrize(
    "piece", ["12 ", "<p ", "a@", "eyJ.", "-----BEGIN PRIVATE KEY-----", "12345678A ", "[INST]", "{%", "key=", "\n", "aaaa"]
)
def test_a_long_run_of_one_piece_ends_and_does_not_run_for_hours(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    check_examples([conversation("a", ("user", text), ("assistant", text))])
    assert isinstance(redact(text), str)


@pytest.mark.parametrize(
    "text",
    [
        "token = get_token(user_id=42)",
        "password = hash_password2(plain)",
        "const token = response2.data.token;",
        "Connect with postgres://user:password@localhost/db first.",
        "The package sk-learn-is-a-nice-library-for-2024-people is old.",
    ],
)
def test_code_and_documentation_that_name_a_secret_hold_none(text: str) -> None:
    assert find_secrets(text) == []


@pytest.mark.parametrize(
    ("name", "answer"), [("placeholders", "[TODO]"), ("mojibake", "It isnâ€™t so."), ("replacement_characters", "a \ufffd b")]
)
@pytest.mark.parametrize(("planted", "severity"), [(2, "warning"), (3, "error")])
def test_what_a_text_may_hold_on_purpose_is_an_error_above_one_row_in_a_hundred(
    name: str, answer: str, planted: int, severity: str
) -> None:
    rows = [swapped(row, answer=answer) if n < planted else row for n, row in enumerate(clean_rows(200))]
    assert {finding.name: finding.severity for finding in check_examples(rows)}[name] == severity


@pytest.mark.parametrize(("pairs", "severity"), [(5, "warning"), (6, "error")])
def test_contradictions_are_an_error_above_one_row_in_twenty(pairs: int, severity: str) -> None:
    rows = list(clean_rows(200))
    for n in range(pairs):
        rows[2 * n] = swapped(rows[2 * n], prompt=f"Is gate {n} open at night?", answer="Yes.")
        rows[2 * n + 1] = swapped(rows[2 * n + 1], prompt=f"Is gate {n} open at night?", answer="No.")
    assert {finding.name: finding.severity for finding in check_examples(rows)}["contradictions"] == severity
