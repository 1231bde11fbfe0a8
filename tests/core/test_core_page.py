"""Pages can be read with a keyboard and a screen reader: what axe-core found once stays mended (benchmarks/bench_pages.py)."""

from __future__ import annotations

import re

from tunesmith.core.page import page, section, table


def faults(html: str) -> list[str]:
    """What is wrong with the outline of a page, as axe-core names it."""
    found = []
    if html.count("<main>") != 1 or not re.search(r"<body><main>.*</main></body>", html, re.DOTALL):
        found.append("landmark-one-main")
    if re.search(r"<th[^>]*></th>", html):
        found.append("empty-table-header")
    if any("tabindex" not in one for one in re.findall(r'<div class="wide"[^>]*>', html)):
        found.append("scrollable-region-focusable")
    return found


def test_a_page_has_one_main_part_headings_with_words_and_tables_that_the_keyboard_can_scroll() -> None:
    html = page("Title", [section("What", table(["", "a", "<b>"], [["x", 1, 2]], numeric=(1,)))])
    assert faults(html) == [] and '<td></td><th class="n">a</th><th>&lt;b&gt;</th>' in html
    assert "<h2>What</h2>" in html and "<tr><td>x</td>" in html


def test_the_faults_that_this_looks_for_are_found() -> None:
    html = page("Title", [table(["", "a"], [])])
    for planted, name in (
        (html.replace("<main>", "").replace("</main>", ""), "landmark-one-main"),
        (html.replace("<td></td>", "<th></th>"), "empty-table-header"),
        (html.replace(' tabindex="0"', ""), "scrollable-region-focusable"),
    ):
        assert faults(planted) == [name]
