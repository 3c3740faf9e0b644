"""Smaller models learn what a run says."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onelayer.base.disk import publish
from onelayer.base.errors import UsageError
from onelayer.checkpoint.config import read_config
from onelayer.checkpoint.read import Checkpoint, Description, describe
from onelayer.checkpoint.record import ModelRecord
from onelayer.exporting.dev_rows import RowsOfRun, seed_of_split
from onelayer.prediction.predictor import Predictor, is_run
from onelayer.recipe import REMOVED, Recipe
from onelayer.shrinking.lesson_texts import LessonTexts, RunAnswers, name_of_run, read_alike
from onelayer.shrinking.students import Pretrained, Student, write_students
from onelayer.tasks import AnyTask
from onelayer.training.finetune import learn_lessons
from onelayer.training.lessons import Lessons
from onelayer.training.progress import Reporter
from onelayer.training.resume import is_unfinished

RATE = 1.5e-4 * 768
"""The learning rate of a model of width 1; a width of 384 gets 3e-4. Labels need a lower one: what
another model says of a text has less noise."""
BATCH_SIZE = 64
SAMPLE_ROWS = 256
"""Rows on which the importance of a model's parts is measured."""


@dataclass(frozen=True, slots=True)
class School:
    """Trains smaller models, each to a run of its own in a folder. One that was stopped resumes."""

    run: Predictor
    rows: RowsOfRun
    folder: Path
    reporter: Reporter

    def has_taught(self, student: Student | Pretrained) -> bool:
        """Whether the run of a student is there, and finished."""
        run = self.folder / student.name
        if not is_run(run) or is_unfinished(run):
            return False
        if isinstance(student, Student):
            return True
        record = describe(run).record
        return record is not None and (record.recipe or {}).get("model") == student.model

    def teach_parts(
        self, checkpoint: Checkpoint, students: Sequence[Student], answers: RunAnswers
    ) -> None:
        """Trains parts of the run, whose checkpoint it is."""
        if not students:
            return
        starts = self.folder / ".start"
        sample = answers.rows.part(0, min(SAMPLE_ROWS, len(answers.rows)))

        def write(staged: Path) -> None:
            folders = {one: staged / one.name for one in students}
            for folder in folders.values():
                folder.mkdir()
            write_students(self.run, checkpoint, folders, sample)

        publish(starts, write)
        for student in students:
            start = starts / student.name
            width = read_config(start)[0].hidden_size
            lessons = answers.lessons(self.run, f"{student.what} of {name_of_run(self.run)}")
            self._train(student, str(start), width, lessons, self._recipe())
        shutil.rmtree(starts)

    def teach_other(self, student: Pretrained, texts: LessonTexts, answers: RunAnswers) -> None:
        """Trains another pretrained model. Raises UsageError as `check_tokens`."""
        base = describe(student.folder)
        recipe = self._recipe()
        if base.tokenizer.digest != self.run.tokenizer.digest:
            answers = texts.cut_by(_task_for(self.run, base), base.tokenizer, answers)
            if recipe.max_length is not None:
                recipe = replace(recipe, max_length=min(recipe.max_length, base.config.longest))
        if not len(answers.rows):
            raise _other_tokens(self.run, student)
        lessons = answers.lessons(self.run, student.what)
        self._train(student, student.model, base.config.hidden_size, lessons, recipe)

    def _train(
        self,
        student: Student | Pretrained,
        model: str,
        width: int,
        lessons: Lessons,
        recipe: Recipe,
    ) -> None:
        train, dev = self.rows.files
        assert train is not None, "checked before"
        self.reporter.say(f"{student.name}: {student.what}, learns from the run")
        learn_lessons(
            lessons,
            train,
            dev=dev,
            out=self.folder / student.name,
            recipe=replace(
                recipe,
                model=model,
                epochs=student.epochs,
                lr=float(f"{RATE / width:.2g}"),
                folds=0 if dev is None else None,
            ),
            reporter=self.reporter,
        )

    def _recipe(self) -> Recipe:
        """What reading the rows takes of the run's recipe, and nothing else of it."""
        record = self.run.record or ModelRecord(task=self.run.task, layout=self.run.layout)
        recipe = Recipe.from_json({**(record.recipe or {}), **REMOVED})
        return replace(
            recipe,
            task=self.run.task.name,
            read=None,
            contrast=0,
            practice=0.0,
            batch_size=BATCH_SIZE,
            seed=seed_of_split(record),
            seeds=1,
            patience=None,
            freeze="none",
            positions=None,
            class_weights=False,
            precision=None,
        )


def check_tokens(run: Predictor, student: Pretrained, rows: Iterable[Any]) -> None:
    """Raises UsageError for a model whose tokens don't fit the run's answers: of the first rows, it
    reads none with as many vectors as the run."""
    base = describe(student.folder)
    if base.tokenizer.digest == run.tokenizer.digest:
        return
    own = (_task_for(run, base), base.tokenizer)
    if not read_alike(rows, own, (run.task, run.tokenizer)):
        raise _other_tokens(run, student)


def _task_for(run: Predictor, base: Description) -> AnyTask:
    """The run's task with sequences that another model can read."""
    length = min(run.task.max_length, base.config.longest)
    return replace(run.task, max_length=length)  # type: ignore[type-var]


def _other_tokens(run: Predictor, student: Pretrained) -> UsageError:
    return UsageError(
        f"--student {student.model}: {run.task.name} reads tokens, and this model has other ones",
        hint="take a model with the same vocabulary, or leave --student out",
    )
