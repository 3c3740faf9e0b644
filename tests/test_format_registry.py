"""A new file format is one reader and one registry entry: every command then reads it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onelayer.base.errors import DataError
from onelayer.cli import main as cli
from onelayer.data import readers
from onelayer.data.readers import extent, read_table

TOY = '''
"""A label, a bar and a text a line, in files that are called .toy."""

from onelayer.base.errors import DataError, Place
from onelayer.data.formats.file_format import FileFormat
from onelayer.data.formats.lines import text_lines
from onelayer.data.table import Record, Table


def read_toy(sample):
    def records():
        for number, line in enumerate(text_lines(sample.path), 1):
            label, bar, text = line.rstrip("\\n").partition(" | ")
            if not bar:
                place = Place(sample.path, number)
                raise DataError("no bar", place=place, hint="write LABEL | TEXT")
            yield Record({"label": label, "text": text}, number)

    return Table(sample.path, "toy", ("label", "text"), records)


TOY = FileFormat(lambda sample: ".toy" in sample.suffixes, read_toy)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Registers the format, written in a file of its own, for one test; and a file of it."""
    (tmp_path / "toy_format.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    found = importlib.import_module("toy_format").TOY
    monkeypatch.setattr(readers, "FORMATS", [found, *readers.FORMATS])
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rows.toy"
    texts = [("good cat", "yes"), ("bad cat", "no"), ("the good cats", "yes"), ("a bad day", "no")]
    path.write_text("".join(f"{label} | {text} {n}\n" for n in range(6) for text, label in texts))
    yield path
    sys.modules.pop("toy_format")


@pytest.mark.slow
def test_new_format_is_trained_on_and_predicted_from(
    toy: Path, bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", toy, "--model", bert, "--out", "run", "--epochs", 1]
    assert cli.main([str(argument) for argument in arguments]) == 0
    assert cli.main(["inspect", str(toy), "--model", str(bert)]) == 0
    assert "toy" in capsys.readouterr().out
    assert cli.main(["eval", "run", str(toy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 24
    assert cli.main(["predict", "run", str(toy), "--out", "out.jsonl"]) == 0
    assert len(Path("out.jsonl").read_text().splitlines()) == 24


def test_error_of_a_new_formats_reader_has_its_place(toy: Path) -> None:
    toy.write_text("yes | a cat\nno cat\n")
    with pytest.raises(DataError, match=r"rows\.toy:2: no bar \(write LABEL \| TEXT\)"):
        list(read_table(toy))


def test_new_format_has_an_extent(toy: Path) -> None:
    assert extent(read_table(toy)) == 25


def test_every_text_is_read_by_some_format(tmp_path: Path) -> None:
    (tmp_path / "any").write_text("a text of no known kind\n")
    assert read_table(tmp_path / "any").format == "lines"
