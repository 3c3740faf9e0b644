"""The benchmark of a GPU runs to its end on a CPU, with stand-ins for what only a GPU has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from benchmarks.training import gpu, gpu_attention, gpu_parity, train_sets
from support.tiny_bert import VOCABULARY

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """``rte`` and ``squad_dev`` of a few rows, as their owners write them."""
    (tmp_path / "rte").mkdir()
    rows = [f"{i}\tthe cat is {'good' if i % 2 else 'bad'} {i}\ta cat\t{i % 2}" for i in range(40)]
    lines = "\n".join(["index\tsentence1\tsentence2\tlabel", *rows])
    (tmp_path / "rte" / "train.tsv").write_text(lines + "\n", encoding="utf-8")
    (tmp_path / "squad_dev").mkdir()
    passages = [
        {
            "context": f"the cat sat in room {i} and it was good",
            "qas": [
                {"id": str(i), "question": "how was it", "answers": [GOOD | {"answer_start": at}]}
            ],
        }
        for i in range(12)
        for at in [len(f"the cat sat in room {i} and it was ")]
    ]
    content = {"version": "1.1", "data": [{"title": "cats", "paragraphs": passages}]}
    (tmp_path / "squad_dev" / "v1.1-train.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


GOOD = {"text": "good"}


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return tmp_path / "words"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for shape in train_sets.SHAPES:
        monkeypatch.setitem(train_sets.SHAPES, shape, SMALL)
    monkeypatch.setattr(gpu, "PREDICT_SECONDS", 0.0)
    monkeypatch.setattr(gpu_attention, "REPEATS", 1)
    monkeypatch.setattr(gpu_attention, "WAYS", {"padded": gpu_attention.padded})


def run(data: Path, vocabulary: Path, *options: object) -> tuple[int, dict[str, object]]:
    out = data / "found.json"
    words = [data, vocabulary, "--device", "cpu", "--json", out, *options]
    code = gpu.main([str(word) for word in words])
    return code, json.loads(out.read_text(encoding="utf-8"))


def test_every_part_but_training_writes_its_figures(
    data: Path, vocabulary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = run(data, vocabulary, "--parts", "parity,attention,predict")
    assert code == 0
    assert found["left_out"] == []
    assert {"parity", "attention", "predict on rte", "predict on squad_dev"} <= found.keys()
    assert "sequences a second" in capsys.readouterr().out


def test_a_wrong_result_fails(
    data: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(one: torch.Tensor, other: torch.Tensor) -> float:
        return 1.0

    monkeypatch.setattr(gpu_parity, "_distance", off)
    code, _ = run(data, vocabulary, "--parts", "parity")
    assert code == 1


def test_what_would_begin_too_late_is_named(
    data: Path, vocabulary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = gpu.main([str(data), str(vocabulary), "--device", "cpu", "--minutes", "-1"])
    assert code == 0
    assert "training of base on rte in batches of 32" in capsys.readouterr().out


def test_flash_attention_gets_the_bounds_of_the_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    def stand_in(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cu_q: torch.Tensor, *others: object
    ) -> torch.Tensor:
        lengths: Sequence[int] = cu_q.diff().tolist()
        return gpu_attention.padded(lengths, "cpu")(q, k, v)

    monkeypatch.setattr(gpu_attention, "varlen_attn", stand_in)
    monkeypatch.setattr(gpu_attention, "WAYS", {"varlen flash": gpu_attention.varlen})
    flash, mask = gpu_attention.compare_attention([3, 1, 7], 2, 16, "cpu")
    assert flash.error < 0.01
    assert mask.milliseconds > 0.0
