"""Texts without labels from a file, for smaller models that learn a run's answers to them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.base.errors import DataError, Place
from onelayer.base.wording import Say, listed
from onelayer.data.equal_texts import texts_key
from onelayer.data.in_memory import Source
from onelayer.prediction.predictor import Predictor
from onelayer.prediction.unlabelled_file import UnlabelledFile
from onelayer.recipe import Columns


@dataclass(frozen=True, slots=True)
class UnlabelledRows:
    """The rows of a file whose texts are new. Each iteration reads the file again: 9 bytes a row
    are in memory."""

    file: UnlabelledFile
    is_new: NDArray[np.bool_]
    """(n,) for each row that the model can read, whether it is used."""

    @classmethod
    def read(
        cls, predictor: Predictor, source: Source, columns: Columns, known: Set[int], say: Say
    ) -> UnlabelledRows:
        """Finds the rows to learn from: those with a text that is neither among other rows nor
        earlier in the file. A label that a row has isn't read.

        Parameters
        ----------
        predictor
            The run. The file is read as its training file was, where it has the same columns.
        source
            The file, or a table in memory.
        columns
            Names of its columns. Rows that can't be read are always left out.
        known
            The `texts_key` of rows to leave out: those on which the run is measured, whose texts a
            smaller model mustn't learn, and its training rows.
        say
            Is called with what is read, and with the number of rows left out.

        Raises
        ------
        DataError
            For a file that can't be read, and where no row is left.
        UsageError
            For columns that the model can't read.
        """
        file = UnlabelledFile.open(predictor, source, replace(columns, skip_bad=True), say)
        kind = type(predictor.task)
        keys, blank = array("q"), array("b")
        for record, row in file.records(say):
            texts = kind.texts(row)
            keys.append(texts_key(texts))
            blank.append(file.is_blank(record) or not "".join(texts).strip())
        key, is_blank = np.array(keys, np.int64), np.array(blank, np.bool_)
        is_known = ~is_blank & np.isin(key, np.fromiter(known, np.int64, len(known)))
        is_first = np.zeros(len(key), np.bool_)
        is_first[np.unique(key, return_index=True)[1]] = True
        is_new = is_first & ~is_blank & ~is_known
        left_out = {
            "repeat another row": len(key) - int((is_new | is_blank | is_known).sum()),
            "are rows that the run has already": int(is_known.sum()),
            "have no text": int(is_blank.sum()),
        }
        counts = listed([f"{n:,} {why}" for why, n in left_out.items() if n])
        counts = f" ({counts})" if counts else ""
        say(f"{file.name}: {len(key):,} rows, {int(is_new.sum()):,} to learn from{counts}")
        if not is_new.any():
            raise DataError(
                f"no row to learn from{counts}",
                place=Place(file.table.path),
                hint="give other texts with --unlabelled FILE, or leave it out",
            )
        return cls(file, is_new)

    def __len__(self) -> int:
        return int(self.is_new.sum())

    def __iter__(self) -> Iterator[Any]:
        """Rows of the task. Raises DataError for a file that has changed."""
        records = self.file.records()
        for is_new in self.is_new.tolist():
            found = next(records, None)
            if found is None:
                place, hint = Place(self.file.table.path), "start again when it is complete"
                raise DataError("the file changed while it was read", place=place, hint=hint)
            if is_new:
                yield found[1]
