"""Stopping a server: accepted requests are answered."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from onelayer.base.errors import UsageError
from onelayer.serving.server import listen
from support.rude_clients import GOOD, HOST, MODEL, PATH, sized
from support.server_process import Server, until

pytestmark = pytest.mark.process

CALLERS = 3
LARGE = {"inputs": ["the cat " * 25] * 1000}


def test_accepted_requests_finish(bundle: Path, tmp_path: Path) -> None:
    limits = {"notice": 0, "max_waiting": 10**6}
    with (
        Server(f"{MODEL}={bundle}", log=tmp_path / "log", **limits) as server,
        ThreadPoolExecutor(CALLERS) as callers,
    ):
        asked = [callers.submit(server.request, "POST", PATH, LARGE) for _ in range(CALLERS)]
        until(lambda: server.figure("onelayer_requests_in_flight") == CALLERS + 1)
        server.process.send_signal(signal.SIGTERM)
        answers = [answer.result() for answer in asked]
        code = server.process.wait(20)
    assert [status for status, _ in answers] == [200] * CALLERS
    assert all(len(json.loads(body)["predictions"]) == 1000 for _, body in answers)
    assert code == 0
    logged = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert sum(line["texts"] == 1000 and line["status"] == 200 for line in logged) == CALLERS


def test_readiness_fails_before_the_port_closes(bundle: Path, tmp_path: Path) -> None:
    with Server(f"{MODEL}={bundle}", log=tmp_path / "log", notice=1) as server:
        kept = http.client.HTTPConnection(HOST, server.port, timeout=30)
        assert server.request("GET", "/health/ready")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.request("GET", "/health/ready")[0] == 503)
        assert server.request("GET", "/health/live")[0] == 200
        kept.request("POST", PATH, GOOD, {"content-type": "application/json"})
        answer = kept.getresponse()
        assert (answer.status, answer.getheader("connection")) == (200, "close")
        assert server.process.wait(20) == 0
        kept.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(bundle: Path, tmp_path: Path, number: signal.Signals) -> None:
    with Server(f"{MODEL}={bundle}", log=tmp_path / "log", notice=60) as server:
        server.process.send_signal(number)
        until(lambda: server.request("GET", "/health/ready")[0] == 503)
        server.process.send_signal(number)
        assert server.process.wait(20) == 128 + number


def test_idle_connection_does_not_delay_the_stop(bundle: Path, tmp_path: Path) -> None:
    with Server(f"{MODEL}={bundle}", log=tmp_path / "log", notice=0, drain_timeout=60) as server:
        kept = http.client.HTTPConnection(HOST, server.port, timeout=30)
        kept.connect()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        kept.close()


def test_drain_timeout_ends_an_unfinished_request(bundle: Path, tmp_path: Path) -> None:
    limits = {"notice": 0, "drain_timeout": 1, "body_timeout": 60}
    with Server(f"{MODEL}={bundle}", log=tmp_path / "log", **limits) as server:
        slow = http.client.HTTPConnection(HOST, server.port, timeout=30)
        slow.putrequest("POST", PATH)
        slow.putheader("content-type", "application/json")
        slow.putheader("content-length", "100")
        slow.endheaders(b"{")
        until(lambda: server.figure("onelayer_requests_in_flight") == 2)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        slow.close()


def test_request_on_its_way_is_answered_before_the_stop(bundle: Path, tmp_path: Path) -> None:
    """Even if its last bytes arrive after idle connections were closed."""
    request = sized(GOOD)
    with (
        Server(f"{MODEL}={bundle}", log=tmp_path / "log", notice=0) as server,
        socket.create_connection((HOST, server.port), timeout=30) as asks,
        socket.create_connection((HOST, server.port), timeout=30) as says_nothing,
    ):
        asks.sendall(request[:20])
        until(lambda: server.holds(asks) and server.holds(says_nothing))
        server.process.send_signal(signal.SIGTERM)
        assert says_nothing.recv(1) == b""
        asks.sendall(request[20:])
        answer = asks.makefile("rb").read()
        assert server.process.wait(20) == 0
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in answer


@pytest.mark.parametrize("port", [-1, 1 << 16])
def test_impossible_port_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match=f"there is no port {port}"):
        listen(HOST, port)
