"""Tables in memory: DataFrames, Datasets and lists of dicts are read as files are."""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from onelayer.base.errors import OneLayerError, UsageError
from onelayer.data.in_memory import source_digest, source_of, tabular
from onelayer.data.readers import read_table
from onelayer.data.table import Table
from onelayer.recipe import Recipe
from onelayer.tasks.labelled import open_labelled, read_labelled

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
datasets = pytest.importorskip("datasets")

ROWS = [
    {"review": f"{'good' if i % 2 else 'bad'} cat {i}", "verdict": "yes" if i % 2 else "no"}
    for i in range(20)
]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
Row = namedtuple("Row", ["review", "verdict"])


def database_rows() -> list[Any]:
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.execute("CREATE TABLE t (review, verdict)")
    database.executemany("INSERT INTO t VALUES (:review, :verdict)", ROWS)
    return database.execute("SELECT * FROM t").fetchall()


TABLES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame(ROWS),
    "pandas with an index": lambda: pd.DataFrame(ROWS, index=[f"r{i}" for i in range(20)]),
    "pandas categories": lambda: pd.DataFrame(ROWS).astype("category"),
    "pandas arrow strings": lambda: pd.DataFrame(ROWS).astype("string[pyarrow]"),
    "polars": lambda: pl.DataFrame(ROWS),
    "polars lazy": lambda: pl.DataFrame(ROWS).lazy(),
    "polars categories": lambda: pl.DataFrame(ROWS).with_columns(pl.all().cast(pl.Categorical)),
    "Arrow": lambda: pa.Table.from_pylist(ROWS),
    "Arrow batch": lambda: pa.RecordBatch.from_pylist(ROWS),
    "Arrow stream": lambda: pa.Table.from_pylist(ROWS).to_reader(),
    "Dataset": lambda: datasets.Dataset.from_list(ROWS),
    "Dataset with a format": lambda: datasets.Dataset.from_list(ROWS).with_format("numpy"),
    "IterableDataset": lambda: datasets.Dataset.from_list(ROWS).to_iterable_dataset(),
    "one split": lambda: datasets.DatasetDict(test=datasets.Dataset.from_list(ROWS)),
    "list of dicts": lambda: ROWS,
    "generator of dicts": lambda: (row for row in ROWS),
    "named tuples": lambda: [Row(**row) for row in ROWS],
    "rows of pandas": lambda: list(pd.DataFrame(ROWS).itertuples(index=False)),
    "rows of a database": database_rows,
    "dict of lists": lambda: COLUMNS,
    "dict of arrays": lambda: {name: np.array(cells) for name, cells in COLUMNS.items()},
    "dict of Series": lambda: {name: pl.Series(cells) for name, cells in COLUMNS.items()},
    "structured array": lambda: pd.DataFrame(ROWS).to_records(index=False),
}


def rows_of(table: Any) -> list[Mapping[str, Any]]:
    found = source_of(table)
    assert isinstance(found, Table)
    return [record.values for record in found]


@pytest.mark.parametrize("kind", TABLES)
def test_every_kind_of_table_has_the_rows_of_the_file(kind: str) -> None:
    found = source_of(TABLES[kind]())

    assert isinstance(found, Table)
    assert found.columns == ("review", "verdict")
    assert [record.values for record in found] == ROWS
    assert [record.line for record in found] == list(range(1, 21))


@pytest.mark.parametrize("kind", TABLES)
def test_every_kind_of_table_is_read_by_the_column_rules_of_files(kind: str) -> None:
    said: list[str] = []

    source = source_of(TABLES[kind]())
    task, layout, rows = read_labelled(source, Recipe(label="verdict"), said.append)

    assert task.name == "classify"
    assert layout.columns["text"] == "review"
    assert [row.label for row in rows[:2]] == ["no", "yes"]
    assert "text = review, label = verdict" in said[0]


@pytest.mark.parametrize(
    "kind", [kind for kind in TABLES if kind not in ("generator of dicts", "IterableDataset")]
)
def test_predictions_come_back_as_the_same_kind_of_table(kind: str) -> None:
    given = TABLES[kind]()
    found = source_of(given)
    assert isinstance(found, Table)
    assert found.container is not None

    made = found.container.extended([0, 2], {"prediction": ["a", "b"]})

    again = source_of(made)
    assert isinstance(again, Table)
    assert [record.values for record in again] == [
        {**ROWS[0], "prediction": "a"},
        {**ROWS[2], "prediction": "b"},
    ]
    kept = ("DataFrame", "Table", "Dataset", "dict", "list")
    if type(given).__name__ in kept:
        assert type(made) is type(given)
    if type(given).__name__ == "DataFrame" and hasattr(given, "index"):
        assert list(made.index) == [given.index[0], given.index[2]]


def test_column_of_the_same_name_is_replaced() -> None:
    for kind in ("pandas", "polars", "Arrow", "Dataset", "list of dicts", "dict of lists"):
        found = source_of(TABLES[kind]())
        assert isinstance(found, Table)
        assert found.container is not None
        made = found.container.extended(range(20), {"verdict": ["x"] * 20})
        assert {row["verdict"] for row in rows_of(made)} == {"x"}, kind


def test_missing_values_of_every_library_are_none() -> None:
    frame = pd.DataFrame(
        {
            "text": pd.Series(["a", None, pd.NA, float("nan")], dtype=object),
            "string": pd.array(["a", None, None, None], dtype="string"),
            "number": [1.5, None, None, None],
            "time": [pd.NaT] * 4,
        }
    )

    first, *others = rows_of(frame)

    assert first == {"text": "a", "string": "a", "number": 1.5, "time": None}
    assert others == [dict.fromkeys(first)] * 3
    assert rows_of(pl.DataFrame({"a": [float("nan"), None]})) == [{"a": None}] * 2


def test_whole_numbers_that_pandas_made_floats_for_a_gap_stay_whole() -> None:
    with_gap = pd.DataFrame({"label": [0, 1, None], "score": [0.5, 1.0, None], "full": [1.0, 2, 3]})

    assert [list(row.values()) for row in rows_of(with_gap)] == [
        [0, 0.5, 1.0],
        [1, 1.0, 2.0],
        [None, None, 3.0],
    ]


def test_cells_are_plain_values() -> None:
    cells = [np.int64(3), np.float32(0.5), np.str_("a"), np.array(["a", "b"]), {"b", "a"}]
    cells += [pd.Timestamp("2024-05-01"), Decimal("1.50"), (1, 2), np.bool_(True), {1: np.int8(2)}]

    found = [row["x"] for row in rows_of({"x": cells})]

    assert found[:5] == [3, 0.5, "a", ["a", "b"], ["a", "b"]]
    assert found[5:] == ["2024-05-01 00:00:00", "1.50", [1, 2], True, {"1": 2}]
    assert [type(cell) for cell in found[:3]] == [int, float, str]


def test_levels_of_column_names_are_joined() -> None:
    frame = pd.DataFrame([["good", "yes"]])
    assert rows_of(frame) == [{"0": "good", "1": "yes"}]

    frame.columns = pd.MultiIndex.from_tuples([("in", "text"), ("label", "")])

    assert rows_of(frame) == [{"in.text": "good", "label": "yes"}]


def test_names_of_a_class_label_are_the_labels() -> None:
    names = datasets.ClassLabel(names=["no", "yes"])
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": names, "tags": datasets.List(names)}
    )
    cells = {"text": ["a", "b"], "label": [1, -1], "tags": [[0, 1], []]}
    made = datasets.Dataset.from_dict(cells, features=features)

    for data in (made, made.with_format("arrow")[:], made.to_iterable_dataset()):
        table = source_of(data)
        assert isinstance(table, Table)
        assert table.class_names == {"label": ("no", "yes"), "tags": ("no", "yes")}
        kept = Recipe(skip_bad=True, task="classify")
        assert [row.label for row in read_labelled(table, kept, lambda _: None)[2]] == ["yes"]


def test_pairs_of_spacy_are_rows() -> None:
    pairs = [(f"Anna {i}", {"entities": [(0, 4, "PER", "Q1")]}) for i in range(3)]

    assert rows_of(pairs)[0] == {"text": "Anna 0", "entities": [[0, 4, "PER"]]}
    task, _, rows = read_labelled(source_of(pairs), Recipe(), lambda _: None)
    assert (task.name, len(rows)) == ("tag", 3)
    assert rows_of([("good", {"cats": {"A": 1.0, "B": 0.0}})])[0]["cats"] == {"A": 1.0, "B": 0.0}


def test_dataset_is_read_in_the_order_of_its_shuffle() -> None:
    shuffled = datasets.Dataset.from_list(ROWS).shuffle(seed=1).select(range(5))

    assert rows_of(shuffled) == list(shuffled)


def test_split_is_asked_for_where_a_dataset_has_several() -> None:
    one = datasets.Dataset.from_list(ROWS)
    both = datasets.DatasetDict(train=one, test=one.select([3]))

    with pytest.raises(UsageError, match=r"splits train, test: which one\? \(.*data\['test'\]\)"):
        source_of(both)

    table = source_of(both, splits=("train",))
    assert isinstance(table, Table)
    assert len(list(table)) == 20


def test_bad_row_is_named_by_its_number_in_the_frame() -> None:
    frame = pd.DataFrame(ROWS)
    frame.loc[4, "review"] = float("nan")

    with pytest.raises(OneLayerError) as caught:
        read_labelled(source_of(frame), Recipe(label="verdict"), lambda _: None)

    assert str(caught.value).startswith("row 5 of the DataFrame, column 'review': no text")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "None has no rows by column"),
        (3, "a int has no rows by column"),
        (b"text,label", "a bytes has no rows"),
        (np.array("x"), "a ndarray has no rows"),
        (np.array([["a", "b"]]), "a ndarray has no rows"),
        (["a", "b"], "row 1 of the list: a str, not a dict"),
        ([{"text": "a"}, ("b",)], "row 2 of the list: a tuple, not a dict"),
        (pd.Series(["a"]), "a Series is one column"),
        (pl.Series(["a"]), "a Series is one column"),
        ({"text": "one text"}, "read as columns, and 'text' holds a str"),
        ({"text": ["a"], "label": ["x", "y"]}, "different lengths: text 1, label 2"),
        ({"train": pd.DataFrame(ROWS)}, "'train' holds a DataFrame"),
        (pd.concat([pd.DataFrame(ROWS)] * 2, axis=1), "more than one is called 'review'"),
        (pa.table([["a"], ["b"]], names=["x", "x"]), "more than one is called 'x'"),
        (datasets.DatasetDict(), "without splits"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(data: Any, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        source_of(data)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [pd.DataFrame(), pd.DataFrame(ROWS)[:0], pl.DataFrame(), [], {}])
def test_empty_table_has_no_rows_to_learn(data: Any) -> None:
    with pytest.raises(OneLayerError, match="no rows"):
        open_labelled(source_of(data), Recipe(), lambda _: None)


def test_lists_and_plain_iterables_are_no_tables() -> None:
    def texts() -> Iterator[str]:
        yield "a"

    for data in (["a"], ("a", "b"), texts(), pa.array(["a"]), pd.Series(["a"]), np.array(["a"])):
        assert tabular(data) is None


def test_digest_is_that_of_the_cells() -> None:
    frame = pd.DataFrame(ROWS)
    same, changed = frame.set_index(pd.Index(range(50, 70))), frame.replace("no", "never")

    digests = [source_digest(source_of(one)) for one in (frame, same, ROWS, changed)]

    assert len(set(digests[:3])) == 1
    assert digests[3] != digests[0]


def test_path_stays_a_path(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")

    source = source_of(tmp_path / "rows.csv")

    assert source == tmp_path / "rows.csv"
    assert read_table(source).container is None
