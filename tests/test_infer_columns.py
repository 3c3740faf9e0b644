"""``infer_columns`` finds the task and the columns of everyday files, or names the flag that is
needed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import onelayer
from onelayer.base.errors import UsageError
from onelayer.data.readers import read_table
from onelayer.data.rows import read_rows
from onelayer.tasks import TASKS
from onelayer.tasks.infer_columns import InferredColumns, infer_columns

TEXTS = [
    "The parcel came two days late, but whole.",
    "我们在湖边走了一个多小时，风很大。",
    "Could you extend my loan until Friday?",
    "Never again 🙃 will I stay in this hotel.",
    "A quiet room, with a view of the harbour.",
]
ANSWERS = {"text": ["two days late"], "answer_start": [16]}

Row = dict[str, Any]


def rows(n: int = 40, /, **columns: Any) -> list[Row]:
    """n rows. The values of a list are used in turn; in a text, ``#`` is the row's number."""

    def cell(value: Any, i: int) -> Any:
        value = value[i % len(value)] if isinstance(value, list) else value
        return value.replace("#", str(i)) if isinstance(value, str) else value

    return [{name: cell(value, i) for name, value in columns.items()} for i in range(n)]


TEXT = [f"{text} #" for text in TEXTS]
OTHER = [f"Another sentence of some words, # {text}" for text in TEXTS]


@dataclass(frozen=True)
class File:
    """A file and the expected result: the task, and ``role=column`` for each role."""

    about: str
    name: str
    rows: list[Row]
    task: str
    columns: str
    header: bool = True
    separator: str | None = None
    asked: dict[str, str] = field(default_factory=dict)
    given: str | None = None
    n_bad: int = 0

    def write(self, folder: Path) -> Path:
        return write(folder / self.name, self.rows, header=self.header)


def write(path: Path, rows: Sequence[Row], *, header: bool = True) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix in (".csv", ".tsv"):
        text = io.StringIO()
        lines = csv.writer(text, delimiter="," if path.suffix == ".csv" else "\t")
        lines.writerows([list(rows[0])] * header + [list(row.values()) for row in rows])
        path.write_text(text.getvalue(), encoding="utf-8")
    else:
        lines_ = (json.dumps(row, ensure_ascii=False) for row in rows)
        path.write_text("\n".join(lines_) + "\n", encoding="utf-8")
    return path


def inferred(
    path: Path, asked: dict[str, str], task: str | None = None, **more: Any
) -> InferredColumns:
    return infer_columns(
        read_table(path, named=tuple(asked.values())), task=task, asked=asked, **more
    )


CLASSIFY = [
    File("two columns", "a.csv", rows(text=TEXT, label=["yes", "no"]), "classify", "text label"),
    File(
        "reviews with stars",
        "reviews.csv",
        rows(id="#", date="2024-05-0#", review=TEXT, stars=["1", "3", "5"]),
        "classify",
        "text=review label=stars",
    ),
    File(
        "natural language inference",
        "nli.jsonl",
        rows(gold_label=["entailment", "neutral"], premise=TEXT, hypothesis=OTHER),
        "classify",
        "text=premise pair=hypothesis label=gold_label",
    ),
    File(
        "tickets: an unusual label name",
        "tickets.csv",
        rows(subject="Ticket no. #", body=TEXT, queue=["billing", "returns", "other"]),
        "classify",
        "text=body label=queue",
    ),
    File(
        "only headlines",
        "a.csv",
        rows(headline=TEXT, category=["sport", "arts"]),
        "classify",
        "text=headline label=category",
    ),
    File(
        "intents",
        "intents.tsv",
        rows(utterance=TEXT, intent=["greet", "leave"]),
        "classify",
        "text=utterance label=intent",
    ),
    File(
        "Chinese names",
        "zh.csv",
        rows(序号="#", 文本=TEXT, 标签=["好", "坏"]),
        "classify",
        "text=文本 label=标签",
    ),
    File(
        "a header in capitals, with spaces",
        "a.csv",
        rows(**{"Review Text": TEXT, "Review Title": OTHER, "Gold Label": ["a", "b"]}),
        "classify",
        "text=Review Text label=Gold Label",
    ),
    File(
        "the index that pandas writes",
        "a.csv",
        rows(**{"Unnamed: 0": "#", "tweet": TEXT, "class": ["0", "1", "2"]}),
        "classify",
        "text=tweet label=class",
    ),
    File("whole numbers", "a.jsonl", rows(text=TEXT, label=[0, 1]), "classify", "text label"),
    File("0.0 and 1.0", "a.csv", rows(text=TEXT, label=["0.0", "1.0"]), "classify", "text label"),
    File(
        "true and false", "a.jsonl", rows(text=TEXT, label=[True, False]), "classify", "text label"
    ),
    File(
        "77 intents as numbers from 0 (banking77)",
        "a.csv",
        rows(400, text=TEXT, label=[str(i) for i in range(77)]),
        "classify",
        "text label",
    ),
    File(
        "no header, and an id column",
        "a.tsv",
        rows(a=["good #", "bad thing #", "fine by me #"], b=["1", "0"], c="ee84bj#"),
        "classify",
        "text=column1 label=column2",
        header=False,
    ),
    File(
        "no header, and codes before the label (CoLA)",
        "a.tsv",
        rows(a=["gj04", "bc01", "l-93"], b=["1", "0"], c=["", "*"], d=TEXT),
        "classify",
        "text=column4 label=column2",
        header=False,
    ),
    File(
        "no header, and pairs",
        "a.tsv",
        rows(a=TEXT, b=OTHER, c=["0", "1"]),
        "classify",
        "text=column1 pair=column2 label=column3",
        header=False,
    ),
    File(
        "a question answered by yes or no (BoolQ)",
        "boolq.jsonl",
        rows(question=OTHER, passage=TEXT, answer=[True, False]),
        "classify",
        "text=question pair=passage label=answer",
    ),
    File(
        "QNLI",
        "a.tsv",
        rows(index="#", question=OTHER, sentence=TEXT, label=["entailment", "not"]),
        "classify",
        "text=question pair=sentence label",
    ),
    File(
        "columns named by the user",
        "a.csv",
        rows(text=TEXT, label=["a", "b"], title=OTHER, shelf=["up", "down"]),
        "classify",
        "text=title label=shelf",
        asked={"text": "title", "label": "shelf"},
    ),
    File("parquet", "a.parquet", rows(text=TEXT, label=[1, 0]), "classify", "text label"),
]

MULTI_LABEL = [
    File(
        "a list of labels",
        "a.jsonl",
        rows(text=TEXT, labels=[["joy"], ["joy", "awe"], []]),
        "classify",
        "text label=labels",
    ),
    File(
        "a column for each label, one of them always 0",
        "a.csv",
        rows(id="#a", comment_text=TEXT, toxic=["0", "1"], rude=["0", "0", "1"], rare="0"),
        "classify",
        "text=comment_text label=toxic+rude+rare",
    ),
    File(
        "Boolean columns",
        "a.parquet",
        rows(text=TEXT, urgent=[True, False], spam=[False, False, True]),
        "classify",
        "text label=urgent+spam",
    ),
    File(
        "columns of labels that the user names",
        "a.csv",
        rows(text=TEXT, label="x", joy=["yes", "no"], awe=["no", "no", "yes"]),
        "classify",
        "text label=joy+awe",
        asked={"label": "joy, awe"},
    ),
    File(
        "labels separated by semicolons",
        "a.csv",
        rows(text=TEXT, emotions=["joy", "joy;awe", "awe", "awe; rage", "rage"]),
        "classify",
        "text label=emotions",
        separator=";",
    ),
    File(
        "label numbers separated by commas (GoEmotions)",
        "a.tsv",
        rows(a=TEXT, b=["27", "4,27", "4", "3", "3,4"], c="ee84bj#"),
        "classify",
        "text=column1 label=column2",
        header=False,
        separator=",",
    ),
    File(
        "commas in the names of classes",
        "a.csv",
        rows(text=TEXT, label=["Food, drink", "Arts", "Sport, games"]),
        "classify",
        "text label",
    ),
]

REGRESS = [
    File(
        "pairs with a score, no header (STS-B)",
        "sts.csv",
        rows(a=TEXT, b=OTHER, c=["5.0", "4.75", "1.2", "0.6"]),
        "regress",
        "text=column1 pair=column2 label=column3",
        header=False,
    ),
    File(
        "scores from 1 to 100",
        "a.csv",
        rows(essay=TEXT, score=[str(i) for i in range(1, 101)]),
        "regress",
        "text=essay label=score",
    ),
    File(
        "scores with a missing value, which is a bad row",
        "a.csv",
        rows(text=TEXT, grade=[*[f"{i}.5" for i in range(19)], "n/a"]),
        "regress",
        "text label=grade",
        n_bad=2,
    ),
    File("decimals", "a.jsonl", rows(text=TEXT, label=[0.25, 1.5, 2.0]), "regress", "text label"),
    File(
        "stars as numbers on request",
        "a.csv",
        rows(review=TEXT, stars=["1", "3", "5"]),
        "regress",
        "text=review label=stars",
        given="regress",
    ),
]

TAG = [
    File(
        "tokens and tags",
        "a.jsonl",
        rows(tokens=[["In", "Rome"]], tags=[["O", "B-LOC"]]),
        "tag",
        "text=tokens label=tags",
    ),
    File(
        "a set of the Hub, with numbers as tags",
        "conll2003.parquet",
        rows(id="#", tokens=[["In", "Rome"]], pos_tags=[[15, 22]], ner_tags=[[0, 5]]),
        "tag",
        "text=tokens label=ner_tags",
    ),
    File(
        "entities by character offsets",
        "a.jsonl",
        rows(text="In Rome", entities=[[{"start": 3, "end": 7, "label": "LOC"}], []]),
        "tag",
        "text label=entities",
    ),
    File(
        "doccano",
        "a.jsonl",
        rows(id="#", text="In Rome", label=[[], [[3, 7, "LOC"]]]),
        "tag",
        "text label",
    ),
    File(
        "doccano, with relations",
        "a.jsonl",
        rows(
            text="In Rome",
            entities=[[{"id": 1, "label": "LOC", "start_offset": 3, "end_offset": 7}]],
            relations=[[]],
        ),
        "tag",
        "text label=entities",
    ),
    File(
        "CLUENER",
        "a.jsonl",
        rows(text="在罗马", label=[{"address": {"罗马": [[1, 2]]}}]),
        "tag",
        "text label",
    ),
]

ANSWER = [
    File(
        "SQuAD from the Hub",
        "squad.parquet",
        rows(id="q#", title="x", context=TEXTS[0], question=OTHER, answers=[ANSWERS]),
        "answer",
        "id question context label=answers title",
    ),
    File(
        "a csv with the answer and its start",
        "a.csv",
        rows(question=OTHER, context=f"# {TEXTS[0]}", answer=["parcel", "days", "late", "whole"])[
            :4
        ],
        "answer",
        "question context label=answer",
    ),
    File(
        "answers that are numbers of the passage",
        "squad.jsonl",
        rows(question=OTHER, context=["built in 1712", "closed in 1835"], answer=[1712, 1835]),
        "answer",
        "question context label=answer",
    ),
    File(
        "few answers, which the passages have",
        "squad.csv",
        rows(question=OTHER, context=["born in Ulm", "died in York"], answer=["Ulm", "York"]),
        "answer",
        "question context label=answer",
    ),
    File(
        "answers with their start",
        "a.jsonl",
        rows(question=OTHER, context=TEXTS[0], answer="two days", answer_start=[16])[:3],
        "answer",
        "question context label=answer start=answer_start",
        given="answer",
    ),
]

CHOOSE = [
    File(
        "a list of options",
        "a.jsonl",
        rows(context=TEXT, question="Which of them?", options=[["x", "y"]], answer=[0, 1]),
        "choose",
        "context question options label=answer",
    ),
    File(
        "RACE",
        "race.jsonl",
        rows(article=TEXT, question="Which?", options=[["w", "x", "y", "z"]], answer=["B", "D"]),
        "choose",
        "context=article question options label=answer",
    ),
    File(
        "SWAG",
        "swag.csv",
        rows(sent1=TEXT, sent2="She", ending0="a", ending1="b", ending2="c", label=["0", "2"]),
        "choose",
        "context=sent1 question=sent2 options=ending0+ending1+ending2 label",
    ),
    File(
        "COPA",
        "copa.jsonl",
        rows(premise=TEXT, choice1="it fell", choice2="it flew", question=["cause"], label=[0, 1]),
        "choose",
        "context=premise question options=choice1+choice2 label",
    ),
    File(
        "options for a gap in a sentence (WinoGrande)",
        "a.csv",
        rows(sentence=TEXT, option1="the cup", option2="the jug", answer=["the cup", "the jug"]),
        "choose",
        "context=sentence options=option1+option2 label=answer",
    ),
    File(
        "columns A to D",
        "exam.csv",
        rows(id="#", question=TEXT, A="w", B="x", C="y", D="z", answer=["A", "C"]),
        "choose",
        "context=question options=A+B+C+D label=answer",
    ),
    File(
        "ARC, with its own option labels",
        "arc.jsonl",
        rows(
            question=TEXT,
            choices=[{"text": ["x", "y"], "label": ["1", "2"]}],
            answerKey=["1", "2"],
        ),
        "choose",
        "context=question options=choices label=answerKey",
    ),
    File(
        "options named by the user",
        "a.csv",
        rows(story=TEXT, first="x y", second="z", right=["0", "1"]),
        "choose",
        "context=story options=first+second label=right",
        asked={"options": "first, second", "label": "right"},
    ),
]


@pytest.mark.parametrize(
    "file", [*CLASSIFY, *MULTI_LABEL, *REGRESS, *TAG, *ANSWER, *CHOOSE], ids=lambda f: f.about
)
def test_task_and_columns_are_inferred(file: File, tmp_path: Path) -> None:
    table = read_table(file.write(tmp_path), named=tuple(file.asked.values()))
    seen = infer_columns(table, task=file.given, asked=file.asked)
    expected = dict((part.split("=") * 2)[:2] for part in _words(file.columns))
    columns = {
        role: column if isinstance(column, str) else "+".join(column)
        for role, column in seen.layout.columns.items()
    }
    separator = seen.layout.labels.separator
    assert (seen.kind.name, columns, separator) == (file.task, expected, file.separator)
    found = read_rows(seen.kind, table, seen.layout)
    assert (len(found), found.n_bad) == (len(file.rows) - file.n_bad, file.n_bad)


def _words(columns: str) -> list[str]:
    """The ``role=column`` parts; a column's name may contain a space."""
    words: list[str] = []
    for word in columns.split():
        if word[0].isupper():
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


@pytest.mark.parametrize(
    ("about", "columns", "asked", "message"),
    [
        (
            "a wrong name",
            rows(text=TEXT, label=["a", "b"]),
            {"label": "Lable"},
            "no column 'Lable' (did you mean 'label'? columns: text, label)",
        ),
        (
            "an unknown name",
            rows(text=TEXT, label=["a", "b"]),
            {"text": "本文"},
            "no column '本文' (columns: text, label)",
        ),
        (
            "one of several options",
            rows(question=TEXT, A="x", B="y", answer=["A"]),
            {"options": "A,C"},
            "no column 'C' (columns: question, A, B, answer)",
        ),
        (
            "no label",
            rows(text=TEXT, number="#"),
            {},
            "can't tell which column is the label (say so with --label NAME; "
            "columns: text, number)",
        ),
        (
            "no text",
            rows(x="#", label=["a", "b"]),
            {},
            "can't tell which column is the text (say so with --text NAME; columns: x, label)",
        ),
        (
            "two possible labels by name",
            rows(text=TEXT, sentiment=["good", "bad"], rating=["1", "5"]),
            {},
            "can't tell which column is the label: sentiment or rating",
        ),
        (
            "two possible labels by content",
            rows(text=TEXT, shelf=["up", "down"], colour=["red", "green", "blue"]),
            {},
            "can't tell which column is the label: shelf or colour",
        ),
        (
            "two columns of classes",
            rows(comment_text=TEXT, region=["north", "south"], obscene=["0", "0", "1"]),
            {},
            "can't tell which column is the label: region or obscene",
        ),
        (
            "two possible texts",
            rows(abstract=TEXT, claim=OTHER, label=["a", "b"]),
            {},
            "can't tell which column is the text: abstract or claim (say so with --text abstract, "
            "--text abstract,claim to join them, or --text abstract --pair claim)",
        ),
        (
            "two texts with known names",
            rows(review=TEXT, body=OTHER, label=["a", "b"]),
            {},
            "can't tell which column is the text: review or body (say so with --text review, "
            "--text review,body to join them, or --text review --pair body)",
        ),
        (
            "a text and another known name",
            rows(text=TEXT, comment=OTHER, label=["a", "b"]),
            {},
            "can't tell which column is the text: text or comment",
        ),
        (
            "a title and a description (AG News)",
            rows(**{"Class Index": ["1", "2"], "Title": TEXT, "Description": OTHER}),
            {},
            "can't tell which column is the text: Title or Description",
        ),
        (
            "whole numbers with gaps",
            rows(200, text=TEXT, label=[str(3 * i) for i in range(60)]),
            {},
            "60 different whole numbers in 'label': classes, or measurements? "
            "(say so with --task classify or --task regress)",
        ),
        (
            "decimal commas",
            rows(text=TEXT, label=["3,5", "4,0"]),
            {},
            "'3,5' in 'label': a number with a comma, or two labels? "
            "(say so with --task regress or --task classify)",
        ),
        (
            "percentages",
            rows(90, text=TEXT, label=[f"{i}%" for i in range(0, 89, 2)]),
            {},
            "45 different whole numbers in 'label': classes, or measurements? "
            "(say so with --task classify or --task regress)",
        ),
        (
            "a flag of another task",
            rows(text=TEXT, label=["a", "b"], title=TEXT),
            {"question": "title"},
            "classify has no use for --question (it reads --text, --label, --pair)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
def test_ambiguous_file_is_refused_with_the_flag_to_use(
    about: str, columns: list[Row], asked: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.csv", columns)
    with pytest.raises(UsageError) as error:
        inferred(path, asked)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_entities_and_label_columns_together_need_a_task_flag(tmp_path: Path) -> None:
    entities = [[{"start": 0, "end": 3, "label": "X"}]]
    path = write(tmp_path / "a.jsonl", rows(text=TEXT, entities=entities, label=["a", "b"]))
    with pytest.raises(UsageError, match="say so with --task tag or --task classify"):
        inferred(path, {})
    assert inferred(path, {}, "tag").layout.columns["label"] == "entities"
    assert inferred(path, {}, "classify").layout.columns["label"] == "label"
    assert inferred(path, {"label": "label"}).kind.name == "classify"


def test_every_inference_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows(review=TEXT, stars=["1", "3", "5"]))
    assert inferred(path, {}).remarks == (
        "task = classify, text = review, label = stars",
        "the numbers in stars are taken as names; --task regress measures them",
    )
    path = write(tmp_path / "b.tsv", rows(a=TEXT, b=["x", "y", "x;y"]), header=False)
    assert inferred(path, {}).remarks == (
        "no header line: columns are called column1 to column2 ('x' occurs again below; --header "
        "reads it as one)",
        "task = classify, text = column1, label = column2, several labels parted by ';'",
    )
    path = write(tmp_path / "c.jsonl", rows(tokens=[["a", "b"]], ner_tags=[[0, 1]]))
    assert inferred(path, {}).remarks == (
        "task = tag, text = tokens, label = ner_tags",
        "tags are numbers: without names such as B-PER each word is scored by itself",
    )


@pytest.mark.parametrize(
    ("task", "columns", "expected"),
    [
        ("classify", rows(index="#", sentence=TEXT), {"text": "sentence"}),
        ("classify", rows(qid="#", text_a=TEXT), {"text": "text_a"}),
        (
            "regress",
            rows(sentence1=TEXT, sentence2=OTHER),
            {"text": "sentence1", "pair": "sentence2"},
        ),
        ("classify", rows(id="#", sentence=TEXT, keywords="a,b,#"), {"text": "sentence"}),
        ("classify", rows(body=TEXT, shelf=["a", "b"], colour=["c", "d"]), {"text": "body"}),
        ("tag", rows(text=TEXT), {"text": "text"}),
        (
            "answer",
            rows(question=OTHER, context=TEXT),
            {"question": "question", "context": "context"},
        ),
    ],
)
def test_unlabelled_file_needs_no_label_column(
    task: str, columns: list[Row], expected: dict[str, str], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.csv", columns)
    assert inferred(path, {}, task, labelled=False).layout.columns == expected


def test_multi_label_flag_overrides_the_inference(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows(text=TEXT, label=["a;b", "c"]))
    assert inferred(path, {}).layout.labels.separator is None
    assert inferred(path, {}, multi_label=True).layout.labels.separator == ";"
    path = write(tmp_path / "b.csv", rows(text=TEXT, label=["a;b", "a", "b"]))
    assert inferred(path, {}).layout.labels.separator == ";"
    assert inferred(path, {}, multi_label=False).layout.labels.separator is None


def choices(path: Path, rows: str, **asked: str) -> list[int | None]:
    """The indices of the right options of a csv file."""
    path.write_text(rows, encoding="utf-8")
    table = read_table(path, named=tuple(asked.values()))
    seen = infer_columns(table, task="choose", asked=asked)
    return [row.answer for row in read_rows(TASKS["choose"], table, seen.layout)]


def test_letter_labels_name_option_columns(tmp_path: Path) -> None:
    rows = "question,A,B,C,answer\nwhich one?,x,,z,C\nwhich one?,x,y,z,A\n"

    assert choices(tmp_path / "a.csv", rows) == [1, 0]
    assert choices(tmp_path / "b.csv", rows, options="C,B,A") == [0, 2]


@pytest.mark.parametrize(("numbers", "expected"), [("12", [0, 1]), ("01", [0, 1])])
def test_option_numbers_count_from_zero_or_one(
    tmp_path: Path, numbers: str, expected: list[int]
) -> None:
    one, two = numbers
    rows = f"sentence,option1,option2,answer\nthe _ is big,a,b,{one}\nthe _ is red,a,b,{two}\n"

    assert choices(tmp_path / "a.csv", rows) == expected


def test_csv_options_can_be_a_json_list(tmp_path: Path) -> None:
    rows = 'context,question,options,answer\nit rains,what now?,"[""go"", ""stay""]",stay\n'

    assert choices(tmp_path / "a.csv", rows) == [1]


def test_context_column_of_unknown_name_is_found(tmp_path: Path) -> None:
    rows = "情况,问题,A,B,答案\n外面下雨了，哥哥没有带伞。,他怎么办？,等一等,走路,A\n"
    path = tmp_path / "a.csv"
    path.write_text(rows, encoding="utf-8")

    seen = infer_columns(read_table(path), task=None, asked={})

    assert seen.layout.columns["context"] == "情况"
    assert seen.layout.columns["question"] == "问题"


def test_text_in_parts_is_refused_by_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    columns = rows(text=["One.", "Two."], label=["a", "b"])
    lines = [json.dumps(row | {"text": [row["text"]]}) for row in columns]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UsageError, match="column 'text' holds lists where a text is expected"):
        infer_columns(read_table(path), task=None, asked={})


def test_number_among_texts_is_read_as_a_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    columns = rows(text=[*TEXT, 5], label=["a", "b"])
    path.write_text("".join(f"{json.dumps(row)}\n" for row in columns), encoding="utf-8")
    table = read_table(path)
    seen = infer_columns(table, task=None, asked={})
    assert seen.kind is TASKS["classify"]
    assert [row.text for row in read_rows(seen.kind, table, seen.layout)][5] == "5"


def test_texts_named_together_are_joined(tmp_path: Path) -> None:
    given = rows(title=["A title #", "", "Another #"], body=TEXT, label=["a", "b"])
    path = write(tmp_path / "a.csv", given)
    found = inferred(path, {"text": "title, body"})
    assert found.remarks[-1] == "task = classify, text = title+body, label = label"
    texts = [row.text for row in read_rows(found.kind, read_table(path), found.layout)]
    assert texts[:2] == [f"A title 0\n{TEXTS[0]} 0", f"{TEXTS[1]} 1"]


def test_task_of_words_joins_no_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows(a=[["Ann"]], b=[["Lee"]], tags=[["B-PER"], ["O"]]))
    with pytest.raises(UsageError, match=r"tag reads one column as --text \(name one of them"):
        inferred(path, {"text": "a,b"}, task="tag")


def test_texts_joined_in_training_are_joined_in_prediction(
    tmp_path: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = rows(20, title=["good #", "bad #"], body=["cat #"], label=["a", "b"])
    path = write(tmp_path / "a.csv", given)
    base = {"model": str(bert), "epochs": 1, "text": "title,body"}
    model = onelayer.finetune(path, out="run", **base)
    (joined,) = model.predict([{"title": "good 1", "body": "cat 1"}])
    assert joined == model.predict(["good 1\ncat 1"])[0]
    assert onelayer.predict("run", path).rows == 20
    assert onelayer.evaluate("run", path).rows == 20


def test_column_that_names_the_numbers_is_the_label(tmp_path: Path) -> None:
    named = rows(text=TEXT, label=[0, 1, 2], label_text=["bad", "fair", "good"])
    found = inferred(write(tmp_path / "named.jsonl", named), {})
    assert found.layout.columns["label"] == "label_text"
    assert "label_text has the names of the numbers in label" in found.remarks
    asked = inferred(tmp_path / "named.jsonl", {"label": "label"})
    assert asked.layout.columns["label"] == "label"


def test_column_of_other_texts_names_no_numbers(tmp_path: Path) -> None:
    others = rows(text=TEXT, label=[0, 1], label_text=["bad", "fair", "good"])
    found = inferred(write(tmp_path / "others.jsonl", others), {})
    assert found.layout.columns["label"] == "label"
