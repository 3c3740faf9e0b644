"""What held-out rows tell of a classifier's probabilities, and what can be promised by it.

Split conformal prediction (Vovk et al. 2005; the sets are those of Sadinle, Lei and Wasserman 2019)
and selective classification (Geifman and El-Yaniv 2017) hold for new rows that are exchangeable
with the calibration rows: drawn from the same source, independently of the model. These are the dev
rows; or where training cross-validates, all rows, each with the logits of a model that was not
trained on it. The kept model has learned from more rows, so the promises then hold about as well as
the models are alike (cross-conformal prediction; Vovk 2015), without the proof.
``benchmarks/quality/guarantees.py`` simulates both promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onelayer.base.errors import UsageError
from onelayer.metrics import Bools, Floats, Ints
from onelayer.tasks.logits import Logits, sigmoid, softmax

FEWEST_ROWS = 50
"""From fewer dev rows than these nothing is promised."""
CERTAINTY = 0.9
"""In how many of all dev sets the bound on the error among answers holds, at least."""
MAX_STARTS = 3
"""Thresholds at which the search for the lowest one starts with a part of 1 - ``CERTAINTY``. With
more, each part is smaller; with one, a single error among the surest rows ends the search."""
ROWS_PER_START = 4
"""By this factor the rows of one start exceed those of the one before, at least."""
MOST_ROWS_NEEDED = 100_000
"""Up to as many dev rows a refusal says how many would do."""
HOTTEST = 10.0
PRIOR = 20
"""Measured on goemotions: 300 to 2,500 dev rows, against 2 to 50 and other ways to be careful."""
QUANTILES = 500
ANSWERS = 100
FOLDS = 5
"""Parts of the dev rows in cross-fitting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """All that is kept of the dev rows: some hundred numbers."""

    rows: int
    temperature: float
    """Logits are divided by it before they become probabilities (Guo et al. 2017)."""
    gold: tuple[float, ...]
    """The probability of what is gold, of a row's several labels the least likely one's: rising,
    at most ``QUANTILES`` of the rows."""
    answers: tuple[tuple[float, int, int], ...] = ()
    """A confidence, how many rows have it or more, and how many of those are wrong: falling, at
    most ``ANSWERS``. Empty where a row has several labels."""

    def least_in_set(self, coverage: float) -> float:
        """The probability from which a label is in the set, such that a new row's set holds all its
        gold labels with the chance ``coverage`` or a higher one. The chance is over dev sets and
        new rows together: a single dev set of n rows covers more or less, by a standard deviation
        of about sqrt(coverage (1 - coverage) / n). Raises UsageError."""
        self._check("coverage", coverage)
        # Of n + 1 rows in any order, the new one is among the k least likely with chance k/(n+1).
        k = self.rows + 1 - math.ceil((self.rows + 1) * coverage - 1e-9)
        if k == 0:
            most = self.rows / (self.rows + 1)
            raise UsageError(
                f"--coverage {coverage:g}: {self.rows} calibration rows are too few for sets that "
                "leave anything out",
                hint=f"up to {math.floor(most * 1000) / 1000:g}, or train with "
                f"{math.ceil(coverage / (1 - coverage) - 1e-9):,} calibration rows",
            )
        kept = _ranks(self.rows, QUANTILES)
        return self.gold[int(np.searchsorted(kept, k, side="right")) - 1]

    def least_confidence(self, error: float) -> float:
        """The confidence from which a row is answered, such that in at least ``CERTAINTY`` of all
        dev sets at most the share ``error`` of new answers is wrong. Raises UsageError.

        Many thresholds are looked at, and the lowest good one is taken. To choose it by a bound
        that holds for one threshold breaks the promise for up to 4 in 10 dev sets. So thresholds
        are tested in a fixed order, from the strictest down, and the search ends at the first that
        fails: then only the first threshold that is too low in truth can break the promise
        (fixed-sequence testing; Angelopoulos et al. 2021, "Learn then Test", section 4.2). So that
        one error among the surest rows doesn't end it, there are up to ``MAX_STARTS`` starts, fixed
        by ``error`` and the number of rows, which share 1 - ``CERTAINTY``; what a passed threshold
        had is passed on to the next one (the fallback procedure of Wiens 2003; Wiens and Dmitrienko
        2005 show that it holds however the tests depend on each other).
        """
        self._check("abstain", error)
        found = self.lowest_passing(error)
        if found is None:
            raise UsageError(
                f"--abstain {error:g}: the {self.rows} calibration rows can't guarantee so low an "
                "error, even with few answers",
                hint=self._what_would_do(error),
            )
        return found

    def lowest_passing(self, error: float) -> float | None:
        """The last threshold of the fixed sequence that passes; None if none does."""
        starts = _starts(self.rows, error)
        doubt, passed = 0.0, None
        reached = 0
        for confidence, n, wrong in self.answers:
            while reached < len(starts) and n >= starts[reached]:
                doubt += (1 - CERTAINTY) / len(starts)
                reached += 1
            if doubt and error_bound(wrong, n, 1 - doubt) <= error:
                passed = confidence
            else:
                doubt = 0.0
        return passed

    def _what_would_do(self, error: float) -> str:
        """The lowest error that these rows can guarantee, and how many rows could guarantee
        ``error``, if they were like these."""
        thousandths = next(
            (i for i in range(math.ceil(error * 1000), 1000) if self.lowest_passing(i / 1000)),
            None,
        )
        here = "" if thousandths is None else f"{thousandths / 1000:g} or more works here; "
        more = [
            rows
            for factor in (1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500)
            if (rows := round(self.rows * factor)) <= MOST_ROWS_NEEDED
            and self._grown(factor).lowest_passing(error) is not None
        ]
        if more:
            about = math.ceil(float(f"{more[0]:.2g}"))
            return f"{here}about {about:,} calibration rows like these would do"
        why = "even the surest answers are wrong too often"
        return f"{here}more calibration rows alone don't help: {why}"

    def _grown(self, factor: float) -> Calibration:
        """As if there were more rows, with the same shares of errors."""
        more = tuple((c, round(n * factor), round(wrong * factor)) for c, n, wrong in self.answers)
        return replace(self, rows=round(self.rows * factor), answers=more)

    def _check(self, flag: str, share: float) -> None:
        if not 0 < share < 1:
            raise UsageError(f"--{flag} is a share between 0 and 1, not {share:g}")
        if self.rows < FEWEST_ROWS:
            raise UsageError(
                f"--{flag}: {self.rows} calibration rows are too few to promise anything",
                hint=f"train with {FEWEST_ROWS} or more",
            )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        return cls(
            rows=values["rows"],
            temperature=values["temperature"],
            gold=tuple(values["gold"]),
            answers=tuple((c, n, wrong) for c, n, wrong in values["answers"]),
        )


def calibrate_labels(logits: Logits, gold: Ints) -> Calibration:
    """From (N, L) logits of N rows and their (N,) label ids."""
    temperature = fit_temperature(logits, gold)
    p = softmax(logits / temperature)
    return Calibration(
        rows=len(p),
        temperature=temperature,
        gold=_quantiles(p[np.arange(len(p)), gold]),
        answers=_answers(p.max(axis=1), p.argmax(axis=1) != gold),
    )


def calibrate_sets(logits: Logits, gold: Bools) -> Calibration:
    """From (N, L) logits of N rows and the (N, L) labels that each has, each label by itself."""
    # A sigmoid is the softmax of a logit and 0.
    pairs = np.stack([np.zeros(logits.size), logits.ravel()], axis=1)
    temperature = fit_temperature(pairs, gold.ravel().astype(np.int64))
    p = sigmoid(logits / temperature)
    return Calibration(
        rows=len(p),
        temperature=temperature,
        gold=_quantiles(np.where(gold, p, 1.0).min(axis=1)),
    )


def fit_temperature(logits: Logits, gold: Ints) -> float:
    """The temperature of least log loss for (N, C) logits and (N,) class ids, 0.1 to 10. Where a
    row has fewer classes than others, its logits end with -inf.

    Two terms hold it where rows are few, and vanish where they are many. A row's target leaves
    1/(N + 2) to all classes in equal parts, much as Platt's (1999): where every dev row is right,
    the loss alone would want a temperature of 0. And the temperature's logarithm is held to be
    standard normal beforehand: a handful of rows does not take it far from 1.
    """
    z = np.asarray(logits, dtype=np.float64)
    z = z - z[np.arange(len(z)), gold][:, None]
    real = np.isfinite(z)
    finite = np.where(real, z, 0.0)
    wanted = float((finite.sum(axis=1) / real.sum(axis=1)).sum()) / (len(z) + 2)

    def slope(log_beta: float) -> float:
        """Of the loss by the logarithm of the inverse temperature."""
        beta = math.exp(log_beta)
        return beta * (float((softmax(beta * z) * finite).sum()) - wanted) + log_beta

    return math.exp(-_crossing(slope, -math.log(HOTTEST), math.log(HOTTEST)))


def best_thresholds(p: Floats, gold: Bools) -> tuple[float, ...]:
    """For each label the threshold with the best F1, given (N, L) probabilities and the (N, L)
    labels that rows have; the labels' mean F1 is the macro F1.

    Few dev rows have a rare label, and the best threshold for those few is chance. So each label's
    counts begin with ``PRIOR`` occurrences in which it does as all labels together do: a rare
    label gets about the threshold that is best for all, a frequent one its own.
    """
    if not gold.any():
        return tuple(0.5 for _ in gold.T)
    share = PRIOR / gold.sum()
    everything, true = np.sort(p.ravel()), np.sort(p[gold])
    found = []
    for q, g in zip(p.T, gold.T, strict=True):
        order = np.argsort(-q, kind="stable")
        falling, right = q[order], np.cumsum(g[order])
        between = (falling + np.append(falling[1:], 0.0)) / 2
        chosen = np.arange(1, len(q) + 1)
        right_of_all = len(true) - np.searchsorted(true, between)
        chosen_of_all = len(everything) - np.searchsorted(everything, between)
        f1 = (right + share * right_of_all) / (
            chosen + g.sum() + share * (chosen_of_all + len(true))
        )
        f1[falling == np.append(falling[1:], -1.0)] = 0.0  # no threshold parts equals
        found.append(float(between[f1.argmax()]))
    return tuple(found)


def _starts(rows: int, error: float) -> list[int]:
    """The numbers of answered rows, rising, from which on thresholds are tested: from the fewest
    that pass without an error, to all rows."""
    fewest = _fewest_rows(error, 1)
    n = 1 + int(math.log(max(1.0, rows / fewest), ROWS_PER_START))
    n = min(n, MAX_STARTS)
    first = min(rows, _fewest_rows(error, n))
    return [round(first * (rows / first) ** (i / max(1, n - 1))) for i in range(n)]


def _fewest_rows(error: float, starts: int) -> int:
    """With fewer rows than these, not even all being right passes at one of ``starts`` starts."""
    return math.ceil(math.log((1 - CERTAINTY) / starts) / math.log1p(-error))


def other_folds(n: int) -> Iterator[tuple[Bools, Bools]]:
    """(n,) Which of n rows to tune on, and which to score by it: each row once. Nothing for so few
    rows that a fold could have none."""
    if n >= 2 * FOLDS:
        for fold in range(FOLDS):
            held_out = np.arange(n) % FOLDS == fold
            yield ~held_out, held_out


def cross_fitted_sets(p: Floats, gold: Bools) -> Bools | None:
    """(N, L) Which labels rows get by the ``best_thresholds`` of other rows; None for few rows."""
    chosen: Bools = np.zeros_like(gold)
    folds = list(other_folds(len(p)))
    for others, own in folds:
        chosen[own] = p[own] >= np.asarray(best_thresholds(p[others], gold[others]))
    return chosen if folds else None


def error_bound(wrong: int, n: int, certainty: float = CERTAINTY) -> float:
    """The least share of errors that makes ``wrong`` or fewer among ``n`` as unlikely as
    1 - ``certainty`` (Clopper and Pearson 1934, upper end)."""
    if wrong >= n:
        return 1.0
    k = np.arange(1, wrong + 1)
    log_ways = np.concatenate([[0.0], np.cumsum(np.log((n + 1 - k) / k))])
    k = np.arange(wrong + 1)

    def excess(share: float) -> float:
        log_chances = log_ways + k * math.log(share) + (n - k) * math.log1p(-share)
        return (1 - certainty) - float(np.exp(log_chances).sum())

    return _crossing(excess, 1e-12, 1 - 1e-12)


def _crossing(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses 0 between two points, or the nearer of them."""
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def _ranks(n: int, most: int) -> Ints:
    """Up to ``most`` of the ranks 1 to n, evenly spread."""
    return np.unique(np.linspace(1, n, min(n, most)).astype(np.int64))


def _quantiles(values: Floats) -> tuple[float, ...]:
    kept = _ranks(len(values), QUANTILES) - 1
    return tuple(float(value) for value in np.sort(values)[kept])


def _answers(confidence: Floats, wrong: Bools) -> tuple[tuple[float, int, int], ...]:
    order = np.argsort(-confidence, kind="stable")
    falling, errors = -confidence[order], np.cumsum(wrong[order])
    # Rows of equal confidence are answered together.
    n = np.unique(np.searchsorted(falling, falling[_ranks(len(order), ANSWERS) - 1], side="right"))
    return tuple(zip((-falling[n - 1]).tolist(), n.tolist(), errors[n - 1].tolist(), strict=True))
