"""Texts without labels that are made of the training rows: a part of the words is exchanged.

A smaller model learns the answers of the run, so that it needs many texts and no labels. Most words
are exchanged for one that means nearly the same, as word vectors tell: Jiao et al., TinyBERT
(2020), section 3.3, who ask a masked language model and GloVe. Here the run's own input embeddings
tell. The other words are drawn by their frequency, so that the run is also asked about texts that
nobody would write.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.tasks import AnyTask
from onelayer.tokens.encodings import Ints, cumulate
from onelayer.tokens.pieces import Pieces
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import stays_in_word, with_other_words

Floats = NDArray[np.floating[Any]]

SHARE = 0.2
"""The share of a row's words that is exchanged; at least one word is."""
NEAR_SHARE = 0.7
"""The share of the exchanged words that get one of their neighbours."""
NEIGHBOURS = 10
"""Words that are near a word."""
MOST_WORDS = 20_000
"""The frequent words of the rows, which have neighbours. 20,000 of them take a few seconds and, at
width 768, 100 MB; both grow with it."""
MOST_COUNTED = 20 * MOST_WORDS
"""Different words that are counted at once; beyond it the rare half is forgotten."""
_BLOCK = 256
"""Words whose neighbours are looked for at once: their similarities to all words take 20 MB."""

Kind = tuple[bool, bool]
"""Whether a word would grow together with letters that touch its begin, and its end. A word is only
exchanged for one of its kind, so that a text keeps its number of words."""


@dataclass(frozen=True, slots=True)
class WordStock:
    """The words of one kind, and which of them are near each other."""

    words: tuple[str, ...]
    """V spellings; of those that the model reads alike, the most frequent one."""
    neighbours: Ints
    """(V, K) the numbers of the words that are nearest to each, in no order."""
    cumulative: Floats
    """(V,) the share of the words up to each one in the rows."""

    def near(self, word: int, rng: np.random.Generator) -> str:
        """One of a word's neighbours, or the word where it has none."""
        near = self.neighbours[word]
        return self.words[near[rng.integers(len(near))] if len(near) else word]

    def frequent(self, rng: np.random.Generator) -> str:
        """A word, drawn by its frequency."""
        return self.words[int(self.cumulative.searchsorted(rng.random(), side="right"))]


@dataclass(frozen=True, slots=True)
class MadeTexts:
    """Makes rows without labels of the rows of a task.

    Each is a function of the seed, the number of the copy and the number of the row, so that the
    same rows come out whatever part of them is asked for.
    """

    task: AnyTask
    of_rows: Iterable[Any]
    """The rows, which may be read again and again."""
    stocks: Mapping[Kind, WordStock]
    numbers: Mapping[str, int]
    """The number of each spelling in the stock of its kind."""
    seed: int

    @classmethod
    def of(
        cls,
        task: AnyTask,
        rows: Iterable[Any],
        tokenizer: Tokenizer,
        embeddings: Floats,
        *,
        seed: int,
    ) -> MadeTexts:
        """Reads the words of all rows and finds their neighbours.

        Parameters
        ----------
        task
            The task of the run.
        rows
            Its training rows. They are read once here, and once for each copy later.
        tokenizer
            The run's tokenizer.
        embeddings
            (vocabulary, width) the run's input embeddings of pieces.
        seed
            Decides what is exchanged.
        """
        counts = _counted(word for row in rows for word in _words(task, row) if _is_exchanged(word))
        by_kind: dict[Kind, dict[str, int]] = defaultdict(dict)
        for word, count in counts.most_common(MOST_WORDS):
            by_kind[_kind(word)][word] = count
        numbers: dict[str, int] = {}
        stocks = {
            kind: stock
            for kind, words in by_kind.items()
            if (stock := _stock(words, tokenizer, embeddings, numbers)) is not None
        }
        return cls(task, rows, stocks, numbers, seed)

    def rows(self, copies: int) -> Iterator[Any]:
        """The copies of all rows, copy by copy. Rows without a word that can be exchanged have
        none."""
        for copy in range(copies):
            for number, row in enumerate(self.of_rows):
                if (made := self.made_of(row, copy, number)) is not None:
                    yield made

    def made_of(self, row: Any, copy: int, number: int) -> Any | None:
        """A copy of the row of this number; None where no word can be exchanged."""
        texts, spans = self.task.texts(row), self.task.word_spans(row)
        words = [text[a:b] for text, each in zip(texts, spans, strict=True) for a, b in each]
        rng = np.random.default_rng((self.seed, copy, number))
        if not self._exchange(words, rng):
            return None
        stream = iter(words)
        made = [
            with_other_words(text, each, list(islice(stream, len(each))))
            for text, each in zip(texts, spans, strict=True)
        ]
        return self.task.with_texts(row, [text for text, _ in made], [own for _, own in made])

    def _exchange(self, words: list[str], rng: np.random.Generator) -> bool:
        """Exchanges words of the list; whether there are any to exchange."""
        places = [i for i, word in enumerate(words) if _is_exchanged(word)]
        if not places:
            return False
        drawn = rng.random(len(places))
        # A short text would often stay as it is, which teaches nothing new.
        chosen = np.flatnonzero(drawn < SHARE).tolist() or [int(drawn.argmin())]
        for i in chosen:
            words[places[i]] = self._other(words[places[i]], rng)
        return True

    def _other(self, word: str, rng: np.random.Generator) -> str:
        stock = self.stocks.get(_kind(word))
        if stock is None:  # the rows have changed, or it is beyond the words that are kept
            return word
        is_near, number = rng.random() < NEAR_SHARE, self.numbers.get(word)
        return stock.frequent(rng) if number is None or not is_near else stock.near(number, rng)


def _words(task: AnyTask, row: Any) -> Iterator[str]:
    for text, spans in zip(task.texts(row), task.word_spans(row), strict=True):
        for start, end in spans:
            yield text[start:end]


def _is_exchanged(word: str) -> bool:
    """Whether a word has a letter, a digit or an ideograph. Punctuation and symbols stay."""
    return any(map(str.isalnum, word))


def _kind(word: str) -> Kind:
    return stays_in_word(word[0]), stays_in_word(word[-1])


def _counted(words: Iterable[str]) -> Counter[str]:
    """How often each word is there; of more words than the memory should hold, the frequent
    ones."""
    counts: Counter[str] = Counter()
    for word in words:
        counts[word] += 1
        if len(counts) > MOST_COUNTED:
            counts = Counter(dict(counts.most_common(MOST_COUNTED // 2)))
    return counts


def _stock(
    counts: Mapping[str, int],
    tokenizer: Tokenizer,
    embeddings: Floats,
    numbers: dict[str, int],
) -> WordStock | None:
    """The words of one kind; ``numbers`` gets the number of each spelling. None if the model reads
    none of them."""
    spellings = list(counts)
    pieces = tokenizer.pieces(spellings)
    number_of: dict[bytes, int] = {}
    firsts: list[int] = []  # of each word, its most frequent spelling
    frequency: list[int] = []
    for i, (start, length) in enumerate(zip(pieces.starts, pieces.lengths, strict=True)):
        if not length:  # normalization leaves nothing of it
            continue
        read = pieces.ids[start : start + length].tobytes()
        number = number_of.setdefault(read, len(firsts))
        if number == len(firsts):
            firsts.append(i)
            frequency.append(0)
        frequency[number] += counts[spellings[i]]
        numbers[spellings[i]] = number
    if not firsts:
        return None
    neighbours = _nearest(_means(embeddings, pieces[np.asarray(firsts, np.int64)]))
    cumulative = np.cumsum(frequency) / np.sum(frequency)
    return WordStock(tuple(spellings[i] for i in firsts), neighbours, cumulative)


def _means(embeddings: Floats, words: Pieces) -> Floats:
    """(V, width) the mean embedding of the pieces of each word, which has one or more."""
    means = np.empty((len(words.lengths), embeddings.shape[1]), np.float32)
    for start in range(0, len(means), _BLOCK):
        some = words[np.arange(start, min(start + _BLOCK, len(means)))]
        total = np.add.reduceat(embeddings[some.ids[some.places]], cumulate(some.lengths)[:-1])
        means[start : start + _BLOCK] = total / some.lengths[:, None]
    return means


def _nearest(vectors: Floats) -> Ints:
    """(V, width) -> (V, K) for each vector the others with the largest cosine. The vectors are
    centred in place, as the input embeddings of a BERT have a large part in common."""
    vectors -= vectors.mean(axis=0)
    vectors /= np.sqrt(np.einsum("vw,vw->v", vectors, vectors) + 1e-12)[:, None]
    n = len(vectors)
    k = min(NEIGHBOURS, n - 1)
    found = np.empty((n, k), np.int32)
    for start in range(0, n, _BLOCK):
        cosines = vectors[start : start + _BLOCK] @ vectors.T
        own = np.arange(len(cosines))
        cosines[own, start + own] = -np.inf  # a word isn't its own neighbour
        found[start : start + _BLOCK] = np.argpartition(cosines, n - k - 1, axis=1)[:, n - k :]
    return found
