"""Serves an application on a local port, in this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from onelayer.serving.http.app import App
from onelayer.serving.http.connection import connection_class


@contextmanager
def listening(app: App) -> Iterator[str]:
    """Serves the app as ``onelayer serve`` does and yields ``host:port``."""
    config = uvicorn.Config(
        app,
        http=connection_class(app.service),
        ws="none",
        lifespan="on",
        log_config=None,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
