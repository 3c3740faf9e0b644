"""API keys."""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers

from onelayer.base.errors import Place, UsageError


class ApiKeys:
    """Those that open a server; without any it is open."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def __len__(self) -> int:
        return len(self._keys)

    def fit(self, headers: Headers) -> bool:
        """Whether a request has one of them. It is compared with every key, and with each in a
        time that tells nothing of it."""
        if not self._keys:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        sent = given.strip().encode("latin-1")  # the bytes that came
        found = [hmac.compare_digest(sent, key) for key in self._keys]
        return any(found)


def read_api_keys(path: Path | None) -> list[str]:
    """API keys, one a line of a file, or the one in ONELAYER_API_KEY. Raises UsageError."""
    if path is None:
        key = os.environ.get("ONELAYER_API_KEY", "").strip()
        return [key] if key else []
    with path.open(encoding="utf-8") as file:
        keys = [line.strip() for line in file if line.strip()]
    if not keys:
        raise UsageError("no API key in it", place=Place(path))
    return keys
