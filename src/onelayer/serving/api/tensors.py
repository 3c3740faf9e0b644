"""What goes through the Open Inference Protocol: predictions as named tensors, texts as bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onelayer.prediction.output import to_json
from onelayer.serving.request_errors import RequestError
from onelayer.tasks import AnswerTask, AnyTask, Choose, Classify, Regress

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor made of one value, or one list of values, of each prediction."""

    name: str
    datatype: Literal["BYTES", "FP32", "INT64"]
    of: Callable[[Any], Any]
    columns: tuple[int, ...] = ()
    """Its shape after the first dimension; -1: as many as there are."""


def outputs_of(task: AnyTask) -> list[Output]:
    """Every task's predictions as JSON, and what of them fits a tensor."""
    return [*_typed_outputs(task), Output("prediction", "BYTES", _as_json)]


def _typed_outputs(task: AnyTask) -> list[Output]:
    match task:
        case Classify(multi_label=True):
            chosen = Output("labels", "BYTES", lambda p: json.dumps(p.labels, ensure_ascii=False))
            return [chosen, _probabilities(len(task.labels))]
        case Classify():
            return [
                Output("label", "BYTES", lambda p: p.label or ""),
                Output("probability", "FP32", lambda p: p.probability),
                _probabilities(len(task.labels)),
            ]
        case Regress():
            return [Output("value", "FP32", lambda p: p.value)]
        case AnswerTask():
            return [
                Output("answer", "BYTES", lambda p: p.text),
                Output("score", "FP32", lambda p: p.score),
                Output("start", "INT64", lambda p: -1 if p.start is None else p.start),
                Output("end", "INT64", lambda p: -1 if p.end is None else p.end),
            ]
        case Choose():
            return [
                Output("index", "INT64", lambda p: p.index),
                Output("option", "BYTES", lambda p: p.option),
                Output("probabilities", "FP32", lambda p: p.probabilities, (-1,)),
            ]
    return []


def _probabilities(n: int) -> Output:
    return Output("probabilities", "FP32", lambda p: list(p.probabilities.values()), (n,))


def _as_json(prediction: Any) -> str:
    return json.dumps(to_json(prediction), ensure_ascii=False)


def texts_of(data: memoryview, size: int) -> list[str]:
    """A BYTES tensor: each element after its length in four bytes. Raises RequestError."""
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


def array_of(output: Output, predictions: Sequence[Any]) -> Array:
    """A value for each prediction, (n,) or (n, columns)."""
    kinds: dict[str, np.dtype[Any]] = {
        "BYTES": np.dtype(object),
        "FP32": np.dtype("<f4"),
        "INT64": np.dtype("<i8"),
    }
    return np.asarray([output.of(one) for one in predictions], dtype=kinds[output.datatype])


def bytes_of(array: Array, datatype: str) -> bytes:
    """Row by row; each text after its length in four bytes."""
    if datatype != "BYTES":
        return array.tobytes()
    texts = [text.encode() for text in array.ravel().tolist()]
    return b"".join(part for text in texts for part in (struct.pack("<I", len(text)), text))
