"""The interface of what computes logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from onelayer.checkpoint.bundle import Bundle
    from onelayer.tasks.logits import Logits
    from onelayer.tokens.encodings import Encodings


class Engine(Protocol):
    """Turns encodings into logits."""

    @property
    def name(self) -> str:
        """The engine's key in the registry; ``torch`` for a run's."""
        ...

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) fp32 logits, in the order of the R reads of the encodings."""
        ...


class EngineKind(Protocol):
    """A class of engines that run exported models; its module must be importable without its
    package."""

    @property
    def title(self) -> str:
        """Its name for people."""
        ...

    @property
    def package(self) -> str | None:
        """The package on PyPI that does the work; None for our own code."""
        ...

    def why_not(self, bundle: Bundle) -> str | None:
        """Why it can't run this bundle on this machine; None where it can."""
        ...

    def of_bundle(self, bundle: Bundle) -> Engine:
        """Opens the bundle. Raises CheckpointError where the engine refuses its files."""
        ...
