"""Files that annotation tools write are read as they mean them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onelayer.base.errors import DataError
from onelayer.data.readers import read_table
from onelayer.data.rows import Rows, read_rows
from onelayer.tasks.infer_columns import infer_columns

TEXT = "Ada met Bo in Ulm."
SPANS = [
    {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]},
    {"start": 14, "end": 17, "text": "Ulm", "labels": ["LOC"]},
]
GOLD = "Ada [PER]; Ulm [LOC]"

Write = Callable[[str, Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, rows: Any) -> Path:
        path = tmp_path / name
        if name.endswith(".jsonl"):
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif name.endswith(".csv"):
            with path.open("w", newline="") as file:
                csv.writer(file).writerows(rows)
        else:
            path.write_text(json.dumps(rows))
        return path

    return write


def read(path: Path, **asked: str) -> tuple[str, Rows, str]:
    """The task, the rows, and all remarks."""
    table = read_table(path)
    found = infer_columns(table, task=None, asked=asked)
    rows = read_rows(found.kind, table, found.layout)
    return found.kind.name, rows, "\n".join((*found.remarks, *rows.remarks))


def golds(rows: Rows) -> list[str]:
    return [rows.kind.gold_text(row) for row in rows]


# Label Studio ------------------------------------------------------------------------------------


def result(value: dict[str, Any], name: str = "ner", kind: str = "labels") -> dict[str, Any]:
    return {"value": value, "from_name": name, "to_name": "text", "type": kind}


def task(number: int, *annotations: dict[str, Any], text: str = TEXT) -> dict[str, Any]:
    return {"id": number, "annotations": list(annotations), "data": {"text": text}, "meta": {}}


def said(*results: dict[str, Any], **about: Any) -> dict[str, Any]:
    return {"id": 1, "result": list(results), "was_cancelled": False, **about}


def choice(*choices: str) -> dict[str, Any]:
    return result({"choices": list(choices)}, "mood", "choices")


RELATION = {"from_id": "a", "to_id": "b", "type": "relation", "direction": "right"}


def test_label_studio_spans_are_entities(write: Write) -> None:
    whole = said(*map(result, SPANS))
    tasks = [
        task(1, whole),
        task(2, said()),
        task(3, said(was_cancelled=True)),
        task(4),
        task(5, said(was_cancelled=True), whole, said()),
        task(6, said(*map(result, SPANS), RELATION)),
        task(7, said(), said(*map(result, SPANS), ground_truth=True)),
    ]
    name, rows, remarks = read(write("export.json", tasks))
    assert name == "tag"
    assert golds(rows) == [GOLD, "–", GOLD, GOLD, GOLD]
    for remark in (
        "1 row: left out, skipped in Label Studio",
        "1 row: left out, not annotated in Label Studio",
        "2 rows: the first of several annotations in Label Studio is taken",
        "1 row: relations aren't learned",
    ):
        assert remark in remarks


def test_choices_about_a_span_of_label_studio_are_told(write: Write) -> None:
    about = result({**SPANS[0], "choices": ["formal"]}, "tone", "choices")
    tasks = [task(n, said(*map(result, SPANS), about)) for n in range(3)]
    _, rows, remarks = read(write("export.json", tasks))
    assert golds(rows) == [GOLD] * 3
    assert "3 rows: what else is said of a span isn't learned, only its label" in remarks


def test_hypertext_of_label_studio_has_global_offsets(write: Write) -> None:
    span = {
        "start": "/p[1]/text()[1]",
        "end": "/p[1]/text()[1]",
        "text": "Ada",
        "startOffset": 3,
        "endOffset": 6,
        "globalOffsets": {"start": 0, "end": 3},
        "hypertextlabels": ["PER"],
    }
    tasks = [task(n, said(result(span, kind="hypertextlabels"))) for n in range(3)]
    assert golds(read(write("export.json", tasks))[1]) == ["Ada [PER]"] * 3
    about = {"annotator": 1, "lead_time": 2.5}
    rows = [{"text": TEXT, "id": n, "ner": [span], **about} for n in range(3)]
    assert golds(read(write("min.json", rows))[1]) == ["Ada [PER]"] * 3


def test_label_studio_choices_are_classes(write: Write) -> None:
    tasks = [task(n, said(choice("good" if n % 2 else "bad"))) for n in range(6)]
    name, rows, remarks = read(write("export.json", [*tasks, task(7, said())]))
    assert name == "classify"
    assert golds(rows) == ["bad", "good"] * 3
    assert "left out, not annotated" in remarks
    tasks = [task(n, said(choice(*"abc"[: 1 + n % 3]))) for n in range(6)]
    _, rows, _ = read(write("several.json", tasks))
    assert golds(rows) == ["a", "a; b", "a; b; c"] * 2


def test_all_tasks_of_label_studio_are_predicted(write: Write) -> None:
    tasks = [task(1, said(*map(result, SPANS))), task(2), task(3, said(was_cancelled=True))]
    assert len(list(read_table(write("export.json", tasks)))) == 3


def test_several_names_of_label_studio_are_told(write: Write) -> None:
    tasks = [task(n, said(*map(result, SPANS), choice("good"))) for n in range(6)]
    path = write("export.json", tasks)
    assert read(path, label="mood")[0] == "classify"
    assert read(path, label="ner")[0] == "tag"
    assert "several things are annotated: ner (entities), mood; --label chooses" in read(path)[2]


def test_label_studio_json_min_and_csv_are_read_alike(write: Write) -> None:
    about = {"annotator": 1, "lead_time": 2.5}
    rows = [
        {"text": TEXT, "id": 1, "ner": SPANS, **about},
        {"text": TEXT, "id": 1, "ner": SPANS[:1], **about},
        {"text": TEXT, "id": 2, **about},
    ]
    names = ["text", "id", "ner", "annotator", "lead_time"]
    table = [[row.get(name, "") for name in names] for row in rows]
    cells = [[json.dumps(cell) if isinstance(cell, list) else cell for cell in r] for r in table]
    for path in (write("min.json", rows), write("export.csv", [names, *cells])):
        name, found, remarks = read(path)
        assert name == "tag"
        assert golds(found) == [GOLD, "–"]
        assert "1 row: left out, a further annotation of the same text" in remarks


def test_choices_of_label_studio_csv_are_unwrapped(write: Write) -> None:
    names = ["text", "id", "sentiment", "annotator", "lead_time"]
    both = json.dumps({"choices": ["bad", "good"]})
    rows = [[f"{TEXT} {n}", n, ("good", "bad", both)[n % 3], 1, 2.5] for n in range(9)]
    name, found, _ = read(write("export.csv", [names, *rows]))
    assert name == "classify"
    assert golds(found) == ["good", "bad", "bad; good"] * 3


# Prodigy -----------------------------------------------------------------------------------------


def answered(answer: str, **values: Any) -> dict[str, Any]:
    return {"text": TEXT, "_input_hash": 1, "_task_hash": 2, **values, "answer": answer}


def test_rejected_and_ignored_rows_of_prodigy_are_left_out(write: Write) -> None:
    spans = [{"start": 0, "end": 3, "token_start": 0, "token_end": 0, "label": "PER"}]
    tokens = [{"text": "Ada", "start": 0, "end": 3, "id": 0}]
    rows = [
        answered(answer, spans=spans, tokens=tokens)
        for answer in ("accept", "reject", "ignore", "accept", "reject")
    ]
    path = write("prodigy.jsonl", [*rows, answered("accept", spans=[])])
    name, found, remarks = read(path)
    assert name == "tag"
    assert golds(found) == ["Ada [PER]", "Ada [PER]", "–"]
    assert "2 rows: left out, rejected in Prodigy, the first at line 2" in remarks
    assert "1 row: left out, ignored in Prodigy" in remarks
    assert len(list(read_table(path))) == 6  # all of them are predicted


def test_file_of_rejected_rows_only_is_refused(write: Write) -> None:
    path = write("prodigy.jsonl", [answered("reject", spans=[])] * 3)
    with pytest.raises(DataError, match="no rows to learn from: all are rejected in Prodigy"):
        read(path)
    table = read_table(path)
    assert infer_columns(table, task="tag", asked={}, labelled=False).layout.columns["text"]


def test_choices_of_prodigy_are_labels(write: Write) -> None:
    options = [{"id": "GOOD", "text": "good"}, {"id": "BAD", "text": "bad"}]
    chosen = [["GOOD"], ["BAD"], ["GOOD"], ["BAD"]]
    rows = [answered("accept", options=options, accept=one) for one in chosen]
    name, found, _ = read(write("choice.jsonl", [*rows, answered("reject", accept=["BAD"])]))
    assert name == "classify"
    assert golds(found) == ["GOOD", "BAD", "GOOD", "BAD"]


def test_yes_or_no_to_one_label_of_prodigy_are_two_classes(write: Write) -> None:
    rows = [answered(answer, label="SPAM") for answer in ("accept", "reject", "ignore") * 3]
    name, found, remarks = read(write("textcat.jsonl", rows))
    assert name == "classify"
    assert golds(found) == ["SPAM", "not SPAM"] * 3
    assert "rejected rows are labelled 'not SPAM'" in remarks
    assert "3 rows: left out, ignored in Prodigy" in remarks


def test_no_to_one_of_several_labels_says_nothing_of_the_others(write: Write) -> None:
    rows = [
        answered(answer, label=label)
        for label in ("SPAM", "HAM")
        for answer in ("accept", "reject") * 3
    ]
    _, found, remarks = read(write("textcat.jsonl", rows))
    assert golds(found) == ["SPAM"] * 3 + ["HAM"] * 3
    assert "6 rows: left out, rejected in Prodigy" in remarks


def test_column_called_answer_alone_is_not_prodigys(write: Write) -> None:
    rows = [{"text": f"{TEXT} {n}", "answer": "reject"} for n in range(4)]
    assert read_table(write("plain.jsonl", rows)).format == "jsonl"


# spaCy and doccano -------------------------------------------------------------------------------

ENTITIES = {"entities": [[0, 3, "PER"], [14, 17, "LOC", "Q3012"]]}


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("train.json", [[TEXT, ENTITIES]] * 3),
        ("train.jsonl", [[TEXT, ENTITIES]] * 3),
        ("ner.json", {"classes": ["PER"], "annotations": [[TEXT, ENTITIES], None] * 3}),
    ],
)
def test_texts_with_objects_of_spacy_are_read(write: Write, name: str, rows: Any) -> None:
    task_name, found, _ = read(write(name, rows))
    assert task_name == "tag"
    assert golds(found) == [GOLD] * 3


def test_categories_of_spacy_are_labels(write: Write) -> None:
    cats = [{"GOOD": 1.0, "BAD": 0.0}, {"GOOD": 0.0, "BAD": 1.0}]
    name, found, _ = read(write("cats.json", [[TEXT, {"cats": one}] for one in cats * 3]))
    assert name == "classify"
    assert golds(found) == ["GOOD", "BAD"] * 3


def test_malformed_item_of_spacy_has_its_line(write: Write) -> None:
    path = write("train.jsonl", [[TEXT, ENTITIES], ["only a text"]])
    with pytest.raises(DataError, match=r"train\.jsonl:2: no text with an object about it"):
        list(read_table(path))


def test_doccano_with_relations_is_read_without_them(write: Write) -> None:
    entities = [{"id": 1, "label": "PER", "start_offset": 0, "end_offset": 3}]
    relations = [{"id": 1, "from_id": 1, "to_id": 1, "type": "is"}]
    row = {"id": 1, "text": TEXT, "entities": entities, "relations": relations, "Comments": []}
    name, found, remarks = read(write("doccano.jsonl", [row] * 3))
    assert name == "tag"
    assert golds(found) == ["Ada [PER]"] * 3
    assert "relations aren't learned" in remarks


def test_labels_of_doccano_csv_are_parted(write: Write) -> None:
    rows = [[n, f"{TEXT} {n}", ("good", "bad", "bad#good")[n % 3]] for n in range(9)]
    _, found, _ = read(write("doccano.csv", [["id", "text", "label"], *rows]))
    assert golds(found) == ["good", "bad", "bad; good"] * 3


def test_docbin_is_read_or_names_the_extra(tmp_path: Path) -> None:
    path = tmp_path / "train.spacy"
    try:
        import spacy
        from spacy.tokens import DocBin
    except ImportError:
        path.write_bytes(b"x\x9c")
        with pytest.raises(DataError, match=r'pip install "onelayer\[spacy\]"'):
            read_table(path)
        return
    nlp = spacy.blank("en")
    doc = nlp(TEXT)
    doc.ents = [doc.char_span(0, 3, "PER"), doc.char_span(14, 17, "LOC")]
    DocBin(docs=[doc] * 3).to_disk(path)
    name, found, _ = read(path)
    assert name == "tag"
    assert golds(found) == [GOLD] * 3
    path.write_bytes(b"no such thing")
    with pytest.raises(DataError, match="not a readable DocBin"):
        read_table(path)


# A word a row ------------------------------------------------------------------------------------

WORDS = [("Ada", "B-PER"), ("met", "O"), ("Bo", "B-PER"), (".", "O")]


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (["Sentence #", "Word", "POS", "Tag"], lambda s, w: "" if w else f"Sentence: {s}"),
        (["sentence_id", "words", "x", "labels"], lambda s, w: s),
        (["block", "token", "x", "tag"], lambda s, w: f"b{s}"),
    ],
)
def test_word_a_row_becomes_sentences(write: Write, header: list[str], sentence: Any) -> None:
    rows = [
        [sentence(s, w), word, "X", tag] for s in range(5) for w, (word, tag) in enumerate(WORDS)
    ]
    name, found, remarks = read(write("words.csv", [header, *rows]))
    assert name == "tag"
    assert golds(found) == ["Ada/B-PER; Bo/B-PER"] * 5
    assert [row.place.line for row in found] == [2, 6, 10, 14, 18]
    assert f"a word a row: those of one {header[0]} are a sentence" in remarks


def test_words_without_tags_are_sentences_by_their_names(write: Write) -> None:
    rows = [[s, word] for s in range(3) for word, _ in WORDS]
    table = read_table(write("words.csv", [["sentence_id", "word"], *rows]))
    assert [record.values for record in table] == [{"word": [word for word, _ in WORDS]}] * 3


def test_words_with_tags_need_an_end_of_sentences(write: Write) -> None:
    path = write("words.csv", [["word", "tag"], *map(list, WORDS * 3)])
    with pytest.raises(DataError, match="nothing tells where a sentence ends"):
        read_table(path)


@pytest.mark.parametrize("between", ["\n", ",\n"])
def test_blank_lines_of_a_csv_end_sentences(tmp_path: Path, between: str) -> None:
    path = tmp_path / "words.csv"
    rows = "".join(f"{word},{tag}\n" for word, tag in WORDS)
    path.write_text("word,tag\n" + between.join([rows] * 3))
    _, found, remarks = read(path)
    assert golds(found) == ["Ada/B-PER; Bo/B-PER"] * 3
    assert "a blank line ends a sentence" in remarks


def test_single_words_with_classes_stay_rows(write: Write) -> None:
    names = [[name, label] for label in "mf" for name in ("Ada", "Bo", "Cy", "Di", "Ed")]
    path = write("names.csv", [["word", "label"], *names])
    assert read_table(path).format == "csv"
