"""Tensors of the Open Inference Protocol: predictions by name, texts as bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.serving.request_errors import RequestError
from onelayer.tasks import AnyTask
from onelayer.tasks.predictions import OutputTensor

Array = NDArray[Any]


def outputs_of(task: AnyTask) -> list[OutputTensor]:
    """The output tensors of a task. ``prediction`` has each whole prediction as JSON."""
    return [*task.tensors(), OutputTensor("prediction", "BYTES", _as_json)]


def _as_json(prediction: Any) -> str:
    return json.dumps(prediction.to_json(), ensure_ascii=False)


def texts_of(data: memoryview, size: int) -> list[str]:
    """The elements of a BYTES tensor: each has its length in four bytes before it.

    Raises RequestError.
    """
    found = []
    at = 0
    try:
        while at < size:
            (length,) = struct.unpack_from("<I", data, at)
            text = data[at + 4 : at + 4 + length]
            if len(text) < length:
                raise RequestError(400, "a tensor ends within an element")
            found.append(str(text, "utf-8"))
            at += 4 + length
    except (struct.error, UnicodeDecodeError):
        raise RequestError(400, "a tensor's bytes are no texts in UTF-8") from None
    return found


def array_of(output: OutputTensor, predictions: Sequence[Any]) -> Array:
    """An output's value for each prediction, (n,) or (n, columns)."""
    kinds: dict[str, np.dtype[Any]] = {
        "BYTES": np.dtype(object),
        "FP32": np.dtype("<f4"),
        "INT64": np.dtype("<i8"),
    }
    return np.asarray([output.of(one) for one in predictions], dtype=kinds[output.datatype])


def bytes_of(array: Array, datatype: str) -> bytes:
    """The array as bytes, row by row; each text has its length in four bytes before it."""
    if datatype != "BYTES":
        return array.tobytes()
    texts = [text.encode() for text in array.ravel().tolist()]
    return b"".join(part for text in texts for part in (struct.pack("<I", len(text)), text))


def largest(array: Array, count: int, labels: Sequence[str]) -> Array:
    """The largest ``count`` numbers of each row, (n, count) texts ``number:index``, with the label
    of the index behind it if there are ``labels``, as Triton writes classifications."""
    best = np.argsort(-array, axis=1, kind="stable")[:, :count]
    texts = [
        [":".join((f"{row[i]:f}", str(i), *labels[i : i + 1])) for i in chosen]
        for row, chosen in zip(array.tolist(), best.tolist(), strict=True)
    ]
    return np.asarray(texts, dtype=object)
