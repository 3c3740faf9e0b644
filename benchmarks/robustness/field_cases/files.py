"""Habits of programs that write csv and JSON, other encodings, and pipes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.robustness.field_cases.case import Case, Trial, expect, reads, refuses


def _model(trial: Trial, file: Path) -> Path:
    """A run whose text is in ``text``."""
    folder = file.parent.parent if file.parent.name == "deploy" else file.parent
    return trial.trained(folder / "a12_pipe.csv")


def predicts(n: int) -> Callable[[Trial, Path], str]:
    """A check that a file gives ``n`` predictions, from the disk and through a pipe."""

    def check(trial: Trial, file: Path) -> str:
        run = _model(trial, file)
        from_disk = trial.predicted(run, file)
        piped = trial.predicted(run, "-", stdin=file.read_bytes())
        expect(len(from_disk) == n, f"{len(from_disk)} predictions of {n} rows")
        expect(from_disk == piped, f"a pipe gives {piped}, a file {from_disk}")
        return f"{n} predictions, the same through a pipe"

    return check


def cp1252(text: str) -> Callable[[Trial, Path], str]:
    """A check that a file in Latin-1 is refused with the flag, and read with it, both ways."""

    def check(trial: Trial, file: Path) -> str:
        run, content = _model(trial, file), file.read_bytes()
        trial.refused("predict", run, file, says="--encoding cp1252")
        piped = trial.onelayer("predict", run, "-", stdin=content)
        expect(piped.code == 2 and "--encoding cp1252" in piped.error, piped.err)
        rows = trial.predicted(run, "-", "--encoding", "cp1252", stdin=content)
        rows += trial.predicted(run, file, "--encoding", "cp1252")
        expect([row["text"] for row in rows] == [text, text], rows)
        return f"refused: {piped.error}; read with the flag"

    return check


def leaves_out_missing(trial: Trial, file: Path) -> str:
    """A row without a text is refused by its line, or left out with --skip-bad."""
    run = _model(trial, file)
    refused = trial.refused("predict", run, file, says="--skip-bad")
    rows = trial.predicted(run, file, "--skip-bad")
    expect(len(rows) == 2, f"{len(rows)} predictions of 2 good rows")
    return refused


CSV = "read, 80 rows"

CASES = (
    Case(
        "a07_cp1252_semicolon.csv",
        "the flag named; read with it",
        lambda trial, file: (
            refuses("--encoding cp1252")(trial, file)
            + "; "
            + reads(flags=("--encoding", "cp1252"), rows=80)(trial, file)
        ),
    ),
    Case("a08_sep_line.csv", CSV, reads("parted by ';'", rows=80)),
    Case("a12_pipe.csv", CSV, reads("parted by '|'", rows=80)),
    Case("h18_pipe_nocomma.csv", CSV, reads("parted by '|'", rows=80)),
    Case("h21_trailing_comma_rows.csv", CSV, reads(rows=80, labels={"bad": 40, "good": 40})),
    Case("h22_spaces_after_comma.csv", CSV, reads(rows=80, labels={"bad": 40, "good": 40})),
    Case("h23_comment_header.csv", CSV, reads("2 lines above the table", rows=80)),
    Case("a60_pandas_columns.json", CSV, reads("pandas", rows=80)),
    Case("a60b_pandas_split.json", CSV, reads("pandas", rows=80)),
    Case("a60c_wrapped_data.json", CSV, reads("the objects in 'data'", rows=80)),
    Case("a62_python_dicts.jsonl", CSV, reads(rows=80)),
    Case("latin.txt", "a pipe is read as a file is", cp1252("café great")),
    Case("deploy/latin1.txt", "a pipe is read as a file is", cp1252("café room")),
    Case("deploy/bom.jsonl", "a pipe is read as a file is", predicts(2)),
    Case("deploy/two.txt", "a pipe is read as a file is", predicts(2)),
    Case("deploy/nl.csv", "a pipe is read as a file is", predicts(2)),
    Case("deploy/nan.csv", "an empty text has a prediction", predicts(3)),
    Case("deploy/nan.jsonl", "the row is named", leaves_out_missing),
)
