"""CPU seconds and memory that each hostile file of tests/support/hostile takes until it is refused.

    python -m benchmarks.robustness.hostile [START-OF-A-NAME ...]

Every command that would read a case runs it, in a fork of a process that has imported all of
onelayer, so the figures are those of the refusal alone. Memory is the additional peak. Prints the
slowest and the largest case of each kind. Fails if one takes more than a second or 200 MB, isn't
refused with exit code 2, or prints more than one line. Linux only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[2] / "tests"
SECONDS = 1.0
MEGABYTES = 200.0
OF_THE_SIZE = "and config.json makes it"
"""Training refuses weights by their size before it reads them."""


def main() -> None:
    command = [sys.executable, "-m", "support.hostile", "--all", *sys.argv[1:]]
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    failed = 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, cwd=TESTS, stdout=subprocess.PIPE, text=True, env=environment
    ) as run:
        assert run.stdout is not None
        for found in map(json.loads, run.stdout):
            kind, colon, _ = found["case"].partition(":")
            kinds[kind if colon else "no data file"].append(found)
            if why := what_is_wrong(found):
                failed += 1
                print(f"{found['case']}, {found['command']}: {why}", file=sys.stderr)
    print("| kind | cases | runs | slowest, s | | largest, MB | |\n|---|---|---|---|---|---|---|")
    for kind, runs in kinds.items():
        measured = [found for found in runs if found["seconds"] is not None]
        slow = max(measured, key=lambda found: found["seconds"])
        large = max(measured, key=lambda found: found["mb"])
        print(
            f"| {kind} | {len({found['case'] for found in runs})} | {len(runs)} "
            f"| {slow['seconds']:.2f} | {slow['case'].split(': ')[-1]} "
            f"| {large['mb']:.1f} | {large['case'].split(': ')[-1]} |"
        )
    total = sum(map(len, kinds.values()))
    cases = len({found["case"] for runs in kinds.values() for found in runs})
    print(f"\n{cases} cases, {total} runs, {failed} failed")
    sys.exit(failed > 0 or total == 0 or run.returncode != 0)


def what_is_wrong(found: dict[str, Any]) -> str | None:
    errors = [line for line in found["stderr"].splitlines() if line.startswith("onelayer: ")]
    if found["code"] != 2 or len(errors) != 1 or "Traceback" in found["stderr"]:
        return f"exit code {found['code']}, {len(errors)} lines"
    too_small_or_large = found["command"] == "train" and OF_THE_SIZE in errors[0]
    if found["says"] not in errors[0] and not too_small_or_large:
        return f"says {errors[0]!r}"
    if found["seconds"] is None:
        return "ended before it was measured"
    if found["left"]:
        return f"left {found['left']}"
    if found["seconds"] > SECONDS or found["mb"] > MEGABYTES:
        return f"{found['seconds']:.2f} s, {found['mb']:.0f} MB"
    return None


if __name__ == "__main__":
    main()
