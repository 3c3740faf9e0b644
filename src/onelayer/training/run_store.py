"""A run on the disk: its best model so far, and the states from which it can resume."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TextIO

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from onelayer.base import digest
from onelayer.base.disk import as_json, publish, restore, rewrite
from onelayer.base.errors import OneLayerError, Place
from onelayer.base.locks import lock
from onelayer.base.model_files import read_json
from onelayer.checkpoint.build import Built, as_saved, named_outputs, state_of
from onelayer.checkpoint.card import model_card
from onelayer.checkpoint.record import TIMING_FILE, ModelRecord
from onelayer.checkpoint.save import write_checkpoint
from onelayer.nn.heads import HEADS
from onelayer.nn.kernels import kernels
from onelayer.nn.linear import fastest_product
from onelayer.recipe import Recipe
from onelayer.tasks.logits import Logits
from onelayer.training.history import History
from onelayer.training.plan import Files, Plan
from onelayer.training.ranks import current_ranks
from onelayer.training.run_record import (
    HeldOutResult,
    card_facts,
    history_record,
    run_record,
)

STATE_FORMAT = 2
"""Raise it when `RunState` or the names of the tensors change."""
MAX_STATES = 2
"""States on the disk. If the newest one is damaged, the run resumes from the one before."""
MIN_SECONDS_BETWEEN_STATES = 60.0
"""Seconds between two states, at least. A run that is killed loses the steps since the last one."""
MIN_TRAINING_PER_SAVING = 30
"""How many times as long as saving a state the steps before it take, at least."""
MAX_STEPS_OF_ATTEMPT = 10**8
"""Steps between two restarts, at most. It makes states after a restart sort behind those before."""
MAX_ATTEMPTS = 10
"""Restarts of a fold are fewer. It makes a fold's states sort behind those of the fold before."""


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a run between two steps, except its tensors."""

    recipe: Recipe
    """With what was chosen when the run started."""
    remarks: Sequence[str]
    history: History
    folds_done: int
    """Folds whose logits are known."""


@dataclass(frozen=True, slots=True)
class SavedState(RunState):
    """A state on the disk. Its digests show that it is complete."""

    folder: Path
    identity: str
    """A digest of the command: its data, recipe and model."""
    environment: dict[str, Any]
    """What the last digits depend on besides the command."""

    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.folder / "state.safetensors")

    def logits_by_fold(self) -> list[Logits]:
        """The logits of the rows of each finished fold."""
        with safe_open(self.folder / "state.safetensors", "np") as file:
            return [file.get_tensor(fold_tensor(i)) for i in range(self.folds_done)]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises OneLayerError, OSError, ValueError, LookupError or TypeError for damage."""
        wrapped = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if wrapped["format"] != STATE_FORMAT:
            raise ValueError("state.json has another format")
        if wrapped["sha256"] != digest.of_text(wrapped["state"]):
            raise ValueError("state.json is not as it was written")
        values = json.loads(wrapped["state"])
        if digest.of_file(folder / "state.safetensors") != values["sha256"]:
            raise ValueError("state.safetensors is not as it was written")
        return cls(
            recipe=Recipe.from_json(values["recipe"]),
            remarks=values["remarks"],
            history=History.from_json(values["history"]),
            folds_done=values["folds done"],
            folder=folder,
            identity=values["identity"],
            environment=values["environment"],
        )


@dataclass(slots=True)
class Store:
    """The directory of a run, ``target``, and a hidden folder next to it with the run's states.

    Between `lock` and `release` no other process can use them.
    """

    target: Path
    identity: str
    """Of the command that trains in this directory."""
    resumed: SavedState | None = None
    """The state from which the run resumes."""
    _lock: TextIO | None = None
    _saved_at: float = field(default_factory=time.monotonic)
    _save_seconds: float = 0.0

    @property
    def folder(self) -> Path:
        """Where the states are."""
        return self.target.with_name(f".{self.target.name}.resume")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def lock(self) -> bool:
        """Locks the folder; returns False if another process has locked it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("w")
        except OSError as error:
            reason = f"can't be written: {error.strerror}"
            raise OneLayerError(reason, place=Place(self.target)) from error
        if lock(self._lock):
            return True
        self._lock.close()
        return False

    def release(self) -> None:
        """Unlocks the folder, and removes it if it holds no state."""
        if self._lock is not None:
            if not self._state_folders():
                shutil.rmtree(self.folder, ignore_errors=True)
                with suppress(OSError):  # not empty: other runs are there
                    self.folder.parent.rmdir()
            self._lock.close()

    # States ------------------------------------------------------------------------------------

    @property
    def has_states(self) -> bool:
        """Whether an unfinished run left a state."""
        return bool(self._state_folders())

    def newest_state(self, say: Callable[[str], None]) -> SavedState | None:
        """The newest state that isn't damaged."""
        for folder in self._state_folders():
            try:
                return SavedState.read(folder)
            except (OneLayerError, OSError, ValueError, LookupError, TypeError) as error:
                say(f"warning: the state in {folder} is damaged and passed over: {error}")
        return None

    def state_to_resume(self, say: Callable[[str], None]) -> SavedState | None:
        """The newest state, if the same command saved it and its best model so far exists. Says
        why another one isn't used."""
        restore(self.target)
        saved = self.newest_state(say)
        if saved is None:
            return None
        if saved.identity != self.identity:
            say(f"the unfinished run in {self.target} is of another command: data, recipe or model")
            return None
        if saved.history.best_step and not (self.target / "config.json").is_file():
            say(f"{self.target} is gone, with the best model of its unfinished run")
            return None
        return saved

    def is_state_due(self) -> bool:
        return time.monotonic() - self._saved_at > max(
            MIN_SECONDS_BETWEEN_STATES, MIN_TRAINING_PER_SAVING * self._save_seconds
        )

    def save_state(self, state: RunState, tensors: dict[str, Tensor]) -> None:
        """Saves a state and removes all but the last ``MAX_STATES``.

        Raises OneLayerError if it can't be written; the states before it are kept.
        """
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
                "folds done": state.folds_done,
                "sha256": digest.of_file(path),
            }
            body = json.dumps(values)
            wrapped = {"format": STATE_FORMAT, "sha256": digest.of_text(body), "state": body}
            (folder / "state.json").write_text(json.dumps(wrapped), encoding="utf-8")

        attempt = state.folds_done * MAX_ATTEMPTS + state.history.attempt
        number = attempt * MAX_STEPS_OF_ATTEMPT + state.history.step
        publish(self.folder / f"step-{number:012d}", write)
        for folder in self._state_folders()[MAX_STATES:]:
            shutil.rmtree(folder, ignore_errors=True)
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - started

    def clear(self) -> None:
        """Removes all states, because the run is finished or starts from the first step."""
        for folder in self._state_folders():
            shutil.rmtree(folder, ignore_errors=True)

    def _state_folders(self) -> list[Path]:
        """The folders of the states, the newest first."""
        return sorted(self.folder.glob("step-*"), reverse=True)

    # The best model ----------------------------------------------------------------------------

    def save_best(
        self,
        plan: Plan,
        built: Built,
        evaluation: HeldOutResult,
        history: History,
        remarks: Sequence[str],
    ) -> None:
        """Replaces the model in ``target`` by the current one, with its record and card."""
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
            if evaluation.out_of_fold is not None:
                evaluation.out_of_fold.write(folder)

        with as_saved(built.model, plan.task):
            publish(self.target, write)

    def finish(self, files: Files, history: History, remarks: Sequence[str]) -> None:
        """Adds the steps after the best model to the record.

        Durations and paths are written to another file, so that a repeated run leaves the same
        record.
        """
        path = self.target / "onelayer.json"
        record = ModelRecord.from_json(read_json(path))
        record = replace(record, choices=tuple(remarks), history=history_record(history))
        rewrite(path, as_json(record.to_json()))
        seconds = [round(seconds, 6) for seconds in history.seconds]
        rewrite(self.target / TIMING_FILE, as_json({"seconds": seconds, "files": files.places()}))


def fold_tensor(fold: int) -> str:
    """The name of the tensor in a state that has the logits of a fold's rows."""
    return f"fold.{fold}"


def environment() -> dict[str, Any]:
    """What the last digits of a run depend on besides the command."""
    processes = current_ranks().count
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "compiled kernels": kernels() is not None,
        "products": fastest_product().__name__,
        **({"processes": processes} if processes > 1 else {}),
    }


def environment_changes(then: dict[str, Any]) -> str:
    """What changed since a state was saved, in words; empty if nothing did."""
    now = environment()
    names = {**then, **now}
    changed = ((name, then.get(name, 1), now.get(name, 1)) for name in names)
    return ", ".join(f"{name} {was} → {is_now}" for name, was, is_now in changed if was != is_now)
