"""Which run a command resumes, and where a new one goes."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from pathlib import Path

from onelayer.base.errors import Place, UsageError
from onelayer.training.run_store import Store

Say = Callable[[str], None]
RUNS = Path("runs")
"""Where runs go for which the user names no place."""


def open_store(
    train_file: str | Path, out: str | Path | None, identity: str, resume: bool | None, say: Say
) -> Store:
    """Where the run goes, held for this process alone, with the state that it resumes from.

    A command that is given again resumes its unfinished run, unless ``resume`` is False; with
    True it must. Raises UsageError for a place that holds something else.
    """
    if out is not None:
        return _open_at(Path(out), identity, resume, say)
    stem = stem_of(Path(train_file))
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


def _open_at(target: Path, identity: str, resume: bool | None, say: Say) -> Store:
    store = Store(target, identity)
    if not store.lock():
        raise UsageError("another process is training there", place=Place(target))
    try:
        store.resumed = None if resume is False else store.state_to_resume(say)
        if store.resumed is None:
            refuse_taken(target)
            if resume:
                raise _nothing_to_resume(target)
            store.clear()
    except BaseException:
        store.release()
        raise
    return store


def is_unfinished(target: Path) -> bool:
    """Whether a run there left a state to resume from."""
    return Store(target, identity="").has_states


def refuse_taken(target: Path) -> None:
    """Raises UsageError for a place that already holds something."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            "already holds a run" if (target / "config.json").is_file() else "is not empty",
            place=Place(target),
            hint="choose another --out, or remove it first",
        )


def _nothing_to_resume(place: Path) -> UsageError:
    hint = "the same command resumes a run: data, recipe and model as they were"
    return UsageError("no unfinished run of this command to resume", place=Place(place), hint=hint)


def stem_of(path: Path) -> str:
    """What runs on a file are called."""
    own = path.stem if path.stem not in ("train", "training") else path.absolute().parent.name
    return re.sub(r"[^\w.-]+", "-", own).strip("-.") or "run"
