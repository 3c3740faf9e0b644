"""Fine-tune BERT on a labelled file: one pretrained encoder, one new fully connected layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from onelayer.errors import CheckpointError, DataError, OneLayerError, UsageError
    from onelayer.recipe import Recipe
    from onelayer.runtime.load import load
    from onelayer.runtime.predictor import Predictor
    from onelayer.train.finetune import finetune

__all__ = [
    "CheckpointError",
    "DataError",
    "OneLayerError",
    "Predictor",
    "Recipe",
    "UsageError",
    "finetune",
    "load",
]

# Loaded on first use: `import onelayer` and `onelayer --help` don't wait for torch.
_HOMES = {
    "CheckpointError": "onelayer.errors",
    "DataError": "onelayer.errors",
    "OneLayerError": "onelayer.errors",
    "Predictor": "onelayer.runtime.predictor",
    "Recipe": "onelayer.recipe",
    "UsageError": "onelayer.errors",
    "finetune": "onelayer.train.finetune",
    "load": "onelayer.runtime.load",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'onelayer' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
