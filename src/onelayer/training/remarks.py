"""Remarks: what training tells the user in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from onelayer.checkpoint.build import Built
from onelayer.prediction.predictor import Predictor
from onelayer.tokens.encodings import Cut, Encodings
from onelayer.training.progress import Reporter


class Remarks:
    """Gives remarks to a reporter, and keeps them for the record of the run."""

    def __init__(self, reporter: Reporter, told: Iterable[str] = ()) -> None:
        self.reporter = reporter
        self.told = list(told)

    def say(self, remark: str) -> None:
        self.told.append(remark)
        self.reporter.say(remark)

    def say_all(self, remarks: Iterable[str]) -> None:
        for remark in remarks:
            self.say(remark)


def remarks_on_rows(encodings: Encodings) -> Iterator[str]:
    """How long training rows are read."""
    if encodings.n_examples > len(encodings):
        yield f"{len(encodings):,} rows are read in {encodings.n_examples:,} windows"
    if encodings.cut.tokens:
        yield f"warning: {encodings.cut}"


def remarks_on_model(built: Built, enlarged: str | None) -> Iterator[str]:
    """Which parameters are pretrained and which are new, and whether vectors are enlarged."""
    head = built.model.head
    total = sum(p.numel() for p in built.model.parameters())
    if built.kept_head:
        yield f"{total:,} parameters; the checkpoint's output layer has the same labels: kept"
    else:
        new = sum(p.numel() for p in head.parameters())
        shape = f"{head.in_features} → {head.out_features}"
        yield f"{total:,} parameters, {new:,} of them in one new layer ({shape})"
    if not built.kept_pooler:
        yield "the checkpoint has no pooler: a new one is initialized"
    if built.left_out:
        yield f"left out, as only pretraining used it: {len(built.left_out)} tensors"
    if built.other_head:
        yield "the checkpoint's own output layer is for other labels: left out"
    if enlarged is not None:
        yield enlarged


def remarks_on_held_out(predictor: Predictor, dev: Sequence[Any]) -> Iterator[str]:
    """What the rows that scored a model can't tell, what they decided about decoding, and how much
    of the dev rows the length limit cuts off."""
    task, record = predictor.task, predictor.record
    if record is not None and record.dev is not None:
        where = "in cross-validation" if record.dev.folds else "on dev"
        yield from (f"warning: {where} {caveat}" for caveat in record.dev.caveats)
    if task.decided_on_dev is None:
        return
    yield task.decided_on_dev
    cut = task.encode(dev, predictor.tokenizer, labelled=False).cut if dev else Cut()
    if cut.tokens:
        yield f"warning: on dev {cut}"
