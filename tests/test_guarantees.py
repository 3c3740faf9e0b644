"""The promises of --abstain and --coverage, simulated: how often does a dev set break them?"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.guarantees import Sureness, abstaining, coverages, distributions
from onelayer.tasks.calibration import CERTAINTY, Calibration, calibrate_labels

DRAWS = 80
LUCK = 3 * (0.1 * 0.9 / DRAWS) ** 0.5
"""Three standard deviations of a share of one in ten."""

HARD = distributions(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [60, 200])
@pytest.mark.parametrize("it", HARD, ids=[it.name for it in HARD])
def test_abstaining_breaks_its_promise_for_at_most_one_dev_set_in_ten(
    it: Sureness, rows: int
) -> None:
    kept = abstaining(it, rows, 0.1, draws=DRAWS)
    assert kept.broken <= 1 - CERTAINTY + LUCK


def test_threshold_is_not_the_best_of_many_looks() -> None:
    """With confidence that says nothing the lowest threshold that passes by itself is too low for
    a third of the dev sets."""
    it = HARD[0]
    rng = np.random.default_rng(0)
    passes_once = 0
    for _ in range(DRAWS):
        sureness, wrong = it.rows(rng, 300)
        logits = np.stack([sureness, np.zeros(300)], axis=1)
        known = calibrate_labels(logits, wrong.astype(np.int64))
        passes_once += any(
            Calibration(rows=n, temperature=1.0, gold=(), answers=((c, n, w),)).lowest_passing(0.1)
            is not None
            for c, n, w in known.answers
        )
    assert passes_once / DRAWS > 0.2
    assert abstaining(it, 300, 0.1, draws=DRAWS).broken <= 0.1 + LUCK


def test_abstaining_answers_most_rows_of_a_model_that_is_good_enough() -> None:
    good = next(it for it in HARD if "half as often" in it.name)
    assert abstaining(good, 1000, 0.1, draws=20).answered > 0.95
    perfect = next(it for it in HARD if it.name.startswith("perfect"))
    assert abstaining(perfect, 300, 0.1, draws=20).answered > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("it", HARD, ids=[it.name for it in HARD])
def test_sets_cover_as_requested_on_average(it: Sureness) -> None:
    found = coverages(it, 100, 0.9, draws=DRAWS)
    assert found.mean() >= 0.9 - 3 * 0.03 / DRAWS**0.5 - 0.003
