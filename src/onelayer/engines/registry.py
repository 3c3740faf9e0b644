"""The registry of engines for exported models. Each engine has a file, and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from onelayer.base.errors import UsageError
from onelayer.engines.engine import EngineKind, JoinsEngines

if TYPE_CHECKING:
    from onelayer.checkpoint.bundle import Bundle
    from onelayer.engines.engine import Engine

Make = Callable[["Bundle"], "Engine"]

RUN_ENGINE = "torch"
"""The engine of models that were not exported. It isn't in ``ENGINES``, because it takes no
bundles."""


# Each entry imports its engine when called, so `onelayer --help` and servers with another engine
# don't wait for it.
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
"""Engines by name; the one that is expected to be fastest where it runs comes first."""


def engines_for(bundle: Bundle, threads: int | None = None) -> dict[str, Make]:
    """What opens a bundle, by the name of each engine that can run it, in ``ENGINES``' order.
    ``threads`` are as in `EngineKind.of_bundle`."""
    kinds = {name: entry() for name, entry in ENGINES.items()}
    return {
        name: _make(kind, threads) for name, kind in kinds.items() if kind.why_not(bundle) is None
    }


def engine_named(name: str, bundle: Bundle, threads: int | None = None) -> Make:
    """What opens a bundle in the named engine; ``threads`` are as in `EngineKind.of_bundle`. Raises
    UsageError with the reason if it can't."""
    check_engine(name)
    if name == RUN_ENGINE:
        reason: str | None = "it runs what was not exported"
    else:
        kind = ENGINES[name]()
        if (reason := kind.why_not(bundle)) is None:
            return _make(kind, threads)
    here = ", ".join(engines_for(bundle)) or "none"
    raise UsageError(f"no engine {name!r} for this bundle here: {reason}", hint=f"there are {here}")


def _make(kind: EngineKind, threads: int | None) -> Make:
    one = kind.of_bundle if threads is None else partial(kind.of_bundle, threads=threads)
    return partial(_opened, kind, one)


def _opened(kind: EngineKind, one: Make, bundle: Bundle) -> Engine:
    """Opens a bundle, by what opens the models in it one by one."""
    engine = one(bundle)
    if bundle.first is None:
        return engine
    from onelayer.engines.two_engines import TwoEngines

    assert bundle.export.first is not None, "the record of the model that answers first"
    join = kind.of_two if isinstance(kind, JoinsEngines) else TwoEngines
    return join(one(bundle.first), engine, bundle.export.first.margin)


def engine_names() -> tuple[str, ...]:
    """All names that ``--engine`` takes."""
    return (*ENGINES, RUN_ENGINE)


def check_engine(name: str | None) -> None:
    """Raises UsageError for an unknown engine; None stands for the fastest."""
    if name is not None and name not in engine_names():
        known = ", ".join(engine_names())
        raise UsageError(f"no engine is called {name!r:.80}", hint=f"known are {known}")


def title_of(name: str) -> str:
    """An engine's name as tables show it."""
    return "torch, the run" if name == RUN_ENGINE else ENGINES[name]().title
