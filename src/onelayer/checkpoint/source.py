"""Finds a model: in a directory, by its name in a package, or on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from onelayer.base.disk import restore
from onelayer.base.errors import CheckpointError, Place
from onelayer.base.wording import Say, silent
from onelayer.checkpoint.named_models import NamedModel, named_model, on_this_machine
from onelayer.checkpoint.single_file import is_single_file, unpacked_bundle

_FILES = [
    "config.json",
    "onelayer.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spm.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "modules.json",  # how a sentence encoder pools
    "1_Pooling/config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "onnx/model.onnx",  # a bundle's
    "onnx/model.safetensors",
]
_OLD_FILES = ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"]


def resolve(model: str | Path, say: Say = silent) -> Path:
    """The local directory of a model.

    Parameters
    ----------
    model
        A directory, a bundle in a single file, a name in ``NAMED_MODELS``, or a name on the Hub,
        which is downloaded once into huggingface_hub's cache.
    say
        Called with what the user should know about the weights.

    Raises
    ------
    CheckpointError
        If there is no such model, or it can't be downloaded.
    """
    if (named := named_model(model)) is not None:
        return on_this_machine(named, say) or _named_from_hub(named)
    path = _expanded(model)
    restore(path)
    if path.is_dir():
        return path
    if is_single_file(path):
        return unpacked_bundle(path.resolve())
    if path.exists():
        raise CheckpointError(
            "is a file", place=Place(path), hint="give the directory that holds the model"
        )
    if isinstance(model, Path) or _looks_like_path(model):
        raise CheckpointError("no such directory", place=Place(model))
    return _from_hub(model)


def hub_name(model: str | Path) -> str | None:
    """A model's name on the Hub; None for a directory."""
    if (named := named_model(model)) is not None:
        return named.hub
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


def _named_from_hub(model: NamedModel) -> Path:
    try:
        return _from_hub(model.hub)
    except CheckpointError as error:
        raise CheckpointError(
            f"{model.name} isn't on this machine: {error.message}",
            hint=f"run: {model.install}, or: onelayer models --fetch {model.name}",
        ) from error


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
            hint="give a directory, --model starter (English) or --model multilingual, "
            "or try again with a network",
        ) from error
    except Exception as error:  # whatever else the network, its library or the disk answers
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"{name} can't be fetched: {reason}") from error
    return folder


def path_beside(run: str | Path, ending: str) -> Path:
    """A path next to a run, with its name and an ending; in the working directory where the run has
    its name on the Hub."""
    own = Path(run) if Path(run).is_dir() else Path(Path(run).name)
    if own.name in ("", ".."):  # as of "."
        own = own.resolve()
    return own.with_name(f"{own.name}{ending}")
