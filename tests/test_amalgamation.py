"""The library as one source file compiles by itself, and answers as the library does."""

from __future__ import annotations

import runpy
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from onelayer.base.compiled_code import c_sources, compiler
from onelayer.engines.native.library import library
from support.from_tokens import MakePredictor
from support.native_bundles import native_bundle
from support.native_library import NativeModel
from support.task_cases import CASES

ANSWERS = Path(__file__).parent / "support" / "vendored" / "answers.c"
TEXTS = ["🙂 The good Cat of 北京, and e\u0301 bad cats", "a bad 🙂🙂 cat", "good " * 40]


@pytest.fixture(scope="module")
def vendored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the three files."""
    folder = tmp_path_factory.mktemp("vendored") / "onelayer"
    runpy.run_path(str(c_sources("amalgamate.py")))["write"](folder)
    return folder


@pytest.fixture(scope="module")
def bundles(make_predictor: MakePredictor, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    cases = {case.name: case for case in CASES}
    return [
        native_bundle(folder / name.replace(" ", "-"), make_predictor(cases[name])[0]).folder
        for name in ("classify", "tag spans")
    ]


def test_files_say_their_version_and_license(vendored: Path) -> None:
    header = (vendored / "onelayer.h").read_text("utf-8")
    version = header.partition('#define ONELAYER_VERSION "')[2].partition('"')[0]

    assert version
    for name in ("onelayer.cpp", "onelayer.h", "onelayer.hpp"):
        head = (vendored / name).read_text("utf-8")[:500]
        assert f"libonelayer {version}" in head
        assert "SPDX-License-Identifier: Apache-2.0" in head


def test_source_needs_only_its_header_and_the_system(vendored: Path) -> None:
    lines = (vendored / "onelayer.cpp").read_text("utf-8").splitlines()
    own = {line for line in lines if line.startswith('#include "')}

    assert own == {'#include "onelayer.h"', '#include "onelayer.cpp"'}


def test_every_set_of_kernels_is_compiled(vendored: Path) -> None:
    lines = (vendored / "onelayer.cpp").read_text("utf-8").splitlines()
    table = c_sources("flags.txt").read_text("utf-8")
    sets = [word[6:] for word in table.split() if word.startswith("-DSET=")]

    assert [line.split()[-1] for line in lines if line.startswith("#define SET ")] == sets
    assert len([line for line in lines if line == '#include "onelayer.cpp"']) == len(sets)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(library()[0] is None, reason=library()[1] or "")
@pytest.mark.parametrize(
    ("compilers", "runner"),
    [
        pytest.param((str(compiler("C")), str(compiler("C++"))), None, id="here"),
        pytest.param(("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++"), "qemu-aarch64", id="ARM"),
    ],
)
def test_one_compilation_answers_as_the_library(
    compilers: tuple[str, str],
    runner: str | None,
    vendored: Path,
    bundles: list[Path],
    tmp_path: Path,
) -> None:
    for program in (*compilers, *([runner] if runner else ())):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")
    c, cpp = compilers
    run(cpp, "-std=c++17", "-O0", "-c", str(vendored / "onelayer.cpp"), folder=tmp_path)
    run(c, "-O1", f"-I{vendored}", "-c", str(ANSWERS), folder=tmp_path)
    run(cpp, "-static", "onelayer.o", "answers.o", "-pthread", "-o", "answers", folder=tmp_path)

    for bundle in bundles:
        program = [*([runner] if runner else ()), "./answers", str(bundle), *TEXTS]
        assert run(*program, folder=tmp_path).splitlines() == library_lines(bundle, TEXTS)


def library_lines(bundle: Path, texts: Sequence[str]) -> list[str]:
    """What answers.c prints, by the ordinary library."""
    results = NativeModel(bundle).predict([{"text": text} for text in texts])
    lines = []
    for i, answer in enumerate(results.json()):
        found = results[i]
        logits = found.logits[: found.n_reads * found.n_outputs]
        bits = struct.unpack(f"={len(logits)}I", struct.pack(f"={len(logits)}f", *logits))
        lines += [answer, "".join(f"{one:08x} " for one in bits)]
    return lines


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout.decode()
