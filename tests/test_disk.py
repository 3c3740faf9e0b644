"""What is written appears complete or not at all, and keeps its mode, owner, links and pipes."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from onelayer.base import disk
from onelayer.base.disk import check_output, is_stream, publish, put, restore, rewrite
from onelayer.base.errors import OneLayerError, UsageError
from support.dying import dying, every_death

OLD, NEW = {"a": "first", "sub/b": "1", "gone": "x"}, {"a": "second", "sub/b": "2", "new": "y"}


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def filled(texts: dict[str, str]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, text in texts.items():
            write_text(folder / name, text)

    return write


def texts_in(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


@pytest.fixture(params=["exchange", "two renames"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On file systems that can exchange two directories, and on others."""
    if request.param == "two renames":
        monkeypatch.setattr(disk, "_exchange", lambda *_: False)


# Directories -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("both_ways")
def test_failed_publish_keeps_the_old_directory(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "best"
    publish(target, lambda folder: write_text(folder / "a", "first"))
    publish(target, lambda folder: write_text(folder / "a", "second"))
    assert (target / "a").read_text() == "second"

    def fill_the_disk(folder: Path) -> None:
        write_text(folder / "a", "third")
        raise OSError(28, "No space left on device")

    def stumble(folder: Path) -> None:
        write_text(folder / "a", "third")
        raise KeyboardInterrupt

    with pytest.raises(OneLayerError, match="No space left on device"):
        publish(target, fill_the_disk)
    with pytest.raises(KeyboardInterrupt):
        publish(target, stumble)
    assert (target / "a").read_text() == "second"
    assert [path.name for path in target.parent.iterdir()] == ["best"]


def test_publish_restores_the_directory_after_a_killed_process(tmp_path: Path) -> None:
    (tmp_path / ".best.staged").mkdir()
    (tmp_path / ".best.old").mkdir()
    write_text(tmp_path / ".best.old" / "a", "the last good one")

    def fail(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OneLayerError):
        publish(tmp_path / "best", fail)
    assert (tmp_path / "best" / "a").read_text() == "the last good one"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


@pytest.mark.usefixtures("both_ways")
def test_directory_is_whole_after_a_death_at_any_disk_operation(tmp_path: Path) -> None:
    target = tmp_path / "best"
    publish(target, filled(OLD))
    seen = []
    for _ in every_death(lambda: publish(target, filled(NEW))):
        restore(target)
        seen.append(texts_in(target))
        assert seen[-1] in (OLD, NEW)
        publish(target, filled(OLD))
        assert texts_in(target) == OLD
        assert [path.name for path in tmp_path.iterdir()] == ["best"]
    assert len(seen) > 15
    assert OLD in seen
    assert NEW in seen


def test_exchange_leaves_no_moment_without_a_directory(tmp_path: Path) -> None:
    target = tmp_path / "best"
    publish(target, filled(OLD))
    if not disk._exchange(target, target):
        pytest.skip("this file system can't exchange two directories")
    for _ in every_death(lambda: publish(target, filled(NEW))):
        assert texts_in(target) in (OLD, NEW)
        publish(target, filled(OLD))


def test_reader_that_restores_during_a_swap_does_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "best", Path.rename
    publish(target, filled(OLD))

    def with_a_reader(path: Path, to: Path) -> Path:
        moved = rename(path, to)
        if to.name == ".best.old" and not readers:
            readers.append(1)
            restore(target)
        return moved

    readers: list[int] = []
    monkeypatch.setattr(disk, "_exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", with_a_reader)
    publish(target, filled(NEW))
    assert readers
    assert texts_in(target) == NEW


@pytest.mark.usefixtures("both_ways")
def test_published_directory_keeps_modes_and_links(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    publish(real, filled(OLD))
    link.symlink_to(real)
    real.chmod(0o750)
    (real / "a").chmod(0o640)
    publish(link, filled(NEW))
    assert link.is_symlink()
    assert texts_in(real) == NEW
    assert [stat.S_IMODE(path.stat().st_mode) for path in (real, real / "a")] == [0o750, 0o640]


# Files -------------------------------------------------------------------------------------------


def test_file_is_whole_after_a_death_at_any_disk_operation(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    rewrite(path, "old")
    seen = set()
    for _ in every_death(lambda: rewrite(path, "new")):
        seen.add(path.read_text())
        rewrite(path, "old")
        assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert seen == {"old", "new"}


def test_replaced_file_keeps_mode_owner_links_and_names(tmp_path: Path) -> None:
    path, link, name = (tmp_path / each for each in ("file", "link", "other name"))
    path.write_text("old")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    link.symlink_to("file")
    rewrite(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    os.link(path, name)
    rewrite(path, "newer")
    assert name.read_text() == "newer"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "link", "other name"]


def test_link_to_no_file_yet_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("file")
    rewrite(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_group_gets_no_more_than_others_if_the_owner_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for path in (old, new):
        path.write_text("x")
    old.chmod(0o664)

    def refuse(*_: object) -> None:
        raise PermissionError

    status = os.stat_result((*old.stat()[:5], 54321, *old.stat()[6:10]))
    stat_of = Path.stat
    monkeypatch.setattr(os, "chown", refuse)
    monkeypatch.setattr(Path, "stat", lambda path: status if path == old else stat_of(path))
    disk._keep_access(new, old)
    assert stat.S_IMODE(os.stat(new).st_mode) == 0o644


def test_mounted_file_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another name can't be given to a file that a container mounts."""
    path, whole = tmp_path / "file", tmp_path / "whole"
    path.write_text("a longer old text")
    whole.write_text("new")
    number = path.stat().st_ino

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    put(whole, path)
    assert path.read_text() == "new"
    assert path.stat().st_ino == number
    assert not whole.exists()


def test_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to("pipe")
    for path in (pipe, tmp_path / "link"):
        got: list[str] = []
        reader = threading.Thread(target=lambda got=got: got.append(pipe.read_text()))
        reader.start()
        rewrite(path, "text")
        reader.join()
        assert got == ["text"]
        assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_device_is_written_into() -> None:
    before = os.stat("/dev/null")
    rewrite(Path("/dev/null"), "text")
    assert os.stat("/dev/null").st_ino == before.st_ino
    if Path("/dev/full").exists():
        with pytest.raises(OneLayerError, match=r"^/dev/full: can't be written: No space left"):
            rewrite(Path("/dev/full"), "text")


@pytest.mark.parametrize("name", ["/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_open_files_and_devices_are_streams(name: str) -> None:
    assert is_stream(Path(name))


def test_output_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is a directory \(name a file in it\)"):
        check_output(tmp_path)
    with pytest.raises(UsageError, match=r"no such directory \(make it first\)"):
        check_output(tmp_path / "missing" / "file")
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises(UsageError, match="a link that leads in a circle"):
        check_output(loop)
    for path in (tmp_path / "new", Path("/dev/null")):
        check_output(path)


def test_read_only_output_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("keep me")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anything
    with pytest.raises(UsageError, match="file: can't be written: read-only"):
        check_output(path)


def test_death_cleans_nothing_up(tmp_path: Path) -> None:
    """The tests of this module rest on it."""
    with dying(3):
        publish(tmp_path / "best", filled(NEW))
    assert [path.name for path in tmp_path.iterdir()] == [".best.staged"]
