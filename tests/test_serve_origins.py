"""Web pages of other origins (CORS), and what a path answers to methods and slashes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from onelayer import Predictor, UsageError, load
from onelayer.serving.http.app import make_app
from onelayer.serving.http.cors import CorsPolicy
from onelayer.serving.limits import Limits
from support.tiny_bert import MakeBert

PATH = "/v1/models/sorts/classify"
APP = "https://app.example"


@pytest.fixture(scope="module")
def predictor(make_bert: MakeBert) -> Predictor:
    return load(make_bert("BertForSequenceClassification", labels=("bad", "good")))


def serving(predictor: Predictor, *origins: str, **options: Any) -> TestClient:
    app = make_app({"sorts": predictor}, cors_origins=origins, **options)
    return TestClient(app, follow_redirects=False)


def ask(client: TestClient, origin: str | None, **headers: str) -> httpx.Response:
    given = {} if origin is None else {"origin": origin}
    return client.post(PATH, json={"inputs": "a"}, headers=given | headers)


def preflight(client: TestClient, origin: str, path: str = PATH) -> httpx.Response:
    asked = {"access-control-request-method": "POST", "origin": origin}
    return client.options(path, headers=asked)


def test_page_of_a_named_origin_reads_answers_and_errors(predictor: Predictor) -> None:
    with serving(predictor, APP, "http://localhost:3000", keys=["k"]) as client:
        answer = ask(client, APP, authorization="Bearer k")
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == APP
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
        refused = ask(client, APP)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == APP


@pytest.mark.parametrize(
    "origin", ["https://app.example.evil", "http://app.example", f"{APP}:444", "null", f"{APP}/"]
)
def test_page_of_another_origin_reads_nothing(predictor: Predictor, origin: str) -> None:
    with serving(predictor, APP) as client:
        for answer in (ask(client, origin), preflight(client, origin)):
            assert "access-control-allow-origin" not in answer.headers
            assert "access-control-allow-headers" not in answer.headers
            assert answer.headers["vary"] == "origin"


def test_answers_vary_by_origin_also_without_one(predictor: Predictor) -> None:
    with serving(predictor, APP) as client:
        assert ask(client, None).headers["vary"] == "origin"
    with serving(predictor, "*") as client:
        answer = ask(client, "https://any.example")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "vary" not in answer.headers
    with serving(predictor) as client:
        answer = ask(client, APP)
        assert not {"vary", "access-control-allow-origin"} & answer.headers.keys()


def test_browser_may_ask_before_a_request_without_a_key(predictor: Predictor) -> None:
    with serving(predictor, APP, keys=["k"]) as client:
        answer = preflight(client, APP)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert {"content-type", "authorization", "x-api-key"} <= set(
        answer.headers["access-control-allow-headers"].split(", ")
    )
    assert int(answer.headers["access-control-max-age"]) > 0


def test_refusal_of_an_overloaded_server_can_be_read_by_the_page(predictor: Predictor) -> None:
    app = make_app({"sorts": predictor}, Limits(max_requests=1), cors_origins=[APP])
    app.admission.enter()
    target, length = PATH.encode(), (b"content-length", b"9")
    headers = [(b"host", b"localhost"), length, (b"origin", APP.encode())]
    assert app.admission.judge_before_task(b"POST", target, headers) is None  # App answers, below
    assert app.admission.judge_before_task(b"POST", target, headers[:2]) is not None
    with TestClient(app) as client:
        answer = ask(client, APP)
    assert answer.status_code == 429
    assert answer.headers["access-control-allow-origin"] == APP


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("HTTPS://App.Example", APP),
        ("https://app.example:443", APP),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_origin_is_compared_as_browsers_send_it(given: str, origin: str) -> None:
    assert CorsPolicy([given]).allows(origin.encode())


@pytest.mark.parametrize(
    "given",
    ["app.example", f"{APP}/", f"{APP}/page", "null", "", "https://", "https://a b", f"{APP}:x"],
)
def test_something_else_than_an_origin_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"--cors-origin .* is not an origin"):
        CorsPolicy([given])


def test_options_lists_the_methods_of_a_path(predictor: Predictor) -> None:
    with serving(predictor) as client:
        for path, methods in ((PATH, "POST, OPTIONS"), ("/", "GET, HEAD, POST, OPTIONS")):
            answer = client.options(path)
            assert (answer.status_code, answer.headers["allow"]) == (204, methods)
        assert client.options("/nothing").status_code == 404


def test_slash_at_the_end_changes_nothing(predictor: Predictor) -> None:
    with serving(predictor, keys=["k"]) as client:
        key = {"x-api-key": "k"}
        expected = client.get("/v1/models", headers=key).json()
        for path in ("/v1/models/", "http://testserver//v1//models", "/v1/models///"):
            assert client.get(path, headers=key).json() == expected
            assert client.get(path).status_code == 401
        assert client.get("/health/").status_code == 200
        assert client.get("/v1/modelz/", headers=key).status_code == 404
        assert client.get(f"{PATH}/", headers=key).headers["allow"] == "POST"


def test_page_with_a_slash_leads_to_its_relative_address(predictor: Predictor) -> None:
    with serving(predictor, keys=["k"]) as client:
        answer = client.get("/docs/")
        assert (answer.status_code, answer.headers["location"]) == (308, "../docs")
        assert client.get(str(answer.url.join(answer.headers["location"]))).status_code == 200


def test_head_is_get_without_a_body(predictor: Predictor) -> None:
    with serving(predictor) as client:
        for path in ("/health", "/v1/models", "/", "/openapi.json"):
            head, got = client.head(path), client.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == got.headers["content-length"]
