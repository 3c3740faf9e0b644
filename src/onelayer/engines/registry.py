"""The engines that run what was exported: one file each, and its entry here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onelayer.base.errors import UsageError
from onelayer.engines.engine import EngineKind

if TYPE_CHECKING:
    from onelayer.checkpoint.bundle import Bundle
    from onelayer.engines.engine import Engine

Make = Callable[["Bundle"], "Engine"]

RUN_ENGINE = "torch"
"""What runs a model that was not exported. It takes no bundle, so that none needs it."""


# Each entry imports its engine when it is asked: `onelayer --help` and a server with another
# engine don't wait for it.
def _native() -> EngineKind:
    from onelayer.engines.native.native_engine import NativeEngine

    return NativeEngine


def _onnxruntime() -> EngineKind:
    from onelayer.engines.onnx_engine import OnnxEngine

    return OnnxEngine


def _openvino() -> EngineKind:
    from onelayer.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine


ENGINES: dict[str, Callable[[], EngineKind]] = {
    "native": _native,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}
"""By name; the one that is expected to be fastest where it can be had comes first."""


def engines_for(bundle: Bundle) -> dict[str, Make]:
    """By name, what opens this bundle here, in the order of ``ENGINES``."""
    kinds = {name: entry() for name, entry in ENGINES.items()}
    return {name: kind.of_bundle for name, kind in kinds.items() if kind.why_not(bundle) is None}


def engine_named(name: str, bundle: Bundle) -> Make:
    """What opens the bundle in one engine. Raises UsageError, which says why it can't."""
    check_engine(name)
    if name == RUN_ENGINE:
        reason: str | None = "it runs what was not exported"
    else:
        kind = ENGINES[name]()
        if (reason := kind.why_not(bundle)) is None:
            return kind.of_bundle
    here = ", ".join(engines_for(bundle)) or "none"
    raise UsageError(f"no engine {name!r} for this bundle here: {reason}", hint=f"there are {here}")


def engine_names() -> tuple[str, ...]:
    """All names that ``--engine`` takes."""
    return (*ENGINES, RUN_ENGINE)


def check_engine(name: str | None) -> None:
    """Raises UsageError for an unknown engine; None stands for the fastest."""
    if name is not None and name not in engine_names():
        known = ", ".join(engine_names())
        raise UsageError(f"no engine is called {name!r:.80}", hint=f"known are {known}")


def title_of(name: str) -> str:
    """An engine's name in tables for people."""
    return "torch, the run" if name == RUN_ENGINE else ENGINES[name]().title
