"""Given a CoNLL or CoNLL-U file, each sentence is a record of lists."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from onelayer.base.errors import DataError
from onelayer.data.readers import read_table


def sentences(path: Path, content: str) -> list[Mapping[str, Any]]:
    path.write_text(content, encoding="utf-8")
    return [record.values for record in read_table(path)]


def test_two_columns_are_tokens_and_tags(tmp_path: Path) -> None:
    for space in ("\t", " ", "  "):
        content = f"EU{space}B-ORG\nsays{space}O\n\n\nno{space}O\n"
        assert sentences(tmp_path / "a.conll", content) == [
            {"tokens": ["EU", "says"], "tags": ["B-ORG", "O"]},
            {"tokens": ["no"], "tags": ["O"]},
        ]


def test_last_column_is_the_tag(tmp_path: Path) -> None:
    content = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nsays VBZ B-VP O\n"
    assert sentences(tmp_path / "eng.train", content) == [
        {
            "tokens": ["EU", "says"],
            "column2": ["NNP", "VBZ"],
            "column3": ["B-NP", "B-VP"],
            "tags": ["B-ORG", "O"],
        }
    ]


def test_blank_line_ends_a_sentence_and_line_numbers_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("one\tO\n\t\n \r\ntwo\tO\r\n")
    assert [(r.line, r.values["tokens"]) for r in read_table(path)] == [(1, ["one"]), (4, ["two"])]


def test_comments_are_skipped_but_a_hash_can_be_a_token(tmp_path: Path) -> None:
    content = (
        "# id 27 domain=en\n"  # as many columns as a token line
        "# a comment\n"
        "# _ _ O\n"
        "#happy _ _ B-MOOD\n"
        "day _ _ O\n"
        "# _ _ O\n"
    )
    (sentence,) = sentences(tmp_path / "a.conll", content)
    assert sentence["tokens"] == ["#", "#happy", "day", "#"]
    (sentence,) = sentences(tmp_path / "b.conll", "# a comment\n#note\n#\tO\n#tag\tO\nx\tO\n")
    assert sentence["tokens"] == ["#", "#tag", "x"]


def test_non_ascii_space_can_be_a_token(tmp_path: Path) -> None:
    (sentence,) = sentences(tmp_path / "a.conll", "我 O\n\u3000 O\n")
    assert sentence["tokens"] == ["我", "\u3000"]


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        ("EU\tB-ORG\nsays\n", ":2", "2 columns expected, but 1 found"),
        ("EU B-ORG\n#tagless\nno O\n", ":2", "2 columns expected"),
        ("EU\tB-ORG\nsays\t\n", ":2", "an empty tag"),
        ("-DOCSTART-\tO\n\n", "", "no sentences"),
    ],
)
def test_broken_line_is_refused_with_its_number(
    tmp_path: Path, content: str, place: str, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        sentences(tmp_path / "a.conll", content)
    assert str(caught.value).startswith(f"{tmp_path / 'a.conll'}{place}: {message}")


CONLLU = """\
# sent_id = 1
# text = We don't know. (yet)
1\tWe\twe\tPRON\tPRP\t_\t4\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\t_\t4\taux\t_\t_
3\tn't\tnot\tPART\tRB\t_\t4\tadvmod\t_\t_
4\tknow\tknow\tVERB\tVB\t_\t0\troot\t_\tSpaceAfter=No
4.1\tit\tit\tPRON\tPRP\t_\t_\t_\t_\t_
5\t.\t.\tPUNCT\t.\t_\t4\tpunct\t_\tX=1|SpaceAfter=No
"""


@pytest.mark.parametrize("name", ["a.conllu", "a.txt"])
def test_conllu_gives_words_and_space_after(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(CONLLU)
    (record,) = read_table(path)
    assert record.line == 3
    assert record.values == {
        "tokens": ["We", "do", "n't", "know", "."],
        "lemma": ["we", "do", "not", "know", "."],
        "upos": ["PRON", "AUX", "PART", "VERB", "PUNCT"],
        "xpos": ["PRP", "VBP", "RB", "VB", "."],
        "tags": ["PRON", "AUX", "PART", "VERB", "PUNCT"],
        "space_after": [True, False, True, False, False],
    }


def test_conllu_line_without_ten_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.conllu:10: 10 columns expected, but 3 found"):
        sentences(tmp_path / "a.conllu", CONLLU + "6\tyet\tyet\n")
    with pytest.raises(DataError, match="no sentences"):
        sentences(tmp_path / "a.conllu", "# text = nothing\n")


def test_spaces_before_a_tab_are_no_part_of_a_word(tmp_path: Path) -> None:
    (sentence,) = sentences(tmp_path / "a.conll", "Ann \tB-PER\nran\t O\n \tO\n")
    assert sentence == {"tokens": ["Ann", "ran", " "], "tags": ["B-PER", "O", "O"]}


def test_type_of_several_words_is_one_tag(tmp_path: Path) -> None:
    content = "Ann -X- _ B-PER\nran -X- _ O\nhome -X- _ B-Home town\nBath -X- _ I-Home town\n\n"
    for name in ("a.conll", "a.txt"):
        (sentence, _) = sentences(tmp_path / name, content * 2)
        assert sentence["tags"] == ["B-PER", "O", "B-Home town", "I-Home town"]


def test_sentences_without_blank_lines_end_at_full_stops(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    words = "Ann\tB-PER\nmet\tO\nMr\tO\n.\tI-PER\nBo\tB-PER\n.\tO\n"
    found = sentences(path, words * 30)
    assert [sentence["tokens"] for sentence in found] == [["Ann", "met", "Mr", ".", "Bo", "."]] * 30
    assert "no blank lines between sentences" in (read_table(path).note or "")
    assert len(sentences(path, words * 2)) == 1  # a short sentence may have full stops
    assert len(sentences(path, (words + "\n") * 30)) == 30
    assert read_table(path).note is None
