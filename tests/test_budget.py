"""Which rung fits a budget, and which one is taken without."""

from __future__ import annotations

import math
from typing import Any

import pytest

from onelayer.base.errors import UsageError
from onelayer.checkpoint.export_record import Speed
from onelayer.shrinking.budget import Budget, choose
from onelayer.shrinking.rung import Rung, RungScore


def scored(lost: float, p: float) -> RungScore:
    return RungScore(
        rows=1000,
        file="dev.tsv",
        metric="accuracy",
        score=0.9 - lost / 100,
        interval=(0.8, 0.95),
        lost=lost,
        lost_interval=(lost - 1, lost + 1),
        p=p,
    )


def rung(
    name: str,
    ms: float,
    size: float,
    lost: float,
    *,
    p: float = 0.001,
    reference: bool = False,
) -> Rung:
    return Rung(
        name=name,
        what=name,
        bytes=int(size * 1e6),
        speeds={1: Speed(latency_ms=ms, texts_per_second=1e3 / ms, tokens_per_second=1.0)},
        dev=scored(lost, p),
        model=None if reference else f"{name}-int8",
        reference=reference,
    )


LADDER = [
    rung("int8", 1.0, 20, 0.1, p=0.9),
    rung("3-layers", 0.37, 12, 0.4),
    rung("2-layers", 0.21, 10, 1.6),
    rung("1-layer", 0.066, 9, 4.4),
    rung("word counts", 0.03, 2, 6.0, reference=True),
]


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("2ms", Budget(ms=2)),
        ("0.5 ms", Budget(ms=0.5)),
        (".5ms", Budget(ms=0.5)),
        ("300us", Budget(ms=0.3)),
        ("300 µs", Budget(ms=0.3)),
        ("5MB", Budget(bytes=5e6)),
        ("800kB", Budget(bytes=8e5)),
        ("1gb", Budget(bytes=1e9)),
        ("-1pt", Budget(points=1)),
        ("1 pt", Budget(points=1)),
        ("\N{MINUS SIGN}0.5 points", Budget(points=0.5)),
        ("0pt", Budget(points=0)),
        ("2ms,-1pt", Budget(ms=2, points=1)),
        ("2ms, 5MB, 1pt", Budget(ms=2, bytes=5e6, points=1)),
    ],
)
def test_budget_is_read_in_every_unit(text: str, budget: Budget) -> None:
    found = Budget.parse(text)
    assert [found.ms, found.bytes, found.points] == [
        limit if limit is None else pytest.approx(limit)
        for limit in (budget.ms, budget.bytes, budget.points)
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is no limit"),
        ("fast", "'fast' is no limit"),
        ("2", "'2' is no limit"),
        ("2 km", "unknown unit 'km'"),
        ("-2ms", "-2ms must be above 0"),
        ("0MB", "0MB must be above 0"),
        ("2ms,3ms", "two limits of one kind, 3ms is the second"),
        ("2ms;1pt", "'2ms;1pt' is no limit"),
        ("infms", "'infms' is no limit"),
        (2, "--budget 2: a text with a unit is needed"),
    ],
)
def test_budget_that_is_none_is_refused_in_one_line(text: Any, says: str) -> None:
    with pytest.raises(UsageError, match="write 2ms") as caught:
        Budget.parse(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("budget", "name"),
    [
        ("2ms", "int8"),
        ("0.5ms", "3-layers"),
        ("11MB", "2-layers"),
        ("0.5ms,9.5MB", "1-layer"),
        ("-0.1pt", "int8"),
        ("-2pt", "2-layers"),
        ("-10pt", "1-layer"),
        ("1ms,-0.5pt", "3-layers"),
        (None, "3-layers"),
    ],
)
def test_rung_that_fits_is_chosen(budget: str | None, name: str) -> None:
    found = choose(LADDER, None if budget is None else Budget.parse(budget))
    assert found.rung.name == name
    assert "dev.tsv" in found.why


def test_equal_scores_are_told_apart_by_speed() -> None:
    slow, fast = rung("slow", 2, 5, 0), rung("fast", 1, 9, 0)
    assert choose([slow, fast], Budget(ms=3)).rung is fast


@pytest.mark.parametrize(
    ("lost", "p", "taken"), [(0.5, 0.001, True), (0.9, 0.2, True), (0.9, 0.01, False)]
)
def test_knee_takes_a_loss_that_may_be_chance(lost: float, p: float, taken: bool) -> None:
    ladder = [rung("int8", 1, 20, 0), rung("small", 0.5, 10, lost, p=p)]
    assert (choose(ladder).rung.name == "small") == taken


def test_knee_is_the_best_score_where_all_lose_much() -> None:
    found = choose([rung("small", 0.5, 10, 3), rung("large", 1, 20, 2)])
    assert found.rung.name == "large"
    assert found.why.startswith("the best score on dev.tsv; no other")


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (
            "0.05ms",
            "the nearest is 1-layer with 0.066 ms (it keeps --budget 0.066ms)",
        ),
        ("5MB", "the nearest is 1-layer with 9 MB (it keeps --budget 9MB)"),
        (
            "0.2ms,-0.2pt",
            "the nearest is 3-layers with 0.37 ms, 0.4 points lost (it keeps --budget "
            "0.37ms,-0.4pt)",
        ),
    ],
)
def test_budget_that_nothing_keeps_names_the_nearest_rung(budget: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(LADDER, Budget.parse(budget))
    assert says in str(caught.value)
    needed = str(caught.value).split("--budget ")[1].rstrip(")")
    assert choose(LADDER, Budget.parse(needed)).rung.name in says


def test_loss_that_is_not_known_keeps_no_budget_of_points() -> None:
    ladder = [rung("int8", 1, 20, 0), rung("odd", 0.5, 10, math.nan)]
    assert choose(ladder, Budget(points=5)).rung.name == "int8"
    assert choose(ladder).rung.name == "int8"
