"""Opens a model for prediction."""

from __future__ import annotations

from pathlib import Path

from onelayer.base.errors import Place, UsageError
from onelayer.checkpoint.bundle import is_bundle, read_bundle
from onelayer.checkpoint.source import resolve
from onelayer.engines.registry import RUN_ENGINE, check_engine
from onelayer.prediction.from_bundle import open_bundle
from onelayer.prediction.predictor import Predictor


def load(model: str | Path, engine: str | None = None, threads: int | None = None) -> Predictor:
    """Open a fine-tuned model for prediction.

    Parameters
    ----------
    model
        A run, a bundle, a directory that transformers saved, or a name on the Hugging Face Hub.
    engine
        The engine of an exported model; by default the fastest one installed.
    threads
        The number of threads that compute; by default one for each processor.

    Returns
    -------
    Predictor
        The model, ready to predict.

    Raises
    ------
    CheckpointError
        For a directory that can't be read or has no output layer.
    UsageError
        For an engine that is unknown or can't run it.
    """
    check_engine(engine)
    folder = resolve(model)
    if is_bundle(folder):
        return open_bundle(read_bundle(folder), engine, threads)
    if engine not in (None, RUN_ENGINE):
        raise UsageError(
            f"--engine {engine}: {RUN_ENGINE} runs what was not exported",
            place=Place(folder),
            hint="export it first: onelayer export RUN",
        )
    # Imported here, because bundles are opened without torch.
    from onelayer.prediction.from_run import predictor_of

    return predictor_of(folder, threads)
