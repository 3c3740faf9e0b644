"""Answer metrics equal the official SQuAD and CMRC scorers.

The scorers and their data are read from the folder ONELAYER_DATA. Without it the comparisons are
skipped, and the hand-computed cases remain.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
from functools import cache, partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from onelayer.metrics import (
    Answers,
    cmrc_exact,
    cmrc_f1,
    is_chinese,
    no_answer_threshold,
    squad_exact,
    squad_f1,
)

generated = settings(max_examples=60, deadline=None)


# Computed by hand --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "golds", "exact", "f1"),
    [
        ("The Broncos!", ["Denver Broncos", "broncos"], 1.0, 1.0),
        ("in the year 1066", ["1066"], 0.0, 0.5),
        ("cat cat dog", ["cat cat"], 0.0, 0.8),
        ("co-op", ["coop"], 1.0, 1.0),
        ("theatre", ["theatre an"], 1.0, 1.0),
        ("blue", ["red"], 0.0, 0.0),
        ("", [""], 1.0, 1.0),
        ("blue", [""], 0.0, 0.0),
        ("blue", [], 0.0, 0.0),
        ("", ["red"], 0.0, 0.0),
        ("", [".", "red"], 0.0, 0.0),
        ("the", ["."], 1.0, 1.0),
    ],
)
def test_squad_scores_equal_hand_computed_ones(
    prediction: str, golds: list[str], exact: float, f1: float
) -> None:
    assert squad_exact(prediction, golds) == exact
    assert squad_f1(prediction, golds) == pytest.approx(f1)


def test_squad_1_keeps_golds_of_punctuation() -> None:
    assert squad_exact("the", [".", "red"], "1.1") == 1.0
    assert squad_f1("the", [".", "red"], "1.1") == 0.0


@pytest.mark.parametrize(
    ("prediction", "golds", "exact", "f1"),
    [
        ("《红楼梦》", ["红楼梦"], 1.0, 1.0),
        ("北京大学", ["清华大学"], 0.0, 0.5),  # 大学: two of four
        ("大北学京", ["北京大学"], 0.0, 0.25),  # a common substring, not a bag of words
        ("Windows XP系统", ["windows xp"], 0.0, 2 / 3),  # two words of four pieces
        ("1998年", ["1998年", "九八年"], 1.0, 1.0),
        ("a-b", ["ab"], 1.0, 1.0),
        ("…", ["……"], 0.0, 0.0),
        ("春", ["秋"], 0.0, 0.0),
        ("", ["秋"], 0.0, 0.0),
        ("", [""], 1.0, 1.0),
        ("春", [""], 0.0, 0.0),
        ("春", [], 0.0, 0.0),
        ("", [], 1.0, 1.0),
        ("- 春", ["春"], 0.0, 1.0),  # the inner space stays
        ("‘春’", ["春"], 0.0, 2 / 3),  # only the right quote counts as punctuation
    ],
)
def test_cmrc_scores_equal_hand_computed_ones(
    prediction: str, golds: list[str], exact: float, f1: float
) -> None:
    assert cmrc_exact(prediction, golds) == exact
    assert cmrc_f1(prediction, golds) == pytest.approx(f1)


def test_answer_scores_are_percentages_and_split_by_answerability() -> None:
    exact, f1 = np.array([1.0, 0.0, 1.0, 0.0]), np.array([1.0, 0.5, 1.0, 0.0])
    answerable = Answers(exact, f1, np.ones(4, dtype=bool))
    assert answerable() == pytest.approx({"em": 50.0, "f1": 62.5})
    parts = {"has_answer_em": 50.0, "has_answer_f1": 75.0, "no_answer_accuracy": 50.0}
    scorer = Answers(exact, f1, np.array([True, True, False, False]))
    assert scorer() == pytest.approx({"em": 50.0, "f1": 62.5} | parts)


def test_text_is_chinese_if_most_letters_are() -> None:
    assert is_chinese(["2018年，NBA总决赛", "在克利夫兰举行。"])
    assert not is_chinese(["The word 中国 means China", "漢"])
    assert not is_chinese(["Li Bai 李白"])
    assert not is_chinese(["ひらがなとカタカナの日本語"])
    assert not is_chinese(["1234", ""])


# The no-answer threshold -------------------------------------------------------------------------


@st.composite
def null_scores(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], ...]:
    n = draw(st.integers(1, 25))
    difference = draw(arrays(np.float32, n, elements=st.integers(-5, 5).map(lambda i: i / 4)))
    answered, null = (
        draw(arrays(np.float64, n, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]))) for _ in "an"
    )
    return difference, answered, null


@pytest.mark.slow
@generated
@given(null_scores())
def test_no_answer_threshold_is_optimal(rows: tuple[np.ndarray[Any, Any], ...]) -> None:
    difference, answered, null = rows

    def score(threshold: float) -> float:
        return float(np.where(difference > threshold, null, answered).mean())

    threshold, best = no_answer_threshold(*rows)
    assert best == pytest.approx(score(threshold), abs=1e-12)
    everywhere = np.append(np.unique(difference), difference.min() - 1)
    assert best == pytest.approx(max(score(t) for t in everywhere), abs=1e-12)


def test_lowest_of_equally_good_thresholds_is_chosen() -> None:
    difference = np.array([3.0, 1.0, 2.0])
    assert no_answer_threshold(difference, np.zeros(3), np.ones(3)) == (0.0, 1.0)
    assert no_answer_threshold(difference, np.ones(3), np.zeros(3)) == (3.0, 1.0)
    assert no_answer_threshold(difference, np.array([0.0, 1, 0]), np.zeros(3)) == (1.0, 1 / 3)


# The official scorers ----------------------------------------------------------------------------


@cache
def data_folder() -> Path:
    named = os.environ.get("ONELAYER_DATA")
    if not named:
        pytest.skip("ONELAYER_DATA doesn't name the folder with the official scorers")
    return Path(named).resolve()


def official_squad(version: str) -> ModuleType:
    path = data_folder() / "squad_dev" / f"evaluate-v{version}.py"
    spec = importlib.util.spec_from_file_location(f"squad_{version[0]}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def official_cmrc() -> SimpleNamespace:
    """CMRC's scorer, converted from Python 2 to 3 on reading, without NLTK's sentence splitter."""
    import nltk

    source = (data_folder() / "cmrc2018" / "cmrc2018_evaluate.py").read_text(encoding="utf-8")
    for old, new in [
        ("reload(sys)", ""),
        ("sys.setdefaultencoding('utf8')", ""),
        (".decode('utf-8')", ""),
        ("ur'", "r'"),
    ]:
        assert old in source
        source = source.replace(old, new)
    names: dict[str, Any] = {"__name__": "cmrc"}
    exec(source, names)
    word_tokenize = partial(nltk.word_tokenize, preserve_line=True)
    names["nltk"] = SimpleNamespace(word_tokenize=word_tokenize)
    return SimpleNamespace(**names)


def questions(path: str) -> list[dict[str, Any]]:
    data = json.loads((data_folder() / path).read_text(encoding="utf-8"))["data"]
    return [qa for article in data for part in article["paragraphs"] for qa in part["qas"]]


def spoiled(text: str, rng: random.Random) -> str:
    """The text, a piece of it, or the text with something around it, like a model's prediction."""
    start, end = sorted(rng.choices(range(len(text) + 1), k=2))
    around = rng.choice(["The {}.", "{}, a", "“{}”", "在{}。", " - {}", "{}Mr. Smith's U.S."])
    return rng.choice([text, text, text[start:end], text.upper(), around.format(text), ""])


english = st.text(st.sampled_from("aAnNtThHeE bx.,-'’ \t\u00a0éß中"), max_size=12)
chinese = st.text(st.sampled_from("中国人大 学aB1.，。…·-《》“‘'$% \t龥龦😀"), max_size=12)


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_squad_equals_the_official_scorer_on_any_text(version: Any) -> None:
    official = official_squad(version)

    @settings(max_examples=300, deadline=None)
    @given(english, st.lists(english, min_size=1, max_size=3))
    def check(prediction: str, golds: list[str]) -> None:
        row = {"id": "q", "answers": [{"text": gold} for gold in golds]}
        exact, f1 = official_scores(official, version, [row], {"q": prediction})
        assert squad_exact(prediction, golds, version) == exact[0]
        assert squad_f1(prediction, golds, version) == pytest.approx(f1[0], abs=1e-12)

    check()


def official_scores(
    official: ModuleType, version: str, rows: list[dict[str, Any]], predictions: dict[str, str]
) -> tuple[list[float], list[float]]:
    """Each question's exact match and F1, 0..1."""
    if version == "2.0":
        exact, f1 = official.get_raw_scores([{"paragraphs": [{"qas": rows}]}], predictions)
        return list(exact.values()), list(f1.values())
    scores = [official.evaluate([{"paragraphs": [{"qas": [row]}]}], predictions) for row in rows]
    return [s["exact_match"] / 100 for s in scores], [s["f1"] / 100 for s in scores]


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_squad_equals_the_official_scorer_on_its_data(version: Any) -> None:
    official, rng = official_squad(version), random.Random(0)
    rows = questions(f"squad_dev/v{version}-heldout.json")
    golds = [[answer["text"] for answer in row["answers"]] for row in rows]
    predictions = [spoiled(rng.choice(texts or ["red"]), rng) for texts in golds]
    by_id = {row["id"]: text for row, text in zip(rows, predictions, strict=True)}
    theirs = official_scores(official, version, rows, by_id)
    for ours, scores in zip((squad_exact, squad_f1), theirs, strict=True):
        mine = [ours(p, g, version) for p, g in zip(predictions, golds, strict=True)]
        assert_allclose(mine, scores, atol=1e-12)
    assert 0.2 < np.mean(theirs[0]) < np.mean(theirs[1]) < 0.9


def test_totals_and_threshold_equal_the_official_squad_2_scorer() -> None:
    official, rng = official_squad("2.0"), np.random.default_rng(0)
    for _ in range(20):
        n = 50
        has_answer = rng.random(n) < 0.6
        answered_by_model = rng.random(n) < 0.9
        f1 = np.where(has_answer, rng.integers(0, 5, n) / 4 * answered_by_model, ~answered_by_model)
        null = rng.random(n) + 0.3 * ~has_answer
        ids = [str(i) for i in range(n)]

        def by_id(values: Any, ids: list[str] = ids) -> dict[str, Any]:
            return dict(zip(ids, values.tolist(), strict=True))

        scores, which = by_id(f1), by_id(has_answer)
        scorer = Answers(f1 == 1, f1, has_answer)
        exact = by_id((f1 == 1).astype(float))
        parts = {"": ids, "has": [i for i in ids if which[i]]}
        totals = {k: official.make_eval_dict(exact, scores, v) for k, v in parts.items()}
        none = official.make_eval_dict(exact, scores, [i for i in ids if not which[i]])
        theirs = {
            "em": totals[""]["exact"],
            "f1": totals[""]["f1"],
            "has_answer_em": totals["has"]["exact"],
            "has_answer_f1": totals["has"]["f1"],
            "no_answer_accuracy": none["exact"],
        }
        assert scorer() == pytest.approx(theirs)
        best, threshold = official.find_best_thresh(
            by_id(answered_by_model), scores, by_id(null), which
        )
        ours = no_answer_threshold(null, f1, (~has_answer).astype(float))
        assert_allclose(ours, (threshold, best / 100))


def same_as_cmrc(official: SimpleNamespace, prediction: str, golds: list[str]) -> None:
    assert cmrc_exact(prediction, golds) == official.calc_em_score(golds, prediction)
    theirs = official.calc_f1_score(golds, prediction)
    assert cmrc_f1(prediction, golds) == pytest.approx(theirs, abs=1e-12)


def test_cmrc_equals_the_official_scorer_on_any_text() -> None:
    official = official_cmrc()

    @settings(max_examples=300, deadline=None)
    @given(chinese, st.lists(chinese.filter(bool), min_size=1, max_size=3))
    def check(prediction: str, golds: list[str]) -> None:
        same_as_cmrc(official, prediction, golds)

    check()


@pytest.mark.parametrize("name", ["dev", "trial"])
def test_cmrc_equals_the_official_scorer_on_its_data(name: str) -> None:
    official, rng = official_cmrc(), random.Random(0)
    rows = questions(f"cmrc2018/cmrc2018_{name}.json")
    assert is_chinese(row["question"] for row in rows)
    for row in rows[:1000]:
        golds = [answer["text"] for answer in row["answers"]]
        same_as_cmrc(official, spoiled(rng.choice(golds), rng), golds)
