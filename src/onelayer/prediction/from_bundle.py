"""Opens a bundle for prediction, without torch."""

from __future__ import annotations

from onelayer.base.errors import UsageError
from onelayer.checkpoint.bundle import Bundle
from onelayer.engines.fastest import fastest_engine
from onelayer.engines.registry import engine_named, engines_for
from onelayer.prediction.predictor import Predictor


def open_bundle(bundle: Bundle, engine: str | None = None, threads: int | None = None) -> Predictor:
    """The model of a bundle in an engine, by default the fastest one installed, on this number of
    threads, by default one for each processor. Raises UsageError if the engine can't run it, or
    none is installed."""
    if engine is not None:
        opened = engine_named(engine, bundle, threads)(bundle)
    elif here := engines_for(bundle, threads):
        opened = fastest_engine(bundle, here)
    else:
        raise UsageError("no engine for a bundle is installed", hint="pip install onnxruntime")
    return Predictor(
        task=bundle.task,
        tokenizer=bundle.tokenizer,
        engine=opened,
        layout=bundle.layout,
        path=bundle.folder,
        record=bundle.record,
    )
