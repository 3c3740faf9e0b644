"""Headless Chromium, controlled with the DevTools protocol over a pipe, without a port."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--disable-extensions", "--force-device-scale-factor=1"),
)


def find() -> str | None:
    """The path of the browser's program, or None if this machine has none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowRight": 39}
SILENCE = 60
"""Seconds without a message after which the browser counts as dead."""


class Page:
    """One open tab. ``events`` holds everything that the browser reported about it."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._from], [], [], SILENCE)[0], "the browser says nothing"
            read = os.read(self._from, 1 << 16)
            assert read, "the browser is gone"
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def look(self, width: int, scheme: str, height: int = 900) -> None:
        """Sets the screen's width in pixels and the colour scheme, ``light`` or ``dark``."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def open(self, address: Path | str) -> None:
        url = address if isinstance(address, str) else address.absolute().as_uri()
        self.ask("Page.navigate", url=url)
        loaded = "Page.loadEventFired"
        while not any(event["method"] == loaded for event in self.events):
            self.events.append(self._next())

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        how = {"returnByValue": True, "awaitPromise": True}
        answer = self.ask("Runtime.evaluate", expression=expression, **how)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Waits until a JavaScript expression is true and returns its value."""
        return self.value(f"""new Promise((done, fail) => {{
            const end = Date.now() + 10000;
            const look = () => {{
                const value = document.body && ({expression});
                if (value) done(value);
                else if (Date.now() > end) fail(new Error(document.body.innerText));
                else setTimeout(look, 10);
            }};
            look();
        }})""")

    def press(self, key: str, *, control: bool = False, shift: bool = False) -> None:
        text = {"text": "\r"} if key == "Enter" and not control else {}
        how = {"key": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": 2 * control + 8 * shift}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **how, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **how)

    def write(self, text: str) -> None:
        """Types text into the focused field."""
        self.ask("Input.insertText", text=text)

    def errors(self) -> list[str]:
        """The console's errors and uncaught exceptions."""
        said = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [json.dumps(event) for event in self.events if event["method"] in said]

    def requests(self) -> list[str]:
        """Every address that the page requested."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def pixels(self, x: float, y: float, width: int = 4, height: int = 4) -> bytes:
        """A part of the screen as PNG; equal parts are equal bytes."""
        clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(shot["data"])

    def screenshot(self, path: Path) -> None:
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(program: str) -> Iterator[Page]:
    """Starts a browser with an empty profile, and ends it afterwards."""
    ours, theirs = os.pipe(), os.pipe()
    # The browser reads from descriptor 3 and writes to 4, so move our ends to other numbers.
    its_input = fcntl.fcntl(ours[0], fcntl.F_DUPFD_CLOEXEC, 10)
    its_output = fcntl.fcntl(theirs[1], fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(ours[0])
    os.close(theirs[1])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = [program, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        pid = os.posix_spawn(
            program,
            arguments,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, its_input, 3),
                (os.POSIX_SPAWN_DUP2, its_output, 4),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
        )
        os.close(its_input)
        os.close(its_output)
        try:
            yield Page(ours[1], theirs[0])
        finally:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
            os.close(ours[1])
            os.close(theirs[0])
