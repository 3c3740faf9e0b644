"""CoNLL files (a token per line, a blank line after each sentence) and CoNLL-U."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from onelayer.base.errors import DataError, Place
from onelayer.data.formats.file_format import FileFormat, Sample
from onelayer.data.formats.header import are_classes
from onelayer.data.formats.lines import head_lines, text_lines
from onelayer.data.table import Record, Table, refuse_wide

LONGEST_SENTENCE = 100_000
"""Words. A novel has as many: more means that the blank lines are missing."""
CONLLU_COLUMNS = ("tokens", "lemma", "upos", "xpos", "tags", "space_after")
CONLLU_WIDTH = 10
MANY_WORDS = 100
"""More words on end, and a full stop among them, are more than one sentence."""
SENTENCE_ENDS = frozenset(".!?。！？")
_SUFFIXES = {".conll", ".bio", ".iob", ".iob2", ".bioes", ".bmes", ".bilou"}

_WHITE = " \t\r\n\v\f"  # ASCII only: U+3000 may be a token of a Chinese file
_TAG = re.compile(r"[BIESMLU]-\S.*|O|[A-Z][A-Z0-9$+*_-]*|[^\w\s]+|-[A-Z]{3}-")
_BEGINS_TAG = re.compile(r"[BIESMLU]-")
_CONLLU_LINE = re.compile(r"1(?:-\d+)?\t[^\t]+(?:\t[^\t]*){8}")

_CONLLU_ID = re.compile(r"[0-9]+(?:[-.][0-9]+)?")

NumberedLines = list[tuple[int, list[str]]]
"""The lines of a sentence: each one's number and its columns."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a file's lines are split into columns, and which lines are comments."""

    tabs: bool
    width: int
    tags: frozenset[str]
    full_stops: bool = False
    """Whether sentences end at full stops, as there are no blank lines."""

    def cut(self, line: str) -> list[str]:
        if self.tabs:
            cells = line.rstrip("\r\n").split("\t")
            return [cell.strip(" ") or cell for cell in cells] if " " in line else cells
        line = line.strip(_WHITE)
        # One space between columns is usual, and quicker to split at.
        single = "  " not in line and "\t" not in line
        columns = line.split(" ") if single else re.split("[ \t]+", line)
        last = self.width - 1
        if len(columns) > self.width > 1 and _BEGINS_TAG.match(columns[last]):
            return [*columns[:last], " ".join(columns[last:])]  # a type of several words
        return columns

    def ends_sentence(self, columns: Sequence[str]) -> bool:
        """Whether a word ends its sentence by itself, where full stops do."""
        return columns[0] in SENTENCE_ENDS and not _BEGINS_TAG.match(columns[-1])

    def is_comment(self, line: str, columns: Sequence[str], begins: bool) -> bool:
        """Whether a line that begins with ``#`` is a comment, since that may also be a token. A
        comment has another number of columns, or it is before a sentence and its last column is no
        tag (``# id 27 domain=en`` in a file of four columns)."""
        if len(columns) != self.width:
            return begins or line.startswith("# ")
        return begins and columns[0] == "#" and columns[-1] not in self.tags


def read_conll(path: str) -> Table:
    """Reads CoNLL of any number of columns: ``tokens``, ``column2`` and so on, and last ``tags``.

    ``-DOCSTART-`` lines and comments are ignored.

    Raises
    ------
    DataError
        While the table is iterated, at a line with another number of columns or an empty tag.
    """
    lines = head_lines(path)
    layout = _layout(lines)
    if not layout.width:
        raise _empty(path)
    note = None
    if _lacks_blank_lines(lines):
        layout = replace(layout, full_stops=True)
        note = "no blank lines between sentences: they end after . ! ? 。 and the like"
    refuse_wide(layout.width, Place(path))
    middle = [f"column{number}" for number in range(2, layout.width)]
    columns = ("tokens", *middle, "tags")[: layout.width]

    def records() -> Iterator[Record]:
        for sentence in _sentences(path, layout):
            for line, fields in sentence:
                if not fields[-1]:
                    hint = "write O for a word outside of every entity"
                    raise DataError("an empty tag", place=Place(path, line), hint=hint)
            values = zip(*(fields for _, fields in sentence), strict=True)
            named = zip(columns, map(list, values), strict=True)
            yield Record(dict(named), sentence[0][0])

    return Table(path, "conll", columns, records, note)


def _lacks_blank_lines(lines: Sequence[str]) -> bool:
    """Whether many words follow each other without a blank line, with full stops among them."""
    if len(lines) <= MANY_WORDS or any(_is_blank(line) for line in lines[:-1]):
        return False
    return any(line[0] in SENTENCE_ENDS and line[1:2] in (" ", "\t") for line in lines[:-1])


def _layout(lines: Sequence[str]) -> _Layout:
    tokens = [line for line in lines if not _is_blank(line) and not line.startswith(("#", "-DOC"))]
    tabs = sum("\t" in line for line in tokens) > len(tokens) / 2
    cut = _Layout(tabs, 0, frozenset()).cut
    widths = Counter(len(cut(line)) for line in tokens)
    width = widths.most_common(1)[0][0] if widths else 0
    cut = _Layout(tabs, width, frozenset()).cut
    return _Layout(tabs, width, frozenset(cut(line)[-1] for line in tokens))


def _is_blank(line: str) -> bool:
    return not line.strip(_WHITE)


def _sentences(path: str, layout: _Layout) -> Iterator[NumberedLines]:
    sentence: NumberedLines = []
    for number, line in enumerate(text_lines(path), 1):
        if _is_blank(line):
            if sentence:
                yield sentence
            sentence = []
            continue
        columns = layout.cut(line)
        if columns[0] == "-DOCSTART-":
            continue
        if line[0] == "#" and layout.is_comment(line, columns, begins=not sentence):
            continue
        if len(columns) != layout.width:
            raise _uneven(len(columns), layout, Place(path, number))
        if len(sentence) == LONGEST_SENTENCE:
            raise DataError(
                f"a sentence of more than {LONGEST_SENTENCE:,} words",
                place=Place(path, sentence[0][0]),
                hint="a blank line ends a sentence",
            )
        sentence.append((number, columns))
        if layout.full_stops and layout.ends_sentence(columns):
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _uneven(columns: int, layout: _Layout, place: Place) -> DataError:
    by = "tabs" if layout.tabs else "spaces"
    return DataError(
        f"{layout.width} columns expected, but {columns} found",
        place=place,
        hint=f"columns are parted by {by}; a blank line ends a sentence",
    )


def read_conllu(path: str) -> Table:
    """Reads CoNLL-U: ``tokens``, ``lemma``, ``upos``, ``xpos``, ``tags`` (the UPOS) and
    ``space_after``.

    Lines of multiword tokens (``1-2``) and of empty nodes (``1.1``) aren't words.

    Raises
    ------
    DataError
        While the table is iterated, at a line without a word number or with other columns.
    """

    def records() -> Iterator[Record]:
        layout = _Layout(tabs=True, width=CONLLU_WIDTH, tags=frozenset())
        for sentence in _sentences(path, layout):
            values = _conllu_values(sentence, path)
            if values["tokens"]:
                yield Record(values, sentence[0][0])

    if next(records(), None) is None:
        raise _empty(path)
    return Table(path, "conllu", CONLLU_COLUMNS, records)


def _empty(path: str) -> DataError:
    return DataError("no sentences", place=Place(path), hint="is it the right file?")


def _conllu_values(sentence: NumberedLines, path: str) -> dict[str, list[str] | list[bool]]:
    words: list[list[str]] = []
    space_after: list[bool] = []
    last, last_space = "", True  # the current multiword token's last word, and its space
    for line, columns in sentence:
        if not _CONLLU_ID.fullmatch(columns[0]):
            raise DataError(
                f"{columns[0]!r:.40} is no word number",
                place=Place(path, line),
                hint="the first column of CoNLL-U counts the words: 1, 2-3, 4.1",
            )
        identifier, spaced = columns[0], "SpaceAfter=No" not in columns[9].split("|")
        if "-" in identifier:
            last, last_space = identifier.partition("-")[2], spaced
        elif "." not in identifier:
            words.append(columns)
            # There is no space inside a multiword token, whatever its words' own lines say.
            space_after.append(last_space if identifier == last else spaced and not last)
            last = "" if identifier == last else last
    forms, lemmas, upos, xpos = ([word[index] for word in words] for index in range(1, 5))
    return {
        "tokens": forms,
        "lemma": lemmas,
        "upos": upos,
        "xpos": xpos,
        "tags": upos,
        "space_after": space_after,
    }


def _looks_like_conllu(lines: Sequence[str]) -> bool:
    first = next((line for line in lines if not _is_blank(line) and line[0] != "#"), "")
    return bool(_CONLLU_LINE.fullmatch(first.rstrip("\r\n")))


def _looks_like_conll(lines: Sequence[str]) -> bool:
    """Whether a file's head is CoNLL: the same number of columns everywhere, no spaces in tokens,
    and tags in the last column. Without blank lines between sentences, only tags with a prefix such
    as ``B-`` are sure enough."""
    layout = _layout(lines)
    rows = [layout.cut(line) for line in lines if not _is_blank(line) and line[0] != "#"]
    regular = sum(len(row) == layout.width and " " not in row[0] for row in rows)
    if layout.width < 2 or regular < 0.99 * len(rows):
        return False
    usual = all(_TAG.fullmatch(tag) for tag in layout.tags)
    if any(_is_blank(line) for line in lines[:-1]):
        return usual or are_classes([row[-1] for row in rows])
    return usual and any(tag[1:2] == "-" and len(tag) > 2 for tag in layout.tags)


def _is_conllu(sample: Sample) -> bool:
    return ".conllu" in sample.suffixes or _looks_like_conllu(sample.head)


def _is_conll(sample: Sample) -> bool:
    return bool(sample.suffixes & _SUFFIXES) or _looks_like_conll(sample.head)


CONLLU = FileFormat(_is_conllu, lambda sample: read_conllu(sample.path))
CONLL = FileFormat(_is_conll, lambda sample: read_conll(sample.path))
