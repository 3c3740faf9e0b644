"""What a task is: one class with all that the rest of the program asks of it."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import (
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    Self,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

from onelayer.base.errors import UsageError
from onelayer.base.library_structs import Found, RowInput
from onelayer.base.text_offsets import OffsetUnit
from onelayer.base.wording import in_words
from onelayer.data.column_rules import ColumnRules
from onelayer.data.row_kind import Row, RowKind
from onelayer.metrics import ChosenRows, Scorer
from onelayer.recipe import Recipe
from onelayer.tasks.label_judges import LabelJudge
from onelayer.tasks.logits import Logits
from onelayer.tasks.mistakes import Judged, Mistake, Passage
from onelayer.tasks.predictions import OutputTensor, Prediction
from onelayer.tasks.suggestions import Labelling, Suggestion
from onelayer.tasks.uncertainty import Uncertainty, no_uncertainty
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import WordSpans, split_words

HubForm = Literal["text-classification", "token-classification", "question-answering"]
Chunk = tuple[Sequence[Row], Encodings, Logits]
"""Some rows, their encodings, and the (R, C) logits of all that is read of them."""


class Unit(NamedTuple):
    """The layer learns ``(label - mean) / deviation``; in files its unit is the labels' own."""

    mean: float = 0.0
    deviation: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedLayer:
    """What a directory of transformers says of its output layer."""

    form: str | None
    """What the class of transformers is for: ``SequenceClassification``."""
    problem_type: str | None
    labels: tuple[str, ...]
    """The names of its outputs."""
    positions: int
    """Tokens that the model reads at once, at most."""


class Practice(Protocol):
    """Examples that are made of training texts, for a model that has few labelled rows."""

    def batch(self, n: int, rng: np.random.Generator) -> Encodings | None:
        """About ``n`` examples with targets, drawn by ``rng``; None if no text is good for one."""


class Task(RowKind[Row], Generic[Row, Prediction]):
    """A task is a frozen dataclass: all that decoding needs, and nothing that needs torch.

    Training, ``eval``, ``predict`` and every exported model call the same ``encode`` and
    ``decode``, so that they can't disagree. Each task has its own type of row and of prediction.
    What has a body here suits most tasks.
    """

    columns: ClassVar[ColumnRules]
    """Which columns it reads, and how it finds them in a file."""

    # From rows to predictions and scores -------------------------------------------------------

    max_length: int
    """Tokens of a sequence, special ones included."""

    @property
    @abstractmethod
    def head(self) -> str:
        """The key of the layer and loss in ``nn.heads.HEADS``."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """The names of the layer's outputs, in order."""

    @property
    @abstractmethod
    def metric(self) -> str:
        """The score that chooses the best checkpoint; higher is better."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """What the training rows decided, in words for the user."""

    @classmethod
    @abstractmethod
    def fit(cls, rows: Iterable[Row], tokenizer: Tokenizer, recipe: Recipe, limit: int) -> Self:
        """What the training rows decide: label names, schemes, lengths. They may be more than the
        memory holds, and are read once. ``limit`` is the number of positions that the model has."""

    @abstractmethod
    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, labelled: bool) -> Encodings:
        """Token sequences, with targets where ``labelled``. Raises DataError for a label that
        training did not have."""

    @abstractmethod
    def decode(self, rows: Sequence[Row], encodings: Encodings, logits: Logits) -> list[Prediction]:
        """(R, C) logits -> one prediction a row."""

    @abstractmethod
    def score(self, rows: Iterable[Row], predictions: Iterable[Prediction]) -> Scorer:
        """Every standard metric of the task. Predictions are read once, rows perhaps more than
        once; what is kept of each is a few numbers, so both may be streams."""

    def practice(self, encodings: Encodings, tokenizer: Tokenizer) -> Practice | None:
        """What training also practises on, made of the encodings of its rows; None: nothing."""
        return None

    def word_spans(self, row: Row) -> Sequence[WordSpans]:
        """For each of ``texts(row)``, the character spans of its words."""
        return [split_words(text) for text in self.texts(row)]

    def with_texts(self, row: Row, texts: Sequence[str], words: Sequence[WordSpans]) -> Row | None:
        """A row without a label that has other texts, as many as ``texts(row)``, for a smaller
        model that learns from this one. ``words`` are as ``word_spans`` gives them. None: rows of
        this task can't be made."""
        return None

    def tune(self, rows: Iterable[Row], chunks: Iterable[Chunk[Row]]) -> tuple[Self, Scorer]:
        """The task with its decoding tuned on labelled dev rows, and its scores there. ``chunks``
        are those rows with their logits, read once."""
        return self, self.score(rows, decoded(self, chunks))

    # In the C++ library ------------------------------------------------------------------------

    def library_input(self, row: Row) -> RowInput | None:
        """A row as the library reads it, which then encodes, runs and decodes it as this task does.
        As it stands None: for a task, or a row, that the library doesn't have."""
        return None

    def from_library(self, row: Row, found: Found) -> Prediction:
        """What the library found for a row that it got."""
        raise NotImplementedError(f"the library has no {self.name}")

    # What it says to people --------------------------------------------------------------------

    aim: ClassVar[str]
    """What a model of it does to a text: ``sorts texts into classes``."""
    example: ClassVar[str]
    """The inputs of a call of ``predict``, in Python."""
    pipeline_tag: ClassVar[str]
    """What the Hugging Face Hub calls it."""

    @property
    def decided_on_dev(self) -> str | None:
        """What ``tune`` chose, in words with the scores by which it did."""
        return None

    @property
    def tuned_on_dev(self) -> tuple[str, ...]:
        """What else than that ``tune`` chose on dev: those rows' own scores flatter by it."""
        return ()

    @property
    def pooling_scores(self) -> Mapping[str, float]:
        """The dev score of each way to pool windows; empty where there was no choice."""
        return {}

    @property
    def label_temperature(self) -> float | None:
        """By what logits are divided before they become probabilities of labels, if by anything."""
        return None

    def in_short(self) -> dict[str, Any]:
        """Its fields as a person reads them, without long tables of numbers."""
        return self.to_json()

    # How it differs from other tasks -----------------------------------------------------------

    reads_all_tokens: ClassVar[bool] = False
    """Whether the layer reads every token of a sequence, or one of them."""
    reads_windows: ClassVar[bool] = True
    """Whether a row's sequences are windows of one long text, or texts of their own."""
    may_truncate: ClassVar[bool] = False
    """Whether ``--long truncate`` is a choice."""
    has_offsets: ClassVar[bool] = False
    """Whether predictions have positions in a text: the start and the end of a span."""
    predicts_number: ClassVar[bool] = False
    """Whether predictions are numbers, which are close to each other instead of the same."""
    promises: ClassVar[bool] = False
    """Whether ``--coverage`` and ``--abstain`` are choices; see ``with_guarantees``."""
    point: ClassVar[float] = 0.01
    """How much of ``metric`` people call a point: 1 where scores go up to 100."""

    @property
    def chooses_an_output(self) -> bool:
        """Whether each vector that the layer reads gets one of the layer's outputs, the one with
        the largest logit: the distance to the next one tells how sure the model is."""
        return self.several_labels is False

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that rows may have; empty for a task whose labels have no names."""
        return ()

    @property
    def thresholds(self) -> tuple[float, ...]:
        """From which probability each label is given; empty where the likeliest one is."""
        return ()

    @property
    def several_labels(self) -> bool | None:
        """Whether a row has several labels; None for a task that doesn't ask."""
        return None

    def with_guarantees(self, coverage: float | None, abstain: float | None) -> Self:
        """The task with sets that hold what is right with the chance ``coverage``, or with answers
        that are wrong for at most the share ``abstain`` of them. Only called where ``promises``.
        Raises UsageError where the dev rows can't promise that."""
        return self

    def in_offset_unit(self, row: Row, prediction: Prediction, unit: OffsetUnit) -> Prediction:
        """A prediction with its starts and ends counted in this unit. Only called where
        ``has_offsets``."""
        return prediction

    def row_logits(self, encodings: Encodings, logits: Logits) -> Logits:
        """(R, C) logits -> (B, C), one line a row, for a task that has such."""
        return logits

    # How wrong a prediction is -----------------------------------------------------------------

    def judge(self, row: Row, prediction: Prediction) -> Judged:
        """How wrong it is. As it stands nothing is known of that: a report lists no mistakes."""
        return Judged(0.0)

    def mistake(self, row: Row, prediction: Prediction) -> Mistake:
        """A wrong prediction as a report shows it."""
        return Mistake(self.gold_text(row), str(prediction.headline), "", self.passages(row))

    def passages(self, row: Row) -> tuple[Passage, ...]:
        """The texts of a row, with nothing marked in them."""
        named = zip(self.columns.inputs, self.texts(row), strict=False)
        return tuple(Passage(role, text) for role, text in named)

    def contrast(self, row: Row, a: Prediction, b: Prediction) -> tuple[str, str, str]:
        """What the gold label and two models say of a row, in words."""
        of_a, of_b = (in_words([str(one.headline)]) for one in (a, b))
        return self.gold_text(row), of_a, of_b

    def by_label(
        self, scorer: Scorer, rows: ChosenRows | None = None
    ) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and support of each label, for all rows or for those of these
        indices; empty for a task whose scores don't count by label."""
        return {}

    @property
    def scored_labels(self) -> tuple[str, ...]:
        """The labels that ``by_label`` may have; those without a row may be missing there."""
        return self.label_names

    @property
    def label_noun(self) -> str:
        """What its labels are called in a heading: label, or type."""
        return "label"

    def has_labels_of(self, other: Self) -> bool:
        """Whether two models of this task give the same labels, in the same sense."""
        same = frozenset(self.label_names) == frozenset(other.label_names)
        return same and self.several_labels == other.several_labels

    def label_judge(self) -> LabelJudge[Self]:
        """Who finds labels that are probably wrong. Raises UsageError where nobody can."""
        raise UsageError(f"there is no judge yet for labels of {self.name}")

    # Which rows to label next ------------------------------------------------------------------

    def uncertainty(self, chunk: Chunk[Row]) -> Uncertainty:
        """How unsure it is of these rows. As it stands nothing is known of that."""
        return no_uncertainty(len(chunk[0]))

    def suggestion(self, prediction: Prediction) -> Suggestion:
        """A prediction as the label that it suggests. As it stands, its headline."""
        value = prediction.headline
        if isinstance(value, str):
            return Suggestion(value, names=(value,))
        return Suggestion(value, number=value)

    @property
    def labelling(self) -> Labelling | None:
        """How rows are labelled in an annotation tool; None where tools have no form for it."""
        return None

    # Over HTTP ---------------------------------------------------------------------------------

    hub_form: ClassVar[HubForm | None] = None
    """As which pipeline a server answers clients of Hugging Face; None: not at all. Its answers are
    made of the ``probabilities``, the ``entities`` or the ``candidates`` of predictions."""

    @classmethod
    def wire_input(cls) -> type[Any]:
        """What a caller sends for one row: a dataclass with a field for each role of ``columns``,
        whose metadata are constraints as pydantic's ``Field`` has them. As it stands, texts."""
        optional = cls.columns.optional
        roles: list[Any] = [
            (role, str | None, None) if role in optional else (role, str)
            for role in cls.columns.inputs
        ]
        about = {"__doc__": f"An input for {cls.name}."}
        return dataclasses.make_dataclass(
            f"{cls.name.title()}Input", roles, kw_only=True, namespace=about
        )

    @classmethod
    def wire_values(cls, row: Row) -> dict[str, Any]:
        """A row as a caller sends it: the values of ``wire_input``. As it stands, its texts."""
        return dict(zip(cls.columns.inputs, cls.texts(row), strict=False))

    @classmethod
    def prediction_type(cls) -> Any:
        """The type, or the union of types, of its predictions: the second argument of ``Task``."""
        bases = (base for kind in cls.__mro__ for base in getattr(kind, "__orig_bases__", ()))
        return next(get_args(base)[1] for base in bases if get_origin(base) is Task)

    def tensors(self) -> Sequence[OutputTensor]:
        """What of its predictions fits a tensor."""
        return ()

    # In files ----------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """All fields, as ``onelayer.json`` keeps them."""
        return dataclasses.asdict(self)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """The task of these fields, lists being tuples. Raises what a wrong field leads to."""
        return cls(**fields)

    def check_values(self) -> None:
        """Raises CheckpointError for fields of the right type that no training wrote."""

    @classmethod
    def of_saved(cls, layer: SavedLayer) -> Self | None:
        """The task of a model that transformers saved, if its layer is for this task. Raises
        CheckpointError for one that is, but that can't be used."""
        return None

    @property
    def unit(self) -> Unit:
        """In which unit the layer learns."""
        return Unit()

    def without_unit(self) -> Self:
        """The task that decodes a layer in the labels' own unit."""
        return self

    @classmethod
    def range_of(cls, rows: Sequence[Row]) -> tuple[float, float] | None:
        """The smallest and the largest gold number, for a task that predicts numbers."""
        return None


AnyTask = Task[Any, Any]
"""A task of whatever rows and predictions."""


@cache
def roles_of_lists(kind: type[AnyTask]) -> frozenset[str]:
    """Those roles of a task's inputs that hold several texts each."""
    hints = get_type_hints(kind.wire_input())
    return frozenset(role for role, hint in hints.items() if get_origin(hint) is list)


def decoded(task: Task[Row, Prediction], chunks: Iterable[Chunk[Row]]) -> Iterator[Prediction]:
    """The predictions of all chunks, row by row."""
    for chunk in chunks:
        yield from task.decode(*chunk)
