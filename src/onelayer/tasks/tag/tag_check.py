"""Errors of tags that only show when all rows of a file are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from onelayer.base.errors import DataError
from onelayer.tasks.tag.schemes import TagPairs, violations
from onelayer.tasks.tag.tag_reading import two_in_one_word
from onelayer.tasks.tag.tag_rows import TagRow, tokens_of
from onelayer.tokens.words import split_words


def judge_of(rows: Iterable[TagRow]) -> Callable[[TagRow], DataError | None] | None:
    """What gives a row's error, once all rows are known; None if no row can have one."""
    has_spans = False

    def tags() -> Iterator[Sequence[str]]:
        nonlocal has_spans
        for row in rows:
            has_spans = has_spans or bool(row.spans)
            yield row.tags or ()

    pairs = TagPairs(tags())
    scheme = pairs.scheme()
    if not has_spans and not pairs.mistakes(scheme):
        return None  # the file needn't be read once more

    def judge(row: TagRow) -> DataError | None:
        if row.spans is not None:
            return two_in_one_word(row, split_words(row.text)) if row.spans else None
        wrong = violations(row.tags or (), scheme)
        if not wrong:
            return None
        return DataError(
            f"illegal {scheme} sequence: {_around(row, wrong)}",
            place=row.place,
            hint="correct the tags, or leave such sentences out with --skip-bad",
        )

    return judge


def _around(row: TagRow, wrong: Sequence[int]) -> str:
    """The first illegal tag with what stands before it."""
    tags, word = row.tags or (), wrong[0]
    before = tags[word - 1] if word else "the beginning"
    more = f", and {len(wrong) - 1} more in this sentence" if len(wrong) > 1 else ""
    return f"{tags[word]} after {before} at {tokens_of(row)[word]!r}, word {word + 1}{more}"
