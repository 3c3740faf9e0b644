"""The models below a run, in a folder: each is made once, and found there the next time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelayer import __version__
from onelayer.base import digest
from onelayer.base.disk import as_json, rewrite
from onelayer.base.errors import OneLayerError, Place, UsageError
from onelayer.base.locks import locked
from onelayer.checkpoint.bundle import is_bundle, read_bundle
from onelayer.checkpoint.read import describe, digests_of, read_checkpoint
from onelayer.data.in_memory import Source, source_digest
from onelayer.engines.engine import Engine
from onelayer.engines.registry import engines_for
from onelayer.exporting.dev_rows import RowsOfRun
from onelayer.exporting.export import export_run
from onelayer.exporting.parity import Kept
from onelayer.exporting.two_models import Joining, can_be_joined
from onelayer.prediction.predictor import Predictor
from onelayer.shrinking.budget import SMALL_LOSS
from onelayer.shrinking.frequent_pieces import frequent_pieces
from onelayer.shrinking.lesson_texts import LessonTexts
from onelayer.shrinking.school import School
from onelayer.shrinking.students import Pretrained, Student, students_of
from onelayer.training.progress import Reporter

IDENTITY = "ladder.json"
"""What all models of a ladder were made of."""
LOCK = ".lock"
"""Who has locked this file makes the models."""
WHOLE, TRIMMED = "int8", "int8-trimmed"
"""The run itself, and the run with only the pieces of its rows."""
SHARE, SHARE_AFTER_NARROW = 0.25, 0.1
"""For which share of the dev rows all layers are asked where two layers answer first, and where two
narrow ones do. The first way loses next to nothing, the second one is a good deal faster."""
LEAST_LAYERS = 6
"""Layers of a run for which two that answer first save enough time."""


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

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Makes the folder, and removes what was made of another run or of other rows. No other
        process may use it meanwhile: raises UsageError where one does."""
        with ExitStack() as stack:
            try:
                self._refuse_taken()
                self.folder.mkdir(parents=True, exist_ok=True)
                if not stack.enter_context(locked(self.folder / LOCK)):
                    raise UsageError(
                        "another process is making smaller models there",
                        place=Place(self.folder),
                        hint="wait until it is finished, or choose another --out",
                    )
                self._remove_others()
            except OSError as error:
                raise OneLayerError(
                    f"can't be written: {error.strerror}",
                    place=Place(self.folder),
                    hint="name another folder with --out",
                ) from error
            yield

    def _refuse_taken(self) -> None:
        if not self.folder.exists() or (self.folder / IDENTITY).is_file():
            return
        if any(path.name != LOCK for path in self.folder.iterdir()):
            raise UsageError(
                "is there already, and holds something else",
                place=Place(self.folder),
                hint="name another folder with --out, or remove it",
            )

    def _remove_others(self) -> None:
        """Removes what the same call wouldn't make. The run's own bundles don't depend on texts
        without labels."""
        mark, found = self.folder / IDENTITY, self._identity()
        try:
            known = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else {}
        except ValueError:
            known = None
        if not isinstance(known, dict):  # damaged: nobody knows what the models were made of
            known = {"made of": None}
        if known == found:
            return
        kept = {LOCK}
        if known.get("made of") == found["made of"]:
            kept |= {WHOLE, TRIMMED}
            self.reporter.say(f"{self.folder}: smaller models learn again, as texts have changed")
        elif known:
            self.reporter.say(f"{self.folder} was made of another run or other rows: removed")
        mark.unlink(missing_ok=True)  # first: half of a ladder must not pass for a whole one
        for path in self.folder.iterdir():
            if path.name not in kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        rewrite(mark, as_json(found))

    def _identity(self) -> dict[str, str]:
        """Digests of all that the models of the ladder depend on."""
        assert self.run.path is not None, "a run is opened from a directory"
        files = [None if one is None else source_digest(one) for one in self.rows.files]
        weights = digests_of(describe(self.run.path))
        return {
            "made of": digest.of_text(json.dumps([__version__, weights, files])),
            "unlabelled": "none" if self.unlabelled is None else source_digest(self.unlabelled),
        }

    def exported(self, name: str, what: str, run: Path, *, trimmed: bool) -> Made:
        """The int8 bundle of a run, which the ladder has already or gets. Words are most of the
        bytes of smaller models, so these have them in four bits."""
        assert self.run.path is not None
        is_smaller = run != self.run.path
        bundle = self.folder / name
        if not is_bundle(bundle):
            train, dev = self.rows.files
            self.reporter.say(f"{name}: {what}, in int8")
            export_run(
                run,
                out=bundle,
                int8=True,
                four_bit_words=is_smaller,
                trim_vocabulary=trimmed,
                keep_dev_pieces=False,  # the dev rows stand for new texts
                accept=True,  # what it costs is in the table
                train=train,
                dev=dev,
                say=self.reporter.say,
            )
        return Made(name, what, bundle, run if is_smaller else None)

    def students(
        self,
        unlabelled: Iterable[Any],
        teacher: Made,
        trimmed: Made,
        other: Pretrained | None,
    ) -> list[Made]:
        """The int8 bundles of smaller models that learned from the run.

        Parameters
        ----------
        unlabelled
            Rows that the run answers besides its own.
        teacher
            The bundle of the run, which answers faster.
        trimmed
            The same with only the pieces of the rows: if dev loses by that, as it does with few
            rows, smaller models keep all pieces.
        other
            A pretrained model that learns, too; None for parts of the run alone.
        """
        assert self.run.path is not None
        checkpoint = read_checkpoint(self.run.path)
        of_run = students_of(checkpoint)
        others = [other] if other else []
        school = School(self.run, self.rows, self.folder, self.reporter)
        missing = [one for one in of_run if not school.has_taught(one)]
        outside = [one for one in others if not school.has_taught(one)]
        trims = self.trims_students(trimmed)
        if missing or outside:
            assert self.rows.train is not None, "checked before"
            texts = LessonTexts.of(self.run, self.rows.train, unlabelled)
            answers = texts.answers(self.run, _first_engine(teacher), self.reporter)
            for one in outside:
                school.teach_other(one, texts, answers)
            if missing and trims:
                vocabulary = frequent_pieces(self.run, checkpoint, texts.rows, answers)
                answers = texts.cut_finer(self.run.task, vocabulary, answers)
            school.teach_parts(checkpoint, missing, answers)
        taught: tuple[Student | Pretrained, ...] = (*of_run, *others)
        made = {one: self._bundle_of(one, trimmed=trims) for one in taught}
        rest = trimmed if trims else teacher
        first = [one for one in of_run if one.layers == 2 and one.of_layers >= LEAST_LAYERS]
        return [*made.values(), *self._joined({one: made[one] for one in first}, rest)]

    def _joined(self, first: Mapping[Student, Made], rest: Made) -> Iterator[Made]:
        """Bundles in which a smaller model answers first."""
        joining = Joining(
            self.run, Kept(self.run.engine, self.run.tokenizer), self.rows, self.reporter.say
        )
        for student, made in first.items():
            share = SHARE if student.width == 1 else SHARE_AFTER_NARROW
            name = f"two-models-{100 * share:.0f}"
            bundle = self.folder / name
            if not is_bundle(bundle):
                if not can_be_joined(read_bundle(made.bundle), read_bundle(rest.bundle)):
                    continue
                joining.join(made.bundle, rest.bundle, bundle, what=made.what, share=share)
            what = f"{made.what}, and where these aren't sure, for {share:.0%} of dev, all layers"
            yield Made(name, what, bundle, None)

    def _bundle_of(self, one: Student | Pretrained, *, trimmed: bool) -> Made:
        name = f"{one.name}-int8"
        return self.exported(name, one.what, self.folder / one.name, trimmed=trimmed)

    def trims_students(self, trimmed: Made) -> bool:
        """Whether the run's dev rows lose little with the pieces of its training rows alone; false
        where no rows were kept apart to tell."""
        vocabulary = read_bundle(trimmed.bundle).export.vocabulary
        one = vocabulary.unseen if vocabulary else None
        little = one is not None and one.drop <= SMALL_LOSS
        if not little:
            cost = "isn't known" if one is None else f"is {one.drop:.1f} points of {one.metric}"
            self.reporter.say(
                "smaller models keep the whole vocabulary: what new texts lose with only the "
                f"pieces of the training rows {cost}"
            )
        return little


def _first_engine(made: Made) -> Engine:
    """A bundle in the engine that is expected to be fastest. What is measured to be fastest may be
    another one the next time, and the same call would then give other bits."""
    bundle = read_bundle(made.bundle)
    return next(iter(engines_for(bundle).values()))(bundle)
