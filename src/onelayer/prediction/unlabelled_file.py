"""A file without labels, read as a model's training file was where it has its columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelayer.base.wording import Say, silent
from onelayer.data.in_memory import Source
from onelayer.data.layout import Layout, each_column
from onelayer.data.readers import open_table
from onelayer.data.table import Record, Table
from onelayer.prediction.inputs import input_layout
from onelayer.prediction.predictor import Predictor
from onelayer.prediction.streams import usable_records
from onelayer.recipe import Columns


@dataclass(frozen=True, slots=True)
class UnlabelledFile:
    """Each iteration reads the file again, so it may be larger than the memory."""

    predictor: Predictor
    table: Table
    layout: Layout
    columns: Columns

    @classmethod
    def open(
        cls, predictor: Predictor, source: Source, columns: Columns, say: Say
    ) -> UnlabelledFile:
        """Says what is read. Raises DataError for a file that can't be read, UsageError for one
        whose columns the model can't read."""
        table = open_table(source, columns, predictor.layout.columns.values())
        asked = {role: name for role, name in columns.asked.items() if role != "label"}
        layout = input_layout(predictor.task, predictor.layout, table, asked)
        read = (f"{k} = {'+'.join(each_column(v))}" for k, v in layout.columns.items())
        for remark in filter(None, (table.note, ", ".join(read))):
            say(f"{Path(table.path).name}: {remark}")
        return cls(predictor, table, layout, columns)

    @property
    def name(self) -> str:
        return Path(self.table.path).name

    def records(self, say: Say = silent) -> Iterator[tuple[Record, Any]]:
        """The records that the model can read, each with the task's row of it; then remarks on the
        others. Raises DataError for a bad row, unless the columns are read with ``skip_bad``."""
        return usable_records(self.predictor.task, self.table, self.layout, self.columns, say)

    def is_blank(self, record: Record) -> bool:
        """Whether one of the texts is empty, which training refuses."""
        values = self.layout.values(record.values)
        texts = (values.get(role) for role in self.predictor.task.columns.inputs)
        return any(isinstance(text, str) and not text.strip() for text in texts)
