"""Training that doesn't look at dev, as peers train: the last epoch's model is kept."""

from __future__ import annotations

from onelayer.training.run_record import HeldOutResult
from onelayer.training.trainer import Trainer


def score_nothing(trainer: Trainer) -> HeldOutResult:
    """In place of `Trainer.score_dev`. Of equal scores the last step's is kept, and without a look
    at the logits no run is restarted."""
    return HeldOutResult(trainer.task.without_unit(), {trainer.task.metric: 0.0}, scorer=None)
