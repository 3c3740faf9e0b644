"""A run on the disk: its best model so far, and the states that it resumes from."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TextIO

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from onelayer.base import digest
from onelayer.base.disk import as_json, publish, rewrite
from onelayer.base.errors import OneLayerError, Place
from onelayer.base.model_files import read_json
from onelayer.checkpoint.build import Built, as_saved, named_outputs, state_of
from onelayer.checkpoint.card import model_card
from onelayer.checkpoint.record import ModelRecord
from onelayer.checkpoint.save import write_checkpoint
from onelayer.nn.heads import HEADS
from onelayer.nn.kernels import kernels
from onelayer.nn.linear import fastest_product
from onelayer.recipe import Recipe
from onelayer.training.history import History
from onelayer.training.plan import Files, Plan
from onelayer.training.run_record import (
    DevResult,
    card_facts,
    history_record,
    run_record,
)

FORMAT = 1
"""Goes up when `RunState` or the names of the tensors change."""
KEPT = 2
"""States on the disk. With two, a damaged one costs an interval and not the run."""
INTERVAL = 60.0
"""Seconds between two states, at least. A killed run loses as much."""
SHARE = 30
"""Steps take at least this many times as long as saving states."""
ATTEMPT = 10**8
"""Steps that one attempt may have: the states of a restarted run are newer than all before."""
TIMING = "timing.json"


@dataclass(frozen=True, slots=True)
class RunState:
    """What a run is between two steps, beside its tensors."""

    recipe: Recipe
    """With what was chosen when the run started."""
    remarks: Sequence[str]
    history: History


@dataclass(frozen=True, slots=True)
class SavedState(RunState):
    """A state on the disk, complete by its digests."""

    folder: Path
    identity: str
    """Of the command: its data, recipe and model."""
    environment: dict[str, Any]
    """What the last digits depend on."""

    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.folder / "state.safetensors")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises OSError, ValueError, LookupError or TypeError for a damaged state."""
        wrapped = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if wrapped["format"] != FORMAT or wrapped["sha256"] != digest.of_text(wrapped["state"]):
            raise ValueError("state.json is not as it was written")
        values = json.loads(wrapped["state"])
        if digest.of_file(folder / "state.safetensors") != values["sha256"]:
            raise ValueError("state.safetensors is not as it was written")
        return cls(
            recipe=Recipe.from_json(values["recipe"]),
            remarks=values["remarks"],
            history=History.from_json(values["history"]),
            folder=folder,
            identity=values["identity"],
            environment=values["environment"],
        )


@dataclass(slots=True)
class Store:
    """A run's directory ``target``, and a hidden folder next to it that holds its states.

    One process at a time has them: between `lock` and `release`.
    """

    target: Path
    identity: str
    """Of the command that trains there."""
    resumed: SavedState | None = None
    """The state that the run resumes from."""
    _lock: TextIO | None = None
    _saved_at: float = field(default_factory=time.monotonic)
    _took: float = 0.0

    @property
    def folder(self) -> Path:
        """Where the states are."""
        return self.target.with_name(f".{self.target.name}.resume")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

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

    # States ------------------------------------------------------------------------------------

    @property
    def has_states(self) -> bool:
        """Whether an unfinished run left a state."""
        return bool(self._folders())

    def newest_state(self, say: Callable[[str], None]) -> SavedState | None:
        """The last state that is complete."""
        for folder in self._folders():
            try:
                return SavedState.read(folder)
            except (OneLayerError, OSError, ValueError, LookupError, TypeError) as error:
                say(f"warning: the state in {folder} is damaged and passed over: {error}")
        return None

    def state_to_resume(self, say: Callable[[str], None]) -> SavedState | None:
        """The state of the same command's run, if its best model so far is there, too."""
        saved = self.newest_state(say)
        if saved is None or saved.identity != self.identity:
            return None
        is_lost = saved.history.best_step and not (self.target / "config.json").is_file()
        return None if is_lost else saved

    def is_state_due(self) -> bool:
        return time.monotonic() - self._saved_at > max(INTERVAL, SHARE * self._took)

    def save_state(self, state: RunState, tensors: dict[str, Tensor]) -> None:
        """Saves a state and removes all but the last ones. Raises OneLayerError where the disk
        refuses; the last one then stands."""
        started = time.monotonic()

        def write(folder: Path) -> None:
            path = folder / "state.safetensors"
            save_file(tensors, path)
            values = {
                "step": state.history.step,
                "identity": self.identity,
                "recipe": state.recipe.to_json(),
                "remarks": list(state.remarks),
                "environment": environment(),
                "history": state.history.to_json(),
                "sha256": digest.of_file(path),
            }
            body = json.dumps(values)
            wrapped = {"format": FORMAT, "sha256": digest.of_text(body), "state": body}
            (folder / "state.json").write_text(json.dumps(wrapped), encoding="utf-8")

        number = state.history.attempt * ATTEMPT + state.history.step
        publish(self.folder / f"step-{number:09d}", write)
        for folder in self._folders()[KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)
        self._saved_at = time.monotonic()
        self._took = self._saved_at - started

    def clear(self) -> None:
        """Removes all states: the run is finished, or starts from its first step."""
        for folder in self._folders():
            shutil.rmtree(folder, ignore_errors=True)

    def _folders(self) -> list[Path]:
        """Of the states, the newest first."""
        return sorted(self.folder.glob("step-*"), reverse=True)

    # The best model ----------------------------------------------------------------------------

    def save_best(
        self,
        plan: Plan,
        built: Built,
        evaluation: DevResult,
        history: History,
        remarks: Sequence[str],
    ) -> None:
        """Publishes the model as it is, with all that is known of it."""
        head = HEADS[plan.task.head]
        record = run_record(plan, built, evaluation, history, remarks)
        card = model_card(card_facts(plan, evaluation, self.target.name))

        def write(folder: Path) -> None:
            write_checkpoint(
                folder,
                config=plan.config,
                state=state_of(built.model),
                architecture=plan.config.family.class_for(head.form),
                labels=named_outputs(plan.task),
                problem_type=head.problem_type,
                tokenizer=plan.base.tokenizer,
                record=record,
                card=card,
            )

        with as_saved(built.model, plan.task):
            publish(self.target, write)

    def finish(self, files: Files, history: History, remarks: Sequence[str]) -> None:
        """Completes the record: since the best model was saved, the run went on.

        What a clock measured, and where the files of the run are, stands in a file of its own, so
        that a repeated run leaves the same record.
        """
        path = self.target / "onelayer.json"
        record = ModelRecord.from_json(read_json(path))
        record = replace(record, choices=tuple(remarks), history=history_record(history))
        rewrite(path, as_json(record.to_json()))
        seconds = [round(seconds, 6) for seconds in history.seconds]
        rewrite(self.target / TIMING, as_json({"seconds": seconds, "files": files.places()}))


def environment() -> dict[str, Any]:
    """What the last digits of a run depend on beside the command."""
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "compiled kernels": kernels() is not None,
        "products": fastest_product().__name__,
    }


def differences(then: dict[str, Any]) -> str:
    """What is not as it was when a state was saved, in words; empty where nothing is."""
    now = environment()
    changed = ((name, then.get(name), is_now) for name, is_now in now.items())
    return ", ".join(f"{name} {was} → {is_now}" for name, was, is_now in changed if was != is_now)
