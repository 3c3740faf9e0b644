"""The models below a run, in a folder: each is made once, and found there the next time."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from onelayer import __version__
from onelayer.base import digest
from onelayer.base.disk import rewrite
from onelayer.base.errors import OneLayerError, Place, UsageError
from onelayer.checkpoint.bundle import is_bundle
from onelayer.checkpoint.read import read_checkpoint
from onelayer.checkpoint.record import ModelRecord
from onelayer.data.in_memory import Source, source_digest
from onelayer.exporting.dev_rows import RowsOfRun, seed_of_split
from onelayer.exporting.export import export_run
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor, is_run
from onelayer.recipe import REMOVED, Recipe
from onelayer.shrinking.lesson_texts import LessonTexts
from onelayer.shrinking.students import Student, students_of, write_students
from onelayer.training.finetune import learn_lessons
from onelayer.training.lessons import Lessons
from onelayer.training.progress import Reporter
from onelayer.training.resume import is_unfinished

IDENTITY = "ladder.json"
"""What all models of a ladder were made of."""
RATE = 1e-4 * 768
"""The learning rate of a model of width 1; a width of 384 gets 2e-4. Hard labels need a lower one:
what another model says of a text has less noise."""
BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle of the ladder."""

    name: str
    what: str
    """What it is, in words."""
    bundle: Path
    run: Path | None
    """The run that it was exported from, in the ladder; None for the run itself."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Makes the models of a ladder."""

    run: Predictor
    folder: Path
    rows: RowsOfRun
    unlabelled: Source | None
    reporter: Reporter

    def prepare(self) -> None:
        """Makes the folder, and removes what was made of another run or of other rows."""
        assert self.run.path is not None, "a run is opened from a directory"
        found = json.dumps({"made of": self._identity()}, indent=2) + "\n"
        mark = self.folder / IDENTITY
        try:
            known = mark.read_text(encoding="utf-8") if mark.is_file() else None
            if known is None and self.folder.exists() and any(self.folder.iterdir()):
                raise UsageError(
                    "is there already, and holds something else",
                    place=Place(self.folder),
                    hint="name another folder with --out, or remove it",
                )
            if known is not None and known != found:
                self.reporter.say(f"{self.folder} was made of another run or other rows: removed")
                shutil.rmtree(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"can't be written: {error.strerror}"
            raise OneLayerError(reason, place=Place(self.folder)) from error
        rewrite(mark, found)

    def _identity(self) -> str:
        record, path = self.run.record, self.run.path
        files = [None if one is None else source_digest(one) for one in self.rows.files]
        others = None if self.unlabelled is None else source_digest(self.unlabelled)
        weights = record.sha256 if record else None
        parts = [__version__, weights, str(path), files, others]
        return digest.of_text(json.dumps(parts))

    def exported(self, name: str, what: str, run: Path, *, trimmed: bool) -> Made:
        """The int8 bundle of a run, which the ladder has already or gets."""
        assert self.run.path is not None
        bundle = self.folder / name
        if not is_bundle(bundle):
            train, dev = self.rows.files
            self.reporter.say(f"{name}: {what}, in int8")
            export_run(
                run,
                out=bundle,
                int8=True,
                trim_vocabulary=trimmed,
                accept=True,  # what it costs is in the table
                train=train,
                dev=dev,
                say=self.reporter.say,
            )
        return Made(name, what, bundle, None if run == self.run.path else run)

    def students(self, texts: LessonTexts, teacher: Made) -> list[Made]:
        """The int8 bundles of smaller models that learned from the run; ``teacher`` is the bundle
        of the run, which answers faster."""
        checkpoint = read_checkpoint(self.run.path) if self.run.path else None
        assert checkpoint is not None
        all_students = students_of(checkpoint)
        missing = [one for one in all_students if not self._is_trained(one)]
        if missing:
            lessons = texts.lessons(self.run, load(teacher.bundle).engine, self.reporter)
            starts = {one: self.folder / ".start" / one.name for one in missing}
            for folder in starts.values():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
            sample = lessons.encodings.part(0, min(256, len(lessons.encodings)))
            write_students(self.run, checkpoint, starts, sample)
            for student, start in starts.items():
                self._train(student, start, lessons)
            shutil.rmtree(self.folder / ".start")
        return [self._exported_student(one) for one in all_students]

    def _exported_student(self, student: Student) -> Made:
        run = self.folder / student.name
        return self.exported(f"{student.name}-int8", student.what, run, trimmed=True)

    def _is_trained(self, student: Student) -> bool:
        run = self.folder / student.name
        return is_run(run) and not is_unfinished(run)

    def _train(self, student: Student, start: Path, lessons: Lessons) -> None:
        train, dev = self.rows.files
        assert train is not None, "checked before"
        record = self.run.record or ModelRecord(task=self.run.task, layout=self.run.layout)
        recipe = Recipe.from_json({**(record.recipe or {}), **REMOVED})
        width = read_checkpoint(start).config.hidden_size
        recipe = replace(
            recipe,
            task=self.run.task.name,
            model=str(start),
            read=None,
            contrast=0,
            practice=0.0,
            epochs=student.epochs,
            lr=float(f"{RATE / width:.2g}"),
            batch_size=BATCH_SIZE,
            seed=seed_of_split(record),
            seeds=1,
            folds=0 if dev is None else None,
            patience=None,
            freeze="none",
            positions=None,
            class_weights=False,
            precision=None,
        )
        self.reporter.say(f"{student.name}: {student.what} learn from the run")
        made_of = replace(lessons.made_of, what=student.what)
        learn_lessons(
            replace(lessons, made_of=made_of),
            train,
            dev=dev,
            out=self.folder / student.name,
            recipe=recipe,
            reporter=self.reporter,
        )
