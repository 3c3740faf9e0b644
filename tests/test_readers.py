"""``read_table`` gives the rows of everyday data files, or a one-line error."""

import csv
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onelayer.base.errors import DataError
from onelayer.data.readers import read_table
from onelayer.data.table import Table

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def rows(table: Table) -> list[tuple[object, ...]]:
    return [tuple(record.values.values()) for record in table]


# Formats -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "format", "columns"),
    [
        ("a.csv", "text,label\nfine,pos\n", "csv", ("text", "label")),
        ("a.csv", "text;label\nfine, thanks;pos\n", "csv", ("text", "label")),
        ("a.csv", "text\tlabel\nfine\tpos\n", "tsv", ("text", "label")),
        ("a.txt", "text,label\nfine,pos\n", "csv", ("text", "label")),
        ("a.tsv", "sentence\tlabel\nfine\tpos\n", "tsv", ("sentence", "label")),
        ("a.txt", "sentence\tlabel\nfine\tpos\n", "tsv", ("sentence", "label")),
        ("a", "sentence\tlabel\nfine\tpos\n", "tsv", ("sentence", "label")),
        ("a.txt", "One line.\n\nAnother, here.\n", "lines", ("text",)),
        ("a.jsonl", '{"text": "fine"}\n\n{"label": 1}\n', "jsonl", ("text", "label")),
        ("a.json", '{"text": "fine"}\n{"label": 1}\n', "jsonl", ("text", "label")),
        ("a.json", '{\n "text": "fine"\n}\n{\n "label": 1\n}\n', "json", ("text", "label")),
        ("a.json", '[{"text": "fine"},\n {"label": 1}]', "json", ("text", "label")),
        ("a.txt", '{"text": "fine"}\n', "jsonl", ("text",)),
        ("a.tsv", "EU\tB-ORG\nsays\tO\n\nno\tO\n", "conll", ("tokens", "tags")),
        ("a.annotated", "EU B-ORG\nsays O\n", "conll", ("tokens", "tags")),
        ("a.txt", "他 r\n说 v\n\n" * 10, "conll", ("tokens", "tags")),
        ("a.conll.train", "EU\nsays\n", "conll", ("tokens",)),
    ],
)
def test_format_is_found_by_name_and_content(
    write: Write, name: str, content: str, format: str, columns: tuple[str, ...]
) -> None:
    table = read_table(write(name, content))
    assert (table.format, table.columns) == (format, columns)
    assert list(table) == list(table), "a table can be read again"


def test_parquet_is_read_with_its_types(tmp_path: Path) -> None:
    path = tmp_path / "reviews"  # recognised by its content only
    pq.write_table(pa.table({"text": ["fine", None], "labels": [[1, 2], []]}), path)
    table = read_table(path)
    assert (table.format, table.columns) == ("parquet", ("text", "labels"))
    assert [(r.line, dict(r.values)) for r in table] == [
        (1, {"text": "fine", "labels": [1, 2]}),
        (2, {"text": None, "labels": []}),
    ]


def test_records_have_the_line_number_of_their_start(write: Write) -> None:
    table = read_table(write("a.csv", 'text,label\n"two\nlines",1\n\nnext,0\n'))
    assert [record.line for record in table] == [2, 5]
    pretty = read_table(write("a.json", '[\n {\n "text": "a"},\n\n {"text": "b"}\n]\n'))
    assert [record.line for record in pretty] == [2, 5]


def test_bom_and_crlf_are_accepted(write: Write) -> None:
    for name, comma in (("a.csv", ","), ("a.tsv", "\t")):
        content = f"\ufefftext{comma}label\r\nfine{comma}pos\r\n"
        assert rows(read_table(write(name, content))) == [("fine", "pos")]
    assert rows(read_table(write("a.txt", "\ufeffone\r\ntwo"))) == [("one",), ("two",)]


def test_unicode_line_separators_do_not_end_a_line(write: Write) -> None:
    assert rows(read_table(write("a.txt", "a\u2028b\u0085c\n"))) == [("a\u2028b\u0085c",)]


# Round trips -------------------------------------------------------------------------------------

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
# A cell that is a column's name again may be one more header.
texts = st.text(characters).filter(lambda text: text.strip() not in ("text", "label"))


@given(st.lists(st.tuples(texts, texts), min_size=1))
def test_csv_equals_the_csv_module(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *given_rows])
    assert rows(read_table(path)) == given_rows


@pytest.mark.slow
@given(st.lists(st.dictionaries(texts, texts, min_size=1), min_size=1))
def test_jsonl_equals_the_json_module(
    tmp_path_factory: pytest.TempPathFactory, objects: list[dict[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in objects))
    assert [record.values for record in read_table(path)] == objects


# Headers -----------------------------------------------------------------------------------------

HEADERLESS = [
    "gj04\t1\t\tOur friends won't buy it.\ngj04\t0\t*\tThe more we study.\n",
    "How do I pay?\tHow to pay?\t0\nIs it late?\tAm I late?\t1\n",
    "如何还款\t怎样还款\n可以延期吗\t能不能延期\n",
    "房间太小\tnegative\n早餐很好，服务也不错\tpositive\n不会再来\tnegative\n",
    "what is it\tquestion\ngo there\torder\nwho is she\tquestion\n",  # a class called like a column
]
WITH_HEADER = [
    "Quality\t#1 ID\t#1 String\n1\t7028\tAmrozi accused him.\n",
    "qid\ttext_a\n0\t这个宾馆比较陈旧了\n",
    "标签\t内容\n好\t很好的酒店\n",
    "utt\ttoxicity\nYou are kind.\t0\nYou are not.\t1\n",  # numbers below a name
    "utt\tclass of it\n" + "A sentence of some length.\tgood\nAnother one to read.\tbad\n" * 6,
]


@pytest.mark.parametrize("content", HEADERLESS)
def test_columns_without_a_header_are_numbered(write: Write, content: str) -> None:
    table = read_table(write("a.tsv", content))
    width = len(table.columns)
    assert table.columns == tuple(f"column{number}" for number in range(1, width + 1))
    assert len(list(table)) == content.count("\n")
    assert table.note.startswith(f"no header line: columns are called column1 to column{width} (")
    assert table.note.endswith("; --header reads it as one)")


def test_emoji_in_a_header_are_part_of_the_names(write: Write) -> None:
    table = read_table(write("a.csv", "📝 text,🏷️\nfine,yes\nbad,no\n"))
    assert table.columns == ("📝 text", "🏷️")


@pytest.mark.parametrize("content", WITH_HEADER)
def test_header_is_detected(write: Write, content: str) -> None:
    table = read_table(write("a.tsv", content))
    assert table.columns == tuple(content.split("\n")[0].split("\t"))
    assert len(list(table)) == content.count("\n") - 1


def test_named_columns_decide_whether_there_is_a_header(write: Write) -> None:
    path = write("a.csv", "fine,good\nbad,poor\n")
    assert read_table(path).columns == ("column1", "column2")
    assert read_table(path, named=["good"]).columns == ("fine", "good")
    known = write("b.csv", "text,label\nfine,good\n")
    assert read_table(known, named=["column2"]).columns == ("column1", "column2")


# Quotes ------------------------------------------------------------------------------------------


def test_quotes_in_a_tsv_are_text(write: Write) -> None:
    path = write("a.tsv", 'sentence\tlabel\n"Fine" , he said\t1\n" \t0\n"All of it ."\t0\n')
    assert [row[0] for row in rows(read_table(path))] == ['"Fine" , he said', '" ', '"All of it ."']


@pytest.mark.parametrize(
    ("content", "first"),
    [
        ('sentence\tlabel\n"He said ""fine"""\t1\nplain\t0\n', 'He said "fine"'),
        ('sentence\tlabel\n"two\nlines"\t1\nplain\t0\n', "two\nlines"),
        ('sentence\tlabel\n"a\ttab"\t1\nplain\t0\n', "a\ttab"),
        ('"sentence"\t"label"\n"all of them"\t"1"\n"plain"\t"0"\n', "all of them"),
    ],
)
def test_quotes_in_a_tsv_from_a_csv_library_are_markup(
    write: Write, content: str, first: str
) -> None:
    assert rows(read_table(write("a.tsv", content))) == [(first, "1"), ("plain", "0")]


def test_text_longer_than_the_csv_limit_is_read(write: Write) -> None:
    text = "word, " * 100_000
    assert rows(read_table(write("a.csv", f'text,label\n"{text}",1\n'))) == [(text, "1")]


# Bad input ---------------------------------------------------------------------------------------

SWALLOWING = "text,label\n" + "fine,1\npoor,0\n" * 10 + '"it\nfine,1\npoor,0\nsize 5",1\n'


@pytest.mark.parametrize(
    ("name", "content", "place", "message"),
    [
        ("a.csv", "", "", "the file is empty"),
        ("a.csv", "\ufeff\n \n", "", "the file is empty"),
        ("a.csv", "text,label\n", ":1", "a header line and no rows"),
        ("a.csv", "text,text\nfine,1\n", ":1", "two columns are called 'text'"),
        ("a.csv", "text,label\nfine,1\nwell, fine,1\n", ":3", "2 fields expected"),
        ("a.tsv", "text\tlabel\nfine\t1\nfine\n", ":3", "2 fields expected"),
        ("a.csv", 'text,label\nfine,1\n"never,1\nmore,0\n', ":3:1", "never closed"),
        ("a.csv", 'text,label\n"a\nb","never,1\nx,0\n', ":3:4", "never closed"),
        ("a.csv", 'text,label\n"so,1\nfine,0\n"no" he said,1\n', ":2:1", "closes on line 4"),
        ("a.csv", SWALLOWING, ":22", "takes in 2 lines that look like rows"),
        ("a.csv", "text,label\nold\rmac,1\n", ":2", "a carriage return"),
        ("a.csv", b"text,label\nfine,1\n\xe6\x97\xa5 caf\xe9,1\n", ":3:6", "byte 0xe9"),
        ("a.txt", "fine\nx\0y\n", ":2:2", "a NUL byte"),
        ("a.csv", b"\x1f\x8b\x08\0", "", "gzip"),
        ("a", b"PAR1 and then nonsense", "", "not a readable Parquet file"),
        ("a.parquet", "text,label\n", "", "not a readable Parquet file"),
        ("a.jsonl", '{"text": "a"}\n{"text": }\n', ":2:10", "not valid JSON: expecting value"),
        ("a.jsonl", '{"text": }\n', ":1:10", "not valid JSON"),
        ("a.jsonl", '{"text": "a"}\n["b"]\n', ":2", "a JSON object expected, found an array"),
        ("a.jsonl", '{"text": "\\ud83d"}\n', ":1", "half a character"),
        ("a.jsonl", '{"a":' * 100_000, ":1:1", "nested too deeply"),
        ("a.json", '[{"text": "a"}\n{"text": "b"}]', ":2:1", "',' or ']' expected"),
        ("a.json", '[{"text": "a"},\n', ":2:1", "the array is never closed"),
        ("a.json", "[]", "", "no rows"),
        ("a.json", "[1, 2]", ":1", "a JSON object expected, found a number"),
    ],
)
def test_bad_file_is_refused_in_one_line(
    write: Write, name: str, content: str | bytes, place: str, message: str
) -> None:
    path = write(name, content)
    with pytest.raises(DataError) as caught:
        list(read_table(path))
    text = str(caught.value)
    assert text.startswith(f"{path}{place}: ")
    assert message in text
    assert "\n" not in text
    assert caught.value.hint


def test_missing_file_and_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="a directory"):
        read_table(tmp_path)


@pytest.mark.slow
@given(
    st.sampled_from(["a.csv", "a.tsv", "a.txt", "a.json", "a.jsonl", "a.conll", "a.conllu", "a"]),
    st.binary() | st.text('ab1 ,;\t"\n\r{}[]:#-_\\u\ufeff').map(str.encode),
)
def test_random_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    with suppress(DataError):
        for record in read_table(path):
            assert record.values


def test_rows_before_a_broken_one_are_read(write: Write) -> None:
    table = read_table(write("a.csv", "text,label\nfine,1\nragged\n"))
    records = iter(table)
    assert next(records).values == {"text": "fine", "label": "1"}
    with pytest.raises(DataError, match="1 found"):
        next(records)


def test_unnamed_index_column_is_numbered(tmp_path: Path) -> None:
    path = tmp_path / "pandas.csv"
    path.write_text(",text,label\n0,fine,yes\n1,poor,no\n", encoding="utf-8")

    assert read_table(path).columns == ("column1", "text", "label")
