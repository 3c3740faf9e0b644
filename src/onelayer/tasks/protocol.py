"""What a task is, and how the rows of a file become its rows."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from onelayer.base.errors import DataError, Place
from onelayer.metrics import Scorer
from onelayer.recipe import Recipe
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer

P = TypeVar("P")
Logits = NDArray[np.floating]
Chunk = tuple[Sequence[Any], Encodings, Logits]
"""Some rows, their encodings, and the (R, C) logits of all that is read of them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column of a file plays which role, several columns playing one together."""

    columns: Mapping[str, str | tuple[str, ...]]
    """By role: text, pair, label, question, context, options, id, title, space_after."""
    separator: str | None = None
    """What stands between several labels written into one field."""
    first_option: int = 0
    """What the first option is called where right options are given by number."""

    def fits(self, columns: Collection[str]) -> bool:
        """Whether a file with these columns can be read in this way."""
        return all(
            set(_each(column)) <= set(columns)
            for role, column in self.columns.items()
            if role != "title"  # of use where it is there
        )

    def present_in(self, columns: Collection[str]) -> Layout:
        """The roles that these columns play, or some of theirs."""
        there = {
            role: column
            for role, column in self.columns.items()
            if not set(_each(column)).isdisjoint(columns)
        }
        return replace(self, columns=there)

    def values(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record's values by role. Several columns are options, each with the letter that ends
        its column's name, whatever their order and whichever are empty."""
        chosen: dict[str, Any] = {}
        for role, column in self.columns.items():
            if isinstance(column, tuple):
                there = [name for name in column if record.get(name) not in (None, "")]
                letters = [name[-1].upper() for name in there if name[-1].isalpha()]
                chosen[role] = {"text": [record[name] for name in there], "label": letters}
            else:
                chosen[role] = record.get(column)
        label = chosen.get("label")
        if self.separator and isinstance(label, str):
            parts = (part.strip() for part in label.split(self.separator))
            chosen["label"] = [part for part in parts if part]
        if self.first_option and is_number(str(label)):
            chosen["label"] = int(str(label)) - self.first_option
        return chosen

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": dict(self.columns),
            "separator": self.separator,
            "first_option": self.first_option,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Layout:
        columns = {
            role: tuple(column) if isinstance(column, list) else column
            for role, column in values["columns"].items()
        }
        return cls(columns, values.get("separator"), values.get("first_option", 0))


def _each(column: str | tuple[str, ...]) -> tuple[str, ...]:
    return column if isinstance(column, tuple) else (column,)


class Task(Protocol):
    """A task is a frozen dataclass: all that decoding needs, and nothing that needs torch.

    Training, ``eval``, ``predict`` and every exported model call the same ``encode`` and
    ``decode``, so that they can't disagree. Each task has its own type of row and of prediction.
    """

    name: ClassVar[str]

    @property
    def head(self) -> str:
        """The key of the layer and loss in ``nn.heads.HEADS``."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the layer's outputs, in order."""
        ...

    @property
    def max_length(self) -> int:
        """Tokens of a sequence, special ones included."""
        ...

    @property
    def metric(self) -> str:
        """The score that chooses the best checkpoint; higher is better."""
        ...

    @property
    def summary(self) -> str:
        """What the training rows decided, in words for the user."""
        ...

    @classmethod
    def row(cls, values: Mapping[str, Any], place: Place, labelled: bool) -> Any:
        """A row from values by role. Raises DataError where they can't be used."""
        ...

    @classmethod
    def check(cls, rows: Iterable[Any]) -> Callable[[Any], DataError | None] | None:
        """Goes once through labelled rows and gives a judge of what is wrong with one of them that
        only shows when all are seen; None where nothing can be."""
        ...

    @classmethod
    def fit(cls, rows: Iterable[Any], tokenizer: Tokenizer, recipe: Recipe, limit: int) -> Task:
        """What the training rows decide: label names, schemes, lengths. They may be more than the
        memory holds, and are gone through once. ``limit`` is the number of positions that the
        model has."""
        ...

    def encode(self, rows: Sequence[Any], tokenizer: Tokenizer, labelled: bool) -> Encodings:
        """Token sequences, with targets where ``labelled``. Raises DataError for a label that
        training did not have."""
        ...

    def decode(self, rows: Sequence[Any], encodings: Encodings, logits: Logits) -> list[Any]:
        """(R, C) logits -> one prediction a row."""
        ...

    def score(self, rows: Iterable[Any], predictions: Iterable[Any]) -> Scorer:
        """Every standard metric of the task. Predictions are gone through once, rows perhaps more
        than once; what is kept of each is a few numbers, so both may be streams."""
        ...

    def tune(self, rows: Iterable[Any], chunks: Iterable[Chunk]) -> tuple[Task, Scorer]:
        """The task with its decoding tuned on labelled dev rows, and its scores there. ``chunks``
        are those rows with their logits, gone through once."""
        ...

    @classmethod
    def texts(cls, row: Any) -> tuple[str, ...]:
        """The texts that the model reads of a row."""
        ...

    @classmethod
    def group(cls, row: Any) -> str | None:
        """Rows of one group (a passage) never stand on both sides of a split."""
        ...

    @classmethod
    def stratum(cls, row: Any) -> str | None:
        """Rows of each stratum (a label) are split in the same proportion."""
        ...


def is_number(text: str) -> bool:
    """Whether a text is a whole number, of which 18 digits are enough for anything counted here."""
    return text.isdecimal() and len(text) <= 18


def in_role(place: Place, role: str) -> Place:
    """A spot within a row. ``rows.read_rows`` turns the role into the name of its column."""
    return replace(place, column=role) if place.line else place


def text_of(
    values: Mapping[str, Any], role: str, place: Place, *, may_be_empty: bool = False
) -> str:
    """The text in a role. Raises DataError where there is none."""
    value = values.get(role)
    if isinstance(value, str) and (may_be_empty or (value and not value.isspace())):
        return value
    place = in_role(place, role)
    if value is None or value != value:
        raise DataError(f"no {role}", place=place)
    if isinstance(value, (list, dict)):
        kind = "list" if isinstance(value, list) else "object"
        raise DataError(f"{role} is a {kind}, not a text", place=place)
    if isinstance(value, str):
        raise DataError(f"{role} is empty", place=place)
    return json.dumps(value)


def listed_in(value: str) -> list[Any] | None:
    """The list that a csv's field holds, written as JSON."""
    try:
        found = json.loads(value) if value.lstrip().startswith("[") else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def label_name(value: object) -> str:
    """The name of a class of any type: texts as they are, other values as JSON writes them."""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def listed(names: Sequence[str], shown: int = 8) -> str:
    """Names for a message: the first ones, and whether there are more."""
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct names, numbers by value and before other names."""

    def key(name: str) -> tuple[int, float, str]:
        try:
            return (0, float(name), name)
        except ValueError:
            return (1, 0.0, name)

    return tuple(sorted(set(names), key=key))


def ids_of(names: Iterable[tuple[str, Place]], labels: Sequence[str]) -> list[int]:
    """Label names -> their ids. Raises DataError for a label that training did not have."""
    index = {label: i for i, label in enumerate(labels)}
    ids: list[int] = []
    unknown: dict[str, Place] = {}
    for name, place in names:
        ids.append(index.get(name, -1))
        if name not in index:
            unknown.setdefault(name, place)
    if unknown:
        name, *others = unknown
        near = difflib.get_close_matches(name[:100], labels, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        more = listed(list(map(repr, others)), 4)
        raise DataError(
            f"label {name!r} does not occur in the training rows" + (more and f", nor do {more}"),
            place=unknown[name],
            hint=f"{meant}training has {listed(labels)}",
        )
    return ids


def softmax(x: Logits, axis: int = -1) -> NDArray[np.float64]:
    """In double precision, so that probabilities add up to one."""
    x = np.asarray(x, dtype=np.float64)
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def sigmoid(x: Logits) -> NDArray[np.float64]:
    """In double precision, and without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * np.asarray(x, dtype=np.float64))


def decoded(task: Task, chunks: Iterable[Chunk]) -> Iterator[Any]:
    """The predictions of all chunks, row by row."""
    for chunk in chunks:
        yield from task.decode(*chunk)


def per_row(encodings: Encodings, logits: Logits, each: Callable[[int, Logits], P]) -> list[P]:
    """``each(row number, that row's logits)`` for every row."""
    bounds = encodings.row_reads.tolist()
    return [each(i, logits[bounds[i] : bounds[i + 1]]) for i in range(len(encodings))]
