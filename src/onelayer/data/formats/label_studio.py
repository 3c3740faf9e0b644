"""What Label Studio exports: tasks with annotations (JSON), or a row for each annotation (JSON-MIN,
CSV and TSV).

Source: https://labelstud.io/guide/export, and label_studio_converter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.data.formats.file_format import JsonShape
from onelayer.data.formats.jsonlines import first_columns, json_values
from onelayer.data.table import Record, Table
from onelayer.data.written import written_value

SKIPPED = "skipped in Label Studio"
UNLABELLED = "not annotated in Label Studio"
FURTHER = "a further annotation of the same text in Label Studio"
FIRST = "the first of several annotations in Label Studio is taken"
NO_RELATIONS = "relations aren't learned"
NO_REGIONS = "what else is said of a span isn't learned, only its label"
OF_ANNOTATION = {"annotator", "lead_time"}
"""Columns that JSON-MIN and CSV have about an annotation."""
ROWS_SEEN = 1000

_SPAN_KINDS = ("labels", "hypertextlabels", "paragraphlabels")
_VALUE_KINDS = ("choices", "taxonomy", "rating", "number", "text")


@dataclass(slots=True)
class _Annotation:
    """What an annotator said of a text, by the names of the labelling interface."""

    values: dict[str, Any] = field(default_factory=dict)
    repairs: list[str] = field(default_factory=list)


def is_label_studio(value: Any) -> bool:
    """Whether a value is a task with its annotations."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("data"), dict)
        and isinstance(value.get("annotations", value.get("completions")), list)
    )


def read_label_studio(path: str) -> Table:
    """Reads the JSON export: a row for each task, with its data and, by the name in the labelling
    interface, what was said of it. A sole name is ``label``."""
    spans, others = _names(path)
    sole = spans | others if len(spans | others) == 1 else set()
    note = None
    if len(spans | others) > 1:
        kinds = [f"{name} (entities)" for name in sorted(spans)] + sorted(others)
        note = f"several things are annotated: {', '.join(kinds)}; --label chooses"

    def records() -> Iterator[Record]:
        for task, line in json_values(path):
            if not is_label_studio(task):
                hint = "a task has data and annotations"
                raise DataError("no task of Label Studio", place=Place(path, line), hint=hint)
            found, void = _judged(task)
            said = {
                name: found.values.get(name, [] if name in spans else None)
                for name in sorted(spans | others)
            }
            if not void and said and all(value is None for value in said.values()):
                void = UNLABELLED
            named = {"label" if name in sole else name: value for name, value in said.items()}
            values = {"id": task.get("id"), **task["data"], **named}
            yield Record(values, line, void, tuple(found.repairs))

    return Table(path, "label-studio", first_columns(path, records), records, note)


def _names(path: str) -> tuple[set[str], set[str]]:
    """The names under which any task has spans, and other values."""
    spans: set[str] = set()
    others: set[str] = set()
    for task, _ in json_values(path):
        for annotation in _annotations(task) if is_label_studio(task) else ():
            for name, value in _said(annotation).values.items():
                (spans if _has_spans(value) else others).add(name)
    return spans, others - spans


def _annotations(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = task.get("annotations", task.get("completions"))
    return [one for one in listed or () if isinstance(one, dict)]


def _judged(task: Mapping[str, Any]) -> tuple[_Annotation, str | None]:
    """What was said of a task, and why that isn't to be learned, if it isn't."""
    annotations = _annotations(task)
    valid = [one for one in annotations if not (one.get("was_cancelled") or one.get("skipped"))]
    if not valid:
        return _Annotation(), SKIPPED if annotations else UNLABELLED
    best = next((one for one in valid if one.get("ground_truth")), valid[0])
    found = _said(best)
    if len(valid) > 1:
        found.repairs.append(FIRST)
    return found, None


def _said(annotation: Mapping[str, Any]) -> _Annotation:
    said: dict[str, Any] = {}
    spans = defaultdict[str, list[dict[str, Any]]](list)
    repairs: set[str] = set()
    results = annotation.get("result")
    for result in results if isinstance(results, list) else ():
        if not isinstance(result, dict):
            continue
        name, value = result.get("from_name"), result.get("value")
        if result.get("type") == "relation":
            repairs.add(NO_RELATIONS)
        elif not isinstance(name, str) or not isinstance(value, dict):
            continue
        elif "start" not in value:
            said[name] = _value(value)
        elif value.keys() & {"choices", "rating", "number", "taxonomy"}:
            repairs.add(NO_REGIONS)
        else:
            spans[name].append(_span(value))
    return _Annotation({**said, **spans}, sorted(repairs))


def _span(value: Mapping[str, Any]) -> dict[str, Any]:
    labels = next((value[kind] for kind in _SPAN_KINDS if kind in value), None)
    at = value.get("globalOffsets")  # in HyperText, where start and end are places in its tree
    at = value if not isinstance(at, dict) else at
    place = {"start": at.get("start"), "end": at.get("end")}
    return {**place, "text": value.get("text"), "labels": labels}


def _value(value: Mapping[str, Any]) -> Any:
    """A choice, several of them, a number or a text."""
    found = next((value[kind] for kind in _VALUE_KINDS if kind in value), None)
    if "taxonomy" in value and isinstance(found, list):
        found = ["/".join(map(str, path)) for path in found if isinstance(path, list)]
    return found[0] if isinstance(found, list) and len(found) == 1 else found


def _has_spans(value: Any) -> bool:
    return isinstance(value, list) and any(
        isinstance(one, dict) and "start" in one for one in value
    )


def of_label_studio(table: Table) -> Table | None:
    """The rows of a JSON-MIN or CSV export, one for each text; None for any other table."""
    if not set(table.columns) >= OF_ANNOTATION:
        return None
    head = table.head(ROWS_SEEN)
    spans = {
        name for name in table.columns if any(_has_spans(_plain(row.get(name))) for row in head)
    }

    def records() -> Iterator[Record]:
        seen: set[Any] = set()
        for record in table:
            values = {name: _plain(value) for name, value in record.values.items()}
            values |= {name: values.get(name) or [] for name in spans}
            key = values.get("id")
            is_key = isinstance(key, (int, str)) and key != ""
            void = FURTHER if is_key and key in seen else None
            if is_key:
                seen.add(key)
            yield replace(record, values=values, void=void)

    return replace(table, format="label-studio", read=records)


def _plain(value: Any) -> Any:
    """A value without the objects that the export puts around choices and numbers."""
    if isinstance(value, str):
        written = written_value(value)
        return value if written is None else _plain(written)
    if isinstance(value, dict):
        return _value(value) if value.keys() & set(_VALUE_KINDS) else value
    objects = isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
    if objects and _has_spans(value):
        return [_span(one) for one in value]
    if objects:
        parts = [_value(one) for one in value]
        return parts[0] if len(parts) == 1 else parts
    return value


LABEL_STUDIO = JsonShape(is_label_studio, read_label_studio)
