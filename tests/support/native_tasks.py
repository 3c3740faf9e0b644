"""The tasks in C++, called by themselves, next to those in Python."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.base import digest
from onelayer.base.compiled_code import Code, c_sources, compiler
from onelayer.tasks import AnyTask, task_to_json
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Cut, Encodings, Ints
from onelayer.tokens.pieces import Pieces
from onelayer.tokens.template import Template

SAME = 2e-7
"""Numbers are written to seven digits, and exp isn't the same to the last bit everywhere."""


@cache
def library() -> ctypes.CDLL:
    """The tasks' sources with a thin C interface for tests."""
    command = compiler("C++")
    assert command is not None
    code = Code(
        name="task_twins",
        folders=(Path(__file__).with_name("task_twins"),),
        flags=("-O0",),
        table=c_sources("flags.txt"),
        functions=("twin_open",),
        facts=[digest.of_file(path) for path in sorted(c_sources().rglob("*.[chi]*"))],
    )
    found = code.load(command)
    for name in ("twin_open", "twin_promising", "twin_encode", "twin_decode"):
        getattr(found, name).restype = ctypes.c_void_p
    found.twin_promising.argtypes = [ctypes.c_void_p, ctypes.c_double, ctypes.c_double]
    found.twin_encode.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
    found.twin_decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    found.twin_close.argtypes = found.twin_free.argtypes = [ctypes.c_void_p]
    found.twin_said.restype = ctypes.c_char_p
    return found


class NativeRefusal(Exception):  # noqa: N818
    """What the C++ side says where it refuses something."""


def said() -> str:
    message: bytes = library().twin_said()
    return message.decode()


def _pointer(found: int | None) -> int:
    if not found:
        raise NativeRefusal(said())
    return found


class NativeTask:
    """A task of onelayer.json, read in C++."""

    def __init__(self, task: AnyTask | dict[str, Any]) -> None:
        values = task if isinstance(task, dict) else task_to_json(task)
        self._task = _pointer(library().twin_open(json.dumps(values).encode()))

    def __del__(self) -> None:
        if hasattr(self, "_task"):
            library().twin_close(self._task)

    def promising(self, coverage: float = 0.0, abstain: float = 0.0) -> NativeTask:
        found = NativeTask.__new__(NativeTask)
        found._task = _pointer(library().twin_promising(self._task, coverage, abstain))
        return found

    def encode(self, rows: Sequence[dict[str, Any]], given: dict[str, Any]) -> NativeBatch:
        batch = library().twin_encode(self._task, *(_json(one) for one in (rows, given)))
        return NativeBatch(self, _pointer(batch), json.loads(said()))


@dataclass(eq=False)
class NativeBatch:
    """Rows that were encoded in C++."""

    task: NativeTask
    batch: int
    encodings: dict[str, list[int]]

    def __del__(self) -> None:
        library().twin_free(self.batch)

    def decode(self, logits: Logits) -> list[dict[str, Any]]:
        x = np.ascontiguousarray(logits, np.float32)
        _pointer(library().twin_decode(self.task._task, self.batch, x.ctypes.data))
        found: list[dict[str, Any]] = json.loads(said())
        return found


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


@dataclass
class LetterPieces:
    """A tokenizer for tests: a letter is a piece, a capital is two, a z or a space is none. A k
    takes what stands before it into its piece. It remembers what it was asked."""

    template: Template
    unk_id: int = 1
    texts: dict[str, Any] = field(default_factory=dict)
    words: dict[str, Any] = field(default_factory=dict)

    def _of(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for i, letter in enumerate(text):
            n = 0 if letter in "z " else 2 if letter.isupper() else 1
            ids += [100 + ord(letter) % 1000 + k for k in range(n)]
            offsets += [(max(i - (letter == "k"), 0), i + 1)] * n
        self.texts[text] = {"ids": ids, "offsets": offsets}
        return ids, offsets

    def pieces(self, texts: Sequence[str], *, with_spans: bool = False) -> Pieces:
        found = list(map(self._of, texts))
        spans = [offsets for _, offsets in found] if with_spans else None
        return Pieces.of([ids for ids, _ in found], spans)

    def encode_words(
        self, texts: Sequence[str], words: Sequence[Sequence[tuple[int, int]]]
    ) -> list[LettersOfWords]:
        found = []
        for text, spans in zip(texts, words, strict=True):
            each = [self._of(text[start:end])[0] for start, end in spans]
            ids = [one for word in each for one in word]
            word_of = [number for number, one in enumerate(each) for _ in one]
            self.words[text] = {"spans": list(spans), "ids": ids, "word_of": word_of}
            found.append(LettersOfWords(ids, word_of))
        return found

    def given(self) -> dict[str, Any]:
        """What the C++ side may ask."""
        frame = dataclasses.asdict(self.template)
        return {**frame, "unknown": self.unk_id, "texts": self.texts, "words": self.words}


@dataclass
class LettersOfWords:
    ids: list[int]
    word_ids: list[int]


def check_encodings(found: dict[str, list[int]], expected: Encodings) -> None:
    """Raises AssertionError where two sides made other arrays of the same rows."""
    pairs: dict[str, Ints] = {
        "ids": expected.ids,
        "segments": expected.segment_ids,
        "cu_seqlens": expected.cu_seqlens,
        "reads": expected.reads,
        "cu_reads": expected.cu_reads,
        "cu_rows": expected.cu_rows,
    }
    for name, wanted in pairs.items():
        assert found[name] == wanted.tolist(), name
    assert Cut.of(np.array(found["unread"]), np.array(found["text_tokens"])) == expected.cut
    if expected.offsets is not None:
        offsets = np.reshape(found["offsets"], (-1, 2))
        offsets[offsets[:, 0] > offsets[:, 1]] = -1  # [CLS]
        assert offsets.tolist() == expected.offsets.tolist()


def are_alike(a: Any, b: Any) -> bool:
    """Whether two JSON values are the same, but for a number's last digit; keys in one order."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=SAME)
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(are_alike(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(are_alike, a, b))
    return type(a) is type(b) and bool(a == b)


def check_twin(
    task: AnyTask,
    rows: Sequence[Any],
    values: Sequence[dict[str, Any]],
    tokenizer: LetterPieces,
    rng: np.random.Generator,
    native: NativeTask | None = None,
) -> list[Any]:
    """The Python task's predictions for rows with random logits. Raises AssertionError where the
    C++ side has other tokens, or other predictions.

    Parameters
    ----------
    rows
        The rows of the Python side.
    values
        The same rows for the C++ side.
    native
        The task, if it isn't just ``task``.
    """
    tokens: Any = tokenizer
    encodings = task.encode(rows, tokens, labelled=False)
    batch = (native or NativeTask(task)).encode(values, tokenizer.given())
    check_encodings(batch.encodings, encodings)
    shape = len(encodings.reads), len(task.outputs)
    logits = rng.normal(scale=3.0, size=shape).astype(np.float32)
    if rng.random() < 0.5:  # equal ones are frequent
        logits = np.round(logits)
    predictions = task.decode(rows, encodings, logits)
    for found, wanted in zip(batch.decode(logits), predictions, strict=True):
        expected = json.loads(json.dumps(wanted.to_json()))
        assert are_alike(found, expected), (found, expected)
    return predictions
