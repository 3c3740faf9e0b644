"""Who is let in: what there is no room for is refused before the application hears of it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from onelayer import Predictor, load
from onelayer.serving.http.admission import Rejection
from onelayer.serving.http.app import App, make_app
from onelayer.serving.limits import Limits
from onelayer.serving.scheduler.batcher import MIN_QUEUE_TOKENS
from support.listening import listening
from support.tiny_bert import MakeBert

PATH = b"/v1/models/m/classify"
LIMITS = Limits(max_body=1000, max_waiting=200, header_timeout=0.2)
BODY = json.dumps({"inputs": "the good cats"}).encode()
HEAD = (
    b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
)
REQUEST = HEAD % (PATH, len(BODY)) + BODY


@pytest.fixture(scope="module")
def predictor(make_bert: MakeBert) -> Predictor:
    return load(make_bert(architecture="BertForSequenceClassification", labels=("bad", "good")))


@pytest.fixture
def app(predictor: Predictor) -> App:
    return make_app({"m": predictor, "n": predictor}, LIMITS, access_log=True)


def fill(app: App, tokens: int = LIMITS.max_waiting) -> None:
    """So much waits for the models, and nothing becomes of it; with less than nothing, room."""
    app.service.batcher._count(tokens, 1.5)
    app.service.batcher._refused = float("-inf")


def refused(
    app: App, method: bytes = b"POST", target: bytes = PATH, length: int = 50, **headers: str
) -> Rejection | None:
    given = {"content-length": str(length)} | headers
    sent = [(name.replace("_", "-").encode(), text.encode()) for name, text in given.items()]

    async def at_the_door() -> Rejection | None:
        return app.admission.refuses(method, target, sent)

    return asyncio.run(at_the_door())


def test_who_finds_room_is_let_in(app: App) -> None:
    assert refused(app) is None


def test_who_finds_none_is_told_when_to_come_again(app: App) -> None:
    fill(app)
    refusal = refused(app, x_request_id="mine")
    assert refusal is not None
    head, body = refusal.answer.split(b"\r\n\r\n")
    start, *lines = head.decode().split("\r\n")
    assert start == "HTTP/1.1 429 Too Many Requests"
    assert dict(line.split(": ") for line in lines) == {
        "content-type": "application/problem+json",
        "content-length": str(len(body)),
        "x-request-id": "mine",
        "retry-after": "2",
    }
    with TestClient(app) as client:  # the same as from the application
        answer = client.post(PATH.decode(), json={"inputs": "x"}, headers={"x-request-id": "mine"})
    assert answer.json() == json.loads(body)
    assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("target", "model"),
    [
        (PATH, "m"),
        (b"/v1/models/n/classify", "n"),
        (b"/v2/models/n/infer", "n"),
        (b"/predict", "m"),
        (b"/", "m"),
    ],
)
def test_every_route_to_a_prediction_has_the_door(app: App, target: bytes, model: str) -> None:
    fill(app)
    refusal = refused(app, target=target)
    assert refusal is not None
    assert refusal.context.model == model
    assert (b'"error"' in refusal.answer) == (not target.startswith(b"/v1/"))


def test_all_else_is_left_to_the_application(app: App) -> None:
    fill(app)
    assert refused(app) is not None
    assert refused(app, method=b"GET") is None
    assert refused(app, target=b"/health") is None
    assert refused(app, target=b"/v1/models/nobody/classify") is None
    assert refused(app, target=b"/v1/models/m/tag") is None
    assert refused(app, length=LIMITS.max_body + 1) is None
    assert refused(app, content_length="many") is None
    app.service.phase = "draining"
    assert refused(app) is None


def test_the_key_comes_first(predictor: Predictor) -> None:
    app = make_app({"m": predictor}, LIMITS, keys=["right"])
    fill(app)
    assert refused(app, x_api_key="right") is not None
    assert refused(app, x_api_key="wrong") is None  # it hears 401
    assert refused(app) is None


def test_requests_at_a_time(predictor: Predictor) -> None:
    app = make_app({"m": predictor}, Limits(max_requests=1))
    app.service.came()
    refusal = refused(app)
    assert refusal is not None
    assert b"too many requests at a time" in refusal.answer
    app.service.went()
    assert refused(app) is None


def test_those_of_one_round_do_not_find_the_same_place_free(app: App) -> None:
    async def let_in() -> int:
        found = 0
        length = [(b"content-length", b"50")]
        while found < 100 and app.admission.refuses(b"POST", PATH, length) is None:
            found += 1
        return found

    async def story() -> None:
        fill(app, LIMITS.max_waiting - MIN_QUEUE_TOKENS)
        first = await let_in()
        assert 1 <= first < 10
        assert await let_in() == 0
        await asyncio.sleep(0)  # by now they would have begun, and be in the line
        fill(app, 0)
        assert await let_in() == first

    asyncio.run(story())


# Over a connection ------------------------------------------------------------------------------


@pytest.fixture
def connection(app: App) -> Iterator[socket.socket]:
    """To a server that has no room."""
    fill(app)
    with listening(app) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            yield connection
    assert app.service.access_log is not None
    app.service.access_log.flush(20)


def statuses(connection: socket.socket, n: int) -> list[int]:
    """Of the next answers."""
    found = []
    for _ in range(n):
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.read()
        found.append(answer.status)
    return found


def test_the_connection_stays(app: App, connection: socket.socket) -> None:
    for status in (429, 429, 200):
        if status == 200:
            fill(app, -LIMITS.max_waiting)
        connection.sendall(REQUEST)
        assert statuses(connection, 1) == [status]


def test_the_answer_comes_when_all_of_the_request_is_read(connection: socket.socket) -> None:
    for part in (REQUEST[:30], REQUEST[30:-10], REQUEST[-10:-5]):
        connection.sendall(part)
    connection.settimeout(0.05)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.settimeout(20)
    connection.sendall(REQUEST[-5:])
    assert statuses(connection, 1) == [429]


def test_several_at_a_time(connection: socket.socket) -> None:
    connection.sendall(REQUEST + b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n" + REQUEST)
    answers = b""
    while answers.count(b"HTTP/1.1 ") < 3 or not answers.endswith(b"}"):
        answers += connection.recv(65536)
    assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"429", b"200", b"429"]


def test_who_does_not_send_the_rest_of_it(connection: socket.socket) -> None:
    connection.sendall(REQUEST[:-5])
    assert statuses(connection, 1) == [408]
    assert connection.recv(1) == b""


def test_a_refusal_is_counted_and_logged(
    app: App, connection: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    connection.sendall(REQUEST)
    assert statuses(connection, 1) == [429]
    page = app.service.metrics.page().decode()
    route = "/v1/models/{name}/classify"
    assert f'onelayer_requests_total{{model="m",route="{route}",status="429"}} 1.0' in page
    assert app.service.access_log is not None
    app.service.access_log.flush(20)
    line = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (line["status"], line["route"], line["model"]) == (429, route, "m")
    assert app.service.in_flight == 0
