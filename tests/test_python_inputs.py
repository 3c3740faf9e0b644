"""What Python users give to ``predict`` and to the other verbs, and what they get back."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import onelayer
from onelayer import OneLayerError, Predictor, UsageError
from support.predictions import assert_same_predictions
from support.tiny_bert import MakeBert

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
datasets = pytest.importorskip("datasets")

TEXTS = ["good cat", "bad cat"]
ROWS = [{"review": TEXTS[i % 2] + f" {i}", "verdict": "no" if i % 2 else "yes"} for i in range(24)]


@pytest.fixture(scope="module")
def model(make_bert: MakeBert, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A classifier of single texts, trained on a DataFrame."""
    out = tmp_path_factory.mktemp("frames") / "run"
    return onelayer.finetune(
        pd.DataFrame(ROWS), out=out, model=str(make_bert()), epochs=1, label="verdict", folds=0
    )


@pytest.mark.parametrize(
    "inputs",
    [
        tuple(TEXTS),
        iter(TEXTS),
        (text for text in TEXTS),
        [(text,) for text in TEXTS],
        [{"review": text} for text in TEXTS],
        [{"text": text, "other": 3} for text in TEXTS],
        {"review": TEXTS},
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array([[text] for text in TEXTS]),
        [np.str_(text) for text in TEXTS],
        pd.Series(TEXTS, index=[7, 9], name="other"),
        pd.Series(TEXTS, dtype="string"),
        pd.DataFrame({"review": TEXTS}, index=["a", "b"]),
        pd.DataFrame({"Number": [1, 2], "review": TEXTS}).itertuples(),
        pl.Series(TEXTS),
        pl.DataFrame({"review": TEXTS}),
        pl.LazyFrame({"review": TEXTS}),
        pa.array(TEXTS),
        pa.chunked_array([TEXTS]),
        pa.table({"review": TEXTS}),
        datasets.Dataset.from_dict({"review": TEXTS}),
        datasets.Dataset.from_dict({"review": TEXTS}).to_iterable_dataset(),
        datasets.DatasetDict(test=datasets.Dataset.from_dict({"review": TEXTS})),
    ],
    ids=lambda inputs: type(inputs).__name__,
)
def test_every_container_gives_a_prediction_for_each_text(model: Predictor, inputs: Any) -> None:
    assert_same_predictions(model.predict(inputs), model.predict(TEXTS))


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (None, "predict takes a list of inputs, not None"),
        ("good cat", "not a text"),
        (np.str_("good cat"), "not a text"),
        (b"good cat", "not bytes"),
        (np.array("good cat"), "not a single ndarray"),
        (np.zeros((2, 2, 2)), "a ndarray of 3 dimensions"),
        (Path("rows.csv"), "not a path"),
        ({"good cat"}, "a set has no order"),
        (3, "not a int"),
        ({"review": "good cat"}, "'review' holds a str"),
        ([None], "input:1:text: no text"),
        (["good cat", None], "input:2:text: no text"),
        (pd.Series(["good cat", None]), "input:2:text: no text"),
        (pd.DataFrame({"review": ["good cat", None]}), "row 2 of the DataFrame, column 'review'"),
        ([3], "input 1 has the type int"),
        ([True], "input 1 has the type bool"),
        ([b"good cat"], "input 1 has the type bytes (decode it"),
        ([Path("rows.csv")], "input 1 has the type PosixPath"),
        ([("a", "b")], "a tuple of 2 items, and the model reads text"),
        ([("a", "b", "c")], "a tuple of 3 items"),
        (np.array([["a", "b"]]), "a tuple of 2 items"),
        ([["a", "b"]], "text is a list, not a text"),
        ([{"txt": "a"}], "a row with txt (the model reads review)"),
        ([{"review": b"a"}], "text is binary, not a text"),
        ([{"review": object()}], "text is a object, not a text"),
    ],
)
def test_what_is_no_list_of_inputs_is_refused_in_one_line(
    model: Predictor, inputs: Any, says: str
) -> None:
    with pytest.raises(OneLayerError) as caught:
        model.predict(inputs)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_table_of_an_unknown_library_is_not_read_as_a_list_of_column_names(
    model: Predictor,
) -> None:
    class OtherFrame:
        columns = ("review",)

        def __iter__(self) -> Iterator[str]:
            return iter(self.columns)

    with pytest.raises(UsageError, match="not a OtherFrame"):
        model.predict(OtherFrame())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a OtherFrame has no rows by column"):
        onelayer.evaluate(str(model.path), OtherFrame())


def test_generator_is_read_chunk_by_chunk(
    model: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelayer.prediction.predictor.CHUNK", 4)
    monkeypatch.setattr("onelayer.prediction.streams.CHUNK", 4)
    read: list[int] = []

    def texts() -> Iterator[str]:
        for i in range(100):
            read.append(i)
            yield "good cat"

    first = next(model.predict_stream(texts()))

    assert_same_predictions([first], model.predict(["good cat"]))
    assert len(read) <= 8
    assert onelayer.predict(model, texts(), out=tmp_path / "out.jsonl").rows == 100


def test_predictions_come_back_as_the_same_kind_of_table(model: Predictor) -> None:
    frame = pd.DataFrame({"review": TEXTS, "n": [1, 2]}, index=["x", "y"])
    labels = [one.label for one in model.predict(TEXTS)]

    made = onelayer.predict(model, frame).to_frame()

    assert list(made.columns) == ["review", "n", "prediction", "prediction_json"]
    assert list(made.index) == ["x", "y"]
    assert list(made["prediction"]) == labels
    assert list(frame.columns) == ["review", "n"]
    series = onelayer.predict(model, frame["review"]).to_frame()
    assert (list(series.index), list(series["prediction"])) == (["x", "y"], labels)
    assert onelayer.predict(model, pl.DataFrame({"review": TEXTS})).to_frame().height == 2
    by_dict = onelayer.predict(model, [{"review": text} for text in TEXTS]).to_frame()
    assert [row["prediction"] for row in by_dict] == labels
    empty = onelayer.predict(model, frame[:0])
    assert (empty.rows, len(empty.to_frame())) == (0, 0)
    with pytest.raises(UsageError, match="belong to no table"):
        onelayer.predict(model, TEXTS).to_frame()


def test_rows_that_are_left_out_are_missing_from_the_table(model: Predictor) -> None:
    frame = pd.DataFrame({"review": ["good cat", None, "bad cat"]}, index=[5, 6, 7])
    said: list[str] = []

    made = onelayer.predict(model, frame, skip_bad=True, say=said.append)

    assert list(made.to_frame().index) == [5, 7]
    assert "left out 1 bad rows" in said[-1]
    assert "row 2 of the DataFrame" in said[-1]


def test_columns_can_be_named_for_tables_and_dicts(model: Predictor) -> None:
    expected = model.predict(TEXTS)

    for data in (pd.DataFrame({"x": TEXTS, "y": TEXTS}), [{"x": text} for text in TEXTS]):
        made = onelayer.predict(model, data, text="x").predictions
        assert_same_predictions(list(made or ()), expected)
    with pytest.raises(UsageError, match="no column 'z'"):
        onelayer.predict(model, pd.DataFrame({"x": TEXTS}), text="z")


def test_string_is_a_path_and_an_item_of_a_list_a_text(
    model: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"review": TEXTS}).to_csv("rows.csv", index=False)
    said: list[str] = []

    assert onelayer.predict(model, "rows.csv").rows == 2
    assert onelayer.predict(model, ["rows.csv"], say=said.append).rows == 1
    assert said == ["'rows.csv' is read as a text; to read the file give its path, not a list"]
    with pytest.raises(OneLayerError, match="good cat: no such file"):
        onelayer.predict(model, "good cat")


def test_verbs_give_the_same_results_for_a_frame_and_its_file(
    model: Predictor, tmp_path: Path
) -> None:
    frame, file = pd.DataFrame(ROWS), tmp_path / "rows.csv"
    frame.to_csv(file, index=False)
    run = str(model.path)

    scores = onelayer.evaluate(run, frame)
    assert scores.scores == onelayer.evaluate(run, file).scores
    assert (scores.file, scores.rows) == ("DataFrame", 24)
    assert onelayer.compare(run, run, frame).rows == 24
    assert onelayer.report(run, frame, out=tmp_path / "page.html").file == "DataFrame"
    found = onelayer.inspect(frame, frame[:3], model=run, label="verdict").to_json()
    assert (found["file"], found["format"]) == ("DataFrame", "memory")
    assert found["rows_in_several_files"] == {"DataFrame": 3, "DataFrame 2": 3}


def test_dataset_dict_brings_its_own_dev_rows(make_bert: MakeBert, tmp_path: Path) -> None:
    train = datasets.Dataset.from_list(ROWS)
    splits = datasets.DatasetDict(train=train, validation=train.select(range(6)), test=train)

    made = onelayer.finetune(
        splits, out=tmp_path / "run", model=str(make_bert()), epochs=1, label="verdict", folds=0
    )

    assert made.record is not None
    assert made.record.data is not None
    assert (made.record.data.train_rows, made.record.data.dev_rows) == (24, 6)


def test_export_asks_for_rows_that_were_in_memory(model: Predictor, tmp_path: Path) -> None:
    run = str(model.path)

    with pytest.raises(UsageError, match=r"train file DataFrame: .*--train FILE"):
        onelayer.export(run, out=tmp_path / "bundle")
    with pytest.raises(UsageError, match="its SHA-256 differs"):
        onelayer.export(run, out=tmp_path / "bundle", train=pd.DataFrame(ROWS[1:]))


def test_copy_and_pickle_hold_the_path_of_the_model(model: Predictor) -> None:
    packed = pickle.dumps(model)

    assert len(packed) < 10_000
    assert_same_predictions(pickle.loads(packed).predict(TEXTS), model.predict(TEXTS))
    assert copy.deepcopy(model).path == model.path


def test_pickle_keeps_guarantees(model: Predictor) -> None:
    assert model.task.promises
    changed = copy.replace(model.task, stride=3) if hasattr(copy, "replace") else model.task
    model.task, before = changed, model.task
    try:
        assert pickle.loads(pickle.dumps(model)).task == changed
    finally:
        model.task = before


def test_model_in_training_is_not_pickled(model: Predictor) -> None:
    unsaved = copy.copy(model)
    unsaved.path = None

    with pytest.raises(UsageError, match="save it first"):
        pickle.dumps(unsaved)


@pytest.mark.process
@pytest.mark.slow
def test_pickled_model_predicts_in_another_process(model: Predictor) -> None:
    code = (
        "import pickle, sys; model = pickle.load(sys.stdin.buffer); "
        f"print(*[one.label for one in model.predict({TEXTS!r})])"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(model), capture_output=True, check=True
    )

    assert ran.stdout.decode().split() == [one.label for one in model.predict(TEXTS)]
