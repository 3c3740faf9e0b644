"""A library is loaded from the cache only if it is whole and nobody else could have written it."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from onelayer.base import compiled_code, machine
from onelayer.base.compiled_code import Code, c_sources, compiler, machine_name
from onelayer.engines.native.library import CORE

COMMAND = compiler() or "cc"
pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="no C compiler"),
    pytest.mark.slow,
]


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Each library that was built."""
    build, built = Code.build, []

    def counted(code: Code, command: str, library: Path) -> None:
        built.append(library)
        build(code, command, library)

    monkeypatch.setattr(Code, "build", counted)
    return built


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builds: list[Path]) -> Code:
    """A function that answers 42, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "code" / "answer"
    folder.mkdir(parents=True)
    (folder / "answer.c").write_text("int answer(void) { return 42; }\n")
    return Code(name="answer", folders=(folder,), functions=("answer",))


def cached(tmp_path: Path) -> Path:
    (library,) = (tmp_path / "cache" / "onelayer" / "libraries").glob("*.so")
    return library


def test_library_is_built_once(code: Code, builds: list[Path], tmp_path: Path) -> None:
    for _ in range(3):
        assert code.load(COMMAND).answer() == 42
    assert builds == [cached(tmp_path)]
    (code.folders[0] / "answer.c").write_text("int answer(void) { return 43; }\n")
    assert code.load(COMMAND).answer() == 43
    assert len(builds) == 2


def test_sources_of_both_languages_have_flags_of_their_own(code: Code, tmp_path: Path) -> None:
    """The C++ file is compiled twice, and what is of other machines is left out."""
    (folder,) = code.folders
    (folder / "answer.c").write_text("int answer(void) { return ANSWER + EVERY; }\n")
    (folder / "twice.cpp").write_text('extern "C" int NAME() { return 1 + EVERY; }\n')
    (folder / "elsewhere.c").write_text("#error this is of another machine\n")
    table = tmp_path / "code" / "flags.txt"
    table.write_text(
        "# a comment\n* any -DEVERY=40\nanswer/answer.c any -DANSWER=2\n"
        "answer/twice.cpp any -DNAME=one # two\nanswer/twice.cpp any -DNAME=two\n"
        "answer/twice.cpp pdp11 -DNAME=one\nanswer/elsewhere.c pdp11\n"
    )
    both = replace(code, table=table, functions=("answer", "one", "two"))
    assert code.language == "C++"
    library = both.load(compiler(both.language) or "c++")
    assert (library.answer(), library.one(), library.two()) == (42, 41, 41)
    table.write_text(table.read_text().replace("-DANSWER=2", "-DANSWER=3"))
    assert both.load(compiler(both.language) or "c++").answer() == 43


def test_sources_without_lines_get_the_flags_of_their_folder(code: Code) -> None:
    (folder,) = code.folders
    (folder / "other.c").write_text("int other(void) { return OF_FOLDER; }\n")
    (folder / "answer.c").write_text("int answer(void) { return OWN; }\n")
    table = folder.parent / "flags.txt"
    table.write_text(f"{folder.name} any -DOF_FOLDER=2\n{folder.name}/answer.c any -DOWN=1\n")
    library = replace(code, table=table, functions=("answer", "other")).load(COMMAND)
    assert (library.answer(), library.other()) == (1, 2)


def test_changed_header_that_folders_share_builds_the_library_again(code: Code) -> None:
    (folder,) = code.folders
    shared = folder.parent / "include"
    shared.mkdir()
    (folder / "answer.c").write_text(
        '#include "../include/shared.h"\nint answer(void) { return SHARED; }\n'
    )
    for number in (1, 2):
        (shared / "shared.h").write_text(f"#define SHARED {number}\n")
        assert code.load(COMMAND).answer() == number


def test_cpp_sources_of_a_folder_are_compiled_as_one(code: Code) -> None:
    (folder,) = code.folders
    (folder / "a.cpp").write_text("static int shared() { return 40; }\n")
    (folder / "b.cpp").write_text('extern "C" int sum() { return shared() + 2; }\n')
    both = replace(code, functions=("answer", "sum"))
    assert both.load(compiler(both.language) or "c++").sum() == 42


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no CMake")
def test_cmake_compiles_what_python_compiles(tmp_path: Path) -> None:
    asked = (
        *("-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DONELAYER_PROGRAM=OFF"),
        "-DCMAKE_BUILD_TYPE=Plain",  # without flags of CMake's own
    )
    subprocess.run(
        ["cmake", "-S", c_sources(), "-B", tmp_path, *asked], check=True, capture_output=True
    )
    listed = json.loads((tmp_path / "compile_commands.json").read_text())
    theirs = Counter((each["file"], _own(each["command"].split())) for each in listed)
    ours = Counter(
        (str(each.source), _own(each.flags)) for each in CORE.compilations(machine_name())
    )
    assert theirs == ours


def _own(flags: Iterable[str]) -> frozenset[str]:
    """The flags that the table gives."""
    return frozenset(flag for flag in flags if re.match("-[fmD]", flag) and flag != "-fPIC")


@pytest.mark.parametrize(
    "damage",
    [
        "empty", "truncated", "one bit", "foreign", "no digest", "digest of another", "gone",
        "others may write", "others may write the digest", "a link", "a folder",
    ],
)  # fmt: skip
def test_damaged_or_foreign_library_is_built_again(
    damage: str, code: Code, builds: list[Path], tmp_path: Path
) -> None:
    code.load(COMMAND)
    library = cached(tmp_path)
    beside = library.with_name(library.name + ".sha256")
    content = bytearray(library.read_bytes())
    library.unlink()  # it is mapped: a new file, so that this process keeps the old one
    library.write_bytes(content)
    library.chmod(0o755)
    if damage == "empty":
        library.write_bytes(b"")
    elif damage == "truncated":
        library.write_bytes(content[: len(content) // 2])
    elif damage == "one bit":
        content[len(content) // 2] ^= 1
        library.write_bytes(content)
    elif damage == "foreign":
        library.write_bytes(Path(_a_library()).read_bytes())
    elif damage == "no digest":
        beside.unlink()
    elif damage == "digest of another":
        beside.write_text("0" * 64)
    elif damage == "gone":
        library.unlink()
    elif damage == "others may write":
        library.chmod(0o777)
    elif damage == "others may write the digest":
        beside.chmod(0o666)
    elif damage == "a link":
        library.unlink()
        library.symlink_to(_a_library())
    elif damage == "a folder":
        library.unlink()
        library.mkdir()
    assert code.load(COMMAND).answer() == 42
    assert len(builds) == (3 if damage == "a folder" else 2)
    if damage != "a folder":
        assert code.load(COMMAND).answer() == 42
        assert len(builds) == 2


def _a_library() -> str:
    import _ctypes

    return _ctypes.__file__


def test_folder_that_others_may_write_is_closed_to_them(code: Code, tmp_path: Path) -> None:
    home = tmp_path / "cache" / "onelayer"
    (home / "libraries").mkdir(parents=True)
    for folder in (home, home / "libraries"):
        folder.chmod(0o777)
    assert code.load(COMMAND).answer() == 42
    assert [f.stat().st_mode & 0o777 for f in (home, home / "libraries")] == [0o755, 0o755]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize("what", ["folder", "file", "digest"])
def test_library_of_another_user_is_not_loaded(
    what: str, code: Code, builds: list[Path], tmp_path: Path
) -> None:
    code.load(COMMAND)
    library = cached(tmp_path)
    beside = library.with_name(library.name + ".sha256")
    os.chown({"folder": library.parent, "file": library, "digest": beside}[what], 1234, 1234)
    assert code.load(COMMAND).answer() == 42
    assert len(builds) == 2
    assert (builds[-1] == library) == (what != "folder")


@pytest.mark.parametrize("trouble", ["no folder", "full disk"])
def test_library_is_built_for_the_process_without_a_cache(
    trouble: str, code: Code, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if trouble == "no folder":
        monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    else:
        replace, calls = compiled_code._replace, iter(range(99))

        def full(fresh: Path, path: Path) -> None:
            if next(calls) < 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            replace(fresh, path)

        monkeypatch.setattr(compiled_code, "_replace", full)
    assert code.load(COMMAND).answer() == 42
    assert not builds[-1].parent.exists()


def test_processes_that_build_at_once_build_once(
    code: Code, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock is of an open file, so threads stand for processes."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: code.load(COMMAND).answer(), range(4)))
    assert found == [42] * 4
    assert len(builds) == 1


def test_library_without_its_function_and_compiler_that_fails_are_reported(code: Code) -> None:
    lacking = Code(name="x", folders=code.folders, functions=("question",))
    with pytest.raises(OSError, match="has no function question"):
        lacking.load(COMMAND)
    (code.folders[0] / "answer.c").write_text("int answer(void) { return }\n")
    with pytest.raises(subprocess.CalledProcessError) as raised:
        code.load(COMMAND)
    assert compiled_code.build_failure("cc", raised.value).startswith("cc could not build it (")
    with pytest.raises(FileNotFoundError):
        code.load("no-such-compiler")


def test_cache_without_a_home_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(machine.tempfile, "tempdir", str(tmp_path))
    machine._cache_without_home.cache_clear()
    found = machine.cache_home()
    assert found.parent == tmp_path
    assert found.stat().st_mode & 0o777 == 0o700
    machine._cache_without_home.cache_clear()
    if os.geteuid() == 0:
        os.chown(found, 1234, 1234)
        assert machine.cache_home() != found
        machine._cache_without_home.cache_clear()
