"""What is known of a request while it is answered, for the access log and the metrics."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from dataclasses import dataclass, field

from starlette.requests import Request

_SAFE_ID = re.compile(rb"[\w.:/+=-]{1,128}")

# The system is asked for randomness once: waiting for its answer would let other threads run.
_new_ids = map(f"{secrets.token_hex(6)}{{:08x}}".format, itertools.count())


@dataclass(slots=True)
class RequestContext:
    """A request from its headers to its answer."""

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
    """The caller's own if it can stand in a log, else a new one."""
    return given.decode("ascii") if _SAFE_ID.fullmatch(given) else next(_new_ids)
