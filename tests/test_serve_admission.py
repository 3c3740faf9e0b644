"""Admission: requests without room are refused before they reach the application."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from onelayer import Predictor, load
from onelayer.base.errors import OneLayerError, UsageError
from onelayer.serving.http.admission import DirectRequest, Rejection
from onelayer.serving.http.allowed_hosts import AllowedHosts
from onelayer.serving.http.app import App, make_app
from onelayer.serving.limits import Limits
from onelayer.serving.server import listen
from support.listening import listening
from support.page_site import served
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
    """Adds tokens to the queue that are never run; a negative number removes tokens."""
    app.service.batcher.backlog.add(tokens, 1.5)
    app.admission._last_queue_refusal = float("-inf")


def verdict_on(
    app: App, method: bytes = b"POST", target: bytes = PATH, length: int = 50, **headers: str
) -> Rejection | DirectRequest | None:
    given = {"host": "x", "content-length": str(length)} | headers
    sent = [(name.replace("_", "-").encode(), text.encode()) for name, text in given.items()]

    async def judged() -> Rejection | DirectRequest | None:
        return app.admission.judge_before_task(method, target, sent)

    return asyncio.run(judged())


def rejection_of(app: App, **request: Any) -> Rejection | None:
    verdict = verdict_on(app, **request)
    assert not isinstance(verdict, DirectRequest)
    return verdict


def test_request_with_room_is_accepted(app: App) -> None:
    assert rejection_of(app) is None


def test_rejected_request_gets_retry_after(app: App) -> None:
    fill(app)
    rejection = rejection_of(app, x_request_id="mine")
    assert rejection is not None
    head, body = rejection.answer.split(b"\r\n\r\n")
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
def test_every_prediction_route_is_rejected_when_full(app: App, target: bytes, model: str) -> None:
    fill(app)
    rejection = rejection_of(app, target=target)
    assert rejection is not None
    assert rejection.context.model == model
    assert (b'"error"' in rejection.answer) == (not target.startswith(b"/v1/"))


def test_other_requests_go_to_the_application(app: App) -> None:
    fill(app)
    assert rejection_of(app) is not None
    assert rejection_of(app, method=b"GET") is None
    assert rejection_of(app, target=b"/health") is None
    assert rejection_of(app, target=b"/v1/models/nobody/classify") is None
    assert rejection_of(app, target=b"/v1/models/m/tag") is None
    assert rejection_of(app, length=LIMITS.max_body + 1) is None
    assert rejection_of(app, content_length="many") is None
    app.admission.phase = "draining"
    assert rejection_of(app) is None


def test_wrong_key_is_left_to_the_application(predictor: Predictor) -> None:
    app = make_app({"m": predictor}, LIMITS, keys=["right"])
    fill(app)
    assert rejection_of(app, x_api_key="right") is not None
    assert rejection_of(app, x_api_key="wrong") is None  # which answers 401
    assert rejection_of(app) is None


def test_request_beyond_max_requests_is_rejected(predictor: Predictor) -> None:
    app = make_app({"m": predictor}, Limits(max_requests=1))
    app.admission.enter()
    rejection = rejection_of(app)
    assert rejection is not None
    assert b"too many requests at a time" in rejection.answer
    app.admission.leave()
    assert rejection_of(app) is None


def test_requests_of_one_loop_round_do_not_share_a_free_place(app: App) -> None:
    async def accepted() -> int:
        found = 0
        headers = [(b"host", b"x"), (b"content-length", b"50")]
        while found < 100 and app.admission.judge_before_task(b"POST", PATH, headers) is None:
            found += 1
        return found

    async def story() -> None:
        fill(app, LIMITS.max_waiting - 64)
        first = await accepted()
        assert 1 <= first < 10
        assert await accepted() == 0
        await asyncio.sleep(0)  # by now the tasks would be in the queue
        fill(app, 0)
        assert await accepted() == first

    asyncio.run(story())


@pytest.mark.parametrize(
    ("headers", "direct"),
    [
        ({}, True),
        ({"content_type": "application/json; charset=utf-8"}, True),
        ({"content_type": "text/plain"}, False),
        ({"content_encoding": "gzip"}, False),
        ({"expect": "100-continue"}, False),
    ],
)
def test_only_usual_requests_bypass_the_application(
    app: App, headers: dict[str, str], direct: bool
) -> None:
    usual = {"content_type": "application/json"}
    assert isinstance(verdict_on(app, **usual | headers), DirectRequest) == direct
    assert verdict_on(app, target=b"/v2/models/m/infer", **usual | headers) is None


# Over a connection -------------------------------------------------------------------------------


@pytest.fixture
def connection(app: App) -> Iterator[socket.socket]:
    """A connection to a server without room."""
    fill(app)
    with listening(app) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            yield connection
    assert app.service.access_log is not None
    app.service.access_log.flush(20)


def statuses(connection: socket.socket, n: int) -> list[int]:
    """The statuses of the next answers."""
    found = []
    for _ in range(n):
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.read()
        found.append(answer.status)
    return found


def test_connection_stays_open_after_a_rejection(app: App, connection: socket.socket) -> None:
    for status in (429, 429, 200):
        if status == 200:
            fill(app, -LIMITS.max_waiting)
        connection.sendall(REQUEST)
        assert statuses(connection, 1) == [status]


def test_rejection_is_sent_after_the_whole_request_is_read(connection: socket.socket) -> None:
    for part in (REQUEST[:30], REQUEST[30:-10], REQUEST[-10:-5]):
        connection.sendall(part)
    connection.settimeout(0.05)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.settimeout(20)
    connection.sendall(REQUEST[-5:])
    assert statuses(connection, 1) == [429]


def test_pipelined_rejections_keep_their_order(connection: socket.socket) -> None:
    connection.sendall(REQUEST + b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n" + REQUEST)
    answers = b""
    while answers.count(b"HTTP/1.1 ") < 3 or not answers.endswith(b"}"):
        answers += connection.recv(65536)
    assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"429", b"200", b"429"]


def test_unfinished_rejected_request_times_out(connection: socket.socket) -> None:
    connection.sendall(REQUEST[:-5])
    assert statuses(connection, 1) == [408]
    assert connection.recv(1) == b""


def test_rejection_is_counted_and_logged(
    app: App, connection: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    connection.sendall(REQUEST)
    assert statuses(connection, 1) == [429]
    page = app.service.metrics.exposition().decode()
    route = "/v1/models/{name}/classify"
    assert f'onelayer_requests_total{{model="m",route="{route}",status="429"}} 1.0' in page
    assert app.service.access_log is not None
    app.service.access_log.flush(20)
    line = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (line["status"], line["route"], line["model"]) == (429, route, "m")
    assert app.admission._in_flight == 0


@pytest.mark.parametrize("cors", [False, True])
@pytest.mark.parametrize("body", [BODY, b"{", b'{"inputs": []}', b'{"inputs": "a", "other": 1}'])
def test_bypass_answers_like_the_application(predictor: Predictor, body: bytes, cors: bool) -> None:
    origins = ["https://app.example"] if cors else []
    app = make_app({"m": predictor}, cors_origins=origins)
    request = HEAD.replace(b"\r\n\r\n", b"\r\nx-request-id: one\r\n\r\n") % (PATH, len(body))
    by_application = request.replace(b"host:", b"content-encoding: identity\r\nhost:")
    found = []
    with listening(app) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            for head in (request, by_application):
                connection.sendall(head)
                connection.sendall(body)
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                headers = {name.lower(): value for name, value in answer.getheaders()}
                headers.pop("date")
                found.append((answer.status, headers, answer.read()))
    assert found[0] == found[1]
    assert (app.service.metrics.tallies["m", True].count > 0) == (body == BODY)


def test_other_asgi_servers_keep_the_same_rules(predictor: Predictor) -> None:
    """uvicorn's own connections know nothing of admission: the application asks it."""
    app = make_app({"m": predictor}, LIMITS, keys=["k"], allowed_hosts=["x"])
    fill(app)
    cases = {
        REQUEST.replace(b"host: x\r\n", b""): 400,
        REQUEST: 401,
        REQUEST.replace(b"host: x", b"host: evil.example\r\nx-api-key: k"): 421,
        REQUEST.replace(b"host: x", b"host: x\r\nx-api-key: k"): 429,
        HEAD.replace(b"host: x", b"host: x\r\nx-api-key: k") % (PATH, 2000): 413,
    }
    with served(app) as url:
        address = ("127.0.0.1", int(url.rsplit(":", 1)[1].strip("/")))
        for request, status in cases.items():
            with socket.create_connection(address, timeout=20) as connection:
                connection.sendall(request)
                assert statuses(connection, 1) == [status], request


# Host --------------------------------------------------------------------------------------------


def host_status(hosts: AllowedHosts, host: str) -> int:
    """The status for a host, 0 if it is allowed."""
    problem = hosts.refuse(host.encode("latin-1"))
    return 0 if problem is None else problem.status


@pytest.mark.parametrize(
    ("listening", "more", "allowed", "refused"),
    [
        (
            "127.0.0.1",
            [],
            "localhost LOCALHOST:1 localhost. 127.0.0.1:80 127.0.0.9 [::1]:80",
            "a.b",
        ),
        ("127.0.0.1", [], "localhost", "192.168.1.5 [fe80::1] localhost.a.b 0.0.0.0"),
        ("192.168.1.5", [], "192.168.1.5:80 localhost", "192.168.1.6 a.b"),
        ("0.0.0.0", [], "192.168.1.5:80 [fe80::1] [2001:DB8:0::1]:80 localhost", "a.b onelayer"),
        ("::", [], "192.168.1.5 [fe80::1]:80", "a.b"),
        ("0.0.0.0", ["onelayer", "A.example:443"], "onelayer:80 a.example", "a.b b.a.example"),
        ("127.0.0.1", ["[2001:db8:0::1]"], "[2001:db8::1]:80", "[2001:db8::2]"),
        ("127.0.0.1", ["*"], "a.b 192.168.1.5 [fe80::1]", ""),
    ],
)
def test_host_is_one_of_the_servers_names(
    listening: str, more: list[str], allowed: str, refused: str
) -> None:
    hosts = AllowedHosts.of_server(listening, listening, more)
    assert {host: host_status(hosts, host) for host in allowed.split()} == dict.fromkeys(
        allowed.split(), 0
    )
    assert {host: host_status(hosts, host) for host in refused.split()} == dict.fromkeys(
        refused.split(), 421
    )


@pytest.mark.parametrize(
    "host", ["", " ", "a b", "a/b", "me@a", "a:b", "[::1", "[a]", "a,b", "é", "a" * 301]
)
def test_invalid_host_is_a_bad_request(host: str) -> None:
    assert host_status(AllowedHosts(["*"]), host) == 400


def test_server_accepts_its_host_name_and_address() -> None:
    hosts = AllowedHosts.of_server("models.lan", "192.168.1.5", [])
    assert host_status(hosts, "models.lan:80") == host_status(hosts, "192.168.1.5") == 0


def test_refused_host_names_the_flag(predictor: Predictor) -> None:
    app = make_app({"m": predictor}, allowed_hosts=[])
    with TestClient(app, base_url="http://evil.example") as client:
        answer = client.get("/health")
    assert answer.status_code == 421
    assert "--allowed-host evil.example" in answer.json()["detail"]
    counted = b'onelayer_requests_total{model="",route="none",status="421"} 1.0'
    assert counted in app.service.metrics.exposition()
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("name", ["http://a", "a/b", "", "a b"])
def test_invalid_allowed_host_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="--allowed-host"):
        AllowedHosts([name])


def test_host_without_room_is_left_to_the_application(predictor: Predictor) -> None:
    """A refused host gets 421 also under overload."""
    app = make_app({"m": predictor}, LIMITS, allowed_hosts=["x"])
    fill(app)
    assert rejection_of(app) is not None
    assert rejection_of(app, host="evil.example") is None  # which answers 421


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_server_listens_at_an_ipv6_address(host: str) -> None:
    with listen(host, 0) as listener:
        assert listener.getsockname()[0] == "::1"
    with pytest.raises(OneLayerError, match=r"\[2001:db8::1\]:80"):
        listen("2001:db8::1", 80)
