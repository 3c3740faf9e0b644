"""The commands. A function's parameters are its arguments and flags; its docstring is its help."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import onelayer
from onelayer import api
from onelayer.base.text_offsets import OffsetUnit
from onelayer.cli.flags import Known
from onelayer.cli.terminal import (
    RowBar,
    print_json,
    print_parts,
    print_result,
    reporter,
    say,
    sayer,
)
from onelayer.engines.registry import engine_names
from onelayer.recipe import Columns, Recipe
from onelayer.serving.limits import Limits

EngineName = Annotated[str | None, Known(engine_names)]


def train(
    file: Path,
    /,
    *,
    dev: Path | None = None,
    describe: Path | None = None,
    out: Path | None = None,
    resume: bool | None = None,
    json: bool = False,
    recipe: Recipe,
) -> None:
    """Fine-tune a model on a labelled file.

    Parameters
    ----------
    file
        A labelled file: csv, xlsx, jsonl, Parquet, CoNLL, SQuAD JSON and others.
    dev
        Labelled rows that choose the best checkpoint; default: see --folds.
    describe
        What the labels mean: a file with a label and a text in each row, learned like rows.
    out
        The run's directory; default: a new one in `runs/`.
    resume
        Resume an unfinished run, or start again; default: resume if possible.
    json
        Print progress as JSON on stderr, the result on stdout.
    """
    predictor = onelayer.finetune(
        file,
        dev=dev,
        describe=describe,
        out=out,
        recipe=recipe,
        resume=resume,
        reporter=reporter(json),
    )
    if os.environ.get("RANK", "0") != "0":
        return  # one of several processes of torchrun prints the result
    if json:
        print_json(predictor.to_json())
        return
    print(f"saved {predictor.path}")
    print_parts(predictor.parts()[1:])
    if (page := Path(str(predictor.path), "report.html")).is_file():
        print(f"report: {page}")
    print(f"next: onelayer predict {predictor.path} FILE")


def evaluate(
    run: str,
    file: Path,
    /,
    *,
    coverage: float | None = None,
    abstain: float | None = None,
    engine: EngineName = None,
    json: bool = False,
    columns: Columns,
) -> None:
    """Score a model on a labelled file, with 95 % intervals.

    Parameters
    ----------
    run
        A model directory.
    file
        A labelled file. Columns named as in training need no flags.
    coverage
        Check that label sets contain the right label this often.
    abstain
        Check that at most this share of the given labels is wrong.
    engine
        The engine of an exported model; default: the fastest one installed.
    json
        Print JSON.
    """
    result = api.evaluate(
        run,
        file,
        coverage=coverage,
        abstain=abstain,
        engine=engine,
        say=sayer(json),
        **columns.keywords,
    )
    print_result(result, json)


def predict(
    run: str,
    file: str = "-",
    /,
    *,
    out: Path | None = None,
    format: Literal["jsonl", "csv", "parquet"] | None = None,
    coverage: float | None = None,
    abstain: float | None = None,
    offsets: OffsetUnit = "codepoint",
    engine: EngineName = None,
    columns: Columns,
) -> None:
    """Predict for each row of a file or line of a pipe.

    Parameters
    ----------
    run
        A model directory.
    file
        A file, or `-` for stdin: one text or JSON object per line, or a table.
    out
        The file to write; default: stdout. Repeat a stopped command to resume.
    format
        The output format; default: from the suffix of `--out`, else jsonl.
    coverage
        Add label sets that contain the right label this often, on average.
    abstain
        Leave doubtful rows unlabelled: this share wrong, for 90 % of dev sets.
    offsets
        What starts and ends count: Java and JavaScript have utf16.
    engine
        The engine of an exported model; default: the fastest one installed.
    """
    with RowBar() as bar:
        found = api.predict(
            run,
            getattr(sys.stdin, "buffer", sys.stdin) if file == "-" else file,
            out=out or sys.stdout.buffer,
            format=format,
            coverage=coverage,
            abstain=abstain,
            offsets=offsets,
            engine=engine,
            watch=bar,
            say=say,
            **columns.keywords,
        )
    if found.cut:
        say(found.cut)
    if out:
        say(f"{found.rows:,} predictions in {out}")


def report(run: str, file: Path, /, *, out: Path = Path("report.html"), columns: Columns) -> None:
    """Write a page with a model's training curves, scores and worst mistakes.

    Parameters
    ----------
    run
        A model directory.
    file
        A labelled file. Columns named as in training need no flags.
    out
        The HTML file to write.
    """
    print(api.report(run, file, out=out, say=say, **columns.keywords))


def export(
    run: str,
    /,
    *,
    to: Literal["onnx"] = "onnx",
    int8: bool = False,
    four_bit_words: bool = False,
    trim_vocabulary: bool = False,
    single_file: bool = False,
    out: Path | None = None,
    max_drop: float = 1.0,
    accept: bool = False,
    train: Path | None = None,
    dev: Path | None = None,
    json: bool = False,
    columns: Columns,
) -> None:
    """Export a model to run without torch; check that its predictions match.

    Parameters
    ----------
    run
        A model directory.
    to
        The format of the exported model.
    int8
        Quantize weights and matrix products to 8 bits.
    four_bit_words
        With `--int8`: store word vectors in 4 bits, which halves their bytes.
    trim_vocabulary
        Keep only the pieces of the run's rows, and all characters; cut other words finer.
    single_file
        Write one file, which the C++ library maps, in place of a directory.
    out
        The bundle's directory or file; default: the run's name with `-onnx` or `-int8`.
    max_drop
        Points of the task's metric that int8 may lose on dev.
    accept
        Write the bundle even if its predictions differ; its card says so.
    train
        The run's training file, if it has moved.
    dev
        Labelled rows to compare predictions on; default: the run's dev rows.
    json
        Print JSON.
    """
    result = api.export(
        run,
        to=to,
        int8=int8,
        four_bit_words=four_bit_words,
        trim_vocabulary=trim_vocabulary,
        single_file=single_file,
        out=out,
        max_drop=max_drop,
        accept=accept,
        train=train,
        dev=dev,
        say=sayer(json),
        **columns.keywords,
    )
    print_result(result, json)
    if not json:
        print(f"next: onelayer serve {result.bundle}")


def compare(
    run_a: str,
    run_b: str,
    file: Path,
    /,
    *,
    rows: int = 10,
    json: bool = False,
    columns: Columns,
) -> None:
    """Test which of two models is better on a labelled file.

    Parameters
    ----------
    run_a
        A model directory.
    run_b
        Another model directory, of the same task and labels.
    file
        A labelled file. Columns named as in training need no flags.
    rows
        Changed rows to print for each model; `--json` has all.
    json
        Print JSON.
    """
    result = api.compare(run_a, run_b, file, say=sayer(json), **columns.keywords)
    print_json(result.to_json()) if json else print_parts(result.parts_with(rows))


def serve(
    *models: str,
    host: str = "127.0.0.1",
    allowed_host: tuple[str, ...] = (),
    cors_origin: tuple[str, ...] = (),
    port: int = 8080,
    engine: EngineName = None,
    api_key_file: Path | None = None,
    allow_reload: bool = False,
    examples: tuple[str, ...] = (),
    access_log: bool = True,
    limits: Limits,
) -> None:
    """Serve models over HTTP, with a page to try them.

    Parameters
    ----------
    models
        Model directories. `NAME=DIR` names a model; default: its directory's name.
    host
        The address to listen on; 0.0.0.0 for every address of this machine.
    allowed_host
        A host name to accept; repeatable or comma-separated; * accepts any.
    cors_origin
        A web origin that may read answers: https://app.example, or *.
    port
        The port to listen on; 0 for any free one.
    engine
        The engine of exported models; default: the fastest one installed.
    api_key_file
        A file with one API key per line; default: ONELAYER_API_KEY, if set.
    allow_reload
        Let callers reload models: POST /v1/models/NAME/reload.
    examples
        FILE or NAME=FILE: its rows, which the page shows everybody.
    access_log
        Write a JSON line per request to stderr.
    """
    onelayer.serve(
        *models,
        host=host,
        allowed_host=allowed_host,
        cors_origin=cors_origin,
        port=port,
        engine=engine,
        api_key_file=api_key_file,
        allow_reload=allow_reload,
        examples=examples,
        access_log=access_log,
        limits=limits,
    )


def shrink(
    run: str,
    /,
    *,
    budget: str | None = None,
    out: Path | None = None,
    student: str | None = None,
    unlabelled: Path | None = None,
    train: Path | None = None,
    dev: Path | None = None,
    test: Path | None = None,
    json: bool = False,
    columns: Columns,
) -> None:
    """Make smaller and faster models of a run, with a table of what each loses.

    Parameters
    ----------
    run
        A model directory, not exported.
    budget
        2ms a text, 5MB or -1pt, or several: 2ms,-1pt; default: the knee.
    out
        The model's directory; default: the run's name with `-small`.
    student
        A pretrained model that learns from the run, too.
    unlabelled
        A file of texts like those to predict; smaller models learn the run's answers.
    train
        The run's training file, if it has moved.
    dev
        Labelled rows to choose by; default: the run's dev rows.
    test
        Labelled rows to score every model on, which nothing was chosen by.
    json
        Print progress as JSON on stderr, the result on stdout.
    """
    from onelayer.shrinking.budget import BudgetError

    try:
        result = onelayer.shrink(
            run,
            budget=budget,
            out=out,
            student=student,
            unlabelled=unlabelled,
            train=train,
            dev=dev,
            test=test,
            reporter=reporter(json),
            **columns.keywords,
        )
    except BudgetError as error:
        if error.shrunk is not None:
            print_result(error.shrunk, json)
        raise
    print_result(result, json)
    if not json:
        print(f"report: {Path(result.folder, 'report.html')}")
        print(f"next: onelayer predict {result.model} FILE")
