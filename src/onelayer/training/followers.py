"""A process that follows rank 0 through a training: see ``ranks.py``."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onelayer.base.errors import FirstProcessFailedError, UsageError
from onelayer.recipe import Recipe
from onelayer.training.fit import Fit
from onelayer.training.plan import Plan
from onelayer.training.ranks import (
    Finished,
    NewFit,
    NewState,
    Planned,
    Ranks,
    Step,
)


def follow(ranks: Ranks, make_plan: Callable[[], Plan]) -> Path:
    """Makes the steps that rank 0 makes, until it is finished. Returns the run's directory.

    Parameters
    ----------
    ranks
        The processes of the training.
    make_plan
        Reads the files, as rank 0 does before.

    Raises
    ------
    FirstProcessFailedError
        If rank 0 has failed.
    UsageError
        If this process reads other files or options than rank 0.
    """
    plan: Plan | None = None
    fit: Fit | None = None
    with _deaf_to_signals():
        while True:
            match ranks.receive():
                case Planned(identity):
                    plan = make_plan()
                    if plan.identity != identity:
                        reason = f"rank {ranks.rank} got other files or options than rank 0"
                        raise UsageError(reason, hint="give all processes the same command")
                case NewFit(recipe, attempt):
                    fit = None  # two models may not fit into memory
                    assert plan is not None
                    fit = Fit(plan.with_recipe(Recipe.from_json(recipe)), attempt, ranks)
                case NewState() as described:
                    assert fit is not None
                    fit.load_state_dict(ranks.receive_state(described))
                case Step(step):
                    assert fit is not None
                    fit.learn(step)
                case Finished(path):
                    if path is None:
                        raise FirstProcessFailedError("rank 0 has failed")
                    return path


@contextmanager
def _deaf_to_signals() -> Iterator[None]:
    """SIGINT and SIGTERM reach all processes, but rank 0 decides when to stop."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
