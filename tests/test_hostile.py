"""Hostile files are refused in one line, quickly and in little memory. For any bytes readers return
records or a one-line error."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onelayer.base.errors import CheckpointError, OneLayerError
from onelayer.base.machine import cores
from onelayer.base.model_files import find, read_json
from onelayer.checkpoint import read as checkpoints
from onelayer.checkpoint.record import read_record
from onelayer.cli.main import main
from onelayer.data.readers import read_table
from onelayer.tokens.tokenizer import Tokenizer
from support.hostile import CASES
from support.hostile.case import CONFIG, RECORD, Case, safetensors, weights, write_model
from support.hostile.tokenizing import TOKENIZER

TESTS = Path(__file__).parent


@cache
def outcomes() -> dict[str, dict[str, Any]]:
    """The outcome of every case, run in forks of one process per core."""
    command = [sys.executable, "-m", "support.hostile"]
    names = [case.name for case in CASES]
    n = min(cores(), 4)
    runs = [
        subprocess.Popen([*command, *names[i::n]], cwd=TESTS, stdout=subprocess.PIPE, text=True)
        for i in range(n)
    ]
    found = [json.loads(line) for run in runs for line in run.communicate()[0].splitlines()]
    assert not any(run.returncode for run in runs)
    return {outcome["case"]: outcome for outcome in found}


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="limits and memory are Linux's")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile_file_is_refused_in_one_line(case: Case) -> None:
    found = outcomes()[case.name]
    lines = found["stderr"].splitlines()
    remark = ("· ", '{"event": "remark"')
    assert all(line.startswith(remark) for line in lines[:-1])
    assert lines[-1].startswith("onelayer: ")
    assert case.says in lines[-1]
    assert lines[-1].isprintable()
    assert found["code"] == 2
    assert found["left"] == [], "nothing is written, and no program of a file's was run"


def test_hostile_cases_have_unique_names() -> None:
    names = Counter(case.name for case in CASES)
    assert len(names) >= 60
    assert max(names.values()) == 1


@pytest.fixture
def good(tmp_path: Path) -> Path:
    write_model(tmp_path / "good")
    return tmp_path / "good"


def test_unspoilt_files_are_accepted(good: Path, tmp_path: Path) -> None:
    (good / "tokenizer.json").write_text(json.dumps(TOKENIZER), encoding="utf-8")
    (tmp_path / "a.csv").write_text("text\na good b\n", encoding="utf-8")
    assert main(["inspect", str(good)]) == 0
    assert main(["predict", str(good), str(tmp_path / "a.csv")]) == 0


# Links -------------------------------------------------------------------------------------------


def test_links_of_the_hub_cache_are_followed(good: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--x" / "blobs", tmp_path / "models--x" / "snapshots" / "1"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(good.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", str(number)))
    assert checkpoints.read_checkpoint(snapshot).labels == ["no", "yes"]
    (tmp_path / "short").symlink_to(snapshot)
    assert checkpoints.read_checkpoint(tmp_path / "short").labels == ["no", "yes"]


def test_link_inside_the_directory_is_followed(good: Path) -> None:
    (good / "config.json").rename(good / "other.json")
    (good / "config.json").symlink_to("other.json")
    assert find(good, "config.json") == good / "config.json"


def test_link_to_another_models_blobs_is_refused(good: Path, tmp_path: Path) -> None:
    other = tmp_path / "models--private" / "blobs"
    other.mkdir(parents=True)
    (good / "config.json").rename(other / "1")
    (good / "config.json").symlink_to(other / "1")
    with pytest.raises(CheckpointError, match="leads out of its directory"):
        find(good, "config.json")


# No code -----------------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize(
    "snippet",
    [
        "import pickle",
        "from marshal import loads",
        "import shelve",
        "import dill",
        "import cloudpickle",
        "import torch\n\ntorch.load('a', weights_only=True)",
        "import numpy as np\n\nnp.load('a', allow_pickle=True)",
        "import importlib\n\nimportlib.import_module('a')",
        "eval('1')",
        "exec('1')",
    ],
)
def test_lint_refuses_calls_that_execute_data(snippet: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", "src/onelayer/a.py", "-"],
        input=f"{snippet}\n",
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert any(rule in run.stdout for rule in ("TID251", "S102", "S307")), run.stdout


# Random bytes ------------------------------------------------------------------------------------


def parquet() -> bytes:
    file = io.BytesIO()
    made = pa.table({"text": ["a", "b", None], "label": ["x", "y", "x"], "tags": [["a"], [], None]})
    pq.write_table(made, file)
    return file.getvalue()


SQUAD = {
    "data": [
        {
            "title": "t",
            "paragraphs": [{"context": "a b", "qas": [{"question": "a?", "answers": []}]}],
        }
    ]
}
TABLES = {
    "a.csv": b'text,label\n"a, ""b""",yes\nc,no\n',
    "a.tsv": b'text\tlabel\n"a" b\tyes\nc\tno\n',
    "a.txt": "a\n好\n".encode(),
    "a.jsonl": b'{"text": "a", "label": "yes"}\n{"text": "\\u597d", "label": [1, 2.5]}\n',
    "a.json": json.dumps(SQUAD).encode(),
    "b.json": b'[[["a"], [{"question": "q", "choice": ["a", "b"], "answer": "a"}], "1"]]',
    "a.conll": b"-DOCSTART- O\n\n# id\na B-X\nb O\n\nc O\n",
    "a.conllu": b"# text = a\n1-2\ta" + b"\t_" * 8 + b"\n1\ta\ta\tX" + b"\t_" * 6 + b"\n",
    "a.parquet": parquet(),
}
MODEL = {
    "config.json": json.dumps(CONFIG).encode(),
    "tokenizer.json": json.dumps(TOKENIZER).encode(),
    "vocab.txt": "\n".join(TOKENIZER["model"]["vocab"]).encode(),
    "model.safetensors": safetensors(weights()),
    "model.safetensors.index.json": b'{"weight_map": {"a": "shard.safetensors"}}',
    "onelayer.json": json.dumps(RECORD).encode(),
}

Edit = tuple[str, float, float, bytes]


def edits(*more: bytes) -> st.SearchStrategy[list[Edit]]:
    """Edits of a good file: bytes are removed, added, changed or repeated."""
    chunk = st.binary(min_size=1, max_size=4) | st.sampled_from(
        [b"\0", b"\n", b'"', b"\t", b"[" * 2000, b"{", b"}", b"-1", b"9" * 5000, b"NaN", *more]
    )
    place = st.floats(0, 1)
    kind = st.sampled_from(["replace", "insert", "delete", "repeat", "truncate"])
    return st.lists(st.tuples(kind, place, place, chunk), max_size=4)


def edited(content: bytes, how: list[Edit]) -> bytes:
    for kind, begin, end, chunk in how:
        first, last = sorted((int(begin * len(content)), int(end * len(content))))
        last = min(last, first + 16) if kind != "truncate" else last
        middle = {
            "replace": chunk,
            "insert": chunk + content[first:last],
            "delete": b"",
            "repeat": content[first:last] * 3,
        }.get(kind, b"")
        content = content[:first] + middle + content[last if kind != "truncate" else len(content) :]
    return content


@given(st.sampled_from(sorted(TABLES)), edits(b"\\ud800", b"\xff", b"PAR1"))
def test_damaged_table_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, how: list[Edit]
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(edited(TABLES[name], how))
    with suppress(OneLayerError):
        for record in read_table(path):
            assert record.values


def record_of(folder: Path) -> object:
    return read_record(read_json(folder / "onelayer.json"), folder, positions=32)


READERS: dict[str, Callable[[Path], object]] = {
    "tokenizer.json": Tokenizer.read,
    "vocab.txt": Tokenizer.read,
    "onelayer.json": record_of,
}


@cache
def a_model(folder: Path) -> Path:
    write_model(folder)
    return folder


@given(st.sampled_from(sorted(MODEL)), edits() | st.binary().map(lambda b: [("all", 0.0, 1.0, b)]))
def test_damaged_model_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, how: list[Edit]
) -> None:
    folder = a_model(tmp_path_factory.getbasetemp() / "damaged")
    path = folder / name
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(how[0][3] if how and how[0][0] == "all" else edited(MODEL[name], how))
    if name.endswith("index.json"):
        os.rename(folder / "model.safetensors", folder / "shard.safetensors")
    try:
        with suppress(CheckpointError):
            READERS.get(name, checkpoints.read_checkpoint)(folder)
    finally:
        if name.endswith("index.json"):
            os.rename(folder / "shard.safetensors", folder / "model.safetensors")
        path.unlink() if before is None else path.write_bytes(before)
