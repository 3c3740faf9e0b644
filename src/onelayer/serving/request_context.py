"""The context of a request: what the access log and the metrics record of it."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from dataclasses import dataclass, field

from starlette.requests import Request

CALLER_LEFT = 499
"""The status in log and metrics if the caller closed the connection; nginx uses the same."""

_SAFE_ID = re.compile(rb"[\w.:/+=-]{1,128}")

# Random bytes are read once. A system call per request would release Python's lock each time.
_new_ids = map(f"{secrets.token_hex(6)}{{:08x}}".format, itertools.count())


@dataclass(slots=True)
class RequestContext:
    """Filled in while a request is handled."""

    id: str
    method: str
    route: str = "none"
    model: str = ""
    texts: int = 0
    tokens: int = 0
    queue_ms: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, request: Request) -> RequestContext:
        context: RequestContext = request.scope["onelayer.context"]
        return context


def request_id(given: bytes) -> str:
    """The caller's id if it is safe to log, else a new one."""
    return given.decode("ascii") if _SAFE_ID.fullmatch(given) else next(_new_ids)
