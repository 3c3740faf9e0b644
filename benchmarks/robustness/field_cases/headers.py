"""Files whose first line is a header that no list of names knows."""

from __future__ import annotations

from pathlib import Path

from benchmarks.robustness.field_cases.case import Case, Trial, expect, reads


def learned_and_predicted(trial: Trial, file: Path) -> str:
    """A model of a file with a nameless index predicts a file of two rows."""
    run = trial.trained(file.parent / "h01_status.csv")
    rows = trial.predicted(run, file)
    expect(len(rows) == 2, f"{len(rows)} predictions of 2 rows")
    return "2 predictions"


def scored(trial: Trial, file: Path) -> str:
    run = trial.trained(file.parent / "h01_status.csv")
    ran = trial.onelayer("eval", run, file)
    expect(ran.code == 0 and ", 2 rows" in ran.out, ran.err or ran.out)
    return "2 rows scored"


def read(file: str, label: str) -> Case:
    said = reads("is read as a header", "--no-header", f"label = {label}", rows=80)
    return Case(file, "header read, 80 rows, and said so", said)


CASES = (
    read("h01_status.csv", "status"),
    read("h02_email.csv", "Email Type"),
    read("h04_forms.csv", "Is it about us?"),
    read("h07_complaint.csv", "Product"),
    read("h11_percent.csv", "Class?"),
    read("h12_quotes.csv", "label [0/1]"),
    read("h15_num.csv", "1"),
    read("a10_sms_trailing.csv", "v1"),
    Case("p_status_new.csv", "as many predictions as rows", learned_and_predicted),
    Case("p_status_test.csv", "as many rows as there are", scored),
)
