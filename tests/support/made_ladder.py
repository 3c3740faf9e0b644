"""A ladder with made-up figures, for tests of what is shown of one."""

from __future__ import annotations

from collections.abc import Sequence

from onelayer.checkpoint.export_record import Speed
from onelayer.shrinking.rung import Rung, RungScore
from onelayer.shrinking.shrunk import Shrunk, advice_on

FIGURES = [
    # name, MB, texts a second on one thread, points lost, p
    ("run", 90.9, 210.0, 0.0, 1.0),
    ("int8", 12.6, 905.0, 0.0, 0.93),
    ("3-layers", 7.2, 2443.0, 0.3, 0.47),
    ("2-layers", 5.4, 4253.0, 1.6, 0.012),
    ("1-layer", 3.6, 13575.0, 4.4, 0.0005),
    ("word-counts", 0.4, 61000.0, 7.3, 0.0005),
]
WHAT = {
    "run": "the run as it was trained, in fp32",
    "int8": "the run in 8 bits, with the pieces that its rows have",
    "word-counts": "TF-IDF and logistic regression, to compare with",
}


def score(lost: float, p: float, file: str = "dev.csv", rows: int = 872) -> RungScore:
    at = 0.869 - lost / 100
    return RungScore(
        rows=rows,
        file=file,
        metric="accuracy",
        score=at,
        interval=(at - 0.022, at + 0.021),
        lost=lost,
        lost_interval=(lost - 0.8, lost + 0.9),
        p=p,
    )


def rung(
    name: str, megabytes: float, speed: float, lost: float, p: float, *, test: bool = False
) -> Rung:
    return Rung(
        name=name,
        what=WHAT.get(name, f"{name.replace('-', ' ')} of the run, taught by it"),
        bytes=round(1e6 * megabytes),
        speeds={
            threads: Speed(
                latency_ms=1.3e3 / speed / times,
                texts_per_second=speed * times,
                tokens_per_second=22 * speed * times,
            )
            for threads, times in ((1, 1.0), (2, 1.8))
        },
        dev=score(lost, p),
        test=score(lost + 0.2, p, "test.csv", 1821) if test else None,
        model=None if name == "word-counts" else f"{name}-int8",
        run=None if name in ("run", "int8", "word-counts") else name,
        reference=name == "word-counts",
    )


def ladder(
    rungs: Sequence[Rung] | None = None,
    *,
    kept: str = "3-layers",
    budget: str | None = None,
    folder: str = "reviews-rungs",
    test: bool = False,
) -> Shrunk:
    rungs = rungs or [rung(*figures, test=test) for figures in FIGURES]
    return Shrunk(
        run="runs/reviews",
        folder=folder,
        baseline="int8",
        kept=kept,
        model="runs/reviews-small",
        rungs=tuple(rungs),
        budget=budget,
        advice=advice_on(rungs, kept, "int8", budget),
        machine="a processor, 2 of 2 cores",
        threads=2,
        versions={"python": "3.11", "onelayer": "0.1.0"},
    )
