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
        Requests at a time; four times as many connections.
    max_waiting
        Tokens that wait for the models or are in them; a request counts as half a batch at most.
        Far fewer wait in an overload.
    token_budget
        Tokens of a batch.
    header_timeout
        Seconds for a request's headers to come in.
    body_timeout
        Seconds for its body.
    idle_timeout
        Seconds to keep a connection without a request.
    drain_timeout
        Seconds for accepted requests to finish after SIGTERM.
    notice
        Seconds between failing readiness and no longer listening.
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
        """Raises UsageError for a limit that no request could keep."""
        for field in fields(self):
            value, least = getattr(self, field.name), 1 if isinstance(field.default, int) else 0
            if not value >= least:
                flag = field.name.replace("_", "-")
                raise UsageError(f"--{flag} can't be {value:g}", hint=f"{least} or more")
