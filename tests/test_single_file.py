"""A bundle in a single file is opened by its name, and refused if it is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from onelayer.base.errors import CheckpointError
from onelayer.checkpoint.single_file import is_single_file, unpacked_bundle, write_single_file
from onelayer.checkpoint.source import resolve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "onnx").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "onnx" / "model.safetensors").write_bytes(bytes(range(256)) * 9)
    return folder


@pytest.fixture
def file(folder: Path, tmp_path: Path) -> Path:
    file = tmp_path / "one.onelayer"
    write_single_file(folder, file)
    return file


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_file_holds_the_files_of_its_bundle(file: Path, folder: Path) -> None:
    assert is_single_file(file)
    found = resolve(file)
    assert contents(found) == contents(folder)
    assert resolve(str(file)) == found


def test_files_begin_at_cache_lines_and_weights_are_last(file: Path, folder: Path) -> None:
    whole = file.read_bytes()
    for data in contents(folder).values():
        assert not data or whole.index(data) % 64 == 0
    assert whole.endswith((folder / "onnx" / "model.safetensors").read_bytes())


def test_file_that_was_written_over_is_read_again(file: Path, folder: Path) -> None:
    before = resolve(file)
    (folder / "config.json").write_text('{"a": 1}')
    write_single_file(folder, file)
    after = resolve(file)
    assert after != before
    assert (after / "config.json").read_text() == '{"a": 1}'


def test_temporary_folder_stands_in_for_a_cache(file: Path, folder: Path, cache_home: Path) -> None:
    (cache_home / "onelayer" / "bundles").write_text("no folder")
    assert contents(resolve(file)) == contents(folder)


@pytest.mark.parametrize("at", [8, 9, 13, 20, 70, 300, -1])
def test_damaged_file_is_refused(file: Path, at: int) -> None:
    whole = bytearray(file.read_bytes())
    whole[at] ^= 1
    file.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"damaged|written in format"):
        unpacked_bundle(file)


@pytest.mark.parametrize("size", [8, 40, 64, 200, -1])
def test_cut_file_is_refused(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        unpacked_bundle(file)


def test_names_stay_inside_the_folder(file: Path, folder: Path) -> None:
    (folder / "..outside").write_text("x")
    write_single_file(folder, file)
    with pytest.raises(CheckpointError, match="its table"):
        unpacked_bundle(file)
