"""What shrinking gives: the tables, the picture in characters, the page and the file."""

from __future__ import annotations

import json
import math
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from onelayer.base.errors import OneLayerError
from onelayer.base.result import text_table
from onelayer.shrinking.ladder_page import PAGE, ladder_page, write_ladder
from onelayer.shrinking.pareto import (
    HEIGHT,
    NEAR,
    Box,
    NamePlaces,
    PricedModel,
    frontier,
    linear_ticks,
    log_ticks,
    picture_in_text,
)
from onelayer.shrinking.rung_card import with_price
from onelayer.shrinking.shrunk import LADDER, Shrunk
from support.made_ladder import FIGURES, ladder, rung

NAMES = [name for name, *_ in FIGURES]


def picture_of(shrunk: Shrunk) -> str:
    (found,) = (part for part in shrunk.parts() if isinstance(part, str) and "\n" in part)
    return found


# The tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", [False, True])
def test_tables_and_picture_fit_into_80_columns(test: bool) -> None:
    for part in ladder(test=test).parts():
        text = part if isinstance(part, str) else text_table(part)
        for line in text.splitlines():
            assert len(line) <= 80 or line.startswith("take "), line


def test_table_tells_size_speed_and_price_of_each_rung() -> None:
    said = repr(ladder(test=True))
    assert re.search(r"\* 3-layers +7\.2 +0\.53 +2,443 +2\.7 +0\.30 +4,397 +2\.7\n", said)
    assert re.search(r"  int8 +12\.6 +1\.4 +905 +1\.0 ", said)
    price = r"\* 3-layers +0\.866 +0\.844 to 0\.887 +0\.3 +-0\.5 to 1\.2 +0\.47\n"
    assert re.search(price, said)
    assert "dev: dev.csv, 872 rows" in said
    assert "test: test.csv, 1,821 rows" in said
    assert "saved runs/reviews-small" in said


def test_without_test_rows_only_dev_is_shown() -> None:
    said = repr(ladder())
    assert "dev: " in said
    assert "test: " not in said


def test_score_that_is_not_known_is_a_dash_and_no_point_of_the_picture() -> None:
    whole = ladder()
    nan = (math.nan, math.nan)
    unknown = replace(whole.rungs[2].dev, score=math.nan, lost=math.nan, lost_interval=nan)
    unknown = replace(unknown, interval=nan, p=math.nan)
    rungs = [*whole.rungs[:2], replace(whole.rungs[2], dev=unknown), *whole.rungs[3:]]
    shrunk = ladder(rungs, kept="2-layers")
    assert re.search(r"  3-layers +– +– +–\n", repr(shrunk))
    assert "3-layers" not in picture_of(shrunk)
    assert "3-layers" in ladder_page(shrunk)


def test_notebook_keeps_the_spaces_of_the_picture() -> None:
    assert "<pre>  points of accuracy compared with the run\n" in ladder()._repr_html_()


# The picture -------------------------------------------------------------------------------------


def test_picture_names_each_rung_once_in_plain_characters() -> None:
    picture = picture_of(ladder())
    assert picture.isascii()
    cells = "\n".join(picture.splitlines()[1 : HEIGHT + 1])
    for name in NAMES:
        assert cells.count(name) == 1
    assert "* 3-layers" in picture
    assert re.search(r"x +word-counts|word-counts +x", picture)


def test_faster_rung_is_farther_right_and_better_one_farther_up() -> None:
    models = [
        PricedModel("best", 10, 0, "o"),
        PricedModel("fastest", 1000, -1, "*"),
        PricedModel("between", 100, -5, "x"),
    ]
    lines = picture_in_text(models, "accuracy").splitlines()[1 : HEIGHT + 1]
    at = {sign: (x, y) for y, line in enumerate(lines) for x, sign in enumerate(line)}
    assert at["o"][0] < at["x"][0] < at["*"][0]
    assert at["o"][1] < at["*"][1] < at["x"][1]


@pytest.mark.parametrize("seed", range(5))
def test_crowded_picture_shows_every_name_or_says_which_it_leaves_out(seed: int) -> None:
    drawn = random.Random(seed)
    models = [
        PricedModel(f"rung-{i:02}", 10 ** drawn.uniform(2, 2.3), drawn.uniform(-1, 0), "o")
        for i in range(40)
    ]
    picture = picture_in_text(models, "f1")
    assert all(picture.count(one.name) == 1 for one in models)
    assert not re.search(r"rung-\d\d\w", picture), "two names are written together"
    assert all(len(line) <= 80 for line in picture.splitlines()[: HEIGHT + 4])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_rungs_that_are_equal_make_a_picture(n: int) -> None:
    models = [PricedModel(f"rung-{i}", 0.5, 0.0, "o") for i in range(n)]
    picture = picture_in_text(models, "f1")
    assert all(one.name in picture for one in models)
    rungs = [rung(name, 1, 9, 0, 1) for name in ("int8", "1-layer", "2-layers")[:n]]
    assert "2-layers" in ladder_page(ladder(rungs, kept="int8")) or n < 3


def test_frontier_leaves_out_what_another_one_beats() -> None:
    models = [PricedModel(str(i), speed, points, "o") for i, (speed, points) in enumerate(
        [(1, 0), (2, 0), (4, -1), (3, -2), (8, -1), (9, -5)]
    )]  # fmt: skip
    assert [one.name for one in frontier(models)] == ["1", "4", "5"]


def test_axis_has_round_numbers() -> None:
    assert [text for _, text in linear_ticks(-7.4, 0.6)] == ["-6", "-4", "-2", "0"]
    assert [text for _, text in linear_ticks(-0.3, 0.1)] == ["-0.3", "-0.2", "-0.1", "0", "0.1"]
    assert log_ticks(150, 2500) == [200, 500, 1000, 2000]
    assert log_ticks(21, 33) == [21, 33]


# The advice --------------------------------------------------------------------------------------


def test_advice_says_price_and_what_is_faster() -> None:
    assert ladder().advice == (
        "take 3-layers: 2.7 x the speed of int8, 0.3 points of accuracy lost "
        "(-0.5 to 1.2; no real difference, p = 0.47); faster is 2-layers: 4.7 x, 1.6 points lost"
    )


def test_advice_counts_points_on_test_and_names_the_budget() -> None:
    advice = ladder(kept="1-layer", budget="1ms", test=True).advice
    assert advice == (
        "take 1-layer for 1ms: 15.0 x the speed of int8, 4.6 points of accuracy lost "
        "(3.8 to 5.5; a real difference, p = 0.0005)"
    )


def test_advice_keeps_the_run_where_nothing_below_pays() -> None:
    advice = ladder(kept="int8").advice
    assert advice == "keep int8; faster is 3-layers: 2.7 x, 0.3 points lost"


def test_advice_names_a_simple_method_that_scores_as_well() -> None:
    rungs = [*ladder().rungs[:-1], rung("word-counts", 0.4, 61000.0, 0.1, 0.9)]
    advice = ladder(rungs).advice
    assert advice.endswith(
        "but word-counts scores as well (0.868 against 0.866): take that instead"
    )


# The file and the page ---------------------------------------------------------------------------


@pytest.mark.parametrize("test", [False, True])
def test_ladder_is_read_as_it_was_written(tmp_path: Path, test: bool) -> None:
    shrunk = ladder(folder=str(tmp_path), test=test, budget="-1pt")
    write_ladder(shrunk)
    assert Shrunk.read(tmp_path) == shrunk
    assert json.loads((tmp_path / LADDER).read_text(encoding="utf-8")) == shrunk.to_json()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([LADDER, PAGE])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kept": "5-layers"}, "kept names no rung: '5-layers'"),
        ({"rungs": [{"name": 3}]}, "rungs.name can't be 3"),
        ({"threads": None}, "threads can't be None"),
    ],
)
def test_file_with_other_values_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        Shrunk.from_json(ladder().to_json() | change)


def test_number_of_threads_that_is_no_number_is_refused() -> None:
    values = ladder().to_json()
    values["rungs"][0]["speeds"] = {"one": values["rungs"][0]["speeds"]["1"]}
    with pytest.raises(ValueError, match=r"speeds can't have the key 'one'"):
        Shrunk.from_json(values)


def test_ladder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(OneLayerError, match="can't be written"):
        write_ladder(ladder(folder=str(tmp_path / "missing")))


def test_page_is_the_same_for_the_same_ladder() -> None:
    assert ladder_page(ladder(test=True)) == ladder_page(ladder(test=True))


def test_page_describes_its_picture_for_screen_readers() -> None:
    page = ladder_page(ladder())
    (said,) = re.findall(r'<svg [^>]*role="img" aria-label="([^"]+)"', page)
    assert said.startswith("Texts a second, and points of accuracy compared with the run: ")
    assert "3-layers 2,443 and -0.3" in said
    assert page.count("<th scope=") > 12


def test_page_escapes_what_files_name_and_loads_nothing() -> None:
    hostile = "<script>alert(1)</script>\u202e"
    shrunk = ladder()
    dev = replace(shrunk.rungs[0].dev, file=hostile, metric="macro_f1")
    first = replace(shrunk.rungs[0], dev=dev, what=hostile)
    page = ladder_page(replace(shrunk, run=hostile, rungs=(first, *shrunk.rungs[1:])))
    assert "<script" not in page
    assert "\u202e" not in page
    assert not re.search(r'(?:src|href)="(?!#)', page)


# The cards ---------------------------------------------------------------------------------------

CARD = (
    "---\nlibrary_name: x\n---\n\n# name\n\n## Exported in int8\n\nx\n\n## Use\n\nwith onelayer\n"
)


def test_card_of_each_bundle_says_what_it_lost(tmp_path: Path) -> None:
    shrunk = ladder(folder=str(tmp_path), test=True)
    bundles = [tmp_path / str(rung.model) for rung in shrunk.rungs if rung.model]
    for bundle in bundles:
        bundle.mkdir()
        (bundle / "README.md").write_text(CARD)
    write_ladder(shrunk)
    card = (tmp_path / "3-layers-int8" / "README.md").read_text()
    price = "| 0.866 | 0.844 to 0.887 | 0.3 | -0.5 to 1.2 | 0.47 |"
    assert f"| dev: `dev.csv`, 872 {price}" in card
    assert "| test: `test.csv`, 1,821 | 0.864 |" in card
    assert "| 1 | 0.53 | 2,443 |" in card
    assert card.index("## Exported") < card.index("## Compared with the run") < card.index("## Use")
    write_ladder(ladder(folder=str(tmp_path)))
    again = (tmp_path / "3-layers-int8" / "README.md").read_text()
    assert "test.csv" not in again
    assert again.count("## Compared with the run") == again.count("## Use") == 1


def test_name_with_markdown_does_not_break_the_card() -> None:
    whole = ladder().rungs[2]
    hostile = replace(whole, dev=replace(whole.dev, file="a|b`<i>"), what="[x](y)")
    card = with_price(CARD, hostile, "runs/a|b")
    assert "| dev: `a'b''i'`, 872 |" in card
    assert "below `a'b`: 'x'(y)." in card


def test_ladder_without_a_kept_model_is_read_again_and_drawn() -> None:
    shrunk = replace(ladder(budget="1kB"), kept=None, model=None)
    assert Shrunk.from_json(shrunk.to_json()) == shrunk
    headline = '<p class="headline">'
    assert headline not in ladder_page(shrunk)
    assert headline in ladder_page(ladder())


def test_name_covers_a_line_rather_than_be_far_from_its_point() -> None:
    places = NamePlaces(Box(0, 0, 100, 100), line=2, gap=2)
    places.add_point(50, 50)
    places.lines.append(Box(0, 40, 100, 60))
    box = places.place(50, 50, 10)
    assert box is not None
    assert abs(box.top - 49) < NEAR * places.line
