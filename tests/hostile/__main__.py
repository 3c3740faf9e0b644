"""Runs ``onelayer`` on every case as a user would and prints what came of it, a JSON line a run.

    python -m hostile [BEGINNING-OF-A-NAME ...]

Each run is a fork of this process, which has imported all that onelayer needs, so that what is
measured is the refusal. It may take SECONDS of a processor and MEGABYTES of memory more than there
was: the system ends it otherwise. Linux only.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hostile import CASES
from hostile.case import FILE, GOOD_ROWS, MODEL, Case, write_model

SECONDS = 4
"""A limit of the whole seconds that the system can be told; ``benchmarks/hostile.py`` has 1."""
MEGABYTES = 200
STUCK = 60
"""Seconds until what takes no time but never ends, such as a pipe's reader, is given up."""


def main(names: list[str]) -> None:
    import_all()
    for case in CASES:
        if not names or case.name.startswith(tuple(names)):
            for result in run(case):
                print(json.dumps(result), flush=True)


def import_all() -> None:
    """Everything that a command imports late."""
    import pyarrow.parquet  # noqa: F401
    import torch
    import onelayer.train.finetune  # noqa: F401
    import onelayer.runtime.evaluate  # noqa: F401
    import onelayer.inspection  # noqa: F401
    import onelayer.runtime.output  # noqa: F401

    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_OFFLINE"] = "1"


def run(case: Case) -> Iterator[dict[str, Any]]:
    """What each of the case's commands came to."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as home:
        folder = Path(home)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        write_model(folder / "good")
        (folder / "rows.csv").write_text(GOOD_ROWS, encoding="utf-8")
        (folder / "case").mkdir()
        (folder / "here").mkdir()
        places = {
            "model": folder / "good",
            "rows": folder / "rows.csv",
            "it": case.make(folder / "case"),
        }
        for command in case.commands:
            arguments = [part.format_map(places) for part in command]
            if command[0] == "train":
                arguments += ["--out", str(folder / "run")]
            outcome = in_a_fork(arguments, folder / "here")
            left = sorted(path.name for path in (folder / "here").iterdir())
            yield {"case": case.name, "says": case.says, "command": command[0]} | outcome | {"left": left, "run": (folder / "run").exists()}


def in_a_fork(arguments: list[str], here: Path) -> dict[str, Any]:
    """Exit code, stderr, seconds and megabytes of one command."""
    told, telling = os.pipe()
    errors = tempfile.TemporaryFile("w+")
    if not (child := os.fork()):
        code = 1
        try:
            os.close(told)
            os.chdir(here)
            os.dup2(errors.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = limited(arguments, telling)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(telling)
    with os.fdopen(told) as pipe:
        measured = pipe.read()
    _, status = os.waitpid(child, 0)
    errors.seek(0)
    with errors:
        lines = errors.read()
    figures = json.loads(measured) if measured else {"seconds": None, "cpu": None, "mb": None}
    return {"code": os.waitstatus_to_exitcode(status), "stderr": lines, **figures}


def limited(arguments: list[str], telling: int) -> int:
    from onelayer.cli import main as onelayer

    before, data = (memory(key) for key in ("VmRSS", "VmData"))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (data + (MEGABYTES << 20),) * 2)
    signal.alarm(STUCK)
    began = time.perf_counter()
    code = onelayer(arguments)
    seconds = time.perf_counter() - began
    figures = {
        "seconds": seconds,
        "cpu": time.process_time(),
        "mb": (memory("VmHWM") - before) / 1e6,
    }
    sys.stderr.flush()
    os.write(telling, json.dumps(figures).encode())
    return code


def memory(key: str) -> int:
    """Bytes, as ``/proc/self/status`` has them."""
    with open("/proc/self/status") as status:
        found = re.search(rf"{key}:\s*(\d+) kB", status.read())
    assert found is not None
    return int(found[1]) << 10


if __name__ == "__main__":
    main(sys.argv[1:])
