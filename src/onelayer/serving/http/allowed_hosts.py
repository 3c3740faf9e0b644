"""The names that callers may use for a server in the Host header."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

from onelayer.base.errors import UsageError
from onelayer.serving.request_errors import RequestError

_HOST = re.compile(r"(\[[0-9a-f.]*:[0-9a-f:.]*\]|[\w.~%-]+?)\.?(?::\d*)?", re.ASCII)

LOOPBACK_NAME = "localhost"
MAX_HOST_BYTES = 300
"""Bytes of a Host header. Names in DNS are shorter. It limits the cache of 256 decisions."""


class AllowedHosts:
    """The hosts that callers may name in the Host header, with any port.

    Parameters
    ----------
    names
        Names and addresses; ``*`` allows all.
    any_address
        Whether to allow every IP address. DNS rebinding needs a name, so this is safe.
    """

    def __init__(self, names: Sequence[str], *, any_address: bool = False) -> None:
        self._all = "*" in names
        self._any_address = any_address
        self._names = {_host_name(name) for name in names if name != "*"} | {LOOPBACK_NAME}
        self._cached_check = lru_cache(maxsize=256)(self._check)  # callers send few different ones

    @classmethod
    def of_server(cls, host: str, address: str, more: Sequence[str]) -> AllowedHosts:
        """The hosts of a server that listens at ``host``, which resolved to ``address``.

        Allowed are loopback names, ``host``, and ``more`` (every ``--allowed-host``). If the server
        listens at all addresses of the machine, every address is allowed.
        """
        everywhere = ipaddress.ip_address(address.partition("%")[0]).is_unspecified
        own = [] if everywhere else [host, address.partition("%")[0]]
        return cls([*own, *more], any_address=everywhere)

    def refuse(self, host: bytes) -> RequestError | None:
        """The error for this value of the header, or None."""
        problem = (
            (400, "the Host is too long")
            if len(host) > MAX_HOST_BYTES
            else self._cached_check(host)
        )
        return None if problem is None else RequestError(*problem)

    def _check(self, host: bytes) -> tuple[int, str] | None:
        text = host.decode("latin-1").strip().lower()
        match = _HOST.fullmatch(text)
        if match is None:
            return 400, "the Host header has no host"
        name = match[1]
        if self._all or name in self._names or self._allows_address(name):
            return None
        return 421, f"{name} is not a name of this server; --allowed-host {name} adds it"

    def _allows_address(self, name: str) -> bool:
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return address.is_loopback or self._any_address or str(address) in self._names


def _host_name(given: str) -> str:
    """The form of a host that ``AllowedHosts`` compares. Raises UsageError if it isn't a host."""
    name = given.strip().lower()
    try:
        return str(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        pass
    match = _HOST.fullmatch(name)
    if match is None:
        hint = "a name or address without scheme and path, or *"
        raise UsageError(f"--allowed-host {given!r} is not a host", hint=hint)
    return match[1]
