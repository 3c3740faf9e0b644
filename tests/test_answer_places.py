"""Where a gold answer stands in its passage: whole words first, and differences in writing."""

from __future__ import annotations

from typing import Any

import pytest

from onelayer.base.errors import DataError, Place
from onelayer.tasks.answer.answer_places import Misplaced, Placed, check_place, find_place
from onelayer.tasks.answer.gold_answers import GoldAnswers, answers_of

MILL = "The mill of 1730 closed for 3 years; 10km away, it is 3.14 m or 1,000 mm high."
SEVERAL = "the answer occurs several times: the first place is used"
HERE = Place("rows.jsonl", 1, "answers")


def taken(what: str) -> str:
    return f"{what} of the answer taken from the passage"


@pytest.mark.parametrize(
    ("text", "passage", "found", "repairs"),
    [
        ("3", MILL, "3", ()),
        ("10", MILL, "10", ()),
        ("art", "They started with Art.", "Art", (taken("case"),)),
        ("art", "They started art school.", "art", ()),
        (
            "the cat",
            "A cat. The\ncat and the  cat.",
            "The\ncat",
            (taken("white space and case"), SEVERAL),
        ),
        ("Ulm", "Der Ulmer Turm", "Ulm", ("the answer is a part of a word",)),
        ("mill", "All mills turn.", "mill", ("the answer is a part of a word",)),
        ("the cat", "cat, the\u00a0cat", "the\u00a0cat", (taken("white space"),)),
        ("co-op", "a co\u00adop or co‑op", "co‑op", (taken("quotes and dashes"),)),
        ("it's 'so'", "Well, it’s ‘so’.", "it’s ‘so’", (taken("quotes and dashes"),)),
        ("café", "un cafe\u0301 noir", "cafe\u0301", (taken("Unicode forms"),)),
        ("cafe\u0301", "un café noir", "café", (taken("Unicode forms"),)),
        ("ABC", "全角 ＡＢＣ です", "ＡＢＣ", (taken("Unicode forms"),)),
        ("\u1112\u1161\u11ab", "한국", "한", (taken("Unicode forms"),)),
        ("STRASSE", "Die Straße ist lang", "Straße", (taken("case"),)),
        ("北京", "我们在北京的大学", "北京", ()),
        ("서울", "서울은 수도이다", "서울", ()),
        ("NBA", "他在NBA球队", "NBA", ()),
        ("3", "从1730年起3年", "3", ()),
        ("2020", "am 12.05.2020 um 10:30", "2020", ()),
        ("30", "am 12.05.2020 um 10:30", "30", ()),
        ("cat", "a cat and a cat", "cat", (SEVERAL,)),
    ],
)
def test_answer_is_found_as_whole_words_however_it_is_written(
    text: str, passage: str, found: str, repairs: tuple[str, ...]
) -> None:
    place = find_place(text, passage)
    assert isinstance(place, Placed)
    assert passage[place.start : place.end] == found
    assert place.repairs == repairs


@pytest.mark.parametrize(
    ("text", "passage", "reason"),
    [
        ("3", "built in 1730", "in the passage only as a part of '1730'"),
        ("14", MILL, "in the passage only as a part of '3.14'"),
        ("1", MILL, "in the passage only as a part of '1730'"),
        ("art", "a party", "in the passage only as a part of 'party'"),
        ("3", "从1730年起", "in the passage only as a part of '1730'"),
        ("e", "un café noir", "nowhere in the passage"),
        ("e", "cafe\u0301", "in the passage only as a part of 'cafe\u0301'"),
        ("dog", "a cat", "nowhere in the passage"),
    ],
)
def test_answer_inside_a_word_or_number_is_none(text: str, passage: str, reason: str) -> None:
    assert find_place(text, passage) == Misplaced(reason)


@pytest.mark.parametrize(
    ("text", "start", "passage", "at", "repairs"),
    [
        ("3", 14, "in the year 1730", 14, ()),
        ("3", 12, "in the year 1730", None, None),
        ("173", 12, "in the year 1730", 12, ()),
        ("Ulm", 9, "🙂🙂🙂 Ulm.", None, None),
        ("Ulm", 7, "🙂🙂🙂 Ulm.", 4, ("answer_start counted in UTF-16 units",)),
        ("Ulm", 13, "🙂🙂🙂 Ulm.", 4, ("answer_start counted in bytes",)),
        ("Bonn", 8, "Köln in Bonn", 8, ()),
        ("ULM", 3, "in Ulm", 3, (taken("case"),)),
        ("the cat", 2, "a the\u00a0cat", 2, (taken("white space"),)),
        ("late", 5, "It is late", 6, ("answer_start is off by up to 2 characters",)),
        ("late", 2, "It is late", None, None),
        ("late", -3, "It is late", None, None),
    ],
)
def test_given_place_is_checked_against_the_passage(
    text: str, start: int, passage: str, at: int | None, repairs: tuple[str, ...] | None
) -> None:
    found = check_place(text, start, passage)
    if at is None:
        assert found == Misplaced(
            f"not at character {start} of the passage, it is at {passage.find(text)}"
        )
    else:
        assert isinstance(found, Placed)
        assert (found.start, found.repairs) == (at, repairs)


def answers(given: Any, **others: Any) -> GoldAnswers:
    passage = "The old mill of Ulm was built in 1712."
    return answers_of({"label": given, **others}, passage, HERE)


@pytest.mark.parametrize(
    "given",
    [
        "1712",
        1712,
        1712.0,
        ["1712"],
        [{"text": "1712", "answer_start": 33}],
        {"text": "1712", "answer_start": 33},
        {"text": "1712", "answer_start": [33]},
        {"text": ["1712"], "answer_start": [33]},
        {"text": ["1712"], "answer_start": 33},
        {"text": ["1712"], "answer_start": ["33.0"]},
        {"text": ["1712"], "start": [33.0]},
        {"text": ["1712"], "answer_start": []},
        [{"text": "1712", "answer_start": "33"}],
        [{"text": "1712", "answer_start": float("nan")}],
        "{'text': ['1712'], 'answer_start': [33]}",
        "{'text': array(['1712'], dtype=object), 'answer_start': array([33], dtype=int32)}",
        '[{"text": "1712", "answer_start": 33}]',
        "['1712']",
    ],
)
def test_every_shape_of_an_answer_is_read(given: Any) -> None:
    found = answers(given)
    assert [(gold.text, gold.start) for gold in found.answers] == [("1712", 33)]
    assert found.repairs == ()


def test_places_may_stand_in_a_column_of_their_own() -> None:
    for given, start in (("1712", 33), ("1712", "33.0"), ("['1712']", "[33]"), (["1712"], [33])):
        assert [gold.start for gold in answers(given, start=start).answers] == [33]
    assert answers("1712", start="").answers[0].start == 33


def test_text_in_brackets_that_the_passage_has_is_the_answer_itself() -> None:
    (gold,) = answers_of({"label": "[12]"}, "See [12] there.", HERE).answers
    assert gold.text == "[12]"


@pytest.mark.parametrize(
    ("given", "others", "message"),
    [
        (["1712"], {"impossible": True}, "is_impossible is true, and the answer is '1712'"),
        ("1712", {"impossible": "True"}, "is_impossible is true, and the answer is '1712'"),
        (None, {}, "no answers"),
        (float("nan"), {}, "no answers"),
        ({"text": ["a", "b"], "answer_start": [1]}, {}, "2 answers and 1 places"),
        ([None], {}, "an answer needs a text: None"),
        ([True], {}, "an answer needs a text: True"),
        ([["1712"]], {}, "an answer needs a text: ['1712']"),
        ([{"text": "1712", "answer_start": "here"}], {}, "answer_start is no whole number: 'here'"),
        ([{"text": "1712", "answer_start": 33.5}], {}, "answer_start is no whole number: 33.5"),
        ([{"text": "1712", "answer_start": 3}], {}, "not at character 3 of the passage, it is at"),
        (["1712", ""], {}, "an answer needs a text: ''"),
        ("17", {}, "only as a part of '1712'"),
    ],
)
def test_contradiction_in_an_answer_is_named(
    given: Any, others: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        answers(given, **others)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given", "others", "repairs"),
    [
        ([], {}, ()),
        ("", {}, ()),
        (None, {"impossible": True}, ()),
        ([], {"impossible": "true"}, ()),
        ({"text": [], "answer_start": []}, {}, ()),
        (
            {"text": [""], "answer_start": [-1]},
            {},
            ("the answer is an empty text: read as no answer",),
        ),
        (
            [],
            {"impossible": False},
            ("is_impossible is false and there is no answer: read as no answer",),
        ),
    ],
)
def test_no_answer_is_read_in_its_shapes(
    given: Any, others: dict[str, Any], repairs: tuple[str, ...]
) -> None:
    assert answers(given, **others) == GoldAnswers((), repairs)


def test_what_was_put_right_is_told() -> None:
    found = answers(
        [{"text": " 1712 ", "answer_start": 33}, {"text": "ULM", "answer_start": 16}, "x"]
    )
    assert [(gold.text, gold.start) for gold in found.answers] == [
        ("1712", 33),
        ("Ulm", 16),
        ("x", None),
    ]
    assert found.repairs == (
        "white space around the answer removed",
        taken("case"),
        "an answer that the passage doesn't have: only scored against",
        "the answers differ and are at different places: each of them is learned",
    )


def test_white_space_that_the_passage_has_too_is_left_out_of_the_answer() -> None:
    found = answers([{"text": " 1712", "answer_start": 32}])
    assert [(gold.text, gold.start) for gold in found.answers] == [("1712", 33)]
