"""Starts and ends of spans, counted as Python, Java, JavaScript, Go and Rust count."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import onelayer
from onelayer import Predictor, UsageError, load
from onelayer.base.text_offsets import OffsetUnit, TextOffsets
from support.tiny_bert import MakeBert

ENCODINGS: dict[OffsetUnit, tuple[str, int]] = {
    "codepoint": ("utf-32-le", 4),
    "utf16": ("utf-16-le", 2),
    "utf8": ("utf-8", 1),
}
# An emoji of four code points that joiners make one, a flag, a combining accent, CJK.
TEXT = "a 👩\u200d🔬 cat 🇫🇷 cafe\u0301 我们 good"


def encoded(text: str, unit: OffsetUnit) -> list[bytes]:
    """The units of a text, as another language has them."""
    encoding, size = ENCODINGS[unit]
    data = text.encode(encoding, "surrogatepass")
    return [data[i : i + size] for i in range(0, len(data), size)]


@given(st.text(st.characters(exclude_categories=[])), st.sampled_from(list(ENCODINGS)), st.data())
def test_span_is_the_same_text_in_every_unit(text: str, unit: OffsetUnit, data: Any) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    offsets = TextOffsets(text, unit)
    first, last = offsets.span(start, end)

    # Halves of surrogate pairs next to each other become one character in UTF-16, so no half here.
    if unit != "utf16" or not any("\ud800" <= character <= "\udfff" for character in text):
        assert encoded(text, unit)[first:last] == encoded(text[start:end], unit)
    assert (offsets.code_point(first), offsets.code_point(last)) == (start, end)


@pytest.mark.parametrize(("text", "unit", "position"), [("a😀", "utf16", 2), ("é", "utf8", 1)])
def test_position_inside_a_character_is_refused(text: str, unit: OffsetUnit, position: int) -> None:
    with pytest.raises(ValueError, match=f"no character starts at {position}"):
        TextOffsets(text, unit).code_point(position)


@pytest.mark.parametrize("position", [-1, 4])
@pytest.mark.parametrize("text", ["abc", "a😀c"])
def test_position_outside_the_text_is_refused(text: str, position: int) -> None:
    with pytest.raises(ValueError, match="no character starts at"):
        TextOffsets(text, "codepoint").code_point(position)


@pytest.fixture(scope="module")
def tagger(make_bert: MakeBert) -> Path:
    return make_bert("BertForTokenClassification", labels=("B-X", "I-X"))


def cut(text: str, span: Any, unit: OffsetUnit) -> str:
    encoding, _ = ENCODINGS[unit]
    return b"".join(encoded(text, unit)[span["start"] : span["end"]]).decode(encoding)


@pytest.mark.parametrize("unit", ["utf16", "utf8"])
def test_entities_are_cut_out_by_offsets_of_the_unit(tagger: Path, unit: OffsetUnit) -> None:
    (usual,) = load(tagger).predict([TEXT])
    (found,) = load(tagger).with_offsets(unit).predict([TEXT])

    made = found.to_json()
    assert made["offsets"] == unit
    assert made["words"] == usual.to_json()["words"]
    assert made["entities"]
    assert [cut(TEXT, one, unit) for one in made["entities"]] == [e.text for e in usual.entities]
    assert "offsets" not in usual.to_json()


def test_answers_are_cut_out_by_offsets_of_the_unit(make_bert: MakeBert) -> None:
    model = load(make_bert("BertForQuestionAnswering"))
    found = model.with_offsets("utf16").predict([("what?", TEXT)])[0].to_json()

    assert found["candidates"]
    for span in (found, *found["candidates"]):
        assert cut(TEXT, span, "utf16") == span["text"]


def test_predict_counts_as_its_flag_says(tagger: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": TEXT}) + "\n")
    written = io.BytesIO()
    onelayer.predict(tagger, tmp_path / "rows.jsonl", out=written, offsets="utf8")

    prediction = json.loads(written.getvalue())["prediction"]
    assert prediction["entities"]
    for entity in prediction["entities"]:
        assert cut(TEXT, entity, "utf8") == entity["text"]


def test_unit_needs_a_task_with_spans(tagger: Path, make_bert: MakeBert) -> None:
    classifier: Predictor = load(make_bert("BertForSequenceClassification", labels=("a", "b")))
    with pytest.raises(UsageError, match="--offsets is for tag and answer"):
        classifier.with_offsets("utf16")
    with pytest.raises(UsageError, match="no unit of offsets 'utf32'"):
        onelayer.predict(tagger, ["a"], offsets="utf32")  # type: ignore[arg-type]
