"""The C interface by ctypes, and onelayer-run inside this process."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_size_t, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from onelayer.base.compiled_code import Code, c_sources, compiler
from onelayer.base.library_structs import ByteRange, Found, RowInput, TextBytes, TextView
from onelayer.engines.native.library import CORE

HERE = Path(__file__).parent


class _Options(ctypes.Structure):
    _fields_ = (("coverage", c_double), ("abstain", c_double), ("threads", c_int))


_RESULTS = {
    "version": c_char_p,
    "error": c_char_p,
    "last_status": c_int,
    "open": c_void_p,
    "open_memory": c_void_p,
    "with": c_void_p,
    "close": None,
    "describe": c_char_p,
    "n_labels": c_size_t,
    "label": TextView,
    "predict": c_void_p,
    "count": c_size_t,
    "prediction_at": POINTER(Found),
    "json": c_char_p,
    "free": None,
}


@cache
def library() -> ctypes.CDLL:
    """libonelayer, built for the tests once."""
    return interface_of(CORE.load(str(compiler("C++"))))


def interface_of(found: ctypes.CDLL) -> ctypes.CDLL:
    """A library with the types of its functions' results."""
    for name, kind in _RESULTS.items():
        getattr(found, f"onelayer_{name}").restype = kind
    return found


class NativeFailure(Exception):  # noqa: N818
    """What a function of the library says when it fails, and its status."""

    def __init__(self, found: ctypes.CDLL) -> None:
        super().__init__(found.onelayer_error().decode())
        self.status: int = found.onelayer_last_status()


class NativeModel:
    """A model of the C interface."""

    def __init__(
        self, source: Path | bytes, found: ctypes.CDLL | None = None, **options: float
    ) -> None:
        self.library = found or library()
        given = byref(_Options(**options))
        if isinstance(source, bytes):
            opened = self.library.onelayer_open_memory(source, c_size_t(len(source)), given)
        else:
            opened = self.library.onelayer_open(os.fsencode(source), given)
        self._keep(opened)

    def _keep(self, opened: int | None) -> None:
        if not opened:
            raise NativeFailure(self.library)
        self.model = c_void_p(opened)

    def __del__(self) -> None:
        if hasattr(self, "model"):
            self.library.onelayer_close(self.model)

    def with_options(self, **options: float) -> NativeModel:
        made = NativeModel.__new__(NativeModel)
        made.library = self.library
        made._keep(self.library.onelayer_with(self.model, byref(_Options(**options))))
        return made

    def describe(self) -> str:
        found: bytes = self.library.onelayer_describe(self.model)
        return found.decode()

    def labels(self) -> list[str]:
        n = self.library.onelayer_n_labels(self.model)
        found = (self.library.onelayer_label(self.model, c_size_t(i)) for i in range(n))
        return list(map(str, found))

    def predict(self, inputs: Sequence[dict[str, Any]]) -> NativeResults:
        """Predictions for inputs by the names of `onelayer_input`'s fields."""
        given = (RowInput * len(inputs))(*map(_input_of, inputs))
        found = self.library.onelayer_predict(self.model, given, c_size_t(len(inputs)))
        if not found:
            raise NativeFailure(self.library)
        return NativeResults(self, given, found)


def _input_of(values: dict[str, Any]) -> RowInput:
    made = RowInput()
    for name, value in values.items():
        if name == "options":
            texts = list(map(_text_of, value))
            made.options, made.n_options = (TextBytes * len(texts))(*texts), len(texts)
        elif name == "words":
            words = [ByteRange(*word) for word in value]
            made.words, made.n_words = (ByteRange * max(len(words), 1))(*words), len(words)
        else:
            setattr(made, name, _text_of(value))
    return made


def _text_of(text: str | bytes | None) -> TextBytes:
    if text is None:
        return TextBytes(None, 0)
    data = text.encode() if isinstance(text, str) else text
    return TextBytes(data, len(data))


@dataclass
class NativeResults:
    """The results of a call; they keep the model and the texts alive."""

    model: NativeModel
    inputs: Any
    results: int

    def __del__(self) -> None:
        self.model.library.onelayer_free(c_void_p(self.results))

    def __len__(self) -> int:
        return int(self.model.library.onelayer_count(c_void_p(self.results)))

    def __getitem__(self, i: int) -> Found:
        found = self.model.library.onelayer_prediction_at(c_void_p(self.results), c_size_t(i))
        if not found:
            raise IndexError(i)
        one: Found = found.contents
        return one

    def json(self) -> list[str]:
        texts = self.model.library.onelayer_json
        found = [texts(c_void_p(self.results), c_size_t(i)) for i in range(len(self))]
        if None in found:
            raise NativeFailure(self.model.library)
        return [text.decode() for text in found]


# The program -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """What a program wrote, and its exit code."""

    out: bytes
    err: str
    code: int


def run_program(*arguments: str | Path, given: bytes = b"") -> Ran:
    """Runs onelayer-run in this process, with files in place of its pipes."""
    main = _program()
    words = [b"onelayer-run", *(os.fsencode(str(word)) for word in arguments)]
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout:
        stdin.write(given)
        stdin.seek(0)
        with tempfile.TemporaryFile() as stderr:
            with _redirected(stdin.fileno(), stdout.fileno(), stderr.fileno()):
                code = main(len(words), (c_char_p * (len(words) + 1))(*words, None))
            stdout.seek(0)
            stderr.seek(0)
            return Ran(stdout.read(), stderr.read().decode(), code)


@cache
def _program() -> Any:
    ctypes.CDLL(library()._name, ctypes.RTLD_GLOBAL)  # the program calls its functions
    code = Code(
        name="run_program",
        folders=(HERE / "run_program",),
        flags=("-O0",),
        functions=("onelayer_run_main",),
        facts=[
            path.read_bytes()
            for room in ("base", "program", "include")
            for path in sorted(c_sources(room).iterdir())
        ],
    )
    return code.load(str(compiler("C++"))).onelayer_run_main


@contextmanager
def _redirected(*files: int) -> Iterator[None]:
    kept = [os.dup(i) for i in range(len(files))]
    try:
        for i, file in enumerate(files):
            os.dup2(file, i)
        yield
    finally:
        for i, file in enumerate(kept):
            os.dup2(file, i)
            os.close(file)
