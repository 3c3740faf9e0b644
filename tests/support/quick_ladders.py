"""Makes ladders of tiny models quick: few draws, lessons and rounds, and no reports of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import pytest

from onelayer.checkpoint.bundle import Bundle
from onelayer.engines.engine import Engine
from onelayer.engines.registry import ENGINES, Make
from onelayer.exporting import export, parity, speed
from onelayer.metrics import clearly_better, intervals, paired_differences
from onelayer.prediction import from_bundle
from onelayer.shrinking import lesson_texts, measuring
from onelayer.tasks import pooling
from onelayer.training import finetune, run_record


def first_engine(bundle: Bundle, makes: Mapping[str, Make]) -> Engine:
    """A bundle in the engine that is expected to be fastest, unmeasured."""
    return next(iter(makes.values()))(bundle)


@contextmanager
def quick_ladders(lesson_tokens: int = 400) -> Iterator[None]:
    """What is made in fewer rounds has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        few = partial(paired_differences, n_resamples=20)
        patch.setattr(parity, "paired_differences", few)
        patch.setattr(measuring, "paired_differences", partial(few, n_permutations=20))
        patch.setattr(measuring, "intervals", partial(intervals, n_resamples=20))
        patch.setattr(measuring, "SECONDS", 0.0)
        patch.setattr(speed, "ROUNDS", 1)
        patch.setattr(speed, "MOST_ROUNDS", 1)
        patch.setattr(speed, "ALONE", 1)
        patch.setattr(lesson_texts, "LESSON_TOKENS", lesson_tokens)
        patch.setattr(finetune, "draw_report", lambda *_: None)
        patch.setattr(run_record, "intervals", partial(intervals, n_resamples=20))
        patch.setattr(pooling, "clearly_better", partial(clearly_better, n_resamples=5))
        # Compiling for OpenVINO takes a third of the time, and measuring engines the next part.
        patch.delitem(ENGINES, "openvino")
        patch.setattr(from_bundle, "fastest_engine", first_engine)
        # Which graph a bundle gets hangs on the clock otherwise.
        patch.setattr(export, "work", lambda graphs, _: dict.fromkeys(graphs, 1.0))
        yield
