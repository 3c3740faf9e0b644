"""Training reads the tokens of a labelled file from a cache on the disk. They equal those made in
memory, and are made again only if something that affects them has changed."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import onelayer
from onelayer.base import digest
from onelayer.base.errors import DataError, OneLayerError, Place
from onelayer.nn.packed import pack
from onelayer.recipe import Recipe
from onelayer.tasks import AnswerTask, Classify, Tag, Task
from onelayer.tasks.labelled import open_labelled, read_labelled
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tasks.texts import TextRow
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.store import ARRAYS, EncodingsWriter, open_encodings
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training import dataset, token_cache
from onelayer.training.dataset import TrainingData, TrainingSource, read_data
from onelayer.training.progress import JsonReporter, ProgressBar, Silent
from onelayer.training.remarks import Remarks

HERE = Place("rows.jsonl")
WORDS = ["the cat", "good", "x y z and more of it", "京 bad", "a rather longer text, this is"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.jsonl", 60)


def write(path: Path, n: int) -> Path:
    rows = [{"text": f"{WORDS[i % 5]} {i}", "label": "abc"[i % 3]} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def source(file: Path, tokenizer: Tokenizer, **choices: Any) -> TrainingSource:
    recipe = Recipe(**{"folds": 0} | choices)
    kind, layout, table = open_labelled(file, recipe, lambda _: None)
    sha256 = digest.of_file(file)
    return TrainingSource(kind, layout, table, sha256, recipe, tokenizer, limit=64, splits=True)


def data_of(file: Path, tokenizer: Tokenizer, **choices: Any) -> TrainingData:
    return read_data(source(file, tokenizer, **choices), Remarks(Silent()))


def same(one: Encodings, other: Encodings) -> None:
    for name in (*ARRAYS, "targets"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.cut == other.cut


def equal(one: TrainingData, other: TrainingData) -> None:
    same(one.encodings, other.encodings)
    assert (one.task, one.dev) == (other.task, other.dev)


@pytest.fixture
def made_datasets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows each time a file is read and tokenized."""
    made: list[str] = []
    prepare = dataset._prepare

    def counting(source: TrainingSource, *rest: Any) -> dict[str, Any]:
        made.append(source.table.path)
        return prepare(source, *rest)

    monkeypatch.setattr(dataset, "_prepare", counting)
    return made


def entries(cache_home: Path) -> list[Path]:
    return sorted((cache_home / "onelayer" / "tokens").iterdir())


# The same rows as in memory ----------------------------------------------------------------------


def test_training_rows_are_the_file_without_dev_rows(
    file: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any chunk size: all rows in order, each in training or in dev."""
    monkeypatch.setattr(dataset, "ROWS_PER_CHUNK", 7)
    found = data_of(file, tokenizer)
    _, _, rows = read_labelled(file, Recipe(), lambda _: None)
    assert len(found.dev) == 6
    assert all(row in rows for row in found.dev)
    train_rows = [row for row in rows if row not in found.dev]
    same(found.encodings, found.task.encode(train_rows, tokenizer, labelled=True))
    assert isinstance(found.encodings.ids.base, np.memmap)


@pytest.mark.slow
def test_task_is_fitted_on_training_rows_only(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """The numbers' mean and deviation exclude dev."""
    path = tmp_path / "prices.csv"
    path.write_text("text,label\n" + "".join(f"x {i},{i * i / 7}\n" for i in range(50)))
    found = data_of(path, tokenizer)
    _, _, rows = read_labelled(path, Recipe(), lambda _: None)
    values = [row.label for row in rows if row not in found.dev]
    assert len(values) == 45
    assert found.task.mean == np.mean(values)  # type: ignore[attr-defined]
    assert found.task.deviation == np.std(values)  # type: ignore[attr-defined]


def test_bad_rows_are_in_neither_training_nor_dev(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [{"text": f"x {i}", "label": ["a", "b", "-"][i % 3] * 2} for i in range(90)]
    rows = [{**row, "label": row["label"].replace("--", "-")} for row in rows]
    rows += [
        {"text": "", "label": "aa"},
        {"text": "y", "label": "cc"},
        {"text": "z", "label": "cc"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="stands for no label; 30 more bad rows: 6, 9, 12, 15, …"):
        data_of(path, tokenizer)
    found = data_of(path, tokenizer, skip_bad=True)
    assert found.task.outputs == ("aa", "bb", "cc")
    assert len(found.encodings) + len(found.dev) == 62
    assert "-" not in {row.label for row in found.dev}


def test_memory_holds_only_a_few_chunks_of_rows(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of earlier chunks are freed."""

    class Row(TextRow):
        """A row that allows weak references."""

    alive: WeakSet[Row] = WeakSet()
    most = 0
    make = Classify.row

    def row(values: Any, place: Place, labelled: bool) -> TextRow:
        nonlocal most
        plain = make(values, place, labelled)
        made = Row(plain.text, plain.pair, plain.label, plain.place)
        ids.add(id(made))
        alive.add(made)
        most = max(most, len(alive))
        return made

    ids: set[int] = set()
    # Rows compare by value; here each object must count.
    monkeypatch.setattr(Row, "__hash__", object.__hash__)
    monkeypatch.setattr(Row, "__eq__", object.__eq__)
    monkeypatch.setattr(Classify, "row", row)
    monkeypatch.setattr(dataset, "ROWS_PER_CHUNK", 10)
    monkeypatch.setattr("onelayer.training.split.MAX_DEV_ROWS", 20)
    found = data_of(write(tmp_path / "many.jsonl", 2000), tokenizer)
    assert len(found.encodings) == 1980
    assert 20 < most < 100


@pytest.mark.slow
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_mapped_and_in_memory_arrays_pack_alike(
    sizes: list[int],
    seed: int,
    tokenizer: Tokenizer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rng = np.random.default_rng(seed)
    for task, row in TASKS_AND_ROWS:
        rows = [row(rng) for _ in range(sum(sizes))]
        whole = task.encode(rows, tokenizer, labelled=True)
        folder = tmp_path_factory.mktemp("arrays")
        with EncodingsWriter(folder) as writer:
            for end, size in zip(np.cumsum(sizes), sizes, strict=True):
                writer.append(task.encode(rows[end - size : end], tokenizer, labelled=True))
        record = json.loads(json.dumps(writer.record()))
        mapped = open_encodings(folder, record)
        shutil.rmtree(folder)  # mapped files stay readable without a name
        same(mapped, whole)
        examples = rng.permutation(whole.n_examples)[:7]
        one, other = pack(mapped, examples), pack(whole, examples)
        for name in ("ids_T", "segment_ids_T", "position_ids_T", "reads_R", "targets"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert (one.runs, one.groups) == (other.runs, other.groups)


def _text(rng: np.random.Generator) -> TextRow:
    return TextRow("cat " * int(rng.integers(1, 30)), None, "ab"[rng.integers(2)], HERE)


def _tagged(rng: np.random.Generator) -> Any:
    n = int(rng.integers(1, 60))
    return Tag.row(
        {"text": ["cat"] * n, "label": ["O", "X"] * (n // 2) + ["O"] * (n % 2)}, HERE, True
    )


def _asked(rng: np.random.Generator) -> Any:
    passage = "the cat is good " * int(rng.integers(1, 20))
    answers = [{"text": "cat", "answer_start": 4}] * int(rng.integers(2))
    return AnswerTask.row({"question": "who", "context": passage, "label": answers}, HERE, True)


TASKS_AND_ROWS: list[tuple[Task, Callable[[np.random.Generator], Any]]] = [
    (Classify(labels=("a", "b"), max_length=16), _text),
    (Classify(labels=("a", "b"), max_length=8, stride=2, pooling="mean"), _text),
    (Tag(labels=("O", "X"), scheme=Scheme.PLAIN, max_length=16, stride=4), _tagged),
    (AnswerTask(max_length=24, stride=4, max_answer_tokens=9), _asked),
]


# The cache ---------------------------------------------------------------------------------------


def test_second_run_takes_tokens_from_the_cache(
    file: Path, tokenizer: Tokenizer, made_datasets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remarks, remarks_again = Remarks(Silent()), Remarks(Silent())
    first = read_data(source(file, tokenizer), remarks)
    monkeypatch.setattr(Tokenizer, "pieces", None)
    second = read_data(source(file, tokenizer), remarks_again)
    assert made_datasets == [str(file)]
    equal(first, second)
    assert remarks.told == remarks_again.told == ["60 rows: 54 to train on, 6 kept as dev"]


@pytest.mark.slow
def test_run_from_the_cache_writes_the_same_bytes(
    file: Path, bert: Path, tmp_path: Path, made_datasets: list[str]
) -> None:
    for name in ("one", "two"):
        onelayer.finetune(file, model=str(bert), out=tmp_path / name, epochs=1, folds=0)
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    assert len(made_datasets) == 1


def test_copy_of_the_file_shares_its_cache_entry(
    file: Path, tokenizer: Tokenizer, tmp_path: Path, made_datasets: list[str]
) -> None:
    """The file's path changes only the place named in errors."""
    data_of(file, tokenizer)
    copy = Path(shutil.copy(file, tmp_path / "copy.jsonl"))
    found = data_of(copy, tokenizer)
    assert len(made_datasets) == 1
    assert {row.place.path for row in found.dev} == {str(copy)}


WHAT = ["a byte", "tokenizer", "max_length", "long", "seed", "dev", "positions"]


@pytest.mark.parametrize("what", WHAT)
def test_change_that_affects_tokens_makes_a_new_cache_entry(
    what: str, file: Path, tokenizer: Tokenizer, make_bert: Any, made_datasets: list[str]
) -> None:
    data_of(file, tokenizer)
    changed = source(file, tokenizer)
    if what == "a byte":
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("good 1", "good 2", 1), encoding="utf-8")
        changed = source(file, tokenizer)
    elif what == "tokenizer":
        folder = make_bert(num_hidden_layers=1)
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        lines[-2:-2] = ["##at"]
        (folder / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
        changed = source(file, Tokenizer.read(folder))
    elif what == "dev":
        changed = replace(changed, splits=False)
    elif what == "positions":
        changed = replace(changed, limit=32)
    elif what == "long":
        changed = source(file, tokenizer, long="truncate")
    else:
        changed = source(file, tokenizer, **{what: 9})
    read_data(changed, Remarks(Silent()))
    assert len(made_datasets) == 2


def test_change_that_does_not_affect_tokens_shares_the_cache_entry(
    file: Path, tokenizer: Tokenizer, made_datasets: list[str]
) -> None:
    data_of(file, tokenizer)
    data_of(file, tokenizer, lr=0.1, epochs=9, batch_size=3, class_weights=True)
    assert len(made_datasets) == 1
    for seed in (2, 3):  # with a dev file of its own the seed splits nothing
        whole = replace(source(file, tokenizer, seed=seed), splits=False)
        read_data(whole, Remarks(Silent()))
    assert len(made_datasets) == 2


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda entry: (entry / "ids.bin").write_bytes(b"abc"),
    "a flipped bit": lambda entry: flip(entry / "ids.bin"),
    "a flipped target": lambda entry: flip(entry / "targets.bin"),
    "a missing array": lambda entry: (entry / "reads.bin").unlink(),
    "no record": lambda entry: (entry / "entry.json").unlink(),
    "half a record": lambda entry: halve(entry / "entry.json"),
    "a changed record": lambda entry: replace_in(entry / "entry.json", "good", "goad"),
    "another record": lambda entry: (entry / "entry.json").write_text("[]"),
    "nothing in it": lambda entry: [file.unlink() for file in entry.iterdir()],
}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_cache_entry_is_replaced(
    damage: str, file: Path, tokenizer: Tokenizer, cache_home: Path, made_datasets: list[str]
) -> None:
    first = data_of(file, tokenizer)
    kept = replace(
        first.encodings,
        **{name: np.array(getattr(first.encodings, name)) for name in (*ARRAYS, "targets")},
    )
    (entry,) = entries(cache_home)
    DAMAGE[damage](entry)
    equal(data_of(file, tokenizer), replace(first, encodings=kept))
    equal(data_of(file, tokenizer), replace(first, encodings=kept))
    assert len(made_datasets) == 2
    assert entries(cache_home) == [entry]


def test_interrupted_run_leaves_no_cache_entry(
    file: Path, tokenizer: Tokenizer, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EncodingsWriter, "append", stop)
        with pytest.raises(KeyboardInterrupt):
            data_of(file, tokenizer)
    assert entries(cache_home) == []


def test_bad_rows_leave_no_cache_entry(
    tmp_path: Path, tokenizer: Tokenizer, cache_home: Path
) -> None:
    path = write(tmp_path / "bad.jsonl", 9)
    path.write_text(path.read_text(encoding="utf-8") + '{"text": "", "label": "a"}\n')
    with pytest.raises(DataError, match="text is empty"):
        data_of(path, tokenizer)
    assert entries(cache_home) == []


def test_abandoned_cache_entry_is_removed(
    file: Path, tokenizer: Tokenizer, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_written = cache_home / "onelayer" / "tokens" / ".staged-0"
    half_written.mkdir(parents=True)
    data_of(file, tokenizer)
    assert half_written in entries(cache_home)  # its process may still be running
    monkeypatch.setattr(token_cache, "ABANDONED_SECONDS", -1)
    data_of(file, tokenizer, seed=2)
    assert half_written not in entries(cache_home)


def test_least_recently_used_cache_entry_is_evicted(
    file: Path, tokenizer: Tokenizer, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ages: dict[Path, float] = {}
    monkeypatch.setattr(
        token_cache, "_last_used", lambda folder: ages.setdefault(folder, len(ages))
    )
    found: list[Path] = []
    for seed in (1, 2, 3):
        data_of(file, tokenizer, seed=seed)
        found += [entry for entry in entries(cache_home) if entry not in found]
    size = sum(path.stat().st_size for path in found[0].iterdir())
    monkeypatch.setattr(token_cache, "MAX_CACHE_BYTES", 2.5 * size)
    ages[found[0]] = 99  # used again
    data_of(file, tokenizer, seed=4)
    left = entries(cache_home)
    assert found[0] in left
    assert found[1] not in left
    assert len(left) == 2


@pytest.mark.parametrize("trouble", ["no folder", "full disk"])
def test_unusable_cache_is_a_warning(
    trouble: str,
    file: Path,
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = data_of(file, tokenizer)
    home = tmp_path / "elsewhere"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    if trouble == "no folder":
        home.write_text("a file where the folder should be")
    else:
        monkeypatch.setattr(token_cache, "sync", _full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    remarks = Remarks(Silent())
    found = read_data(source(file, tokenizer), remarks)
    equal(found, expected)
    warnings = [remark for remark in remarks.told if remark.startswith("warning")]
    assert len(warnings) == 1
    assert "tokens are not kept for other runs" in warnings[0]
    assert {path.name for path in tmp_path.iterdir()} == {"rows.jsonl", "elsewhere"}


def test_no_disk_space_for_tokens_is_one_line(
    file: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EncodingsWriter, "append", _full)
    with pytest.raises(OneLayerError, match=r"no room for the file's tokens: No space.*TMPDIR"):
        data_of(file, tokenizer)


def _full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_dev_rows_with_decimals_are_the_same_from_the_cache(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    path = tmp_path / "prices.parquet"
    values = [Decimal(i * i) / 4 for i in range(40)]
    pq.write_table(pa.table({"text": ["x y"] * 40, "score": values}), path)
    found = data_of(path, tokenizer, task="regress")
    _, _, rows = read_labelled(path, Recipe(task="regress"), lambda _: None)
    assert len(found.dev) == 4
    assert all(row in rows for row in found.dev)


def test_dev_rows_are_read_with_what_their_file_tells(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "tags.conll"
    sentences = (f"cat B-X\n{i} I-X\nsits O\n" for i in range(40))
    path.write_text("\n".join(sentences), encoding="utf-8")
    found = data_of(path, tokenizer, task="tag")
    _, _, rows = read_labelled(path, Recipe(task="tag"), lambda _: None)
    assert len(found.dev) == 4
    assert all(row in rows for row in found.dev)


# Progress ----------------------------------------------------------------------------------------


class QuietRemarks(JsonReporter):
    """Reports all but remarks."""

    def say(self, remark: str) -> None: ...


def test_reading_a_large_file_reports_progress(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "REPORT_SECONDS", -1)
    stream = StringIO()
    reporter = QuietRemarks(stream)
    read_data(source(write(tmp_path / "rows.jsonl", 700), tokenizer), Remarks(reporter))
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "reading", "rows": 256, "of": None},
        {"event": "reading", "rows": 512, "of": None},
        {"event": "looking", "rows": 256, "of": 700},
        {"event": "looking", "rows": 512, "of": 700},
        {"event": "tokenizing", "rows": 256, "of": 630},
        {"event": "tokenizing", "rows": 512, "of": 630},
    ]


def test_progress_bar_is_replaced_by_the_next_one() -> None:
    bar = ProgressBar()
    bar.console.file = StringIO()
    assert isinstance(bar.console, Console)
    bar.prepare("reading", 10, None)
    bar.prepare("tokenizing", 10, 40)
    bar.prepare("tokenizing", 20, 40)
    (task,) = bar.bar.tasks
    assert (task.description, task.completed, task.total) == ("tokenizing", 20, 40)
    bar.finish()
    bar.start(5, "")
    (task,) = bar.bar.tasks
    assert (task.description, task.completed, task.total) == ("training", 0, 5)
    bar.finish()
