"""Tagging schemes and words, against seqeval and the BERT tokenizer's own splitter."""

import itertools
import string
from unicodedata import category, ucd_3_2_0

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities
from tokenizers import PreTokenizedString
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from onelayer.base.errors import DataError
from onelayer.tasks.tag.schemes import (
    EntityWords,
    Scheme,
    entities,
    from_entities,
    recognise,
    transitions,
    violations,
)
from onelayer.tokens.words import Joints, Marks, split_words

PREFIXES = {
    Scheme.IOB1: "IB",
    Scheme.IOB2: "BI",
    Scheme.BIOES: "BIES",
    Scheme.BMES: "BMES",
    Scheme.BILOU: "BILU",
}
SEQEVAL = {
    Scheme.IOB1: IOB1,
    Scheme.IOB2: IOB2,
    Scheme.BIOES: IOBES,
    Scheme.BILOU: BILOU,
}


def labels(scheme: Scheme) -> list[str]:
    return ["O", *(f"{prefix}-{type_}" for type_ in "XY" for prefix in PREFIXES[scheme])]


def all_sequences(scheme: Scheme, longest: int = 4) -> list[tuple[str, ...]]:
    lengths = range(1, longest + 1)
    return [tags for n in lengths for tags in itertools.product(labels(scheme), repeat=n)]


# Schemes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("B-X I-X O B-X", Scheme.IOB2),
        ("I-X I-X O I-X B-X", Scheme.IOB1),  # B only between adjacent entities
        ("I-X I-X O I-Y", Scheme.IOB1),
        ("B-X I-X O B-X I-X O I-Y", Scheme.IOB2),  # with one mistake
        ("B-X E-X O S-X", Scheme.BIOES),
        ("B-X M-X E-X O S-X", Scheme.BMES),
        ("B M E S S", Scheme.BMES),
        ("B-X I-X L-X O U-X", Scheme.BILOU),
        ("O O", Scheme.IOB2),
        ("DET NOUN VERB", Scheme.PLAIN),
        ("person O person", Scheme.PLAIN),
        ("B-X I-X O B-X S-X" + " B-X O" * 3, Scheme.IOB2),
        ("B-X O " * 10 + "PER", Scheme.IOB2),
    ],
)
def test_scheme_is_recognised(tags: str, scheme: Scheme) -> None:
    assert recognise([tags.split()]) is scheme


@pytest.mark.parametrize("scheme", [Scheme.IOB1, Scheme.IOB2, Scheme.BIOES])
def test_entities_of_any_sequence_equal_conlleval(scheme: Scheme) -> None:
    for tags in all_sequences(scheme):
        lenient = [(type_, first, last + 1) for type_, first, last in get_entities(list(tags))]
        assert entities(tags, scheme) == lenient


@pytest.mark.parametrize("scheme", SEQEVAL)
def test_entities_of_a_legal_sequence_equal_seqeval_strict(scheme: Scheme) -> None:
    for tags in all_sequences(scheme, longest=3):
        if not violations(tags, scheme):
            strict = Entities([list(tags)], SEQEVAL[scheme]).entities[0]
            assert entities(tags, scheme) == [(e.tag, e.start, e.end) for e in strict]


@pytest.mark.parametrize("scheme", PREFIXES)
def test_sequence_is_legal_if_its_entities_write_it_again(scheme: Scheme) -> None:
    for tags in all_sequences(scheme):
        written = from_entities(len(tags), entities(tags, scheme), scheme)
        assert (not violations(tags, scheme)) == (written == list(tags)), tags


@pytest.mark.parametrize("scheme", PREFIXES)
def test_transitions_allow_exactly_the_legal_sequences(scheme: Scheme) -> None:
    names = labels(scheme)
    allowed, start, end = transitions(names, scheme)
    for tags in all_sequences(scheme, longest=3):
        ids = [names.index(tag) for tag in tags]
        legal = (
            start[ids[0]]
            and end[ids[-1]]
            and all(allowed[i, j] for i, j in itertools.pairwise(ids))
        )
        assert legal == (not violations(tags, scheme))


@pytest.mark.parametrize(
    ("tags", "scheme", "words"),
    [
        ("O I-X O", Scheme.IOB2, [1]),
        ("B-X I-Y", Scheme.IOB2, [1]),
        ("B-X O", Scheme.IOB1, [0]),
        ("B-X O", Scheme.BIOES, [1]),
        ("O B-X", Scheme.BIOES, [1]),  # a sentence can't end here
        ("B-X ? I-X", Scheme.IOB2, [1, 2]),
    ],
)
def test_violations_name_the_word(tags: str, scheme: Scheme, words: list[int]) -> None:
    assert violations(tags.split(), scheme) == words


@st.composite
def sentences(draw: st.DrawFn) -> tuple[int, list[EntityWords]]:
    """A number of words and non-overlapping entities, some with dashes in their types."""
    cuts = sorted(draw(st.sets(st.integers(0, 20), min_size=2)))
    types = st.sampled_from(["PER", "PER.NAM", "a-b", "人名", ""])
    spans = [(draw(types), *span) for span in itertools.pairwise(cuts) if draw(st.booleans())]
    return cuts[-1] + draw(st.integers(0, 3)), spans


@given(sentences(), st.sampled_from(sorted(PREFIXES)))
def test_entities_survive_a_round_trip(
    sentence: tuple[int, list[EntityWords]], scheme: Scheme
) -> None:
    n_words, spans = sentence
    tags = from_entities(n_words, reversed(spans), scheme)
    assert len(tags) == n_words
    assert entities(tags, scheme) == spans
    assert violations(tags, scheme) == []


def test_plain_tags_are_grouped_into_runs() -> None:
    tags = ["person", "person", "O", "place"]
    assert entities(tags, Scheme.PLAIN) == [("person", 0, 2), ("place", 3, 4)]
    assert from_entities(4, [("person", 0, 2), ("place", 3, 4)], Scheme.PLAIN) == tags
    assert transitions(tags, Scheme.PLAIN)[0].all()


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([("X", 0, 2), ("Y", 1, 3)], "'Y' at word 1 overlaps 'X'"),
        ([("X", 2, 2)], "words 2 to 2 of 3"),
        ([("X", 2, 4)], "words 2 to 4 of 3"),
    ],
)
def test_overlapping_or_outside_entities_are_refused(
    spans: list[EntityWords], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        from_entities(3, spans, Scheme.IOB2)


# Words -------------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    return [text[begin:end] for begin, end in split_words(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't  stop!", ["Don", "'", "t", "stop", "!"]),
        ("我爱BERT。", ["我", "爱", "BERT", "。"]),
        ("ひらがな 한국어", ["ひらがな", "한국어"]),
        ("cafe\u0301 นี้ कि", ["cafe\u0301", "นี้", "कि"]),
        ("5€ 😀😀ok", ["5", "€", "😀", "😀", "ok"]),
        ("👨‍👩‍👧👍🏽x", ["👨‍👩‍👧", "👍🏽", "x"]),
        ("a\u200db \u200bc ، د", ["a\u200db", "\u200bc", "،", "د"]),
        ("a \u200d b", ["a", "\u200d", "b"]),
        ("", []),
    ],
)
def test_text_is_split_into_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text())
def test_words_are_in_order_and_cover_every_visible_character(text: str) -> None:
    spans = split_words(text)
    assert all(begin < end for begin, end in spans)
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(spans))
    held = {position for begin, end in spans for position in range(begin, end)}
    assert held == {position for position, c in enumerate(text) if not c.isspace()}


def is_settled(character: str) -> bool:
    """Whether a character was assigned in the old Unicode version of the tokenizer's tables."""
    return ucd_3_2_0.category(character) == category(character)


shared = st.text(
    st.sampled_from(string.printable[:-3] + "我们的、。「」—«»،؟")
    | st.characters(
        max_codepoint=0x2FFF, categories=["L", "Nd", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Zs"]
    ).filter(is_settled)
)


@given(shared)
@example("Ünïcode—ok? 我们 are 3.5% «là» ١٢")
def test_words_equal_the_bert_pre_tokenizer(text: str) -> None:
    """Except for symbols, marks and controls, which we keep with their word."""
    normalizer = BertNormalizer(
        clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    pieces = PreTokenizedString(text)
    pieces.normalize(normalizer.normalize)
    BertPreTokenizer().pre_tokenize(pieces)
    expected = [span for _, span, _ in pieces.get_splits("original", "char")]
    assert split_words(text) == expected


def test_raw_text_is_split_like_the_training_words() -> None:
    sentences = [
        ["@ann", "met", "Jean-Luc", "'s", "aunt", "-", "at", "3.5"],
        ["@bob", "'s", "e-mail", "cost", "1.2", "."],
    ]
    text = "Rolls-Royce's 4.5 - said @eve. 你好"

    marks = Marks()
    for sentence in sentences:
        marks.see(sentence)
    joints = marks.joints()

    assert joints == Joints(inner="-.", leading="'@")
    words = ["Rolls-Royce", "'s", "4.5", "-", "said", "@eve", ".", "你", "好"]
    assert [text[start:end] for start, end in split_words(text, joints)] == words


@given(st.text(alphabet="ab-.'@ 你", max_size=30))
def test_joints_only_merge_neighbouring_words(text: str) -> None:
    plain = split_words(text)
    joined = split_words(text, Joints(inner="-.", leading="'@"))

    assert {start for start, _ in joined} <= {start for start, _ in plain}
    assert {end for _, end in joined} <= {end for _, end in plain}
    assert sum(end - start for start, end in joined) == sum(end - start for start, end in plain)
