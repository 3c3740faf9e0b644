"""The examples of the page: rows of the user's file, or general ones that may suit the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import onelayer
from onelayer import DataError, Predictor, UsageError, load
from onelayer.serving.example_rows import MAX_EXAMPLE_BYTES, example_files, read_examples
from onelayer.serving.http.app import make_app
from onelayer.serving.limits import Limits
from support import chromium
from support.page_site import (
    CASES,
    HOSTILE,
    OWN_EXAMPLES,
    TWENTY,
    WITH_OPTIONS,
    Site,
    choose,
    settled,
    visit,
)
from support.server_process import Server
from support.tiny_bert import MakeBert

Read = Callable[..., dict[str, Any]]
CLASSIFIER = "BertForSequenceClassification"


@pytest.fixture(scope="module")
def models(make_bert: MakeBert) -> dict[str, Predictor]:
    made = {
        "mood": load(make_bert(CLASSIFIER, labels=("bad", "good"))),
        "pairs": load(make_bert(CLASSIFIER, labels=("no", "yes"))),
        "names": load(make_bert("BertForTokenClassification", labels=("B-X", "I-X", "O"))),
        "quiz": load(make_bert("BertForQuestionAnswering")),
        "exam": load(make_bert("BertForMultipleChoice")),
    }
    columns = {"text": "premise", "pair": "hypothesis", "label": "gold"}
    pairs = made["pairs"]
    made["pairs"] = replace(pairs, layout=replace(pairs.layout, columns=columns))
    return made


@pytest.fixture
def read(models: dict[str, Predictor], tmp_path: Path) -> Read:
    """Reads the examples of models from a file with this content."""

    def reading(
        content: str, *names: str, file: str = "rows.csv", of: str = "", **limits: int
    ) -> dict[str, Any]:
        (tmp_path / file).write_text(content, encoding="utf-8")
        chosen = {name: models[name] for name in names}
        given = f"{of}={tmp_path / file}" if of else tmp_path / file
        return read_examples(example_files(given, chosen), chosen, Limits(**limits))

    return reading


# Which rows


def test_first_distinct_rows_are_examples_without_their_labels(read: Read) -> None:
    texts = ["a cat", "a cat", "  ", *(f"cat {i}" for i in range(9))]
    found = read("text,label\n" + "".join(f"{text},good\n" for text in texts), "mood")
    assert found == {
        "mood": [{"text": text} for text in ("a cat", *map("cat {}".format, range(5)))]
    }


@pytest.mark.parametrize(
    ("name", "file", "content", "example"),
    [
        (
            "pairs",
            "rows.jsonl",
            {"premise": "all sleep", "hypothesis": "one sleeps", "id": 7},
            {"text": "all sleep", "pair": "one sleeps"},
        ),
        ("names", "rows.jsonl", {"tokens": ["a", "cat"], "tags": ["O", "B-X"]}, {"text": "a cat"}),
        (
            "quiz",
            "rows.jsonl",
            {"question": "who?", "context": "a cat", "answers": ["a cat"]},
            {"question": "who?", "context": "a cat"},
        ),
        (
            "exam",
            "rows.jsonl",
            {"context": "rain", "question": "what?", "options": ["in", "out"], "label": 1},
            {"context": "rain", "question": "what?", "options": ["in", "out"]},
        ),
    ],
)
def test_example_is_an_input_that_the_server_answers(
    read: Read, models: dict[str, Predictor], name: str, file: str, content: Any, example: Any
) -> None:
    found = read(json.dumps(content) + "\n", name, file=file)
    assert found == {name: [example]}
    app = make_app({name: models[name]})
    app.service.examples = found
    with TestClient(app) as client:
        about = client.get("/v1/models").json()["models"][0]
        assert about["examples"] == client.get(f"/v1/models/{name}").json()["examples"] == [example]
        path = f"/v1/models/{name}/{about['task']}"
        assert client.post(path, json={"inputs": example}).status_code == 200


def test_models_have_no_examples_unless_asked(models: dict[str, Predictor]) -> None:
    with TestClient(make_app(models)) as client:
        assert [of["examples"] for of in client.get("/v1/models").json()["models"]] == [[]] * 5


def test_file_is_for_the_models_whose_columns_it_has(read: Read) -> None:
    pairs = "premise,hypothesis,gold\nall sleep,one sleeps,yes\n"
    assert list(read(pairs, "mood", "pairs", "quiz")) == ["pairs"]
    texts = "text,label\na cat,good\n"
    assert list(read(texts, "pairs", "mood", "names")) == ["mood", "names"]
    assert list(read(texts, "pairs", "mood", "names", of="names")) == ["names"]


def test_rows_of_several_files_are_joined(models: dict[str, Predictor], tmp_path: Path) -> None:
    for name, row in (("a.txt", "a cat"), ("b=c.txt", "a dog")):
        (tmp_path / name).write_text(f"{row}\na cow\n", encoding="utf-8")
    mood = {"mood": models["mood"]}
    files = example_files([tmp_path / "a.txt", str(tmp_path / "b=c.txt")], mood)
    found = read_examples(files, mood, Limits())
    assert found == {"mood": [{"text": "a cat"}, {"text": "a cow"}, {"text": "a dog"}]}


def test_examples_of_another_kind_of_input_are_dropped_after_a_reload(
    models: dict[str, Predictor],
) -> None:
    app = make_app({"m": models["mood"]})
    app.service.examples = {"m": [{"text": "a cat"}]}
    assert app.service.describe("m", models["mood"])["examples"] == [{"text": "a cat"}]
    assert app.service.describe("m", models["pairs"])["examples"] == []


@pytest.mark.parametrize(
    ("content", "names", "limits", "said"),
    [
        ("text,label\n ,good\n", ["mood"], {}, "rows.csv:2: no row can be an example for mood: an"),
        (f"text\n{'x ' * MAX_EXAMPLE_BYTES}\n", ["mood"], {}, "bytes are too long for an example"),
        ("text\nthe good cats are here\n", ["mood"], {"max_tokens": 3}, "the server reads 3 at"),
        ("premise,gold\nall,yes\n", ["pairs"], {}, "as the training file does: premise, hypo"),
        ("left,right\na b,c d\n", ["pairs", "mood"], {}, "no model reads the columns left, right"),
        ("", ["mood"], {}, "the file is empty"),
    ],
)
def test_file_without_a_usable_row_is_refused_in_one_line(
    read: Read, content: str, names: list[str], limits: dict[str, int], said: str
) -> None:
    with pytest.raises((DataError, UsageError)) as caught:
        read(content, *names, **limits)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "--text" not in str(caught.value)


def test_unknown_model_of_examples_is_refused_before_any_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is called 'mod' \(the models are mood\)"):
        onelayer.serve(f"mood={tmp_path}", examples="mod=rows.csv")
    for given in ("", "mood="):
        with pytest.raises(UsageError, match="no file is named"):
            onelayer.serve(f"mood={tmp_path}", examples=given)


@pytest.mark.process
def test_missing_file_of_examples_stops_the_server_in_one_line(
    bundle: Path, tmp_path: Path
) -> None:
    log, missing = tmp_path / "log", tmp_path / "none.csv"
    with (
        pytest.raises(AssertionError, match="no server"),
        Server(bundle, log=log, examples=missing),
    ):
        pass
    assert log.read_text(encoding="utf-8").splitlines() == [
        f"onelayer: {missing}: no such file (check the path)"
    ]


@pytest.mark.process
def test_command_offers_the_rows_of_a_file(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text("id,text,label\n7,a 🎉 cat,yes\n", encoding="utf-8")
    flags = {"examples": f"m={tmp_path / 'dev.csv'}"}
    with Server(f"m={bundle}", log=tmp_path / "log", **flags) as server:
        status, said = server.request("GET", "/v1/models/m")
    first = (tmp_path / "log").read_text(encoding="utf-8").splitlines()[0]
    remark = f"{tmp_path / 'dev.csv'}: the page of m shows 1 of its rows, text = text"
    assert json.loads(first)["examples"] == remark
    assert (status, json.loads(said)["examples"]) == (200, [{"text": "a 🎉 cat"}])


# On the page


EXAMPLES = "[...document.querySelectorAll('.example')].map(it => it.textContent)"
TITLE = "document.getElementById('examples-title').textContent"
LABELS = "document.getElementById('labels').innerText"


def test_own_rows_are_shown_as_text_and_sent_whole(site: Site, tab: chromium.Page) -> None:
    of, values, _ = CASES["own"]
    choose(tab, of["name"], values)
    shown = tab.value(EXAMPLES)
    assert tab.value(TITLE) == "Examples"
    assert shown[1] == OWN_EXAMPLES[1]["text"]
    assert shown[2] == "👩‍👧 " * 100 + "…"
    assert shown[4] == "x" * 200 + "…"
    for number, example in enumerate(OWN_EXAMPLES):
        tab.value(f"document.querySelectorAll('.example')[{number}].click()")
        settled(tab)
        assert json.loads(site.bodies.pop())["inputs"] == example
    assert tab.value("document.querySelectorAll('main :is(img, b:not(.track *))').length") == 0
    assert tab.errors() == []


def test_option_of_several_lines_stays_one_option(site: Site, tab: chromium.Page) -> None:
    of, values, _ = CASES["option"]
    choose(tab, of["name"], values)
    assert tab.value(EXAMPLES) == ["Now?"]
    tab.value("document.querySelector('.example').click()")
    settled(tab)
    sent = json.loads(site.bodies.pop())["inputs"]
    assert sent == WITH_OPTIONS | {"options": ["a hat or cap", "伞", "☂"]}


@pytest.mark.parametrize(
    ("case", "english", "chinese"),
    [
        ("label", "This model answers one of: bad, good", "这个模型从这些标签里选一个：bad、good"),
        (
            "labels",
            f"This model gives any of: billing, praise, returns, {HOSTILE}",
            f"这个模型给出这些标签里的若干个：billing、praise、returns、{HOSTILE}",
        ),
        ("entities", "This model finds: PER, LOC", "这个模型标出：PER、LOC"),
    ],
)
def test_page_says_what_a_model_may_answer(
    site: Site, tab: chromium.Page, case: str, english: str, chinese: str
) -> None:
    of, values, _ = CASES[case]
    choose(tab, of["name"], values)
    assert tab.value(LABELS) == english
    assert tab.value(TITLE) == "General examples, not from this model’s data"
    tab.value("document.getElementById('language').click()")
    assert tab.value(LABELS) == chinese
    assert tab.value(TITLE) == "通用示例，并非来自该模型的数据"
    tab.value("document.getElementById('language').click()")


def test_long_and_many_labels_are_cut(site: Site, tab: chromium.Page) -> None:
    of, values, _ = CASES["own"]
    choose(tab, of["name"], values)
    said = tab.value(LABELS)
    assert said.startswith(f"This model answers one of: {TWENTY[0][0][:40]}…, topic 0, topic 1")
    assert said.endswith("topic 6 … and 12 more")
    tab.value("document.getElementById('language').click()")
    assert tab.value(LABELS).endswith("topic 6……另有 12 个")
    tab.value("document.getElementById('language').click()")
    choose(tab, "alike", {"text": "a", "pair": "b"})
    assert tab.value("document.getElementById('labels').hidden")


def test_general_examples_are_in_the_language_of_the_labels(site: Site, tab: chromium.Page) -> None:
    for language, chinese in (("en-GB", False), ("zh-CN", True)):
        visit(tab, site.url, language)
        for case, expected in (("label", chinese), ("chinese", True)):
            of, values, _ = CASES[case]
            choose(tab, of["name"], values)
            assert ("房间" in tab.value(EXAMPLES)[0]) is expected
        of, values, _ = CASES["russian"]
        choose(tab, of["name"], values)
        assert tab.value(EXAMPLES) == []
        assert tab.value("document.getElementById('examples').hidden")
