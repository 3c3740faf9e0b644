"""What a case is, and how it is tried."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelayer.cli.main import main


@dataclass(frozen=True)
class Case:
    """An input as people have it, and the outcome that is right."""

    file: str
    """Its path inside the folder of cases."""
    outcome: str
    """The right outcome, in a few words."""
    check: Callable[[Trial, Path], str]
    """Tries the file; returns what happened, in a few words, or raises `WrongOutcomeError`."""


class WrongOutcomeError(Exception):
    """Something else happened than the right outcome."""


def expect(is_right: bool, happened: object) -> None:
    if not is_right:
        raise WrongOutcomeError(str(happened))


@dataclass(frozen=True)
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The line that the command failed with."""
        lines = [line for line in self.err.splitlines() if line.startswith("onelayer: ")]
        expect("Traceback" not in self.err, f"a traceback: {self.err.strip().splitlines()[-1:]}")
        expect(len(lines) == 1, f"exit {self.code}, {len(lines)} error lines: {self.err[-300:]!r}")
        return lines[0].removeprefix("onelayer: ")


class Trial:
    """Runs commands of onelayer on the cases, each in a fork, with a tiny model as the starter."""

    def __init__(self, model: Path, scratch: Path) -> None:
        self.model = model
        self.scratch = scratch
        self._runs: dict[tuple[str, ...], Path] = {}

    def onelayer(self, *arguments: object, stdin: bytes = b"") -> Ran:
        """Runs a command line to its end."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            given = Path(folder, "in")
            given.write_bytes(stdin)
            out, err = Path(folder, "out"), Path(folder, "err")
            child = os.fork()
            if child == 0:
                _run_and_exit([str(a) for a in arguments], given, out, err)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said = (path.read_text(encoding="utf-8", errors="replace") for path in (out, err))
            return Ran(code, *said)

    def inspected(self, file: Path, *flags: object) -> dict[str, Any]:
        """What ``inspect --json`` says of a file that it reads."""
        ran = self.onelayer("inspect", file, "--model", self.model, "--json", *flags)
        expect(ran.code == 0, f"inspect: exit {ran.code}: {ran.err.strip()[-300:]}")
        found: dict[str, Any] = json.loads(ran.out)
        return found

    def trained(self, file: Path, *flags: object) -> Path:
        """The run of a file, trained for one epoch; trained once for the same flags."""
        key = (str(file), *map(str, flags))
        if key not in self._runs:
            run = self.scratch / f"run{len(self._runs)}"
            ran = self.onelayer(
                *("train", file, "--model", self.model, "--out", run, "--epochs", 1, *flags)
            )
            expect(ran.code == 0, f"train: exit {ran.code}: {ran.err.strip()[-300:]}")
            self._runs[key] = run
        return self._runs[key]

    def predicted(self, run: Path, file: object, *flags: object, stdin: bytes = b"") -> list[Any]:
        """The predictions of a run, as the rows of ``predict``'s jsonl."""
        ran = self.onelayer("predict", run, file, *flags, stdin=stdin)
        expect(ran.code == 0, f"predict: exit {ran.code}: {ran.err.strip()[-300:]}")
        return [json.loads(line) for line in ran.out.splitlines()]

    def refused(self, *arguments: object, says: str) -> str:
        """The line of a command that is refused with exit code 2 and these words."""
        ran = self.onelayer(*arguments)
        expect(ran.code == 2, f"{arguments[0]}: exit {ran.code}: {(ran.err or ran.out)[-300:]!r}")
        expect(says in ran.error, ran.error)
        return f"refused: {ran.error}"


def reads(*words: str, flags: tuple[object, ...] = (), **expected: object) -> Callable[..., str]:
    """A check that ``inspect`` reads the file as ``expected`` and says all of ``words``."""

    def check(trial: Trial, file: Path) -> str:
        found = trial.inspected(file, *flags)
        for name, value in expected.items():
            expect(found.get(name) == value, f"{name} is {found.get(name)!r}, not {value!r}")
        text = json.dumps(found, ensure_ascii=False)
        missing = [word for word in words if word not in text]
        expect(not missing, f"nothing is said of {missing}: {found.get('remarks')}")
        return f"read as {found['task']}, {found['rows']} rows"

    return check


def refuses(says: str, *flags: object) -> Callable[..., str]:
    """A check that ``inspect`` and ``train`` refuse the file in one line with these words."""

    def check(trial: Trial, file: Path) -> str:
        trial.refused("train", file, "--model", trial.model, *flags, says=says)
        return trial.refused("inspect", file, "--model", trial.model, *flags, says=says)

    return check


def _run_and_exit(arguments: list[str], stdin: Path, out: Path, err: Path) -> None:
    for number, path, mode in (
        (0, stdin, os.O_RDONLY),
        (1, out, os.O_WRONLY | os.O_CREAT),
        (2, err, os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(path, mode), number)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8") for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
