"""The wheel holds all that an installed package needs."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in the wheel."""
    builders = pytest.importorskip("hatchling.builders.wheel")
    folder = tmp_path_factory.mktemp("dist")
    (path,) = builders.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
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
