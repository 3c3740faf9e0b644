"""Opens what was exported for prediction, in one of the engines that run it here. No torch."""

from __future__ import annotations

from onelayer.base.errors import UsageError
from onelayer.checkpoint.bundle import Bundle
from onelayer.engines.available import engines
from onelayer.engines.choose import quickest
from onelayer.prediction.predictor import Predictor


def open_bundle(bundle: Bundle, engine: str | None = None) -> Predictor:
    """With the engine of that name, by default the quickest here. Raises UsageError where it can't
    be had."""
    here = engines(bundle)
    if engine is not None and engine not in here:
        raise UsageError(
            f"no engine {engine!r} for this bundle here", hint=f"there are {', '.join(here)}"
        )
    if not here:
        raise UsageError("no engine for a bundle is installed", hint="pip install onnxruntime")
    return Predictor(
        task=bundle.task,
        tokenizer=bundle.tokenizer,
        engine=here[engine](bundle) if engine is not None else quickest(bundle, here),
        layout=bundle.layout,
        path=bundle.folder,
        info=bundle.info,
    )
