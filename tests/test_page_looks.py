"""The page on every screen, its security policy and size, the API's page, and a real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onelayer.checkpoint.record import HeldOutScores, ModelRecord
from onelayer.prediction.load import load
from onelayer.serving.http.app import make_app
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
    served,
    visit,
)
from support.tiny_bert import MakeBert

# Layout

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
        if (!texts.currentNode.data.trim()) continue;
        if (!it.checkVisibility({visibilityProperty: true})) continue;
        const grounds = [];
        for (let e = it; e; e = e.parentElement)
            grounds.unshift(getComputedStyle(e).backgroundColor);
        const style = getComputedStyle(it);
        const large = parseFloat(style.fontSize) >= 24;
        const contrast = ratio(light(rgb(...grounds)), light(rgb(...grounds, style.color)));
        seen += 1;
        if (contrast < (large ? 3 : 4.5)) pale.push([texts.currentNode.data, contrast]);
    }
    return seen > 6 ? pale : ['too little was looked at'];
})()"""
LOST_LINKS = """[...document.querySelectorAll('main a[href^="#"]')].filter(
    a => !document.getElementById(decodeURIComponent(a.hash.slice(1)))).length"""
COLOURS = """['body', 'textarea', '#send'].flatMap(
    it => (s => [s.backgroundColor, s.color])(getComputedStyle(document.querySelector(it))))"""


@pytest.mark.parametrize("case", [*CASES, "refused", "locked", "docs"])
def test_page_fits_every_screen_with_enough_contrast(
    site: Site, tab: chromium.Page, case: str
) -> None:
    if case == "docs":
        visit(tab, f"{site.url}docs")
        tab.value("document.querySelectorAll('details').forEach(it => it.open = true)")
    elif case == "locked":
        site.key = "x"
        visit(tab, site.url)
    elif case == "refused":
        site.refusal = problem(422, "x" * 500)
        choose(tab, "mood/one", {"text": "x"})
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


def test_page_loads_without_layout_shift_and_respects_reduced_motion(
    site: Site, tab: chromium.Page
) -> None:
    shifts = """new Promise(done => {
        const observer = new PerformanceObserver(list => done(list.getEntries().map(e => e.value)));
        observer.observe({type: 'layout-shift', buffered: true});
        setTimeout(() => done([]), 50);
    })"""
    for width in (360, 1400):
        visit(tab, site.url, width=width)
        assert tab.value(shifts) == []
    moves = "getComputedStyle(document.getElementById('answer')).transitionDuration"
    assert tab.value(moves) != "0s"
    still = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    tab.ask("Emulation.setEmulatedMedia", features=still)
    assert tab.value(moves) == "0s"


def test_dark_mode_changes_every_colour(site: Site, tab: chromium.Page) -> None:
    light = tab.value(COLOURS)
    tab.look(1400, "dark")
    assert all(one != other for one, other in zip(light, tab.value(COLOURS), strict=True))


# The security policy and the size


def test_content_security_policy_blocks_other_servers_and_scripts(
    site: Site, tab: chromium.Page
) -> None:
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


def test_page_is_under_30_kb(site: Site, tab: chromium.Page) -> None:
    tab.ask("Network.clearBrowserCache")
    visit(tab, site.url)
    tab.until("performance.getEntriesByType('resource').length >= 8")
    sent = "performance.getEntries().reduce((sum, entry) => sum + (entry.encodedBodySize ?? 0), 0)"
    assert 5_000 < tab.value(sent) < 30_000


# The API's page


def test_api_page_shows_routes_objects_and_curl_lines(site: Site, tab: chromium.Page) -> None:
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
    assert tab.value(LOST_LINKS) == 0
    ours = site.url.rstrip("/")
    assert [url for url in tab.requests() if not url.startswith(ours)] == []
    assert tab.errors() == []
    tab.value("document.getElementById('language').click()")
    assert "对象" in tab.value("document.querySelector('main').innerText")


# A real server

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "classify": ("BertForSequenceClassification", {"labels": ("bad", "good")}),
    "topics": (
        "BertForSequenceClassification",
        {"labels": ("a", "b", "c"), "problem_type": "multi_label_classification"},
    ),
    "regress": ("BertForSequenceClassification", {"num_labels": 1, "problem_type": "regression"}),
    "tag": ("BertForTokenClassification", {"labels": ("B-X", "I-X", "O")}),
    "answer": ("BertForQuestionAnswering", {}),
    "choose": ("BertForMultipleChoice", {}),
}


@pytest.fixture(scope="module")
def real(make_bert: MakeBert) -> Iterator[str]:
    """The address of a server of tiny models."""
    models = {name: load(make_bert(kind, **how)) for name, (kind, how) in MODELS.items()}
    dev = HeldOutScores(scores={}, intervals={}, range=(-90, 90))
    of = models["regress"]
    record = ModelRecord(task=of.task, layout=of.layout, dev=dev)
    models["regress"] = replace(of, record=record)
    with served(make_app(models)) as url:
        yield url


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_page_and_curl_line_agree_on_a_real_server(tab: chromium.Page, real: str) -> None:
    values = {"text": TEXT, "question": "Who's it?", "context": TEXT + ' "a"\n' * 5}
    values |= {"options": "the cat\nthe 'cats'\n北京"}
    visit(tab, real)
    offered = "[...document.querySelectorAll('option')].map(it => it.value)"
    assert tab.value(offered) == list(MODELS)
    for name in MODELS:
        choose(tab, name, values)
        shown = send(tab)
        line = tab.value("document.getElementById('curl').textContent")
        ran = subprocess.run(["sh", "-c", line], check=True, capture_output=True, timeout=30)
        said = json.loads(ran.stdout)["predictions"][0]
        marks = tab.value("[...document.querySelectorAll('mark')].map(it => it.firstChild.data)")
        assert "tokens read" in shown
        match name:
            case "classify":
                assert f"{said['label']} {said['probability']:.1%}" in shown
            case "topics":
                ticks = [label for label in "abc" if f"✓ {label}" in shown]
                assert ticks == sorted(said["labels"])
                assert tab.value("document.querySelectorAll('.track b').length") == 3
                assert "A line marks the threshold" in shown
            case "regress":
                assert f"{said['value']:.6g}" in shown
                assert "The rows that scored the model have numbers from -90 to 90." in shown
            case "tag":
                assert marks == [entity["text"] for entity in said["entities"]] != []
                assert tab.value("document.querySelector('.passage').innerText").count("🎉") == 1
            case "answer":
                assert marks == [said["text"]] != [""]
            case "choose":
                assert f"✓ {said['option']}" in shown
    assert tab.errors() == []


def test_api_page_of_a_real_server_lists_every_route(tab: chromium.Page, real: str) -> None:
    visit(tab, f"{real}docs")
    tab.value("document.querySelectorAll('details').forEach(it => it.open = true)")
    assert tab.value(LOST_LINKS) == 0
    assert tab.value(PALE) == []
    shown = tab.value("document.querySelector('main').innerText")
    for verb in ("classify", "regress", "tag", "answer", "choose"):
        assert f"/v1/models/{{name}}/{verb}" in shown
    for width in (360, 1400):
        tab.look(width, "dark")
        assert tab.value(TOO_WIDE) == []
    if album := os.environ.get("ONELAYER_PICTURES"):
        tab.screenshot(Path(album) / "api-1400.png")
    assert tab.errors() == []
