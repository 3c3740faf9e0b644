"""The files in which rows are labelled: a table with an empty column for the label, or tasks of
Label Studio.

Source: https://labelstud.io/guide/predictions. It counts offsets in code points, as we do
(``charsToCodePoints`` in its editor).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from onelayer.base.errors import Place, UsageError
from onelayer.base.wording import listed
from onelayer.data.columns import SUGGESTION
from onelayer.data.layout import each_column
from onelayer.tasks.suggestions import Labelling, SuggestedSpan, Suggestion

if TYPE_CHECKING:
    from onelayer.labelling.next_rows import NextRow
    from onelayer.labelling.pool import Pool

FormName = Literal["csv", "label-studio"]
NAME = "label"
"""What the control of the labelling interface is called; `onelayer train` reads it as the label."""
TEXT = "text"
"""The role of the text that is labelled, and what the interface calls it."""


class LabellingFile(Protocol):
    """A form of file for rows that are to be labelled."""

    def check(self, pool: Pool) -> None:
        """Raises UsageError for rows that it can't hold."""
        ...

    def text(self, pool: Pool, rows: Sequence[NextRow]) -> str:
        """The content of the file."""
        ...


class LabellingTable:
    """A csv file with all columns of the rows, empty ones for the label, and the suggestion."""

    def check(self, pool: Pool) -> None:
        if SUGGESTION in pool.table.columns:
            pool.say(f"the model's suggestions replace the column {SUGGESTION}")

    def text(self, pool: Pool, rows: Sequence[NextRow]) -> str:
        own = [name for name in pool.table.columns if name != SUGGESTION]
        labels = pool.label_columns
        stream = io.StringIO(newline="")
        table = csv.writer(stream, lineterminator="\n")
        table.writerow([*own, *(name for name in labels if name not in own), SUGGESTION])
        missing = [""] * sum(name not in own for name in labels)
        separator = pool.predictor.layout.labels.separator
        for row in rows:
            cells = [_cell(row.values.get(name)) for name in own]
            table.writerow([*cells, *missing, _cell(suggested(row.suggestion, separator))])
        return stream.getvalue()


def suggested(suggestion: Suggestion, separator: str | None) -> Any:
    """A suggestion as a cell of a table; several names are joined as the training file has them."""
    if separator and len(suggestion.names) > 1:
        return separator.join(suggestion.names)
    return suggestion.cell


def _cell(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


class LabelStudioTasks:
    """Tasks of Label Studio, with the suggestions as predictions."""

    def check(self, pool: Pool) -> None:
        labelling = pool.predictor.task.labelling
        if labelling is None:
            raise UsageError(
                f"there are no tasks of Label Studio for {pool.predictor.task.name}",
                hint="write csv: --format csv",
            )
        if not isinstance(pool.layout.columns.get(TEXT), str):
            raise UsageError(
                "the text is several columns, and a task of Label Studio labels one",
                place=Place(pool.table.path),
                hint="write csv: --format csv",
            )
        pool.say(f"labelling interface for Label Studio: {interface(pool, labelling)}")

    def text(self, pool: Pool, rows: Sequence[NextRow]) -> str:
        labelling = pool.predictor.task.labelling
        assert labelling is not None, "checked before"
        left_out = {*pool.label_columns, SUGGESTION}
        tasks = []
        for i, row in enumerate(rows, start=1):
            data = {name: value for name, value in row.values.items() if name not in left_out}
            prediction = {
                "model_version": Path(str(pool.predictor.path)).name,
                "score": float(f"{1.0 - row.doubt:.7g}"),
                "result": list(_results(row.suggestion, labelling, i)),
            }
            tasks.append({"data": data, "predictions": [prediction]})
        return json.dumps(tasks, ensure_ascii=False, indent=1, default=str) + "\n"


def _results(suggestion: Suggestion, labelling: Labelling, number: int) -> list[dict[str, Any]]:
    """The parts of a prediction; each has an id of its own."""
    values: list[tuple[str, dict[str, Any]]] = []
    match labelling.kind:
        case "choices":
            values += [("choices", {"choices": list(suggestion.names)})] * bool(suggestion.names)
        case "number":
            values.append(("number", {"number": suggestion.number}))
        case "spans":
            values += [("labels", _span(span)) for span in suggestion.spans]
    return [
        {
            "id": f"{number}-{part}",
            "from_name": NAME,
            "to_name": TEXT,
            "type": kind,
            "value": value,
        }
        for part, (kind, value) in enumerate(values, start=1)
    ]


def _span(span: SuggestedSpan) -> dict[str, Any]:
    return {"start": span.start, "end": span.end, "text": span.text, "labels": [span.label]}


def interface(pool: Pool, labelling: Labelling) -> str:
    """The labelling interface (XML) that fits the tasks; Label Studio asks for it once."""
    texts = "".join(
        f'<Text name="{escape(role)}" value="${escape(column)}"/>'
        for role in pool.predictor.task.columns.inputs
        for column in each_column(pool.layout.columns.get(role))[:1]
    )
    name = f'name="{NAME}" toName="{TEXT}"'
    match labelling.kind:
        case "choices":
            each = "".join(f'<Choice value="{escape(name)}"/>' for name in labelling.names)
            several = "multiple" if labelling.several else "single"
            control = f'<Choices {name} choice="{several}">{each}</Choices>'
        case "number":
            control = f"<Number {name}/>"
        case "spans":
            each = "".join(f'<Label value="{escape(name)}"/>' for name in labelling.names)
            control = f"<Labels {name}>{each}</Labels>"
    return f"<View>{texts}{control}</View>"


FORMS: Mapping[str, type[LabellingFile]] = {
    "csv": LabellingTable,
    "label-studio": LabelStudioTasks,
}


def labelling_file(form: str | None, out: object) -> LabellingFile:
    """The form that was asked for, by default what the name of the output says, else csv. Raises
    UsageError for another one."""
    suffix = Path(out).suffix.lower() if isinstance(out, (str, Path)) else ""
    by_name = {".json": "label-studio", ".csv": "csv", "": "csv"}
    if form is None and suffix not in by_name:
        place, hint = Place(str(out)), "name it .csv or .json, or choose with --format"
        raise UsageError(f"no {suffix} files are written", place=place, hint=hint)
    name = form or by_name[suffix]
    if name not in FORMS:
        raise UsageError(f"no format {name!r}", hint=f"one of {listed(list(FORMS))}")
    return FORMS[name]()
