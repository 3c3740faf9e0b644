"""The page of a server as people use it: in a real browser, by mouse and by keyboard, in English and
in Chinese. Most tests answer it with what a server might say; the last ones ask a real one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import chromium
import pytest
import uvicorn
from conftest import MakeBert
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from onelayer.runtime.load import load
from onelayer.serve.app import make_app
from onelayer.serve.page import PAGES, STATIC, routes

PROGRAM = chromium.find()
in_browser = pytest.mark.skipif(PROGRAM is None, reason="no chromium on the PATH to open it with")

HOSTILE = "<img src=x onerror=alert(1)>"
TEXT = "👩‍👧 𝒜nna flew from 北京 to Oslo 🎉, then home."
PASSAGE = "🎉 Before. " * 200 + "The bridge was opened in 1877. " + "After. " * 200
LETTER = {"text": "Ein Brief."}


def span(text: str, part: str) -> dict[str, Any]:
    start = text.index(part)
    return {"start": start, "end": start + len(part), "text": part}


def model(name: str, task: str, *inputs: str, labels: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        **{"name": name, "task": task, "inputs": inputs, "labels": labels},
        **{"engine": "onnxruntime", "precision": "int8", "max_length": 128},
    }


def likely(*shares: tuple[str, float]) -> dict[str, Any]:
    label, probability = max(shares, key=lambda share: share[1])
    return {"label": label, "probability": probability, "probabilities": dict(shares)}


MANY = [(f"intent {i}", 2.0**-i / 2) for i in range(100)]
SEVERAL = {"billing": 0.97, "praise": 0.004, "returns": 0.41, HOSTILE: 0.38}
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
        model("topics", "classify", "text", labels=tuple(SEVERAL)),
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
    "number": (
        model("alike", "regress", "text", "pair"),
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
            **{"text": "Ice, ice melts", "words": ["Ice", ",", "ice", "melts"], "entities": []},
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
        model("exam", "choose", "context", "question", "options"),
        {"context": "Rain.", "question": "", "options": f" {HOSTILE} \n\nUmbrella\n伞 ☂"},
        {"index": 1, "option": "Umbrella", "probabilities": [0.2, 0.7, 0.1]},
    ),
}


class Site:
    """A server of canned answers. ``refusal`` is what it says instead, ``key`` what it asks for,
    ``bodies`` what it was sent."""

    def __init__(self) -> None:
        self.refusal: Response | None = None
        self.key = ""
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
        return JSONResponse({"status": "ok"})

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(self.api)

    async def _models(self, request: Request) -> Response:
        served = [of for of, _, _ in CASES.values()]
        return self._refused(request) or JSONResponse({"models": served})

    async def _predict(self, request: Request) -> Response:
        self.bodies.append(await request.body())
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
    with socket.create_server(("127.0.0.1", 0)) as listener:
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


@pytest.fixture(scope="module")
def tab() -> Iterator[chromium.Page]:
    assert PROGRAM is not None
    with chromium.browser(PROGRAM) as page:
        page.ask("Emulation.setFocusEmulationEnabled", enabled=True)
        yield page


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    site = Site()
    with served(site.app) as site.url:
        yield site


@pytest.fixture
def site(running: Site, tab: chromium.Page) -> Site:
    """The site, opened on a wide screen by somebody who reads English."""
    running.refusal, running.key = None, ""
    running.bodies.clear()
    visit(tab, running.url)
    return running


def visit(tab: chromium.Page, url: str, language: str = "en-GB", width: int = 1400) -> None:
    """Opened as if for the first time."""
    tab.ask("Emulation.setUserAgentOverride", userAgent="test", acceptLanguage=language)
    tab.look(width, "light")
    if tab.value("location.protocol") == "http:":
        tab.value("sessionStorage.clear()")
    tab.events.clear()
    tab.open(url)
    tab.until("!document.querySelector('main.waiting')")


def choose(tab: chromium.Page, name: str, values: dict[str, str]) -> None:
    """A model and what it shall read, as typed."""
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
    """The answer as it is shown."""
    tab.value("document.getElementById('send').click()")
    return settled(tab)


def settled(tab: chromium.Page) -> str:
    """What is shown when no answer is awaited any more."""
    tab.until("!document.querySelector('#answer[aria-busy]')")
    return str(tab.value("document.getElementById('answer').innerText"))


def asked(tab: chromium.Page, case: str) -> str:
    of, values, _ = CASES[case]
    choose(tab, of["name"], values)
    return send(tab)


# What the server sends


def test_files_are_sent_as_what_they_are_and_only_when_they_changed() -> None:
    client = TestClient(Starlette(routes=routes()))
    for path in (*PAGES, *(f"/static/{name}" for name in STATIC)):
        whole = client.get(path)
        kind = whole.headers["content-type"]
        assert kind.split(";")[0] in {"text/html", "text/css", "text/javascript", "image/svg+xml"}
        assert whole.headers["x-content-type-options"] == "nosniff"
        again = client.get(path, headers={"if-none-match": f'"other", {whole.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get(path, headers={"if-none-match": '"other"'}).content == whole.content
        assert client.head(path).headers["content-length"] == whole.headers["content-length"]
    assert client.post("/").status_code == 405


def test_no_file_names_another_site_or_writes_html() -> None:
    for name in (*PAGES.values(), *STATIC):
        text = files("onelayer.serve.page").joinpath(name).read_text(encoding="utf-8")
        urls = set(re.findall(r"\b(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text))
        assert urls <= {"http://www.w3.org/2000/svg"}, name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        assert not re.search(r"<script>|<style|\sstyle=|\son\w+=\"", text), name


def test_both_languages_have_every_word_that_is_said() -> None:
    page = files("onelayer.serve.page")
    words = page.joinpath("words.js").read_text(encoding="utf-8")
    table = words[: words.index("\n};")]
    english, chinese = (
        re.findall(r"^    (\w+): (\(?)", part, re.M) for part in table.split("  zh: {")
    )
    assert english == chinese
    said = set()
    for name in (*PAGES.values(), *STATIC):
        text = page.joinpath(name).read_text(encoding="utf-8")
        said |= set(re.findall(r"\bsay\(\"(\w+)\"|data-(?:text|label)=\"(\w+)\"", text))
    assert {one or other for one, other in said} <= {name for name, _ in english}


# What people see


SHOWN = {
    "label": ["good 97.3%", "✓ good", "bad\n2.7%"],
    "labels": ["billing", "✓ billing", "97.0%", f"✓ {HOSTILE}", "38.0%", "returns\n41.0%", "0.4%"],
    "none": ["No label", "billing\n97.0%"],
    "many": ["intent 0 50.0%", "✓ intent 0", "intent 9\n0.1%", "All 100"],
    "number": ["4.2"],
    "entities": ["3 entities", "𝒜nna PER flew from 北京 LOC", f"Oslo {HOSTILE} 🎉", "As a list"],
    "tags": ["4 words", "IceNOUN,PUNCT iceNOUN meltsVERB"],
    "answer": ["1877 87.0%", "The bridge was opened in 1877. After."],
    "silence": ["No answer in this passage 93.0%", "Other candidates", "1877\n87.0%"],
    "option": ["Umbrella 70.0%", f"{HOSTILE}\n20.0%", "✓ Umbrella", "伞 ☂\n10.0%"],
}


@in_browser
@pytest.mark.parametrize("case", SHOWN)
def test_an_answer_is_shown(site: Site, tab: chromium.Page, case: str) -> None:
    shown = asked(tab, case)
    assert [part for part in SHOWN[case] if part not in shown] == [], shown
    assert re.search(r"\d ms, measured in the browser · 1,234 tokens read\n", shown)
    assert "The length limit leaves 5 tokens unread." in shown
    ours = site.url.rstrip("/")
    assert [url for url in tab.requests() if not url.startswith(ours)] == []
    assert tab.errors() == []
    assert tab.value("document.querySelectorAll('main :is(img, b)').length") == 0


@in_browser
def test_spans_are_marked_by_code_points(site: Site, tab: chromium.Page) -> None:
    asked(tab, "entities")
    marks = """[...document.querySelectorAll('mark.entity')].map(
        mark => [mark.firstChild.data, mark.querySelector('small').textContent])"""
    assert tab.value(marks) == [["𝒜nna", "PER"], ["北京", "LOC"], ["Oslo", HOSTILE]]
    hues = "[...document.querySelectorAll('mark')].map(m => getComputedStyle(m).backgroundColor)"
    assert len(set(tab.value(hues))) == 3
    asked(tab, "answer")
    assert tab.value("document.querySelector('mark.found').textContent") == "1877"
    inside = """(() => {
        const mark = document.querySelector('mark.found').getBoundingClientRect();
        const box = document.querySelector('.passage').getBoundingClientRect();
        return box.top < mark.top && mark.bottom < box.bottom && scrollY === 0;
    })()"""
    assert tab.value(inside)


@in_browser
def test_what_is_sent_is_by_role_and_without_what_is_empty(site: Site, tab: chromium.Page) -> None:
    asked(tab, "option")
    asked(tab, "number")
    assert [json.loads(body)["inputs"] for body in site.bodies] == [
        {"context": "Rain.", "options": [HOSTILE, "Umbrella", "伞 ☂"]},
        {"text": "a", "pair": "b"},
    ]


@in_browser
def test_what_is_missing_is_told_before_anything_is_sent(site: Site, tab: chromium.Page) -> None:
    choose(tab, "exam", {"context": "Rain.", "question": "", "options": "one\n"})
    assert "Two options are the least" in send(tab)
    choose(tab, "alike", {"text": "a", "pair": " "})
    assert "Something is missing: second text." in send(tab)
    assert (
        tab.value("document.activeElement.name + document.activeElement.ariaInvalid") == "pairtrue"
    )
    assert site.bodies == []


@in_browser
def test_examples_are_filled_in_and_sent(site: Site, tab: chromium.Page) -> None:
    for case in ("label", "many", "entities", "answer", "option"):
        of, values, _ = CASES[case]
        choose(tab, of["name"], values)
        tab.value("document.querySelector('.example').click()")
        settled(tab)
        sent = json.loads(site.bodies.pop())["inputs"]
        assert all(sent.values()), sent
        assert set(sent) == set(of["inputs"])


@in_browser
def test_refusals_are_told_in_words(site: Site, tab: chromium.Page) -> None:
    choose(tab, "mood/one", LETTER)
    for refusal, words in (
        (problem(429, "queue full", **{"retry-after": "3"}), "busy. Try again in 3 seconds."),
        (problem(422, HOSTILE), "can’t use this input."),
        (problem(413, "too big"), "more than the server takes"),
        (problem(503, "draining"), "not ready"),
        (problem(500, "failed"), "answered with 500"),
        (Response("<h1>Bad gateway</h1>", 502), "answered with 502"),
    ):
        site.refusal = refusal
        shown = send(tab)
        assert words in shown
        if refusal.status_code != 502:
            assert json.loads(bytes(refusal.body))["detail"] in shown
            assert "Request r-42" in shown
    tab.ask("Network.emulateNetworkConditions", **OFFLINE)
    assert "can’t be reached" in send(tab)
    tab.ask("Network.emulateNetworkConditions", **OFFLINE | {"offline": False})
    site.refusal = None
    assert "good 97.3%" in send(tab)
    assert tab.value("document.querySelectorAll('main :is(img, h1)').length") == 0


OFFLINE = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}


@in_browser
def test_a_key_is_asked_for_and_not_shown(site: Site, tab: chromium.Page) -> None:
    site.key = "sesame-1"
    visit(tab, site.url)
    assert "wants an API key" in settled(tab)
    assert tab.value("document.activeElement.id") == "key"
    tab.write("pappel 🔑")
    tab.press("Enter")
    tab.until("document.getElementById('answer').innerText.includes('not the server’s API key')")
    tab.until("document.activeElement.id === 'key'")
    tab.write(site.key)
    tab.press("Enter")
    tab.until("document.activeElement.name === 'text'")
    tab.write("x")
    assert "good 97.3%" in send(tab)
    assert site.key not in tab.value("document.documentElement.outerHTML")
    assert 'bearer $ONELAYER_API_KEY"' in tab.value(
        "document.getElementById('curl').innerText.replace('B', 'b')"
    )
    assert tab.value("[localStorage.length, document.cookie]") == [0, ""]


@in_browser
def test_everything_is_done_by_keyboard(site: Site, tab: chromium.Page) -> None:
    assert tab.value("document.activeElement.name") == "text"
    tab.write("one\n两")
    tab.press("Enter", control=True)
    tab.until("document.getElementById('headline').innerText.includes('good')")
    assert json.loads(site.bodies[0]) == {"inputs": {"text": "one\n两"}}
    where = "(e => e.id || e.name || e.className || e.pathname)(document.activeElement)"
    outline = "parseFloat(getComputedStyle(document.activeElement).outlineWidth)"
    stops = []
    for back in (True,) * 4 + (False,) * 11:
        tab.press("Tab", shift=back)
        stops.append(tab.value(where))
        assert tab.value(outline) >= 2, stops
    assert stops[3::-1] == ["/docs", "/metrics", "language", "model"]
    assert stops[6:10] == ["model", "field-text", "send", "clear"]
    assert stops[10:] == ["example"] * 3 + ["copy", "curl"]
    tab.press("Escape")
    assert (
        tab.value("document.querySelector('textarea').value + document.activeElement.name")
        == "text"
    )
    assert "The answer will appear here." in settled(tab)


@in_browser
def test_everything_has_a_name_for_those_who_do_not_see(site: Site, tab: chromium.Page) -> None:
    for case in ("many", "answer", "option"):
        asked(tab, case)
        nodes = tab.ask("Accessibility.getFullAXTree")["nodes"]
        roles = {"textbox", "button", "combobox", "link", "navigation", "region", "image", "list"}
        named = [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if node.get("role", {}).get("value") in roles - {"list"}
        ]
        assert len(named) > 10
        assert [role for role, name in named if not name] == []
    assert tab.value("document.getElementById('headline').role") == "status"


@in_browser
def test_it_speaks_the_reader_s_language_and_can_be_told_another(
    site: Site, tab: chromium.Page
) -> None:
    visit(tab, site.url, "zh-CN")
    assert tab.value("document.documentElement.lang") == "zh-Hans"
    for case, words in (
        ("label", ["结果", "good 97.3%", "毫秒", "读取 1,234 个词元", "有 5 个词元未读"]),
        ("none", ["没有标签"]),
        ("many", ["全部 100 个"]),
        ("entities", ["3 个实体", "列表"]),
        ("tags", ["4 个词"]),
        ("silence", ["段落里没有答案 93.0%", "其他候选"]),
        ("option", ["Umbrella 70.0%"]),
    ):
        shown = asked(tab, case)
        assert [word for word in words if word not in shown] == [], shown
    site.refusal = problem(429, "queue full", **{"retry-after": "3"})
    assert "服务器正忙，请 3 秒后再试。" in send(tab)
    tab.value("document.getElementById('language').click()")
    assert "The server is busy. Try again in 3 seconds." in settled(tab)
    assert tab.value("document.querySelector('textarea').value") == "Rain."
    assert tab.value("document.querySelector('label[for=field-context]').textContent") == "Passage"
    tab.events.clear()
    tab.open(site.url)
    tab.until("document.documentElement.lang === 'en'")


# The curl line


@in_browser
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("shell", [name for name in ("sh", "bash", "zsh") if shutil.which(name)])
def test_the_curl_line_sends_what_the_page_sends(
    site: Site, tab: chromium.Page, shell: str
) -> None:
    texts = (
        'It\'s "quoted" $HOME `id` \\n \\ !! %s #?&;|<>*~ {a,b} [x]\n\ttwo\r\n三行 👩‍👧 \u2028 é',
        "'" * 3 + "x" * 150_000 + "界",
    )
    for text in texts:
        choose(tab, "mood/one", {"text": text})
        send(tab)
        line = tab.value("document.getElementById('curl').textContent")
        subprocess.run([shell], input=line.encode(), check=True, capture_output=True, timeout=30)
    assert len(site.bodies) == 4
    assert site.bodies[0] == site.bodies[1]
    assert site.bodies[2] == site.bodies[3]
    assert json.loads(site.bodies[0])["inputs"]["text"] == texts[0].replace("\r\n", "\n")


@in_browser
def test_the_curl_line_is_copied(site: Site, tab: chromium.Page) -> None:
    choose(tab, "mood/one", {"text": TEXT})
    line = tab.value("document.getElementById('curl').textContent")
    for allowed in (True, False):
        setting = "granted" if allowed else "denied"
        for name in ("clipboard-write", "clipboard-read"):
            permission = {"name": name}
            tab.ask("Browser.setPermission", permission=permission, setting=setting)
        tab.value("document.getElementById('copy').click()")
        tab.until("document.getElementById('copy').textContent === 'Copied'")
        if allowed:
            assert tab.value("navigator.clipboard.readText()") == line
        else:  # then it is selected, and copied as a person would
            assert tab.value("getSelection().toString()") == line
        tab.value("document.getElementById('copy').textContent = ''")


# How it looks

TOO_WIDE = """[...document.querySelectorAll('body *')]
    .filter(e => !e.closest('.passage'))
    .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(e => e.tagName + '.' + e.className + '#' + e.id)"""
PALE = """(() => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
    const rgb = (...layers) => {
        canvas.clearRect(0, 0, 1, 1);
        for (const colour of layers) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = colour => colour.map(c => c / 255)
        .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
    const ratio = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const pale = [];
    let seen = 0;
    while (texts.nextNode()) {
        const it = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !it.checkVisibility({visibilityProperty: true})) continue;
        const grounds = [];
        for (let e = it; e; e = e.parentElement) grounds.unshift(getComputedStyle(e).backgroundColor);
        const style = getComputedStyle(it);
        const large = parseFloat(style.fontSize) >= 24;
        const contrast = ratio(light(rgb(...grounds)), light(rgb(...grounds, style.color)));
        seen += 1;
        if (contrast < (large ? 3 : 4.5)) pale.push([texts.currentNode.data, contrast]);
    }
    return seen > 10 ? pale : ['too little was looked at'];
})()"""
COLOURS = """['body', 'textarea', '#send'].flatMap(
    it => (s => [s.backgroundColor, s.color])(getComputedStyle(document.querySelector(it))))"""


@in_browser
@pytest.mark.parametrize("case", [*CASES, "refused", "locked", "docs"])
def test_it_fits_every_screen_and_can_be_read(site: Site, tab: chromium.Page, case: str) -> None:
    if case == "docs":
        visit(tab, f"{site.url}docs")
        tab.value("document.querySelectorAll('details').forEach(it => it.open = true)")
    elif case == "locked":
        site.key = "x"
        visit(tab, site.url)
    elif case == "refused":
        site.refusal = problem(422, "x" * 500)
        choose(tab, "mood/one", LETTER)
        send(tab)
    else:
        asked(tab, case)
        tab.value("document.querySelectorAll('details').forEach(it => it.open = true)")
    for width in (360, 1400):
        for scheme in ("light", "dark"):
            tab.look(width, scheme)
            assert tab.value("document.documentElement.scrollWidth") <= width
            assert tab.value(TOO_WIDE) == []
            assert tab.value(PALE) == []
    if album := os.environ.get("ONELAYER_PICTURES"):
        for width, scheme in ((360, "dark"), (1400, "light")):
            tab.look(width, scheme)
            tab.screenshot(Path(album) / f"{case}-{width}.png")


@in_browser
def test_nothing_jumps_while_it_opens_and_nothing_moves_for_those_who_mind(
    site: Site, tab: chromium.Page
) -> None:
    shifts = """new Promise(done => new PerformanceObserver(list => done(
        list.getEntries().map(entry => entry.value))).observe({type: 'layout-shift', buffered: true})
        || setTimeout(() => done([]), 100))"""
    for width in (360, 1400):
        visit(tab, site.url, width=width)
        assert tab.value(shifts) == []
    moves = "getComputedStyle(document.getElementById('answer')).transitionDuration"
    assert tab.value(moves) != "0s"
    still = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    tab.ask("Emulation.setEmulatedMedia", features=still)
    assert tab.value(moves) == "0s"


@in_browser
def test_dark_is_dark(site: Site, tab: chromium.Page) -> None:
    light = tab.value(COLOURS)
    tab.look(1400, "dark")
    assert all(one != other for one, other in zip(light, tab.value(COLOURS), strict=True))


# The policy


@in_browser
def test_the_browser_keeps_it_to_its_own_server(site: Site, tab: chromium.Page) -> None:
    tries = """Promise.allSettled([fetch('http://127.0.0.1:9/'), fetch('https://example.org/')])
        .then(all => all.map(one => one.status))"""
    assert tab.value(tries) == ["rejected", "rejected"]
    assert sum("Content Security Policy" in error for error in tab.errors()) >= 2
    writes = (
        """(() => { try { document.body.innerHTML = '<p>'; } catch (e) { return e.name; } })()"""
    )
    assert tab.value(writes) == "TypeError"
    runs = """(() => { const script = document.createElement('script');
        try { script.text = 'window.ran = 1'; document.body.append(script); } catch {}
        return window.ran ?? 0; })()"""
    assert tab.value(runs) == 0


@in_browser
def test_what_it_weighs(site: Site, tab: chromium.Page) -> None:
    tab.ask("Network.clearBrowserCache")
    visit(tab, site.url)
    tab.until("performance.getEntriesByType('resource').length >= 8")
    sent = "performance.getEntries().reduce((sum, entry) => sum + (entry.encodedBodySize ?? 0), 0)"
    assert 5_000 < tab.value(sent) < 30_000


# The API's page

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


@in_browser
def test_the_api_s_page_tells_routes_objects_and_curl_lines(site: Site, tab: chromium.Page) -> None:
    visit(tab, f"{site.url}docs#Ask")
    assert tab.value("document.querySelector('details[open]').id") == "Ask"
    tab.value("document.querySelectorAll('details').forEach(it => it.open = true)")
    shown = tab.value("document.querySelector('main').innerText")
    for part in (
        *(HOSTILE, "/v1/models/{name}/classify", "Classify", "/health", "Come back.", "Objects"),
        *("string | (string | any)[] required", '"window" | "refuse" default "window"', "> 0, ≤ 1"),
        f"curl '{site.url}v1/models/NAME/classify'",
        """-d '{"inputs":"text"}'""",
        f"curl '{site.url}health'",
        "Tree[]",
    ):
        assert part in shown
    lost = """[...document.querySelectorAll('main a[href^="#"]')].filter(
        a => !document.getElementById(a.hash.slice(1))).length"""
    assert tab.value(lost) == 0
    ours = site.url.rstrip("/")
    assert [url for url in tab.requests() if not url.startswith(ours)] == []
    assert tab.errors() == []
    tab.value("document.getElementById('language').click()")
    assert "对象" in tab.value("document.querySelector('main').innerText")


# A real server


@in_browser
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_a_real_server_s_answers_are_shown_and_given_to_curl(
    tab: chromium.Page, make_bert: MakeBert
) -> None:
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "classify": ("BertForSequenceClassification", {"labels": ("bad", "good")}),
        "regress": (
            "BertForSequenceClassification",
            {"num_labels": 1, "problem_type": "regression"},
        ),
        "tag": ("BertForTokenClassification", {"labels": ("O", "B-X", "I-X")}),
        "answer": ("BertForQuestionAnswering", {}),
        "choose": ("BertForMultipleChoice", {}),
    }
    models = {name: load(make_bert(kind, **how)) for name, (kind, how) in kinds.items()}
    values = {
        **{"text": TEXT, "pair": "b", "question": "Who's it?", "context": TEXT + ' "a"\n' * 5},
        "options": "the cat\nthe 'cats'\n北京",
    }
    with served(make_app(models)) as url:
        visit(tab, url)
        assert tab.value("[...document.querySelectorAll('option')].map(o => o.value)") == list(
            kinds
        )
        for name in kinds:
            choose(tab, name, values)
            shown = send(tab)
            line = tab.value("document.getElementById('curl').textContent")
            ran = subprocess.run(["sh", "-c", line], check=True, capture_output=True, timeout=30)
            said = json.loads(ran.stdout)["predictions"][0]
            assert tab.value(f"document.querySelector('#model').value") == name
            assert "tokens read" in shown
            match name:
                case "classify":
                    assert f"{said['label']} {said['probability']:.1%}" in shown
                case "regress":
                    assert f"{said['value']:.6g}" in shown.replace(",", "")
                case "tag":
                    marked = "[...document.querySelectorAll('mark')].map(m => m.firstChild.data)"
                    assert tab.value(marked) == [entity["text"] for entity in said["entities"]]
                    assert (
                        tab.value("document.querySelector('.passage').innerText").count("🎉") == 1
                    )
                case "answer":
                    marked = "[...document.querySelectorAll('mark')].map(m => m.textContent)"
                    assert tab.value(marked) == [said["text"]] if said["text"] else []
                case "choose":
                    assert f"✓ {said['option']}" in shown
        assert tab.errors() == []
