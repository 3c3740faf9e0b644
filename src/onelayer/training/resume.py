"""Where the states of an unfinished run lie, and which run a command goes on with."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors.torch import load_file, save_file

from onelayer.base import digest
from onelayer.base.disk import publish
from onelayer.base.errors import OneLayerError, Place, UsageError
from onelayer.nn.kernels import kernels
from onelayer.nn.linear import fastest_product
from onelayer.training.state import History, TrainState

Say = Callable[[str], None]

FORMAT = 1
KEPT = 2
"""States on the disk, so that a damaged one costs an interval and not the run."""
INTERVAL = 60.0
"""Seconds between two states, at least,"""
SHARE = 30
"""and so many times what writing one takes."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A state on the disk, complete by its digests."""

    folder: Path
    step: int
    identity: str
    """Of the command: its data, recipe and model."""
    recipe: dict[str, Any]
    """With what was chosen when the run began."""
    remarks: list[str]
    environment: dict[str, Any]
    """What the last digits depend on."""
    history: dict[str, Any]
    sha256: str
    """Of the tensors' file."""

    def restore(self, state: TrainState) -> None:
        state.restore(load_file(self.folder / "state.safetensors"), History.from_json(self.history))


@dataclass(slots=True)
class States:
    """The states of one run, in a hidden folder beside it; one process at a time has them."""

    target: Path
    identity: str
    _lock: TextIO | None = None
    _saved_at: float = field(default_factory=time.monotonic)
    _took: float = 0.0

    @property
    def folder(self) -> Path:
        return self.target.with_name(f".{self.target.name}.resume")

    def lock(self) -> bool:
        """Takes the folder, unless a running process has it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("w")
        except OSError as error:
            reason = f"can't be written: {error.strerror}"
            raise OneLayerError(reason, place=Place(self.target)) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            return False
        return True

    def release(self) -> None:
        """Lets other processes have the folder, and removes it where it holds no state."""
        if self._lock is not None:
            if not self._folders():
                shutil.rmtree(self.folder, ignore_errors=True)
                with suppress(OSError):  # not empty: others' runs are there
                    self.folder.parent.rmdir()
            self._lock.close()

    def clear(self) -> None:
        """Removes all states: the run is finished, or begins anew."""
        for folder in self._folders():
            shutil.rmtree(folder, ignore_errors=True)

    def newest(self, say: Say = lambda _: None) -> Saved | None:
        """The last state that is complete."""
        for folder in self._folders():
            try:
                saved = _read(folder)
                if digest.of_file(folder / "state.safetensors") != saved.sha256:
                    raise ValueError("state.safetensors is not as it was written")
                return saved
            except (OSError, ValueError, LookupError, TypeError) as error:
                say(f"warning: the state in {folder} is damaged and passed over: {error}")
        return None

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._saved_at > max(INTERVAL, SHARE * self._took)

    def save(self, state: TrainState, recipe: dict[str, Any], remarks: list[str]) -> None:
        """Saves a state and removes all but the last ones. Raises OneLayerError where the disk
        refuses; the last one then stands."""
        begun = time.monotonic()
        step = state.history.step

        def write(folder: Path) -> None:
            path = folder / "state.safetensors"
            save_file(state.tensors(), path)
            values = {
                "step": step,
                "identity": self.identity,
                "recipe": recipe,
                "remarks": remarks,
                "environment": environment(),
                "history": state.history.to_json(),
                "sha256": digest.of_file(path),
            }
            body = json.dumps(values)
            wrapped = {"format": FORMAT, "sha256": digest.of_text(body), "state": body}
            (folder / "state.json").write_text(json.dumps(wrapped), encoding="utf-8")

        # What was begun anew stands behind all that was before.
        number = state.history.attempt * 10**8 + step
        publish(self.folder / f"step-{number:09d}", write)
        for folder in self._folders()[KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)
        self._saved_at = time.monotonic()
        self._took = self._saved_at - begun

    def _folders(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)


def _read(folder: Path) -> Saved:
    wrapped = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if wrapped["format"] != FORMAT or wrapped["sha256"] != digest.of_text(wrapped["state"]):
        raise ValueError("state.json is not as it was written")
    return Saved(folder=folder, **json.loads(wrapped["state"]))


def environment() -> dict[str, Any]:
    """What the last digits of a run depend on beside the command."""
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "compiled kernels": kernels() is not None,
        "products": fastest_product().__name__,
    }


def differences(saved: Saved) -> str:
    """What is not as it was when the state was saved, in words; empty where nothing is."""
    now = environment()
    then = [(name, saved.environment.get(name)) for name in now]
    return ", ".join(f"{name} {was} → {now[name]}" for name, was in then if was != now[name])


def open_run(
    train_file: str | Path, out: str | Path | None, identity: str, resume: bool | None, say: Say
) -> tuple[States, Saved | None]:
    """Where the run goes, held for this process alone, and the state that it goes on from.

    A command that is given again goes on with its unfinished run, unless ``resume`` is False; with
    True it must. Raises UsageError for a place that holds something else.
    """
    if out is not None:
        return _open_at(Path(out), identity, resume, say)
    stem = stem_of(Path(train_file))
    for folder in Path("runs").glob(f".{stem}-*.resume") if resume is not False else ():
        states = States(folder.with_name(folder.name[1:].removesuffix(".resume")), identity)
        if states.lock():
            if saved := _to_go_on_from(states, say):
                return states, saved
            states.release()
    if resume:
        raise _nothing_to_resume(Place("runs"))
    for n in count(1):
        states = States(Path("runs") / f"{stem}-{n}", identity)
        if not states.target.exists() and not states.folder.exists() and states.lock():
            break
    return states, None


def _open_at(
    target: Path, identity: str, resume: bool | None, say: Say
) -> tuple[States, Saved | None]:
    states = States(target, identity)
    if not states.lock():
        raise UsageError("another process is training there", place=Place(target))
    try:
        saved = None if resume is False else _to_go_on_from(states, say)
        if saved is None:
            refuse_taken(target)
            if resume:
                raise _nothing_to_resume(Place(target))
            states.clear()
    except BaseException:
        states.release()
        raise
    return states, saved


def _to_go_on_from(states: States, say: Say) -> Saved | None:
    """The state of the same command's run, if its best model so far is there, too."""
    saved = states.newest(say)
    if saved is None or saved.identity != states.identity:
        return None
    lost = saved.history["best_step"] and not (states.target / "config.json").is_file()
    return None if lost else saved


def is_unfinished(target: Path) -> bool:
    """Whether a run was begun there that left a state."""
    return any(States(target, "").folder.glob("step-*"))


def refuse_taken(target: Path) -> None:
    """Raises UsageError for a place that already holds something."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            "already holds a run" if (target / "config.json").is_file() else "is not empty",
            place=Place(target),
            hint="choose another --out, or remove it first",
        )


def _nothing_to_resume(place: Place) -> UsageError:
    hint = "a run goes on under the same command: data, recipe and model as they were"
    return UsageError("no unfinished run of this command to resume", place=place, hint=hint)


def stem_of(path: Path) -> str:
    """What runs on a file are called."""
    own = path.stem if path.stem not in ("train", "training") else path.absolute().parent.name
    return re.sub(r"[^\w.-]+", "-", own).strip("-.") or "run"
