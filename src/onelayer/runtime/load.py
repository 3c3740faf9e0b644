"""Opens a model for prediction."""

from __future__ import annotations

from pathlib import Path

from onelayer.checkpoint.source import resolve
from onelayer.runtime.predictor import Predictor


def load(model: str | Path) -> Predictor:
    """A fine-tuned model, ready to predict: a run, or a directory that transformers saved.

    Raises CheckpointError for a directory that can't be read or has no output layer.
    """
    # Not above: what was exported is opened where there is no torch.
    from onelayer.runtime.from_run import predictor_of

    return predictor_of(resolve(model))
