"""Clients of other projects talk to the server, and its OpenAPI description is right."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import schemathesis
import tritonclient.http as triton
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException

from onelayer import Predictor, load
from onelayer.serving.http.app import App, make_app
from support.listening import listening
from support.tiny_bert import MakeBert

TEXTS = ["the good cats", "a bäd cat 我们"]
PASSAGE = {"question": "who is here?", "context": "the good cats"}
LABELS = ("bad", "fair", "good")


@pytest.fixture(scope="module")
def models(make_bert: MakeBert) -> dict[str, Predictor]:
    kinds: dict[str, dict[str, Any]] = {
        "classify": {"architecture": "BertForSequenceClassification", "labels": LABELS},
        "tag": {"architecture": "BertForTokenClassification", "labels": ("B-X", "I-X", "O")},
        "answer": {"architecture": "BertForQuestionAnswering"},
        "choose": {"architecture": "BertForMultipleChoice"},
    }
    return {name: load(make_bert(**kind)) for name, kind in kinds.items()}


@pytest.fixture(scope="module")
def address(models: dict[str, Predictor]) -> Iterator[str]:
    with listening(make_app(models)) as address:
        yield address


@pytest.fixture(scope="module")
def client(models: dict[str, Predictor]) -> Iterator[TestClient]:
    with TestClient(make_app(models)) as client:
        yield client


@pytest.fixture(scope="module")
def triton_client(address: str) -> Iterator[Any]:
    client = triton.InferenceServerClient(address)
    yield client
    client.close()


def tensor(name: str, values: Any, **how: Any) -> Any:
    array = np.array(values, dtype=object)
    made = triton.InferInput(name, list(array.shape), "BYTES")
    made.set_data_from_numpy(array, **how)
    return made


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_triton_client_classifies(
    triton_client: Any, models: dict[str, Predictor], binary_in: bool, binary_out: bool
) -> None:
    expected = models["classify"].predict(TEXTS)
    names = ("label", "probability", "probabilities", "prediction")
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in names]
    text = tensor("text", TEXTS, binary_data=binary_in)

    result = triton_client.infer("classify", [text], outputs=outputs, request_id="7")

    label, probability, probabilities, prediction = map(result.as_numpy, names)
    read = (lambda x: x.decode()) if binary_out else str
    assert list(map(read, label)) == [one.label for one in expected]
    assert probability == pytest.approx([one.probability for one in expected], rel=1e-4)
    for row, one in zip(probabilities, expected, strict=True):
        assert row == pytest.approx(list(one.probabilities.values()), rel=1e-4)
    assert json.loads(read(prediction[0])).keys() == expected[0].to_json().keys()
    assert result.get_response()["id"] == "7"


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_triton_client_gets_every_output_by_default(
    triton_client: Any, models: dict[str, Predictor], shape: tuple[int, ...]
) -> None:
    result = triton_client.infer("tag", [tensor("text", np.reshape(TEXTS, shape))])

    found = [json.loads(one) for one in result.as_numpy("prediction")]
    assert [one["tags"] for one in found] == [list(p.tags) for p in models["tag"].predict(TEXTS)]


def test_triton_client_answers_and_chooses(
    triton_client: Any, models: dict[str, Predictor]
) -> None:
    (expected,) = models["answer"].predict([PASSAGE])
    both = [tensor(name, [value]) for name, value in PASSAGE.items()]
    answered = triton_client.infer("answer", both)
    assert answered.as_numpy("answer")[0].decode() == expected.text
    assert answered.as_numpy("start")[0] == expected.start

    (choice,) = models["choose"].predict([("the cat", "what?", ["good", "bad"])])
    options = tensor("options", [["good", "bad"]])
    asked = [tensor("context", ["the cat"]), tensor("question", ["what?"]), options]
    chosen = triton_client.infer("choose", asked)
    assert chosen.as_numpy("option")[0].decode() == choice.option
    assert chosen.as_numpy("probabilities")[0] == pytest.approx(choice.probabilities, rel=1e-4)


def test_triton_client_reads_metadata_and_health(triton_client: Any) -> None:
    assert triton_client.is_server_live()
    assert triton_client.is_server_ready()
    assert triton_client.is_model_ready("tag")
    assert not triton_client.is_model_ready("other")
    assert "binary_tensor_data" in triton_client.get_server_metadata()["extensions"]
    metadata = triton_client.get_model_metadata("choose")
    assert [one["name"] for one in metadata["inputs"]] == ["context", "question", "options"]
    assert metadata["inputs"][2]["shape"] == [-1, -1]


def test_triton_client_gets_the_reason_of_an_error(triton_client: Any) -> None:
    text = tensor("text", TEXTS)
    with pytest.raises(InferenceServerException, match="no model of that name"):
        triton_client.infer("other", [text])
    with pytest.raises(InferenceServerException, match="no input 'pear'"):
        triton_client.infer("tag", [tensor("pear", TEXTS)])
    with pytest.raises(InferenceServerException, match="no output 'pear'"):
        triton_client.infer("tag", [text], outputs=[triton.InferRequestedOutput("pear")])
    with pytest.raises(InferenceServerException, match="differ in their first dimension"):
        triton_client.infer("answer", [tensor("question", TEXTS), tensor("context", ["a"])])


def infer(client: TestClient, content: bytes, length: object = None) -> httpx.Response:
    given = str(length).encode("latin-1")
    headers = {} if length is None else {b"inference-header-content-length": given}
    return client.post("/v2/models/classify/infer", content=content, headers=headers)


def test_tensor_with_a_false_size_is_refused(client: TestClient) -> None:
    def head(size: int, n: int = 1) -> bytes:
        one = {"name": "text", "shape": [n], "datatype": "BYTES"}
        return json.dumps({"inputs": [one | {"parameters": {"binary_data_size": size}}]}).encode()

    def status(size: int, rest: bytes, n: int = 1) -> int:
        return infer(client, head(size, n) + rest, len(head(size, n))).status_code

    good = struct.pack("<I", 1) + b"a"
    assert status(5, good) == 200
    assert status(5, good + b"x") == 400
    assert status(6, good) == 400
    assert status(10**12, good) == 400
    assert status(5, struct.pack("<I", 2**31) + b"a") == 400
    assert status(5, struct.pack("<I", 1) + b"\xff") == 400
    assert status(5, good, n=2) == 422
    for length in ("x", "-1", 10**9, "9" * 5000, "²"):
        assert infer(client, head(5) + good, length).status_code == 400


def test_hub_client_classifies(address: str, models: dict[str, Predictor]) -> None:
    client = InferenceClient(model=f"http://{address}/models/classify")
    (expected,) = models["classify"].predict(TEXTS[:1])

    found = client.text_classification(TEXTS[0])
    (best,) = client.text_classification(TEXTS[0], top_k=1)
    logits = client.text_classification(TEXTS[0], function_to_apply="none")
    sigmoids = client.text_classification(TEXTS[0], function_to_apply="sigmoid")

    assert {one.label: one.score for one in found} == pytest.approx(
        expected.probabilities, rel=1e-4
    )
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert best.label == expected.label
    raw = np.array([one.score for one in logits])
    assert np.exp(raw) / np.exp(raw).sum() == pytest.approx([o.score for o in found], rel=1e-4)
    assert 1 / (1 + np.exp(-raw)) == pytest.approx([o.score for o in sigmoids], rel=1e-4)


def test_hub_client_tags(models: dict[str, Predictor]) -> None:
    (expected,) = models["tag"].predict(TEXTS[:1])
    with listening(make_app({"tag": models["tag"]})) as address:
        client = InferenceClient(model=f"http://{address}")
        found = client.token_classification(TEXTS[0], aggregation_strategy="simple")
        ignored = client.token_classification(TEXTS[0], ignore_labels=["X"])
        with pytest.raises(HfHubHTTPError, match="aggregation_strategy"):
            client.token_classification(TEXTS[0], aggregation_strategy="none")

    spans = [(one.start, one.end, one.entity_group, one.word) for one in found]
    assert spans == [(e.start, e.end, e.label, e.text) for e in expected.entities]
    assert spans
    assert ignored == []


def test_hub_client_answers(models: dict[str, Predictor]) -> None:
    (expected,) = models["answer"].predict([PASSAGE])
    with listening(make_app({"answer": models["answer"]})) as address:
        client = InferenceClient(model=f"http://{address}")
        found: Any = client.question_answering(**PASSAGE)
        three: Any = client.question_answering(**PASSAGE, top_k=3)

    assert (found.answer, found.start, found.end) == (expected.text, expected.start, expected.end)
    assert [one.answer for one in three] == [one.text for one in expected.candidates[:3]]


def test_predict_route_equals_text_embeddings_inference(
    client: TestClient, models: dict[str, Predictor]
) -> None:
    pairs = [(TEXTS[0],), (TEXTS[0], TEXTS[1])]
    alone, paired = models["classify"].predict(pairs)

    def scores(**body: Any) -> Any:
        answer = client.post("/predict", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def by_label(ranked: list[dict[str, Any]]) -> dict[str, float]:
        assert [one["score"] for one in ranked] == sorted(one["score"] for one in ranked)[::-1]
        return {one["label"]: one["score"] for one in ranked}

    assert by_label(scores(inputs=TEXTS[0])) == pytest.approx(alone.probabilities, rel=1e-4)
    assert by_label(scores(inputs=TEXTS)) == pytest.approx(paired.probabilities, rel=1e-4)
    batch = scores(inputs=[[TEXTS[0]], TEXTS], truncate=True)
    assert list(map(by_label, batch)) == [
        pytest.approx(one.probabilities, rel=1e-4) for one in (alone, paired)
    ]
    raw = by_label(scores(inputs=TEXTS[0], raw_scores=True))
    assert max(raw, key=raw.__getitem__) == alone.label
    assert sum(raw.values()) != pytest.approx(1.0)
    for bad in ([], [[]], [["a", "b", "c"]], ["a", ["b"]], 5):
        assert client.post("/predict", json={"inputs": bad}).status_code == 422


def test_dialect_routes_are_absent_without_a_suitable_model(models: dict[str, Predictor]) -> None:
    with TestClient(make_app({"choose": models["choose"]})) as client:
        for path in ("/", "/predict"):
            answer = client.post(path, json={"inputs": "a"})
            assert (answer.status_code, answer.json()["status"]) == (404, 404)
        assert not {"/", "/predict"} & client.get("/openapi.json").json()["paths"].keys()


def described(app: App) -> dict[str, Any]:
    async def ask() -> Any:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/openapi.json")).json()

    found: dict[str, Any] = asyncio.run(ask())
    return found


def test_openapi_describes_only_the_served_models(models: dict[str, Predictor]) -> None:
    paths = described(make_app({"one": models["tag"], "two": models["tag"]}, keys=["k"]))["paths"]
    operation = paths["/v1/models/{name}/tag"]["post"]

    assert operation["parameters"][0]["schema"]["enum"] == ["one", "two"]
    assert operation["security"] == [{"bearer": []}, {"key": []}]
    assert "/v1/models/{name}/classify" not in paths
    assert "security" not in paths["/health"]["get"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_fits_the_openapi_description(
    client: TestClient, models: dict[str, Predictor], mode: GenerationMode
) -> None:
    """For requests that fit the schemas and requests that don't, every answer has a described
    status, type and body, and none is a 5xx."""
    app = make_app(models)
    schema = schemathesis.openapi.from_dict(described(app))
    schema.app = app
    checks = [
        not_a_server_error,
        openapi_checks.status_code_conformance,
        openapi_checks.content_type_conformance,
        openapi_checks.response_headers_conformance,
        openapi_checks.response_schema_conformance,
    ]
    for found in schema.get_all_operations():
        operation: Any = found.ok()
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue  # no negative case exists

        @settings(max_examples=5, deadline=None, database=None, suppress_health_check=HealthCheck)
        @given(case=operation.as_strategy(generation_mode=mode))
        def answers_as_described(case: Any) -> None:
            case.validate_response(case.call(), checks=checks)

        answers_as_described()
