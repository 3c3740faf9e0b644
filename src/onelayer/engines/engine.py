"""What computes the logits: one narrow interface, whatever is behind it."""

from __future__ import annotations

from typing import Protocol

from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings


class Engine(Protocol):
    """Anything that turns encodings into (R, C) logits, in the order of their reads."""

    @property
    def name(self) -> str:
        """``torch``, ``onnxruntime``, ``openvino`` or ``native``."""
        ...

    def logits(self, encodings: Encodings) -> Logits: ...
