"""A simple method to compare with: counted words and pairs of words under a linear layer.

It is what scikit-learn's ``TfidfVectorizer`` and ``LogisticRegression`` (``Ridge`` for numbers)
make of the training rows. A smaller model that is no better than this isn't worth its bytes.

Letters of shapes: B rows, N counted terms of all rows, V terms, F features, C outputs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from onelayer.data.rows import Rows, chunks_of
from onelayer.engines.torch_engine import computing_on
from onelayer.nn.heads import HEADS
from onelayer.nn.packed import Packed, pack
from onelayer.prediction.predictor import CHUNK, Predictor
from onelayer.tasks import AnyTask
from onelayer.tasks.protocol import Chunk
from onelayer.tokens.encodings import Encodings, Ints, cumulate
from onelayer.tokens.words import split_words

CLASS_STRENGTH, NUMBER_STRENGTH = 10.0, 0.5
"""The weight of the rows' loss against the layer's size: ``C`` of scikit-learn's logistic
regression, and 1 / (2 ``alpha``) of its ridge regression with the default of 1. If it grows, rare
words are learned by heart. The default ``C`` of 1 is too weak for vectors of length 1 whose words
are mostly rare."""
MAX_ROWS = 100_000
"""Training rows that are counted, spread over the file."""
MAX_TERMS, MAX_WEIGHTS = 2**18, 2**22
"""Terms that are kept, the most frequent ones, and numbers of the layer. The solver's memory is
about 25 times that of the layer."""
MAX_COUNTED = 2**21
"""Terms that are counted at once; when there are more, those of a single row are forgotten."""
MAX_ITERATIONS, TOLERANCE = 200, 1e-4
"""The solver ends earlier, where the gradient of the rows' mean loss is as small as scikit-learn
wants it. 53,000 rows of 15 classes need them all: with 100 they score 0.7 points less."""

Floats = NDArray[np.floating]


def reads_whole_texts(task: AnyTask) -> bool:
    """Whether a task reads one vector of a text or of a pair, so that counted words can stand for
    it."""
    return task.reads_windows and not task.reads_all_tokens


def fit_word_counts(run: Predictor, train: Rows, dev: Rows | None) -> WordCounts:
    """Learns the training rows of a run, for a task that `reads_whole_texts`.

    Parameters
    ----------
    run
        Its task says what the outputs are.
    train
        The rows to learn.
    dev
        Rows on which thresholds and the like are tuned, as for a model; None leaves the run's.
    """
    task = run.task
    every = max(1, math.ceil(len(train) / MAX_ROWS))
    n_texts = len(task.texts(next(iter(train))))
    most = min(MAX_TERMS, MAX_WEIGHTS // (n_texts * len(task.outputs)))
    vocabulary = Vocabulary.of(
        (text for row in islice(train, 0, None, every) for text in task.texts(row)), most
    )
    found = WordCounts(task=task, vocabulary=vocabulary, weights=np.empty((0, 0)))
    parts, golds = [], []
    for chunk in chunks_of(CHUNK, islice(train, 0, None, every)):
        parts.append(found.bags(chunk))
        encodings = task.encode(chunk, run.tokenizer, labelled=True)
        assert encodings.targets is not None, "asked for"
        golds.append(encodings.targets[encodings.row_reads[:-1]])  # each window has the row's
    n_features = n_texts * len(vocabulary) + (n_texts > 1)
    weights = _fitted(Bags.joined(parts), np.concatenate(golds), task, n_features)
    found = replace(found, weights=weights)
    return found if dev is None else replace(found, task=task.tune(dev, found.chunks(dev))[0])


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The terms, words and pairs of words, of some texts."""

    numbers: Mapping[str, int]
    idf: Floats
    """(V,) ln((1 + texts) / (1 + texts with the term)) + 1, as scikit-learn smooths it."""

    @classmethod
    def of(cls, texts: Iterable[str], most: int) -> Vocabulary:
        """The terms of these texts; of more than ``most``, those that most texts have."""
        counted: Counter[str] = Counter()
        n = 0
        for text in texts:
            n += 1
            counted.update(set(terms_of(text)))
            if len(counted) > MAX_COUNTED:
                counted = Counter({term: times for term, times in counted.items() if times > 1})
        # Of equally frequent terms the alphabet decides, so that a call gives the same again.
        kept = sorted(counted, key=lambda term: (-counted[term], term))[:most]
        times = np.array([counted[term] for term in kept], dtype=np.float64)
        idf = np.log((1 + n) / (1 + times)) + 1
        return cls({term: i for i, term in enumerate(kept)}, idf)

    def __len__(self) -> int:
        return len(self.numbers)

    def vector(self, text: str) -> dict[int, float]:
        """The weights of a text's terms by number, as a vector of length 1: (1 + ln(count)) idf."""
        counted = Counter(terms_of(text))
        known = ((self.numbers.get(term), times) for term, times in counted.items())
        found = {
            number: (1 + math.log(times)) * float(self.idf[number])
            for number, times in known
            if number is not None
        }
        length = math.sqrt(sum(weight * weight for weight in found.values()))
        return {number: weight / length for number, weight in found.items()}


def terms_of(text: str) -> list[str]:
    """The words of a text in lower case and its pairs of neighbours. A Chinese character is a word
    by itself, so these are characters and pairs of characters there."""
    lower = text.lower()
    words = [lower[start:end] for start, end in split_words(lower)]
    return words + [f"{one} {other}" for one, other in pairwise(words)]


@dataclass(frozen=True, slots=True)
class Bags:
    """A sparse matrix of B rows, each with its features and their values."""

    features: Ints
    """(N,) the features of all rows, row after row."""
    values: Floats
    """(N,) their values."""
    cu_rows: Ints
    """(B + 1,) features before each row."""

    @classmethod
    def joined(cls, parts: Sequence[Bags]) -> Bags:
        """The rows of several, one after the other."""
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.values for part in parts]),
            cumulate(np.concatenate([np.diff(part.cu_rows) for part in parts])),
        )

    def transposed(self, n_features: int) -> Bags:
        """The rows of each feature, and the values there."""
        order = np.argsort(self.features, kind="stable")
        rows = np.repeat(np.arange(len(self.cu_rows) - 1), np.diff(self.cu_rows))
        counts = np.bincount(self.features, minlength=n_features)
        return Bags(rows[order], self.values[order], cumulate(counts))


@dataclass(frozen=True, slots=True, kw_only=True)
class WordCounts:
    """A linear layer over the terms of a text, or of both texts of a pair and how alike they are.

    Its predictions are those of the task, whose ``decode`` gets one line of logits for each row.
    """

    task: AnyTask
    vocabulary: Vocabulary
    weights: Floats
    """(F + 1, C) the layer, and in the last line its biases."""

    @property
    def bytes(self) -> int:
        """What predicting needs: the terms as lines of a file, and numbers in fp32."""
        terms = sum(len(term.encode(errors="replace")) + 1 for term in self.vocabulary.numbers)
        return terms + 4 * (self.vocabulary.idf.size + self.weights.size)

    def predict_rows(self, rows: Sequence[Any]) -> list[Any]:
        """Predictions for rows of the task."""
        return self.task.decode(rows, _one_read_each(len(rows)), self.logits(rows))

    def predict_each(self, rows: Iterable[Any]) -> Iterator[Any]:
        """A prediction for each row of the task, one chunk at a time."""
        for chunk in chunks_of(CHUNK, rows):
            yield from self.predict_rows(chunk)

    def chunks(self, rows: Iterable[Any]) -> Iterator[Chunk[Any]]:
        """Rows with their logits, one chunk at a time."""
        for chunk in chunks_of(CHUNK, rows):
            yield chunk, _one_read_each(len(chunk)), self.logits(chunk)

    def logits(self, rows: Sequence[Any]) -> Floats:
        """(B, C) logits."""
        bags = self.bags(rows)
        products_NC = self.weights[bags.features] * bags.values[:, None]
        # A row without a known word is empty, which reduceat can't sum: each gets a 0 in front.
        starts = bags.cu_rows[:-1]
        padded_NC = np.insert(products_NC, starts, 0.0, axis=0)
        sums_BC = np.add.reduceat(padded_NC, starts + np.arange(len(rows)), axis=0)
        return np.asarray(sums_BC + self.weights[-1])

    def bags(self, rows: Iterable[Any]) -> Bags:
        """The features of rows. Both texts of a pair have features of their own, and the last one
        is the cosine between their vectors: words of one text alone can't tell whether the other
        has them, too."""
        features: list[int] = []
        values: list[float] = []
        sizes: list[int] = []
        n = len(self.vocabulary)
        for row in rows:
            before = len(features)
            vectors = [self.vocabulary.vector(text) for text in self.task.texts(row)]
            for side, vector in enumerate(vectors):
                features += [number + side * n for number in vector]
                values += vector.values()
            if len(vectors) > 1:
                first, second = vectors[:2]
                features.append(len(vectors) * n)
                values.append(sum(x * second.get(number, 0.0) for number, x in first.items()))
            sizes.append(len(features) - before)
        return Bags(np.array(features, np.int64), np.array(values, np.float64), cumulate(sizes))


def _one_read_each(n: int) -> Encodings:
    """What ``decode`` asks of encodings, for rows that have one line of logits each."""
    each = np.arange(n + 1)
    zeros = np.zeros(n, np.int32)
    return Encodings(
        ids=zeros,
        segment_ids=zeros.astype(np.uint8),
        cu_seqlens=each,
        reads=zeros,
        cu_reads=each,
        cu_examples=each,
        cu_rows=each,
        second_at=zeros + 1,
    )


@computing_on(1)  # another number of threads would add in another order
def _fitted(bags: Bags, gold: NDArray[Any], task: AnyTask, n_features: int) -> Floats:
    """(F + 1, C) weights and biases of the smallest loss of the task's head with an L2 penalty on
    the weights, by L-BFGS. The loss is convex, so there is one minimum."""
    head, n_outputs = HEADS[task.head], len(task.outputs)
    strength = NUMBER_STRENGTH if task.predicts_number else CLASS_STRENGTH
    weight_FC = torch.zeros((n_features, n_outputs), dtype=torch.float64)
    bias_C = torch.zeros(n_outputs, dtype=torch.float64)
    batch, by_row, by_feature = _batch(gold), _Sums.of(bags), _Sums.of(bags.transposed(n_features))
    solver = torch.optim.LBFGS(
        [weight_FC, bias_C],
        max_iter=MAX_ITERATIONS,
        max_eval=2 * MAX_ITERATIONS,
        tolerance_grad=TOLERANCE * strength * len(gold),
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        logits_BC = (bias_C + by_row(weight_FC)).requires_grad_(True)
        loss = strength * head.loss(logits_BC, batch, None)
        (slopes_BC,) = torch.autograd.grad(loss, logits_BC)
        weight_FC.grad, bias_C.grad = weight_FC + by_feature(slopes_BC), slopes_BC.sum(dim=0)
        return loss.detach() + weight_FC.square().sum() / 2

    solver.step(objective)
    return torch.cat([weight_FC, bias_C[None]]).float().numpy()


@dataclass(frozen=True, slots=True)
class _Sums:
    """A sparse matrix as a product with dense ones: (columns, C) -> (rows, C)."""

    columns: Tensor
    starts: Tensor
    values: Tensor

    @classmethod
    def of(cls, bags: Bags) -> _Sums:
        return cls(*map(torch.from_numpy, (bags.features, bags.cu_rows[:-1], bags.values)))

    def __call__(self, dense: Tensor) -> Tensor:
        return F.embedding_bag(
            self.columns, dense, self.starts, mode="sum", per_sample_weights=self.values
        )


def _batch(gold: NDArray[Any]) -> Packed:
    """The targets of B rows as a batch for a head's loss."""
    targets = torch.from_numpy(gold)
    if targets.is_floating_point():
        targets = targets.double()
    return replace(pack(_one_read_each(len(gold)), np.arange(len(gold))), targets=targets)
