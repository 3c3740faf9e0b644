"""Files whose dev scores would say more than they can: few distinct texts, a rare class."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.robustness.field_cases.case import Case, Trial, expect


def _record(run: Path) -> dict:
    return json.loads((run / "onelayer.json").read_text(encoding="utf-8"))


def _few_texts(trial: Trial, file: Path) -> str:
    """Equal texts are on one side, and few of them are remarked on."""
    record = _record(trial.trained(file))
    said = [one for one in record["choices"] if "distinct texts" in one]
    expect(any("240 rows have 12 distinct texts" in one for one in said), said)
    expect(any("dev rows have 2 distinct texts" in one for one in said), said)
    expect(record["data"]["dev_rows"] == 40, f"{record['data']['dev_rows']} dev rows")
    low, high = record["dev"]["intervals"]["accuracy"]
    expect(low < high, f"the interval of the accuracy is {low} to {high}")
    return said[-1]


def _rare_class(trial: Trial, file: Path) -> str:
    """A class of three rows is in dev, and a line says how little its score says."""
    record = _record(trial.trained(file))
    said = " ".join(record["dev"]["caveats"])
    expect("'fraud' (1)" in said, f"of the rare class: {said!r}")
    low, high = record["dev"]["intervals"]["accuracy"]
    expect(low < 0.99 and low < high, f"the interval of the accuracy is {low} to {high}")
    return said


CASES = (
    Case("a24_duplicates.csv", "equal texts on one side; said how few there are", _few_texts),
    Case("f09b_imbalance.csv", "the rare class in dev; said how little that says", _rare_class),
)
