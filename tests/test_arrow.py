"""Arrow's files and Parquet's types: read to the same rows, with the names that the schema has, and
written again."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from onelayer.base import digest
from onelayer.base.errors import DataError, OneLayerError, UsageError
from onelayer.data.formats.class_names import names_beside
from onelayer.data.readers import extent, read_table
from onelayer.prediction.job import predict_to
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns, Recipe
from onelayer.tasks.labelled import read_labelled
from onelayer.tokens.tokenizer import Tokenizer
from support.from_tokens import FromTokens

ROWS = [{"text": f"the cat {i}", "label": i % 2, "tags": [i % 2, 0]} for i in range(5)]
FEATURES = {
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": ["bad", "good"], "_type": "ClassLabel"},
    "tags": {"feature": {"names": ["O", "B-X"], "_type": "ClassLabel"}, "_type": "Sequence"},
}
NAMES = {"label": ("bad", "good"), "tags": ("O", "B-X")}


def table(features: Any = None) -> pa.Table:
    found = pa.Table.from_pylist(ROWS)
    about = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    return found.replace_schema_metadata(about)


def ipc(data: pa.Table, path: Path, kind: Callable[..., Any], **options: Any) -> Path:
    with kind(path, data.schema, **options) as writer:
        writer.write_table(data, 2)
    return path


def save_to_disk(folder: Path) -> Path:
    """A folder as ``datasets`` writes it: two files of Arrow streams."""
    folder.mkdir(parents=True)
    files = [f"data-{i:05}-of-00002.arrow" for i in range(2)]
    for name, part in zip(files, (table().slice(0, 3), table().slice(3)), strict=True):
        ipc(part, folder / name, pa.ipc.new_stream)
    state = {"_data_files": [{"filename": name} for name in files]}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "feather, LZ4": lambda f: pa.feather.write_feather(table(), f / "a.feather") or f / "a.feather",
    "an IPC file": lambda f: ipc(table(), f / "a.arrow", pa.ipc.new_file),
    "an IPC stream": lambda f: ipc(table(), f / "a", pa.ipc.new_stream),
    "a stream, zstd": lambda f: ipc(
        *(table(), f / "a.arrow", pa.ipc.new_stream),
        options=pa.ipc.IpcWriteOptions(compression="zstd"),
    ),
    "save_to_disk": lambda f: save_to_disk(f / "saved"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_rows_of_arrow_files_are_read(write: Callable[[Path], Path], tmp_path: Path) -> None:
    found = read_table(write(tmp_path))
    assert found.format == "arrow"
    for _ in range(2):  # each iteration reads the file again
        assert [row.values for row in found] == ROWS
    assert [row.line for row in found] == [1, 2, 3, 4, 5]
    assert extent(found) == 5


def test_damaged_arrow_file_is_refused_in_one_line(tmp_path: Path) -> None:
    for name, kind in (("file", pa.ipc.new_file), ("stream", pa.ipc.new_stream)):
        path = ipc(table(), tmp_path / name, kind)
        whole = path.read_bytes()
        for size in (9, 100, len(whole) // 2, len(whole) - 40):
            path.write_bytes(whole[:size])
            with pytest.raises(DataError, match="not a readable Arrow file") as error:
                list(read_table(path))
            assert "\n" not in str(error.value)
    old = tmp_path / "old.feather"
    old.write_bytes(b"FEA1" + bytes(100))
    with pytest.raises(DataError, match="Feather of version 1"):
        read_table(old)


def test_folder_of_several_splits_is_a_question(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "train")
    save_to_disk(tmp_path / "test")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(UsageError, match="several data sets: test, train") as error:
        read_table(tmp_path)
    assert error.value.hint == f"name one, such as {tmp_path / 'test'}"
    assert len(list(read_table(tmp_path / "train"))) == 5


def test_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a directory, not a data file"):
        read_table(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(DataError, match=r"state\.json doesn't name the files"):
        read_table(tmp_path)


def test_digest_of_a_folder_changes_with_its_files(tmp_path: Path) -> None:
    folder = save_to_disk(tmp_path / "saved")
    before = digest.of_data(folder)
    assert before == digest.of_data(save_to_disk(tmp_path / "again"))
    (folder / "dataset_info.json").write_text("{}")
    assert digest.of_data(folder) != before


# Names of classes ------------------------------------------------------------------------------


def labels_of(path: Path, task: str) -> tuple[list[Any], list[str]]:
    remarks: list[str] = []
    label = {"tag": "tags"}.get(task, "label")
    asked = {"task": task, "label": label}
    _, _, rows = read_labelled(path, Recipe(**asked), remarks.append)
    return [row.label if task == "classify" else row.tags for row in rows], remarks


def test_class_names_of_the_schema_are_the_labels(tmp_path: Path) -> None:
    pq.write_table(table(FEATURES), tmp_path / "a.parquet")
    ipc(table(FEATURES), tmp_path / "a.arrow", pa.ipc.new_file)
    for name in ("a.parquet", "a.arrow"):
        found, remarks = labels_of(tmp_path / name, "classify")
        assert found == ["bad", "good", "bad", "good", "bad"]
        assert any("the numbers in label stand for bad, good" in remark for remark in remarks)


@pytest.mark.parametrize("infos", [False, True])
def test_class_names_of_dataset_info_are_the_labels(infos: bool, tmp_path: Path) -> None:
    info = {"features": FEATURES}
    name = "dataset_infos.json" if infos else "dataset_info.json"
    (tmp_path / name).write_text(json.dumps({"default": info} if infos else info))
    assert names_beside(tmp_path) == NAMES
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "the cat,0\na good one,1\n" * 2)
    assert labels_of(path, "classify")[0] == ["bad", "good"] * 2


def test_class_names_of_tags_make_them_entities(tmp_path: Path) -> None:
    tokens = pa.array([["the", "cat"]] * 5)
    data = table(FEATURES).append_column("tokens", tokens).drop_columns(["text", "label"])
    data = data.replace_schema_metadata(table(FEATURES).schema.metadata)
    pq.write_table(data, tmp_path / "a.parquet")
    found, remarks = labels_of(tmp_path / "a.parquet", "tag")
    assert found[:2] == [("O", "O"), ("B-X", "O")]
    assert any("stand for O, B-X" in remark for remark in remarks)


def test_minus_one_of_a_class_label_is_a_row_without_label(tmp_path: Path) -> None:
    data = pa.Table.from_pylist([{"text": "the cat", "label": label} for label in (0, 1, -1)])
    pq.write_table(data.replace_schema_metadata(table(FEATURES).schema.metadata), tmp_path / "a.pq")
    with pytest.raises(DataError, match=r"a\.pq:3:label: no label"):
        labels_of(tmp_path / "a.pq", "classify")


@pytest.mark.parametrize("metadata", [b"[]", b"{", b"{}", b'{"info": 7}', b"[" * 10_000])
def test_illegible_metadata_names_nothing(metadata: bytes, tmp_path: Path) -> None:
    pq.write_table(table().replace_schema_metadata({"huggingface": metadata}), tmp_path / "a.pq")
    assert read_table(tmp_path / "a.pq").class_names == {}


# Types -----------------------------------------------------------------------------------------


class Named(FromTokens):
    """A job's output depends on its engine's name."""

    name = "test"


class Heard:
    """The remarks of a job."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, remark: str) -> None:
        self.said.append(remark)

    def rows(self, done: int, share: float | None) -> None: ...


@pytest.fixture
def predictor(tmp_path: Path, tokenizer: Tokenizer) -> Predictor:
    path = tmp_path / "train.jsonl"
    path.write_text('{"text": "the cat", "label": "a"}\n{"text": "a cat", "label": "b"}\n')
    kind, layout, rows = read_labelled(path, Recipe(), lambda _: None)
    folder = tmp_path / "run"
    folder.mkdir()
    task = kind.fit(rows, tokenizer, Recipe(), 64)
    return Predictor(task, tokenizer, Named(2), layout, path=folder)


def predicted(predictor: Predictor, columns: dict[str, pa.Array], folder: Path) -> list[Any]:
    path, out = folder / "in.parquet", folder / "out.parquet"
    pq.write_table(pa.table(columns), path)
    assert predict_to(out, predictor, path, Columns(), "parquet") == len(columns["text"])
    return pq.read_table(out).to_pylist()


@pytest.mark.parametrize("index", [pa.int8(), pa.int32(), pa.uint16()])
def test_dictionary_columns_are_written(
    index: pa.DataType, predictor: Predictor, tmp_path: Path
) -> None:
    """More rows than a batch has, with a dictionary that grows from batch to batch."""
    texts = [f"the cat {i % 100}" for i in range(3000)]
    kind = pa.dictionary(index, pa.string())
    columns = {"text": pa.array(texts, kind), "other": pa.array([None] * 3000, kind)}
    found = predicted(predictor, columns, tmp_path)
    assert [row["text"] for row in found] == texts


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view()])
def test_other_kinds_of_text_are_read_and_written(
    kind: pa.DataType, predictor: Predictor, tmp_path: Path
) -> None:
    columns = {"text": pa.array(["the cat", "a cat"]).cast(kind)}
    assert [row["text"] for row in predicted(predictor, columns, tmp_path)] == ["the cat", "a cat"]


def test_binary_text_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in\.parquet:1:text: text is binary, not a text"):
        predicted(predictor, {"text": pa.array([b"the cat"])}, tmp_path)


def test_binary_column_is_named_where_no_text_is_found(tmp_path: Path) -> None:
    columns = {"said": [b"the cat", b"a cat"], "label": ["a", "b"]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UsageError) as error:
        read_labelled(tmp_path / "a.parquet", Recipe(), lambda _: None)
    assert "said is binary: write it as strings" in str(error.value)


def test_file_without_rows_gets_no_predictions(predictor: Predictor, tmp_path: Path) -> None:
    columns = {"text": pa.array([], pa.string()), "n": pa.array([], pa.int64())}
    assert predicted(predictor, columns, tmp_path) == []
    names = pq.read_schema(tmp_path / "out.parquet").names
    assert names == ["text", "n", "prediction", "prediction_json"]
    with pytest.raises(OneLayerError, match="no rows"):
        read_labelled(tmp_path / "in.parquet", Recipe(), lambda _: None)


def test_column_that_predictions_replace_is_named(predictor: Predictor, tmp_path: Path) -> None:
    heard = Heard()
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "the cat", "prediction": 7}\n')
    predict_to(tmp_path / "out.jsonl", predictor, path, Columns(), "jsonl", heard)
    assert "in.jsonl: the predictions replace its column prediction" in heard.said


@pytest.mark.parametrize("label", [datetime.date(2024, 1, 2), Decimal("1.5"), True])
def test_label_of_any_parquet_type_has_a_name(label: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([{"text": "the cat", "label": label}] * 4), path)
    found, _ = labels_of(path, "classify")
    assert found == [json.dumps(label, default=str)] * 4
