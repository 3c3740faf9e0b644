"""Training data as spaCy's documentation writes it: a text with an object about it. Also
what NER Annotator exports, and binary DocBin files.

Source: https://spacy.io/api/data-formats, and https://github.com/tecoholic/ner-annotator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from onelayer.base.errors import DataError, Place
from onelayer.data.formats.file_format import FileFormat, JsonShape, Sample
from onelayer.data.formats.jsonlines import first_columns, json_values
from onelayer.data.table import Record, Table

if TYPE_CHECKING:
    from spacy.tokens import Doc

_ABOUT = ("entities", "cats", "spans")


def is_text_with_object(value: Any) -> bool:
    """Whether a value is a text with what is known of it: ``["text", {"entities": ...}]``."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], dict)
        and bool(value[1].keys() & set(_ABOUT))
    )


def is_ner_annotator(value: Any) -> bool:
    """Whether a value is the document of NER Annotator: ``{"classes", "annotations"}``."""
    items = value.get("annotations") if isinstance(value, dict) else None
    return (
        isinstance(items, list)
        and "classes" in value
        and any(is_text_with_object(item) for item in items)
    )


def read_spacy(path: str) -> Table:
    """Reads texts with objects: ``text``, and ``entities`` or ``cats``."""

    def records() -> Iterator[Record]:
        for value, line in json_values(path):
            for item in value["annotations"] if is_ner_annotator(value) else [value]:
                if item is None:  # NER Annotator's lines that nobody annotated
                    continue
                if not is_text_with_object(item):
                    hint = 'write ["text", {"entities": [[0, 4, "PER"]]}]'
                    message = "no text with an object about it"
                    raise DataError(message, place=Place(path, line), hint=hint)
                yield Record(cells_of_pair(item), line)

    return Table(path, "spacy", first_columns(path, records), records)


def cells_of_pair(pair: Any) -> dict[str, Any]:
    """The row of a text and the object about it."""
    text, about = pair
    values = {"text": text, **about}
    entities = values.get("entities")
    if isinstance(entities, list):  # a fourth item is the id of a knowledge base
        values["entities"] = [one[:3] if isinstance(one, list) else one for one in entities]
    return values


def read_docbin(path: str) -> Table:
    """Reads a DocBin: ``text``, ``entities``, and ``cats`` where there are some.

    Raises
    ------
    DataError
        For a file that isn't one, and where spaCy isn't installed.
    """
    docs = _docs(path)

    def records() -> Iterator[Record]:
        for number, doc in enumerate(docs(), 1):
            entities = [
                {"start": e.start_char, "end": e.end_char, "label": e.label_, "text": e.text}
                for e in doc.ents
            ]
            cats = {"cats": dict(doc.cats)} if doc.cats else {}
            yield Record({"text": doc.text, "entities": entities, **cats}, number)

    columns = first_columns(path, records)
    if "cats" in columns and not any(record.values["entities"] for record in records()):
        columns = tuple(name for name in columns if name != "entities")
    return Table(path, "spacy", columns, records, last_line=lambda: sum(1 for _ in docs()))


def _docs(path: str) -> Any:
    try:
        from spacy.tokens import DocBin
        from spacy.vocab import Vocab
    except ImportError:
        raise DataError(
            "a DocBin of spaCy, which only spaCy reads",
            place=Place(path),
            hint='pip install "onelayer[spacy]"',
        ) from None
    try:
        found = DocBin().from_disk(path)
    except Exception as error:  # zlib, msgpack or struct, whatever is damaged
        message = f"not a readable DocBin: {error or type(error).__name__!s:.80}"
        raise DataError(message, place=Place(path), hint="write it again") from None

    def docs() -> Iterator[Doc]:
        yield from found.get_docs(Vocab())

    return docs


def _is_docbin(sample: Sample) -> bool:
    return ".spacy" in sample.suffixes


SPACY = JsonShape(lambda value: is_text_with_object(value) or is_ner_annotator(value), read_spacy)
DOCBIN = FileFormat(_is_docbin, lambda sample: read_docbin(sample.path), binary=True)
