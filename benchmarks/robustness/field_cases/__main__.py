"""Inputs as people have them, against the outcome that is right: does each get it?

    python -m benchmarks.robustness.field_cases FOLDER [START-OF-A-NAME ...]

FOLDER holds the inputs; each file of this package lists those of one kind with the right outcome.
Prints a table, and fails if an outcome is wrong or a file of the folder has no case. Takes a tiny
random model in place of the starter. Linux only: each command runs in a fork.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.robustness.field_cases import annotations as annotation_cases
from benchmarks.robustness.field_cases import (
    answers,
    engines,
    files,
    headers,
    labels,
    python_inputs,
    scores,
    serving,
)
from benchmarks.robustness.field_cases.case import Case, Trial, WrongOutcomeError
from benchmarks.support.small_bert import small_bert
from onelayer.checkpoint.source import resolve

KINDS: dict[str, tuple[Case, ...]] = {
    "headers": headers.CASES,
    "files": files.CASES,
    "labels": labels.CASES,
    "annotations": annotation_cases.CASES,
    "answers": answers.CASES,
    "serving": serving.CASES,
    "scores": scores.CASES,
    "Python": python_inputs.CASES,
    "engines": engines.CASES,
}
"""The cases by their kind; a kind is a file of this package."""


def main() -> int:
    folder, chosen = Path(sys.argv[1]), tuple(sys.argv[2:])
    torch.set_num_threads(1)
    wrong = tried = 0
    print("| kind | case | right outcome | what happened | |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch, "model")
        small_bert(model, resolve("starter"))
        trial = Trial(model, Path(scratch))
        for kind, cases in KINDS.items():
            for case in cases:
                if chosen and not case.file.startswith(chosen):
                    continue
                tried += 1
                try:
                    happened, mark = case.check(trial, folder / case.file), "right"
                except WrongOutcomeError as found:
                    happened, mark = str(found), "**wrong**"
                    wrong += 1
                cells = (kind, case.file, case.outcome, happened)
                print("| " + " | ".join(map(_cell, cells)) + f" | {mark} |", flush=True)
    missing = [] if chosen else _without_case(folder)
    print(f"\n{tried} cases, {wrong} wrong" + (f"; no case for {missing}" if missing else ""))
    return int(wrong > 0 or tried == 0 or bool(missing))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:300]


def _without_case(folder: Path) -> list[str]:
    """The files of the folder that no case names, alone or by a folder that holds them."""
    named = {case.file.rstrip("/") for cases in KINDS.values() for case in cases}
    files = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return [
        str(file)
        for file in files
        if file.name != "README.md" and not {str(file), *map(str, file.parents)} & named
    ]


if __name__ == "__main__":
    sys.exit(main())
