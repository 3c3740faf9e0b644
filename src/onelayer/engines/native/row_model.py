"""Rows to predictions in the C++ library: it encodes, runs and decodes them without the GIL."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onelayer.base.errors import CheckpointError
from onelayer.base.library_structs import Found, RowInput, text_bytes
from onelayer.data.layout import Layout
from onelayer.engines.engine import FoundRows
from onelayer.engines.native.library import close_with
from onelayer.engines.native.native_tokenizer import NativeTokenizer, check_status
from onelayer.tasks import AnyTask, task_to_json
from onelayer.tokens.encodings import Cut

if TYPE_CHECKING:
    from onelayer.engines.native.native_engine import NativeEngine


class NativeRowModel:
    """A model that predicts for rows of a task."""

    def __init__(
        self, engine: NativeEngine, tokenizer: NativeTokenizer, task: AnyTask, layout: Layout
    ) -> None:
        """Raises CheckpointError where the library doesn't know the task."""
        self.task = task
        self._engine = engine  # keeps it alive
        self._library = library = engine.library
        texts = (text_bytes(json.dumps(part)) for part in (task_to_json(task), layout.to_json()))
        self._model = library.onelayer_model_of(
            engine.handle, tokenizer.handle, *texts, engine.threads
        )
        if self._model is None:
            raise CheckpointError(library.onelayer_error().decode())
        close_with(self, library.onelayer_close, self._model)

    def predict(self, rows: Sequence[Any]) -> FoundRows | None:
        """Predictions for rows; None where the library refuses one of them: Python then says why.
        Raises MemoryError."""
        inputs = []
        for row in rows:
            if (one := _input_of(self.task, row)) is None:
                return None
            inputs.append(one)
        library, n = self._library, len(rows)
        results = library.onelayer_predict(self._model, (RowInput * n)(*inputs), n)
        if results is None:
            check_status(library)
            return None
        try:
            return self._read(rows, library.onelayer_prediction_at(results, 0))
        finally:
            library.onelayer_free(results)

    def _read(self, rows: Sequence[Any], results: ctypes._Pointer[Found]) -> FoundRows:
        predictions, tokens, unread, whole = [], [], [], 0
        from_library = self.task.from_library
        for i, row in enumerate(rows):
            found = results[i]
            predictions.append(from_library(row, found))
            tokens.append(found.tokens)
            unread.append(found.unread)
            whole += found.text_tokens
        cut = Cut(sum(unread), sum(map(bool, unread)), whole, len(rows))
        return FoundRows(predictions, cut, tokens, unread)


def _input_of(task: AnyTask, row: Any) -> RowInput | None:
    try:
        return task.library_input(row)
    except UnicodeEncodeError:  # half of a surrogate pair is no UTF-8
        return None
