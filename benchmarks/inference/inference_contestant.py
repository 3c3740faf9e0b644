"""One contestant of inference_speed.py, in a process of its own. Started by it, not by hand.

A turn goes from texts to answers: a pass over all rows, or some rows one after another. For
engines with settings, a short search finds the best ones first. They are saved in the engine's
folder, so the next run skips the search.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.inference.inference_peers import (
    INPUTS,
    PEERS,
    Floats,
    Ints,
    Setting,
    batches,
    pair_of,
    read_tokenizer,
    rectangle,
    session,
)
from benchmarks.support.turns import Batch, Turns

Record = dict[str, Any]
Inputs = list[list[str]]

ROWS_ONE_A_CALL = 32
"""Rows of a turn with one row a call."""
SHARE = 8
"""transformers gets every n-th row only: it is slow, and a turn should be short."""
TRIED = 4096
"""Approximate number of tokens that a setting is tried with."""
TRIES = 2
LONGEST_ANSWER = 30


class Contestant(Protocol):
    setting: str

    def answer(self, inputs: Inputs) -> object:
        """From texts to the result for a user: a label, or the text of an answer."""
        ...

    def logits(self, encodings: Record) -> Floats | None:
        """(R, C), one line for each read of the given arrays; None if they are in fp32."""
        ...


def main() -> None:
    spec = json.loads(sys.argv[1])
    turns = Turns("cpu")
    inputs: Inputs = json.loads(Path(spec["inputs"]).read_text(encoding="utf-8"))
    lengths = np.asarray(spec["lengths"])
    turns.ready()
    one_a_call = spec["way"] == "one"
    chosen = np.arange(len(inputs))
    if spec["side"] == "transformers" and not one_a_call:
        chosen = chosen[::SHARE]
    contestant = SIDES[spec["side"]](spec, [inputs[i] for i in chosen])
    if (logits := contestant.logits(dict(np.load(spec["encodings"])))) is not None:
        np.save(spec["logits"], logits)
    saved = None if logits is None else spec["logits"]
    turns.prepared(setting=contestant.setting, logits=saved)
    steps = ones(len(inputs)) if one_a_call else all_at_once(chosen)
    more = turns.wait()
    while more:
        rows = next(steps)
        given = [inputs[i] for i in rows]
        for part in [[row] for row in given] if one_a_call else [given]:
            contestant.answer(part)
        more = turns.stepped(Batch(lengths[rows].tolist(), computed=0))


def all_at_once(chosen: Ints) -> Iterator[Ints]:
    while True:
        yield chosen


def ones(n: int) -> Iterator[Ints]:
    start = 0
    while True:
        yield np.arange(start, start + ROWS_ONE_A_CALL) % n
        start += ROWS_ONE_A_CALL


# Ours.


class Ours:
    """A bundle as users open it, with the fastest engine or with a named one."""

    def __init__(self, spec: Record, inputs: Inputs) -> None:
        import onelayer

        self._predictor = onelayer.load(spec["bundle"], engine=spec["engine"])
        self.setting = self._predictor.engine.name
        self.answer(inputs[:ROWS_ONE_A_CALL])

    def answer(self, inputs: Inputs) -> object:
        return self._predictor.predict([pair_of(texts) for texts in inputs])

    def logits(self, encodings: Record) -> Floats:
        from onelayer.tokens.encodings import Encodings

        return self._predictor.engine.logits(Encodings(**encodings))


# The engines of others.


class Peer:
    def __init__(self, spec: Record, inputs: Inputs) -> None:
        self._name = spec["peer"]
        self._folder = Path(spec["converted"])
        self._answers = spec["task"] == "answer"
        stride = spec["stride"] if self._answers else None
        self._tokenizer = read_tokenizer(Path(spec["model"]), spec["max_length"], stride)
        self._open(remembered(spec, lambda: self._search(inputs, spec)))
        self.setting = str(self._setting)

    def _open(self, setting: Setting) -> None:
        self._setting = setting
        self._session = session(self._name, self._folder, setting)
        self._pool = ThreadPoolExecutor(setting.streams) if setting.streams > 1 else None

    def answer(self, inputs: Inputs) -> object:
        texts = [pair_of(one) for one in inputs]
        if not self._answers:
            found = self._run(self._tokenizer.encode_batch_fast(texts))
            return [int(row.argmax()) for row in found]
        windows, owners = [], []
        for i, first in enumerate(self._tokenizer.encode_batch(texts)):
            for window in (first, *first.overflowing):
                windows.append(window)
                owners.append(i)
        return best_answers(inputs, owners, windows, self._run(windows))

    def _run(self, encodings: list[Any]) -> list[Floats]:
        """The logits of each sequence without padding."""
        lengths = np.fromiter((len(one.ids) for one in encodings), np.int64, len(encodings))

        def run(part: Ints) -> Floats:
            return self._session(*rectangle([encodings[i] for i in part]).values())

        return self._each(batches(lengths, self._setting), lengths, run)

    def _each(
        self, parts: list[Ints], lengths: Ints, run: Callable[[Ints], Floats]
    ) -> list[Floats]:
        found: list[Floats] = [np.empty(0)] * len(lengths)
        results = self._pool.map(run, parts) if self._pool else map(run, parts)
        for part, logits in zip(parts, results, strict=True):
            for i, row in zip(part.tolist(), logits, strict=True):
                found[i] = row[: lengths[i]] if self._answers else row
        return found

    def logits(self, encodings: Record) -> Floats:
        cu, reads = encodings["cu_seqlens"], encodings["reads"]
        lengths = np.diff(cu)

        def run(part: Ints) -> Floats:
            mask = np.arange(lengths[part].max()) < lengths[part, None]
            arrays = [np.zeros(mask.shape, np.int64) for _ in INPUTS]
            arrays[1][mask] = 1
            for array, name in ((arrays[0], "ids"), (arrays[2], "segment_ids")):
                array[mask] = np.concatenate([encodings[name][cu[i] : cu[i + 1]] for i in part])
            return self._session(*arrays)

        found = self._each(batches(lengths, self._setting), lengths, run)
        if not self._answers:
            return np.stack(found)
        bounds = encodings["cu_reads"]
        return np.concatenate(
            [row[reads[bounds[i] : bounds[i + 1]]] for i, row in enumerate(found)]
        )

    # Search for the best setting.

    def _search(self, inputs: Inputs, spec: Record) -> Setting:
        """The best file, then the best number of threads, then the best batch size. Each is
        tried ``TRIES`` times, and the fastest try counts."""
        cores, one_a_call = len(os.sched_getaffinity(0)), spec["way"] == "one"
        best = Setting(PEERS[self._name][0], streams=cores, threads=1)
        if one_a_call:
            best = replace(best, streams=1, batch_size=1)
        step = max(1, sum(spec["lengths"]) // TRIED)
        sample = [[one] for one in inputs[:ROWS_ONE_A_CALL]] if one_a_call else [inputs[::step]]
        times: dict[Setting, float] = {}

        def better(*candidates: Setting) -> Setting:
            for setting in candidates:
                if setting not in times and (self._folder / setting.file).exists():
                    self._open(setting)
                    times[setting] = min(self._timed(sample) for _ in range(TRIES))
            return min(times, key=times.__getitem__)

        best = better(*(replace(best, file=file) for file in PEERS[self._name]))
        best = better(best, replace(best, streams=1, threads=cores))
        if one_a_call:
            return best
        sizes = [replace(best, batch_size=size) for size in (8, 16, 32, 64, 128)]
        budgets = [replace(best, budget=tokens) for tokens in (1024, 2048, 4096)]
        return better(*sizes, *budgets)

    def _timed(self, sample: list[Inputs]) -> float:
        started = time.perf_counter()
        for inputs in sample:
            self.answer(inputs)
        return time.perf_counter() - started


def remembered(spec: Record, search: Callable[[], Setting]) -> Setting:
    path = Path(spec["setting"])
    if not path.exists():
        path.write_text(json.dumps(asdict(search())), encoding="utf-8")
    return Setting(**json.loads(path.read_text(encoding="utf-8")))


# transformers, as people use it.


class Pipeline:
    """``pipeline("text-classification")``."""

    def __init__(self, spec: Record, inputs: Inputs) -> None:
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self.setting = f"{torch.get_num_threads()} threads"
        self._batch_size = spec["batch_size"]
        self._pipeline = transformers.pipeline("text-classification", model=spec["model"])
        self.answer(inputs[:2])

    def answer(self, inputs: Inputs) -> object:
        names = ("text", "text_pair")
        given = [t[0] if len(t) == 1 else dict(zip(names, t, strict=True)) for t in inputs]
        return self._pipeline(given, batch_size=self._batch_size, truncation=True)

    def logits(self, encodings: Record) -> None:
        return None


class Questions:
    """Version 5 of transformers has no pipeline for questions. Instead, the model reads the
    windows of one or several questions, as the pipeline of version 4 did."""

    def __init__(self, spec: Record, inputs: Inputs) -> None:
        import torch
        import transformers

        transformers.logging.disable_progress_bar()
        self.setting = f"{torch.get_num_threads()} threads"
        self._batch_size = spec["batch_size"]
        self._windows = {"max_length": spec["max_length"], "stride": spec["stride"]}
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(spec["model"])
        auto = transformers.AutoModelForQuestionAnswering
        self._model = auto.from_pretrained(spec["model"]).eval()
        self.answer(inputs[:2])

    def answer(self, inputs: Inputs) -> object:
        size = self._batch_size
        parts = [inputs[i : i + size] for i in range(0, len(inputs), size)]
        return [text for part in parts for text in self._batch(part)]

    def _batch(self, inputs: Inputs) -> list[str]:
        import torch

        windows = self._tokenizer(
            *map(list, zip(*inputs, strict=True)),
            truncation="only_second",
            padding=True,
            return_overflowing_tokens=True,
            return_tensors="pt",
            **self._windows,
        )
        owners = windows.pop("overflow_to_sample_mapping").tolist()
        with torch.inference_mode():
            output = self._model(**windows)
        logits = torch.stack([output.start_logits, output.end_logits], dim=-1).numpy()
        return best_answers(inputs, owners, windows.encodings, logits)

    def logits(self, encodings: Record) -> None:
        return None


def transformers_as_used(spec: Record, inputs: Inputs) -> Contestant:
    return (Questions if spec["task"] == "answer" else Pipeline)(spec, inputs)


def best_answers(
    inputs: Inputs, owners: Sequence[int], windows: Sequence[Any], logits: Iterable[Floats]
) -> list[str]:
    """The text of each question's best span; ``owners`` has the question of each window."""
    best = [(-np.inf, "")] * len(inputs)
    for i, window, rows in zip(owners, windows, logits, strict=True):
        score, start, end = best_span(window, rows)
        if score > best[i][0]:
            best[i] = score, inputs[i][1][start:end]
    return [text for _, text in best]


def best_span(window: Any, logits: Floats) -> tuple[float, int, int]:
    """The best start among the passage's tokens and the best end within the longest answer: their
    score, and their offsets in the passage."""
    passage = np.flatnonzero(window.type_ids)[:-1]  # without the last [SEP]
    first, last = int(passage[0]), int(passage[-1]) + 1
    start = first + int(logits[first:last, 0].argmax())
    end = start + int(logits[start : min(last, start + LONGEST_ANSWER), 1].argmax())
    score = float(logits[start, 0] + logits[end, 1])
    return score, window.offsets[start][0], window.offsets[end][1]


SIDES: dict[str, Callable[[Record, Inputs], Contestant]] = {
    "ours": Ours,
    "peer": Peer,
    "transformers": transformers_as_used,
}


if __name__ == "__main__":
    main()
