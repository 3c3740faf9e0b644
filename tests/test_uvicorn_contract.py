"""The internals of uvicorn and of the HTTP parser that ``Connection`` uses.

``serving/http/connection.py`` and ``prediction_cycle.py`` extend classes that uvicorn doesn't
document. Each entry below is one thing that they rely on; a release that changes one fails here
with the name of the thing, what we need it for and what it has become, and not somewhere under
load. A new release may be allowed in pyproject.toml when this file and ``test_serve_hostile.py``
pass with it.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from onelayer.serving.http import connection as ours
from onelayer.serving.http.prediction_cycle import PredictionCycle

ADVICE = "see serving/http/connection.py, and the upper bound of uvicorn in pyproject.toml"


@dataclass(frozen=True)
class Member:
    """A member of uvicorn's class, and our use of it."""

    name: str
    use: str
    parameters: tuple[str, ...] | None = None
    """A method's parameters after self; None for an attribute."""
    kind: type | None = None
    """The type of an attribute's value."""


PROTOCOL = (
    Member("connection_made", "extended: starts timers", ("transport",)),
    Member("connection_lost", "extended: stops timers", ("exc",)),
    Member("data_received", "replaced: feeds the parser", ("data",)),
    Member("pause_writing", "extended: ends who doesn't read", ()),
    Member("resume_writing", "extended: takes that back", ()),
    Member("on_message_begin", "extended: a request starts", ()),
    Member("on_header", "extended: drops trailers", ("name", "value")),
    Member("on_headers_complete", "extended: refuses, or starts the task", ()),
    Member("on_body", "extended: drops what nobody reads", ("body",)),
    Member("on_message_complete", "extended: answers what is refused", ()),
    Member("on_response_complete", "extended and called: the next request's turn", ()),
    Member("shutdown", "extended: a request on its way is still read", ()),
    Member("timeout_keep_alive_handler", "extended: not while something happens", ()),
    Member("_start_asgi_task", "called: starts a direct request", ("cycle", "app")),
    Member("app", "what it is started with"),
    Member("loop", "its clock and timers", kind=asyncio.AbstractEventLoop),
    Member("connections", "who else is there", kind=set),
    Member("pipeline", "requests behind the one in work", kind=deque),
    Member("parser", "what is read so far", kind=httptools.HttpRequestParser),
    Member("transport", "writes and closes", kind=asyncio.Transport),
    Member("url", "the request's target", kind=bytes),
    Member("headers", "the request's headers", kind=list),
    Member("scope", "its version of HTTP", kind=dict),
    Member("cycle", "the request that was read last", kind=RequestResponseCycle),
)
CYCLE = (
    Member("response_complete", "whether it is answered", kind=bool),
    Member("more_body", "whether its body is still coming", kind=bool),
    Member("disconnected", "set when the caller has left", kind=bool),
    Member("keep_alive", "set for HTTP/1.0 clients who ask for it", kind=bool),
    Member("default_headers", "says so in the answer", kind=list),
    Member("message_event", "set to wake the application", kind=asyncio.Event),
)
DIRECT = (
    Member("run_asgi", "replaced: answers without the application", ("app",)),
    Member("receive", "waits for the body, or for the caller to leave", ()),
    Member("on_response", "called: the answer is sent", ()),
    Member("body", "what is read of it", kind=bytearray),
    Member("transport", "writes and closes", kind=asyncio.Transport),
    Member("flow", "whether the caller reads", kind=FlowControl),
)
"""What ``PredictionCycle`` uses of its class, besides what ``Connection`` does."""
PARSER = (
    Member("feed_data", "reads bytes", ("data",)),
    Member("get_method", "of the request", ()),
    Member("get_http_version", "of the request", ()),
    Member("should_keep_alive", "of the request", ()),
    Member("should_upgrade", "of the request", ()),
)
SERVER = (
    Member("serve", "runs on our socket, in our loop", ("sockets",)),
    Member("capture_signals", "replaced: signals are ours", ()),
    Member("should_exit", "set to stop", kind=bool),
)


def check(owner: str, thing: Any, member: Member) -> None:
    """Fails with a message about the change."""
    what = f"uvicorn {uvicorn.__version__}: {owner}.{member.name} ({member.use})"
    assert hasattr(thing, member.name), f"{what} is gone; {ADVICE}"
    found = getattr(thing, member.name)
    if member.parameters is not None:
        assert callable(found), f"{what} is no method any more; {ADVICE}"
        has = tuple(inspect.signature(found).parameters)
        assert has == member.parameters, f"{what} takes {has}, not {member.parameters}; {ADVICE}"
    elif member.kind is not None:
        kind = type(found).__name__
        assert isinstance(found, member.kind), f"{what} is a {kind}; {ADVICE}"


# A connection without a socket -------------------------------------------------------------------


class Transport(asyncio.Transport):
    """A transport that keeps the written bytes."""

    def __init__(self) -> None:
        super().__init__({"socket": None, "peername": ("a", 1), "sockname": ("b", 2)})
        self.written, self.closed, self.reading = b"", False, True

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Exchange:
    """uvicorn's own connection, with an application that answers when allowed."""

    def __init__(self) -> None:
        self.go, self.seen = asyncio.Event(), list[str]()
        config = uvicorn.Config(
            self.app, interface="asgi3", ws="none", lifespan="off", log_config=None
        )
        config.load()
        self.state = ServerState()
        self.protocol = HttpToolsProtocol(config, self.state, {})
        self.transport = Transport()
        self.protocol.connection_made(self.transport)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope["path"])
        await self.go.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


def request(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "host: x", *lines, "", ""]).encode()


def run(story: Callable[[Exchange], Any]) -> None:
    async def whole() -> None:
        exchange = Exchange()
        await story(exchange)
        exchange.protocol.connection_lost(None)

    asyncio.run(whole())


async def until_idle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def needs(fact: bool, what: str) -> None:
    assert fact, f"uvicorn {uvicorn.__version__}: {what}; {ADVICE}"


# The contract ------------------------------------------------------------------------------------


def test_uvicorn_has_the_methods_and_attributes_we_use() -> None:
    async def story(exchange: Exchange) -> None:
        protocol = exchange.protocol
        protocol.data_received(request("/"))
        for member in PROTOCOL:
            check("HttpToolsProtocol", protocol, member)
        for member in (*CYCLE, *DIRECT):
            check("RequestResponseCycle", protocol.cycle, member)
        for member in PARSER:
            check("httptools.HttpRequestParser", protocol.parser, member)
        for member in SERVER:
            check("Server", uvicorn.Server(protocol.config), member)
        exchange.go.set()
        await until_idle()

    run(story)


def test_changed_member_is_named() -> None:
    class Changed:
        def shutdown(self, now: bool) -> None:
            pass

        pipeline = ()

    for member, message in (
        (Member("shutdown", "x", ()), r"shutdown \(x\) takes \('now',\), not \(\)"),
        (Member("pipeline", "x", kind=deque), r"pipeline \(x\) is a tuple"),
        (Member("pipeline", "x", ()), r"pipeline \(x\) is no method"),
        (Member("parser", "x"), r"parser \(x\) is gone"),
    ):
        with pytest.raises(AssertionError, match=message):
            check("Changed", Changed(), member)


def test_list_covers_every_member_we_use() -> None:
    """Attributes of a connection, a cycle and the parser that ``connection.py`` reads or calls and
    doesn't make itself."""
    tree = ast.parse(Path(ours.__file__).read_text(encoding="utf-8"))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    made = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    made |= {node.attr for node in attributes if isinstance(node.ctx, ast.Store)}
    made |= {"service"}
    made |= set(vars(PredictionCycle))
    used = set[str]()
    for node in attributes:
        match node.value:
            case ast.Name(id="self" | "other" | "parser" | "answered"):
                used.add(node.attr)
            case ast.Attribute(attr="parser" | "cycle" | "_running"):
                used.add(node.attr)
            case ast.Call(func=ast.Name(id="super")):
                used.add(node.attr)
    listed = {member.name for member in (*PROTOCOL, *CYCLE, *PARSER)}
    replaced = {"data_received"}  # defined here and never handed on
    cycle_sets = {
        "disconnected",
        "keep_alive",
        "default_headers",
    }  # stored by us, on uvicorn's object
    extended = made & listed - cycle_sets
    assert used - made | cycle_sets <= listed, "list what is new here"
    assert listed <= used | cycle_sets | extended, "take out what isn't used any more"
    assert extended - replaced <= {member.name for member in PROTOCOL}


def test_list_covers_every_member_of_a_cycle_we_use() -> None:
    tree = ast.parse(inspect.getsource(PredictionCycle))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id == "self"
    }
    made = {name for name in vars(PredictionCycle) if name != "run_asgi"}
    made |= {"_service", "_request", "_task"}
    assert used - made <= {member.name for member in (*CYCLE, *DIRECT)}, "list what is new here"
    assert {member.name for member in DIRECT} <= used | {"run_asgi"}, "take out what isn't used"


def test_cycle_is_made_of_what_a_connection_has() -> None:
    """``PredictionCycle`` calls the constructor of its class with parts of a connection."""

    async def story(exchange: Exchange) -> None:
        protocol = exchange.protocol
        protocol.data_received(request("/"))
        service: Any = None
        cycle = PredictionCycle(protocol, service, service)
        needs(cycle.more_body and not cycle.response_complete, "a new cycle is at its end")
        needs(cycle.on_response == protocol.on_response_complete, "it tells nobody of its end")
        exchange.go.set()
        await until_idle()

    run(story)


def test_cycle_starts_at_once_or_waits_in_the_pipeline() -> None:
    async def story(exchange: Exchange) -> None:
        protocol = exchange.protocol
        protocol.data_received(request("/1"))
        first = protocol.cycle
        needs(not protocol.pipeline, "a request alone waits in the pipeline")
        protocol.data_received(request("/2") + request("/3"))
        needs(len(protocol.pipeline) == 2, "requests behind another aren't in the pipeline")
        needs(protocol.pipeline[0][0] is protocol.cycle, "the newest isn't the pipeline's first")
        second = protocol.pipeline[-1][0]
        needs(second not in (first, protocol.cycle), "the next isn't the pipeline's last")
        needs(not exchange.transport.reading, "a full pipeline keeps reading")
        exchange.go.set()
        await until_idle()
        needs(exchange.seen == ["/1", "/2", "/3"], "pipelined requests run out of order")
        needs(first.response_complete and second.response_complete, "an answer isn't complete")

    run(story)


def test_answer_ends_with_on_response_complete() -> None:
    async def story(exchange: Exchange) -> None:
        calls: list[bool] = []
        whole = exchange.protocol.on_response_complete

        def noted() -> None:
            calls.append(exchange.protocol.cycle.response_complete)
            whole()

        exchange.protocol.on_response_complete = noted  # type: ignore[method-assign]
        exchange.protocol.data_received(request("/1"))
        exchange.go.set()
        await until_idle()
        needs(calls == [True], "on_response_complete isn't called once, after the answer")

    run(story)


def test_keep_alive_timer_is_set_by_an_answer_and_calls_the_handler() -> None:
    async def story(exchange: Exchange) -> None:
        calls: list[None] = []
        exchange.protocol.timeout_keep_alive = 0
        handler = "timeout_keep_alive_handler"
        setattr(exchange.protocol, handler, lambda: calls.append(None))
        await asyncio.sleep(0.01)
        needs(not calls, "the keep-alive timer runs before the first answer")
        exchange.protocol.on_response_complete()  # as Connection calls it for what it refuses
        await asyncio.sleep(0.01)
        needs(len(calls) == 1, "on_response_complete sets no keep-alive timer")

    run(story)


def test_application_sees_that_its_caller_left() -> None:
    async def story(exchange: Exchange) -> None:
        exchange.protocol.data_received(request("/1", "content-length: 5"))
        cycle = exchange.protocol.cycle
        waiting = asyncio.create_task(cycle.receive())
        await until_idle()
        needs(not waiting.done(), "receive doesn't wait for the body")
        cycle.disconnected = True
        cycle.message_event.set()
        needs((await waiting)["type"] == "http.disconnect", "disconnected isn't told")
        exchange.go.set()
        await until_idle()
        needs(exchange.transport.written == b"", "an answer goes to a caller who has left")

    run(story)


def test_shutdown_closes_an_idle_connection_and_ends_a_busy_one_after_its_answer() -> None:
    async def story(exchange: Exchange) -> None:
        exchange.protocol.data_received(request("/1"))
        exchange.protocol.shutdown()
        needs(not exchange.transport.closed, "shutdown closes under a request")
        exchange.go.set()
        await until_idle()
        needs(exchange.transport.closed, "shutdown keeps a connection after its answer")
        idle = Exchange()
        idle.protocol.shutdown()
        needs(idle.transport.closed, "shutdown keeps an idle connection")

    run(story)


def test_parser_stops_at_an_upgrade_and_accepts_the_head_again() -> None:
    """``Connection`` gives it the head without Upgrade, and then the rest."""

    class Found:
        def __init__(self) -> None:
            self.bodies = list[bytes]()

        def on_body(self, body: bytes) -> None:
            self.bodies.append(body)

    found = Found()
    parser = httptools.HttpRequestParser(found)
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n"
    with pytest.raises(httptools.HttpParserUpgrade) as paused:
        parser.feed_data(head + b"connection: upgrade\r\nupgrade: h2c\r\n\r\nhello")
    (offset,) = paused.value.args
    assert offset == len(head) + len(b"connection: upgrade\r\nupgrade: h2c\r\n\r\n")
    parser.feed_data(head + b"\r\n")
    parser.feed_data(memoryview(b"hello"))
    assert found.bodies == [b"hello"]


def test_uvicorn_version_is_bounded_above() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    bounds = re.search(r'"uvicorn>=(\d+)\.(\d+),<(\d+)\.(\d+)"', text)
    assert bounds is not None, "uvicorn has to have an upper bound: its inside is no promise"
    low, high = (tuple(map(int, part)) for part in (bounds.groups()[:2], bounds.groups()[2:]))
    version = tuple(map(int, uvicorn.__version__.split(".")[:2]))
    assert low <= version < high
