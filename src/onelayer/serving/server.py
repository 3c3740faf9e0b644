"""The server process: listens, loads the models, serves, and stops without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import uvicorn

from onelayer.base.errors import OneLayerError, Place, UsageError
from onelayer.base.machine import give_memory_back, limit_malloc_arenas
from onelayer.engines.registry import check_engine
from onelayer.serving.access_log import AccessLog
from onelayer.serving.example_rows import ExampleFile, read_examples
from onelayer.serving.http.admission import CallerRules
from onelayer.serving.http.allowed_hosts import AllowedHosts
from onelayer.serving.http.app import App
from onelayer.serving.http.connection import SHUTDOWN_GRACE_SECONDS, connection_class
from onelayer.serving.http.cors import CorsPolicy
from onelayer.serving.limits import Limits
from onelayer.serving.reloading import Reloader
from onelayer.serving.service import Service

SWITCH_SECONDS = 0.0001
"""How long a Python thread may keep others waiting. A model's threads wait this long for a busy
event loop, several times in a request: Python's default, 5 ms, delays every answer."""
FREE_MEMORY_EVERY = 1.0
"""Seconds between two times that unused memory is given back to the system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How a server listens, loads and logs."""

    host: str = "127.0.0.1"
    port: int = 8080
    """Port 0 takes a free one."""
    engine: str | None = None
    """The engine for exported models; by default the fastest on this machine."""
    access_log: bool = True
    """Whether to write a JSON line to stderr for each request."""
    allowed_hosts: Sequence[str] = ()
    """Names that callers may use for the server, besides its own; ``*`` allows any."""
    keys: Sequence[str] = ()
    """API keys; without any the server is open."""
    cors_origins: Sequence[str] = ()
    """Origins of web pages that may read the answers; ``*`` allows any."""
    allow_reload: bool = False
    """Whether callers may have a model loaded again."""
    examples: Sequence[ExampleFile] = ()
    """Files whose first rows the page shows to everybody who opens it."""


def run_server(models: Mapping[str, str], limits: Limits, settings: ServerSettings) -> None:
    """Serves models until SIGTERM or SIGINT; returns when all accepted requests are answered.

    It listens before it loads, so a port in use is reported at once and /health/live answers while
    a large model is read.

    Parameters
    ----------
    models
        Directories by name.
    limits
        What requests may cost.
    settings
        How to listen, load and log.

    Raises
    ------
    OneLayerError
        The port is not free.
    CheckpointError
        A model can't be loaded.
    UsageError
        The port is out of range, or an allowed host or origin isn't one.
    DataError
        A file of examples can't be used.
    """
    check_engine(settings.engine)
    cors = CorsPolicy(settings.cors_origins)
    listener = listen(settings.host, settings.port)
    address = listener.getsockname()[0]
    hosts = AllowedHosts.of_server(settings.host, address, settings.allowed_hosts)
    sys.setswitchinterval(SWITCH_SECONDS)
    limit_malloc_arenas()
    # Requests are small: waking the tokenizer's threads takes longer than encoding one.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    log = AccessLog() if settings.access_log else None
    rules = CallerRules(settings.keys, hosts, cors, settings.allow_reload)
    service = Service({}, limits, log, rules)
    reloader = Reloader(service, models, settings.engine)
    app = App(service, reloader)
    config = uvicorn.Config(
        app,
        http=connection_class(app.service),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(limits.idle_timeout),
        timeout_graceful_shutdown=int(limits.drain_timeout),
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(_Uvicorn(config), app, listener, reloader, settings.examples))
    if log is not None:
        log.flush()


class _Uvicorn(uvicorn.Server):
    """Leaves signals to ``_serve``, because readiness has to fail before the server stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(
    server: _Uvicorn,
    app: App,
    listener: socket.socket,
    reloader: Reloader,
    examples: Sequence[ExampleFile],
) -> None:
    """Loads the models while uvicorn already listens, serves until a signal, and stops in order."""
    loop = asyncio.get_running_loop()
    stop_wanted, reload_wanted = asyncio.Event(), asyncio.Event()

    def stop(number: int) -> None:
        if stop_wanted.is_set():  # a second signal: stop at once
            os._exit(128 + number)
        stop_wanted.set()

    # A terminal that closes sends SIGHUP to what runs in it, unless nohup started it.
    stops_with_terminal = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN and _has_terminal()

    def hang_up() -> None:
        if stops_with_terminal and not _has_terminal():
            stop(signal.SIGHUP)
        else:
            reload_wanted.set()

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop_wanted.wait())
    loading = asyncio.create_task(asyncio.to_thread(_load_all, reloader, app.service, examples))
    try:
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
            # Otherwise each garbage collection visits all that is loaded: a third of the speed.
            gc.freeze()
            app.open()
            print(_summary(listener, app.service))
            freeing = asyncio.create_task(_free_memory())
            reloading = asyncio.create_task(_reload_when(reload_wanted, reloader))
            await stopping
            freeing.cancel()
            reloading.cancel()
            app.admission.phase = "draining"
            # Load balancers need this time to see that readiness fails.
            await asyncio.sleep(app.service.limits.notice)
            # A backlog of zero: no caller waits in the system's queue when the socket is closed.
            listener.listen(0)
            await asyncio.sleep(SHUTDOWN_GRACE_SECONDS)
    finally:
        server.should_exit = True
        await serving
        app.service.batcher.close()
        for number, handler in handlers.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)  # asyncio doesn't restore it


def _load_all(reloader: Reloader, service: Service, examples: Sequence[ExampleFile]) -> None:
    reloader.load_all()

    def say(remark: str) -> None:
        service.log_event(examples=remark)

    service.examples = read_examples(examples, service.models, service.limits, say)


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal that is open."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


async def _reload_when(wanted: asyncio.Event, reloader: Reloader) -> None:
    """Loads all models again each time it is wanted."""
    while True:
        await wanted.wait()
        wanted.clear()
        await reloader.reload_all()


async def _free_memory() -> None:
    """Gives unused memory back, which malloc otherwise keeps after a burst of large requests."""
    while True:
        await asyncio.sleep(FREE_MEMORY_EVERY)
        await asyncio.to_thread(give_memory_back)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises OneLayerError for an address in use, UsageError for a wrong port."""
    host = host.removeprefix("[").removesuffix("]")  # as URLs write IPv6 addresses
    if not 0 <= port < 1 << 16:
        raise UsageError(f"there is no port {port}", hint="--port 0 to 65535")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "another --port" if "in use" in reason else None
        raise OneLayerError(reason, place=Place(_authority(host, port)), hint=hint) from None
    return listener


def _summary(listener: socket.socket, service: Service) -> str:
    address = f"http://{_authority(*listener.getsockname()[:2])}"
    models = (f"{name} ({p.task.name}, {p.engine.name})" for name, p in service.models.items())
    return f"{address} serves {', '.join(models)}"


def _authority(host: str, port: int) -> str:
    """Host and port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def models_by_name(models: Sequence[str]) -> dict[str, str]:
    """Directories by name, from arguments ``DIR`` or ``NAME=DIR``. Raises UsageError."""
    found: dict[str, str] = {}
    for model in models:
        name, equals, path = model.partition("=")
        if not equals:
            name, path = os.path.basename(os.path.abspath(model)), model
        if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            hint = "letters, digits, '-', '_' and '.': NAME=DIR"
            raise UsageError(f"{name!r} can't be a model's name in an address", hint=hint)
        if name in found:
            raise UsageError(f"two models called {name}", hint="name them: NAME=DIR")
        found[name] = path
    if not found:
        raise UsageError("no model to serve", hint="onelayer serve RUN")
    return found
