"""Hostile data files: false, malicious or endless."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from support.hostile.case import FILE, GOOD_ROWS, TO_LEARN, TO_PREDICT, TO_SPLIT, Case, data

MB = 1 << 20
DEEP = 100_000
ROW = '{"text": "a good b", "label": "yes"}\n'


def filled(begin: bytes, byte: bytes, size: int) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(begin)
            for _ in range(size // MB):
                file.write(byte * (MB // len(byte)))

    return write


def holes(begin: bytes, size: int) -> Callable[[Path], object]:
    """A sparse file: NUL bytes that take no space on the disk."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(begin)
            file.truncate(size)

    return write


def linked(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


DEEP_CELL = "context,options,label\na good b," + "[" * DEEP + ",a\n"
# A regular expression for words may try every way to split a long gap.
GAPS = "text,label\n" + f'"a{" " * 200_000}",yes\n' * 20
JOINERS = json.dumps(
    {"text": "☺" + "\u200d" * 200_000, "entities": [{"start": 0, "end": 5, "label": "X"}]}
)


def cells(n: int, name: str) -> str:
    return ",".join(f"{name}{i}" for i in range(n))


def gzip_bomb(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as made:
        made.write(b"[\n" + b" " * (70 << 20))


NO_FILES = [
    data("a FIFO", "not a regular file", "a.csv", os.mkfifo),
    data("a directory", "a directory", "a.csv", Path.mkdir, FILE[1:]),
    data("a link to /dev/zero", "not a regular file", "a.csv", linked("/dev/zero")),
    data("a link to /dev/urandom", "not a regular file", "a.jsonl", linked("/dev/urandom")),
    data("a link to itself", "link", "a.csv", linked("a.csv")),
    data("a link to nothing", "no such file", "a.csv", linked("lost.csv")),
    data("empty", "empty", "a.csv", b""),
    data("blank lines", "empty", "a.txt", "\n" * 1000),
    data("half of gzip", "gzip", "a.csv", gzip.compress(GOOD_ROWS.encode())[:-12]),
    data("a gzip bomb", "that unpack to more than", "a.json", gzip_bomb),
    data("a broken archive", "not a readable zip file", "a.csv", b"PK\x03\x04" + bytes(100)),
    data("half of UTF-16", "not valid utf-16-le", "a.csv", GOOD_ROWS.encode("utf-16")[:-1]),
    data("UTF-16 without a mark", "NUL", "a.csv", GOOD_ROWS.encode("utf-16-le")),
    data("half of UTF-32", "not valid utf-32-le", "a.csv", GOOD_ROWS.encode("utf-32")[:-1]),
    data("binary noise", "not valid UTF-8", "a.csv", np.random.default_rng(0).bytes(100_000)),
    data("a program", "NUL", "a.csv", b"\x7fELF\2\1\1" + bytes(1000)),
    data("Latin-1", "not valid UTF-8", "a.csv", "text,label\ncafé,yes\n".encode("latin-1")),
    data("GBK", "not valid UTF-8", "a.csv", "text,label\n很好,yes\n".encode("gbk")),
    data(
        "two encodings",
        "a.csv:52:4: not valid UTF-8",
        "a.csv",
        b"text,label\n" + "很好,yes\n差,no\n".encode() * 25 + "caf\xe9,yes\n".encode("latin-1"),
    ),
    data("surrogates as bytes", "not valid UTF-8", "a.csv", b"text,label\n\xed\xa0\x80,yes\n"),
]

LONG = [
    data(
        "csv: one line of 100 MB", "longer than", "a.csv", filled(b"text,label\n", b"a", 100 * MB)
    ),
    data("csv: 20 MB of commas", "longer than", "a.csv", filled(b"text,label\n", b",", 20 * MB)),
    data("tsv: 20 MB of tabs", "longer than", "a.tsv", filled(b"text\tlabel\n", b"\t", 20 * MB)),
    data("txt: one line of 20 MB", "longer than", "a.txt", filled(b"", b"a", 20 * MB), TO_PREDICT),
    data(
        "txt: 20 MB of Chinese",
        "longer than",
        "a.txt",
        filled(b"", "好".encode(), 20 * MB),
        TO_PREDICT,
    ),
    data(
        "jsonl: one line of 20 MB",
        "longer than",
        "a.jsonl",
        filled(ROW.encode() + b'{"text": "', b"a", 20 * MB),
    ),
    data(
        "jsonl: a first line of 20 MB",
        "longer than",
        "a.jsonl",
        filled(b'{"text": "', b"a", 20 * MB),
    ),
    data(
        "conll: one line of 20 MB",
        "longer than",
        "a.conll",
        filled(b"a B-PER\nb O\n\n", b"a", 20 * MB),
    ),
    data(
        "conllu: one line of 20 MB",
        "longer than",
        "a.conllu",
        filled(b"1\ta\ta\tX\tX\t_\t0\t_\t_\t_\n\n", b"a", 20 * MB),
    ),
    data(
        "conll: a sentence of 10 MB",
        "sentence",
        "a.conll",
        filled(b"a B-PER\nb O\n\n", b"a O\n", 10 * MB),
    ),
    data(
        "csv: a quote open for 20 MB",
        "never closed",
        "a.csv",
        filled(b'text,label\nfine,yes\n"', b"some more\n", 20 * MB),
    ),
    data(
        "tsv: a quote open for 20 MB",
        "fields expected",
        "a.tsv",
        filled(b'text\tlabel\nfine\tyes\n"', b"some more\n", 20 * MB),
    ),
    data("csv: 8 GB of NUL bytes", "NUL", "a.csv", holes(GOOD_ROWS.encode(), 8 << 30)),
    data("json: 8 GB", "1 GB", "a.json", holes(b"[" + ROW.encode() + b" " * MB, 8 << 30)),
    data("jsonl: 8 GB of NUL bytes", "NUL", "a.jsonl", holes(ROW.encode(), 8 << 30)),
    data(
        "csv: 200,000 columns",
        "200,000 columns",
        "a.csv",
        f"{cells(200_000, 'a')}\n{cells(200_000, 'b')}\n",
    ),
    data(
        "jsonl: 200,000 columns",
        "200,000 columns",
        "a.jsonl",
        json.dumps({f"a{i}": i for i in range(200_000)}),
    ),
]

TEXTS = [
    data("csv: a NUL byte", "NUL", "a.csv", GOOD_ROWS + "a\0b,yes\n"),
    data("csv: only a header", "no rows", "a.csv", "text,label\n"),
    data("csv: one class", "one class only", "a.csv", "text,label\n" + "a,yes\n" * 20, TO_LEARN),
    data(
        "csv: a quote that is never closed", "never closed", "a.csv", GOOD_ROWS + '"a,yes\nb,no\n'
    ),
    data(
        "csv: a quote that takes in rows",
        "look like rows",
        "a.csv",
        GOOD_ROWS + '"it\na,yes\nb,no\nc",yes\n',
    ),
    data("csv: ragged rows", "fields expected", "a.csv", GOOD_ROWS + "a,b,yes\n"),
    data("csv: a duplicate column", "two columns", "a.csv", "text,text\na,b\n"),
    data("csv: a carriage return", "carriage return", "a.csv", "text,label\nold\rmac,yes\n"),
    data("csv: labels that are missing", "label", "a.csv", GOOD_ROWS + "a,\n", TO_LEARN),
    data("csv: a list 100,000 deep", "one class", "a.csv", DEEP_CELL, TO_LEARN),
    data("csv: gaps of 200,000 spaces", "one class", "a.csv", GAPS, TO_LEARN),
    data("jsonl: 200,000 joiners in a row", "too little", "a.jsonl", JOINERS, TO_SPLIT),
    data("conll: ragged columns", "columns expected", "a.conll", "a B-X\nb O\n\nc\nd O O\n"),
    data("conll: an empty tag", "an empty tag", "a.conll", "a\tB-X\nb\tO\n\nc\t\n"),
    data(
        "conllu: ids of another kind", "word number", "a.conllu", "x\ta\ta\tX\tX\t_\t0\t_\t_\t_\n"
    ),
    data(
        "conllu: too few columns",
        "columns expected",
        "a.conllu",
        "1\ta\ta\tX\tX\t_\t0\t_\t_\t_\n2\tb\n",
    ),
    data("conllu: comments alone", "no sentences", "a.conllu", "# text = a\n" * 10),
    data("jsonl: lists", "a JSON object expected", "a.jsonl", '["a", "yes"]\n' * 10),
    data("jsonl: numbers", "a JSON object expected", "a.jsonl", "1\n2\n"),
    data("jsonl: cut off", "not valid JSON", "a.jsonl", ROW * 10 + ROW[:20]),
    data("jsonl: empty objects", "no rows", "a.jsonl", "{}\n" * 10),
    data(
        "jsonl: a lone surrogate",
        "half a character",
        "a.jsonl",
        ROW + ROW.replace("good", "\\ud800"),
    ),
    data(
        "jsonl: a lone surrogate in a name",
        "half a character",
        "a.jsonl",
        ROW.replace("text", "\\udc00"),
    ),
    data(
        "jsonl: lists 100,000 deep", "nested too deeply", "a.jsonl", ROW + '{"text": ' + "[" * DEEP
    ),
    data(
        "jsonl: a number of a million digits",
        "digits",
        "a.jsonl",
        ROW + f'{{"text": {"9" * 10**6}}}\n',
    ),
    data("json: lists 100,000 deep", "nested too deeply", "a.json", "[" * DEEP),
    data("json: objects 100,000 deep", "nested too deeply", "a.json", '{"a":' * DEEP),
    data("json: a number of a million digits", "digits", "a.json", f'[{{"text": {"9" * 10**6}}}]'),
    data("json: never closed", "never closed", "a.json", f"[{ROW},"),
    data("json: text after the end", "something follows", "a.json", f"[{ROW}] evil"),
    data("json: a text", "a JSON object expected", "a.json", '"text"'),
    data("json: nothing", "no rows", "a.json", "[]"),
]


def squad(name: str, says: str, change: Callable[[dict[str, Any]], object]) -> Case:
    value: dict[str, Any] = {
        "data": [
            {
                "title": "t",
                "paragraphs": [
                    {
                        "context": "a good b",
                        "qas": [
                            {
                                "id": "1",
                                "question": "a?",
                                "answers": [{"text": "good", "answer_start": 2}],
                            }
                        ],
                    }
                ],
            }
        ]
    }
    change(value)
    return data(f"squad: {name}", says, "a.json", json.dumps(value))


def first(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = value["data"][0]["paragraphs"][0]
    return found


def passages(name: str, says: str, *item: Any) -> Case:
    return data(f"dream: {name}", says, "a.json", json.dumps([list(item)]))


QUESTION = {"question": "a?", "choice": ["a", "b"], "answer": "a"}

NESTED = [
    squad(
        "paragraphs that are text",
        "has no list 'paragraphs'",
        lambda v: v["data"][0].update(paragraphs="a"),
    ),
    squad("an article that is a number", "has no list 'paragraphs'", lambda v: v["data"].append(1)),
    squad(
        "a paragraph that is a list",
        "has no text 'context'",
        lambda v: v["data"][0]["paragraphs"].append([]),
    ),
    squad("questions that are null", "has no list 'qas'", lambda v: first(v).update(qas=None)),
    squad(
        "a question that is a list", "has no text 'question'", lambda v: first(v)["qas"].append([1])
    ),
    passages("a sentence that is a number", "a sentence is no text", [1], [QUESTION]),
    passages("a question that is text", "has no text", ["a"], ["a?"]),
    passages("choices that are text", "has no choices", ["a"], [QUESTION | {"choice": "ab"}]),
]


# Parquet -----------------------------------------------------------------------------------------


def table(rows: int = 20) -> pa.Table:
    return pa.table(
        {"text": ["a good b", "c bad d"] * (rows // 2), "label": ["yes", "no"] * (rows // 2)}
    )


def parquet(table: pa.Table, **how: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **how)
    return file.getvalue()


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        made.writestr("a", bytes(50 * MB))


def bomb(size: int, rows: int, codec: str) -> Callable[[Path], object]:
    """A text of ``size`` bytes that is stored once and used in every row."""

    def write(path: Path) -> None:
        texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows), pa.array(["a" * size]))
        labels = pa.array(["yes", "no"] * (rows // 2))
        made = pa.table({"text": texts, "label": labels})
        pq.write_table(made, path, compression=codec, write_statistics=False)

    return write


WHOLE = parquet(table())
# An optional column becomes one of an unknown kind, for which its statistics have too many levels.
# pyarrow ends the process if it reads that in a column's metadata.
OTHER_SCHEMA = WHOLE.replace(b"\x15\x0c%\x02\x18\x04text", b"\x15\x0c%\x12\x18\x04text")
FOOTER = struct.unpack("<I", WHOLE[-8:-4])[0]


def replaced(begin: int, content: bytes) -> bytes:
    begin %= len(WHOLE)
    return WHOLE[:begin] + content + WHOLE[begin + len(content) :]


PARQUET = [
    data("parquet: a zip bomb", "packed with zip", "a.parquet", zip_bomb),
    data("parquet: text", "Parquet", "a.parquet", GOOD_ROWS),
    data("parquet: empty", "empty", "a.parquet", b""),
    data("parquet: only its two magic numbers", "Parquet", "a.parquet", b"PAR1PAR1"),
    data("parquet: cut off", "Parquet", "a.parquet", WHOLE[:-100]),
    data("parquet: a footer of 4 GB", "Parquet", "a.parquet", replaced(-8, b"\xff" * 4)),
    data("parquet: a footer of no bytes", "Parquet", "a.parquet", replaced(-8, bytes(4))),
    data(
        "parquet: a footer of noise",
        "Parquet",
        "a.parquet",
        replaced(-8 - FOOTER, b"\xff" * FOOTER),
    ),
    data("parquet: pages of noise", "Parquet", "a.parquet", replaced(4, b"\xff" * 60)),
    data("parquet: pages of zeros", "Parquet", "a.parquet", replaced(4, bytes(60))),
    data("parquet: statistics of another schema", "Parquet", "a.parquet", OTHER_SCHEMA),
    data("parquet: no rows", "no rows", "a.parquet", parquet(table(0))),
    data(
        "parquet: a text of 64 MB in 1,000 rows",
        "unpack to",
        "a.parquet",
        bomb(64 * MB, 1000, "zstd"),
    ),
    data(
        "parquet: a text of 10 MB in 1,000 rows",
        "longer than",
        "a.parquet",
        bomb(10 * MB, 1000, "snappy"),
    ),
    data(
        "parquet: bytes",
        "text",
        "a.parquet",
        parquet(pa.table({"text": [b"\xff\xfe"] * 20, "label": ["a", "b"] * 10})),
        TO_LEARN,
    ),
    data("parquet: encrypted", "Parquet", "a.parquet", b"PARE" + WHOLE[4:-4] + b"PARE"),
]

CASES = NO_FILES + LONG + TEXTS + NESTED + PARQUET
