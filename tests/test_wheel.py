"""The wheel holds all that an installed package needs."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from onelayer.base.compiled_code import compiler
from onelayer.engines.native.library import WHEELS
from onelayer.engines.native.prebuilding import libraries, machine_of, platform_tag
from onelayer.nn.kernel_builds import BUILDS

ROOT = Path(__file__).parents[1]
Build = Callable[[Path], Path]
"""Builds a wheel into a folder."""
COMPILER = """#!/bin/sh
# Makes an empty file of the last -o.
while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
: > "$out"
"""


@pytest.fixture(scope="module")
def build() -> Build:
    builders = pytest.importorskip("hatchling.builders.wheel")

    def built(folder: Path) -> Path:
        builder = builders.WheelBuilder(str(ROOT))
        return Path(next(builder.build(directory=str(folder), versions=["standard"])))

    return built


@pytest.fixture(scope="module")
def with_compiler(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that a compiler built which takes no time."""
    folder = tmp_path_factory.mktemp("compiler")
    (folder / "cc").write_text(COMPILER)
    (folder / "cc").chmod(0o755)
    with pytest.MonkeyPatch.context() as environment:
        for name in ("CC", "CXX"):
            environment.setenv(name, str(folder / "cc"))
        return build(folder)


@pytest.fixture(scope="module")
def wheel(with_compiler: Path) -> set[str]:
    """The names of the files in the wheel."""
    with zipfile.ZipFile(with_compiler) as archive:
        return set(archive.namelist())


def test_wheel_has_every_source_of_the_package(wheel: set[str]) -> None:
    package = ROOT / "src" / "onelayer"
    sources = {path for path in package.rglob("*") if path.is_file()}
    kept = {path for path in sources if path.suffix not in (".pyc", ".so")}

    assert {f"onelayer/{path.relative_to(package)}" for path in kept} <= wheel


def test_wheel_has_the_c_sources_that_are_compiled_on_first_use(wheel: set[str]) -> None:
    csrc = ROOT / "csrc"
    sources = [path for path in csrc.rglob("*") if path.is_file() and path.suffix != ".pyc"]

    assert sources
    assert {f"onelayer/csrc/{path.relative_to(csrc)}" for path in sources} <= wheel


def test_wheel_has_the_compiled_code_and_the_name_of_its_platform(
    with_compiler: Path, wheel: set[str]
) -> None:
    expected = {f"onelayer/{library.name}" for library in libraries(platform_tag())}

    assert f"onelayer/{WHEELS}" in expected
    assert {name for name in wheel if name.endswith(".so")} == expected
    assert with_compiler.name.endswith(f"-py3-none-{platform_tag()}.whl")


SOURCE = """
#include <stdexcept>
#include <string>

std::string twice(const std::string &text) { return text + text; }

extern "C" __attribute__((visibility("default"))) int onelayer_length(const char *text)
{
    if (!*text)
        throw std::runtime_error("nothing");
    return static_cast<int>(twice(text).size());
}
"""


def test_library_of_a_wheel_offers_only_what_is_ours(tmp_path: Path) -> None:
    """It brings the C++ library along, whose names others must not find in it."""
    command, nm = compiler("C++"), shutil.which("nm")
    (library,) = (each for each in libraries("linux_x86_64") if each.name == WHEELS)
    if command is None or nm is None:
        pytest.skip("no C++ compiler, or no nm")
    (tmp_path / "source.cpp").write_text(SOURCE)
    small = replace(library.code, folders=(tmp_path,), functions=("onelayer_length",))

    small.build(command, tmp_path / "small.so", library.linking)

    found = subprocess.check_output([nm, "-D", "--defined-only", tmp_path / "small.so"], text=True)
    assert [line.split()[-1] for line in found.splitlines()] == ["onelayer_length"]


def test_wheel_without_a_compiler_is_for_every_platform(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("CC", "CXX"):
        monkeypatch.setenv(name, str(tmp_path / "missing"))

    path = build(tmp_path)

    assert path.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(path) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
    (line,) = "".join(capfd.readouterr()).splitlines()
    assert f"left out of the wheel: {WHEELS}" in line


@pytest.mark.parametrize(
    ("platform", "machine"),
    [
        ("linux_x86_64", "x86_64"),
        ("manylinux_2_28_aarch64", "aarch64"),
        ("macosx_11_0_arm64", "aarch64"),
        ("win_amd64", "x86_64"),
        ("linux_riscv64", "riscv64"),
    ],
)
def test_platform_tells_its_processor(platform: str, machine: str) -> None:
    assert machine_of(platform) == machine
    kernels = [each.name for each in libraries(platform) if "kernels" in each.name]
    apple = platform.startswith("macosx")
    assert len(kernels) == (0 if apple else len(BUILDS.get(machine, ())))
