"""From a file to its task: which columns it has, what they hold, and so what is to be learned.

Names decide first, then contents. Where two columns are as likely, nothing is guessed: the error
says which flag decides.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from onelayer.base.errors import DataError, Place, UsageError
from onelayer.data.table import Table
from onelayer.tasks.columns import KNOWN, MEASURES, PAIRS, Columns, normal, numbers_in
from onelayer.tasks.protocol import Layout

FEW = 20
"""Whole numbers of no more distinct values than this are names of classes."""
SHOWN = 12
"""Columns that a message lists."""

NEEDED = {
    "classify": ("text", "label"),
    "regress": ("text", "label"),
    "tag": ("text", "label"),
    "answer": ("question", "context", "label"),
    "choose": ("context", "options", "label"),
}
OPTIONAL = {"classify": ("pair",), "regress": ("pair",), "choose": ("question",)}
FORMATS = {"squad": "answer", "multiple-choice": "choose", "conll": "tag", "conllu": "tag"}
"""The task of files that can hold no other."""
UNSAID = ("id", "start", "space_after", "title")
"""Roles that go without saying."""

Found = dict[str, str | tuple[str, ...] | None]
"""Column by role, None where there is none."""

_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen in a file: its task, its columns, and in words what was decided."""

    task: str
    layout: Layout
    remarks: tuple[str, ...]


def see(
    table: Table,
    *,
    task: str | None,
    asked: Mapping[str, str],
    multi_label: bool | None = None,
    labelled: bool = True,
) -> Seen:
    """Infers the task and columns of a file, as far as the user left them open.

    Raises UsageError for a column that the file doesn't have, and where it would be a guess.
    """
    for role, name in asked.items():
        for part in _parts(table, role, name):
            require(table, part)
    columns = Columns(table)
    if not columns.sample:
        raise DataError("no rows", place=Place(table.path), hint="is it the right file?")
    sight = _Sight(table, columns, asked, labelled)
    task = task or sight.task()
    chosen = sight.columns(task)
    label = chosen.get("label")
    separator = None
    if task == "classify" and isinstance(label, str) and multi_label is not False:
        separator = sight.separator(label, sure=bool(multi_label))
    first = sight.first_option(label, chosen["options"]) if task == "choose" else 0
    remarks = [
        table.note,
        _in_words(task, chosen, separator),
        sight.about_numbers(task, label),
        "the right options are counted from 1" if first else None,
    ]
    return Seen(task, Layout(chosen, separator, first), tuple(filter(None, remarks)))


def require(table: Table, name: str) -> None:
    """Raises UsageError, with the nearest name, where the table has no such column."""
    if name in table.columns:
        return
    by_lower = {column.lower(): column for column in table.columns}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.4)
    meant = f"did you mean {by_lower[near[0]]!r}? " if near else ""
    raise UsageError(f"no column {name!r}", place=Place(table.path), hint=meant + _listed(table))


def _parts(table: Table, role: str, name: str) -> tuple[str, ...]:
    """A role's columns as the user wrote them: options may be several, with commas."""
    if role != "options" or name in table.columns or "," not in name:
        return (name,)
    return tuple(part.strip() for part in name.split(","))


def _listed(table: Table) -> str:
    if table.note and table.columns[0] in table.note:
        return table.note
    more = ", …" if len(table.columns) > SHOWN else ""
    return "columns: " + ", ".join(table.columns[:SHOWN]) + more


def _in_words(task: str, chosen: Mapping[str, str | tuple[str, ...]], separator: str | None) -> str:
    said = [f"task = {task}"]
    for role, column in chosen.items():
        if role not in UNSAID:
            said.append(f"{role} = {column if isinstance(column, str) else '+'.join(column)}")
    if separator:
        said.append(f"several labels parted by {separator!r}")
    return ", ".join(said)


@dataclass(frozen=True, slots=True)
class _Sight:
    """What one file is for, by its columns and what the user asked for."""

    table: Table
    seen: Columns
    asked: Mapping[str, str]
    labelled: bool

    def unsure(self, role: str, between: Iterable[str] = ()) -> UsageError:
        names = list(between)
        hint = f"say so with --{role} NAME; {_listed(self.table)}"
        if role == "text" and names:
            hint = "say so with --text NAME, and --pair NAME if two belong together"
        either = f": {' or '.join(names[:6])}" if names else ""
        return self.error(f"can't tell which column is the {role}{either}", hint)

    def error(self, message: str, hint: str) -> UsageError:
        return UsageError(message, place=Place(self.table.path), hint=hint)

    # The task --------------------------------------------------------------------------------

    def task(self) -> str:
        if self.table.format in FORMATS:
            return FORMATS[self.table.format]
        question = self.asked.get("question") or self.seen.known("question")
        context = self.asked.get("context") or self.seen.known("context", without=[question])
        if (question or context) and self.options():
            return "choose"
        if question and context and self.answered():
            return "answer"
        if self.seen.tokens(self.asked.get("text")):
            return "tag"
        spans, named = self.seen.spans(self.asked.get("label")), self.seen.known("label")
        if spans is None:
            return self.names_or_numbers(self.label())
        if named in (None, spans) or "label" in self.asked:
            return "tag"
        raise self.error(
            f"{spans!r} holds entities and {named!r} labels: which are to be learned?",
            "say so with --task tag or --task classify",
        )

    def answered(self) -> bool:
        """Whether questions have texts as answers, and not a yes or no each."""
        column = self.asked.get("label") or self.seen.known("answers")
        if column is None:
            return self.seen.known("label") is None and bool(self.seen.called("context", "文章"))
        values = self.seen.values(column)
        if self.seen.hold(column, str):
            return len(set(values)) > len(values) / 5
        return self.seen.hold(column, list, dict)

    def names_or_numbers(self, label: str | None) -> str:
        """Labels are the names of classes, or measurements."""
        values = self.seen.values(label)
        numbers = numbers_in(values)
        if values and all(_DECIMAL_COMMA.fullmatch(str(value)) for value in values):
            raise self.error(
                f"{values[0]!r} in {label!r}: a number with a decimal comma, or two labels?",
                "write numbers with a point, or say --task classify",
            )
        if not numbers or label is None:
            return "classify"
        if not all(number.is_integer() for number in numbers):
            return "regress"
        if normal(label) in MEASURES:
            return "regress" if len(numbers) > 2 else "classify"
        repeated = len(numbers) <= max(5, len(values) / 2)
        if repeated and (len(numbers) <= FEW or numbers == set(range(len(numbers)))):
            return "classify"
        raise self.error(
            f"{len(numbers)} different whole numbers in {label!r}: classes, or measurements?",
            "say so with --task classify or --task regress",
        )

    def about_numbers(self, task: str, label: str | tuple[str, ...] | None) -> str | None:
        """What else the numbers might have been."""
        values = self.seen.values(label) if isinstance(label, str) else []
        if task == "tag" and values and all(isinstance(tag, int) for tag in values[0]):
            return "tags are numbers: without names such as B-PER each word is scored by itself"
        if task == "classify" and len(numbers_in(values)) > 2:
            return f"the numbers in {label} are taken as names; --task regress measures them"
        return None

    def separator(self, label: str, *, sure: bool) -> str | None:
        """What parts several labels in one field."""
        values = self.seen.values(label)
        if values and all(re.fullmatch(r"\[.*\]", str(value)) for value in values):
            if self.seen.hold(label, list):
                return None
            raise self.error(
                f"{label!r} holds lists written as text: {values[0]:.40}",
                "write the labels as a;b, or save the file as jsonl or parquet",
            )
        return self.seen.separator(label, sure=sure)

    def first_option(
        self, label: str | tuple[str, ...] | None, options: str | tuple[str, ...]
    ) -> int:
        """1 where right options are numbers that begin at 1 and reach the number of options."""
        numbers = numbers_in(self.seen.values(label)) if isinstance(label, str) else set()
        if isinstance(options, tuple):
            most = len(options)
        else:
            listed = (value for value in self.seen.values(options) if isinstance(value, list))
            most = max(map(len, listed), default=0)
        return int(bool(numbers) and min(numbers) >= 1 and max(numbers) == most)

    # The columns -----------------------------------------------------------------------------

    def columns(self, task: str) -> dict[str, str | tuple[str, ...]]:
        """The column or columns of every role that the task has."""
        roles = NEEDED[task] + OPTIONAL.get(task, ())
        for role in self.asked:
            if role not in roles:
                flags = ", ".join(f"--{role}" for role in roles)
                raise self.error(f"{task} has no use for --{role}", f"it reads {flags}")
        make = {"tag": self.tag, "answer": self.answer, "choose": self.choose}
        found = make.get(task, self.texts)() | dict(self.asked)
        if "options" in self.asked:
            found["options"] = self.options()
        for role in NEEDED[task]:
            if found.get(role) is None and (role != "label" or self.labelled):
                raise self.unsure(role)
        return {role: column for role, column in found.items() if column is not None}

    def texts(self) -> Found:
        label, text, pair = self.label(), self.asked.get("text"), self.asked.get("pair")
        if text:
            return {"text": text, "pair": pair, "label": label}
        taken = (label, pair)
        both = () if pair else self.pair(without=[label])
        if both:
            return {"text": both[0], "pair": both[1], "label": label}
        named = self.seen.called(*KNOWN["text"], without=taken)
        text = next((column for column in named if self.seen.hold(column, str)), None)
        running = self.seen.running_texts(without=taken)
        if text is None and len(running) == 2 and self.seen.nameless and not pair:
            return {"text": running[0], "pair": running[1], "label": label}
        titles = self.seen.called(*KNOWN["title"], without=taken)
        return {"text": text or self.one_of(running or titles), "pair": pair, "label": label}

    def pair(self, without: Collection[str | None] = ()) -> tuple[str, ...]:
        """The first two columns that have names of two texts which belong together."""
        both = (tuple(self.seen.called(*names, without=without)) for names in PAIRS)
        return next((columns for columns in both if len(columns) == 2), ())

    def one_of(self, running: list[str]) -> str | None:
        """The only running text, or the only one of them with a name such as ``review_text``."""
        if len(running) < 2:
            return next(iter(running), None)
        for word in ("text", "body", "content", "sentence"):
            named = [column for column in running if word in self.seen.words_of(column)]
            if len(named) == 1:
                return named[0]
        raise self.unsure("text", running)

    def label(self) -> str | None:
        """By name; else the one column of values that come again."""
        label = self.asked.get("label") or self.seen.known("label")
        if label or not self.labelled:
            return label
        texts = [*self.asked.values(), *self.seen.running_texts(), *self.pair()]
        texts += self.seen.called(*KNOWN["text"], *KNOWN["title"])
        found = self.seen.targets() or self.seen.repeating(without=texts)
        if len(found) > 1:
            raise self.unsure("label", found)
        return next(iter(found), None)

    def tag(self) -> Found:
        tokens = self.seen.tokens(self.asked.get("text"))
        if tokens:
            spaces = self.seen.called("space_after")
            tags = self.seen.known("tags", without=[tokens])
            return {"text": tokens, "label": tags, "space_after": next(iter(spaces), None)}
        spans = self.seen.spans(self.asked.get("label"))
        text = self.seen.known("text", without=[spans])
        return {"text": text or self.one_of(self.seen.running_texts()), "label": spans}

    def answer(self) -> Found:
        question = self.asked.get("question") or self.seen.known("question")
        return {
            "id": self.seen.by_name.get("id"),
            "question": question,
            "context": self.seen.known("context", without=[question]),
            "label": self.seen.known("answers"),
            "start": self.seen.by_name.get("answer_start"),
            "title": self.seen.by_name.get("title"),
        }

    def choose(self) -> Found:
        options = self.options()
        taken = list(options) if isinstance(options, tuple) else [options]
        question = self.asked.get("question") or self.seen.known("question", without=taken)
        context = self.asked.get("context") or self.seen.known("context", [question, *taken])
        if context is None and question:  # a beginning and its endings, or an unknown name
            others = self.seen.running_texts(without=[question, *taken])
            if len(others) > 1:
                raise self.unsure("context", others)
            context, question = (others[0], question) if others else (question, None)
        right = self.seen.known("right", [question, context, *taken])
        return {"question": question, "context": context, "options": options, "label": right}

    def options(self) -> str | tuple[str, ...] | None:
        if "options" not in self.asked:
            return self.seen.options()
        parts = _parts(self.table, "options", self.asked["options"])
        return parts if len(parts) > 1 else parts[0]
