"""Objects in memory as tables: DataFrames, Datasets, lists of dicts, dicts of columns.

Such a table is read as a file is, by the same column rules. Its records are numbered from 1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelayer.base import digest
from onelayer.base.errors import Place, UsageError
from onelayer.data.dataframes import (
    ArrowTable,
    Cells,
    Container,
    HubDataset,
    PandasFrame,
    PolarsFrame,
    comes_from,
    refuse_equal_names,
)
from onelayer.data.formats.spacy_data import cells_of_pair, is_text_with_object
from onelayer.data.plain_cells import cells_by_name, plain_cell
from onelayer.data.table import Record, Table, refuse_wide

Source = str | Path | Table
"""A file, or a table in memory that `source_of` made."""
TableLike = Any
"""A DataFrame (pandas, polars), a Dataset or DatasetDict, a pyarrow Table or another object that
exports Arrow data, a list of dicts, or a dict of columns."""

HINT = "give a DataFrame, a Dataset, a list of dicts or a dict of columns"


@dataclass(frozen=True, slots=True)
class RowList(Container):
    """A list of rows with names: dicts, named tuples, rows of a database; or spaCy's pairs of a
    text and an object about it."""

    items: Sequence[Any]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for row in self.rows() for name in row))

    def __len__(self) -> int:
        return len(self.items)

    def rows(self) -> Iterator[dict[str, Any]]:
        for number, item in enumerate(self.items, start=1):
            cells = _cells_in(item)
            if cells is None:
                place = Place(type(self.items).__name__, number, in_memory=True)
                raise UsageError(f"a {type(item).__name__}, not a dict", place=place, hint=HINT)
            yield cells

    def extended(self, kept: Sequence[int], added: Cells) -> list[dict[str, Any]]:
        new = [dict(zip(added, cells, strict=True)) for cells in zip(*added.values(), strict=True)]
        rows = [_cells_in(self.items[i]) or {} for i in kept]
        return [{**row, **cells} for row, cells in zip(rows, new, strict=True)]


@dataclass(frozen=True, slots=True)
class ColumnDict(Container):
    """A dict of columns of one length: lists, arrays or Series."""

    by_name: Mapping[str, Sequence[Any]]

    @classmethod
    def of(cls, data: Mapping[Any, Any]) -> ColumnDict:
        """Raises UsageError for values that aren't columns of one length."""
        columns = {str(name): _cells_of(name, values) for name, values in data.items()}
        lengths = {len(cells) for cells in columns.values()}
        if len(lengths) > 1:
            which = ", ".join(f"{name} {len(cells):,}" for name, cells in columns.items())
            raise UsageError(f"the dict's columns have different lengths: {which}")
        return cls(columns)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.by_name)

    def __len__(self) -> int:
        return len(next(iter(self.by_name.values()), ()))

    def rows(self) -> Iterator[dict[str, Any]]:
        for cells in zip(*self.by_name.values(), strict=True):
            yield dict(zip(self.by_name, map(plain_cell, cells), strict=True))

    def extended(self, kept: Sequence[int], added: Cells) -> dict[str, list[Any]]:
        own = {name: [cells[i] for i in kept] for name, cells in self.by_name.items()}
        return {**own, **{name: list(cells) for name, cells in added.items()}}


def source_of(data: str | Path | TableLike, *, splits: Sequence[str] = ()) -> Source:
    """A path as it is, anything else as a table. A generator is read into a list.

    Parameters
    ----------
    data
        A path, or an object that holds rows.
    splits
        The splits to take of a DatasetDict, the first one that it has. With one split it is clear.

    Raises
    ------
    UsageError
        For an object without rows by column, and a DatasetDict with several splits.
    """
    if isinstance(data, (str, Path, Table)):
        return data
    data = one_split(data, splits)
    if (table := tabular(data)) is not None:
        return table
    if (streamed := ArrowTable.of_stream(data)) is not None:
        return _table(streamed, type(data).__name__)
    no_list = isinstance(data, (bytes, bytearray)) or getattr(data, "ndim", 1) != 1
    if no_list or hasattr(data, "columns") or not isinstance(data, Iterable):
        kind = "None" if data is None else f"a {type(data).__name__}"
        raise UsageError(f"{kind} has no rows by column", hint=HINT)
    if comes_from(data, "pandas", "Series") or comes_from(data, "polars", "Series"):
        raise UsageError("a Series is one column: labelled rows need two", hint=HINT)
    items = data if isinstance(data, (list, tuple)) else list(data)
    return _table(RowList(items), type(data).__name__)


def tabular(data: object) -> Table | None:
    """A table of an object that has columns; None for lists, single values and plain iterables.
    Raises UsageError for two columns of one name, and a dict that holds something else."""
    if isinstance(data, Table):
        return data
    name = type(data).__name__
    if isinstance(data, Mapping):
        return _table(ColumnDict.of(data), name)
    if getattr(getattr(data, "dtype", None), "names", None):  # a structured array of NumPy
        return _table(ColumnDict.of({n: data[n] for n in data.dtype.names}), name)  # type: ignore[attr-defined,index]
    kinds: tuple[Callable[[object], Container | None], ...] = (
        *(PandasFrame.of, PolarsFrame.of, HubDataset.of, ArrowTable.of),
    )
    if comes_from(data, "pandas", "Series") or isinstance(data, (list, tuple)):
        return None
    for kind in kinds:
        if (container := kind(data)) is not None:
            return _table(container, name)
    return None


def container_of_list(data: object) -> Container | None:
    """The container of a Series, or of a list whose rows have names; None for anything else."""
    if comes_from(data, "pandas", "Series"):
        name = data.name if data.name is not None else "text"  # type: ignore[attr-defined]
        return PandasFrame(data.to_frame(name))  # type: ignore[attr-defined]
    if comes_from(data, "polars", "Series"):
        return PolarsFrame(data.to_frame(data.name or "text"))  # type: ignore[attr-defined]
    if isinstance(data, (list, tuple)) and data and cells_by_name(data[0]) is not None:
        return RowList(data)
    return None


def one_split(data: object, wanted: Sequence[str] = ()) -> Any:
    """The split of a DatasetDict; anything else as it is. Raises UsageError where it has several
    splits and none of the wanted ones."""
    if not comes_from(data, "datasets", "DatasetDict", "IterableDatasetDict"):
        return data
    splits: Mapping[str, Any] = data  # type: ignore[assignment]
    names = [name for name in wanted if name in splits] or list(splits)
    if len(names) > 1 and names[0] not in wanted:
        raise UsageError(
            f"a DatasetDict with the splits {', '.join(splits)}: which one?",
            hint=f"give one of them, such as data[{names[-1]!r}]",
        )
    if not names:
        raise UsageError("a DatasetDict without splits", hint=HINT)
    return splits[names[0]]


def split_called(name: str, data: object) -> Any:
    """The split of that name; None if it is missing, or the object is no DatasetDict."""
    is_dict = comes_from(data, "datasets", "DatasetDict", "IterableDatasetDict")
    return data.get(name) if is_dict and isinstance(data, Mapping) else None


def source_path(source: Source) -> str:
    """A file's path, or what a table in memory is called."""
    return source.path if isinstance(source, Table) else str(source)


def source_name(source: Source) -> str:
    """A file's name without its folder, or what a table in memory is called."""
    return Path(source_path(source)).name


def source_digest(source: Source) -> str:
    """SHA-256 of a file's bytes, or of the columns and cells of a table in memory."""
    if not isinstance(source, Table):
        return digest.of_data(source)
    sha256 = hashlib.sha256(json.dumps(source.columns).encode())
    for record in source:
        sha256.update(json.dumps(list(record.values.items()), default=repr).encode())
    return sha256.hexdigest()


def _table(container: Container, name: str) -> Table:
    columns, place = container.columns, Place(name)
    refuse_equal_names(columns, name)
    refuse_wide(len(columns), place)

    def records() -> Iterator[Record]:
        for number, cells in enumerate(container.rows(), start=1):
            yield Record(cells, number)

    return Table(
        name,
        "memory",
        columns,
        records,
        class_names=container.class_names,
        container=container,
    )


def _cells_in(item: Any) -> dict[str, Any] | None:
    cells = cells_by_name(item)
    if cells is None and isinstance(item, (tuple, list)):
        pair = plain_cell(item)
        return cells_of_pair(pair) if is_text_with_object(pair) else None
    return cells


def _cells_of(name: object, values: Any) -> Sequence[Any]:
    """A column's cells. Raises UsageError for a value that is no column."""
    for method in ("tolist", "to_list", "to_pylist"):  # NumPy and pandas, polars, Arrow
        if hasattr(values, method) and getattr(values, "ndim", 1) == 1:
            values = getattr(values, method)()
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        return values
    raise UsageError(
        f"a dict is read as columns, and {name!r} holds a {type(values).__name__}",
        hint="give a list for each column, or for one row a list of dicts: [{…}]",
    )
