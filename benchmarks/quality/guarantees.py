"""How often are --abstain and --coverage broken? Dev sets are drawn from known distributions.

    python -m benchmarks.quality.guarantees [--draws 200]

Each distribution says how sure a classifier is and how often it is right when it is that sure, so
the true error above a threshold is known. For each of many drawn dev sets the threshold is chosen
as ``predict`` does; the share of dev sets whose true error is above the requested one must stay
below 10 %, and the mean coverage of sets must not fall short. Takes a minute.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onelayer.tasks.calibration import CERTAINTY, Calibration, calibrate_labels, calibrate_sets
from onelayer.tasks.logits import sigmoid

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ROWS = (60, 200, 1000)
COVERAGES = (0.9,)
ERRORS = (0.1,)
KNOWN_ROWS = 200_000
"""Rows from which true errors and coverages are computed."""
SEED = 20


@dataclass(frozen=True)
class Sureness:
    """A classifier of two labels: how sure it is, and how often it is wrong when it is that sure.
    Its logits are (sureness, 0), and the first label is right where it isn't wrong."""

    name: str
    draw: Callable[[np.random.Generator, int], Floats]
    error: Callable[[Floats], Floats]
    """Of each sureness (N,), the chance to be wrong."""

    def rows(self, rng: np.random.Generator, n: int) -> tuple[Floats, Bools]:
        """The sureness of ``n`` rows and whether each is wrong, (n,) each."""
        sureness = self.draw(rng, n)
        return sureness, rng.random(n) < self.error(sureness)

    @cached_property
    def known(self) -> tuple[Floats, Floats, Floats]:
        """Many rows, the surest first: the sureness, the error among rows that are as sure or
        surer; and the logit of the right label, rising. (KNOWN_ROWS,) each."""
        sureness = np.sort(self.draw(np.random.default_rng(SEED), KNOWN_ROWS))[::-1]
        error = self.error(sureness)
        among = np.cumsum(error) / np.arange(1, KNOWN_ROWS + 1)
        wrong = np.random.default_rng(SEED + 1).random(KNOWN_ROWS) < error
        return sureness, among, np.sort(np.where(wrong, -sureness, sureness))

    def true_error(self, threshold: float) -> tuple[float, float]:
        """The error among answers from a sureness on, and the share of rows that are answered."""
        sureness, among, _ = self.known
        n = int(np.searchsorted(-sureness, -threshold + 1e-9, side="right"))
        return (float(among[n - 1]) if n else 0.0), n / KNOWN_ROWS


def distributions(error: float) -> list[Sureness]:
    """How models are, and how they could be at worst: where a promise of ``error`` is hardest."""

    def normal(rng: np.random.Generator, n: int) -> Floats:
        return np.abs(rng.normal(0.0, 3.0, n))

    def in_steps(rng: np.random.Generator, n: int) -> Floats:
        return rng.choice([0.5, 1.5, 2.5, 4.0], n)

    return [
        Sureness("says nothing, just too often wrong", normal, lambda z: 0 * z + 1.02 * error),
        Sureness("says nothing, half as often wrong", normal, lambda z: 0 * z + error / 2),
        Sureness("honest", normal, lambda z: sigmoid(-z)),
        Sureness("three times too sure", normal, lambda z: sigmoid(-z / 3)),
        Sureness("perfect: wrong below a point", normal, lambda z: (z < 1.0).astype(float)),
        Sureness("the surest are the worst", normal, lambda z: np.minimum(0.5, error * z / 2)),
        Sureness("four steps (ties)", in_steps, lambda z: sigmoid(-z)),
        Sureness("all equally sure", lambda _, n: np.full(n, 2.0), lambda z: 0 * z + 1.02 * error),
    ]


@dataclass(frozen=True)
class Kept:
    """How a promise was kept over many dev sets."""

    broken: float
    """The share of dev sets whose threshold leads to more errors than requested."""
    answered: float
    """The mean share of rows that are answered."""
    refused: float
    """The share of dev sets that can't promise it."""


def abstaining(it: Sureness, rows: int, error: float, *, draws: int, seed: int = SEED) -> Kept:
    """Of ``draws`` dev sets of ``rows`` rows, how many break a promise of ``error``."""
    rng = np.random.default_rng(seed)
    broken = refused = 0
    answered = 0.0
    for _ in range(draws):
        sureness, wrong = it.rows(rng, rows)
        known = calibrate_labels(_logits(sureness), wrong.astype(np.int64))
        confidence = known.lowest_passing(error)
        if confidence is None:
            refused += 1
            continue
        true, share = it.true_error(_sureness(confidence, known))
        broken += true > error
        answered += share
    return Kept(broken / draws, answered / draws, refused / draws)


def after_choosing(
    n: int, alike: float, rows: int, error: float, *, draws: int
) -> tuple[float, float]:
    """The same where the checkpoint is the most accurate of ``n`` on the dev rows themselves. In
    truth all of them are wrong for ``1.02 * error`` of the rows, whatever their sureness, and
    ``alike`` is the correlation of what decides whether two of them are wrong. Returns the share of
    broken promises, and the mean error on dev minus the true one."""
    rng = np.random.default_rng(SEED)
    drawn = rng.normal(size=1_000_000)
    level = float(np.quantile(drawn, 1.02 * error))
    broken = 0
    short = 0.0
    for _ in range(draws):
        shared, own = rng.normal(size=rows), rng.normal(size=(n, rows))
        wrongs = np.sqrt(alike) * shared + np.sqrt(1 - alike) * own < level
        wrong = wrongs[wrongs.sum(axis=1).argmin()]
        known = calibrate_labels(_logits(np.abs(rng.normal(0.0, 3.0, rows))), wrong.astype(int))
        broken += known.lowest_passing(error) is not None
        # Of new rows the chance to be right is the same for all.
        short += float(wrong.mean()) - 1.02 * error
    return broken / draws, short / draws


def coverages(it: Sureness, rows: int, coverage: float, *, draws: int, seed: int = SEED) -> Floats:
    """The true coverage of the sets that each of ``draws`` dev sets leads to, (draws,)."""
    rng = np.random.default_rng(seed)
    found = []
    gold = it.known[2]
    for _ in range(draws):
        sureness, wrong = it.rows(rng, rows)
        known = calibrate_labels(_logits(sureness), wrong.astype(np.int64))
        least = _sureness(known.least_in_set(coverage), known)
        found.append(1 - np.searchsorted(gold, least - 1e-9) / KNOWN_ROWS)
    return np.asarray(found)


def set_coverages(rows: int, coverage: float, *, draws: int) -> Floats:
    """The same for rows of several labels, four of them, which are not independent."""

    def drawn(rng: np.random.Generator, n: int) -> tuple[Floats, Bools]:
        logits = rng.normal(-1.0, 2.0, (n, 4)) + rng.normal(0.0, 1.0, (n, 1))
        return 2 * logits, rng.random((n, 4)) < sigmoid(logits)

    rng = np.random.default_rng(SEED)
    new, new_gold = drawn(rng, KNOWN_ROWS // 4)
    found = []
    for _ in range(draws):
        known = calibrate_sets(*drawn(rng, rows))
        p = sigmoid(new / known.temperature)
        least = np.where(new_gold, p, 1.0).min(axis=1)
        found.append(float(np.mean(least >= known.least_in_set(coverage))))
    return np.asarray(found)


def _logits(sureness: Floats) -> Floats:
    return np.stack([sureness, np.zeros_like(sureness)], axis=1)


def _sureness(p: float, known: Calibration) -> float:
    """The sureness whose probability at the fitted temperature is ``p``."""
    return known.temperature * float(np.log(p / (1 - p)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--draws", type=int, default=200)
    draws = parser.parse_args().draws

    print(f"Dev sets drawn: {draws} a line. Broken promises must stay below {1 - CERTAINTY:.0%}.\n")
    print("| what confidence tells | dev rows | --abstain | broken | refused | answered |")
    print("|---|---|---|---|---|---|")
    for error in ERRORS:
        for it in distributions(error):
            for rows in ROWS:
                kept = abstaining(it, rows, error, draws=draws)
                cells = f"{kept.broken:.1%} | {kept.refused:.0%} | {kept.answered:.0%}"
                print(f"| {it.name} | {rows:,} | {error:g} | {cells} |", flush=True)

    print("\n| checkpoints | alike | dev rows | --abstain | broken | dev error - true error |")
    print("|---|---|---|---|---|---|")
    for alike in (0.95, 0.8):
        for n in (1, 3, 10, 20):
            broken, short = after_choosing(n, alike, 400, 0.1, draws=draws)
            print(f"| {n} | {alike:g} | 400 | 0.1 | {broken:.1%} | {short:+.2%} |", flush=True)

    print("\n| what confidence tells | dev rows | --coverage | mean | 5 % of dev sets below |")
    print("|---|---|---|---|---|")
    for coverage in COVERAGES:
        for rows in ROWS:
            for it in distributions(0.1):
                found = coverages(it, rows, coverage, draws=draws)
                print(f"| {it.name} | {rows:,} | {coverage:g} | {_spread(found)} |", flush=True)
            found = set_coverages(rows, coverage, draws=max(20, draws // 5))
            print(
                f"| several labels a row | {rows:,} | {coverage:g} | {_spread(found)} |", flush=True
            )


def _spread(found: Floats) -> str:
    return f"{found.mean():.3f} | {np.quantile(found, 0.05):.3f}"


if __name__ == "__main__":
    main()
