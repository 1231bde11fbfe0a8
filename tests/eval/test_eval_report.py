"""Promises of the page: the verdict first, every part there, safe text, no network, the same bytes each time."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import matplotlib
import numpy as np
import orjson
import pytest
from evidence_fakes import evidence, general, parity

from tunesmith.eval.figures import MOST_DOTS, Strip, difference_figure, distribution_figure, training_figure
from tunesmith.eval.measure import measure
from tunesmith.eval.report import chosen_examples, evaluation_report
from tunesmith.eval.results import Evidence
from tunesmith.eval.verdict import decide
from tunesmith.models.use import Use
from tunesmith.pipeline.sections.eval import GateConfig
from tunesmith.pipeline.stages import eval as stage

pytestmark = pytest.mark.usefixtures("real_pictures")

CURVE: tuple[dict[str, float | None], ...] = tuple(
    {
        "step": float(s),
        "loss": 3 - s / 40,
        "val_loss": 3 - s / 50 if s % 10 == 0 else None,
        "learning_rate": 1e-3,
        "grad_norm": 0.5,
    }
    for s in range(1, 41)
)
SHARPEST = '<script>alert("x")</script>'


def whole(**more: Any) -> Evidence:
    made = evidence(
        {"base": 1.4, "prompted": 1.3, "tuned": 1.1, "merged": 1.1001}, with_parity=parity(), with_general=general()
    )
    filled = replace(made, training=CURVE, reading="Learning, then levelling off.", ids={"run": "ab" * 32}, numbers={"seed": 7})
    return replace(filled, **more)


def report(of: Evidence) -> tuple[dict[str, object], str]:
    measured = measure(of, draws=300)
    return evaluation_report(of, measured, decide(measured, GateConfig(), baselines=["prompted"]))


def headings(html: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", html)


def test_the_page_answers_first_and_keeps_its_order() -> None:
    _, html = report(whole())
    assert html.index("SHIP</span>") < html.index("<h1>") < html.index("<svg") < html.index("<h2>")
    assert headings(html) == [
        "What was compared",
        "Answers side by side",
        "How training went",
        "Gates",
        "Scores",
        "Floors",
        "General skills and safety",
        "Parts of the test set",
        "What each alternative takes",
        "Distributions",
        "Everything else",
    ]


def test_a_headline_that_is_no_ship_has_the_figures_of_its_gates_under_it() -> None:
    _, ship = report(whole())
    assert "<h2>" in ship and "<ul>" not in ship.split("<h2>")[0]
    _, html = report(whole(parity=None))
    top = html.split("<h2>")[0]
    assert "<li>parity, not measured: " in top and top.index("</h1>") < top.index("<li>parity") < top.index("<svg")


def test_a_margin_is_drawn_beside_zero_and_named() -> None:
    measured = measure(whole(), draws=300)
    _, plain = report(whole())
    _, html = evaluation_report(whole(), measured, decide(measured, GateConfig(better_margin=0.05), baselines=["prompted"]))
    assert "The dashed line is the margin of 0.05" in html and "stroke-dasharray" in html
    assert "The dashed line is the margin of 0.02" in plain


def test_empty_answers_and_what_was_cut_off_are_named_as_what_they_are() -> None:
    data, html = report(whole())
    assert ">empty</th>" in html and data["systems"]["tuned"]["empty"]["count"] == 0  # type: ignore[index]
    assert "With the longer answer cut to the reference" in html and "equal length" not in html.lower()


def test_an_improvement_has_one_sign_in_table_sentence_and_terminal() -> None:
    measured = measure(whole(), draws=300)
    verdict = decide(measured, GateConfig(), baselines=["prompted"])
    _, html = evaluation_report(whole(), measured, verdict)
    sentence = next(g.evidence for g in verdict.gates if g.name == "beats_prompt")
    (told,) = re.findall(r"improvement (\S+ \[\S+ \S+\])", sentence)
    assert told.startswith("+0.1")
    title = html.index("Gain of tuned over base with a prompt")
    assert told in html[title : html.index("</table>", title)]
    assert f"improvement {told}" in stage._compared(measured, "prompted", "bits_per_byte")
    worse = measure(whole(systems=evidence({"base": 1.1, "tuned": 1.4}).systems), draws=300)
    assert "improvement −0." in stage._compared(worse, "base", "bits_per_byte")
    assert "improvement −0." in decide(worse, GateConfig()).gates[0].evidence


def test_the_settings_of_use_and_what_the_answers_are_like_stand_on_the_first_screen() -> None:
    drawn = evidence({"base": 1.4, "tuned": 1.1}, draws=3, ended=0.9)
    greedy = tuple(replace(s, greedy=tuple(replace(g, draw=None) for g in s.generations[::3])) for s in drawn.systems)
    use = Use(temperature=0.7, top_p=0.9, repetition_penalty=1.1, draws=3, seed=7, how="chosen on 18 validation questions")
    data, html = report(whole(systems=greedy, use=use))
    line = html[: html.index("<h2>")]
    assert "Answers sampled at temperature 0.7, top-p 0.9, repetition penalty 1.1, base → tuned" in line
    assert re.search(r"ended by themselves: 100 % \[\d+, \d+\] → 90 % \[\d+, \d+\]", line) and "looped: 0 % [0" in line
    assert "With greedy decoding: ended by themselves 100 % → 90 %" in line
    assert "3 answers per question, seed 7 (chosen on 18 validation questions)" in html
    assert "Every answer is the first of those sampled" in html
    assert data["use"]["temperature"] == 0.7 and data["systems"]["tuned"]["greedy"]["ended"]["n"] == 30  # type: ignore[index]


def test_the_page_needs_no_network_and_no_script() -> None:
    _, html = report(whole())
    assert "<script" not in html
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', html)
    assert not re.findall(r"url\((?!#)", html)


def test_text_of_models_and_documents_cannot_become_markup() -> None:
    made = whole()
    item = replace(
        made.items[0], reference=SHARPEST, title=SHARPEST, prompt=(replace(made.items[0].prompt[0], content=SHARPEST),)
    )
    runs = tuple(
        replace(s, label=SHARPEST, generations=tuple(replace(g, text=SHARPEST + g.text) for g in s.generations))
        for s in made.systems
    )
    hostile = replace(
        made, items=(item, *made.items[1:]), systems=runs, reading=SHARPEST, ids={"run": SHARPEST}, numbers={SHARPEST: 1}
    )
    _, html = report(hostile)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_the_page_is_well_formed() -> None:
    class Balance(HTMLParser):
        open: list[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in {"meta", "br", "path", "use"}:
                self.open.append(tag)

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            if tag not in {"path", "use"}:
                assert self.open.pop() == tag

    parser = Balance()
    parser.open = []
    parser.feed(report(whole())[1])
    assert parser.open == []


def test_the_same_evidence_gives_the_same_bytes() -> None:
    assert report(whole()) == report(whole())


def test_the_json_is_plain_and_says_what_the_page_says() -> None:
    data, html = report(whole())
    assert orjson.loads(orjson.dumps(data)) == data
    assert data["verdict"] == "SHIP"
    assert str(data["sentence"]).replace("'", "&#x27;") in html
    assert len(data["items"]) == 30  # type: ignore[arg-type]
    assert {"gates", "systems", "comparisons", "floors", "parity", "general", "ids", "not_measured"} <= data.keys()


def test_every_gate_is_on_the_page_with_its_outcome() -> None:
    _, html = report(whole(parity=None, general=None))
    assert "CAN&#x27;T TELL</span>" in html
    assert html.count(">not measured</span>") >= 2


def test_what_is_missing_is_said_and_not_made_up() -> None:
    bare = Evidence(items=whole().items, systems=(), parity=None, general=None)
    data, html = report(bare)
    assert data["verdict"] == "CAN'T TELL"
    assert "Not measured: there is no training log." in html
    assert "No answers were generated." in html


def test_five_examples_are_best_worst_middle_and_two_at_random() -> None:
    made = whole()
    measured = measure(made, draws=200)
    chosen = chosen_examples(measured, [item.id for item in made.items])
    base, tuned = (measured.systems[name].scores["bits_per_byte"] for name in ("base", "tuned"))
    gains = [x - y for x, y in zip(base, tuned, strict=True) if x is not None and y is not None]
    assert [why for why, _ in chosen] == ["largest gain", "least gain", "median gain", "at random", "at random"]
    assert chosen[0][1] == int(np.argmax(gains))
    assert chosen[1][1] == int(np.argmin(gains))
    assert len({place for _, place in chosen}) == 5
    assert chosen == chosen_examples(measured, [item.id for item in made.items])


def test_a_worst_example_that_lost_is_called_a_loss() -> None:
    made = evidence({"base": 1.2, "tuned": 1.4})
    assert chosen_examples(measure(made, draws=200), [i.id for i in made.items])[1][0] == "largest loss"


STRIP = Strip(label="tuned over base", values=(0.1, -0.2, 0.3), middle=0.07, low=-0.1, high=0.2)


@pytest.mark.parametrize(
    "svg",
    [
        difference_figure([STRIP], axis="gain", margin=0.05),
        difference_figure([], axis="gain"),
        distribution_figure({"bits": [STRIP, Strip(label="none", values=())]}),
        distribution_figure({"same": [Strip(label="a", values=(1.0, 1.0))]}),
        training_figure(CURVE),
        training_figure([]),
        training_figure([{"step": 1.0, "loss": float("nan"), "val_loss": None}]),
    ],
)
def test_a_figure_is_valid_lean_svg_with_a_description(svg: str) -> None:
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.attrib["aria-label"]
    assert "<metadata" not in svg
    assert "<text" in svg
    assert len(svg) < 60_000


def test_figures_leave_matplotlib_as_they_found_it() -> None:
    before = dict(matplotlib.rcParams)
    first = difference_figure([STRIP], axis="gain")
    assert dict(matplotlib.rcParams) == before
    assert difference_figure([STRIP], axis="gain") == first


def test_losses_are_hollow_and_gains_filled() -> None:
    lost = difference_figure([Strip(label="x", values=(-0.2, -0.1))], axis="gain")
    won = difference_figure([Strip(label="x", values=(0.2, 0.1))], axis="gain")
    assert "#b42318" in lost and "#b42318" not in won
    assert "#1f6feb" in won and "#1f6feb" not in lost


def test_thousands_of_items_stay_a_small_picture_and_keep_the_extremes() -> None:
    values = tuple(np.random.default_rng(0).normal(size=5000).tolist())
    svg = difference_figure([Strip(label="x", values=values)], axis="gain")
    assert svg.count("<use") < MOST_DOTS + 40
    assert len(svg) < 150_000


def test_the_curves_name_the_unit_of_their_loss_and_only_nats_a_token_have_a_perplexity() -> None:
    rows = [{"step": n, "loss": 0.7 / n, "val_loss": 0.7 / n, "learning_rate": 1e-3, "grad_norm": 1.0} for n in range(1, 5)]
    assert "perplexity" in training_figure(rows) and "nats per token" in training_figure(rows)
    pairs = training_figure(rows, loss_unit="nats per pair")
    assert "nats per pair" in pairs and "perplexity" not in pairs
