"""What Prodigy's ``db-out`` writes: questions with the answers that people gave.

Source: https://prodi.gy/docs/api-interfaces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from onelayer.data.table import Record, Table

ANSWERS = {
    "accept": None,
    "reject": "rejected in Prodigy",
    "ignore": "ignored in Prodigy",
}
"""The answers, and why a row with one is left out."""
ROWS_SEEN = 1000


def of_prodigy(table: Table) -> Table | None:
    """The annotations that were accepted; None for a table that isn't Prodigy's.

    Rejected and ignored ones are void. Where all rows ask for the same label, a rejected one has
    ``not LABEL``. The options that were chosen become the column ``label``.
    """
    if not {"text", "answer"} <= set(table.columns) or len(table.columns) < 3:
        return None
    answers = {str(values.get("answer")) for values in table.head(ROWS_SEEN)}
    if not answers or not answers <= ANSWERS.keys():
        return None
    asked = _only_label(table)
    note = f"rejected rows are labelled 'not {asked}'" if asked else None
    columns = tuple(_values_of(dict.fromkeys(table.columns)))
    record = _with_answer(asked) if asked else _accepted
    return replace(
        table,
        format="prodigy",
        columns=columns,
        read=lambda: map(record, iter(table)),
        note=note or table.note,
    )


def _only_label(table: Table) -> str | None:
    """The label that every row asks for, where some rows say no to it, and there is neither a
    choice nor a span."""
    if "label" not in table.columns or "accept" in table.columns:
        return None
    counts = Counter(
        (str(values.get("label")), values.get("answer"))
        for values in _values(table)
        if values.get("answer") != "ignore"
    )
    labels = {label for label, _ in counts}
    answers = {answer for _, answer in counts}
    spans = any(values.get("spans") for values in _values(table))
    return labels.pop() if len(labels) == 1 and len(answers) == 2 and not spans else None


def _values(table: Table) -> Iterator[Mapping[str, Any]]:
    return (record.values for record in table)


def _values_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row's values, in which the options that were chosen are its label."""
    if "accept" not in values or "label" in values:
        return dict(values)
    chosen = {"label" if name == "accept" else name: value for name, value in values.items()}
    chosen.pop("options", None)
    return chosen


def _accepted(record: Record) -> Record:
    values = _values_of(record.values)
    answer = str(values.get("answer"))
    return replace(record, values=values, void=ANSWERS.get(answer, f"answered {answer!r:.20}"))


def _with_answer(label: str) -> Callable[[Record], Record]:
    def answered(record: Record) -> Record:
        found = _accepted(record)
        if found.void != ANSWERS["reject"]:
            return found
        return replace(found, values={**found.values, "label": f"not {label}"}, void=None)

    return answered
