"""The benchmark that compares scores with the Trainer's: its sides run, and its sets are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.quality import quality
from benchmarks.support.set_formats import AS_CONLL, FORMATS
from benchmarks.support.sets import DataSet, read
from benchmarks.support.suites import SUITES
from onelayer.training.trainer import Trainer

SMALL = DataSet(
    name="small",
    task="classify",
    format="text-label",
    train="train.tsv",
    dev="dev.tsv",
    train_rows=12,
    dev_rows=6,
    epochs=1,
    lr=1e-3,
    max_length=32,
)


@pytest.mark.slow
@pytest.mark.parametrize("side", quality.SIDES)
def test_side_trains_and_is_scored(side: str, bert: Path, tmp_path: Path) -> None:
    lines = [f"{'good' if i % 2 else 'bad'} cat {i}\t{i % 2}" for i in range(20)]
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    usual = Trainer.score_dev
    found = quality.run(tmp_path, SMALL, str(bert), side, seed=1)
    assert 0 <= found["scores"]["accuracy"] <= 100
    assert found["peak_mib"] > 0
    assert Trainer.score_dev is usual


def test_recipe_does_not_depend_on_where_the_model_lies() -> None:
    assert quality.recipe(SMALL, "/here/mpnet") == quality.recipe(SMALL, "/there/mpnet")
    assert quality.recipe(SMALL, "mpnet") != quality.recipe(SMALL, "starter")


def test_every_set_has_a_format_and_a_name_of_its_own() -> None:
    for suite in SUITES.values():
        assert {one.format for one in suite} <= FORMATS.keys()
        assert len({one.name for one in suite}) == len(suite)


def rows_of(format_: str, text: str, tmp_path: Path) -> list[dict[str, object]]:
    """The rows of a slice of all rows, written and read again."""
    split, join, _ = FORMATS[format_]
    path = tmp_path / "slice"
    path.write_text(join(*split(text)), encoding="utf-8")
    one = DataSet("a", "tag", "conll" if format_ in AS_CONLL else format_, *[""] * 2, 1, 1, 1, 1)
    return read(one, path)


def test_formats_of_the_suites_are_read(tmp_path: Path) -> None:
    cola = "gj04\t1\t\tIt is so.\n"
    assert rows_of("cola", cola, tmp_path) == [{"text": "It is so.", "pair": None, "label": "1"}]
    mrpc = '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tA "b.\tB a.\n'
    assert rows_of("mrpc", mrpc, tmp_path) == [{"text": 'A "b.', "pair": "B a.", "label": "1"}]
    assert rows_of("pair-label", "花呗\t借呗\t0\n", tmp_path)[0]["pair"] == "借呗"
    pairs = [{"sentence1": "a", "sentence2": "b", "label": label} for label in ("neutral", "-")]
    lines = "\n".join(json.dumps(row) for row in pairs)
    assert [row["label"] for row in rows_of("json-pair", lines, tmp_path)] == ["neutral"]


def test_spans_become_tags_of_characters(tmp_path: Path) -> None:
    row = {"text": "叶老桂在", "label": {"name": {"叶老桂": [[0, 2]]}}}
    (found,) = rows_of("cluener", json.dumps(row), tmp_path)
    assert found == {"words": list("叶老桂在"), "tags": ["B-name", "I-name", "I-name", "O"]}
    (found,) = rows_of("weibo", "口0\tO\n腔1\tB-PER.NAM\n\n", tmp_path)
    assert found == {"words": ["口", "腔"], "tags": ["O", "B-PER.NAM"]}
