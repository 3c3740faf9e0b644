"""The commands. A function's parameters are its arguments and flags, its docstring is its help."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Literal

import onelayer
from onelayer import api
from onelayer.cli.flags import Known
from onelayer.cli.terminal import RowBar, print_json, print_parts, reporter, say, sayer
from onelayer.engines.registry import engine_names
from onelayer.recipe import Columns, Recipe
from onelayer.serving.limits import Limits

EngineName = Annotated[str | None, Known(engine_names)]


def train(
    file: Path,
    /,
    *,
    dev: Path | None = None,
    out: Path | None = None,
    resume: bool | None = None,
    json: bool = False,
    recipe: Recipe,
) -> None:
    """Fine-tune a model on a labelled file.

    Parameters
    ----------
    file
        csv, tsv, jsonl, parquet, CoNLL, CoNLL-U or SQuAD JSON.
    dev
        A file that chooses the best checkpoint; by default a tenth of the rows.
    out
        The run's directory; by default a new one below `runs/`.
    resume
        Insist on resuming an unfinished run of the same command, or on starting again; by default
        it is resumed where there is one.
    json
        Progress as JSON lines on stderr, the result as JSON on stdout.
    """
    predictor = onelayer.finetune(
        file, dev=dev, out=out, recipe=recipe, resume=resume, reporter=reporter(json)
    )
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
    """Score a model on a labelled file: every standard metric, with 95 % intervals.

    Parameters
    ----------
    run
        A model directory.
    file
        A labelled file; columns as in training where it has them.
    coverage
        Check sets of labels that shall hold the right one for this share of the rows.
    abstain
        Check answers of which at most this share shall be wrong.
    engine
        What runs an exported model; by default the fastest here.
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
    print_json(result.to_json()) if json else print(result)


def predict(
    run: str,
    file: str = "-",
    /,
    *,
    out: Path | None = None,
    format: Literal["jsonl", "csv", "parquet"] | None = None,
    coverage: float | None = None,
    abstain: float | None = None,
    engine: EngineName = None,
    columns: Columns,
) -> None:
    """Predict for every row of a file, or for every line of a pipe as it comes.

    Parameters
    ----------
    run
        A model directory.
    file
        A file, or `-` for stdin: a text or a JSON object a line.
    out
        The file to write, by default stdout; the same command goes on where it was stopped.
    format
        By default that of `--out`, else jsonl.
    coverage
        Add a set of labels to each row that holds the right one for this share of rows like dev's.
    abstain
        Give no label to rows too doubtful for at most this share of the labels to be wrong.
    engine
        What runs an exported model; by default the fastest here.
    """
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    with RowBar() as bar:
        found = api.predict(
            run,
            sys.stdin if file == "-" else file,
            out=out or sys.stdout.buffer,
            format=format,
            coverage=coverage,
            abstain=abstain,
            engine=engine,
            watch=bar,
            say=say,
            **columns.keywords,
        )
    if found.cut:
        say(found.cut)
    if out:
        say(f"{found.rows:,} predictions in {out}")


def report(
    run: str,
    file: Path,
    /,
    *,
    out: Path = Path("report.html"),
    columns: Columns,
) -> None:
    """Show on one page how a model learned, how good it is on a file, and where it is wrong.

    Parameters
    ----------
    run
        A model directory.
    file
        A labelled file; columns as in training where it has them.
    out
        The page to write.
    """
    print(api.report(run, file, out=out, say=say, **columns.keywords))


def export(
    run: str,
    /,
    *,
    to: Literal["onnx"] = "onnx",
    int8: bool = False,
    out: Path | None = None,
    max_drop: float = 1.0,
    accept: bool = False,
    train: Path | None = None,
    dev: Path | None = None,
    json: bool = False,
    columns: Columns,
) -> None:
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
        The bundle's directory; by default beside the run, its name with `-onnx` or `-int8`.
    max_drop
        Points of the task's metric that int8 may cost on dev.
    accept
        Write the bundle even if its answers are not the run's; its card then says so.
    train
        The file the run was trained on, if it isn't where it was.
    dev
        Labelled rows to judge by; by default those that the run was chosen by.
    json
        Print JSON.
    """
    result = api.export(
        run,
        to=to,
        int8=int8,
        out=out,
        max_drop=max_drop,
        accept=accept,
        train=train,
        dev=dev,
        say=sayer(json),
        **columns.keywords,
    )
    if json:
        print_json(result.to_json())
        return
    print(result)
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
    """Say whether one model is better than another on a labelled file, by how much, and on which
    rows.

    Parameters
    ----------
    run_a
        A model directory.
    run_b
        Another one, of the same task and labels.
    file
        A labelled file; columns as in training where it has them.
    rows
        How many changed rows to print in either direction; `--json` has all.
    json
        Print JSON.
    """
    result = api.compare(run_a, run_b, file, say=sayer(json), **columns.keywords)
    if json:
        print_json(result.to_json())
    else:
        print_parts(result.parts_with(rows))


def inspect(
    file_or_run: str,
    /,
    *others: Path,
    with_: str | None = None,
    folds: int = 5,
    rows: int = 20,
    task: str | None = None,
    model: str = "starter",
    json: bool = False,
    columns: Columns,
) -> None:
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
        Parts of the file, each judged by a model that learned from the others.
    rows
        How many rows of a kind to print; `--json` has all.
    task
        What the file is for: classify, regress, tag, answer or choose; by default seen from it.
    model
        Whose vocabulary counts the tokens.
    json
        Print JSON.
    """
    result = api.inspect(
        file_or_run,
        *others,
        with_=with_,
        folds=folds,
        task=task,
        model=model,
        reporter=reporter(json) if with_ is not None else None,
        **columns.keywords,
    )
    if json:
        print_json(result.to_json())
    elif not hasattr(result, "parts_with"):
        print(result)
    else:
        print_parts(result.parts_with(rows))


def serve(
    *models: str,
    host: str = "127.0.0.1",
    allowed_host: tuple[str, ...] = (),
    port: int = 8080,
    engine: EngineName = None,
    api_key_file: Path | None = None,
    access_log: bool = True,
    limits: Limits,
) -> None:
    """Serve models over HTTP, with a page to try them.

    Parameters
    ----------
    models
        Model directories; `NAME=DIR` names one, else it is called as its directory is.
    host
        The address to listen at; 0.0.0.0 is every one of this machine.
    allowed_host
        Another name that Host headers may have; repeat it or use commas; * is any.
    port
        0 takes a free one.
    engine
        What runs exported models; by default the fastest here.
    api_key_file
        A file with the keys that callers may use, one a line; by default that in ONELAYER_API_KEY,
        and none is asked for without it.
    access_log
        Write a JSON line per request to stderr.
    """
    api.serve(
        *models,
        host=host,
        allowed_host=allowed_host,
        port=port,
        engine=engine,
        api_key_file=api_key_file,
        access_log=access_log,
        limits=limits,
    )
