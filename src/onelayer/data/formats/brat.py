"""What brat writes: texts in ``.txt`` files, each with an ``.ann`` file of the places of its
entities.

Source: https://brat.nlplab.org/standoff.html.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.data.formats.file_format import FileFormat, Sample
from onelayer.data.formats.lines import text_lines, whole_text
from onelayer.data.span_offsets import OffsetEvidence, Offsets, WrittenSpan, same_text
from onelayer.data.table import Record, Table

UNANNOTATED = "without an .ann file"
ONLY_ENTITIES = "relations, events and attributes aren't learned, only entities"

_ENTITY = re.compile(r"T\S*\t(\S+) (\d+ \d+(?:;\d+ \d+)*)(?:\t(.*))?")


@dataclass(frozen=True, slots=True)
class _Document:
    """A text and its entities; the places of those in parts are kept as they are written."""

    path: Path
    text: str
    spans: list[WrittenSpan]
    in_parts: list[tuple[int, dict[str, Any]]]
    """Where each begins, and what is known of it."""
    annotated: bool
    has_more: bool
    """Whether there are relations, events or attributes."""


def read_brat(path: str) -> Table:
    """Reads a folder of texts with ``.ann`` files, or the one text of an ``.ann`` file: a row for
    each line, with its ``entities``. Lines that an entity joins stay together.

    Raises
    ------
    DataError
        For a line of an ``.ann`` file that names no entity, and an entity without a place.
    """
    texts = _texts(Path(path))
    evidence = OffsetEvidence()
    for document in map(_read, texts):
        evidence.see(document.text, document.spans)
    offsets = evidence.reading()
    note = f"offsets are {offsets}: the entities' own texts tell it" * (offsets != Offsets())

    def records() -> Iterator[Record]:
        for document in map(_read, texts):
            yield from _rows(document, offsets)

    return Table(path, "brat", ("id", "text", "entities"), records, note or None)


def _texts(path: Path) -> list[Path]:
    if path.suffix == ".ann":
        text = path.with_suffix(".txt")
        if not text.is_file():
            hint = "put the text next to it, and name the .ann file or the folder"
            raise DataError(f"no {text.name}, the text of it", place=Place(path), hint=hint)
        return [text]
    return sorted(path.rglob("*.txt"))


def _read(path: Path) -> _Document:
    text = whole_text(str(path))
    annotations = path.with_suffix(".ann")
    document = _Document(path, text, [], [], annotations.is_file(), False)
    if not document.annotated:
        return document
    has_more = False
    for number, line in enumerate(text_lines(str(annotations)), 1):
        if not line.startswith("T"):
            has_more = has_more or line[:1] in "REAMN"
            continue
        match = _ENTITY.fullmatch(line.rstrip("\r\n"))
        if not match:
            hint = "brat writes T1, a tab, PER 0 4, a tab, and the text"
            message = f"no place of an entity: {line.strip():.60}"
            raise DataError(message, place=Place(annotations, number), hint=hint)
        _add(document, match[1], match[2], match[3])
    return _Document(path, text, document.spans, document.in_parts, True, has_more)


def _add(document: _Document, label: str, places: str, mention: str | None) -> None:
    """Adds an entity. Parts with white space between them, such as those on two lines, are one."""
    parts = [tuple(map(int, part.split(" "))) for part in places.split(";")]
    start, end = parts[0][0], parts[-1][1]
    whole = mention and same_text(document.text[start:end], mention)
    if len(parts) == 1 or whole:
        document.spans.append(WrittenSpan(start, end, label, mention))
    else:
        document.in_parts.append((start, {"start": places, "label": label}))


def _rows(document: _Document, offsets: Offsets) -> Iterator[Record]:
    """The lines of a text, with the entities in each."""
    placed, joined = _placed(document, offsets)
    starts = [start for start, _ in placed]
    repairs = (ONLY_ENTITIES,) if document.has_more else ()
    void = None if document.annotated else UNANNOTATED
    line = 1
    for begin, end in _lines(document.text, joined):
        part = document.text[begin:end]
        first, until = bisect_left(starts, begin), bisect_left(starts, end)
        entities = [_within(one, begin) for _, one in placed[first:until]]
        if part.strip() or entities:  # an entity of white space is told as a bad row
            values = {
                "id": f"{document.path.stem}-{line}",
                "text": part.rstrip("\r\n"),
                "entities": entities,
            }
            yield Record(values, line, void, repairs, path=str(document.path))
        line += part.count("\n")


def _placed(
    document: _Document, offsets: Offsets
) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[int, int]]]:
    """Each entity by the character from which it is known, in order, and the places that are right.
    A place that is wrong is told where rows are read; it stays in its line, as far as known."""
    text, last = document.text, max(len(document.text.rstrip()) - 1, 0)
    placed = list(document.in_parts)
    right: list[tuple[int, int]] = []
    for span in document.spans:
        at = offsets.place(text, span.start, span.end)
        start, end = at or (span.start, span.end)
        entity = {"start": start, "end": end, "label": span.label, "text": span.mention}
        placed.append((min(start, last), entity))
        if at and (span.mention is None or offsets.matches(text, span)):
            right.append(at)
    return sorted(placed, key=lambda one: one[0]), right


def _within(entity: dict[str, Any], begin: int) -> dict[str, Any]:
    """An entity with its place in a line that begins there; one in parts stays as it is."""
    if isinstance(entity["start"], str):
        return entity
    return {**entity, "start": entity["start"] - begin, "end": entity["end"] - begin}


def _lines(text: str, joined: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The characters ``begin:end`` of each line with its end; lines that a span joins are one."""
    spans = sorted(joined)
    starts = [start for start, _ in spans]
    furthest = list(accumulate((end for _, end in spans), max))
    begin = 0
    for match in re.finditer("\n", text):
        before = bisect_right(starts, match.start())
        if not before or furthest[before - 1] <= match.start():
            yield begin, match.end()
            begin = match.end()
    if begin < len(text):
        yield begin, len(text)


def _is_folder(sample: Sample) -> bool:
    """Whether a folder has an ``.ann`` file with its text."""
    return any(path.with_suffix(".txt").is_file() for path in Path(sample.path).rglob("*.ann"))


def _is_annotation(sample: Sample) -> bool:
    return Path(sample.path).suffix == ".ann"


BRAT = FileFormat(_is_folder, lambda sample: read_brat(sample.path), folder=True)
BRAT_TEXT = FileFormat(_is_annotation, lambda sample: read_brat(sample.path), binary=True)
