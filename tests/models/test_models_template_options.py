"""Options of a template: one meaning whatever the template calls them, one date, and none without an effect."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from fakes import TEMPLATE, conversation, make_tokenizer
from tunesmith.core.errors import ModelError
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.template import reads

NO_THINKING = {
    "{% if not enable_thinking | default(true) %}off{% endif %}": "enable_thinking",
    "{% if thinking is defined and not thinking %}off{% endif %}": "thinking",
    "{% set reasoning = reasoning if reasoning is not undefined else true %}{% if not reasoning %}off{% endif %}": "reasoning",
    "{% if thinking_budget is defined and thinking_budget == 0 %}off{% endif %}": "thinking_budget",
    "{% if reasoning_effort | default('high') == 'none' %}off{% endif %}": "reasoning_effort",
    "{% macro told() %}{% if not enable_thinking | default(true) %}off{% endif %}{% endmacro %}{{ told() }}": "in a macro",
}
DATED = "{{ 'Today: ' + strftime_now('%d %b %Y') + ' ' + strftime_now('%Y') }}\n"
NAMED = "{% if date_string is not defined %}{% set date_string = '26 Jul 2024' %}{% endif %}{{ date_string }}\n"


def opened(folder: Path, beginning: str, **options: Any) -> Chat:
    return open_chat(make_tokenizer(folder, beginning + TEMPLATE), options)


def beginning(chat: Chat) -> str:
    return chat.render(conversation("q"), answer_next=True).partition("<|user|>")[0]


@pytest.mark.parametrize("head", NO_THINKING, ids=NO_THINKING.values())
def test_thinking_is_off_under_every_name_of_the_switch_and_on_if_it_is_set(head: str, tmp_path: Path) -> None:
    off, on = opened(tmp_path / "off", head), opened(tmp_path / "on", head, enable_thinking=True)
    assert (beginning(off), beginning(on)) == ("off", "")
    assert off.options == {"enable_thinking": False} and on.options == {"enable_thinking": True}
    assert off.fingerprint != on.fingerprint


def test_an_effort_that_cannot_be_none_is_left_as_the_template_has_it(tmp_path: Path) -> None:
    head = "{{ reasoning_effort | default('medium') }}"
    assert beginning(chat := opened(tmp_path / "a", head)) == "medium" and chat.options == {}
    low = opened(tmp_path / "b", head, reasoning_effort="low")
    assert beginning(low) == "low" and low.options == {"reasoning_effort": "low"}


def test_a_date_is_the_same_on_every_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = opened(tmp_path / "a", DATED)
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", None)  # whoever asked for today would fail
    assert beginning(chat) == "Today: 01 Jan 2026 2026\n" and chat.options == {"date": "2026-01-01"}
    other = opened(tmp_path / "b", DATED, date=datetime.date(2026, 11, 28))
    assert beginning(other) == "Today: 28 Nov 2026 2026\n" and other.fingerprint != chat.fingerprint


def test_the_date_reaches_a_template_that_writes_it_inside_a_macro(tmp_path: Path) -> None:
    head = "{%- macro told() -%}{{ strftime_now('%Y-%m-%d') }}{%- endmacro -%}{{ told() }}"
    assert beginning(opened(tmp_path / "a", head)) == "2026-01-01"


def test_a_template_with_a_date_of_its_own_keeps_it_until_one_is_set(tmp_path: Path) -> None:
    chat = opened(tmp_path / "a", NAMED)
    assert beginning(chat) == "26 Jul 2024\n" and chat.options == {}
    assert beginning(opened(tmp_path / "b", NAMED, date="2026-11-28")) == "28 Nov 2026\n"


def test_a_format_that_is_worked_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be foreseen"):
        opened(tmp_path / "a", "{% set how = '%Y' %}{{ strftime_now(how) }}")


def test_the_options_in_effect_give_the_same_chat_again(tmp_path: Path) -> None:
    head = DATED + NAMED + "{% if not thinking %}off{% endif %}{{ tone }}"
    first = opened(tmp_path / "a", head, date="2026-11-28", tone="mild", enable_thinking=True)
    again = opened(tmp_path / "b", head, **first.options)
    assert first.options == {"enable_thinking": True, "date": "2026-11-28", "tone": "mild"}
    assert (again.options, again.fingerprint, beginning(again)) == (first.options, first.fingerprint, beginning(first))


def test_a_template_that_reads_no_option_has_none_and_the_fingerprint_that_it_had(tmp_path: Path) -> None:
    plain, told = opened(tmp_path / "a", ""), opened(tmp_path / "b", "", enable_thinking=False, date="2026-01-01")
    assert plain.options == told.options == {} and plain.fingerprint == told.fingerprint


@pytest.mark.parametrize(
    ("head", "options", "hint"),
    [
        ("", {"enable_thinking": True}, "remove template.enable_thinking"),
        ("", {"date": "2026-11-28"}, "remove template.date"),
        ("", {"tone": "mild"}, "remove template.tone"),
        ("{{ tone }}", {"tome": "mild"}, "did you mean template.tone?"),
        ("", {"bos_token": "<s>"}, "remove template.bos_token"),
        ("", {"enable_thinkng": False}, "did you mean template.enable_thinking?"),
    ],
)
def test_an_option_that_the_template_does_not_read_is_an_error(
    head: str, options: dict[str, Any], hint: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=f"does not read template.{next(iter(options))}") as caught:
        opened(tmp_path / "a", head, **options)
    assert caught.value.problems[0].hint == hint


def test_several_templates_without_a_default_are_an_error_in_four_parts(tmp_path: Path) -> None:
    base = make_tokenizer(tmp_path / "a", TEMPLATE)
    (base.path / "chat_template.jinja").unlink()
    (base.path / "additional_chat_templates").mkdir()
    for name in ("rag", "tool_use"):
        (base.path / "additional_chat_templates" / f"{name}.jinja").write_text(TEMPLATE)
    with pytest.raises(ModelError, match="none is the default") as caught:
        open_chat(base)
    assert caught.value.problems[0].value == "rag, tool_use"


def test_a_template_with_a_slip_in_it_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not valid") as caught:
        opened(tmp_path / "a", "{% if %}\n")
    assert caught.value.problems[0].value == "line 1"


def test_what_is_set_by_the_template_itself_is_not_among_the_options_that_people_are_shown() -> None:
    found = reads(
        "{% for m in messages %}{% set c = m.content %}{{ c }}{% endfor %}{{ tone }}{% generation %}x{% endgeneration %}"
    )
    assert found.options == ("tone",)
