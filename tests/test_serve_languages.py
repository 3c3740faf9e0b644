"""Stock HTTP clients of Java, Node and Go get answers, with offsets as their strings count."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from onelayer import Predictor, load
from onelayer.serving.http.app import make_app
from support.listening import listening
from support.tiny_bert import MakeBert

SOURCES = Path(__file__).parent / "support" / "languages"
TEXT = "a 😀 the good cat 我们"
"""As in the sources."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tagger(make_bert: MakeBert) -> Predictor:
    return load(make_bert("BertForTokenClassification", labels=("B-X", "I-X")))


@pytest.fixture(scope="module")
def address(tagger: Predictor) -> Iterator[str]:
    with listening(make_app({"names": tagger})) as address:
        yield f"http://{address}"


@pytest.mark.parametrize(
    ("program", "arguments", "source", "requests"),
    [
        ("java", ["-Dfile.encoding=UTF-8", "-Xshare:auto"], "Client.java", 7),
        ("node", [], "client.mjs", 6),
        ("go", ["run"], "client.go", 5),
    ],
)
def test_stock_client_is_answered(
    tagger: Predictor,
    address: str,
    tmp_path: Path,
    program: str,
    arguments: list[str],
    source: str,
    requests: int,
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    command = [program, *arguments, str(SOURCES / source), address]
    caches = {"GOCACHE": str(tmp_path / "go"), "GOFLAGS": "-mod=mod", "HOME": str(tmp_path)}
    environment = os.environ | caches | {"LC_ALL": "C.UTF-8"}
    ran = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", timeout=120, check=False
    )

    assert ran.returncode == 0, ran.stderr
    (expected,) = tagger.predict([TEXT])
    assert any(entity.start > 2 for entity in expected.entities), "no span behind the emoji"
    line = "|".join(["200", *(entity.text for entity in expected.entities)])
    assert ran.stdout.splitlines() == [line] * requests
