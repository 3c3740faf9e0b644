"""Right options of other rows: practice in matching that needs no more labels.

A few questions teach a model which words right options have, but not to compare an option with its
context. So it also practises on contexts that each have their own right option and those of other
contexts (in-batch negatives; Henderson et al., 2017): there is one for each pair of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from onelayer.tokens.encodings import Encodings, EncodingsBuilder, Ints

OTHERS = 3
"""Options of other contexts in an example."""


@dataclass(frozen=True, slots=True)
class OtherOptions:
    """Makes examples of contexts and right options: the ``Practice`` of choose."""

    encodings: Encodings
    max_length: int
    right: Ints
    """The sequences with the right option of a row."""
    context: Ints
    """The number of the context of each of them."""

    @classmethod
    def of(cls, encodings: Encodings, max_length: int) -> Self | None:
        """None if all rows have the same context."""
        assert encodings.targets is not None, "training rows are labelled"
        right = np.flatnonzero(encodings.targets)
        numbers: dict[bytes, int] = {}
        context = [
            numbers.setdefault(_parts(encodings, one)[0].tobytes(), len(numbers))
            for one in right.tolist()
        ]
        return cls(encodings, max_length, right, np.asarray(context)) if len(numbers) > 1 else None

    def batch(self, n: int, rng: np.random.Generator) -> Encodings | None:
        builder, targets = EncodingsBuilder(), []
        for row in rng.integers(len(self.right), size=n).tolist():
            others = np.flatnonzero(self.context != self.context[row])
            drawn = rng.choice(others, min(OTHERS, len(others)), replace=False)
            context, own = _parts(self.encodings, int(self.right[row]))
            builder.start_row()
            for option in (
                own,
                *(_parts(self.encodings, int(self.right[i]))[1] for i in drawn.tolist()),
            ):
                # Of a text that is too long the context's end is left out, but for its [SEP].
                kept = max(1, self.max_length - len(option) - 1)
                first = [*context[:-1][:kept].tolist(), int(context[-1])]
                builder.add([*first, *option.tolist()][: self.max_length], len(first))
            targets += [1.0, *[0.0] * len(drawn)]
        made = builder.build(examples_are_rows=True)
        return replace(made, targets=np.asarray(targets, np.float32))


def _parts(encodings: Encodings, sequence: int) -> tuple[Ints, Ints]:
    """A sequence's context and option, each with the special tokens that follow it."""
    tokens = slice(*encodings.cu_seqlens[sequence : sequence + 2].tolist())
    ids, second = encodings.ids[tokens], encodings.segment_ids[tokens] == 1
    return ids[~second], ids[second]
