"""What annotation tools write, and tags and spans in all their notations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.robustness.field_cases.case import Case, Trial, expect, reads
from onelayer.data.readers import read_table
from onelayer.data.rows import read_rows
from onelayer.tasks.infer_columns import infer_columns
from onelayer.tasks.tag.schemes import Scheme, entities

PEOPLE = {"Lena Brandt", "Tom Akers", "Mei Lin", "Olu Adeyemi", "Ana Costa", "Ivo Marin"}
PEOPLE |= {"Sara Holm", "Jan Kubik", "李梅", "王强", "陈静"}
PLACES = {"Porto", "Leeds", "Lima", "Oslo", "Turin", "Delft", "Graz", "Kyiv"}
PLACES |= {"广州", "杭州", "成都"}


def finds_names(
    *words: str, rows: int = 60, people: str = "PER", places: str = "LOC"
) -> Callable[[Trial, Path], str]:
    """A check that each entity is a whole name of its type, that ``words`` are said of the file,
    and that a run of it predicts all rows."""

    def check(trial: Trial, file: Path) -> str:
        said = reads(*words, task="tag")(trial, file)
        table = read_table(file)
        found = infer_columns(table, task=None, asked={})
        usable = read_rows(found.kind, table, found.layout)
        named = [(text, label) for row in usable for text, label in _entities(row)]
        expect(len(usable) == rows, f"{len(usable)} rows")
        right = {(name, people) for name in PEOPLE} | {(name, places) for name in PLACES}
        wrong = sorted(set(named) - right)
        expect(not wrong and len(named) >= rows, f"{len(named)} entities, wrong {wrong[:3]}")
        run = trial.trained(file)
        predicted = trial.predicted(run, file)
        everything = sum(record.left_out is None for record in table)
        expect(len(predicted) == everything, f"{len(predicted)} predictions of {everything}")
        return f"{said}; {len(named)} names at their places"

    return check


def _entities(row: Any) -> list[tuple[str, str]]:
    if row.spans is not None:
        return [(row.text[span.start : span.end], span.label) for span in row.spans]
    return [
        (row.text[row.words[first][0] : row.words[last - 1][1]], label)
        for label, first, last in entities(row.tags, Scheme.IOB2)
    ]


def leaves_out(says: str, rows: int) -> Callable[[Trial, Path], str]:
    """A check that a file is refused with these words, and that --skip-bad uses ``rows`` rows."""

    def check(trial: Trial, file: Path) -> str:
        line = trial.refused("train", file, "--model", trial.model, says=says)
        found = trial.inspected(file)
        bad = json.dumps(found["problems"])
        expect(says in bad, bad)
        run = trial.trained(file, "--skip-bad")
        return f"{line}; --skip-bad: {run.name} of {rows} rows"

    return check


INCLUDED = "the end included"
CASES = (
    Case("a04_spacy_cats.jsonl", "cats are classes", reads(task="classify", rows=80)),
    Case("a67_doccano_textcat.jsonl", "a list of one is its item", reads(task="classify")),
    Case("b01c_doccano_ws.jsonl", "edges trimmed", finds_names("white space at the edge")),
    Case("b01d_doccano_dups.jsonl", "identical duplicates merge", finds_names("twice")),
    Case("b01e_zero_ws_span.jsonl", "a bad row, named", leaves_out("is white space", 59)),
    Case("b01f_unlabelled_rows.jsonl", "read, with a remark", finds_names("no entity")),
    Case("b02_labelstudio.json", "read", finds_names()),
    Case("b02b_labelstudio_min.json", "read", finds_names()),
    Case("b02c_labelstudio.csv", "read", finds_names()),
    Case("b03_prodigy.jsonl", "rejected rows left out", finds_names("rejected", rows=48)),
    Case("b04_brat", "read, a row a line", finds_names()),
    Case("b05_spacy_train.json", "read", finds_names()),
    Case("b05c_spacy_jsonl_tuple.jsonl", "read", finds_names()),
    Case("b06_zero_as_O.conll", "0 is O", finds_names("the tag '0' is read as O")),
    Case(
        "b06c_lower.conll",
        "read as B-per",
        finds_names("like b-per", people="per", places="loc"),
    ),
    Case("b06f_tag_space.conll", "a type of two words", finds_names(places="Home town")),
    Case("b06h_noblank.conll", "60 sentences", finds_names("no blank lines")),
    Case("b07_kaggle_ner.csv", "sentences of words", finds_names("a word a row")),
    Case("b07b_simpletransformers_ner.csv", "sentences of words", finds_names("a word a row")),
    Case("b08_liststring.csv", "lists as text are tags", finds_names()),
    Case("b08b_spacesep.csv", "as many tags as words", finds_names()),
    Case("b08c_ernie.tsv", "as many tags as words", finds_names()),
    Case("b08d_ernie_zh.tsv", "a tag a character", finds_names()),
    Case("b11_utf16_offsets.jsonl", "UTF-16 recognised", finds_names("UTF-16 units from 0")),
    Case("b13_inclusive.jsonl", "inclusive ends recognised", finds_names(INCLUDED)),
    Case("b13b_inclusive_notext.jsonl", "recognised by words", finds_names(INCLUDED)),
    Case("b15_int_tags.jsonl", "numbers told", reads("tags are numbers", task="tag", rows=60)),
    Case("b15b_minus100.jsonl", "-100 ignored", reads("tagged -100", task="tag", rows=60)),
    Case("b16_empty_token.jsonl", "read, with a remark", finds_names("an empty word")),
    Case("b17_docspans_label_list.jsonl", "a list of one is its item", finds_names()),
    Case("b18_string_offsets.jsonl", "offsets as texts are read", finds_names()),
    Case("g20_tokens_none.jsonl", "a bad row, named", leaves_out("word 2 is null", 39)),
    Case("g24_empty_tokens.jsonl", "bad rows, named", leaves_out("without words", 34)),
    Case("g27_entities_float.jsonl", "floats are offsets", reads(task="tag", rows=40)),
)
