"""Writes ``report.html`` for a model and a labelled file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelayer.base.disk import check_output, rewrite
from onelayer.base.result import HtmlPage
from onelayer.base.wording import Say
from onelayer.data.in_memory import Source, source_name, source_path
from onelayer.evaluation.evaluate import labelled_rows
from onelayer.evaluation.report.document import page
from onelayer.evaluation.report.gather import facts_of
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns
from onelayer.tasks.protocol import Chunk

NAME = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ReportPage(HtmlPage):
    """A report that was written."""

    run: str
    file: str


def report_file(run: str | Path, file: Source, out: Path, columns: Columns, say: Say) -> ReportPage:
    """Writes a report on a model and a labelled file, which is read as a stream."""
    check_output(out)
    predictor = load(run)
    rows = labelled_rows(predictor, file, columns, say)
    write_report(predictor, rows, source_name(file), out)
    return ReportPage(run=str(run), file=source_path(file), out=str(out))


def write_report(
    predictor: Predictor,
    rows: Iterable[Any],
    file: str,
    out: Path,
    out_of_fold: Chunk[Any] | None = None,
) -> None:
    """Writes a report, atomically. ``out_of_fold`` has the rows with the logits of
    cross-validation; by default the model computes them. Raises OneLayerError if the file can't be
    written."""
    seconds = _seconds(predictor.path)
    rewrite(out, page(facts_of(predictor, rows, file, seconds, out_of_fold)))


def _seconds(run: Path | None) -> Sequence[float]:
    """The duration of each training step; empty if the run has no ``timing.json``."""
    try:
        timing = json.loads(((run or Path()) / "timing.json").read_text(encoding="utf-8"))
        return [float(seconds) for seconds in timing["seconds"]]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
