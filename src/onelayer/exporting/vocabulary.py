"""Trims a run's vocabulary to the pieces of its rows, and measures what that costs on new texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.base.errors import OneLayerError, UsageError
from onelayer.base.wording import Say
from onelayer.checkpoint.export_record import VocabularyRecord
from onelayer.data.rows import Rows, chunks_of
from onelayer.engines.engine import Engine
from onelayer.exporting.dev_rows import RowsOfRun
from onelayer.exporting.parity import Kept, parity
from onelayer.prediction.predictor import CHUNK, Predictor
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings, Ints
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.trimming import TrimmedVocabulary, trimmed

WORDS = "encoder.embeddings.word.weight"


@dataclass(frozen=True, slots=True)
class TrimmedModel:
    """What an export needs of a smaller vocabulary."""

    vocabulary: TrimmedVocabulary
    record: VocabularyRecord

    @property
    def tokenizer(self) -> Tokenizer:
        return self.vocabulary.tokenizer

    def state(self, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The weights with only the vectors of the kept pieces."""
        return {**state, WORDS: state[WORDS][self.vocabulary.kept]}

    def config(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The content of ``config.json`` for the smaller vocabulary."""
        new_ids = {old: new for new, old in enumerate(self.vocabulary.kept.tolist())}
        ids = {name: new_ids[old] for name, old in _ids_in(data).items()}
        return {**data, **ids, "vocab_size": len(new_ids)}


def trim_vocabulary(
    run: Predictor,
    torch: Kept,
    rows: RowsOfRun,
    config: Mapping[str, Any],
    say: Say,
    *,
    bytes_per_piece: int,
    keep_dev_pieces: bool = True,
) -> TrimmedModel:
    """Keeps the pieces of a run's rows.

    Parameters
    ----------
    run, torch
        The run, and its engine.
    rows
        Its training and dev rows.
    config
        The content of its ``config.json``.
    say
        Is called with what was measured.
    bytes_per_piece
        The size of a word vector in the bundle.
    keep_dev_pieces
        Whether those of dev rows are kept, too.

    Raises
    ------
    UsageError
        If the training rows aren't there.
    OneLayerError
        For a vocabulary that can't be trimmed.
    """
    if rows.train is None:
        raise UsageError(
            "--trim-vocabulary keeps the pieces of the training rows, and they aren't there",
            hint="give them with --train FILE",
        )
    named = set(_ids_in(config).values())
    used = named | _used(run, rows.train)
    new_rows, unseen = 0, None
    if not rows.learned:
        # How texts fare that nobody has seen: dev rows, by the pieces of the training rows alone.
        of_training = trimmed(run.tokenizer, used)
        new_rows = _rows_cut_otherwise(run, of_training, rows.dev)
        mapped = Kept(_OldIds(run.engine, of_training), of_training.tokenizer)
        unseen = parity(run.task, torch, mapped, rows.dev)
        if keep_dev_pieces:
            used |= _used(run, rows.dev)
    vocabulary = trimmed(run.tokenizer, used)
    for known in (rows.train, rows.dev) if keep_dev_pieces else (rows.train,):
        if n := _rows_cut_otherwise(run, vocabulary, known):
            raise OneLayerError(
                f"the trimmed vocabulary cuts {n:,} rows otherwise than the whole one does",
                hint="export without --trim-vocabulary",
            )
    record = VocabularyRecord(
        pieces=len(vocabulary.kept),
        of_pieces=run.tokenizer.vocab_size,
        bytes_saved=(config["vocab_size"] - len(vocabulary.kept)) * bytes_per_piece,
        dev_rows_with_new_pieces=new_rows,
        unseen=unseen,
    )
    for line in record.in_words():
        say(line)
    return TrimmedModel(vocabulary, record)


@dataclass(frozen=True, slots=True)
class _OldIds:
    """An engine of the whole model, for encodings of a smaller vocabulary."""

    engine: Engine
    vocabulary: TrimmedVocabulary

    @property
    def name(self) -> str:
        return self.engine.name

    def logits(self, encodings: Encodings) -> Logits:
        return self.engine.logits(self.vocabulary.in_whole(encodings))


def _ids_in(config: Mapping[str, Any]) -> dict[str, int]:
    """The ids of tokens in ``config.json``, by their keys."""
    return {
        name: value
        for name, value in config.items()
        if name.endswith("_token_id") and type(value) is int
    }


def _encoded(run: Predictor, tokenizer: Tokenizer, rows: Rows) -> Iterator[Encodings]:
    for chunk in chunks_of(CHUNK, rows):
        yield run.task.encode(chunk, tokenizer, labelled=False)


def _used(run: Predictor, rows: Rows) -> set[int]:
    """The ids in the sequences of some rows."""
    used: set[int] = set()
    for encodings in _encoded(run, run.tokenizer, rows):
        used.update(np.unique(encodings.ids).tolist())
    return used


def _rows_cut_otherwise(run: Predictor, vocabulary: TrimmedVocabulary, rows: Rows) -> int:
    """How many rows a smaller vocabulary cuts into other pieces."""
    whole = _encoded(run, run.tokenizer, rows)
    smaller = _encoded(run, vocabulary.tokenizer, rows)
    n = 0
    for a, b in zip(whole, smaller, strict=True):
        pairs = zip(_by_row(a, a.ids), _by_row(b, vocabulary.old_ids(b.ids)), strict=True)
        n += sum(not np.array_equal(one, other) for one, other in pairs)
    return n


def _by_row(encodings: Encodings, ids: Ints) -> list[Ints]:
    return np.split(ids, encodings.cu_seqlens[encodings.cu_rows[1:-1]])
