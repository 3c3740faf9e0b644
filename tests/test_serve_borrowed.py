"""Protocols of other servers: what their clients send passes, unless it would change the answer."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException

from onelayer import Predictor, load
from onelayer.serving.http.app import make_app
from onelayer.serving.limits import Limits
from support.listening import listening
from support.tiny_bert import MakeBert

TEXT = "😀 the good cats"
LIMITS = Limits(max_body=20_000)


@pytest.fixture(scope="module")
def models(make_bert: MakeBert) -> dict[str, Predictor]:
    kinds: dict[str, dict[str, Any]] = {
        "sorts": {"architecture": "BertForSequenceClassification", "labels": ("bad", "so", "good")},
        "names": {"architecture": "BertForTokenClassification", "labels": ("B-X", "I-X")},
        "finds": {"architecture": "BertForQuestionAnswering"},
    }
    return {name: load(make_bert(**kind)) for name, kind in kinds.items()}


@pytest.fixture(scope="module")
def address(models: dict[str, Predictor]) -> Iterator[str]:
    with listening(make_app(models, LIMITS)) as address:
        yield address


@pytest.fixture(scope="module")
def client(models: dict[str, Predictor]) -> Iterator[TestClient]:
    with TestClient(make_app(models, LIMITS)) as client:
        yield client


@pytest.fixture(scope="module")
def caller(address: str) -> Iterator[Any]:
    caller = triton.InferenceServerClient(address)
    yield caller
    caller.close()


def text_tensor(name: str = "text", value: str = TEXT) -> Any:
    made = triton.InferInput(name, [1], "BYTES")
    made.set_data_from_numpy(np.array([value], dtype=object))
    return made


def label(caller: Any, **options: Any) -> Any:
    return caller.infer("sorts", [text_tensor()], **options).as_numpy("label")[0].decode()


# Triton's client ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"model_version": "1"},
        {"priority": 2, "timeout": 1_000_000},
        {"sequence_id": 7, "sequence_start": True, "sequence_end": True},
        {"parameters": {"tenant": "blue", "attempt": 3}},
        {"request_compression_algorithm": "gzip"},
        {"request_compression_algorithm": "deflate", "response_compression_algorithm": "gzip"},
        {"response_compression_algorithm": "deflate"},
    ],
)
def test_triton_option_without_effect_passes(
    caller: Any, models: dict[str, Predictor], options: dict[str, Any]
) -> None:
    assert label(caller, **options) == models["sorts"].predict([TEXT])[0].label


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model_version": "2"}, "no such route"),
        ({"parameters": {"Coverge": 0.9}}, "did you mean coverage"),
        ({"parameters": {"long": "never"}}, "parameters.long"),
        ({"parameters": {"offsets": "utf16"}}, "--offsets is for tag and answer"),
    ],
)
def test_triton_option_that_changes_the_answer_is_refused(
    caller: Any, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InferenceServerException, match=reason):
        label(caller, **options)


def test_triton_client_cannot_share_memory(caller: Any) -> None:
    shared = triton.InferInput("text", [1], "BYTES")
    shared.set_shared_memory("region", 8)
    with pytest.raises(InferenceServerException, match="shared_memory_region"):
        caller.infer("sorts", [shared])


def test_triton_client_reads_a_version(caller: Any) -> None:
    assert caller.is_model_ready("names", "1")
    assert not caller.is_model_ready("names", "2")
    assert caller.get_model_metadata("names", "1") == caller.get_model_metadata("names")
    assert caller.get_model_config("names", "1") == caller.get_model_config("names")


def test_triton_client_reads_repository_and_configuration(caller: Any) -> None:
    index = caller.get_model_repository_index()
    assert [(one["name"], one["state"]) for one in index] == [
        (name, "READY") for name in ("sorts", "names", "finds")
    ]
    config = caller.get_model_config("sorts")
    assert config["input"] == [{"name": "text", "data_type": "TYPE_STRING", "dims": [-1]}]
    outputs = {one["name"]: one for one in config["output"]}
    assert outputs["probabilities"] == {
        "name": "probabilities",
        "data_type": "TYPE_FP32",
        "dims": [-1, 3],
    }


def test_statistics_count_answers_and_failures(models: dict[str, Predictor]) -> None:
    with TestClient(make_app(models)) as client:
        body = {"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}]}
        assert client.post("/v2/models/sorts/infer", json=body).status_code == 200
        refused = body | {"parameters": {"abstain": 0.5}}
        assert client.post("/v2/models/sorts/infer", json=refused).status_code == 400
        everything = client.get("/v2/models/stats").json()["model_stats"]
        (found,) = client.get("/v2/models/sorts/versions/1/stats").json()["model_stats"]

    assert [one["name"] for one in everything] == list(models)
    assert (found["inference_count"], found["execution_count"]) == (2, 1)
    times = found["inference_stats"]
    assert (times["success"]["count"], times["fail"]["count"]) == (1, 0)
    assert 0 < times["compute_infer"]["ns"] < times["success"]["ns"]
    assert found["last_inference"] > 0
    assert everything[1]["inference_stats"]["success"] == {"count": 0, "ns": 0}


def test_triton_client_gets_the_best_classes(caller: Any, models: dict[str, Predictor]) -> None:
    asked = triton.InferRequestedOutput("probabilities", class_count=2)
    found = caller.infer("sorts", [text_tensor()], outputs=[asked]).as_numpy("probabilities")
    (expected,) = models["sorts"].predict([TEXT])
    best = sorted(expected.probabilities.items(), key=lambda item: -item[1])[:2]

    assert found.shape == (1, 2)
    for text, (name, probability) in zip(found[0], best, strict=True):
        value, index, given = text.decode().split(":")
        assert (given, models["sorts"].task.label_names[int(index)]) == (name, name)
        assert float(value) == pytest.approx(probability, abs=1e-5)
    with pytest.raises(InferenceServerException, match="classification: label"):
        label(caller, outputs=[triton.InferRequestedOutput("label", class_count=2)])


def test_triton_client_asks_for_offsets(caller: Any) -> None:
    tensors = [text_tensor("question", "who?"), text_tensor("context", TEXT)]
    found = caller.infer("finds", tensors, parameters={"offsets": "utf16"})
    start, end = (int(found.as_numpy(name)[0]) for name in ("start", "end"))
    units = TEXT.encode("utf-16-le")[2 * start : 2 * end]
    assert units.decode("utf-16-le") == found.as_numpy("answer")[0].decode()


# Hugging Face's client ---------------------------------------------------------------------------


def test_each_model_has_an_address_for_hugging_face(
    address: str, models: dict[str, Predictor]
) -> None:
    def of(name: str) -> InferenceClient:
        return InferenceClient(model=f"http://{address}/models/{name}", provider="hf-inference")

    (sorted_,) = models["sorts"].predict([TEXT])
    assert of("sorts").text_classification(TEXT)[0].label == sorted_.label
    (named,) = models["names"].predict([TEXT])
    found = of("names").token_classification(TEXT)
    assert [(one.start, one.end) for one in found] == [(e.start, e.end) for e in named.entities]
    answer: Any = of("finds").question_answering(question="who?", context=TEXT)
    assert answer.answer == models["finds"].predict([("who?", TEXT)])[0].text
    assert of("names").health_check()
    labels = of("sorts").get_endpoint_info()["model_type"]["classifier"]["id2label"]
    assert list(labels.values()) == list(models["sorts"].task.label_names)


def test_request_that_fits_several_pipelines_is_refused(
    address: str, client: TestClient, models: dict[str, Predictor]
) -> None:
    with pytest.raises(HfHubHTTPError, match=r"/models/names \(token-classification\)"):
        InferenceClient(model=f"http://{address}").token_classification(TEXT)
    told = {"inputs": TEXT, "parameters": {"aggregation_strategy": "simple"}}
    assert client.post("/", json=told).json()[0].keys() >= {"entity_group"}
    told = {"inputs": TEXT, "parameters": {"top_k": 1}}
    assert len(client.post("/", json=told).json()[0]) == 1
    asked = {"inputs": {"question": "who?", "context": TEXT}}
    assert client.post("/", json=asked).json().keys() >= {"answer"}
    two = dict.fromkeys(("first", "second"), models["sorts"])
    with TestClient(make_app(two)) as alone:  # both are classifiers, and the first one answers
        assert alone.post("/", json={"inputs": TEXT}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/models/sorts", {"inputs": TEXT, "parameters": None}),
        ("/models/sorts", {"inputs": TEXT, "parameters": {"top_k": None, "stride": None}}),
        ("/models/sorts", {"inputs": TEXT, "options": {"wait_for_model": True}, "model": "x"}),
        ("/models/sorts", {"inputs": TEXT, "parameters": {"truncation": True, "padding": True}}),
        ("/models/sorts", {"inputs": {"text": TEXT}}),
        ("/models/sorts", {"inputs": [{"text": TEXT}, TEXT]}),
        ("/models/names", {"inputs": TEXT, "parameters": {}}),
        ("/predict", {"inputs": TEXT, "truncate": None, "raw_scores": None}),
        ("/predict", {"inputs": TEXT, "normalize": True, "prompt_name": "query"}),
        ("/predict", {"inputs": TEXT, "truncation_direction": "Left"}),
        ("/predict", {"inputs": TEXT, "truncation_direction": "Right", "truncate": True}),
        ("/models/sorts/predict", {"inputs": [[TEXT], [TEXT]]}),
    ],
)
def test_field_without_effect_passes(client: TestClient, path: str, body: dict[str, Any]) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("/models/sorts", {"parameters": {"max_length": 8}}, 422, "parameters.max_length"),
        ("/models/names", {"parameters": {"stride": 4}}, 422, "parameters.stride"),
        ("/models/names", {"parameters": {"aggregation_strategy": "none"}}, 422, "aggregation_s"),
        ("/predict", {"truncate": True, "truncation_direction": "left"}, 422, "truncation_dir"),
        ("/predict", {"truncate": "yes"}, 422, "truncate"),
        ("/models/names/predict", {}, 404, "this model is for tag"),
        ("/models/none", {}, 404, "no model of that name"),
    ],
)
def test_field_that_changes_the_answer_is_refused_by_name(
    client: TestClient, path: str, body: dict[str, Any], status: int, reason: str
) -> None:
    answer = client.post(path, json={"inputs": TEXT} | body)
    assert answer.status_code == status
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("unit", ["utf16", "utf8"])
def test_offsets_are_counted_as_asked(client: TestClient, unit: str) -> None:
    def entities(path: str, **body: Any) -> list[dict[str, Any]]:
        answer = client.post(path, json={"inputs": TEXT} | body).json()
        return answer["predictions"][0]["entities"] if isinstance(answer, dict) else answer

    encoding, size = {"utf16": ("utf-16-le", 2), "utf8": ("utf-8", 1)}[unit]
    own = entities("/v1/models/names/tag", offsets=unit)
    hub = entities("/models/names", parameters={"offsets": unit})
    assert own
    for found, text in ((own, "text"), (hub, "word")):
        for one in found:
            units = TEXT.encode(encoding)[size * one["start"] : size * one["end"]]
            assert units.decode(encoding) == one[text]


def test_schemas_say_what_offsets_count(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name in ("Entity", "Candidate", "Answer", "HubEntity", "Span", "InferResponse"):
        assert "code points" in " ".join(schemas[name]["description"].split()), name
    assert "UTF-16" in schemas["TagRequest"]["properties"]["offsets"]["description"]


# Compressed bodies -------------------------------------------------------------------------------


def packed(client: TestClient, body: bytes, coding: str) -> httpx.Response:
    headers = {"content-type": "application/json", "content-encoding": coding}
    return client.post("/v1/models/sorts/classify", content=body, headers=headers)


BODY = json.dumps({"inputs": TEXT}).encode()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("X-GZIP", gzip.compress(BODY, mtime=0)),
        ("deflate", zlib.compress(BODY)),
        ("identity", BODY),
    ],
)
def test_compressed_body_is_read(client: TestClient, coding: str, body: bytes) -> None:
    assert packed(client, body, coding).status_code == 200


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", gzip.compress(bytes(10_000_000), mtime=0), 413),
        ("gzip", gzip.compress(b" " * LIMITS.max_body + BODY, mtime=0), 413),
        ("gzip", BODY, 400),
        ("gzip", gzip.compress(BODY, mtime=0)[:-9], 400),
        ("gzip", gzip.compress(BODY, mtime=0) * 2, 400),
        ("gzip", b"", 400),
        ("gzip, gzip", gzip.compress(gzip.compress(BODY, mtime=0), mtime=0), 415),
        ("br", BODY, 415),
    ],
)
def test_body_that_unpacks_wrongly_is_refused(
    client: TestClient, coding: str, body: bytes, status: int
) -> None:
    assert packed(client, body, coding).status_code == status


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("br;q=1.0, deflate;q=0.5", "deflate"),
        ("gzip;q=0.0", None),
        ("identity", None),
    ],
)
def test_large_answer_is_compressed_if_asked(
    client: TestClient, accepted: str, coding: str | None
) -> None:
    tensor = {"name": "text", "shape": [50], "datatype": "BYTES", "data": [TEXT] * 50}
    headers = {"accept-encoding": accepted}
    path = "/v2/models/sorts/infer"
    answer = client.post(path, json={"inputs": [tensor]}, headers=headers)

    assert answer.headers.get("content-encoding") == coding
    assert len(answer.json()["outputs"][0]["data"]) == 50
