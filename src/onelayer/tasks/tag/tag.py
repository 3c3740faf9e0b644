"""Each word of a text gets a label: persons, organisations, places, or parts of speech."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from onelayer import metrics
from onelayer.base.errors import DataError, Place
from onelayer.base.library_structs import Found, RowInput
from onelayer.base.text_offsets import OffsetUnit
from onelayer.base.wording import in_words, listed
from onelayer.data.values import in_role
from onelayer.recipe import Recipe
from onelayer.tasks.label_judges import LabelJudge
from onelayer.tasks.label_names import LabelIds, in_order
from onelayer.tasks.logits import Logits, per_row, softmax
from onelayer.tasks.mistakes import Judged, LabelledSpan, Mistake
from onelayer.tasks.protocol import Chunk, SavedLayer, Task
from onelayer.tasks.suggestions import Labelling, Suggestion
from onelayer.tasks.tag.schemes import (
    OUTSIDE,
    Scheme,
    entities,
    from_entities,
    parse,
    recognise,
    transitions,
)
from onelayer.tasks.tag.spans import words_under
from onelayer.tasks.tag.tag_check import judge_of
from onelayer.tasks.tag.tag_columns import TagColumns
from onelayer.tasks.tag.tag_judge import WordJudge
from onelayer.tasks.tag.tag_mistakes import (
    contrast_spans,
    entity_mistake,
    judge_entities,
    judge_tags,
    tag_mistake,
)
from onelayer.tasks.tag.tag_reading import tag_row, two_in_one_word
from onelayer.tasks.tag.tag_rows import Entity, Sentence, Tagged, TagRow, suggested_tags, tokens_of
from onelayer.tasks.tag.viterbi import best_path
from onelayer.tasks.uncertainty import Uncertainty, uncertain_words
from onelayer.tokens.encodings import Cut, Encodings, Ints, cumulate
from onelayer.tokens.pieces import Pieces, join_texts, windows
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import Joints, Marks, WordSpans, split_words, subwords


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag(Task[TagRow, Tagged]):
    """The layer reads the first subword of every word. Long texts are read in windows, each word
    where it has most context on both sides; only legal sequences of tags come out."""

    name = "tag"
    columns = TagColumns()
    aim = "gives every word of a text a tag"
    example = '["a text to tag"]'
    pipeline_tag = "token-classification"
    reads_all_tokens = True
    has_offsets = True
    hub_form = "token-classification"

    labels: tuple[str, ...]
    scheme: Scheme
    max_length: int
    stride: int
    joints: Joints = field(default_factory=Joints)
    """How the training file's words were cut, for texts that come without words."""

    @property
    def head(self) -> str:
        return "tags"

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.labels

    @property
    def chooses_an_output(self) -> bool:
        return len(self.labels) > 1

    @property
    def metric(self) -> str:
        return "accuracy" if self.scheme is Scheme.PLAIN else "f1"

    @property
    def summary(self) -> str:
        labels = f"{self.scheme} tags, {len(self.labels)}: {listed(self.labels)}"
        return f"{labels}; windows of {self.max_length} tokens"

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.labels

    @classmethod
    def row(cls, values: Mapping[str, Any], place: Place, labelled: bool) -> TagRow:
        return tag_row(values, place, labelled)

    @classmethod
    def repairs(cls, row: TagRow) -> Iterable[str]:
        return row.repairs

    def words(self, row: TagRow) -> tuple[tuple[int, int], ...]:
        """Character spans of a row's words: its own, or as the training file's were cut."""
        return tuple(split_words(row.text, self.joints)) if row.words is None else row.words

    @classmethod
    def check(cls, rows: Iterable[TagRow]) -> Callable[[TagRow], DataError | None] | None:
        return judge_of(rows)

    @classmethod
    def fit(cls, rows: Iterable[TagRow], tokenizer: Tokenizer, recipe: Recipe, limit: int) -> Self:
        names: set[str] = set()
        marks = Marks()
        tagged = False
        path: str | Path = ""

        def tags() -> Iterator[Sequence[str]]:
            nonlocal tagged, path
            for row in rows:
                path = row.place.path
                tagged = tagged or row.tags is not None
                names.update(row.tags or ())
                if row.spans is not None:
                    names.update(f"{prefix}-{span.label}" for span in row.spans for prefix in "BI")
                    names.add(OUTSIDE)
                marks.see(tokens_of(row))
                yield row.tags or ()

        recognised = recognise(tags())
        scheme = recognised if tagged else Scheme.IOB2
        if len(names) < 2:
            raise DataError(
                f"one tag only: {', '.join(names) or 'none'}",
                place=Place(path),
                hint="two or more are needed; does --label name the right column?",
            )
        max_length = recipe.max_length or limit
        stride = min(recipe.stride, (max_length - tokenizer.template.n_single) // 2)
        return cls(
            labels=in_order(names),
            scheme=scheme,
            max_length=max_length,
            stride=stride,
            joints=marks.joints(),
        )

    def encode(self, rows: Sequence[TagRow], tokenizer: Tokenizer, labelled: bool) -> Encodings:
        template, split = tokenizer.template, [self.words(row) for row in rows]
        found = tokenizer.encode_words([row.text for row in rows], split)
        whole = [
            subwords(encoding, len(words), tokenizer.unk_id)
            for encoding, words in zip(found, split, strict=True)
        ]
        pieces = Pieces.of([ids for ids, _ in whole])
        sizes = np.minimum(pieces.lengths, self.max_length - template.n_single)
        row, starts = windows(pieces.lengths, sizes, self.stride)
        shown = pieces[row].part(starts, sizes[row])
        alone = np.zeros(len(row), np.bool_)
        encodings = join_texts(shown, Pieces.none(len(row)), alone, template)
        # Where two windows overlap, the middle parts them: each word is read once, in the window
        # that shows most of its surroundings.
        begins = starts.copy()
        later = np.flatnonzero(row[1:] == row[:-1]) + 1
        begins[later] = (starts[later] + (starts + sizes[row])[later - 1]) // 2
        n_firsts = np.fromiter((len(own) for _, own in whole), np.int64, len(whole))
        firsts = np.concatenate([np.empty(0, np.int64), *(own for _, own in whole)])
        firsts += np.repeat(pieces.starts, n_firsts)
        bounds = np.append(pieces.starts[row] + begins, len(pieces.ids))
        cu_reads = np.searchsorted(firsts, bounds)
        before = np.repeat(shown.starts - len(template.before), np.diff(cu_reads))
        encodings = replace(
            encodings,
            reads=(firsts - before).astype(np.int32),
            cu_reads=cu_reads,
            cu_rows=cumulate(np.bincount(row, minlength=len(rows))),
            cut=Cut.of(np.zeros_like(pieces.lengths), pieces.lengths),
        )
        if not labelled:
            return encodings
        targets = np.concatenate([np.empty(0, np.int64), *self._gold_ids(rows)])
        return replace(encodings, targets=targets)

    def _gold_ids(self, rows: Iterable[TagRow]) -> list[Ints]:
        """For each row, (words,) the ids of its tags."""
        ids = LabelIds(self.labels)
        found: list[Ints] = []
        for row in rows:
            tags, n_words = self.gold_tags(row), len(self.words(row))
            assert len(tags) == n_words, "each word has one tag"
            found.append(np.array([ids.add(tag, row.place) for tag in tags], np.int64))
        ids.refuse_unknown()
        return found

    def gold_tags(self, row: TagRow) -> Sequence[str]:
        if row.tags is not None:
            return row.tags
        words = self.words(row)
        if error := two_in_one_word(row, words):
            raise error
        spans = [words_under(span, words) for span in row.spans or ()]
        return from_entities(len(words), [s for s in spans if s], self.scheme)

    def decode(self, rows: Sequence[TagRow], encodings: Encodings, logits: Logits) -> list[Tagged]:
        legal = transitions(self.labels, self.scheme)

        def tagged(i: int, row_logits: Logits) -> Tagged:
            p = softmax(row_logits) if len(row_logits) else row_logits
            path = best_path(np.log(np.maximum(p, 1e-300)), *legal)
            tags = tuple(self.labels[label] for label in path)
            words = self.words(rows[i])[: len(tags)]  # fewer where only a first window was read
            found = self._entities(rows[i].text, words, tags, p, path)
            return Tagged(rows[i].text, words, tags, found)

        return per_row(encodings, logits, tagged)

    def library_input(self, row: TagRow) -> RowInput:
        return row.library_input()

    def from_library(self, row: TagRow, found: Found) -> Tagged:
        return Tagged.of_library(row.text, found, self.labels)

    def in_offset_unit(self, row: TagRow, prediction: Tagged, unit: OffsetUnit) -> Tagged:
        return prediction.in_unit(unit)

    def _entities(
        self,
        text: str,
        words: Sequence[tuple[int, int]],
        tags: Sequence[str],
        p: Logits,
        path: Sequence[int],
    ) -> tuple[Entity, ...]:
        found = []
        if self.scheme is Scheme.PLAIN and OUTSIDE not in self.labels:
            return ()
        for label, first, last in entities(tags, self.scheme):
            start, end = words[first][0], words[last - 1][1]
            score = float(np.mean([p[word, path[word]] for word in range(first, last)]))
            found.append(Entity(start, end, text[start:end], label, score))
        return tuple(found)

    def score(self, rows: Iterable[TagRow], predictions: Iterable[Tagged]) -> metrics.Scorer:
        if self.scheme is Scheme.PLAIN:
            pairs = ((self.gold_tags(r), p) for r, p in zip(rows, predictions, strict=True))
            counts = ((sum(map(str.__eq__, gold, p.tags)), len(p.words)) for gold, p in pairs)
            right, total = np.fromiter(counts, dtype=np.dtype((np.int64, 2))).T
            return metrics.Tokens(right, total)
        return metrics.Entities(
            (self.gold_entities(row) for row in rows),
            (set(p.spans) for p in predictions),
        )

    def gold_entities(self, row: TagRow) -> set[LabelledSpan]:
        """Start and end in the text, and type, of a labelled row's entities. Raises DataError for
        tags in another scheme than the model's, which would count as no entity."""
        if row.spans is not None:
            return {(span.start, span.end, span.label) for span in row.spans}
        for tag in row.tags or ():
            if parse(tag, self.scheme).role == "?":
                raise DataError(
                    f"{tag!r} is no {self.scheme} tag, as the model's are",
                    place=in_role(row.place, "label"),
                    hint=f"training has {listed(self.labels)}",
                )
        found = entities(row.tags or (), self.scheme)
        words = self.words(row)
        return {(words[a][0], words[b - 1][1], label) for label, a, b in found}

    def by_label(
        self, scorer: metrics.Scorer, rows: metrics.ChosenRows | None = None
    ) -> dict[str, dict[str, float]]:
        return scorer.by_type(rows) if isinstance(scorer, metrics.Entities) else {}

    @property
    def scored_labels(self) -> tuple[str, ...]:
        if self.scheme is Scheme.PLAIN:
            return self.labels
        return tuple(dict.fromkeys(label[2:] for label in self.labels if label != OUTSIDE))

    @property
    def label_noun(self) -> str:
        return "label" if self.scheme is Scheme.PLAIN else "type"

    def judge(self, row: TagRow, prediction: Tagged) -> Judged:
        if self.scheme is Scheme.PLAIN:
            return judge_tags(self.gold_tags(row), prediction.tags)
        return judge_entities(self.gold_entities(row), prediction.spans)

    def mistake(self, row: TagRow, prediction: Tagged) -> Mistake:
        if self.scheme is Scheme.PLAIN:
            return tag_mistake(row.text, prediction.words, self.gold_tags(row), prediction.tags)
        return entity_mistake(row.text, self.gold_entities(row), prediction.spans.keys())

    def contrast(self, row: TagRow, a: Tagged, b: Tagged) -> tuple[str, str, str]:
        """Only what the three don't agree on."""
        return contrast_spans(row.text, self._spans(row), self._spans(a), self._spans(b))

    def _spans(self, one: TagRow | Tagged) -> set[LabelledSpan]:
        """The entities of a tagged text, or the words with their tags where these make none."""
        if self.scheme is Scheme.PLAIN:
            words, tags = one.words or (), one.tags or ()
            return {(start, end, tag) for (start, end), tag in zip(words, tags, strict=True)}
        return self.gold_entities(one) if isinstance(one, TagRow) else set(one.spans)

    def has_labels_of(self, other: Self) -> bool:
        return set(self.labels) == set(other.labels) and self.scheme is other.scheme

    def label_judge(self) -> LabelJudge[Self]:
        return WordJudge(self.labels, self.scheme)

    def uncertainty(self, chunk: Chunk[TagRow]) -> Uncertainty:
        return uncertain_words(*chunk[1:])

    def suggestion(self, prediction: Tagged) -> Suggestion:
        return suggested_tags(prediction, sorted(self._spans(prediction)))

    @property
    def labelling(self) -> Labelling:
        return Labelling("spans", self.scored_labels)

    @classmethod
    def wire_input(cls) -> type[Sentence]:
        return Sentence

    @classmethod
    def texts(cls, row: TagRow) -> tuple[str, ...]:
        return (row.text,)

    def word_spans(self, row: TagRow) -> Sequence[WordSpans]:
        return (self.words(row),)

    def with_texts(self, row: TagRow, texts: Sequence[str], words: Sequence[WordSpans]) -> TagRow:
        return row.with_text(texts[0], words[0])

    @classmethod
    def gold_text(cls, row: TagRow) -> str:
        if row.tags is None:
            return in_words(f"{row.text[s.start : s.end]} [{s.label}]" for s in row.spans or ())
        tagged = zip(row.words or (), row.tags, strict=True)
        return in_words(f"{row.text[a:b]}/{tag}" for (a, b), tag in tagged if tag != OUTSIDE)

    @classmethod
    def gold_key(cls, row: TagRow) -> Hashable:
        return row.tags, row.spans

    @classmethod
    def labels_in(cls, row: TagRow) -> tuple[str, ...]:
        return tuple(span.label for span in row.spans or ()) if row.tags is None else row.tags

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        scheme, joints = Scheme(fields["scheme"]), Joints(**fields["joints"])
        return cls(**{**fields, "scheme": scheme, "joints": joints})

    @classmethod
    def of_saved(cls, layer: SavedLayer) -> Self | None:
        """The prefixes of the label names tell the scheme; B and I alone are read as IOB2."""
        if layer.form != "TokenClassification":
            return None
        scheme = recognise([[label] for label in layer.labels])
        return cls(
            labels=layer.labels,
            scheme=Scheme.IOB2 if scheme is Scheme.IOB1 else scheme,
            max_length=layer.positions,
            stride=min(128, layer.positions // 4),
        )
