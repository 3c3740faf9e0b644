"""The verb: makes smaller models of a run, measures them, and keeps the one that fits."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from onelayer.base.disk import publish, restore, write_text
from onelayer.base.errors import Place, UsageError
from onelayer.base.machine import cores
from onelayer.checkpoint.bundle import is_bundle
from onelayer.checkpoint.source import path_beside, resolve
from onelayer.data.equal_texts import texts_key
from onelayer.data.in_memory import Source, TableLike, source_name, source_of
from onelayer.data.rows import Rows
from onelayer.evaluation.evaluate import labelled_rows
from onelayer.exporting.dev_rows import RowsOfRun, rows_of_run
from onelayer.exporting.speed import machine, versions
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import ColumnNames, Columns
from onelayer.shrinking.budget import Budget, BudgetError, choose
from onelayer.shrinking.ladder import TRIMMED, WHOLE, Ladder, Made
from onelayer.shrinking.ladder_page import write_ladder
from onelayer.shrinking.measuring import (
    AnswersRows,
    BesideRun,
    NamedRows,
    bytes_to_predict,
    speeds_by_threads,
)
from onelayer.shrinking.rung import Rung
from onelayer.shrinking.rung_card import CARD, renamed
from onelayer.shrinking.school import check_tokens
from onelayer.shrinking.shrunk import Shrunk, advice_on
from onelayer.shrinking.students import Pretrained
from onelayer.shrinking.unlabelled import UnlabelledRows
from onelayer.shrinking.word_counts import fit_word_counts, reads_whole_texts
from onelayer.training.notebook import default_reporter
from onelayer.training.progress import OnceReporter, Reporter, Silent

WORD_COUNTS = "word counts"


def shrink(
    run: str | Path,
    *,
    budget: str | None = None,
    out: str | Path | None = None,
    student: str | None = None,
    unlabelled: str | Path | TableLike | None = None,
    train: str | Path | TableLike | None = None,
    dev: str | Path | TableLike | None = None,
    test: str | Path | TableLike | None = None,
    reporter: Reporter | None = None,
    **columns: Unpack[ColumnNames],
) -> Shrunk:
    """Make smaller and faster models of a run, measure what each of them loses, and keep one.

    Each smaller model has fewer layers of the run, learns the run's answers on its training rows,
    on texts made of these and on ``unlabelled`` ones, and is exported in int8. A repeated call
    takes the models that are finished, and continues the others.

    Parameters
    ----------
    run
        A model directory, not exported.
    budget
        What the model may cost: ``2ms`` a text on one thread, ``5MB``, ``-1pt`` of the score on
        dev, or several with commas between them. By default the fastest model is kept that loses
        next to nothing.
    out
        The bundle of the kept model; by default it is next to the run, whose name gets ``-small``.
        All models are in the folder with ``-rungs`` in place of that.
    student
        A pretrained model, a directory or a name, that learns from the run as its parts do.
    unlabelled
        Texts like those to predict, in a file or in memory: see `TableLike`. Labels in it are not
        read.
    train, dev
        The run's rows, if they were in memory or their files have moved.
    test
        Labelled rows that nothing was chosen by. Every model is scored on them, too.
    reporter
        Receives progress and remarks; by default a bar in a notebook, and nobody elsewhere.
    columns
        Fields of `Columns`, for ``unlabelled``, or without it for ``test``.

    Returns
    -------
    Shrunk
        Bytes, speeds, scores and losses of each model, and the bundle that was kept.

    Raises
    ------
    BudgetError
        For a budget that no model keeps; its ``shrunk`` is the result without a model.
    UsageError
        For a bundle, for training rows that aren't there, for a ``student`` whose tokens don't
        fit, and where another process makes the same models.
    DataError, CheckpointError
        For a row that can't be used, and a model that can't be read.
    OneLayerError
        If the models can't be written.
    """
    return shrink_run(
        run,
        budget=budget,
        out=out,
        student=student,
        unlabelled=None if unlabelled is None else source_of(unlabelled, splits=("train",)),
        train=None if train is None else source_of(train, splits=("train",)),
        dev=None if dev is None else source_of(dev, splits=("validation",)),
        test=None if test is None else source_of(test, splits=("test",)),
        columns=Columns(**columns),
        reporter=reporter or default_reporter(),
    )


def shrink_run(
    run: str | Path,
    *,
    budget: str | None = None,
    out: str | Path | None = None,
    student: str | None = None,
    unlabelled: Source | None = None,
    train: Source | None = None,
    dev: Source | None = None,
    test: Source | None = None,
    columns: Columns | None = None,
    reporter: Reporter | None = None,
) -> Shrunk:
    """Makes the ladder of smaller models below a run, and writes the one that fits.

    Parameters
    ----------
    run
        The run's directory.
    budget
        What the model may cost; see `Budget.parse`. Without one the knee of the ladder is kept.
    out
        Where the model is written; by default next to the run, whose name gets ``-small``. The
        ladder is next to it, with ``-rungs`` in place of that.
    student
        A pretrained model, a directory or a name, that learns from the run as its parts do.
    unlabelled
        Texts without labels, on which the run answers for the smaller models.
    train, dev
        The run's rows, if they aren't where it found them.
    test
        Labelled rows that nothing was chosen by.
    columns
        The columns of ``unlabelled``, or without it of ``test``, if they aren't those of the
        training rows.
    reporter
        Receives progress and remarks.

    Raises
    ------
    UsageError
        As `shrink`, BudgetError among them.
    """
    limits = None if budget is None else Budget.parse(budget)
    reporter = OnceReporter(reporter or Silent())
    folder = resolve(run)
    if is_bundle(folder):
        raise UsageError("is a bundle", place=Place(folder), hint="give the run itself")
    target, below = _places(run, out)
    other = None if student is None else Pretrained.named(student, reporter.say)
    columns = columns or Columns()
    if columns != Columns() and unlabelled is None and test is None:
        raise UsageError(
            "columns are named, and neither --unlabelled nor --test is given to have them",
            hint="the other files have the columns of the training file",
        )
    predictor = load(folder)
    rows = rows_of_run(predictor, train, dev, Columns(), reporter.say, apart=True)
    if rows.train is None:
        raise UsageError(
            "the training rows aren't there, and smaller models learn on them",
            place=Place(folder),
            hint="give them with --train FILE",
        )
    if rows.learned:
        reporter.say(
            f"the run has learned the rows of {rows.name}, too, and smaller models have not: they "
            "lose less on new rows than on these (--dev FILE gives others)"
        )
    if other is not None:
        check_tokens(predictor, other, rows.train)
    judges = BesideRun(
        predictor,
        NamedRows(rows.dev, rows.name),
        None
        if test is None
        else _test_rows(predictor, test, columns if unlabelled is None else Columns(), reporter),
    )
    others = _unlabelled_rows(predictor, rows, unlabelled, columns, reporter)
    ladder = Ladder(predictor, below, rows, unlabelled, reporter)
    with ladder.opened():
        teacher = ladder.exported(WHOLE, "all layers", folder, trimmed=False)
        trimmed = ladder.exported(
            TRIMMED, "all layers, and the pieces of its rows", folder, trimmed=True
        )
        made = [teacher, trimmed, *ladder.students(others, teacher, trimmed, other)]
        rungs = _measured(predictor, made, rows, rows.train, judges, below, reporter)
        found = Shrunk(
            run=str(run),
            folder=str(below),
            baseline=teacher.name,
            kept=None,
            model=None,
            rungs=rungs,
            budget=budget,
            advice="no model keeps the budget",
            machine=machine(),
            threads=cores(),
            versions=versions(),
        )
        return _kept(found, limits, target)


def _kept(measured: Shrunk, limits: Budget | None, target: Path) -> Shrunk:
    """Writes the table, and the model that is chosen. Raises BudgetError where none is."""
    rungs = measured.rungs
    try:
        rung = choose(rungs, limits).rung
    except BudgetError as error:
        error.shrunk = replace(measured, advice=f"{error.message}; {error.hint}")
        write_ladder(error.shrunk)
        raise
    assert rung.model is not None, "only models are chosen"
    bundle = Path(measured.folder, rung.model)
    advice = advice_on(rungs, rung.name, measured.baseline, measured.budget)
    found = replace(measured, kept=rung.name, model=str(target), advice=advice)
    write_ladder(found)
    publish(target, lambda staged: _copy(bundle, staged, target.resolve().name))
    return found


def _places(run: str | Path, out: str | Path | None) -> tuple[Path, Path]:
    """Where the model goes, and the ladder. What is there already may only be another bundle."""
    target = Path(out) if out is not None else path_beside(run, "-small")
    restore(target)
    taken = target.exists() and not (target.is_dir() and not any(target.iterdir()))
    if taken and not is_bundle(target):
        raise UsageError(
            "is there already, and no bundle", place=Place(target), hint="choose another --out"
        )
    return target, target.with_name(f"{target.name.removesuffix('-small')}-rungs")


def _test_rows(run: Predictor, test: Source, columns: Columns, reporter: Reporter) -> NamedRows:
    return NamedRows(labelled_rows(run, test, columns, reporter.say), source_name(test))


def _unlabelled_rows(
    run: Predictor,
    rows: RowsOfRun,
    unlabelled: Source | None,
    columns: Columns,
    reporter: Reporter,
) -> Iterable[Any]:
    """The rows of ``unlabelled`` to learn from. It is read before anything is made."""
    if unlabelled is None:
        return ()
    kind, own = type(run.task), (rows.dev, rows.train or ())
    known = {texts_key(kind.texts(row)) for some in own for row in some}
    return UnlabelledRows.read(run, unlabelled, columns, known, reporter.say)


def _measured(
    run: Predictor,
    made: Sequence[Made],
    rows: RowsOfRun,
    train: Rows,
    judges: BesideRun,
    below: Path,
    reporter: Reporter,
) -> tuple[Rung, ...]:
    """The run, the models of the ladder and the simple method, with what each of them costs."""
    assert run.path is not None, "a run is opened from a directory"
    models: dict[str, AnswersRows] = {"run": run}
    models |= {one.name: load(one.bundle) for one in made}
    sizes = {"run": bytes_to_predict(run.path)}
    sizes |= {one.name: bytes_to_predict(one.bundle) for one in made}
    if reads_whole_texts(run.task):
        counted = fit_word_counts(run, train, rows.dev)
        models[WORD_COUNTS], sizes[WORD_COUNTS] = counted, counted.bytes
    scores = {}
    for name, model in models.items():
        scores[name] = judges.scores(None if model is run else model)
        on = scores[name].dev
        reporter.say(f"{name}: {on.metric} {on.score:.4f} on {on.file}, {on.lost:+.2f} points lost")
    speeds = speeds_by_threads(models, run, rows.dev)
    known = {one.name: one for one in made}
    whats = {"run": "the run, in fp32", WORD_COUNTS: "words and pairs of words, counted (TF-IDF)"}
    whats |= {name: one.what for name, one in known.items()}
    return tuple(
        Rung(
            name=name,
            what=whats[name],
            bytes=sizes[name],
            speeds=speeds[name],
            dev=scores[name].dev,
            test=scores[name].test,
            model=_within(below, known[name].bundle) if name in known else None,
            run=_within(below, known[name].run) if name in known else None,
            reference=name == WORD_COUNTS,
        )
        for name in models
    )


def _within(folder: Path, path: Path | None) -> str | None:
    return None if path is None else str(path.relative_to(folder))


def _copy(bundle: Path, staged: Path, name: str) -> None:
    shutil.copytree(bundle, staged, dirs_exist_ok=True)
    card = staged / CARD
    write_text(card, renamed(card.read_text(encoding="utf-8"), bundle.name, name))
