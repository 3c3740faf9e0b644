"""From the command to the last answer: listens, loads, serves, and stops without losing anybody."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import uvicorn

from onelayer.base.errors import OneLayerError, Place, UsageError
from onelayer.base.machine import few_heaps, give_memory_back
from onelayer.prediction.load import load
from onelayer.recipe import EngineName
from onelayer.serving.access_log import AccessLog
from onelayer.serving.http.api_keys import ApiKeys
from onelayer.serving.http.app import App
from onelayer.serving.http.connection import PARTING, connections_within
from onelayer.serving.limits import Limits
from onelayer.serving.scheduler.batcher import lower_thread_priority
from onelayer.serving.service import Service

SWITCH_SECONDS = 0.0005
"""How long a thread of Python's lets the engine's wait; by default it is 5 milliseconds."""
TIDY_SECONDS = 1.0


def serve(
    models: Mapping[str, str],
    *,
    host: str,
    port: int,
    limits: Limits,
    engine: EngineName | None = None,
    keys: Sequence[str] = (),
    access_log: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serves models, by name their directories, until SIGTERM or SIGINT; returns when all accepted
    requests are answered.

    It listens before it loads: a port in use is told at once, and /health/live answers while a
    large model is read. Raises OneLayerError for a port that can't be had and CheckpointError for
    a model that can't be loaded.
    """
    listener = listen(host, port)
    sys.setswitchinterval(SWITCH_SECONDS)
    few_heaps()
    # Requests are small: to wake the tokenizer's threads for one takes longer than to cut it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    log = AccessLog() if access_log else None
    service = Service({}, limits, log)
    app = App(service, ApiKeys(keys))
    config = uvicorn.Config(
        app,
        http=connections_within(limits, app.admission),
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
        load_all = partial(_load, service, models, engine)
        runner.run(_serve(_Uvicorn(config), service, listener, load_all, say))
    if log is not None:
        log.flush()


class _Uvicorn(uvicorn.Server):
    """Signals are not its business but ours: readiness fails first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(
    server: _Uvicorn,
    service: Service,
    listener: socket.socket,
    load_all: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()

    def stop(number: int) -> None:
        if asked_to_stop.is_set():  # a second time: whoever asks doesn't want to wait
            os._exit(128 + number)
        asked_to_stop.set()

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in handlers:
        loop.add_signal_handler(number, stop, number)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(asked_to_stop.wait())
    loading = asyncio.create_task(asyncio.to_thread(load_all))
    try:
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
            gc.freeze()  # what is loaded stays: looking through it again and again costs a third
            service.phase = "ready"
            say(_line(listener, service))
            tidying = asyncio.create_task(_tidy())
            await stopping
            tidying.cancel()
            service.phase = "draining"
            await asyncio.sleep(service.limits.notice)
            listener.listen(0)  # no more come into the line, so that nobody is in it when it ends
            await asyncio.sleep(PARTING)
    finally:
        server.should_exit = True
        await serving
        service.batcher.close()
        for number, handler in handlers.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)  # the loop would leave one that does nothing


async def _tidy() -> None:
    """A crowd of large requests would leave its memory behind for good."""
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        await asyncio.to_thread(give_memory_back)


def _load(service: Service, models: Mapping[str, str], engine: EngineName | None) -> None:
    lower_thread_priority()
    for name, path in models.items():
        predictor = load(path, engine)
        service.batcher.warm_up(name, predictor)
        service.models[name] = predictor


def listen(host: str, port: int) -> socket.socket:
    """Raises OneLayerError where the address can't be had, UsageError for no port at all."""
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
        raise OneLayerError(reason, place=Place(f"{host}:{port}"), hint=hint) from None
    return listener


def _line(listener: socket.socket, service: Service) -> str:
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    models = (f"{name} ({p.task.name}, {p.engine.name})" for name, p in service.models.items())
    return f"{address} serves {', '.join(models)}"


def models_by_name(models: Sequence[str]) -> dict[str, str]:
    """``DIR`` or ``NAME=DIR`` -> directories by name. Raises UsageError."""
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
