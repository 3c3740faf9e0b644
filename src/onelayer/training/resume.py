"""Finds the run that a command resumes, or a directory for a new one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

from onelayer.base.disk import restore
from onelayer.base.errors import Place, UsageError
from onelayer.data.in_memory import Source, source_path
from onelayer.training.run_store import Store

Say = Callable[[str], None]
RUNS = Path("runs")
"""Where runs are made if the user gives no ``--out``."""


def open_store(
    train_file: Source,
    out: str | Path | None,
    identity: str,
    resume: bool | None,
    say: Say,
    *,
    replaces: bool = False,
) -> Store:
    """A locked store for the run, with the state from which it resumes, if any.

    A repeated command resumes its unfinished run, unless ``resume`` is False. If ``resume`` is
    True and there is no such run, or if the directory holds something else, raises UsageError. With
    ``replaces``, the unfinished run of another command makes room.
    """
    if out is not None:
        return _open_at(Path(out), identity, resume, say, replaces)
    stem = run_name(train_file)
    for folder in RUNS.glob(f".{stem}-*.resume") if resume is not False else ():
        store = Store(folder.with_name(folder.name[1:].removesuffix(".resume")), identity)
        if store.lock():
            store.resumed = store.state_to_resume(say)
            if store.resumed is not None:
                return store
            store.release()
    if resume:
        raise _nothing_to_resume(RUNS)
    for n in count(1):
        store = Store(RUNS / f"{stem}-{n}", identity)
        if not store.target.exists() and not store.folder.exists() and store.lock():
            break
    return store


def _open_at(target: Path, identity: str, resume: bool | None, say: Say, replaces: bool) -> Store:
    store = Store(target, identity)
    if not store.lock():
        raise UsageError("another process is training there", place=Place(target))
    try:
        store.resumed = None if resume is False else store.state_to_resume(say)
        if store.resumed is None:
            if replaces and store.has_states:
                shutil.rmtree(target, ignore_errors=True)
            refuse_taken(target)
            if resume:
                raise _nothing_to_resume(target)
            if store.has_states:
                say(f"{target}: starts at step 1; the states of an unfinished run are removed")
            store.clear()
    except BaseException:
        store.release()
        raise
    return store


def is_unfinished(target: Path) -> bool:
    """Whether a run left a state there, from which it can resume."""
    return Store(target, identity="").has_states


def refuse_taken(target: Path) -> None:
    """Raises UsageError for a directory that isn't empty."""
    restore(target)
    if target.exists() and not target.is_dir():
        hint = "a run is a directory: choose another --out"
        raise UsageError("is no directory", place=Place(target), hint=hint)
    if target.exists() and any(target.iterdir()):
        raise UsageError(
            "already holds a run" if (target / "config.json").is_file() else "is not empty",
            place=Place(target),
            hint="choose another --out, or remove it first",
        )


def _nothing_to_resume(place: Path) -> UsageError:
    hint = "the same command resumes a run: data, recipe and model as they were"
    return UsageError("no unfinished run of this command to resume", place=Place(place), hint=hint)


def run_name(source: Source) -> str:
    """A name for runs on this file: its stem, but for ``train.csv`` the name of its folder."""
    path = Path(source_path(source))
    own = path.stem if path.stem not in ("train", "training") else path.absolute().parent.name
    return re.sub(r"[^\w.-]+", "-", own).strip("-.") or "run"
