"""Questions are what a person would ask: about whole and rare names and noun phrases, and recognised among others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from shared_material import document, example

from tunesmith.data.dataset.fit import BY_WORDS, EmbeddingScore, Fit, WordScore, measure_fit
from tunesmith.data.dataset.passages import build_passages
from tunesmith.data.dataset.phrases import Collection, Phrase, study
from tunesmith.data.dataset.questions import Cue, ask
from tunesmith.data.dataset.report_fit import fit_section
from tunesmith.data.text.openings import announces, is_furniture, is_sign_off, points_at_missing, points_back

OTHERS = [
    f"The gardener of street {n} waters the roses and goes home after the work is done in the evening." for n in range(30)
]


def phrases(text: str, *, context: str = "", others: list[str] = OTHERS) -> list[str]:
    return [phrase.text for phrase in study([text, *others]).key_phrases(text, context=context)]


def test_key_phrases_are_things_and_not_function_words() -> None:
    text = "The fan heater hummed. I opened the fan heater and the dust fell out of the heater."
    found = phrases(text)
    assert found[0] == "the fan heater"
    assert not {"opened", "fell", "the", "out", "hummed"} & {word for phrase in found for word in phrase.split()[1:]}


def test_names_are_whole_and_in_their_order() -> None:
    text = "Michael Lynch sold his company to the Bureau of Land Management. Michael Lynch liked the Bureau of Land Management."
    assert {"Michael Lynch", "the Bureau of Land Management"} <= set(phrases(text))


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("TinyPilot functions without power. TinyPilot is a box that functions.", "TinyPilot functions"),
        ("I wanted to pitch ideas. To pitch ideas is fun, and ideas are many.", "pitch ideas"),
        ("- Track commitments of vendors.\n- Commitments matter.", "track commitments"),
        ("A hard decision increases stress. Stress is bad, and a decision increases it.", "decision increases stress"),
        ("It was a great thing. The great thing was done.", "great thing"),
        ("It was the best possible outcome, an outcome that I liked.", "possible outcome"),
        ("Gleam is happy. A happy Gleam is what I want.", "happy Gleam"),
        ("The area including color changed. The area including color is big.", "including"),
        ("Aaron: We met obstacles. \nAaron: Obstacles are rare.", "Aaron"),
        ("On Feb. 7 the lid came. Feb. was cold.", "Feb"),
        ("We saw Advanced Simulation and Computing at work. Advanced Simulation and Computing won.", "Advanced Simulation"),
        ("In the process Ryan wrote a letter. In the process Ryan rested.", "process Ryan"),
        ("Your proposed policy is new. A proposed policy is old, and your proposed policy changes.", "your proposed"),
        ("I found that Lizzie had copied it. He knew that Lizzie was away.", "the Lizzie"),
        ("I sent each response at once. Every response was read.", "response"),
        ("A research review proceeds in two parts. The research review is long.", "review proceeds"),
        ("Sometimes I use Nix-managed environments. Who would use Nix-managed environments?", "use Nix"),
        ("The circle of influence grows. The circle of influence is small.", "circle"),
        ("It runs a Ruby app, a copper lamp, or a lid. It runs a Ruby app, a copper lamp, or a lid.", "copper lamp"),
        ("Chris Holly (Owner): We fixed lids. \nChris Holly (Owner): Lids are rare.", "Chris"),
    ],
)
def test_fragments_with_verbs_and_vague_things_are_not_phrases(text: str, never: str) -> None:
    assert not [found for found in phrases(text) if never in found]


def test_half_a_name_needs_the_title() -> None:
    text = "Gil spoke first. Gil liked lids, and then SPDY was the subject. Nobody knew SPDY."
    alone = {p.text: p.alone for p in study([text, "I met Gil Weir.", *OTHERS]).key_phrases(text)}
    assert alone["Gil"] is False and alone["SPDY"] is True


def test_a_thing_that_can_be_counted_gets_an_article() -> None:
    text = "Paper-heavy approach, they call it. A paper-heavy approach is slow, and that approach is an approach I dislike."
    assert not any(found.startswith("paper-heavy") for found in phrases(text))


def test_what_every_document_speaks_of_is_not_a_phrase() -> None:
    text = "The roses of the harbour wall froze. The harbour wall was white."
    assert phrases(text) == ["the harbour wall"]


def test_what_is_only_mentioned_in_passing_is_not_a_phrase() -> None:
    text = "The harbour wall froze. The harbour wall was white, and somebody lost a leather glove there."
    assert "a leather glove" not in phrases(text)


def test_words_of_the_title_come_first_and_the_title_itself_is_not_repeated() -> None:
    text = "The copper kettle sang on the iron stove. The copper kettle and the iron stove were old."
    assert phrases(text, context="My iron years")[0] == "the iron stove"
    assert "the iron stove" not in phrases(text, context="The iron stove")


def test_the_authors_own_things_are_addressed_as_yours() -> None:
    assert "your workshop" in phrases("My workshop is tidy, and my workshop is small.")


def test_a_phrase_that_presumes_what_was_said_needs_the_title() -> None:
    text = "The iron stove smoked. The iron stove was old. Copper kettles cracked, and copper kettles sang."
    alone = {phrase.text: phrase.alone for phrase in study([text, *OTHERS]).key_phrases(text)}
    assert alone == {"the iron stove": False, "Copper kettles": True} or alone == {
        "the iron stove": False,
        "copper kettles": True,
    }


@pytest.mark.parametrize(
    "opening",
    [
        "This broke everything.",
        "It was late.",
        "So we left.",
        "But nobody came.",
        "Such days are rare.",
        "However, it rained.",
        "He laughed at the joke.",
        "She had to go.",
        "[1] See the appendix.",
        "The second reason is price.",
        "and then we left.",
        "…was all he said.",
        "” she said, and left.",
        "2. Turn it off.",
        "For example, the lid was shut.",
        "Those were days.",
        "Three weeks later, the letter came.",
        "I also bought a lid.",
        "When I opened it, the lid fell off.",
        "Yes, of course.",
        "Here is why the lid matters.",
        "The real test is whether this lid holds.",
        "Ada: That is a lid.",
        "Even Ada saw the lid.",
        "First, the lid fell.",
        "The live lids, on the other hand, are cheap.",
        "Concrete steps they took were these.",
        "We did a very similar lid for Ada.",
        "Ada: We have not had any.",
        "On the other hand, lids are cheap.",
        "“Clean the lid,” he said.",
        "* An estimate from memory.",
        "That was all.",
    ],
)
def test_openings_that_point_back_are_found(opening: str) -> None:
    assert points_back(opening + " The kettle boiled over.")


@pytest.mark.parametrize(
    "opening",
    [
        "The kettle boiled over.",
        "I opened the lid and it fell off.",
        "This post is about lids.",
        "This week, I cleaned the lid.",
        "It is hard to clean a lid.",
        "A lid is similar to a cap.",
        "There are three kinds of lids.",
        "Ada said that she had no lid.",
        "iPhone users know lids.",
        "When the kettle boils, it sings.",
        "1. Open the lid.",
        "“Stop!” said Ada.",
        "Those who clean lids know steam.",
        "“Clean the lid,” Ada said.",
        "My mother told me what she knew of lids.",
    ],
)
def test_openings_that_stand_alone_are_left_in_peace(opening: str) -> None:
    assert not points_back(opening)


@pytest.mark.parametrize(
    "text",
    [
        "The code below counts holes.",
        "As the figure shows, steam rises.",
        "The chart shows the fall.",
        "See below for more.",
        "Here's a screenshot of the lid.",
        "It looks like this.",
        "The following table lists lids.",
        "Pictured here: a lid.",
        "![A lid](lid.png) shows steam.",
    ],
)
def test_references_to_what_is_not_there_are_found(text: str) -> None:
    assert points_at_missing(text)


def test_a_flag_of_a_command_that_is_not_there_is_a_reference() -> None:
    assert points_at_missing("The flag above tells the kettle which water to boil.")


@pytest.mark.parametrize(
    "text",
    [
        "A flag hung there.",
        "The price fell below ten.",
        "Above all, clean the lid.",
        "The table was laid.",
        "We took a picture.",
    ],
)
def test_words_that_only_sound_like_references_are_not(text: str) -> None:
    assert not points_at_missing(text)


def test_page_furniture_is_told_from_prose() -> None:
    furniture = [
        "Watch the entire talk here.",
        "(Related — lids)",
        "Photo by Ada on Unsplash",
        "Special thanks to the following people: Ada.",
        "Tags: lids",
        "Posted in lids",
    ]
    assert all(map(is_furniture, furniture)) and is_sign_off("Happy cooking!") and announces("A lid has three advantages.")
    assert announces("It was cold. Let’s start by reviewing how a lid works.") and is_sign_off(
        "To hear of lids, you can sign up here."
    )
    assert not announces("Let's start with the lid, said Ada. Nobody did.") and not is_sign_off("You can sign up at the door.")
    prose = ["Thanksgiving was cold.", "We shared this lid.", "I read on and on.", "Nobody thanks the lid.", PROSE]
    assert not any(map(is_furniture, prose)) and not is_sign_off("Love is a lid that nobody can ever open.")


PROSE = "The kettle boiled over again this morning. I looked at the small steam hole and found it shut."


def cue(key: str, **facts: object) -> Cue:
    return Cue(key=key, **facts)  # type: ignore[arg-type]


def test_wordings_are_dealt_evenly() -> None:
    cues = [cue(str(n), title=f"Title {n}", before=f"Sentence {n} was here before.", opens=n % 5 == 0) for n in range(200)]
    starts = Counter((question or "").split(str(n))[0][:12] for n, question in enumerate(ask(cues)))
    assert len(starts) >= 5 and max(starts.values()) < 60 and ask(cues) == ask(cues)


def test_a_passage_that_leans_is_never_asked_for_without_what_it_leans_on() -> None:
    known = {"title": "Lids", "heading": "Steam", "phrases": (Phrase("the steam hole", True),), "heads": True, "fills": True}
    asked = ask([cue(str(n), leans=True, before=f"Lid {n} was shut.", **known) for n in range(60)])
    assert all(f"Lid {n} was shut." in (question or "") for n, question in enumerate(asked))


def test_a_question_that_does_not_fit_is_replaced_by_one_that_does() -> None:
    one = cue("1", title="Lids", heading="Steam", heads=True, fills=True, phrases=(Phrase("the steam hole", True),))
    asked = ask([one], fits=lambda number, question: "steam hole" in question)[0]
    assert asked is not None and "steam hole" in asked


def test_where_no_question_fits_the_text_before_is_given() -> None:
    one = cue("1", title="Lids", before="Lid 1 was shut.", phrases=(Phrase("the steam hole", True),))
    assert ask([one], fits=lambda number, question: False) == ["Continue from here: “Lid 1 was shut.”"]


def test_where_no_question_fits_openings_and_parts_are_asked_for_as_such() -> None:
    facts = {"begins": "Lid 1 was shut", "phrases": (Phrase("the steam hole", True),)}
    cues = [
        cue("1", title="Lids", opens=True, **facts),
        cue("2", opens=True, **facts),
        cue("3", title="Lids", heading="Steam", **facts),
        cue("4", title="Lids", **facts),
    ]
    assert ask(cues, fits=lambda number, question: False) == [
        "Write the opening of “Lids”.",
        "Write the passage that begins “Lid 1 was shut …”",
        "Write a passage of the part “Steam” of “Lids”.",
        None,
    ]


def test_a_cue_that_tells_nothing_gets_no_question() -> None:
    assert ask([cue("1")]) == [None]


def rows(count: int, *, shuffled: bool) -> list[object]:
    names = [f"Zanzibar{n} teapots" for n in range(count)]
    asked = names[1:] + names[:1] if shuffled else names
    return [
        example(f"Tell me about {asked[n]}.", f"I own {names[n]} and polish them on Sundays.", id=str(n)) for n in range(count)
    ]


def test_right_questions_are_told_from_wrong_ones_and_shuffled_ones_are_not() -> None:
    for shuffled, share in ((False, 1.0), (True, 0.0)):
        made = rows(40, shuffled=shuffled)
        fit = measure_fit(made, WordScore([row.answer for row in made]), method=BY_WORDS)  # type: ignore[attr-defined, arg-type]
        assert fit.n == 40 and fit.num_wrong == 4 and fit.share == share and len(fit.failed) == 40 * (1 - share)


def test_questions_that_tell_nothing_are_at_or_below_chance() -> None:
    made = [example(f"Write passage number {n}.", f"I own Zanzibar{n} teapots.", id=str(n)) for n in range(40)]
    fit = measure_fit(made, WordScore([row.answer for row in made]), method=BY_WORDS)
    assert fit.share == 0.0  # a tie is not told apart


def test_wrong_questions_are_of_other_documents_and_too_few_are_not_measured() -> None:
    same = [example(f"Ask {n}?", f"Answer {n}.", id=str(n), group="one") for n in range(20)]
    fit = measure_fit(same, WordScore([row.answer for row in same]), method=BY_WORDS)
    assert (fit.n, fit.share, fit.report()["interval"]) == (0, None, None)
    assert fit_section([fit.report()]) == ""


def test_the_page_shows_share_interval_chance_and_the_rows_that_failed() -> None:
    page = fit_section([Fit(90, 100, 4, BY_WORDS, ("row-7",)).report()])
    assert all(part in page for part in ("90 of 100", "90%", "83% – 94%", "20%", "row-7"))


def test_rows_of_a_build_are_told_apart_by_their_words() -> None:
    subjects = ["kettle", "harbour", "violin", "glacier", "bakery", "tractor", "library", "orchard", "compass", "lantern"]
    documents = [
        document(
            f"The {s} of my youth was small. I looked after the {s} every day.\n\n"
            f"Nobody else cared for the {s}, and so it fell apart in the winter of that year.",
            name=f"{s}.md",
            title=f"On the {s}",
        )
        for s in subjects
    ]
    built = build_passages(documents, passage_words=20, min_words=5, system_prompt="").examples
    fit = measure_fit(built, WordScore([row.answer for row in built]), method=BY_WORDS)
    assert fit.n >= 10 and fit.share == 1.0


def test_a_collection_is_read_once_and_counts_documents() -> None:
    collection = study(["A lid. A lid.", "A lid and a kettle."])
    assert isinstance(collection, Collection) and collection.num_documents == 2
    assert collection.document_count["lid"] == 2 and collection.document_count["kettle"] == 1


def test_vectors_recognise_a_question_that_shares_no_word_with_its_answer() -> None:
    meanings = {"kettle": 0, "boiler": 0, "rose": 1, "flower": 1}
    asked: list[str] = []

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return np.eye(2, dtype=np.float32)[[next(n for word, n in meanings.items() if word in text) for text in texts]]

    score = EmbeddingScore(encode)
    assert score("The kettle sang.", ["About the boiler?", "About the flower?"]) == [1.0, 0.0]
    assert score("The rose froze.", ["About the boiler?", "About the flower?"]) == [0.0, 1.0]
    assert len(asked) == len(set(asked)) == 4  # each text once
