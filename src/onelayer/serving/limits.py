"""What a request may cost, and what all requests together may cost."""

from __future__ import annotations

from dataclasses import dataclass, fields

from onelayer.base.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may cost, and what all requests together may cost.

    Parameters
    ----------
    max_body
        Bytes of a request's body.
    max_texts
        Inputs of a request.
    max_tokens
        Tokens of an input, its windows or options together.
    max_requests
        Requests at a time. Four times as many connections may be open.
    max_waiting
        Tokens that are queued or running; a request counts as half a batch at most. In an
        overload the queue is much shorter.
    token_budget
        Tokens of a batch.
    header_timeout
        Seconds in which a request's headers have to arrive.
    body_timeout
        Seconds in which its body has to arrive.
    idle_timeout
        Seconds after which a connection without a request is closed.
    drain_timeout
        Seconds that accepted requests get to finish after SIGTERM.
    notice
        Seconds from SIGTERM, when readiness fails, until the server stops listening.
    """

    max_body: int = 1 << 20
    max_texts: int = 1024
    max_tokens: int = 1 << 16
    max_requests: int = 512
    max_waiting: int = 8192
    token_budget: int = 4096
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 60.0
    drain_timeout: float = 30.0
    notice: float = 2.0

    def __post_init__(self) -> None:
        """Raises UsageError for a limit that every request would exceed."""
        for field in fields(self):
            value, least = getattr(self, field.name), 1 if isinstance(field.default, int) else 0
            if not value >= least:
                flag = field.name.replace("_", "-")
                raise UsageError(f"--{flag} can't be {value:g}", hint=f"{least} or more")
