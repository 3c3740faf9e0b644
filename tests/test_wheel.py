"""The wheel holds all that an installed package needs."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

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
    sources = [path for path in csrc.rglob("*") if path.is_file()]

    assert sources
    assert {f"onelayer/csrc/{path.relative_to(csrc)}" for path in sources} <= wheel


def test_wheel_has_the_compiled_code_and_the_name_of_its_platform(
    with_compiler: Path, wheel: set[str]
) -> None:
    expected = {f"onelayer/{library.name}" for library in libraries(platform_tag())}

    assert f"onelayer/{WHEELS}" in expected
    assert {name for name in wheel if name.endswith(".so")} == expected
    assert with_compiler.name.endswith(f"-py3-none-{platform_tag()}.whl")


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
