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
from onelayer.tokens.template import Template

OTHERS = 3
"""Options of other contexts in an example."""


@dataclass(frozen=True, slots=True)
class OtherOptions:
    """Makes examples of contexts and right options: the ``Practice`` of choose."""

    encodings: Encodings
    template: Template
    max_length: int
    right: Ints
    """The sequences with the right option of a row."""
    context: Ints
    """The number of the context of each of them."""

    @classmethod
    def of(cls, encodings: Encodings, template: Template, max_length: int) -> Self | None:
        """None if all rows have the same context."""
        assert encodings.targets is not None, "training rows are labelled"
        right = np.flatnonzero(encodings.targets)
        numbers: dict[bytes, int] = {}
        context = [
            numbers.setdefault(_parts(encodings, one)[0].tobytes(), len(numbers))
            for one in right.tolist()
        ]
        if len(numbers) < 2:
            return None
        return cls(encodings, template, max_length, right, np.asarray(context))

    def batch(self, n: int, rng: np.random.Generator) -> Encodings | None:
        builder, targets = EncodingsBuilder(self.template.second_segment), []
        n_between = len(self.template.between)
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
                kept = max(1, self.max_length - len(option) - n_between)
                first = [*context[:-n_between][:kept].tolist(), *self.template.between]
                builder.add([*first, *option.tolist()][: self.max_length], len(first))
            targets += [1.0, *[0.0] * len(drawn)]
        made = builder.build(examples_are_rows=True)
        return replace(made, targets=np.asarray(targets, np.float32))


def _parts(encodings: Encodings, sequence: int) -> tuple[Ints, Ints]:
    """A sequence's context and option, each with the special tokens that follow it."""
    start, end = encodings.cu_seqlens[sequence : sequence + 2].tolist()
    second = start + int(encodings.second_at[sequence])
    return encodings.ids[start:second], encodings.ids[second:end]
