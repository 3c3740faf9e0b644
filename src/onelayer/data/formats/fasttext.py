"""Reads fastText's training files: ``__label__NAME`` once or several times in a line, and the text.

Source: https://fasttext.cc/docs/en/supervised-tutorial.html. The order is free; fastText takes each
word with the prefix as a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from onelayer.data.formats.file_format import FileFormat, Sample
from onelayer.data.formats.lines import text_lines
from onelayer.data.table import Record, Table

PREFIX = "__label__"
_LABELLED = re.compile(rf"\s*{PREFIX}[^\s,]+(?:\s|$)")
"""A comma after the label is a csv's."""
USUAL_SHARE = 0.9
"""The share of the first lines that have a label, at least."""


def read_fasttext(path: str) -> Table:
    """Reads a text and its label, or its labels, from each line that isn't blank."""

    def records() -> Iterator[Record]:
        for number, line in enumerate(text_lines(path), 1):
            if not line.isspace():
                yield Record(_values(line), number)

    return Table(path, "fasttext", ("text", "label"), records)


def _values(line: str) -> dict[str, object]:
    words = line.split()
    labels = [word.removeprefix(PREFIX) for word in words if word.startswith(PREFIX)]
    text = line.strip()
    while text.startswith(PREFIX):  # what is between the words of the text stays as it is
        text = "".join(text.split(maxsplit=1)[1:])
    if PREFIX in text:
        text = " ".join(word for word in text.split() if not word.startswith(PREFIX))
    return {"text": text, "label": labels[0] if len(labels) == 1 else labels}


def _recognises(sample: Sample) -> bool:
    lines = [line for line in sample.head if line.strip()]
    return sum(map(bool, map(_LABELLED.match, lines))) >= USUAL_SHARE * len(lines)


FASTTEXT = FileFormat(_recognises, lambda sample: read_fasttext(sample.path))
