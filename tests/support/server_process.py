"""``onelayer serve`` as a process of its own on a free port of this machine."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

HOST = "127.0.0.1"


class Server:
    """Runs inside a ``with`` block and writes its log to ``log``."""

    def __init__(self, *models: object, log: Path, port: int = 0, **flags: object) -> None:
        self.log = log
        self._command = [sys.executable, "-m", "onelayer", "serve", *map(str, models)]
        for name, value in {"port": port, **flags}.items():
            self._command += [f"--{name.replace('_', '-')}", str(value)]

    def __enter__(self) -> Server:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()  # the models are loaded
        assert said, f"no server: {self.log.read_text(encoding='utf-8')}"
        self.port = int(said.split()[0].rsplit(":", 1)[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            finally:
                self.process.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """The status and the body of an answer, over a connection of its own."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        content = None if body is None else json.dumps(body)
        headers = {"content-type": "application/json"} if content else {}
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def figure(self, name: str, label: str = "") -> float:
        """A metric of ``/metrics``, summed over all labels, or over those that contain a text."""
        lines = self.request("GET", "/metrics")[1].decode().splitlines()
        found = [line for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found if label in line)

    def memory(self) -> int:
        """The process's own memory in bytes (RssAnon). Linux only."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.split("RssAnon:")[1].split()[0]) * 1024

    def holds(self, connection: socket.socket) -> bool:
        """Whether the process, not only the kernel, holds its end of a client's connection."""
        ends = f":{self.port:04X}", f":{connection.getsockname()[1]:04X}"
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
                return fields[9] != "0"  # a file of another process
        return False

    def cpu_seconds(self) -> float:
        """The processor time used so far, in seconds. Linux only."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        user, system = stat.rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def until(what: Any, seconds: float = 20.0) -> None:
    """Waits until a condition is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
