"""Exported models predict and are served without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.rude_clients import GOOD, MODEL, PATH
from support.server_process import Server
from support.tiny_bert import MakeBert

pytestmark = pytest.mark.process

ROOT = Path(__file__).parent.parent
BARRED = ("torch", "transformers", "safetensors.torch", "onnx", "matplotlib")
TEXTS = ["a good cat", "the bad cat", "a cat"]

BAR = """
import sys

class Bar:
    def find_spec(self, name, path=None, target=None):
        if name in {barred}:
            with open({torch_imports!r}, "a") as file:
                file.write(name + chr(10))
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Bar())
"""


@pytest.fixture
def torch_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes torch fail to import in child processes; returns the file that lists such imports."""
    folder = tmp_path / "bar"
    folder.mkdir()
    code = BAR.format(barred=BARRED, torch_imports=str(tmp_path / "torch_imports"))
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)  # `python` puts it on PYTHONPATH
    return tmp_path / "torch_imports"


def python(*arguments: str, given: str = "") -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(
        [sys.executable, *arguments], input=given, capture_output=True, text=True, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_torch_cannot_be_imported_here(torch_imports: Path) -> None:
    with pytest.raises(AssertionError, match="No module named 'torch'"):
        python("-c", "import torch")
    assert torch_imports.read_text() == "torch\n"


ROWS = [{"text": text} for text in TEXTS]
FILES = {
    "csv": lambda path: path.write_text("\n".join(["text", *TEXTS])),
    "tsv": lambda path: path.write_text("\n".join(["id\ttext", *(f"1\t{t}" for t in TEXTS)])),
    "jsonl": lambda path: path.write_text("\n".join(map(json.dumps, ROWS))),
    "txt": lambda path: path.write_text("\n".join(TEXTS)),
    "parquet": lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path),
}


def test_predict_reads_and_writes_every_format_without_torch(
    torch_imports: Path, bundle: Path, tmp_path: Path
) -> None:
    """All formats in one process, as starting one takes most of the time."""
    runs = []
    for kind, write in FILES.items():
        write(tmp_path / f"in.{kind}")
        runs.append(["predict", str(bundle), str(tmp_path / f"in.{kind}")])
    for kind in ("jsonl", "csv", "parquet"):
        runs.append([*runs[0], "--out", str(tmp_path / f"out.{kind}")])
    code = (
        "from onelayer.cli.main import main\n"
        f"assert [main(run) for run in {runs}] == [0] * {len(runs)}"
    )
    lines = python("-c", code).splitlines()
    labels = [json.loads(line)["prediction"]["label"] for line in lines]
    assert labels == labels[: len(TEXTS)] * len(FILES)
    assert [
        json.loads(line)["prediction"]["label"] for line in (tmp_path / "out.jsonl").open()
    ] == labels[:3]
    assert (tmp_path / "out.csv").read_text().count("\n") == len(TEXTS) + 1
    assert pq.read_table(tmp_path / "out.parquet")["prediction"].to_pylist() == labels[:3]
    assert not torch_imports.exists()


def test_run_is_opened_without_the_compiler_of_torch(make_bert: MakeBert) -> None:
    """It would take longer to import than all of onelayer, and a CPU needs nothing of it."""
    model = make_bert("BertForSequenceClassification", labels=("no", "yes"))
    code = (
        "import sys\n"
        "from onelayer.cli.main import main\n"
        f"assert main(['predict', {str(model)!r}, '-']) == 0\n"
        "assert 'torch' in sys.modules\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    assert json.loads(python("-c", code, given="a cat"))["prediction"]["label"] in ("no", "yes")


def test_predict_from_a_pipe_without_torch(torch_imports: Path, bundle: Path) -> None:
    lines = python("-m", "onelayer", "predict", str(bundle), "-", given="\n".join(TEXTS))
    assert len(lines.splitlines()) == len(TEXTS)
    assert not torch_imports.exists()


def test_predict_writes_no_device_id(
    bundle: Path, tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime writes one for its telemetry unless told otherwise."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    python("-m", "onelayer", "predict", str(bundle), "-", "--engine", "onnxruntime", given="a cat")
    written = [path for home in (tmp_path, cache_home) for path in home.rglob("*")]
    assert not [path for path in written if "deviceid" in path.name or "Microsoft" in path.parts]


def test_server_runs_without_torch(torch_imports: Path, bundle: Path, tmp_path: Path) -> None:
    with Server(f"{MODEL}={bundle}", log=tmp_path / "log", notice=0) as server:
        status, body = server.request("POST", PATH, json.loads(GOOD))
        assert server.request("GET", "/openapi.json")[0] == 200
        assert server.request("GET", "/metrics")[0] == 200
    assert status == 200
    assert json.loads(body)["predictions"][0]["label"] in ("no", "yes")
    assert not torch_imports.exists()


def test_serve_extra_does_not_require_torch() -> None:
    """Checks the extra's packages and, recursively, their installed requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    found: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        key = canonicalize_name(requirement.name), frozenset({"", *requirement.extras})
        if key not in found:
            found.add(key)
            theirs = map(Requirement, requires(key[0]) or ())
            waiting += [str(theirs) for theirs in theirs if _applies(theirs, key[1])]
    names = {name for name, _ in found}
    assert {"onnxruntime", "starlette", "numpy"} <= names
    assert not names & {"torch", "transformers", "jax", "tensorflow", "onelayer", "onnx"}


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    """Whether a requirement applies here, with these extras of the package that has it."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)
