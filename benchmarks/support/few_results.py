"""The results of few_rows.py: a line of JSON for each run of a side."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    set: str
    size: str
    """As `Size` reads it, such as ``8c``."""
    seed: int
    side: str
    model: str
    rows: int
    """Rows that were trained on."""
    test_rows: int
    commit: str
    """The state of this repository when it was measured."""
    scores: dict[str, float] | None = None
    """By metric; None if the side took longer than the limit, which is then in ``seconds``."""
    seconds: float = 0.0
    machine: str = ""
    versions: str = ""

    @property
    def identity(self) -> tuple[str, str, int, str, str, int]:
        """Of two results with the same identity the later one counts."""
        return (self.set, self.size, self.seed, self.side, self.model, self.test_rows)


Results = dict[tuple[str, str, int, str, str, int], Result]


def newest(out: Path) -> Results:
    """The results in a file, by their identity."""
    if not out.exists():
        return {}
    found = (Result(**json.loads(line)) for line in out.read_text(encoding="utf-8").splitlines())
    return {result.identity: result for result in found}


def append(result: Result, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result)) + "\n")


def has_to_run(planned: Result, done: Results, *, again: bool, limit: float | None) -> bool:
    """Whether a result is missing: ``again`` counts only those of the current commit.

    A side that was ended with this many rows, or with fewer, isn't tried again with this limit.
    """
    if before := done.get(planned.identity):
        return again and before.commit != planned.commit
    return not any(too_slow(planned, each, limit) for each in done.values())


def too_slow(planned: Result, before: Result, limit: float | None) -> bool:
    same = (before.set, before.side, before.model) == (planned.set, planned.side, planned.model)
    in_vain = limit is not None and before.seconds >= limit
    return same and before.scores is None and before.rows <= planned.rows and in_vain


def current_commit() -> str:
    """The short hash, with ``-dirty`` if files differ from it; empty outside of a repository."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    folder = Path(__file__).parent
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def seeds_of(results: Iterable[Result]) -> dict[int, Result]:
    return {result.seed: result for result in results if result.scores is not None}
