"""Tables of other libraries: pandas, polars, datasets, and whatever gives Arrow data.

None of the libraries is imported. An object is recognised by the package of its class, and read
with its own methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from onelayer.base.errors import Place, UsageError
from onelayer.data.formats.class_names import ClassNames, names_in_schema
from onelayer.data.plain_cells import plain_cell

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1024
"""Rows that are turned into Python objects at once."""
Cells = Mapping[str, Sequence[Any]]
"""Columns to add, by name."""


def comes_from(data: object, package: str, *names: str) -> bool:
    """Whether an object is of a class of a package, or of a subclass."""
    return any(
        kind.__name__ in names and kind.__module__.partition(".")[0] == package
        for kind in type(data).__mro__
    )


class Container(ABC):
    """An object of Python that holds rows."""

    __slots__ = ()

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]: ...
    @abstractmethod
    def __len__(self) -> int: ...
    @abstractmethod
    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, cells as `plain_cell` has them."""

    @abstractmethod
    def extended(self, kept: Sequence[int], added: Cells) -> Any:
        """An object of the same kind with the rows ``kept``, counted from 0, and the columns
        ``added``."""

    @property
    def class_names(self) -> ClassNames:
        """By column, what the numbers 0, 1, ... in it stand for, where the object says so."""
        return {}


@dataclass(frozen=True, slots=True)
class PandasFrame(Container):
    """A pandas DataFrame."""

    frame: Any

    @classmethod
    def of(cls, data: object) -> Self | None:
        return cls(data) if comes_from(data, "pandas", "DataFrame") else None

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(map(_label, self.frame.columns))

    def __len__(self) -> int:
        return len(self.frame)

    def rows(self) -> Iterator[dict[str, Any]]:
        columns = self.columns
        series = [self.frame.iloc[:, i] for i in range(len(columns))]
        whole = [_whole_with_gaps(column) for column in series]
        for start in range(0, len(self), BATCH_ROWS):
            lists = [column.iloc[start : start + BATCH_ROWS].tolist() for column in series]
            for values in zip(*lists, strict=True):
                cells = map(plain_cell, values)
                yield {
                    name: int(cell) if is_whole and cell is not None else cell
                    for name, cell, is_whole in zip(columns, cells, whole, strict=True)
                }

    def extended(self, kept: Sequence[int], added: Cells) -> Any:
        frame = self.frame if len(kept) == len(self) else self.frame.iloc[kept]
        return frame.assign(**added)


@dataclass(frozen=True, slots=True)
class PolarsFrame(Container):
    """A polars DataFrame."""

    frame: Any

    @classmethod
    def of(cls, data: object) -> Self | None:
        if comes_from(data, "polars", "LazyFrame"):
            return cls(data.collect())  # type: ignore[attr-defined]
        return cls(data) if comes_from(data, "polars", "DataFrame") else None

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.frame.columns)

    def __len__(self) -> int:
        return len(self.frame)

    def rows(self) -> Iterator[dict[str, Any]]:
        for row in self.frame.iter_rows(named=True, buffer_size=BATCH_ROWS):
            yield {name: plain_cell(cell) for name, cell in row.items()}

    def extended(self, kept: Sequence[int], added: Cells) -> Any:
        frame = self.frame if len(kept) == len(self) else self.frame[list(kept)]
        return frame.with_columns(type(frame)(dict(added)).get_columns())


@dataclass(frozen=True, slots=True)
class ArrowTable(Container):
    """A pyarrow Table or RecordBatch, or a table of any library that exports Arrow data."""

    table: pa.Table

    @classmethod
    def of(cls, data: object) -> Self | None:
        import pyarrow as pa

        if isinstance(data, pa.RecordBatch):
            return cls(pa.Table.from_batches([data]))
        has_columns = hasattr(data, "columns") or hasattr(data, "schema")
        if hasattr(data, "__arrow_c_stream__") and has_columns:
            return cls(pa.table(data))
        if hasattr(data, "__dataframe__"):
            from pyarrow import interchange

            return cls(interchange.from_dataframe(data))
        return None

    @classmethod
    def of_stream(cls, data: object) -> Self | None:
        """The rows of an IterableDataset, which are all read."""
        if not comes_from(data, "datasets", "IterableDataset"):
            return None
        import pyarrow as pa

        batches = data.with_format("arrow").iter(BATCH_ROWS)  # type: ignore[attr-defined]
        table = pa.concat_tables(batches)
        features = data.features  # type: ignore[attr-defined]
        metadata = features.arrow_schema.metadata if features else None
        return cls(table.replace_schema_metadata(metadata))

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.table.column_names)

    @property
    def class_names(self) -> ClassNames:
        return names_in_schema(self.table.schema)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def rows(self) -> Iterator[dict[str, Any]]:
        for batch in self.table.to_batches(BATCH_ROWS):
            yield from _arrow_rows(batch)

    def extended(self, kept: Sequence[int], added: Cells) -> Any:
        table = self.table if len(kept) == len(self) else self.table.take(list(kept))
        for name, cells in added.items():
            place = table.schema.get_field_index(name)
            if place >= 0:
                table = table.remove_column(place)
            table = table.append_column(name, [list(cells)])
        return table


@dataclass(frozen=True, slots=True)
class HubDataset(Container):
    """A Dataset of the package ``datasets``."""

    dataset: Any

    @classmethod
    def of(cls, data: object) -> Self | None:
        return cls(data) if comes_from(data, "datasets", "Dataset") else None

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.dataset.column_names)

    @property
    def class_names(self) -> ClassNames:
        return names_in_schema(self.dataset.features.arrow_schema)

    def __len__(self) -> int:
        return len(self.dataset)

    def rows(self) -> Iterator[dict[str, Any]]:
        # As Arrow data, pictures and sounds of columns that aren't read stay encoded.
        for table in self.dataset.with_format("arrow").iter(BATCH_ROWS):
            yield from _arrow_rows(table)

    def extended(self, kept: Sequence[int], added: Cells) -> Any:
        dataset = self.dataset if len(kept) == len(self) else self.dataset.select(kept)
        dataset = dataset.remove_columns([name for name in added if name in self.columns])
        for name, cells in added.items():
            dataset = dataset.add_column(name, list(cells))
        return dataset


def refuse_equal_names(columns: Sequence[str], name: str) -> None:
    """Raises UsageError if two columns have the same name."""
    twice = [column for column, n in Counter(columns).items() if n > 1]
    if twice:
        raise UsageError(
            f"{len(columns)} columns, and more than one is called {twice[0]!r}",
            place=Place(name),
            hint="give each column its own name",
        )


def _arrow_rows(table: pa.Table | pa.RecordBatch) -> Iterator[dict[str, Any]]:
    for row in table.to_pylist():
        yield {name: plain_cell(cell) for name, cell in row.items()}


def _label(label: object) -> str:
    """A column's label as a text; the levels of a MultiIndex are joined with dots."""
    if isinstance(label, tuple):
        return ".".join(str(level) for level in label if level not in ("", None))
    return str(label)


def _whole_with_gaps(column: Any) -> bool:
    """Whether pandas made whole numbers floats because some are missing: NaN is a float."""
    if getattr(column.dtype, "kind", "") != "f":
        return False
    present = column.dropna()
    return 0 < len(present) < len(column) and bool((present % 1 == 0).all())
