"""The verb ``serve``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onelayer.serving.limits import Limits


def serve(
    *models: str,
    host: str = "127.0.0.1",
    allowed_host: tuple[str, ...] = (),
    cors_origin: tuple[str, ...] = (),
    port: int = 8080,
    engine: str | None = None,
    api_key_file: str | Path | None = None,
    allow_reload: bool = False,
    examples: str | Path | Sequence[str | Path] = (),
    access_log: bool = True,
    limits: Limits | None = None,
) -> None:
    """Serve models over HTTP until the process gets SIGTERM or SIGINT; SIGHUP loads them again.

    Parameters
    ----------
    models
        Model directories. ``NAME=DIR`` names a model; by default it has its directory's name.
    host
        The address to listen on; 0.0.0.0 for every address of this machine.
    allowed_host
        Further names to accept in the Host header; ``*`` accepts any.
    cors_origin
        Origins of web pages that may read the answers, such as ``https://app.example``; ``*`` for
        every page.
    port
        The port to listen on; 0 for any free one.
    engine
        The engine of exported models; by default the fastest one installed.
    api_key_file
        A file with one API key per line; by default the key in ``ONELAYER_API_KEY``, if set.
    allow_reload
        Let callers have a model loaded again: ``POST /v1/models/NAME/reload``.
    examples
        Files with columns as in training, labelled or not. The page offers their first rows to
        everybody who opens it. ``NAME=FILE`` is for one model; by default a file is for all models
        whose columns it has.
    access_log
        Write a JSON line per request to stderr.
    limits
        The server's limits; by default those of `Limits`.

    Raises
    ------
    UsageError, CheckpointError
        At the start: for a port that is in use, a model that can't be read, and examples of none.
    DataError
        At the start: for a file of examples without a usable row.
    """
    from onelayer.serving.example_rows import example_files
    from onelayer.serving.http.admission import read_api_keys
    from onelayer.serving.limits import Limits
    from onelayer.serving.server import ServerSettings, models_by_name, run_server

    directories = models_by_name(models)
    settings = ServerSettings(
        host=host,
        port=port,
        engine=engine,
        access_log=access_log,
        allowed_hosts=allowed_host,
        keys=read_api_keys(Path(api_key_file) if api_key_file is not None else None),
        cors_origins=cors_origin,
        allow_reload=allow_reload,
        examples=example_files(examples, directories),
    )
    run_server(directories, limits or Limits(), settings)
