"""Packed files and files in other encodings are read, through a pipe as from the disk."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onelayer.base.errors import DataError, UsageError
from onelayer.cli import main as cli
from onelayer.data.readers import extent, read_table
from onelayer.data.table import Table
from onelayer.recipe import Reading

ROWS = [("a café, very good", "yes"), ("not so good", "no")] * 3
CSV = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in ROWS)
GBK = "text,label\n房间很好，服务也好,好\n不好,差\n"


def zipped(content: bytes, *names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return made.getvalue()


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
    "zip": lambda content: zipped(content, "__MACOSX/._a.csv", "folder/", "folder/a.csv"),
}

Write = Callable[[str, bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def rows(table: Table) -> list[tuple[object, ...]]:
    return [tuple(record.values.values()) for record in table]


# Packed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", PACK)
def test_packed_file_is_read(write: Write, suffix: str) -> None:
    table = read_table(write(f"a.csv.{suffix}", PACK[suffix](CSV.encode())))
    assert table.format == "csv"
    assert rows(table) == rows(table) == ROWS
    assert extent(table) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", '{"text": "fine", "label": "yes"}\n'),
        ("a.json.gz", '[{"text": "fine",\n "label": "yes"}]'),
        ("a.txt.gz", "text\tlabel\nfine\tyes\n"),
    ],
)
def test_every_format_of_text_may_be_packed(write: Write, name: str, content: str) -> None:
    assert rows(read_table(write(name, gzip.compress(content.encode())))) == [("fine", "yes")]


def test_archive_of_several_files_is_a_question(write: Write) -> None:
    path = write("a.zip", zipped(CSV.encode(), "train.csv", "test.csv"))
    with pytest.raises(DataError, match=r"archive of 2 files: train\.csv, test\.csv \(unpack it"):
        read_table(path)


@pytest.mark.parametrize("suffix", PACK)
def test_damaged_archive_is_refused_in_one_line(write: Write, suffix: str) -> None:
    whole = PACK[suffix](CSV.encode() * 200)
    path = write(f"a.csv.{suffix}", whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.csv\.\w+(:\d+)?: .*(not a readable|is it whole)"):
        rows(read_table(path))


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_bomb_is_refused_before_it_is_unpacked(
    write: Write, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelayer.data.formats.unpacking.BOMB", 1 << 20)
    path = write(f"a.jsonl.{suffix}", PACK[suffix](b'{"text": "a"}\n' * 500_000))
    with pytest.raises(DataError, match="bytes that unpack to more than"):
        rows(read_table(path))


def test_packed_binary_file_is_refused(write: Write, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    path = write("b.parquet.gz", gzip.compress((tmp_path / "a.parquet").read_bytes()))
    with pytest.raises(DataError, match="a binary file, packed with gzip"):
        read_table(path)


# Encodings ---------------------------------------------------------------------------------------

MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
}


@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize("text", [CSV, GBK])
def test_byte_order_mark_tells_the_encoding(write: Write, encoding: str, text: str) -> None:
    path = write("a.csv", MARKED[encoding] + text.encode(encoding))
    plain = read_table(write("b.csv", text.encode()))
    assert rows(read_table(path)) == rows(plain)
    assert rows(read_table(path, reading=Reading(encoding=encoding))) == rows(plain)


@pytest.mark.parametrize(("encoding", "text"), [("gb18030", GBK), ("cp1252", CSV), ("utf-16", CSV)])
def test_named_encoding_is_taken(write: Write, encoding: str, text: str) -> None:
    path = write("a.csv", text.encode(encoding))
    plain = read_table(write("b.csv", text.encode()))
    assert rows(read_table(path, reading=Reading(encoding=encoding))) == rows(plain)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (CSV.encode("cp1252"), r"a\.csv:2:7: not valid UTF-8: byte 0xe9 \(--encoding cp1252 would"),
        (GBK.encode("gb18030"), r"a\.csv:2:1: not valid UTF-8: .* gb18030 would read '房间很好"),
        ("слово,да\n".encode("cp1251"), r"name its encoding with --encoding, such as"),
        ("이것은 문장입니다\n".encode("euc_kr"), r"name its encoding with --encoding, such as"),
        ("très żółty,b\n".encode() + b"\xff,c\n", r":2:1: .*name its encoding"),
        (CSV.encode("utf-16-le"), r"--encoding utf-16-le"),
        (CSV.encode() + b"\xe4", r"a\.csv:8:1: not valid UTF-8: byte 0xe4"),
    ],
)
def test_other_encoding_is_refused_with_the_flag(write: Write, content: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        rows(read_table(write("a.csv", content)))


def test_unknown_encoding_is_refused(write: Write) -> None:
    path = write("a.csv", CSV.encode())
    for name in ("latin-15x", "base64", "zlib"):
        with pytest.raises(UsageError, match=f"--encoding: '{name}' is not known"):
            read_table(path, reading=Reading(encoding=name))


def test_place_of_a_bad_byte_counts_lines_and_characters(write: Write) -> None:
    content = ("日本,b\n" * 30_000).encode() + "日本".encode() + b"\xff\n"
    with pytest.raises(DataError, match=r"a\.txt:30001:3: not valid UTF-8: byte 0xff"):
        rows(read_table(write("a.txt", content)))


# Pipes -------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, bert: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    lines = "".join(f"{t} {i},{'yes' if i % 2 else 'no'}\n" for i in range(8) for t in ("a", "cat"))
    Path("train.csv").write_text("text,label\n" + lines)
    command = ["train", "train.csv", "--model", str(bert), "--out", "run", "--epochs", "1"]
    assert cli.main(command) == 0
    return "run"


Piped = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def piped(run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Piped:
    """The rows that ``predict`` prints for the bytes of a pipe."""

    def piped(content: bytes, *flags: str) -> list[dict[str, Any]]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        capsys.readouterr()
        assert cli.main(["predict", run, *flags]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return piped


@pytest.mark.slow
def test_pipe_is_read_as_a_file_is(piped: Piped) -> None:
    lines = "a good cat\nun café\n"
    for content in (
        lines.encode(),
        lines.encode("utf-8-sig"),
        lines.encode("utf-16"),
        gzip.compress(lines.encode()),
        zstd(lines.encode()),
    ):
        assert [row["text"] for row in piped(content)] == ["a good cat", "un café"]
    assert [r["text"] for r in piped("un café\n".encode("cp1252"), "--encoding", "cp1252")] == [
        "un café"
    ]
    objects = '{"text": "a cat"}\n' * 2
    assert len(piped(objects.encode("utf-8-sig"))) == 2
    frame = {"text": {"0": "a cat", "1": "a dog"}}
    for content, flags in (
        (b"text,label\na cat,yes\na dog,no\n", ()),
        (b"text\na cat\na dog\n", ()),
        (b"id;text\n1;a cat\n2;a dog\n", ()),
        (b"a cat^1\na dog^0\n", ("--delimiter", "^", "--no-header", "--text", "column1")),
        (b'[{"text": "a cat"},\n{"text": "a dog"}]', ()),
        (json.dumps(frame).encode(), ()),
        (b'{"body": "a cat"}\n{"body": "a dog"}\n', ("--text", "body")),
    ):
        assert len(piped(content, *flags)) == 2


@pytest.mark.slow
def test_binary_file_through_a_pipe_is_read(piped: Piped, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a cat", "a dog"]}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    assert [row["text"] for row in piped(content)] == ["a cat", "a dog"]


@pytest.mark.slow
def test_bad_byte_in_a_pipe_is_refused(
    run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("ok\ncafé\n".encode("cp1252"))))
    assert cli.main(["predict", run]) == 2
    assert "stdin:2:4: not valid UTF-8: byte 0xe9 (--encoding cp1252" in capsys.readouterr().err


class Typed(io.RawIOBase):
    """A pipe whose second line comes after the first one is answered."""

    def __init__(self, answered: threading.Event) -> None:
        super().__init__()
        self._parts: Iterator[bytes] = iter((b"P", b"ick a cat\n", b"a dog\n"))
        self._answered, self._given = answered, 0

    def read(self, size: int = -1, /) -> bytes:
        if size == 0:
            return b""
        if self._given == 2:
            assert self._answered.wait(10), "the first line has no answer"
        self._given += 1
        return next(self._parts, b"")


@pytest.mark.slow
def test_line_of_bytes_is_answered_before_the_next_one_arrives(run: str) -> None:
    import onelayer
    from onelayer.prediction.pipes import predict_pipe
    from onelayer.recipe import Columns

    answered = threading.Event()
    stream: Any = Typed(answered)
    chunks = predict_pipe(onelayer.load(run), stream, Columns(), print)
    assert [row.values["text"] for row in next(chunks)] == ["Pick a cat"]
    answered.set()
    assert [row.values["text"] for chunk in chunks for row in chunk] == ["a dog"]
