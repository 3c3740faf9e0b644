"""Kills training runs at random moments with SIGKILL, and checks what they leave.

    python -m benchmarks.robustness.kill --kills 200

A state is saved after every step. After each kill the newest state must be readable and at most one
step behind the last reported step, and the same command must continue from it. Every other kill is
aimed at the moment in which a better model replaces the one before. A directory that has had a
model must then hold one of the two, whole. When a run finishes, its files must equal those of an
uninterrupted run, byte for byte. The model is a small random BERT with dropout and the rows are
generated, so no data is needed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import shared_memory
from pathlib import Path

import onelayer
from onelayer.checkpoint.read import read_checkpoint
from onelayer.training import run_store
from onelayer.training.history import RunProgress
from onelayer.training.progress import Silent
from onelayer.training.resume import is_unfinished
from onelayer.training.run_store import Store

WORDS = tuple("abcdefghijklmnopqrstuvwxyz")
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROWS = 200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--uninterrupted", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.uninterrupted:
        train(arguments.uninterrupted, Silent())
        return 0
    Store.is_state_due = lambda _: True  # type: ignore[method-assign]
    random.seed(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
        return kill_and_check(Path(name), arguments.kills)


def kill_and_check(folder: Path, kills: int) -> int:
    write_rows(folder / "rows.jsonl")
    write_bert(folder / "bert")
    uninterrupted = folder / "uninterrupted" / "run"
    # Another process has another hash seed.
    command = [sys.executable, "-m", "benchmarks.robustness.kill", "--uninterrupted", uninterrupted]
    subprocess.run(command, check=True)
    expected = files_of(uninterrupted)
    out = folder / "killed" / "run"
    started = time.monotonic()
    one_run(out, None)
    whole = time.monotonic() - started
    assert files_of(out) == expected, "a repeated run wrote other bytes"
    shutil.rmtree(out.parent)
    print(f"{len(expected)} files, {whole:.1f} s a run with a state after every step")
    finished, most_lost, killed_before_a_state, whole_models = 0, 0, 0, 0
    for kill in range(1, kills + 1):
        aimed = kill % 2 == 0
        had_model = (out / "config.json").is_file()
        seconds = random.uniform(0.0, 0.02) if aimed else random.uniform(0.0, 0.4) * whole
        reported = one_run(out, seconds, aimed=aimed)
        if reported is None:
            finished += 1
            assert files_of(out) == expected, f"run {finished} wrote other bytes"
            shutil.rmtree(out.parent)
            continue
        if had_model or best_step(out):
            read_checkpoint(out)
            whole_models += 1
        warnings: list[str] = []
        saved = Store(out, "").newest_state(warnings.append)
        assert not warnings, warnings
        killed_before_a_state += saved is None
        most_lost = max(most_lost, reported - (saved.history.step if saved else 0))
        if kill % 20 == 0:
            print(f"{kill} kills, {finished} runs finished, at most {most_lost} steps lost")
    one_run(out, None)
    assert files_of(out) == expected, "the last run wrote other bytes"
    print(
        f"{kills} kills: {finished + 1} runs finished, all with the bytes of an uninterrupted run; "
        f"at most {most_lost} steps lost; {killed_before_a_state} killed before the first state; "
        f"{whole_models} had a model, each whole"
    )
    return int(most_lost > 1)


class Reports(Silent):
    """Writes the last step to memory that the parent process reads."""

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory

    def step(self, progress: RunProgress) -> None:
        self.memory[:4] = progress.step.to_bytes(4, "little")

    def watch_replacements(self, out: Path) -> None:
        """Notes in the memory when a model begins to replace another one."""
        publish = run_store.publish

        def watched(target: Path, write: Callable[[Path], None]) -> None:
            self.memory[4] = target == out and target.exists()
            publish(target, write)
            self.memory[4] = 0

        run_store.publish = watched  # type: ignore[attr-defined]


def best_step(out: Path) -> int:
    """The step of the best model that the newest state knows; 0 without one."""
    saved = Store(out, "").newest_state(lambda _: None)
    return saved.history.best_step if saved else 0


def one_run(out: Path, seconds: float | None, *, aimed: bool = False) -> int | None:
    """Runs the command and kills it after ``seconds``; ``aimed``, so long after a model begins to
    replace another one. Returns the last reported step, or None if the run has finished."""
    memory = shared_memory.SharedMemory(create=True, size=5)
    try:
        child = os.fork()
        if not child:
            code = 1
            try:
                reports = Reports(memory.buf)
                reports.watch_replacements(out)
                train(out, reports)
                code = 0
            finally:
                os._exit(code)
        ended = status = 0
        while aimed and not ended and not memory.buf[4]:
            time.sleep(0.0005)
            ended, status = os.waitpid(child, os.WNOHANG)
        if seconds is not None and not ended:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(status if ended else os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL), f"the run failed with {code}"
        return None if code == 0 else int.from_bytes(memory.buf[:4], "little")
    finally:
        memory.close()
        memory.unlink()


def train(out: Path, reporter: Silent) -> None:
    import torch

    torch.set_num_threads(1)
    folder = out.parent.parent
    if (out / "report.html").is_file() and not is_unfinished(out):  # killed after its last line
        return
    onelayer.finetune(
        folder / "rows.jsonl",
        out=out,
        model=str(folder / "bert"),
        epochs=4,
        batch_size=16,
        lr=0.005,
        reporter=reporter,
    )


def files_of(run: Path) -> dict[str, bytes]:
    """All files except measured times and the report, which draws them."""
    clocked = ("timing.json", "report.html")
    return {path.name: path.read_bytes() for path in run.iterdir() if path.name not in clocked}


def write_rows(path: Path) -> None:
    rng = random.Random(0)
    lines = (
        f'{{"text": "{" ".join(rng.choices(WORDS, k=rng.randint(2, 30)))}", "label": "{i % 3}"}}'
        for i in range(ROWS)
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_bert(folder: Path) -> None:
    import transformers

    config = transformers.BertConfig(
        vocab_size=len(MARKS) + len(set(WORDS)),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    transformers.BertModel(config).save_pretrained(folder)
    vocabulary = [*MARKS, *sorted(set(WORDS))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
