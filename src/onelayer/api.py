"""Every verb as a function. The command line calls these, with the same options.

What a function needs is imported when it is called: ``import onelayer`` waits for neither numpy nor
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO, Unpack

from onelayer.base.errors import Place, UsageError
from onelayer.base.result import Result, Table
from onelayer.recipe import ColumnNames, Columns

if TYPE_CHECKING:
    from onelayer.evaluation.compare import Comparison
    from onelayer.evaluation.evaluate import EvaluationResult
    from onelayer.exporting.export import Exported
    from onelayer.inspection.inspect import FileInspection, ModelInspection
    from onelayer.prediction.job import Watch
    from onelayer.prediction.predict_data import Predictions
    from onelayer.prediction.predictor import Predictor
    from onelayer.serving.limits import Limits
    from onelayer.training.progress import Reporter

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ReportPage(Result):
    """A report that was written."""

    run: str
    file: str
    out: str

    def parts(self) -> list[str | Table]:
        return [f"saved {self.out}"]


def _silent(remark: str) -> None:
    """Says nothing."""


def evaluate(
    run: str | Path,
    file: str | Path,
    *,
    coverage: float | None = None,
    abstain: float | None = None,
    engine: str | None = None,
    say: Say = _silent,
    **columns: Unpack[ColumnNames],
) -> EvaluationResult:
    """Score a model on a labelled file.

    Parameters
    ----------
    run
        A model directory.
    file
        A labelled file; columns as in training where it has them.
    coverage, abstain
        Guarantees to check, as shares of the rows from 0 to 1, for classify.
    engine
        What runs a bundle; by default the quickest one here.
    say
        Is called with remarks.
    columns
        Which column plays which role: ``text="review"``, and ``skip_bad``.

    Returns
    -------
    EvaluationResult
        Every metric with its 95 % interval, and a table by label where the task has labels.

    Raises
    ------
    DataError
        For a row that can't be used, unless ``skip_bad``.
    UsageError, CheckpointError
        For options that don't fit the model, and a model that can't be read.
    """
    from onelayer.evaluation.evaluate import evaluate_model

    return evaluate_model(
        run, file, Columns(**columns), say, coverage=coverage, abstain=abstain, engine=engine
    )


def predict(
    model: str | Path | Predictor,
    data: str | Path | TextIO | Iterable[Any],
    *,
    out: str | Path | BinaryIO | None = None,
    format: Literal["jsonl", "csv", "parquet"] | None = None,
    coverage: float | None = None,
    abstain: float | None = None,
    engine: str | None = None,
    watch: Watch | None = None,
    say: Say = _silent,
    **columns: Unpack[ColumnNames],
) -> Predictions:
    """Predict for every row of a file, or of a list.

    Parameters
    ----------
    model
        A model directory, or a loaded model.
    data
        A file, an open text stream with a text or a JSON object a line, or a list of texts, tuples
        such as ``(text, pair)``, or dicts by column.
    out
        The file or binary stream to write. A file is continued where the same call was stopped.
        By default nothing is written, and the predictions are returned.
    format
        Of what is written; by default that of ``out``, else jsonl.
    coverage
        Add a set of labels that holds the right one for this share of rows like dev's, 0 to 1.
    abstain
        Give no label to doubtful rows, so that at most this share of the labels is wrong, 0 to 1.
    engine
        What runs a bundle; by default the quickest one here.
    watch
        Is told how many rows are written to a file.
    say
        Is called with remarks.
    columns
        Which column plays which role: ``text="review"``, and ``skip_bad``.

    Raises
    ------
    DataError
        For a row that can't be used, unless ``skip_bad``.
    UsageError, CheckpointError
        For options that don't fit the model, and a model that can't be read.
    """
    from onelayer.prediction.load import load
    from onelayer.prediction.predict_data import predict_data

    predictor = load(model, engine) if isinstance(model, (str, Path)) else model
    predictor = predictor.with_guarantees(coverage=coverage, abstain=abstain)
    return predict_data(
        predictor, data, Columns(**columns), out=out, format=format, watch=watch, say=say
    )


def compare(
    run_a: str | Path,
    run_b: str | Path,
    file: str | Path,
    *,
    say: Say = _silent,
    **columns: Unpack[ColumnNames],
) -> Comparison:
    """Say whether one model is better than another, by how much, and on which rows.

    Parameters
    ----------
    run_a, run_b
        Model directories, of the same task and labels.
    file
        A labelled file; columns as in training where it has them.
    say
        Is called with remarks.
    columns
        Which column plays which role: ``text="review"``, and ``skip_bad``.

    Returns
    -------
    Comparison
        Every metric of both, B's difference with its 95 % interval and p, and the changed rows.

    Raises
    ------
    UsageError
        For models of different tasks or labels.
    DataError, CheckpointError
        For a row that can't be used, and a model that can't be read.
    """
    from onelayer.evaluation.compare import compare_models

    return compare_models(run_a, run_b, file, Columns(**columns), say)


def inspect(
    file_or_run: str | Path,
    *others: str | Path,
    with_: str | Path | None = None,
    folds: int = 5,
    task: str | None = None,
    model: str = "starter",
    reporter: Reporter | None = None,
    **columns: Unpack[ColumnNames],
) -> FileInspection | ModelInspection:
    """Show what is in a file and what is wrong with it, or what a model is.

    Parameters
    ----------
    file_or_run
        A labelled file, or a model directory.
    others
        Files whose rows are looked for in the first one, such as dev and test sets.
    with_
        A run that says which labels are probably wrong: by itself if it has not seen the rows,
        else its recipe is cross-validated.
    folds
        Parts of the file, two or more, each judged by a model that learned from the others.
    task
        What the file is for; by default inferred from it.
    model
        Whose vocabulary counts the tokens.
    reporter
        Is told how cross-validation proceeds; by default nobody is.
    columns
        Which column plays which role: ``text="review"``, and ``skip_bad``.

    Raises
    ------
    UsageError
        For rows asked of a model, and fewer than two folds.
    DataError, CheckpointError
        For a file and a model that can't be read.
    """
    from dataclasses import replace

    from onelayer.inspection.inspect import inspect_file, inspect_run
    from onelayer.prediction.predictor import is_run

    if is_run(file_or_run) or file_or_run == "starter":
        if others or with_ is not None:
            place = Place(file_or_run)
            raise UsageError("a model has no rows", place=place, hint="name a file first")
        return inspect_run(file_or_run)
    named = Columns(**columns)
    result = inspect_file(file_or_run, named, others=others, task=task, model=model)
    if with_ is None:
        return result
    from onelayer.inspection.label_errors import wrong_labels
    from onelayer.training.progress import Silent

    found = wrong_labels(file_or_run, with_, named, folds=folds, reporter=reporter or Silent())
    return replace(result, label_errors=found)


def export(
    run: str | Path,
    *,
    to: Literal["onnx"] = "onnx",
    int8: bool = False,
    out: str | Path | None = None,
    max_drop: float = 1.0,
    accept: bool = False,
    train: str | Path | None = None,
    dev: str | Path | None = None,
    say: Say = _silent,
    **columns: Unpack[ColumnNames],
) -> Exported:
    """Make a bundle of a model that runs without torch, once it is shown to say the same.

    Parameters
    ----------
    run
        A model directory.
    to
        The form of the graph.
    int8
        Weights and products in 8 bits.
    out
        The bundle's directory; by default next to the run, its name with ``-onnx`` or ``-int8``.
    max_drop
        Points of the task's metric that int8 may cost on dev.
    accept
        Write the bundle even if its answers are not the run's; its card then says so.
    train
        The file the run was trained on, if it isn't where it was.
    dev
        Labelled rows to judge by; by default those that the run was chosen by.
    say
        Is called with remarks.
    columns
        Which column of ``dev`` plays which role: ``text="review"``, and ``skip_bad``.

    Raises
    ------
    OneLayerError
        With nothing written, for a bundle that doesn't say what the run says.
    UsageError
        Where there are no rows to judge by.
    """
    from onelayer.exporting.export import export_run

    assert to == "onnx", "the one form there is"
    return export_run(
        run,
        out=out,
        int8=int8,
        max_drop=max_drop,
        accept=accept,
        train=Path(train) if train is not None else None,
        dev=Path(dev) if dev is not None else None,
        columns=Columns(**columns),
        say=say,
    )


def report(
    run: str | Path,
    file: str | Path,
    *,
    out: str | Path = "report.html",
    say: Say = _silent,
    **columns: Unpack[ColumnNames],
) -> ReportPage:
    """Write a page that shows how a model learned, how good it is and where it is wrong.

    Parameters
    ----------
    run
        A model directory.
    file
        A labelled file; columns as in training where it has them.
    out
        The page to write.
    say
        Is called with remarks.
    columns
        Which column plays which role: ``text="review"``, and ``skip_bad``.

    Raises
    ------
    DataError, CheckpointError
        For a row that can't be used, and a model that can't be read.
    OneLayerError
        Where the page can't be written.
    """
    from onelayer.evaluation.report.write_report import report_file

    report_file(run, file, Path(out), Columns(**columns), say)
    return ReportPage(run=str(run), file=str(file), out=str(out))


def serve(
    *models: str,
    host: str = "127.0.0.1",
    allowed_host: tuple[str, ...] = (),
    port: int = 8080,
    engine: str | None = None,
    api_key_file: str | Path | None = None,
    access_log: bool = True,
    limits: Limits | None = None,
) -> None:
    """Serve models over HTTP until the process is told to stop.

    Parameters
    ----------
    models
        Model directories; ``NAME=DIR`` names one, else it has its directory's name.
    host
        The address to listen at; 0.0.0.0 is every one of this machine.
    allowed_host
        More names that Host headers may have; ``*`` is any.
    port
        0 takes a free one.
    engine
        What runs bundles; by default the quickest one here.
    api_key_file
        A file with the keys that callers may use, one a line; by default that in
        ``ONELAYER_API_KEY``, and none is asked for without it.
    access_log
        Write a JSON line per request to stderr.
    limits
        What the server takes on; by default the defaults of `Limits`.

    Raises
    ------
    UsageError, CheckpointError
        Before anything is served: for a port that is taken, and a model that can't be read.
    """
    from onelayer.serving.http.admission import read_api_keys
    from onelayer.serving.limits import Limits
    from onelayer.serving.server import models_by_name, run_server

    run_server(
        models_by_name(models),
        host=host,
        port=port,
        limits=limits or Limits(),
        engine=engine,
        keys=read_api_keys(Path(api_key_file) if api_key_file is not None else None),
        access_log=access_log,
        allowed_hosts=allowed_host,
    )
