"""What happens to texts that are longer than the model's limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from onelayer.serving.limits import Limits
from onelayer.serving.request_errors import RequestError
from onelayer.serving.scheduler.job_queue import Job
from onelayer.tokens.encodings import Encodings, first_sequences

LongTextPolicy = Literal["window", "truncate", "refuse"]
"""``window``: read all, for most tasks in sliding windows. ``truncate``: read the first window.
``refuse``: the request is an error."""


def apply_length_policy(job: Job, encodings: Encodings, limits: Limits) -> tuple[Encodings, int]:
    """The encodings that the model reads, and how many tokens it doesn't read.

    Raises RequestError for a text that is longer than the server or the caller allows.
    """
    unread = encodings.cut.tokens
    # The sequences of a row are windows, or options. What doesn't fit into an option is always cut.
    windowed = job.task.reads_windows and len(encodings.cu_seqlens) - 1 > len(encodings)
    if job.long == "refuse" and (unread or windowed):
        raise _too_long(job, encodings)
    if job.long == "truncate" and windowed:
        template, whole = job.predictor.tokenizer.template, encodings.cut.of_tokens
        encodings = first_sequences(encodings)
        special = np.isin(encodings.ids, template.ids)
        unread = whole - int(np.count_nonzero(~special))
    refuse_tokens(encodings, limits)
    return encodings, unread


def refuse_tokens(encodings: Encodings, limits: Limits) -> None:
    """Raises RequestError for an input of more tokens than the server reads."""
    tokens = np.diff(encodings.cu_seqlens[encodings.cu_rows])
    if error := too_many_tokens(tokens.tolist(), limits):
        raise error


def too_many_tokens(tokens: Sequence[int], limits: Limits) -> RequestError | None:
    """The error for an input of more tokens than the server reads; None if there is none.
    ``tokens`` are those of each input."""
    most = max(tokens, default=0)
    if most <= limits.max_tokens:
        return None
    return RequestError(
        422,
        f"input {1 + tokens.index(most)} has {most:,} tokens, its windows or options "
        f"together; the server reads {limits.max_tokens:,} at most",
    )


def _too_long(job: Job, encodings: Encodings) -> RequestError:
    """The error for the first input that is too long.

    Only inputs that fill a whole sequence can be too long, so few have to be encoded again.
    """
    limit = job.task.max_length
    for row in np.flatnonzero(np.diff(encodings.cu_seqlens[encodings.cu_rows]) >= limit).tolist():
        alone = job.task.encode([job.rows[row]], job.predictor.tokenizer, labelled=False)
        windowed = job.task.reads_windows and len(alone.cu_seqlens) > 2
        if alone.cut.tokens or windowed:
            return RequestError(
                422,
                f"input {row + 1} has {alone.cut.of_tokens:,} tokens, and the model reads "
                f"{limit:,} at once, special ones included",
            )
    return RequestError(422, f"an input is longer than the {limit:,} tokens that are read at once")
