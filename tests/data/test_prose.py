"""What a paragraph is cleaned of, and what must stay."""

from __future__ import annotations

from tunesmith.data.text.prose import tidy


def test_encoded_data_goes_and_long_paragraphs_without_blanks_stay() -> None:
    chinese = "雨下了一整个早晨，" * 60
    assert tidy(f"before {'QUJD' * 100} after") == "before after" and tidy(chinese) == chinese


def test_the_joiners_of_persian_and_indic_scripts_stay_and_other_invisible_characters_go() -> None:
    assert tidy("می\u200cخواهم") == "می\u200cخواهم" and tidy("क्\u200dष") == "क्\u200dष" and tidy("a\u200bb\ufeff\u00ad") == "ab"
