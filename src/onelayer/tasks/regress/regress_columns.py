"""Whether the labels of a file are measurements, or numbers as names of classes."""

from __future__ import annotations

import re

from onelayer.data.columns import FileColumns, normal_name, numbers_in
from onelayer.tasks.text_columns import MEASURES, TextColumns, label_of

FEW = 20
"""Whole numbers of no more distinct values than this are names of classes."""

_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


class RegressColumns(TextColumns):
    def recognises(self, file: FileColumns) -> bool:
        label = label_of(file)
        if not isinstance(label, str):
            return False
        values = file.values(label)
        numbers = numbers_in(values)
        if values and all(_DECIMAL_COMMA.fullmatch(str(value)) for value in values):
            raise file.error(
                f"{values[0]!r} in {label!r}: a number with a decimal comma, or two labels?",
                "write numbers with a point, or say --task classify",
            )
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
