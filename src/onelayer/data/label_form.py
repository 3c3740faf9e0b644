"""How a file writes the labels of its rows, and the one way to read them: a label a row, or a list
of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onelayer.base.errors import DataError
from onelayer.base.wording import listed
from onelayer.data.values import flag_in, listed_in, whole_number


@dataclass(frozen=True, slots=True)
class LabelForm:
    """How labels are written. As it stands: a label as a text or a number, several as a list."""

    separator: str | None = None
    """What separates several labels in one field."""
    written: bool = False
    """Whether lists are written as text, such as ``['a', 'b']``."""
    flags: bool = False
    """Whether a list says of each label, with 1 or 0, whether the row has it (multi-hot)."""
    names: tuple[str, ...] = ()
    """What the numbers 0, 1, ... stand for. Hugging Face calls it a ClassLabel."""
    decimal_comma: bool = False
    """Whether numbers are written as ``1.234,5``."""
    several: bool | None = None
    """Whether a row has a list of labels, or one; None for tasks that don't ask."""

    def read(self, value: Any) -> Any:
        """A field's label, or its list of labels. Raises DataError, without a place, for a list of
        the wrong length."""
        if isinstance(value, str):
            if self.decimal_comma:
                return value.replace(".", "").replace(",", ".")
            if not (self.separator or self.written or self.names or self.several):
                return value  # as it stands, which most labels do
            value = self._list_in(value)
        if are_named_flags(value):
            value = [name for name, flag in value.items() if flag]
        elif self.flags and isinstance(value, (list, tuple)):
            value = self._flagged(value)
        if self.names:
            value = self._named(value)
        return value if self.several is None else self._counted(value)

    def _list_in(self, value: str) -> Any:
        if self.written and (found := list_in(value)) is not None:
            return found
        if self.separator is None:
            return value
        parts = separated(value, self.separator)
        return list(map(flag_in, parts)) if self.flags else parts

    def _flagged(self, value: Sequence[Any]) -> list[Any]:
        if len(value) != len(self.names) or not are_flags(value):
            n = len(self.names)
            hint = "correct it, or leave such rows out with --skip-bad"
            raise DataError(f"{n} numbers 0 or 1 expected, found {value!r:.60}", hint=hint)
        return [name for name, flag in zip(self.names, value, strict=True) if float(flag)]

    def _named(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._named(item) for item in value]
        number = whole_number(value)
        if number is not None and 0 <= number < len(self.names):
            return self.names[number]
        # A ClassLabel of -1 stands for no label.
        return None if number == -1 and self.several is not None else value

    def _counted(self, value: Any) -> Any:
        several = isinstance(value, (list, tuple))
        if self.several:
            return value if several or _is_nothing(value) else [value]
        if not several:
            return value
        if len(value) == 1:
            # What is nested stays a list, which no row may have as a label.
            return value if isinstance(value[0], (list, tuple, dict)) else value[0]
        names = f": {listed([str(name) for name in value], 4)}" if value else ""
        raise DataError(
            f"{len(value) or 'no'} labels where each row has one{names}",
            hint="correct it, or leave such rows out with --skip-bad",
        )

    def or_else(self, other: LabelForm) -> LabelForm:
        """This form of a file that is read as another one was: what isn't known of it is as there,
        and whether rows have several labels is as there in any case."""
        names = other.names if self.flags and other.flags else self.names or other.names
        return LabelForm(
            separator=self.separator or other.separator,
            written=self.written or other.written,
            flags=self.flags or (other.flags and not self.names),
            names=names,
            decimal_comma=self.decimal_comma,
            several=self.several if other.several is None else other.several,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LabelForm:
        """The form of these fields; others are ignored, and missing ones are as they stand here."""
        known = {name: it for name, it in values.items() if name in FIELD_TYPES}
        return cls(**{**known, "names": tuple(known.get("names", ()))})


FIELD_TYPES = {
    "separator": str | None,
    "written": bool,
    "flags": bool,
    "names": list[str],
    "decimal_comma": bool,
    "several": bool | None,
}
"""The fields of a `LabelForm` as JSON has them."""


def separated(value: str, separator: str) -> list[str]:
    """The parts of a field that aren't empty."""
    return [part for part in map(str.strip, value.split(separator)) if part]


def list_in(value: str) -> list[Any] | None:
    """The list of labels that a text writes as JSON, Python or NumPy do, or as ``[a, b]``; None if
    it is no list."""
    found = listed_in(value)
    inner = value.strip()[1:-1]
    if found is not None or f"[{inner}]" != value.strip() or set(inner) & set("[]{}"):
        return found
    return [part for part in map(str.strip, inner.split(",")) if part]


def are_flags(value: Any) -> bool:
    """Whether a value is a list of zeros and ones, whatever type of numbers they are."""
    return isinstance(value, (list, tuple)) and bool(value) and all(map(_is_flag, value))


def are_named_flags(value: Any) -> bool:
    """Whether a value says by name, with 1 or 0, which labels a row has: spaCy's ``cats``."""
    return isinstance(value, dict) and bool(value) and all(map(_is_flag, value.values()))


def _is_flag(item: Any) -> bool:
    return isinstance(item, (bool, int, float)) and item in (0, 1)


def are_shares(value: Any) -> bool:
    """Whether a list, or an object by name, gives each label a probability: soft labels."""
    items = list(value.values()) if isinstance(value, dict) else value
    return (
        isinstance(items, (list, tuple))
        and len(items) > 1
        and all(isinstance(item, (int, float)) and 0 <= item <= 1 for item in items)
        and any(item % 1 for item in items)
    )


def _is_nothing(value: Any) -> bool:
    return value is None or value != value or value == ""
