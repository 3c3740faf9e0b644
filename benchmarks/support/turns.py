"""Processes that take turns: each gets a number of steps, does them, and waits again.

A message is one line of JSON over the worker's stdin or stdout. Only one process works at a time;
the others sleep in a read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Turn = dict[str, Record]
"""The answer of each contestant, by its name."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The work of one step, for example an optimizer step."""

    lengths: list[int]
    """Real tokens of each sequence."""
    computed: int
    """Tokens that went through the model, padding included."""
    reads: list[int] | None = None
    """Vectors of each sequence that the new layer reads, if the contestant knows them."""


class Turns:
    """The worker's end."""

    def __init__(self, device: str) -> None:
        # Output of libraries must not mix with the messages.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        if (score := Path("/proc/self/oom_score_adj")).exists():
            score.write_text("1000")  # if memory runs out, the system kills this process first
        self._device = device
        self._left = 0
        self._steps: list[Record] = []
        self._started = self._cpu_started = 0.0
        self._resident = 0

    def ready(self) -> None:
        """Reports that imports and encoding are done, and waits until it may load the model."""
        self._resident = resident("VmRSS")
        self._say({})
        self._hear()

    def prepared(self, **chosen: Any) -> None:
        """Reports that the first turn can start, and the chosen settings."""
        self._say(chosen)

    def wait(self) -> bool:
        """Waits for the next turn; False if there is none. The clock of a turn starts here, so all
        work between two steps counts for one of them."""
        self._left = self._hear()
        self._steps = []
        self._started, self._cpu_started = time.perf_counter(), time.process_time()
        return self._left > 0

    def stepped(self, batch: Batch) -> bool:
        """Records a step. After the last step of a turn, reports and waits. False if no turn
        follows."""
        self._steps.append(asdict(batch))
        self._left -= 1
        if self._left:
            return True
        self._wait_for_device()
        spent = {
            "seconds": time.perf_counter() - self._started,
            "cpu_seconds": time.process_time() - self._cpu_started,
        }
        self._say({**spent, "steps": self._steps, "peak": self._peak()})
        return self.wait()

    def _peak(self) -> int:
        """Peak bytes of the device's memory, or the growth of the process since it has imported and
        encoded everything: weights, gradients, the optimizer's state, activations."""
        if self._device == "cuda":
            import torch

            return torch.cuda.max_memory_allocated()
        return resident("VmHWM") - self._resident

    def _wait_for_device(self) -> None:
        if self._device == "cuda":
            import torch

            torch.cuda.synchronize()

    def _say(self, message: Record) -> None:
        print(json.dumps(message), file=self._out, flush=True)

    def _hear(self) -> int:
        return int(sys.stdin.readline() or 0)


def resident(field: str) -> int:
    """Bytes of this process in memory: ``VmRSS`` now, ``VmHWM`` at the peak. 0 without /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


class WorkerDiedError(Exception):
    """A contestant's process has ended early; the message names it and its exit code."""


class Worker:
    """The parent's end of one contestant. Close it, or use it in a ``with`` statement."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.rounds: list[Record] = []
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def hear(self) -> Record:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            why = ", killed: was there too little memory?" if code == -9 else ""
            raise WorkerDiedError(f"{self.name} ended early, exit code {code}{why}")
        return json.loads(line)

    def say(self, number: int) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()

    def step(self, n: int) -> Record:
        """Starts a turn of n steps, and waits until they are done."""
        with suppress(BrokenPipeError):  # a dead worker sends nothing, which is noticed
            self.say(n)
        return self.hear()

    def close(self) -> None:
        """Ends the worker, also after an error."""
        self._process.kill()
        self._process.wait()


class Race:
    """The workers, and the reasons of those that failed."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.lost: dict[str, str] = {}

    def running(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.name not in self.lost]

    def ask(self, question: Callable[[Worker], Record], *, backwards: bool = False) -> Turn:
        """The answer of each worker, one after the other."""
        answers = {}
        running = self.running()
        for worker in reversed(running) if backwards else running:
            try:
                answers[worker.name] = question(worker)
            except WorkerDiedError as death:
                self.lost[worker.name] = str(death)
                say(f"  {death}")
        if not self.running():
            raise SystemExit("no contestant is left")
        return answers


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
