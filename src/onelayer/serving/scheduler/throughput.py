"""How fast a model reads, learned from what it has just done."""

from __future__ import annotations

MEMORY = 0.9
"""How much of what was learned before each batch still counts after it."""


class Throughput:
    """Moving averages. Guesses stand in until there is something to go by."""

    def __init__(self) -> None:
        self._tokens_read, self._characters = 1.0, 3.0
        self._tokens_run, self._seconds = 1.0, 1e-4

    def read(self, tokens: int, characters: int) -> None:
        """So many characters were cut into so many tokens, special ones and windows included."""
        self._tokens_read = MEMORY * self._tokens_read + tokens
        self._characters = MEMORY * self._characters + characters

    def ran(self, tokens: int, seconds: float) -> None:
        """A batch took so long."""
        self._tokens_run = MEMORY * self._tokens_run + tokens
        self._seconds = MEMORY * self._seconds + seconds

    def tokens(self, characters: int) -> int:
        """The tokens of a text, before it is encoded."""
        return 2 + int(characters * self._tokens_read / self._characters)

    def seconds(self, tokens: int) -> float:
        """How long the engine will be at so many tokens."""
        return tokens * self._seconds / self._tokens_run
