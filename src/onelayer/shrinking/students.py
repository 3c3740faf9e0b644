"""The smaller models that learn from a run, before their first step: parts of the run itself, or
another pretrained model."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from onelayer.base.errors import Place, UsageError
from onelayer.base.wording import Say
from onelayer.checkpoint.build import build_model, named_outputs, state_of
from onelayer.checkpoint.bundle import is_bundle
from onelayer.checkpoint.mean_layer import asks_nothing, with_learned_mean
from onelayer.checkpoint.narrower import can_be_narrower
from onelayer.checkpoint.read import Checkpoint
from onelayer.checkpoint.record import ModelRecord
from onelayer.checkpoint.save import write_checkpoint
from onelayer.checkpoint.smaller import first_stays, with_layers, with_neurons
from onelayer.checkpoint.source import resolve
from onelayer.engines.torch_engine import TorchEngine
from onelayer.nn.heads import HEADS
from onelayer.prediction.predictor import Predictor
from onelayer.shrinking.importance import neurons_left
from onelayer.shrinking.narrowing import narrowed
from onelayer.tokens.encodings import Encodings

NARROW = 2 / 3, 1 / 6
"""The share of the width, and of the neurons, of a narrower model. With these its products have a
fifth of a whole layer's multiplications. Neurons are cheaper to miss than width: with twice as
many it scores no better, and with half of the width worse."""


@dataclass(frozen=True, slots=True)
class Student:
    """A smaller model, by what stays of the run."""

    layers: int
    of_layers: int
    width: float = 1.0
    """The share of the width of all vectors."""
    neurons: float = 1.0
    """The share of the neurons in the feed-forward half of each layer."""
    of_mean: bool = False
    """Whether the run's last layer takes the mean of all tokens."""

    @property
    def kept(self) -> list[int]:
        """The numbers of the layers that stay, spread evenly; the last is the one that the output
        layer reads."""
        last, k = self.of_layers - 1, self.layers
        return [round(i * last / (k - 1)) for i in range(k)] if k > 1 else [last]

    @property
    def epochs(self) -> float:
        """Passes over the lessons. A smaller model learns more slowly, and its steps are faster;
        one that begins with the mean needs half as many."""
        if self.layers > 2:
            return 1.5
        return 2.0 if self.of_mean or (self.layers == 2 and self.width == 1) else 4.0

    @property
    def name(self) -> str:
        """The name of its folder."""
        noun = "layer" if self.layers == 1 else "layers"
        return f"{self.layers}-{noun}{'-narrow' if self.width < 1 else ''}"

    @property
    def what(self) -> str:
        """What it is, in words."""
        layers = f"{self.layers} of the {self.of_layers} layers"
        if self.width == 1:
            return layers
        return f"{layers}, at {self.width:.0%} of the width, with {self.neurons:.0%} of the neurons"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A pretrained model that is no part of the run."""

    model: str
    """As the user named it."""
    folder: Path

    @classmethod
    def named(cls, model: str, say: Say) -> Pretrained:
        """Raises CheckpointError where there is no such model, UsageError for a bundle."""
        folder = resolve(model, say)
        if is_bundle(folder):
            raise UsageError("is a bundle", place=Place(folder), hint="give a model to train")
        return cls(model, folder)

    @property
    def name(self) -> str:
        """The name of its folder."""
        own = re.sub(r"[^\w.-]+", "-", Path(self.model).name).strip("-.")
        return f"student-{own or 'model'}"

    @property
    def what(self) -> str:
        """What it is, in words."""
        return f"the pretrained model {Path(self.model).name}"

    @property
    def epochs(self) -> float:
        """Passes over the lessons."""
        return 2.0


def students_of(checkpoint: Checkpoint) -> tuple[Student, ...]:
    """A ladder of smaller models, the largest first: half of the layers, a quarter, two, two that
    are narrower, and one."""
    n = checkpoint.config.num_hidden_layers
    least = 2 if first_stays(checkpoint) else 1
    counts = {k for k in (n // 2, n // 4, 2, 1) if least <= k < n}
    of_mean = asks_nothing(checkpoint, n - 1)
    students = [Student(k, n, of_mean=of_mean) for k in sorted(counts, reverse=True)]
    if n > 2 and can_be_narrower(checkpoint):
        # Below the other one with two layers. It takes less time and space than one whole layer
        # with another, and knows the order of words, which a single layer hardly does.
        at = sum(student.layers >= 2 for student in students)
        students.insert(at, Student(2, n, *NARROW, of_mean))
    return tuple(students)


def write_students(
    run: Predictor,
    checkpoint: Checkpoint,
    students: dict[Student, Path],
    sample: Encodings,
) -> None:
    """Writes models to start from, each a directory that training takes as its base.

    Parameters
    ----------
    run, checkpoint
        The trained model, and its weights.
    students
        Which smaller models, and the existing folder of each.
    sample
        Some of the run's rows, on which the importance of its parts is measured.
    """
    assert isinstance(run.engine, TorchEngine), "a run is opened in torch"
    for student, folder in students.items():
        smaller = with_layers(checkpoint, student.kept)
        if student.neurons < 1:
            model = build_model(smaller, run.task).model
            smaller = with_neurons(smaller, neurons_left(model, sample, student.neurons))
        if student.width < 1:
            smaller = narrowed(smaller, run.task, sample, student.width)
        _write(run, with_learned_mean(smaller), student, folder)


def _write(run: Predictor, checkpoint: Checkpoint, student: Student, folder: Path) -> None:
    head = HEADS[run.task.head]
    model = build_model(checkpoint, run.task).model
    record = run.record or ModelRecord(task=run.task, layout=run.layout)
    write_checkpoint(
        folder,
        config=checkpoint.config,
        state=state_of(model),
        architecture=checkpoint.config.family.class_for(head.form),
        labels=named_outputs(run.task),
        problem_type=head.problem_type,
        tokenizer=checkpoint.tokenizer,
        record=replace(record, sha256=None),
        card=f"{student.what.capitalize()}, before training.\n",
    )
