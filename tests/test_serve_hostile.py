"""Clients that break the rules are refused, cost little and don't block other clients."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.rude_clients import CASES, GOOD, HOST, MAX_BODY, MODEL, PATH, Case, inputs, meet, sized
from support.server_process import Server, until

pytestmark = pytest.mark.process

MEGABYTES = 10
LIMITS = {
    "header_timeout": 0.3,
    "body_timeout": 0.3,
    "idle_timeout": 1.0,
    "notice": 0.0,
    "max_body": MAX_BODY,
    "max_requests": 8,
}


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("serve") / "log"
    with Server(f"{MODEL}={bundle}", log=log, **LIMITS) as server:
        yield server
        assert "Traceback" not in log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def baseline(server: Server) -> tuple[bytes, int]:
    """A good client's answer, and the server's memory, before any rude client."""
    for _ in range(8):  # so that all threads have handled large requests
        assert server.request("POST", PATH, {"inputs": ["a good cat"] * 1000})[0] == 200
    for _ in range(20):
        status, body = server.request("POST", PATH, json.loads(GOOD))
    assert status == 200
    return body, server.memory()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is Linux's")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_server_survives_rude_client(
    server: Server, baseline: tuple[bytes, int], case: Case
) -> None:
    good, memory = baseline
    assert meet(server.port, case) == case.outcome
    assert server.request("POST", PATH, json.loads(GOOD)) == (200, good)
    assert server.memory() < memory + MEGABYTES * 2**20


def test_every_case_has_its_own_name() -> None:
    assert max(Counter(case.name for case in CASES).values()) == 1


def test_caller_who_reads_no_answer_is_dropped(server: Server, baseline: tuple[bytes, int]) -> None:
    good, memory = baseline

    def answered() -> float:
        return server.figure("onelayer_requests_total", "/openapi.json")

    before, asked = answered(), 0
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect((HOST, server.port))
        until(lambda: server.holds(connection))
        while server.holds(connection):
            assert asked < 1600, "45 MB are answered, and kept somewhere"
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 16)
            asked += 16
            until(lambda n=asked: answered() == before + n or not server.holds(connection))
    assert server.request("POST", PATH, json.loads(GOOD)) == (200, good)
    assert server.memory() < memory + MEGABYTES * 2**20


def test_silent_connections_leave_room_for_others(server: Server) -> None:
    with ExitStack() as held:
        for _ in range(200):
            held.enter_context(socket.create_connection((HOST, server.port), timeout=30))
        for _ in range(3):
            assert server.request("POST", PATH, json.loads(GOOD))[0] == 200


def test_requests_of_a_killed_client_are_forgotten(server: Server) -> None:
    """The kernel closes a killed client's connection; its requests are dropped."""
    asks = f"""
import socket, time
a, b = (socket.create_connection(("{HOST}", {server.port})) for _ in range(2))
a.sendall({sized(GOOD)[:-3]!r})
b.sendall({sized(inputs(["a cat"] * 1000))!r})
print("sent", flush=True)
time.sleep(60)
"""
    left = server.figure("onelayer_callers_left_total")
    client = subprocess.Popen([sys.executable, "-c", asks], stdout=subprocess.PIPE)
    with client:
        assert client.stdout is not None
        client.stdout.readline()
        client.kill()
    until(lambda: server.figure("onelayer_callers_left_total") == left + 2)
    assert server.figure("onelayer_requests_in_flight") == 1
    assert server.request("POST", PATH, json.loads(GOOD))[0] == 200
