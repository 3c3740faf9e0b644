"""Opens a model for prediction."""

from __future__ import annotations

from pathlib import Path

from onelayer.base.errors import Place, UsageError
from onelayer.checkpoint.bundle import is_bundle, read_bundle
from onelayer.checkpoint.source import resolve
from onelayer.engines.registry import RUN_ENGINE, check_engine
from onelayer.prediction.from_bundle import open_bundle
from onelayer.prediction.predictor import Predictor


def load(model: str | Path, engine: str | None = None) -> Predictor:
    """A fine-tuned model, ready to predict: a run, a directory that transformers saved, or a bundle
    that was exported, in one of its engines.

    Raises UsageError for an engine that is unknown or can't run it, and CheckpointError for a
    directory that can't be read or has no output layer.
    """
    check_engine(engine)
    folder = resolve(model)
    if is_bundle(folder):
        return open_bundle(read_bundle(folder), engine)
    if engine not in (None, RUN_ENGINE):
        raise UsageError(
            f"--engine {engine}: {RUN_ENGINE} runs what was not exported",
            place=Place(folder),
            hint="export it first: onelayer export RUN",
        )
    # Not above: what was exported is opened where there is no torch.
    from onelayer.prediction.from_run import predictor_of

    return predictor_of(folder)
