"""What Python users give to ``predict``: DataFrames, arrays, dicts, None; and a model to pickle."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.robustness.field_cases.case import Case, Trial, expect

ROWS = "text,label\n" + "".join(
    f"my card was charged {i} times,account\nbook a room for {i} nights,room\n" for i in range(20)
)
READ = ("list", "Series", "DataFrame", "ndarray str", "generator", "pickle", "deepcopy")
REFUSED = {
    "0-d ndarray": "predict takes a list of inputs",
    "bytes": "predict takes a list of inputs, not bytes",
    "None": "not None",
    "[None]": "no text",
    "dict single": "'text' holds a str",
    "set": "a set has no order",
    "tuple of 3": "a tuple of 3 items",
    "Series string dtype w NA": "no text",
}
"""What the line of an input that is refused says."""


def tries_inputs(trial: Trial, script: Path) -> str:
    """Every input is read, or refused by an error of ours."""
    file = trial.scratch / "python.csv"
    file.write_text(ROWS, encoding="utf-8")
    run = trial.trained(file)
    # The script names the loader of an older version.
    text = script.read_text(encoding="utf-8").replace("onelayer.runtime", "onelayer.prediction")
    ran = subprocess.run(
        [sys.executable, "-", str(run), "-"], input=text, capture_output=True, text=True
    )
    expect(ran.returncode == 0, ran.stderr[-300:])
    lines = dict(re.findall(r"^(?:OK |ERR) (.+?) -> (.*)$", ran.stdout, re.MULTILINE))
    failed = re.findall(r"^ERR (.+?) -> (\S+) ?(.*)$", ran.stdout, re.MULTILINE)
    riddles = [(name, kind) for name, kind, _ in failed if not kind.startswith("onelayer.")]
    expect(not riddles, f"not our errors: {riddles}")
    for name in READ:
        expect(name not in {one for one, *_ in failed}, f"{name}: {lines.get(name)}")
    said = {name: message for name, _, message in failed}
    for name, words in REFUSED.items():
        expect(words in said.get(name, ""), f"{name}: {said.get(name)!r}")
    return f"{len(lines) - len(failed)} read, {len(failed)} refused in one line"


CASES = (Case("deploy/python_inputs.py", "read by column or refused, pickled", tries_inputs),)
