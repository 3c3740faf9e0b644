"""Compares onelayer-run with `onelayer predict` on whole files.

    cmake -S csrc -B build/native && cmake --build build/native
    python -m benchmarks.robustness.native_twins BUNDLE FILE [FILE ...] [--coverage P] [--abstain P]

Each row of a file becomes a JSON object of the columns that the model reads. Both sides get the
same lines: onelayer-run from a pipe, and Python as `onelayer predict` reads a pipe. Of the library
Python uses the engine alone, and tokenizes, decodes and writes by itself. The command prints how
many lines are equal to the last byte, and where they aren't, by how much their numbers differ at
most. It fails if a line differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onelayer.engines.engine import Engine
from onelayer.prediction.formats import JsonlOutput
from onelayer.prediction.inputs import input_layout
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.prediction.streams import open_input, predict_lines, usable_records
from onelayer.recipe import Columns
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings

PROGRAM = Path("build/native/onelayer-run")
SHOWN = 3
"""Lines of a file that differ and are printed."""


@dataclass(frozen=True)
class LogitsOnly:
    """An engine without what it can do beyond logits: rows are encoded and decoded in Python."""

    engine: Engine

    @property
    def name(self) -> str:
        return self.engine.name

    def logits(self, encodings: Encodings) -> Logits:
        return self.engine.logits(encodings)


@dataclass(frozen=True, kw_only=True)
class Twins:
    """How the lines of both sides compare."""

    lines: int
    equal: int
    largest: float | None
    """The largest difference of two numbers, of lines with the same words; None where words
    differ."""
    seconds: tuple[float, float]
    """Of Python and of onelayer-run, opening the model included for the latter."""
    examples: tuple[tuple[str, str], ...]


def json_lines(predictor: Predictor, path: Path) -> list[str]:
    """A file's rows as the lines of a pipe."""
    return list(_lines(predictor, path))


def _lines(predictor: Predictor, path: Path) -> Iterator[str]:
    columns = Columns(skip_bad=True)
    table = open_input(predictor, path, columns)
    layout = input_layout(predictor.task, predictor.layout, table, {})
    trained = predictor.layout.columns
    for record, _ in usable_records(predictor.task, table, layout, columns, lambda _: None):
        values: dict[str, Any] = {}
        for role, column in layout.columns.items():
            named = trained.get(role, role)
            names = [named] if isinstance(named, str) else list(named)
            cells = [column] if isinstance(column, str) else list(column)
            values |= {
                name: record.values.get(cell) for name, cell in zip(names, cells, strict=False)
            }
        yield json.dumps(values, ensure_ascii=False)


def compared(
    predictor: Predictor, program: Path, bundle: Path, lines: Sequence[str], flags: Sequence[str]
) -> Twins:
    """Runs both sides on the same lines. Raises CalledProcessError where onelayer-run fails."""
    started = time.perf_counter()
    chunks = predict_lines(predictor, [f"{line}\n" for line in lines])
    wanted = b"".join(map(JsonlOutput().body, chunks)).splitlines()
    between = time.perf_counter()
    given = "".join(f"{line}\n" for line in lines).encode()
    command = [str(program), str(bundle), *flags]
    found = subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True).stdout
    seconds = between - started, time.perf_counter() - between
    theirs = found.split(b"\n")[:-1]
    pairs = [(a.decode(), b.decode()) for a, b in zip(wanted, theirs, strict=False) if a != b]
    gaps = [_difference(json.loads(a), json.loads(b)) for a, b in pairs]
    known = [gap for gap in gaps if gap is not None]
    return Twins(
        lines=max(len(wanted), len(theirs)),
        equal=min(len(wanted), len(theirs)) - len(pairs),
        largest=max(known, default=0.0) if len(known) == len(gaps) else None,
        seconds=seconds,
        examples=tuple(pairs[:SHOWN]),
    )


def _difference(one: Any, other: Any) -> float | None:
    """The largest difference of two numbers in two values; None where anything else differs."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other)
    if isinstance(one, dict) and isinstance(other, dict):
        if list(one) != list(other):
            return None
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        inner = [_difference(a, b) for a, b in zip(one, other, strict=True)]
        return None if None in inner else max(filter(None, inner), default=0.0)
    return 0.0 if one == other else None


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--coverage", type=float)
    parser.add_argument("--abstain", type=float)
    parser.add_argument("--program", type=Path, default=PROGRAM)
    given = parser.parse_args()
    opened = load(given.bundle, "native")
    predictor = replace(opened, engine=LogitsOnly(opened.engine)).with_guarantees(
        coverage=given.coverage, abstain=given.abstain
    )
    asked = {"--coverage": given.coverage, "--abstain": given.abstain}
    flags = [word for flag, share in asked.items() if share for word in (flag, str(share))]
    all_equal = True
    for file in given.files:
        lines = json_lines(predictor, file)
        found = compared(predictor, given.program, given.bundle, lines, flags)
        words = "" if found.equal == found.lines else "; other words"
        gap = words if found.largest is None else f"; numbers by {found.largest:.2g} at most"
        python, native = found.seconds
        print(
            f"{file}: {found.equal:,} of {found.lines:,} lines are equal"
            f"{gap if found.equal < found.lines else ''} "
            f"(Python {python:.1f} s, onelayer-run {native:.1f} s)"
        )
        for wanted, theirs in found.examples:
            print(f"  Python        {wanted:.400}\n  onelayer-run  {theirs:.400}")
        all_equal = all_equal and found.equal == found.lines
    return 0 if all_equal else 1


if __name__ == "__main__":
    sys.exit(main())
