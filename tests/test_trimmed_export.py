"""Export with a trimmed vocabulary: smaller, the same for the run's rows, open about the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load_file

import onelayer
from onelayer.base.errors import UsageError
from onelayer.checkpoint.config import read_config
from onelayer.cli.main import main
from onelayer.engines.onnx_engine import OnnxEngine
from onelayer.exporting import export as exporting
from onelayer.prediction.load import load
from support.tiny_bert import VOCABULARY, MakeBert

pytestmark = pytest.mark.slow

SEEN = ["the good cat", "the cats", "a bad cat"]
NEW = ["the good cat", "bad cats"]
"""The second one has ##s after cat in other words than training rows have, and no new piece."""

Trimmed = Callable[[bool], Path]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """One round of each measurement, and one engine."""
    with pytest.MonkeyPatch.context() as patch:
        engines = {"onnxruntime": lambda b: OnnxEngine(b.graph)}
        patch.setattr(exporting, "engines_for", lambda _: engines)
        patch.setattr("onelayer.exporting.speed.ROUNDS", 1)
        patch.setattr("onelayer.exporting.speed.ALONE", 1)
        yield


def write(path: Path, texts: list[str]) -> Path:
    lines = [
        json.dumps({"text": text, "label": "no" if i % 2 else "yes"})
        for i, text in enumerate(texts)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(make_bert: MakeBert) -> Path:
    return make_bert("BertForSequenceClassification", labels=("no", "yes"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("rows")
    return write(folder / "train.jsonl", SEEN * 4), write(folder / "dev.jsonl", [*SEEN, *NEW] * 3)


@pytest.fixture(scope="module")
def trimmed(
    run: Path, rows: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Trimmed:
    made: dict[bool, Path] = {}

    def bundle(int8: bool) -> Path:
        if int8 not in made:
            out = tmp_path_factory.mktemp("bundle") / "out"
            onelayer.export(
                run, int8=int8, trim_vocabulary=True, out=out, train=rows[0], dev=rows[1],
                max_drop=100,
            )  # fmt: skip
            made[int8] = out
        return made[int8]

    return bundle


@pytest.mark.parametrize("int8", [False, True])
def test_bundle_has_only_the_kept_vectors(trimmed: Trimmed, run: Path, int8: bool) -> None:
    folder = trimmed(int8)
    config, _ = read_config(folder)
    vectors = load_file(folder / "onnx" / "model.safetensors")["encoder.embeddings.word.weight"]
    assert len(vectors) == config.vocab_size < len(VOCABULARY)
    tokenizer = load(folder).tokenizer
    assert tokenizer.vocab_size == config.vocab_size
    assert config.pad_token_id == tokenizer.pad_id


def test_answers_to_known_and_unknown_texts_are_the_runs(trimmed: Trimmed, run: Path) -> None:
    """All characters are kept, so a text of the tiny BERT's characters changes only where a whole
    word is gone; here none is."""
    bundle, torch = load(trimmed(False)), load(run)
    texts = [*SEEN, *NEW, "x y z", "我们在北京", "!?"]
    for one, other in zip(bundle.predict(texts), torch.predict(texts), strict=True):
        assert one.decision == other.decision
        assert one.probability == pytest.approx(other.probability, abs=1e-5)


def test_record_and_card_say_what_was_kept_and_what_new_texts_lose(trimmed: Trimmed) -> None:
    folder = trimmed(True)
    record = json.loads((folder / "onelayer.json").read_text(encoding="utf-8"))
    found = record["export"]["vocabulary"]
    assert found["pieces"] < found["of_pieces"] == len(VOCABULARY)
    assert found["bytes_saved"] == (len(VOCABULARY) - found["pieces"]) * (32 + 4)
    assert found["unseen"]["rows"] == 15
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{found['pieces']} of {len(VOCABULARY)} pieces are kept" in card
    assert "dev rows have pieces that no training row has" in card


def test_dev_pieces_are_kept_and_what_they_would_have_cost_is_measured(
    run: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    train = write(tmp_path / "train.jsonl", ["x y", "y z"] * 4)
    dev = write(tmp_path / "dev.jsonl", ["the good cat", "x"] * 4)
    out = tmp_path / "out"
    onelayer.export(run, trim_vocabulary=True, out=out, train=train, dev=dev, say=said.append)
    assert any("4 of 8 dev rows have pieces that no training row has" in line for line in said)
    assert len(load(out).tokenizer.encode(["the good cat"])[0].ids) == 3


def test_dev_rows_stand_for_new_texts_where_their_pieces_are_not_kept(
    run: Path, tmp_path: Path
) -> None:
    train = write(tmp_path / "train.jsonl", ["x y", "y z"] * 4)
    dev = write(tmp_path / "dev.jsonl", ["the good cat", "x"] * 4)
    out = tmp_path / "out"
    exporting.export_run(
        run, trim_vocabulary=True, keep_dev_pieces=False, out=out, train=train, dev=dev, accept=True
    )
    assert len(load(out).tokenizer.encode(["the good cat"])[0].ids) > 3


def test_without_training_rows_it_is_refused(
    run: Path, rows: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="give them with --train FILE"):
        onelayer.export(run, trim_vocabulary=True, out=tmp_path / "out", dev=rows[1])
    assert not (tmp_path / "out").exists()


def test_flag_of_the_command_line(
    run: Path, rows: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--trim-vocabulary", "--train", rows[0], "--dev", rows[1], "--out", tmp_path / "b"]
    assert main(["export", str(run), "--single-file", *map(str, flags)]) == 0
    told = capsys.readouterr().err
    assert "pieces are kept" in told
    assert "the C++ library runs int8 bundles only" in told
    assert load(tmp_path / "b").tokenizer.vocab_size < len(VOCABULARY)
