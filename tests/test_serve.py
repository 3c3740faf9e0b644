"""The server's answers equal ``predict``; bad requests are refused."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from onelayer import Predictor, load
from onelayer.serving.access_log import AccessLog
from onelayer.serving.api.operations import LARGE_REQUEST_BYTES
from onelayer.serving.http.app import App, make_app
from onelayer.serving.limits import Limits
from support.tiny_bert import MakeBert

JSON = {"content-type": "application/json"}
LONG = "the good cats are here and the bad cats are there " * 4
KINDS: dict[str, dict[str, Any]] = {
    "classify": {
        "architecture": "BertForSequenceClassification",
        "labels": ("bad", "fair", "good"),
    },
    "several": {
        "architecture": "BertForSequenceClassification",
        "labels": ("cats", "the", "x"),
        "problem_type": "multi_label_classification",
    },
    "regress": {
        "architecture": "BertForSequenceClassification",
        "labels": ("LABEL_0",),
        "problem_type": "regression",
    },
    "tag": {"architecture": "BertForTokenClassification", "labels": ("B-X", "I-X", "O")},
    "answer": {"architecture": "BertForQuestionAnswering"},
    "choose": {"architecture": "BertForMultipleChoice"},
}
INPUTS: dict[str, list[Any]] = {
    "classify": ["the good cats", {"text": "a bad cat", "pair": "the cat"}, LONG, ""],
    "several": ["the good cats", LONG],
    "regress": ["the good cats", {"text": "x", "pair": LONG}],
    "tag": ["the good cats", {"text": LONG}, "  "],
    "answer": [
        {"question": "who is here?", "context": "the good cats"},
        {"question": "who is there?", "context": LONG},
    ],
    "choose": [
        {"context": "the cat", "question": "what?", "options": ["good", "bad", "x"]},
        {"context": LONG, "options": ["good", LONG]},
    ],
}
VERB = {name: name for name in KINDS} | {"several": "classify"}


@pytest.fixture(scope="module")
def models(make_bert: MakeBert) -> dict[str, Predictor]:
    found = {name: load(make_bert(**kind)) for name, kind in KINDS.items()}
    for name in (
        "classify",
        "several",
        "regress",
    ):  # long texts are read in windows, as after training
        task: Any = found[name].task
        found[name] = replace(found[name], task=replace(task, pooling="mean", stride=8))
    return found


@pytest.fixture(scope="module")
def client(models: dict[str, Predictor]) -> Iterator[TestClient]:
    with TestClient(make_app(models)) as client:
        yield client


def predicted(predictor: Predictor, inputs: list[Any]) -> Any:
    """The prediction with tolerances, as another batch may change the last digits."""
    return approx([one.to_json() for one in predictor.predict(inputs)])


def approx(value: Any) -> Any:
    if isinstance(value, float):
        return pytest.approx(value, rel=1e-4, abs=1e-6)
    if isinstance(value, dict):
        return {key: approx(item) for key, item in value.items()}
    return list(map(approx, value)) if isinstance(value, list) else value


def post(client: TestClient, name: str, **body: Any) -> httpx.Response:
    return client.post(f"/v1/models/{name}/{VERB[name]}", json=body)


@pytest.mark.parametrize("name", KINDS)
def test_server_answers_equal_predict(
    client: TestClient, models: dict[str, Predictor], name: str
) -> None:
    answer = post(client, name, inputs=INPUTS[name])

    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == predicted(models[name], INPUTS[name])
    assert answer.json()["model"] == name


@pytest.mark.parametrize("name", KINDS)
def test_single_input_gets_a_list_of_one_prediction(
    client: TestClient, models: dict[str, Predictor], name: str
) -> None:
    one = post(client, name, inputs=INPUTS[name][0]).json()["predictions"]

    assert one == predicted(models[name], INPUTS[name][:1])


@pytest.mark.slow
def test_concurrent_requests_get_their_own_answers(models: dict[str, Predictor]) -> None:
    """Simultaneous requests to all models, of one text and of many: each gets its own answers, and
    all are counted."""
    app = make_app(models, Limits(token_budget=256, max_waiting=10**6))
    chance = random.Random(0)
    asked = [
        (name, chance.choices(INPUTS[name], k=chance.choice([1, 1, 2, 8])))
        for name in chance.choices(list(KINDS), k=40)
    ]

    async def ask(client: httpx.AsyncClient, name: str, inputs: list[Any]) -> Any:
        url = f"/v1/models/{name}/{VERB[name]}"
        return (await client.post(url, json={"inputs": inputs})).json()

    async def all_at_once() -> list[Any]:
        async with in_process(app) as client:
            return await asyncio.gather(*(ask(client, *one) for one in asked))

    answers = asyncio.run(all_at_once())

    alone = {name: predicted(models[name], inputs) for name, inputs in INPUTS.items()}
    for (name, inputs), answer in zip(asked, answers, strict=True):
        expected = [dict(alone[name][INPUTS[name].index(one)]) for one in inputs]
        for number, one in enumerate(expected, start=1):
            one |= {"id": str(number)} if "id" in one else {}
        assert answer["predictions"] == expected
    counted = figures(app)
    for name, times in Counter(name for name, _ in asked).items():
        labels = f'{{model="{name}",route="/v1/models/{{name}}/{VERB[name]}",status="200"}}'
        assert counted[f"onelayer_requests_total{labels}"] == times
        own = [answer["tokens"] for answer in answers if answer["model"] == name]
        assert counted[f'onelayer_tokens_total{{model="{name}"}}'] == sum(own)
        texts = sum(len(inputs) for kind, inputs in asked if kind == name)
        assert counted[f'onelayer_texts_total{{model="{name}"}}'] == texts
        assert counted[f'onelayer_queue_seconds_count{{model="{name}"}}'] == times
    assert counted["onelayer_requests_in_flight"] == 0
    assert counted["onelayer_waiting_tokens"] == 0


def in_process(app: App) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def figures(app: App) -> dict[str, float]:
    lines = app.service.metrics.exposition().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


@pytest.mark.parametrize("name", KINDS)
def test_long_text_is_refused_with_its_number(client: TestClient, name: str) -> None:
    short, long = INPUTS[name][0], INPUTS[name][-1 if name != "tag" else 1]
    long = LONG if name == "classify" else long

    answer = post(client, name, inputs=[short, long], long="refuse")

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("input 2 has ")
    assert post(client, name, inputs=[short], long="refuse").status_code == 200


@pytest.mark.parametrize("name", [name for name in KINDS if name != "choose"])
def test_truncated_text_is_its_first_window(
    client: TestClient, models: dict[str, Predictor], name: str
) -> None:
    long = INPUTS[name][-1 if name != "tag" else 1]
    long = LONG if name == "classify" else long
    whole, cut = (
        post(client, name, inputs=long, long=how).json() for how in ("window", "truncate")
    )

    assert cut["tokens"] == models[name].task.max_length < whole["tokens"]
    assert cut["unread_tokens"] > whole["unread_tokens"] == 0
    if name == "tag":
        (tagged,) = cut["predictions"]
        assert len(tagged["words"]) == len(tagged["tags"]) < len(LONG.split())


def test_unread_tokens_are_counted_without_windows(client: TestClient) -> None:
    answer = post(client, "choose", inputs=[INPUTS["choose"][1], INPUTS["choose"][0]]).json()

    assert answer["unread_tokens"] > 0


BAD: dict[str, tuple[bytes, int, str]] = {
    "invalid JSON": (b"{", 400, "no JSON"),
    "an empty body": (b"", 400, "no JSON"),
    "invalid UTF-8": (b'{"inputs": "\xff"}', 400, "no UTF-8 at byte 12"),
    "deep": (b'{"inputs": ' + b"[" * 100_000, 400, "too deeply"),
    "NaN": (b'{"inputs": NaN}', 400, "NaN is no number"),
    "infinite": (b'{"inputs": "a", "coverage": -Infinity}', 400, "-Infinity"),
    "a lone surrogate": (rb'{"inputs": "\ud800"}', 400, "surrogate"),
    "a lone surrogate in a key": (rb'{"\udc00": "a"}', 400, "surrogate"),
    "a huge integer": (b'{"inputs": ' + b"9" * 5000 + b"}", 400, "digits"),
    "a duplicate key": (b'{"inputs": "a", "inputs": "b"}', 400, "a key twice"),
    "a duplicate nested key": (b'{"inputs": {"text": "a", "text": "b"}}', 400, "a key twice"),
    "a list": (b"[]", 422, "should be an object"),
    "no inputs": (b"{}", 422, "inputs: Field required"),
    "no input": (b'{"inputs": []}', 422, "inputs: List should have at least 1 item"),
    "a number": (b'{"inputs": 5}', 422, "inputs: "),
    "a nested number": (b'{"inputs": ["a", {"text": 5}]}', 422, "inputs.1.text: "),
    "an unknown option": (b'{"inputs": "a", "lang": "x"}', 422, "lang: Extra"),
    "an unknown way": (b'{"inputs": "a", "long": "maybe"}', 422, "long: "),
    "a coverage above one": (b'{"inputs": "a", "coverage": 2}', 422, "coverage: "),
    "coverage without calibration": (b'{"inputs": "a", "coverage": 0.9}', 400, "no calibration"),
}


@pytest.mark.parametrize(("body", "status", "detail"), BAD.values(), ids=BAD)
def test_bad_body_is_refused_with_its_reason(
    client: TestClient, body: bytes, status: int, detail: str
) -> None:
    answer = client.post("/v1/models/classify/classify", content=body, headers=JSON)

    assert answer.status_code == status
    assert detail in is_problem(answer)["detail"]


def is_problem(answer: httpx.Response) -> Any:
    """The fields of a problem, after checking the required and the forbidden ones."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    assert "/src/" not in answer.text
    assert ".py" not in answer.text
    return problem


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/v1/models/other/classify", 404),
        ("POST", "/v1/models/tag/classify", 404),
        ("GET", "/v1/models/classify/classify", 405),
        ("DELETE", "/v1/models", 405),
        ("PATCH", "/", 405),
    ],
)
def test_unknown_route_model_or_method_is_refused(
    client: TestClient, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path, json={"inputs": "a"} if method == "POST" else None)

    is_problem(answer)
    assert answer.status_code == status
    assert ("allow" in answer.headers) == (status == 405)


def test_wrong_method_gets_the_allowed_ones(client: TestClient) -> None:
    assert client.put("/").headers["allow"] == "GET, HEAD, POST"


@pytest.mark.slow
def test_large_request_is_answered_like_predict(
    client: TestClient, models: dict[str, Predictor]
) -> None:
    inputs = [f"the cat {i} " + "good " * 10 for i in range(600)]

    answer = post(client, "classify", inputs=inputs)

    assert len(answer.request.content) > LARGE_REQUEST_BYTES
    assert answer.json()["predictions"] == predicted(models["classify"], inputs)


def test_request_beyond_a_limit_is_refused(models: dict[str, Predictor]) -> None:
    limits = Limits(max_body=1000, max_texts=3, max_tokens=100)
    with TestClient(make_app(models, limits)) as client:
        assert post(client, "classify", inputs=["a"] * 4).status_code == 422
        assert post(client, "classify", inputs=["a"] * 3).status_code == 200
        assert post(client, "classify", inputs="a" * 1000).status_code == 413
        chunks = (b" " * 100 for _ in range(11))  # without a length
        url = "/v1/models/classify/classify"
        assert client.post(url, content=chunks, headers=JSON).status_code == 413
        long = post(client, "tag", inputs=["a", "a b " * 100])
        assert long.status_code == 422
        assert "input 2 has " in is_problem(long)["detail"]
        assert client.post(url, content=b'{"inputs": "a"}').status_code == 415
        compressed = {"content-encoding": "br", **JSON}
        assert client.post(url, content=b"x", headers=compressed).status_code == 415


class BlockedEngine:
    """An engine that waits until it may run, and counts its runs."""

    name = "blocked"

    def __init__(self, engine: Any) -> None:
        self.engine, self.runs, self.let, self.entered = engine, 0, Event(), Event()

    def logits(self, encodings: Any) -> Any:
        self.runs += 1
        self.entered.set()
        assert self.let.wait(20)
        return self.engine.logits(encodings)


def test_request_beyond_max_requests_gets_429(models: dict[str, Predictor]) -> None:
    engine = BlockedEngine(models["tag"].engine)
    held = replace(models["tag"], engine=engine)
    app = make_app({"tag": held}, Limits(max_requests=1))

    async def story() -> None:
        async with in_process(app) as client:
            first = asyncio.create_task(client.post("/v1/models/tag/tag", json={"inputs": "a"}))
            await asyncio.to_thread(engine.entered.wait)
            refused = await client.post("/v1/models/tag/tag", json={"inputs": "b"})
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            is_problem(refused)
            assert (await client.get("/health")).status_code == 200
            engine.let.set()
            assert (await first).status_code == 200

    asyncio.run(story())
    assert engine.runs == 1


def test_request_of_a_caller_who_left_is_not_run(models: dict[str, Predictor]) -> None:
    engine = BlockedEngine(models["tag"].engine)
    app = make_app({"tag": replace(models["tag"], engine=engine)})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def hung_up() -> None:
        events = iter(
            [
                {"type": "http.request", "body": b'{"inputs": ["b", "c"]}', "more_body": False},
                {"type": "http.disconnect"},
            ]
        )

        async def receive() -> Any:
            return next(events)

        path = "/v1/models/tag/tag"
        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        await app({**scope, "query_string": b"", "root_path": ""}, receive, send)

    async def story() -> None:
        async with in_process(app) as client:
            first = asyncio.create_task(client.post("/v1/models/tag/tag", json={"inputs": "a"}))
            await asyncio.to_thread(engine.entered.wait)
            await hung_up()
            engine.let.set()
            assert (await first).status_code == 200
            await client.post("/v1/models/tag/tag", json={"inputs": "d"})

    asyncio.run(story())
    assert engine.runs == 2
    assert sent == []
    assert figures(app)["onelayer_callers_left_total"] == 1


def test_failing_engine_fails_only_its_own_requests(models: dict[str, Predictor]) -> None:
    class Broken:
        name = "broken"

        def logits(self, encodings: Any) -> Any:
            raise RuntimeError("secret")

    broken = replace(models["classify"], engine=Broken())
    with TestClient(make_app({"classify": broken, "tag": models["tag"]})) as client:
        answer = post(client, "classify", inputs="a")

        assert answer.status_code == 500
        assert "secret" not in answer.text
        is_problem(answer)
        assert post(client, "tag", inputs="a").status_code == 200


def test_all_but_public_paths_need_a_key(models: dict[str, Predictor]) -> None:
    app = make_app({"classify": models["classify"]}, keys=["one", "two ü"])
    with TestClient(app) as client:

        def status(path: str, **headers: str) -> int:
            encoded = {name.replace("_", "-"): value.encode() for name, value in headers.items()}
            return client.get(path, headers=encoded).status_code

        assert status("/v1/models") == 401
        assert status("/nowhere") == 401
        assert status("/metrics") == 401
        assert status("/v1/models", authorization="Bearer on") == 401
        assert status("/v1/models", authorization="Basic one") == 401
        assert status("/v1/models", authorization="Bearer one") == 200
        assert status("/v1/models", authorization="bearer two ü") == 200
        assert status("/v1/models", x_api_key="one") == 200
        assert client.post("/", json={"inputs": "a"}).status_code == 401
        for path in ("/", "/docs", "/health", "/health/live", "/health/ready", "/openapi.json"):
            assert status(path) == 200


def test_safe_request_id_of_the_caller_is_kept(client: TestClient) -> None:
    def given(value: str) -> str:
        return client.get("/health", headers={"x-request-id": value}).headers["x-request-id"]

    assert given("a-b.C/1") == "a-b.C/1"
    for odd in ("", "a b", "x" * 200, '"}'):
        assert given(odd) != odd
    assert given("") != given("")


def test_access_log_has_a_line_per_request_and_no_texts(
    models: dict[str, Predictor], capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app(models, access_log=True, keys=["a-secret-key"])
    with TestClient(app) as client:
        headers = {"x-api-key": "a-secret-key", "x-request-id": "one"}
        url = "/v1/models/tag/tag?token=a-secret-word"
        client.post(url, json={"inputs": ["a-secret-text", "b"]}, headers=headers)
        client.get("/some/secret/path")
        assert app.service.access_log is not None
        app.service.access_log.flush()
    logged = capsys.readouterr().err

    first, second = map(json.loads, logged.splitlines())
    assert "secret" not in logged
    assert first["id"] == "one"
    assert (first["route"], first["model"]) == ("/v1/models/{name}/tag", "tag")
    assert (first["status"], first["texts"]) == (200, 2)
    assert first["tokens"] > 4
    assert 0 <= first["queue_ms"] <= first["total_ms"]
    assert (second["status"], second["route"]) == (401, "none")


def test_slow_reader_of_the_access_log_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    read, written = Event(), []

    class Slow:
        def write(self, text: str) -> None:
            assert read.wait(20)
            written.append(text)

        def flush(self) -> None:
            pass

    monkeypatch.setattr("onelayer.serving.access_log.MAX_QUEUED_LINES", 3)
    monkeypatch.setattr("sys.stderr", Slow())
    log = AccessLog()
    for number in range(10):
        log.write(f'"number": {number}')
    log.flush(seconds=0)
    read.set()
    log.flush(seconds=20)
    log.write('"number": 10')
    log.flush(seconds=20)

    lines = [json.loads(line) for line in "".join(written).splitlines()]
    numbers = [line["number"] for line in lines if "number" in line]
    lost = sum(line.get("lost_lines", 0) for line in lines)
    assert numbers[0] == 0
    assert numbers[-1] == 10
    assert len(numbers) + lost == 11
    assert lost > 0


def test_readiness_follows_the_phase(models: dict[str, Predictor]) -> None:
    app = make_app(models)
    with TestClient(app) as client:
        for phase, status in (("ready", 200), ("draining", 503), ("loading", 503)):
            app.admission.phase = phase  # type: ignore[assignment]
            for path in ("/health/ready", "/v2/health/ready"):
                assert client.get(path).status_code == status
            assert client.get("/health/live").status_code == 200
        is_problem(client.get("/health/ready"))
        loading = post(client, "classify", inputs="a")
        assert (loading.status_code, loading.headers["retry-after"]) == (503, "1")
        app.admission.phase = "draining"
        assert post(client, "classify", inputs="a").headers["connection"] == "close"


def test_models_are_described(client: TestClient, models: dict[str, Predictor]) -> None:
    described = client.get("/v1/models").json()["models"]

    assert [one["name"] for one in described] == list(models)
    expected = {
        "name": "tag",
        "task": "tag",
        "labels": ["B-X", "I-X", "O"],
        "inputs": ["text"],
        "engine": "torch",
        "precision": "fp32",
        "max_length": 64,
    }
    assert client.get("/v1/models/tag").json().items() >= expected.items()
