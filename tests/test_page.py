"""The page of a server in a real browser: by mouse and keyboard, in English and Chinese, with
canned answers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.resources import files

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.testclient import TestClient

from onelayer.serving.page import PAGES, STATIC, routes
from support import chromium
from support.page_site import (
    CASES,
    HOSTILE,
    TEXT,
    Site,
    asked,
    choose,
    problem,
    send,
    settled,
    visit,
)

LETTER = {"text": "Ein Brief."}

# The files


def test_page_files_have_their_content_type_and_etag() -> None:
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


def test_page_files_link_to_no_other_site_and_write_no_html() -> None:
    for name in (*PAGES.values(), *STATIC):
        text = files("onelayer.serving.page").joinpath(name).read_text(encoding="utf-8")
        urls = set(re.findall(r"\b(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text))
        assert urls <= {"http://www.w3.org/2000/svg"}, name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        assert not re.search(r"<script>|<style|\sstyle=|\son\w+=\"", text), name


def test_both_languages_have_every_word() -> None:
    page = files("onelayer.serving.page")
    words = page.joinpath("words.js").read_text(encoding="utf-8")
    table = words[: words.index("\n};")]
    english, chinese = (
        re.findall(r"^    (\w+): (\(?)", part, re.M) for part in table.split("  zh: {")
    )
    assert english == chinese
    used = set()
    for name in (*PAGES.values(), *STATIC):
        text = page.joinpath(name).read_text(encoding="utf-8")
        used |= set(re.findall(r"\bt\(\"(\w+)\"|data-(?:text|label)=\"(\w+)\"", text))
    assert {one or other for one, other in used} <= {name for name, _ in english}


# Use


SHOWN = {
    "label": ["good 97.3%", "✓ good", "bad\n2.7%"],
    "labels": ["billing", "✓ billing", "97.0%", f"✓ {HOSTILE}", "38.0%", "returns\n41.0%", "0.4%"],
    "none": ["No label", "billing\n97.0%"],
    "many": ["intent 0 50.0%", "✓ intent 0", "intent 9\n0.1%", "All 100"],
    "number": ["4.2", "The rows that scored the model have numbers from -1 to 5.5."],
    "entities": ["3 entities", "𝒜nna PER flew from 北京 LOC", f"Oslo {HOSTILE} 🎉", "As a list"],
    "tags": ["4 words", "IceNOUN,PUNCT iceNOUN meltsVERB"],
    "answer": ["1877 87.0%", "opened in 1877. After.", "No answer in this passage\n10.0%"],
    "silence": [
        "Candidates",
        "✓ No answer in this passage\n93.0%",
        "1877\n87.0%",
        "the rows that scored the model chose",
    ],
    "option": ["Umbrella 70.0%", f"{HOSTILE}\n20.0%", "✓ Umbrella", "伞 ☂\n10.0%"],
    "unknown": [f'"verdict": "{HOSTILE}"', '"because": ['],
}


@pytest.mark.parametrize("case", SHOWN)
def test_prediction_is_shown(site: Site, tab: chromium.Page, case: str) -> None:
    shown = asked(tab, case)
    assert [part for part in SHOWN[case] if part not in shown] == [], shown
    assert re.search(r"\d ms, measured in the browser · 1,234 tokens read\n", shown)
    assert "The length limit cut off 5 tokens." in shown
    ours = site.url.rstrip("/")
    assert [url for url in tab.requests() if not url.startswith(ours)] == []
    assert tab.errors() == []
    assert tab.value("document.querySelectorAll('main img').length") == 0


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


def test_request_holds_filled_fields_by_role(site: Site, tab: chromium.Page) -> None:
    asked(tab, "option")
    asked(tab, "number")
    assert [json.loads(body)["inputs"] for body in site.bodies] == [
        {"context": "Rain.", "options": [HOSTILE, "Umbrella", "伞 ☂"]},
        {"text": "a", "pair": "b"},
    ]


def test_missing_field_is_reported_before_sending(site: Site, tab: chromium.Page) -> None:
    choose(tab, "exam", {"context": "Rain.", "question": "", "options": "one\n"})
    assert "Give at least two options" in send(tab)
    choose(tab, "alike", {"text": "a", "pair": " "})
    assert "Please fill in: second text." in send(tab)
    assert (
        tab.value("document.activeElement.name + document.activeElement.ariaInvalid") == "pairtrue"
    )
    assert site.bodies == []


def test_outdated_answer_is_not_shown(site: Site, tab: chromium.Page) -> None:
    busy = "document.querySelector('#answer[aria-busy]')"
    site.busy = True
    choose(tab, "mood/one", LETTER)
    tab.value("document.getElementById('send').click()")
    tab.until(busy)
    tab.press("Escape")
    assert tab.value(f"!{busy}")
    assert tab.value("document.querySelector('textarea').value") == LETTER["text"]
    choose(tab, "alike", {"text": "a", "pair": "b"})
    tab.value("document.getElementById('send').click()")
    tab.value("document.getElementById('send').click()")
    site.busy = False
    assert "4.2" in settled(tab)
    assert len(site.bodies) == 3
    assert tab.errors() == []


def test_page_waits_for_a_loading_server(site: Site, tab: chromium.Page) -> None:
    site.loading = True
    visit(tab, site.url)
    assert "The server is not ready" in settled(tab)
    site.loading = False
    tab.until("document.activeElement.name === 'text'")
    assert "The answer will appear here." in settled(tab)


def test_number_is_drawn_on_the_range_of_the_model(site: Site, tab: chromium.Page) -> None:
    asked(tab, "number")
    filled = """(bar => bar.firstChild.offsetWidth / bar.offsetWidth)(
        document.querySelector('.track'))"""
    assert tab.value(filled) == pytest.approx((4.2 + 1) / 6.5, abs=0.01)


def test_label_thresholds_are_marked(site: Site, tab: chromium.Page) -> None:
    assert "A line marks the threshold" in asked(tab, "labels")
    strokes = """[...document.querySelectorAll('.track')].map(track => {
        const [whole, stroke] = [track, track.lastChild].map(it => it.getBoundingClientRect());
        return Math.round(100 * (stroke.left + 1 - whole.left) / whole.width);
    })"""
    assert tab.value(strokes) == [50, 45, 25, 50]
    asked(tab, "label")
    assert tab.value("document.querySelectorAll('.track b').length") == 0


def test_example_button_fills_and_sends_the_form(site: Site, tab: chromium.Page) -> None:
    for case in ("label", "many", "entities", "answer", "option"):
        of, values, _ = CASES[case]
        choose(tab, of["name"], values)
        tab.value("document.querySelector('.example').click()")
        settled(tab)
        sent = json.loads(site.bodies.pop())["inputs"]
        assert all(sent.values()), sent
        assert set(sent) == set(of["inputs"])


def test_refusal_is_explained_in_words(site: Site, tab: chromium.Page) -> None:
    choose(tab, "mood/one", LETTER)
    for refusal, words in (
        (problem(429, "queue full", **{"retry-after": "3"}), "busy. Try again in 3 seconds."),
        (problem(422, HOSTILE), "can’t use this input."),
        (problem(413, "too big"), "too large for this server"),
        (problem(503, "draining"), "not ready"),
        (problem(500, "failed"), "answered with status 500"),
        (Response("<h1>Bad gateway</h1>", 502), "answered with status 502"),
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


def test_api_key_is_asked_for_and_not_shown(site: Site, tab: chromium.Page) -> None:
    site.key = "sesame-1"
    visit(tab, site.url)
    assert "needs an API key" in settled(tab)
    assert tab.value("document.activeElement.id") == "key"
    tab.write("pappel 🔑")
    tab.press("Enter")
    tab.until(
        "document.getElementById('answer').innerText.includes('does not accept this API key')"
    )
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


def test_page_works_by_keyboard(site: Site, tab: chromium.Page) -> None:
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


def test_every_control_has_an_accessible_name(site: Site, tab: chromium.Page) -> None:
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


def test_page_uses_the_browsers_language_and_can_switch(site: Site, tab: chromium.Page) -> None:
    visit(tab, site.url, "zh-CN")
    assert tab.value("document.documentElement.lang") == "zh-Hans"
    for case, words in (
        ("label", ["结果", "good 97.3%", "毫秒", "读取 1,234 个词元", "截去了 5 个词元"]),
        ("none", ["没有标签"]),
        ("many", ["全部 100 个"]),
        ("entities", ["3 个实体", "列表"]),
        ("tags", ["4 个词"]),
        ("silence", ["✓ 段落里没有答案\n93.0%", "候选"]),
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


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("shell", [name for name in ("sh", "bash", "zsh") if shutil.which(name)])
def test_curl_line_sends_the_same_request_as_the_page(
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


def test_curl_line_is_copied_to_the_clipboard(site: Site, tab: chromium.Page) -> None:
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
        else:  # then the line is selected, ready to copy by hand
            assert tab.value("getSelection().toString()") == line
        tab.value("document.getElementById('copy').textContent = ''")
