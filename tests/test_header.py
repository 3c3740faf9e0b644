"""Whether the first line of a csv is a header follows from the values below it; users can decide
otherwise."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from onelayer.base.errors import DataError, UsageError
from onelayer.cli import main as cli
from onelayer.data.readers import read_table
from onelayer.recipe import Reading

TEXTS = (
    "The lamp broke after # weeks of use.",
    "It came # days late, but it works well",
    "Never again in hotel #!",
    "We have had it for # years and like it.",
    "The colour is darker than in picture #",
)
CHINESE = ("房间很小，服务一般", "早餐很好吃，下次还来", "送货太慢了，不满意", "屏幕清晰，声音也大")

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: str) -> Path:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return tmp_path / name

    return write


def rows_of(*columns: Sequence[str], n: int = 40) -> list[list[str]]:
    """n rows. The values of a column are used in turn; ``#`` is the row's number."""
    return [[values[i % len(values)].replace("#", str(i)) for values in columns] for i in range(n)]


def as_csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


BODIES = {
    "a text and its class": (TEXTS, ("ham", "spam")),
    "a text and 0 or 1": (TEXTS, ("1", "0")),
    "an index, a text and a class": (("#",), TEXTS, ("calm", "sad", "angry")),
    "a class and a text in Chinese": (("好", "坏"), CHINESE),
    "a date, a text and yes or no": (("2023-01-0# 10:00",), TEXTS, ("Yes", "No")),
    "a text and a number": (TEXTS, ("4.5", "3.25", "0.75")),
}
HEADERS = (
    ("a text and its class", "Email Text,Email Type"),
    ("a text and its class", "x,y"),
    ("a text and its class", "tweet.text,tweet.kind"),
    ("a text and its class", "Text%,Class?"),
    ("a text and its class", "text [EN],verdict (final)"),
    ("a text and its class", '"the ""text""",kind'),
    ("a text and its class", "0,1"),
    ("a text and its class", "Kommentar,Urteil"),
    ("a text and its class", "Do you like it?,Would you come again?"),
    ("a text and its class", "message,spam"),  # a column that is called like one of its classes
    ("a text and its class", "Feedback,Feedback type"),
    ("a text and 0 or 1", "statement,toxic"),
    ("a text and 0 or 1", "0,1"),
    ("an index, a text and a class", ",statement,status"),
    ("an index, a text and a class", "No.,Aussage,Befund"),
    ("a class and a text in Chinese", "倾向,留言"),
    ("a class and a text in Chinese", "a,b"),
    ("a date, a text and yes or no", "Timestamp,What is your feedback?,Is it about us?"),
    ("a text and a number", "Essay,Mark"),
)


@pytest.mark.parametrize(("body", "header"), HEADERS)
def test_header_stands_out_from_the_values_below(write: Write, body: str, header: str) -> None:
    below = rows_of(*BODIES[body])
    table = read_table(write("a.csv", f"{header}\n{as_csv(below)}"))
    assert [list(record.values.values()) for record in table] == below
    names = next(csv.reader([header]))
    assert table.columns == tuple(name or f"column{n}" for n, name in enumerate(names, 1))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("n", [2, 5, 40])
def test_row_fits_in_with_the_values_below(write: Write, body: str, n: int) -> None:
    given = rows_of(*BODIES[body], n=n) * 2
    table = read_table(write("a.csv", as_csv(given)))
    assert [list(record.values.values()) for record in table] == given
    assert table.note
    assert table.note.startswith("no header line")


def test_decision_is_told_with_its_reason(write: Write) -> None:
    body = as_csv(rows_of(TEXTS, ("ham", "spam")))
    assert read_table(write("a.csv", f"v1,v2\n{body}")).note == (
        "the first line is read as a header ('v2' stands above 'ham', 'spam' and isn't one of them;"
        " --no-header reads it as a row)"
    )
    assert read_table(write("b.csv", body)).note == (
        "no header line: columns are called column1 to column2 ('ham' occurs again below; --header "
        "reads it as one)"
    )
    assert read_table(write("c.csv", f"text,label\n{body}")).note is None


def test_rare_class_in_the_first_row_is_no_header(write: Write) -> None:
    given = [["It was a pity that nobody came.", "spam"], *rows_of(TEXTS, ("ham",), n=60)]
    assert len(list(read_table(write("a.csv", as_csv(given))))) == 61


def test_user_decides_about_the_header(write: Write) -> None:
    body = as_csv(rows_of(TEXTS, ("ham", "spam")))
    path = write("a.csv", f"v1,v2\n{body}")
    as_rows = read_table(path, reading=Reading(header=False))
    assert as_rows.columns == ("column1", "column2")
    assert len(list(as_rows)) == 41
    as_names = read_table(write("b.csv", body), reading=Reading(header=True))
    assert as_names.columns == ("The lamp broke after 0 weeks of use.", "ham")
    assert len(list(as_names)) == 39


def test_names_of_the_training_file_make_a_header(write: Write) -> None:
    path = write("a.csv", "statement\nI feel calm today.\nMy heart races.\n")
    assert len(list(read_table(path, expected=["statement"]))) == 2
    headerless = write("b.csv", "I feel calm today.,sad\nMy heart races.,calm\nI know.,sad\n")
    assert len(list(read_table(headerless, expected=["column1", "column2"]))) == 3


def test_pandas_index_of_two_rows_is_no_label(
    write: Write, bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("a.csv", ",statement,status\n0,I feel calm today,good\n1,My heart races,bad\n")
    assert cli.main(["inspect", str(path), "--model", str(bert)]) == 0
    assert "text = statement, label = status" in capsys.readouterr().out


# Dialects ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "columns", "first", "said"),
    [
        ("text|label\ngood, cat|x\nbad|y\n", "text label", ("good, cat", "x"), "parted by '|'"),
        ("sep=;\r\ntext;label\r\nbad, cat;x\r\n", "text label", ("bad, cat", "x"), "a line above"),
        ("# by a tool\n# rows: 2\ntext,label\nbad,x\n", "text label", ("bad", "x"), "2 lines"),
        ("#label,text\nx,good cat\ny,bad\n", "#label text", ("x", "good cat"), ""),
        ("#fun it was,1\n#bad it was,0\n", "column1 column2", ("#fun it was", "1"), "no header"),
        ("text,label\ngood,x,\nbad,y,\n", "text label", ("good", "x"), ""),
        ("text,label,\ngood,x\nbad,y,\n", "text label column3", ("good", "x", ""), ""),
        ('text, label\n"a, b", "x"\n"c", "y"\n', "text label", ("a, b", "x"), ""),
        ("text, label\ngood, x\nbad, y\n", "text label", ("good", "x"), ""),
        ("text\nGood, but slow\nfine\nno, no, no\n", "text", ("Good, but slow",), "one column"),
        (
            '"text","label"\n"1","good","x"\n"2","bad","y"\n',
            "row text label",
            ("1", "good", "x"),
            "",
        ),
    ],
)
def test_habits_of_csv_writers_are_read(
    write: Write, content: str, columns: str, first: tuple[str, ...], said: str
) -> None:
    table = read_table(write("a.csv", content))
    assert table.columns == tuple(columns.split())
    assert tuple(next(iter(table)).values.values()) == first
    assert said in (table.note or "")


@pytest.mark.parametrize(("name", "mark"), [("^", "^"), ("tab", "\t"), ("\\t", "\t")])
def test_named_delimiter_is_taken(write: Write, name: str, mark: str) -> None:
    path = write("a.txt", f"text{mark}label\nbad, bad; cat{mark}x\n")
    table = read_table(path, reading=Reading(delimiter=name))
    assert [dict(record.values) for record in table] == [{"text": "bad, bad; cat", "label": "x"}]


def test_delimiter_of_several_characters_is_refused(write: Write) -> None:
    with pytest.raises(UsageError, match="--delimiter must be one character, not '::'"):
        read_table(write("a.csv", "a::b\n"), reading=Reading(delimiter="::"))


def test_header_that_comes_again_is_left_out_and_counted(
    write: Write, bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = "text,label\n" + as_csv(rows_of(TEXTS, ("ham", "spam"), n=10))
    path = write("joined.csv", half + half)
    assert cli.main(["inspect", str(path), "--model", str(bert)]) == 0
    out = capsys.readouterr().out
    assert "rows: 20" in out
    assert "1 row: left out, the header line again, as where files are joined" in out


def test_empty_rows_are_left_out_and_counted(
    write: Write, bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = as_csv(rows_of(TEXTS, ("ham", "spam"), n=10))
    path = write("a.csv", f",\ntext,label\n{body},\n,\n")
    assert cli.main(["inspect", str(path), "--model", str(bert)]) == 0
    out = capsys.readouterr().out
    assert "rows: 10" in out
    assert "2 rows: left out, an empty row, as spreadsheets write them" in out


def test_repeated_column_names_are_refused_with_the_flag(write: Write) -> None:
    with pytest.raises(DataError, match=r"two columns are called 'text'.*--no-header"):
        read_table(write("a.csv", "text,text,label\ngood cat,bad cat,x\n"))
