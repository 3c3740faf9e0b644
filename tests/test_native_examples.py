"""The example program of each language builds, and answers as Python does."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from onelayer.base.compiled_code import c_sources
from onelayer.engines.native.library import library
from onelayer.tasks.classify.class_predictions import Label
from onelayer.tasks.tag.tag_rows import Tagged
from support.from_tokens import MakePredictor
from support.native_bundles import NativeBundle, native_bundle
from support.task_cases import CASES

EXAMPLES = Path(__file__).parents[1] / "examples" / "native"
HEADERS = f"-I{c_sources('include')}"
BYTES, POINTS, UTF16 = "utf-8", "utf-32-le", "utf-16-le"
WIDTHS = {BYTES: 1, POINTS: 4, UTF16: 2}
TEXTS = ["🙂 The good Cat of 北京, and e\u0301 bad cats", "a bad 🙂🙂 cat"]

pytestmark = pytest.mark.skipif(library()[0] is None, reason=library()[1] or "")


@dataclass(frozen=True)
class Place:
    """A folder to build in, and the folder of the library."""

    folder: Path
    links: str

    def run(self, *command: str, **environment: str) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    @property
    def linking(self) -> list[str]:
        return [f"-L{self.links}", "-lonelayer", f"-Wl,-rpath,{self.links}"]


@pytest.fixture(scope="module")
def bundles(
    make_predictor: MakePredictor, tmp_path_factory: pytest.TempPathFactory
) -> list[NativeBundle]:
    """A classifier and a tagger."""
    folder = tmp_path_factory.mktemp("bundles")
    cases = {case.name: case for case in CASES}
    return [
        native_bundle(folder / name.replace(" ", "-"), make_predictor(cases[name])[0])
        for name in ("classify", "tag spans")
    ]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found, _ = library()
    assert found is not None
    (tmp_path / "libonelayer.so").symlink_to(Path(found._name).resolve())
    return Place(tmp_path, str(tmp_path))


def wanted_lines(bundle: NativeBundle, unit: str) -> list[str]:
    """What an example prints, by Python's predictions."""
    lines = []
    for text, found in zip(TEXTS, bundle.predictor.predict(TEXTS), strict=True):
        if isinstance(found, Label):
            lines.append(f"{found.label} {found.probability:.4f}")
        for entity in found.entities if isinstance(found, Tagged) else ():
            ends = (len(text[:at].encode(unit)) for at in (entity.start, entity.end))
            begin, end = (size // WIDTHS[unit] for size in ends)
            lines.append(f"{begin}-{end} {entity.label} {text[entity.start : entity.end]}")
    assert lines
    return lines


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no {program}")
    return found


def build_c(place: Place) -> list[str]:
    flags = ("-Wall", "-Wextra", "-Werror", HEADERS)
    source = str(EXAMPLES / "c" / "predict.c")
    place.run(needed("cc"), *flags, source, *place.linking, "-o", "predict")
    return ["./predict"]


def build_cpp(place: Place) -> list[str]:
    flags = ("-std=c++17", "-Wall", "-Wextra", "-Werror", HEADERS)
    source = str(EXAMPLES / "cpp" / "predict.cpp")
    place.run(needed("c++"), *flags, source, *place.linking, "-o", "predict")
    return ["./predict"]


def build_go(place: Place) -> list[str]:
    for source in (EXAMPLES / "go").iterdir():
        shutil.copy(source, place.folder)
    flags = {"CGO_CFLAGS": f"-O0 {HEADERS}", "CGO_LDFLAGS": " ".join(place.linking)}
    caches = {"GOCACHE": f"{place.folder}/cache", "GOFLAGS": "-mod=mod"}
    place.run(needed("go"), "build", "-o", "predict", ".", **flags, **caches)
    return ["./predict"]


def build_rust(place: Place) -> list[str]:
    source = str(EXAMPLES / "rust" / "predict.rs")
    rpath = f"link-arg=-Wl,-rpath,{place.links}"
    place.run(needed("rustc"), "-Dwarnings", "-L", place.links, "-C", rpath, source)
    return ["./predict"]


def build_java(place: Place) -> list[str]:
    compiler = needed("javac")
    home = Path(compiler).resolve().parents[1]
    if not (home / "include" / "jni.h").is_file():
        pytest.skip("no jni.h")
    place.run(compiler, "-d", ".", str(EXAMPLES / "java" / "Predict.java"))
    include = [f"-I{home / 'include'}", f"-I{home / 'include' / 'linux'}", HEADERS]
    flags = ("-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", *include)
    source = str(EXAMPLES / "java" / "predict_jni.c")
    place.run(needed("cc"), *flags, source, *place.linking, "-o", "libpredict_jni.so")
    # The quickest start of a virtual machine.
    quick = ("-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
    return ["java", *quick, "-Dfile.encoding=UTF-8", "-Djava.library.path=.", "Predict"]


def build_csharp(place: Place) -> list[str]:
    needed("mono")
    flags = ("-warn:4", "-warnaserror", "-langversion:7.2", "-out:Predict.exe")
    place.run(needed("mcs"), *flags, str(EXAMPLES / "csharp" / "Predict.cs"))
    return ["mono", "Predict.exe"]


SLOW = (pytest.mark.slow, pytest.mark.process)


@pytest.mark.parametrize(
    ("build", "unit"),
    [
        pytest.param(build_c, BYTES, id="C"),
        pytest.param(build_cpp, BYTES, id="C++"),
        pytest.param(build_go, BYTES, id="Go", marks=SLOW),
        pytest.param(build_rust, BYTES, id="Rust", marks=SLOW),
        pytest.param(build_java, UTF16, id="Java", marks=SLOW),
        pytest.param(build_csharp, UTF16, id="C#", marks=SLOW),
    ],
)
def test_example_answers_as_python(
    build: Callable[[Place], list[str]], unit: str, bundles: list[NativeBundle], place: Place
) -> None:
    command = build(place)
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": place.links}
    for bundle in bundles:
        run = subprocess.run(
            [*command, str(bundle.folder), *TEXTS],
            cwd=place.folder,
            env=environment,
            capture_output=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr.decode()
        assert run.stdout.decode().splitlines() == wanted_lines(bundle, unit)
    if build is not build_java:  # whose virtual machine takes longest to start
        refused = subprocess.run(
            [*command, "nowhere", "x"], cwd=place.folder, env=environment, capture_output=True
        )
        assert refused.returncode == 1
        assert b"nowhere" in refused.stderr


def test_python_example_needs_no_package(
    bundles: list[NativeBundle], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(EXAMPLES / "python" / "predict.py"))["main"]
    for bundle in bundles:
        main(str(place.folder / "libonelayer.so"), str(bundle.folder), *TEXTS)
        assert capsys.readouterr().out.splitlines() == wanted_lines(bundle, POINTS)
