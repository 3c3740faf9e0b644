"""Makes ``report.html`` for a run and a labelled file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from onelayer.base.disk import rewrite
from onelayer.evaluation.evaluate import labelled_rows
from onelayer.evaluation.report.document import page
from onelayer.evaluation.report.gather import facts_of
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns

NAME = "report.html"


def report_file(
    run: str | Path, file: str | Path, out: Path, columns: Columns, say: Callable[[str], None]
) -> None:
    """A report of a model on the rows of a labelled file, which is read as a stream."""
    predictor = load(run)
    rows = labelled_rows(predictor, file, columns, say)
    write_report(predictor, rows, Path(file).name, out)


def write_report(predictor: Predictor, rows: Iterable[Any], file: str, out: Path) -> None:
    """Writes a report whole or not at all. Raises OneLayerError where the disk refuses."""
    rewrite(out, page(facts_of(predictor, rows, file, _seconds(predictor.path))))


def _seconds(run: Path | None) -> Sequence[float]:
    """What each training step took, where the run has written it down."""
    try:
        timing = json.loads(((run or Path()) / "timing.json").read_text(encoding="utf-8"))
        return [float(seconds) for seconds in timing["seconds"]]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
