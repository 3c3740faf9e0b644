"""A server of canned answers for tests of the page, and helpers that use it like a visitor."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from onelayer.serving.page import routes
from support import chromium

HOSTILE = "<img src=x onerror=alert(1)>"
TEXT = "👩‍👧 𝒜nna flew from 北京 to Oslo 🎉, then home."
PASSAGE = "🎉 Before. " * 200 + "The bridge was opened in 1877. " + "After. " * 200
LETTER = {"text": "Ein Brief."}


def span(text: str, part: str) -> dict[str, Any]:
    start = text.index(part)
    return {"start": start, "end": start + len(part), "text": part}


def model(name: str, task: str, *inputs: str, labels: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "name": name,
        "task": task,
        "inputs": inputs,
        "labels": labels,
        "engine": "onnxruntime",
        "precision": "int8",
        "max_length": 128,
    }


def likely(*shares: tuple[str, float]) -> dict[str, Any]:
    label, probability = max(shares, key=lambda share: share[1])
    return {"label": label, "probability": probability, "probabilities": dict(shares)}


MANY = [(f"intent {i}", 2.0**-i / 2) for i in range(100)]
SEVERAL = {"billing": 0.97, "praise": 0.004, "returns": 0.41, HOSTILE: 0.38}
TWENTY = [("a label of many words " * 4, 0.9), *((f"topic {i}", 0.1 / 19) for i in range(19))]
OWN_EXAMPLES = [
    {"text": "Invoice 17 of Müller & Söhne,\n\tdue in 30 days"},
    {"text": f"{HOSTILE} & <b>"},
    {"text": "👩‍👧 " * 150},
    {"text": "دفعت الفاتورة مرتين."},
    {"text": "x" * 900},
]
WITH_OPTIONS = {"context": "Sun.", "question": "Now?", "options": ["a hat\r\n or cap", "伞", "☂"]}
THRESHOLDS = [0.5, 0.5, 0.45, 0.25]
ENTITIES = [
    {**span(TEXT, "𝒜nna"), "label": "PER", "score": 0.99},
    {**span(TEXT, "北京"), "label": "LOC", "score": 0.98},
    {**span(TEXT, "Oslo"), "label": HOSTILE, "score": 0.9},
]
FOUND = {**span(PASSAGE, "1877"), "score": 0.87}
ANSWER = {"id": "", "no_answer_score": 0.1, "margin": -2.0, "candidates": [FOUND]}
SILENT = ANSWER | {"text": "", "start": None, "end": None, "score": 0.93, "no_answer_score": 0.93}

CASES: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, Any]]] = {
    "label": (
        model("mood/one", "classify", "text", labels=("bad", "good")),
        {"text": TEXT},
        likely(("bad", 0.027), ("good", 0.973)),
    ),
    "labels": (
        model("topics", "classify", "text", labels=tuple(SEVERAL)) | {"thresholds": THRESHOLDS},
        {"text": HOSTILE},
        {"labels": ["billing", HOSTILE], "probabilities": SEVERAL},
    ),
    "none": (
        model("none", "classify", "text", labels=tuple(SEVERAL)),
        {"text": "…"},
        {"labels": [], "probabilities": SEVERAL},
    ),
    "many": (
        model("many", "classify", "text", "pair", labels=tuple(name for name, _ in MANY)),
        {"text": "x " * 900, "pair": "y" * 300},
        likely(*MANY),
    ),
    "own": (
        model("invoices", "classify", "text", labels=tuple(name for name, _ in TWENTY))
        | {"examples": OWN_EXAMPLES},
        {"text": "Invoice 18"},
        likely(*TWENTY),
    ),
    "chinese": (
        model("评论", "classify", "text", labels=("积极", "消极")),
        {"text": "好。"},
        likely(("积极", 0.9), ("消极", 0.1)),
    ),
    "russian": (
        model("otzyvy", "classify", "text", labels=("хорошо", "плохо")),
        {"text": "Да."},
        likely(("хорошо", 0.9), ("плохо", 0.1)),
    ),
    "number": (
        model("alike", "regress", "text", "pair") | {"range": [-1, 5.5]},
        {"text": "a", "pair": "b"},
        {"value": 4.2},
    ),
    "entities": (
        model("names", "tag", "text", labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC")),
        {"text": TEXT},
        {"text": TEXT, "words": TEXT.split(), "tags": ["O"] * 9, "entities": ENTITIES},
    ),
    "tags": (
        model("speech", "tag", "text", labels=("NOUN", "VERB")),
        {"text": "Ice, ice melts"},
        {
            "text": "Ice, ice melts",
            "words": ["Ice", ",", "ice", "melts"],
            "entities": [],
            "tags": ["NOUN", "PUNCT", "NOUN", "VERB"],
        },
    ),
    "answer": (
        model("passages", "answer", "question", "context"),
        {"question": "When?", "context": PASSAGE},
        ANSWER | FOUND,
    ),
    "silence": (
        model("silent", "answer", "question", "context"),
        {"question": "Who?", "context": PASSAGE},
        SILENT,
    ),
    "option": (
        model("exam", "choose", "context", "question", "options") | {"examples": [WITH_OPTIONS]},
        {"context": "Rain.", "question": "", "options": f" {HOSTILE} \n\nUmbrella\n伞 ☂"},
        {"index": 1, "option": "Umbrella", "probabilities": [0.2, 0.7, 0.1]},
    ),
    "unknown": (
        model("judge", "verify", "claim", "evidence"),
        {"claim": "It rains.", "evidence": HOSTILE},
        {"verdict": HOSTILE, "because": [2, 7]},
    ),
}


API = {
    "openapi": "3.1.0",
    "info": {"title": "onelayer", "version": "1", "description": f"Models.\n\nSee `{HOSTILE}`."},
    "paths": {
        "/v1/models/{name}/classify": {
            "post": {
                "tags": ["models"],
                "summary": "Classify",
                "parameters": [
                    {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
                ],
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Ask"}}
                    }
                },
                "responses": {
                    "200": {"description": "Fine.", "content": {"application/json": {}}},
                    "429": {"$ref": "#/components/responses/Busy"},
                },
            }
        },
        "/health": {"get": {"summary": "Whether it runs", "responses": {}}},
    },
    "components": {
        "responses": {
            "Busy": {
                "description": "Come back.",
                "content": {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Tree"}}
                },
            }
        },
        "schemas": {
            "Ask": {
                "type": "object",
                "required": ["inputs"],
                "properties": {
                    "inputs": {
                        "anyOf": [
                            {"type": "string"},
                            {"type": "array", "items": {"anyOf": [{"type": "string"}, {}]}},
                        ]
                    },
                    "long": {"enum": ["window", "refuse"], "default": "window"},
                    "coverage": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                },
            },
            "Tree": {"properties": {"leaves": {"items": {"$ref": "#/components/schemas/Tree"}}}},
        },
    },
}


class Site:
    """A server of canned answers. ``refusal`` replaces them, ``key`` is the required API key and
    ``bodies`` holds the received requests. It doesn't answer while ``busy`` and isn't ready while
    ``loading``."""

    def __init__(self) -> None:
        self.refusal: Response | None = None
        self.key = ""
        self.busy = self.loading = False
        self.bodies: list[bytes] = []
        self.api: dict[str, Any] = API
        self.url = ""
        self.app = Starlette(
            routes=[
                *routes(),
                Route("/health/ready", self._ready),
                Route("/v1/models", self._models),
                Route("/openapi.json", self._openapi),
                Route("/v1/models/{name:path}/{task}", self._predict, methods=["POST"]),
            ]
        )

    async def _ready(self, request: Request) -> Response:
        wait = {"retry-after": "0.05"}
        return problem(503, "loading", **wait) if self.loading else JSONResponse({"status": "ok"})

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(self.api)

    async def _models(self, request: Request) -> Response:
        served = [of for of, _, _ in CASES.values()]
        return self._refused(request) or JSONResponse({"models": served})

    async def _predict(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        while self.busy:
            await asyncio.sleep(0.01)
        name = request.path_params["name"]
        said = next(said for of, _, said in CASES.values() if of["name"] == name)
        answer = {"model": name, "predictions": [said], "tokens": 1234, "unread_tokens": 5}
        return self._refused(request) or JSONResponse(answer)

    def _refused(self, request: Request) -> Response | None:
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return problem(401, "an API key is needed")
        return self.refusal


def problem(status: int, detail: str, **headers: str) -> Response:
    body = {"status": status, "detail": detail, "request_id": "r-42"}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The address of a server that runs an app."""
    # asyncio turns Nagle's delay off only for sockets whose protocol says TCP.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
        server = uvicorn.Server(config)
        serve = server.serve(sockets=[listener])
        thread = threading.Thread(target=lambda: asyncio.run(serve))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


def visit(tab: chromium.Page, url: str, language: str = "en-GB", width: int = 1400) -> None:
    """Opens the page like a first visit."""
    tab.ask("Emulation.setUserAgentOverride", userAgent="test", acceptLanguage=language)
    tab.look(width, "light")
    if tab.value("location.protocol") == "http:":
        tab.value("sessionStorage.clear()")
    tab.events.clear()
    tab.open(url)
    tab.until("!document.querySelector('main.waiting')")


def choose(tab: chromium.Page, name: str, values: dict[str, str]) -> None:
    """Selects a model and types its inputs."""
    said = json.dumps([name, values])
    tab.value(f"""(([name, values]) => {{
        const select = document.getElementById('model');
        select.value = name;
        select.dispatchEvent(new Event('change'));
        for (const field of document.querySelectorAll('#fields textarea')) {{
            field.value = values[field.name];
            field.dispatchEvent(new Event('input', {{bubbles: true}}));
        }}
    }})({said})""")


def send(tab: chromium.Page) -> str:
    """Sends the form and returns the answer as shown."""
    tab.value("document.getElementById('send').click()")
    return settled(tab)


def settled(tab: chromium.Page) -> str:
    """Waits until no answer is pending and returns the shown text."""
    tab.until("!document.querySelector('#answer[aria-busy]')")
    return str(tab.value("document.getElementById('answer').innerText"))


def asked(tab: chromium.Page, case: str) -> str:
    of, values, _ = CASES[case]
    choose(tab, of["name"], values)
    return send(tab)
