"""Runs ``onelayer`` on every case as a user would and prints each run's outcome as a JSON line.

    PYTHONPATH=tests python -m support.hostile [--all] [BEGINNING-OF-A-NAME ...]

Runs the first command of each case, or all commands with ``--all``. Each run is a fork of this
process, which has already imported all that onelayer needs, so that only the refusal is measured.
The system ends a run after SECONDS of processor time and denies it more than MEGABYTES of extra
memory. Linux only.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from support.hostile import CASES
from support.hostile.case import GOOD_ROWS, Case, write_model

SECONDS = 4
"""Whole seconds, as the system requires; ``benchmarks.robustness.hostile`` uses 1."""
MEGABYTES = 200
STUCK = 60
"""Seconds of real time after which a run that only waits, such as for a pipe, is ended."""


def main(arguments: list[str]) -> None:
    import_all()
    names = tuple(name for name in arguments if name != "--all")
    for case in CASES:
        if case.name.startswith(names or ""):
            for command in case.commands if "--all" in arguments else case.commands[:1]:
                print(json.dumps(run(case, command)), flush=True)


def import_all() -> None:
    """Imports everything that commands import late, so that no case is charged for it."""
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    for name in (
        *("inspection.inspect", "evaluation.evaluate", "prediction.formats", "training.finetune"),
        *("prediction.from_run", "prediction.streams"),
    ):
        import_module(f"onelayer.{name}")
    import_module("pyarrow.parquet")
    gc.freeze()  # a collection would write to every page shared with a fork, and so copy it


def run(case: Case, command: Sequence[str]) -> dict[str, Any]:
    """The outcome of one of the case's commands."""
    with TemporaryDirectory(prefix="hostile-") as home:
        folder = Path(home)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        write_model(folder / "good")
        (folder / "rows.csv").write_text(GOOD_ROWS, encoding="utf-8")
        for name in ("case", "here"):
            (folder / name).mkdir()
        it = case.make(folder / "case")
        places = {"model": folder / "good", "rows": folder / "rows.csv", "it": it}
        arguments = [part.format_map(places) for part in command]
        if command[0] == "train":
            arguments += ["--out", str(folder / "run")]
        outcome = in_a_fork(arguments, folder / "here")
        left = [path.name for path in folder.glob("here/*")]
        left += ["run"] * (folder / "run").exists()
    return {"case": case.name, "says": case.says, "command": command[0], "left": left, **outcome}


def in_a_fork(arguments: list[str], here: Path) -> dict[str, Any]:
    """Exit code, stderr, seconds and megabytes of one command."""
    told, telling = os.pipe()
    with TemporaryFile("w+") as errors:
        if not (child := os.fork()):
            code = 1
            try:
                os.chdir(here)
                os.dup2(errors.fileno(), 2)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                code = limited(arguments, telling)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        os.close(telling)
        with os.fdopen(told) as pipe:
            figures = json.loads(pipe.read() or "{}")
        _, status = os.waitpid(child, 0)
        errors.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "stderr": errors.read(),
            "seconds": figures.get("seconds"),
            "mb": figures.get("mb"),
        }


def limited(arguments: list[str], telling: int) -> int:
    from onelayer.cli.main import main as onelayer

    there, data = memory("VmRSS"), memory("VmData")
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (data + (MEGABYTES << 20),) * 2)
    signal.alarm(STUCK)
    began = time.process_time()
    code = onelayer(arguments)
    seconds, mb = time.process_time() - began, (memory("VmHWM") - there) / 1e6
    os.write(telling, json.dumps({"seconds": seconds, "mb": mb}).encode())
    return code


def memory(key: str) -> int:
    """A value of ``/proc/self/status`` in bytes."""
    with open("/proc/self/status") as status:
        found = re.search(rf"{key}:\s*(\d+) kB", status.read())
    assert found is not None
    return int(found[1]) << 10


if __name__ == "__main__":
    main(sys.argv[1:])
