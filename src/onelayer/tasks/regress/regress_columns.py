"""Whether the labels of a file are measurements, or numbers as names of classes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from onelayer.data.column_rules import Column
from onelayer.data.columns import FileColumns, normal_name, numbers_in
from onelayer.data.label_form import LabelForm
from onelayer.data.layout import Layout
from onelayer.data.values import number_in
from onelayer.tasks.text_columns import MEASURES, TextColumns, label_of

FEW = 20
"""Whole numbers of no more distinct values than this are names of classes."""

_WITH_COMMA = re.compile(r"[-+]?\d+(?:\.\d{3})*,\d+\s*%?")
_AMBIGUOUS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")


class RegressColumns(TextColumns):
    def recognises(self, file: FileColumns) -> bool:
        label = label_of(file)
        if not isinstance(label, str):
            return False
        values = file.values(label)
        if values and all(_WITH_COMMA.fullmatch(str(value)) for value in values):
            raise file.error(
                f"{values[0]!r} in {label!r}: a number with a comma, or two labels?",
                "say so with --task regress or --task classify",
            )
        numbers = numbers_in([_plain(value) for value in values])
        if not numbers:
            return False
        if not all(number.is_integer() for number in numbers):
            return True
        if normal_name(label) in MEASURES:
            return len(numbers) > 2
        repeated = len(numbers) <= max(5, len(values) / 2)
        if repeated and (len(numbers) <= FEW or numbers == set(range(len(numbers)))):
            return False
        raise file.error(
            f"{len(numbers)} different whole numbers in {label!r}: classes, or measurements?",
            "say so with --task classify or --task regress",
        )

    def label_form(self, file: FileColumns, columns: Mapping[str, Column]) -> LabelForm:
        """Raises UsageError where commas, or percent signs, can be read in two ways."""
        label = columns.get("label")
        values = file.values(label) if isinstance(label, str) else []
        texts = [value.strip() for value in values if isinstance(value, str)]
        signs = sum(text.endswith("%") for text in texts)
        if 0 < signs < len(values):
            raise file.error(
                f"{signs:,} of the first {len(values):,} numbers in {label!r} have a percent sign",
                "write all of them with one, or none",
            )
        commas = [text for text in texts if "," in text]
        grouped = [text for text in commas if not math.isnan(number_in(text))]
        decimal = [text for text in commas if _WITH_COMMA.fullmatch(text)]
        if commas and all(map(_AMBIGUOUS.fullmatch, commas)) and len(commas) == len(texts):
            raise file.error(
                f"{commas[0]!r} in {label!r}: thousands, or a decimal comma?",
                "write numbers without commas",
            )
        return LabelForm(decimal_comma=len(decimal) > len(grouped))

    def remarks(self, file: FileColumns, layout: Layout) -> Iterator[str]:
        label = layout.columns.get("label")
        values = file.values(label) if isinstance(label, str) else []
        if layout.labels.decimal_comma:
            example = next(value for value in values if "," in str(value))
            yield f"the comma of {example!r} in {label} is read as a decimal point"
        if any(isinstance(value, str) and value.endswith("%") for value in values):
            yield f"{values[0]!r} in {label} is read as the number {number_in(values[0]):g}"


def _plain(value: object) -> object:
    """The number of a text with a percent sign or with thousands; other values as they are."""
    number = number_in(value) if isinstance(value, str) else math.nan
    return value if math.isnan(number) else number
