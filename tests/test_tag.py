"""Tagging: windows over long sentences, legal sequences only, and spans in characters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onelayer.base.errors import DataError, Place
from onelayer.recipe import Recipe
from onelayer.tasks.tag.schemes import Scheme, from_entities, transitions, violations
from onelayer.tasks.tag.tag import Tag
from onelayer.tasks.tag.tag_rows import Entity, TagRow
from onelayer.tasks.tag.viterbi import best_path
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer

HERE = Place("rows.conll", 1)
IOB2 = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
EMPTY = "\u200b"
"""A word without tokens."""


def tagger(
    labels: Sequence[str] = IOB2,
    scheme: Scheme = Scheme.IOB2,
    *,
    max_length: int = 64,
    stride: int = 8,
) -> Tag:
    return Tag(labels=tuple(labels), scheme=scheme, max_length=max_length, stride=stride)


def sentence(words: Sequence[str], tags: Sequence[str] | None = None) -> TagRow:
    values = {"text": list(words), "label": list(tags) if tags is not None else None}
    return Tag.row(values, HERE, tags is not None)


def logits_for(tags: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Logits that are certain of the given tags."""
    return 10.0 * np.eye(len(labels), dtype=np.float32)[[labels.index(tag) for tag in tags]]


# Windows -----------------------------------------------------------------------------------------

WORDS = st.lists(
    st.sampled_from(["cat", "the", "x", "abcdefg", "京", "🙂", EMPTY, "good"]),
    min_size=1,
    max_size=60,
)


def read_words(encodings: Encodings) -> list[tuple[int, int]]:
    """For each word in order, the sequence and the position at which it is read."""
    bounds = encodings.cu_reads.tolist()
    return [
        (sequence, int(position))
        for sequence in range(len(encodings.lengths))
        for position in encodings.reads[bounds[sequence] : bounds[sequence + 1]]
    ]


@given(words=WORDS, max_length=st.integers(8, 24), data=st.data())
def test_each_word_is_read_once_at_its_first_piece(
    tokenizer: Tokenizer, words: list[str], max_length: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(0, (max_length - 2) // 2))
    task = tagger(max_length=max_length, stride=stride)
    encodings = task.encode([sentence(words)], tokenizer, labelled=False)
    assert max(encodings.lengths) <= max_length
    read = read_words(encodings)
    firsts = [(encoding.ids or [tokenizer.unk_id])[0] for encoding in tokenizer.encode(words)]
    starts = encodings.cu_seqlens
    assert [int(encodings.ids[starts[s] + position]) for s, position in read] == firsts
    for start, end in itertools.pairwise(starts.tolist()):  # sequences are complete
        assert encodings.ids[start] == tokenizer.cls_id
        assert encodings.ids[end - 1] == tokenizer.sep_id


@given(n=st.integers(1, 60), max_length=st.integers(8, 24), data=st.data())
def test_each_word_is_read_in_the_window_with_most_context(
    tokenizer: Tokenizer, n: int, max_length: int, data: st.DataObject
) -> None:
    """No other window that contains the word has more context around it."""
    stride = data.draw(st.integers(0, (max_length - 2) // 2))
    task = tagger(max_length=max_length, stride=stride)
    encodings = task.encode([sentence(["x"] * n)], tokenizer, labelled=False)
    windows = spans_of_windows(n, encodings, max_length - 2, stride)
    for word, (sequence, position) in enumerate(read_words(encodings)):
        assert word == windows[sequence][0] + position - 1
        context = [
            min(word - start if start else n, end - 1 - word if end < n else n)
            for start, end in windows
            if start <= word < end
        ]
        start, end = windows[sequence]
        own = min(word - start if start else n, end - 1 - word if end < n else n)
        assert own == max(context)


def spans_of_windows(n: int, encodings: Encodings, size: int, stride: int) -> list[tuple[int, int]]:
    """Windows of ``size`` words that overlap by ``stride``; the last one ends the text."""
    spans = [
        (min(i * (size - stride), max(n - size, 0)), min(i * (size - stride) + size, n))
        for i in range(len(encodings.lengths))
    ]
    assert [end - start + 2 for start, end in spans] == encodings.lengths.tolist()
    assert spans[0][0] == 0
    assert spans[-1][1] == n
    return spans


def test_long_sentence_is_tagged_completely(tokenizer: Tokenizer) -> None:
    words = [f"cat{i}" for i in range(100)]
    tags = ["B-PER" if i % 3 == 0 else "I-PER" if i % 3 == 1 else "O" for i in range(100)]
    task = tagger(max_length=20, stride=6)
    row = sentence(words, tags)
    encodings = task.encode([row], tokenizer, labelled=True)
    assert len(encodings.lengths) > 10
    assert encodings.cut.tokens == 0
    assert encodings.targets is not None
    assert [IOB2[i] for i in encodings.targets] == tags
    (tagged,) = task.decode([row], encodings, logits_for(tags, IOB2))
    assert tagged.tags == tuple(tags)
    assert len(tagged.entities) == 34


@pytest.mark.parametrize(
    "words",
    [
        [EMPTY],
        [EMPTY, "cat"],
        ["cat", EMPTY],
        ["cat", EMPTY, "cat"],
        [EMPTY, EMPTY, "cat", EMPTY, EMPTY],
    ],
)
def test_words_without_tokens_get_labels(words: list[str], tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_words([EMPTY], [[(0, len(EMPTY))]])[0].ids == []
    tags = ["B-PER", "I-PER", "O", "B-LOC", "O"][: len(words)]
    row = sentence(words, tags)
    encodings = tagger().encode([row, row], tokenizer, labelled=True)
    assert encodings.row_reads.tolist() == [0, len(words), 2 * len(words)]
    found = tagger().decode([row, row], encodings, logits_for(tags * 2, IOB2))
    assert [one.tags for one in found] == [tuple(tags)] * 2


def test_text_without_words_has_no_tags(tokenizer: Tokenizer) -> None:
    rows = [Tag.row({"text": text}, HERE, False) for text in ("", " \n")] + [sentence(["cat"])]
    encodings = tagger().encode(rows, tokenizer, labelled=False)
    found = tagger().decode(rows, encodings, logits_for(["B-PER"], IOB2))
    assert [one.tags for one in found] == [(), (), ("B-PER",)]


# Legal sequences ---------------------------------------------------------------------------------


def labels_of(scheme: Scheme, types: str = "XY") -> list[str]:
    letters = {"BIOES": "BIES", "BMES": "BMES", "BILOU": "BILU"}.get(str(scheme), "BI")
    return ["O", *(f"{letter}-{type_}" for type_ in types for letter in letters)]


@pytest.mark.slow
@settings(max_examples=150)
@given(
    st.sampled_from([scheme for scheme in Scheme if scheme is not Scheme.PLAIN]),
    st.data(),
)
def test_best_path_equals_brute_force_over_legal_paths(scheme: Scheme, data: st.DataObject) -> None:
    labels = labels_of(scheme, data.draw(st.sampled_from(["X", "XY"])))
    n = data.draw(st.integers(1, 4 if len(labels) < 6 else 3))
    row = st.lists(st.integers(-8, 8), min_size=len(labels), max_size=len(labels))
    scores = np.asarray(data.draw(st.lists(row, min_size=n, max_size=n)), dtype=np.float64)

    path = best_path(scores, *transitions(labels, scheme))

    assert violations([labels[i] for i in path], scheme) == []
    legal = [
        sum(scores[i, label] for i, label in enumerate(sequence))
        for sequence in itertools.product(range(len(labels)), repeat=n)
        if not violations([labels[i] for i in sequence], scheme)
    ]
    assert sum(scores[i, label] for i, label in enumerate(path)) == max(legal)


@given(
    scheme=st.sampled_from([scheme for scheme in Scheme if scheme is not Scheme.PLAIN]),
    n=st.integers(0, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_predicted_tags_are_always_legal(
    tokenizer: Tokenizer, scheme: Scheme, n: int, seed: int
) -> None:
    labels = labels_of(scheme)
    task = tagger(labels, scheme, max_length=16, stride=4)
    row = TagRow("x " * n, tuple((2 * i, 2 * i + 1) for i in range(n)), None, None, HERE)
    encodings = task.encode([row], tokenizer, labelled=False)
    logits = np.random.default_rng(seed).normal(scale=20.0, size=(n, len(labels)))
    (tagged,) = task.decode([row], encodings, logits.astype(np.float32))
    assert len(tagged.tags) == n
    assert violations(tagged.tags, scheme) == []


def test_plain_tags_are_the_most_likely_of_each_word(tokenizer: Tokenizer) -> None:
    task = tagger(("DET", "NOUN"), Scheme.PLAIN)
    row = sentence(["a", "cat", "b"])
    encodings = task.encode([row], tokenizer, labelled=False)
    logits = np.asarray([[2, 1], [-1, 0], [-5, -4]], dtype=np.float32)
    assert task.decode([row], encodings, logits)[0].tags == ("DET", "NOUN", "NOUN")


# Spans of characters -----------------------------------------------------------------------------

TEXT = "我们在北京🙂, é\u0301t\u00e9 👨‍👩‍👧 saw שלום"


@pytest.mark.parametrize("scheme", [Scheme.IOB2, Scheme.BIOES, Scheme.PLAIN])
@pytest.mark.parametrize("mention", ["北京", "🙂", "é\u0301té", "👨‍👩‍👧 saw", "שלום", "我"])
def test_gold_span_survives_encode_and_decode(
    mention: str, scheme: Scheme, tokenizer: Tokenizer
) -> None:
    start = TEXT.index(mention)
    end = start + len(mention)
    gold = [{"start": start, "end": end, "label": "X"}]
    row = Tag.row({"text": TEXT, "label": gold}, HERE, True)
    labels = labels_of(scheme) if scheme is not Scheme.PLAIN else ["O", "X"]
    task = tagger(labels, scheme)
    encodings = task.encode([row], tokenizer, labelled=True)
    assert encodings.targets is not None
    tags = [labels[i] for i in encodings.targets]
    (tagged,) = task.decode([row], encodings, logits_for(tags, labels))
    assert [(e.start, e.end, e.text, e.label) for e in tagged.entities] == [
        (start, end, mention, "X")
    ]
    assert tagged.entities[0].score == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data(), scheme=st.sampled_from([Scheme.IOB1, Scheme.IOB2, Scheme.BIOES]))
def test_gold_tags_survive_encode_and_decode(
    tokenizer: Tokenizer, data: st.DataObject, scheme: Scheme
) -> None:
    """For random entities: the decoded targets are the tags, and their F1 is 1."""
    words = data.draw(st.lists(st.sampled_from(["cat", "京", "🙂", "e\u0301"]), min_size=1))
    cuts = (
        sorted(data.draw(st.sets(st.integers(0, len(words)), min_size=2, max_size=6)))
        if len(words) > 1
        else [0, 1]
    )
    spans = [
        (data.draw(st.sampled_from("XY")), a, b)
        for a, b in itertools.pairwise(cuts)
        if data.draw(st.booleans())
    ]
    tags = from_entities(len(words), spans, scheme)
    row = sentence(words, tags)
    labels = labels_of(scheme)
    task = tagger(labels, scheme, max_length=12, stride=4)
    encodings = task.encode([row], tokenizer, labelled=True)
    assert encodings.targets is not None
    logits = 10.0 * np.eye(len(labels))[encodings.targets.astype(int)]
    (tagged,) = task.decode([row], encodings, logits)
    assert list(tagged.tags) == tags
    places = [(type_, row.words[first][0], row.words[last - 1][1]) for type_, first, last in spans]
    assert [(e.label, e.start, e.end) for e in tagged.entities] == places
    assert all(e.text == row.text[e.start : e.end] for e in tagged.entities)
    assert task.score([row], [tagged])()["f1"] == (1.0 if spans else 0.0)


def test_entity_score_is_the_mean_probability_of_its_words(tokenizer: Tokenizer) -> None:
    task = tagger(("O", "B-X", "I-X"))
    row = sentence(["a", "b"])
    encodings = task.encode([row], tokenizer, labelled=False)
    p = np.asarray([[0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    (tagged,) = task.decode([row], encodings, np.log(p))
    assert tagged.entities == (Entity(0, 3, "a b", "X", pytest.approx(0.7)),)


# Rows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["a", "b"], "a b"),
        (["我", "们"], "我们"),
        (["我", "b", "们", "。", "x"], "我 b 们。 x"),
        (["🙂", "北", "京"], "🙂 北京"),
    ],
)
def test_words_are_joined_by_the_rules_of_their_script(words: list[str], text: str) -> None:
    row = sentence(words)
    assert row.text == text
    assert [row.text[start:end] for start, end in row.words] == words


def test_words_are_joined_by_space_after() -> None:
    values = {"text": ["do", "n't", "."], "space_after": [False, False, True]}
    assert Tag.row(values, HERE, False).text == "don't."


def test_fit_sets_labels_scheme_and_stride(tokenizer: Tokenizer) -> None:
    """Labels in order, the scheme, and a stride that fits into a window."""
    rows = [sentence(["a", "b"], ["B-X", "I-X"]), sentence(["c"], ["O"])]
    task = Tag.fit(rows, tokenizer, Recipe(stride=128), 64)
    assert task == tagger(("B-X", "I-X", "O"), max_length=64, stride=31)


def test_illegal_tag_is_reported_with_its_word() -> None:
    legal, illegal = sentence(["a"], ["B-X"]), sentence(["a", "cat"], ["O", "I-Y"])
    judge = Tag.check([legal, legal, legal, illegal])
    assert judge(legal) is None
    error = judge(illegal)
    assert "I-Y after O at 'cat', word 2" in str(error)


@pytest.mark.parametrize("tags", [["B-X", "I-X"], ["S-X", "O"], ["NOUN", "VERB"]])
def test_file_of_legal_tags_is_not_read_again(tags: list[str]) -> None:
    """To judge each row takes one more pass through the file."""
    rows = [sentence(["a", "cat"], tags)] * 3
    assert Tag.check(rows) is None
    mixed = [*rows, sentence(["a", "cat"], ["B-X", "I-Y"])] * 30
    assert (Tag.check(mixed) is None) == (tags[1] == "VERB")


def test_two_entities_in_one_word_are_refused_with_their_place() -> None:
    """A word has one tag, so two entities in one word can't be represented."""

    def spanned(*spans: tuple[int, int, str]) -> TagRow:
        return Tag.row({"text": "abcd, ef", "label": list(spans)}, HERE, True)

    rows = [spanned((0, 4, "X"), (6, 8, "Y")), spanned((0, 2, "X"), (2, 4, "Y"))]
    fine, error = map(Tag.check(rows), rows)
    assert fine is None
    assert "rows.conll:1: two entities in one word: 'ab' X and 'cd' Y" in str(error)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": ["a", "b"], "label": ["O"]}, "1 tags for 2 words"),
        ({"text": [], "label": []}, "without words"),
        ({"text": "cat", "label": [[0, 4, "X"]]}, "outside the text"),
        ({"text": "cat", "label": [[0, 2, "X"], [1, 3, "Y"]]}, "overlapping"),
        ({"text": "cat", "label": None}, "no list of entities"),
    ],
)
def test_malformed_row_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Tag.row(values, HERE, True)


def test_label_missing_from_training_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="'B-ORG' does not occur"):
        tagger().encode([sentence(["a"], ["B-ORG"])], tokenizer, labelled=True)
