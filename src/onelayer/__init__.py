"""Fine-tune BERT on a labelled file: one pretrained encoder, one new fully connected layer."""

from __future__ import annotations

from importlib import import_module  # noqa: TID251 - of the names below alone
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from onelayer.api import (
        compare,
        evaluate,
        export,
        inspect,
        models,
        predict,
        report,
    )
    from onelayer.base.errors import CheckpointError, DataError, OneLayerError, UsageError
    from onelayer.converting.convert import convert
    from onelayer.inspection.learning_curve import curve
    from onelayer.labelling.next_rows import next_rows
    from onelayer.prediction.load import load
    from onelayer.prediction.predict_data import Predictions
    from onelayer.prediction.predictor import Predictor
    from onelayer.recipe import Recipe
    from onelayer.serving.serve import serve
    from onelayer.shrinking.shrink import shrink
    from onelayer.tasks.answer.answer_rows import Answer
    from onelayer.tasks.choose.choose import Choice
    from onelayer.tasks.classify.class_predictions import Label, Labels
    from onelayer.tasks.regress.regress import Value
    from onelayer.tasks.tag.tag_rows import Entity, Tagged
    from onelayer.training.finetune import finetune

__all__ = [
    "Answer",
    "CheckpointError",
    "Choice",
    "DataError",
    "Entity",
    "Label",
    "Labels",
    "OneLayerError",
    "Predictions",
    "Predictor",
    "Recipe",
    "Tagged",
    "UsageError",
    "Value",
    "compare",
    "convert",
    "curve",
    "evaluate",
    "export",
    "finetune",
    "inspect",
    "load",
    "models",
    "next_rows",
    "predict",
    "report",
    "serve",
    "shrink",
]

# Loaded on first use: `import onelayer` and `onelayer --help` don't wait for torch.
_HOMES = {
    "onelayer.base.errors": ("CheckpointError", "DataError", "OneLayerError", "UsageError"),
    "onelayer.recipe": ("Recipe",),
    "onelayer.converting.convert": ("convert",),
    "onelayer.inspection.learning_curve": ("curve",),
    "onelayer.labelling.next_rows": ("next_rows",),
    "onelayer.prediction.load": ("load",),
    "onelayer.prediction.predict_data": ("Predictions",),
    "onelayer.prediction.predictor": ("Predictor",),
    "onelayer.training.finetune": ("finetune",),
    "onelayer.tasks.answer.answer_rows": ("Answer",),
    "onelayer.tasks.choose.choose": ("Choice",),
    "onelayer.tasks.classify.class_predictions": ("Label", "Labels"),
    "onelayer.tasks.regress.regress": ("Value",),
    "onelayer.tasks.tag.tag_rows": ("Entity", "Tagged"),
    "onelayer.api": (
        "compare",
        "evaluate",
        "export",
        "inspect",
        "models",
        "predict",
        "report",
    ),
    "onelayer.serving.serve": ("serve",),
    "onelayer.shrinking.shrink": ("shrink",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'onelayer' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
