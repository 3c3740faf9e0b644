"""Training on a file of millions of rows: the rate of tokenizing, the memory, and the time to the
first step.

    python -m benchmarks.training.data_at_scale [--rows 5000000] [--model starter] [--folder DIR]
    python -m benchmarks.training.data_at_scale --rows 0  # only the rates of tokenizing

Writes a csv of sentences from a seeded generator into a temporary folder with its own cache. Then
`onelayer train` trains a few steps on it in a process of its own: without a cached entry, with it,
and on a file of a thousand rows. libonelayer, which splits the texts, is built beforehand, as in a
wheel.

Memory is anonymous memory (RssAnon in /proc/PID/status, sampled twenty times a second). It excludes
mapped files, which the system can drop and read again. "Above the model" is the peak minus the peak
with a thousand rows, whose process has the same model, optimizer and libraries. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import tokenizers

from onelayer.base.machine import cache_home
from onelayer.checkpoint.source import resolve
from onelayer.data.readers import read_table
from onelayer.data.rows import read_rows
from onelayer.engines.native.library import why_no_library
from onelayer.engines.native.native_tokenizer import with_quick_splitter
from onelayer.recipe import Recipe
from onelayer.tasks import AnyTask
from onelayer.tasks.infer_columns import infer_columns
from onelayer.tokens.store import EncodingsWriter
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training.dataset import ROWS_PER_CHUNK, encode_ahead

STEPS = 3
BATCH = 32
SAMPLE = 100_000
ROUNDS = 5
SENTENCES = 12
"""In a passage: about 120 words, as in SQuAD."""
THEIR_CHUNK = 1024
"""Texts in each call of the library, which is slower with more at once."""

SUBJECTS = ["the train", "my neighbour", "this kettle", "our teacher", "the bridge", "a parcel"]
VERBS = ["arrived", "broke", "helped us", "sounded fine", "fell apart", "kept its promise", "sang"]
PLACES = ["near the station", "in the kitchen", "after lunch", "before the storm", "on Tuesday", ""]
GOOD = ["and everybody was delighted", "which was wonderful", "a real pleasure", "recommended"]
BAD = ["and nobody came back", "which was a waste of money", "a sad affair", "never again"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder")
    arguments = parser.parse_args()
    versions = f"Python {platform.python_version()}, tokenizers {tokenizers.__version__}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {versions}", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        file, small, sample = (folder / f"{name}.csv" for name in ("rows", "small", "sample"))
        tagged, asked = folder / "sample.conll", folder / "sample.jsonl"
        write(file, arguments.rows)
        write(small, 1000)
        write(sample, SAMPLE)
        write_tagged(tagged)
        write_asked(asked)
        for one in (sample, tagged, asked):
            measure_tokenizing(one, arguments.model)
        if not arguments.rows:
            return
        size = file.stat().st_size / 1e6
        print(f"{arguments.rows:,} rows of {size:,.0f} MB", flush=True)
        shutil.copytree(cache_home() / "libraries", folder / "cache" / "onelayer" / "libraries")
        base = run(small, 1000, arguments.model, folder)
        runs = {
            kind: run(file, arguments.rows, arguments.model, folder)
            for kind in ("not cached", "cached")
        }
        print("\n| run | first step after | peak anonymous memory | above the model |")
        print("|---|---|---|---|")
        print(f"| 1,000 rows | {base.first_step:.1f} s | {base.peak:,.0f} MB | |")
        for kind, one in runs.items():
            above = one.peak - base.peak
            print(f"| {kind} | {one.first_step:.1f} s | {one.peak:,.0f} MB | {above:,.0f} MB |")
        for what, told in runs["not cached"].passes.items():
            (began, first), (ended, last) = told[0], told[-1]
            if last > first:
                print(f"{what}: {(last - first) / (ended - began):,.0f} rows/s")
        entries = folder / "cache" / "onelayer" / "tokens"
        cached = sum(one.stat().st_size for one in entries.rglob("*") if one.is_file()) / 1e6
        print(f"cache: {cached:,.0f} MB on disk")


def write(file: Path, rows: int) -> None:
    """Sentences with labels that depend on some of their words; the same in every run."""
    with file.open("w", encoding="utf-8") as out:
        out.write("text,label\n")
        for text in _sentences(rows):
            good = any(words in text for words in GOOD)
            out.write(f"{text},{'good' if good else 'bad'}\n")


def _sentences(n: int) -> Iterator[str]:
    random_ = random.Random(1)
    pick = random_.choice
    for i in range(n):
        opinion = pick(GOOD if random_.random() < 0.5 else BAD)
        yield f"{pick(SUBJECTS)} {pick(VERBS)} {pick(PLACES)} {opinion} {i % 997}"


# Tokenizing ------------------------------------------------------------------------------------


def write_tagged(file: Path) -> None:
    """The same sentences with a tag for each word, a word a line."""
    with file.open("w", encoding="utf-8") as out:
        for text in _sentences(SAMPLE):
            tags = ["B-NUM" if word.isdigit() else "O" for word in text.split()]
            out.writelines(f"{word} {tag}\n" for word, tag in zip(text.split(), tags, strict=True))
            out.write("\n")


def write_asked(file: Path) -> None:
    """Passages of SENTENCES of the same sentences, and what is asked of each."""
    sentences = _sentences(SAMPLE)
    with file.open("w", encoding="utf-8") as out:
        for i in range(SAMPLE // SENTENCES):
            passage = ". ".join(islice(sentences, SENTENCES))
            answer = passage.split()[-1]
            row = {
                "question": f"Which number is last in text {i}?",
                "context": passage,
                "answers": {"text": [answer], "answer_start": [passage.rindex(answer)]},
            }
            out.write(json.dumps(row) + "\n")


def measure_tokenizing(file: Path, model: str) -> None:
    """onelayer from rows to arrays, and the library's own call on the same texts, in turn."""
    if reason := why_no_library():
        raise SystemExit(f"no libonelayer: {reason}")
    tokenizer = with_quick_splitter(Tokenizer.read(resolve(model)))
    backend = tokenizers.Tokenizer.from_str(tokenizer._backend.to_str())
    table = read_table(file)
    inferred = infer_columns(table, task=None, asked={})
    started = time.perf_counter()
    found = list(read_rows(inferred.kind, table, inferred.layout))
    reading = time.perf_counter() - started
    task = inferred.kind.fit(found, tokenizer, Recipe(), 512)
    call = _call_of_library(backend, task)

    def theirs() -> None:
        for start in range(0, len(found), THEIR_CHUNK):
            call(found[start : start + THEIR_CHUNK])

    def ours() -> None:
        chunks = (
            found[start : start + ROWS_PER_CHUNK] for start in range(0, len(found), ROWS_PER_CHUNK)
        )
        with tempfile.TemporaryDirectory() as folder, EncodingsWriter(Path(folder)) as writer:
            for encodings in encode_ahead(lambda c: task.encode(c, tokenizer, True), chunks):
                writer.append(encodings)

    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(ROUNDS):
        for name, side in (("theirs", theirs), ("ours", ours)):
            seconds[name].append(timed(side))
    rates = {name: len(found) / statistics.median(values) for name, values in seconds.items()}
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=True)]
    print(f"\n{task.name}: the library alone {rates['theirs']:,.0f} rows/s")
    print(
        f"rows to arrays on the disk: {rates['ours']:,.0f} rows/s, {statistics.median(ratios):.2f} "
        f"of it ({min(ratios):.2f} to {max(ratios):.2f} in {ROUNDS} rounds of {len(found):,} rows)"
    )
    print(f"reading and checking the file: {len(found) / reading:,.0f} rows/s", flush=True)


def _call_of_library(
    backend: tokenizers.Tokenizer, task: AnyTask
) -> Callable[[Sequence[Any]], object]:
    """What a script would call for rows of a task: where offsets aren't needed, without them."""
    if task.name == "tag":
        return lambda rows: backend.encode_batch_fast(
            [[row.text[start:end] for start, end in row.words] for row in rows],
            is_pretokenized=True,
            add_special_tokens=False,
        )
    if task.name == "answer":
        return lambda rows: backend.encode_batch(
            [(row.question, row.passage) for row in rows], add_special_tokens=False
        )
    return lambda rows: backend.encode_batch_fast(
        [row.text for row in rows], add_special_tokens=False
    )


def timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# A run -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Measured:
    """Measurements of a run from another process."""

    first_step: float = 0.0
    """Seconds from the start of the process to the first step."""
    peak: float = 0.0
    """MB of anonymous memory."""
    passes: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    """For each pass through the file, its progress over time."""


def run(file: Path, rows: int, model: str, folder: Path) -> Measured:
    out, log = folder / "run", folder / "log"
    epochs = STEPS * BATCH / rows
    command = [
        *(sys.executable, "-m", "onelayer", "train", str(file), "--json", "--out", str(out)),
        *("--model", model, "--epochs", str(epochs), "--batch-size", str(BATCH)),
    ]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    measured = Measured()
    started = time.perf_counter()
    seen = 0
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=stderr, env=environment
        )
        while process.poll() is None:
            time.sleep(0.05)
            measured.peak = max(measured.peak, anonymous(process.pid))
            now = time.perf_counter()
            lines = log.read_text().split("\n")[:-1]  # the last one may be incomplete
            for event in map(json.loads, lines[seen:]):
                if event["event"] == "start":
                    measured.first_step = now - started
                elif "rows" in event:
                    measured.passes.setdefault(event["event"], []).append((now, event["rows"]))
            seen = len(lines)
    shutil.rmtree(out, ignore_errors=True)
    if process.returncode:
        raise SystemExit(log.read_text())
    return measured


def anonymous(pid: int) -> float:
    """MB of anonymous memory of a process; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines: dict[str, Any] = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024 if "RssAnon" in lines else 0.0


if __name__ == "__main__":
    main()
