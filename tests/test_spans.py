"""Entities are where their own texts are, however a tool counts offsets."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from onelayer.data.readers import read_table
from onelayer.data.rows import Rows, read_rows
from onelayer.tasks.infer_columns import infer_columns
from onelayer.tasks.tag.tag import Tag

TEXTS = ["{} Ada met Bo in Rome.", "In Ulm {} Ada saw Rome.", "Bo {} left Oslo for Ulm."]
NAMES = {"Ada": "PER", "Bo": "PER", "Rome": "LOC", "Ulm": "LOC", "Oslo": "LOC"}

Write = Callable[[Sequence[Any]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(rows: Sequence[Any]) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def rows_and_remarks(path: Path) -> tuple[Rows, str]:
    table = read_table(path)
    found = infer_columns(table, task=None, asked={})
    assert found.kind is Tag
    rows = read_rows(found.kind, table, found.layout)
    return rows, "\n".join((*found.remarks, *rows.remarks))


def found_names(rows: Rows) -> list[list[str]]:
    return [[row.text[span.start : span.end] for span in row.spans] for row in rows]


def annotated(
    inserted: str, count: Callable[[str], int], first: int = 0, last: int = 0, *, own: bool = True
) -> list[dict[str, Any]]:
    """Texts with names; an offset counts the text before it by ``count``."""
    rows = []
    for text in (text.format(inserted) for text in TEXTS * 3):
        entities = []
        for name, label in NAMES.items():
            if (at := text.find(name)) >= 0:
                start, end = count(text[:at]) + first, count(text[: at + len(name)]) + first - last
                entity = {"start": start, "end": end, "label": label}
                entities.append(entity | ({"text": name} if own else {}))
        rows.append({"text": text, "entities": entities})
    return rows


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@pytest.mark.parametrize(
    ("inserted", "count", "first", "last", "remark"),
    [
        ("🎉🎉", utf16, 0, 0, "UTF-16 units from 0, the end not included"),
        ("🎉🎉", utf16, 0, 1, "UTF-16 units from 0, the end included"),
        ("Köln é", lambda text: len(text.encode()), 0, 0, "UTF-8 bytes from 0"),
        ("so", len, 0, 1, "characters from 0, the end included"),
        ("so", len, 1, 1, "characters from 1, the end included"),
        ("so", len, 1, 0, "characters from 1, the end not included"),
        ("a\nb\n", lambda text: len(text.replace("\n", "\r\n")), 0, 0, "two for each line end"),
        ("a\r\nb\r\n", lambda text: len(text.replace("\r", "")), 0, 0, "without the \\r"),
        ("é 5€", lambda text: len(unicodedata.normalize("NFD", text)), 0, 0, "text in NFD"),
        ("e\u0301 u\u0308", lambda t: len(unicodedata.normalize("NFC", t)), 0, 0, "text in NFC"),
    ],
)
@pytest.mark.parametrize("own", [True, False], ids=["own texts", "no texts"])
def test_offsets_of_every_kind_are_recognised(
    write: Write,
    inserted: str,
    count: Callable[[str], int],
    first: int,
    last: int,
    remark: str,
    own: bool,
) -> None:
    given = annotated(inserted, count, first, last, own=own)
    rows, remarks = rows_and_remarks(write(given))
    assert rows.n_bad == 0
    names = [[name for name in NAMES if name in row["text"]] for row in given]
    assert list(map(sorted, found_names(rows))) == list(map(sorted, names))
    assert remark in remarks


def test_usual_offsets_stay_and_only_unchecked_ones_are_told(write: Write) -> None:
    rows, remarks = rows_and_remarks(write(annotated("🎉", len)))
    assert rows.n_bad == 0
    assert "offsets" not in remarks
    rows, remarks = rows_and_remarks(write(annotated("🎉", len, own=False)))
    assert found_names(rows)[0] == ["Ada", "Bo", "Rome"]
    assert "offsets are taken as characters from 0" in remarks


def test_offsets_are_recognised_far_below_the_first_rows(write: Write) -> None:
    plain = {"text": "Ada ran.", "entities": [{"start": 0, "end": 3, "label": "P", "text": "Ada"}]}
    rows, remarks = rows_and_remarks(write([plain] * 1200 + annotated("🎉", utf16)))
    assert rows.n_bad == 0
    assert "UTF-16" in remarks


def test_another_file_of_the_same_columns_counts_its_own_way(write: Write) -> None:
    """As the dev file of a training file."""
    from onelayer.recipe import Recipe
    from onelayer.tasks.labelled import read_labelled

    kind, layout, _ = read_labelled(write(annotated("🎉", utf16)), Recipe(), lambda _: None)
    said: list[str] = []
    path = write(annotated("so", len, 0, 1))
    _, _, rows = read_labelled(path, Recipe(), said.append, kind=kind, layout=layout)
    assert [row.text[s.start : s.end] for s in rows[0].spans for row in rows[:1]] == [
        "Ada",
        "Bo",
        "Rome",
    ]
    assert "the end included" in "\n".join(said)


@pytest.mark.parametrize(
    ("entity", "message"),
    [
        ({"start": 1, "end": 4, "label": "P", "text": "Ada"}, "span 1:4 'P' is 'da ' in the text"),
        ({"start": 3, "end": 4, "label": "P"}, "span 3:4 'P' is white space"),
        ({"start": 4, "end": 90, "label": "P"}, "span 4:90 'P' is outside the text of 8"),
        ({"start": 2, "end": 2, "label": "P"}, "span 2:2 'P' is outside"),
        ({"start": 0, "end": 3, "label": ""}, "a span without a label: ''"),
        ({"start": 0, "end": 3, "label": None}, "a span without a label: None"),
        ({"start": 0, "end": 3, "labels": ["P", "Q"]}, "a span with 2 labels: ['P', 'Q']"),
        ({"start": "/p[1]", "end": 3, "label": "P"}, "no start, end and label"),
        ({"start": 0.5, "end": 3, "label": "P"}, "no start, end and label"),
        ({"start": 0, "end": 6, "label": "Q"}, "overlapping spans: 'Ada' P and 'Ada ra' Q"),
    ],
)
def test_wrong_span_is_a_bad_row(write: Write, entity: dict[str, Any], message: str) -> None:
    good = {"start": 0, "end": 3, "label": "P", "text": "Ada"}
    rows = [{"text": "Ada ran.", "entities": [good]}] * 9
    nested = [good, entity] if "overlapping" in message else [entity]
    read, _ = rows_and_remarks(write([*rows, {"text": "Ada ran.", "entities": nested}]))
    assert len(read) == 9
    assert message in str(read.bad[0])
    assert ":10:entities" in str(read.bad[0])


@pytest.mark.parametrize(
    "entities",
    [
        [["0", "3", "P"]],
        [[0.0, 3.0, "P"]],
        [["P", 0, 3]],
        [{"start": "0", "end": "3", "label": "P"}],
        [{"start_offset": 0, "end_offset": 3, "label": "P", "id": 7}],
        [{"start": 0, "end": 3, "labels": ["P"]}],
        [{"label": ["P"], "points": [{"start": 0, "end": 2, "text": "Ada"}]}],
        [{"category": "P", "offset": 0, "length": 3, "text": "Ada"}],
        [{"Type": "P", "BeginOffset": 0, "EndOffset": 3, "Score": 0.9}],
    ],
)
def test_span_is_read_in_each_shape_that_tools_write(write: Write, entities: list[Any]) -> None:
    rows, _ = rows_and_remarks(write([{"text": "Ada ran.", "entities": entities}] * 6))
    assert found_names(rows) == [["Ada"]] * 6
    assert {span.label for row in rows for span in row.spans} == {"P"}


def test_edges_are_trimmed_and_twins_merged(write: Write) -> None:
    twins = {"text": "Ada ran.", "entities": [[0, 4, "P"], [0, 3, "P"]]}
    rows, remarks = rows_and_remarks(write([twins]))
    assert found_names(rows) == [["Ada"]]
    assert "1 row: white space at the edge of an entity is left out" in remarks
    assert "1 row: an entity that stands there twice is taken once" in remarks


def test_own_text_may_differ_in_white_space_and_case(write: Write) -> None:
    entity = {"start": 0, "end": 7, "label": "P"}
    rows = [
        {"text": "Ada\n Bo ran.", "entities": [entity | {"text": own}]}
        for own in ("Ada Bo", "Ada\\n Bo", "ada bo", "Ada\n Bo")
    ]
    read, remarks = rows_and_remarks(write(rows))
    assert len(read) == 4
    assert "offsets" not in remarks


def test_entities_that_cut_words_are_told(write: Write) -> None:
    rows = [{"text": "Ada ran.", "entities": [[0, 3, "P"]]}] * 5
    _, remarks = rows_and_remarks(write([*rows, {"text": "Ada ran.", "entities": [[0, 2, "P"]]}]))
    assert "1 of 6 entities begin or end inside a word" in remarks


def test_spans_are_read_from_a_csv_cell(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    cell = '"[{""start"": 0, ""end"": 3, ""text"": ""Ada"", ""labels"": [""P""]}]"'
    path.write_text("text,label\n" + f"Ada ran.,{cell}\n" * 3 + "It ran.,[]\n")
    rows, _ = rows_and_remarks(path)
    assert found_names(rows) == [["Ada"]] * 3 + [[]]


def test_rows_from_a_cache_are_read_by_the_same_facts(write: Write) -> None:
    rows, _ = rows_and_remarks(write(annotated("🎉", utf16)))
    for values, row in rows.with_values():
        cached = json.loads(json.dumps(values, default=str))
        assert Tag.row(cached, row.place, True) == row
