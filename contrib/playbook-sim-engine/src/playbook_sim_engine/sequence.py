"""One prompt on its way through the scheduler."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """What receives a sequence's tokens."""

    def on_tokens(self, sequence: Sequence, count: int, *, finished: bool) -> None:
        """`count` new tokens were made; `finished` comes with the last of them."""
        ...


class Sequence:
    """A prompt, what it may generate, and how far it is. Times are the loop's clock, in seconds.

    `limit` is the number of tokens it generates. `prefill_left` counts the tokens still to be computed; a sequence
    whose KV came from a prefill peer starts with none.
    """

    __slots__ = (
        "admitted", "arrived", "done", "first", "generated", "index", "last", "limit", "prefill_left",
        "prompt_tokens", "sink", "ticket",
    )  # fmt: skip

    def __init__(self, sink: Sink, index: int, prompt_tokens: int, to_prefill: int, limit: int, arrived: float) -> None:
        self.sink = sink
        self.index = index
        self.prompt_tokens = prompt_tokens
        self.prefill_left = to_prefill
        self.limit = limit
        self.generated = 0
        self.arrived = arrived
        self.admitted = -1.0
        self.first = -1.0
        self.last = -1.0
        self.done = False
        self.ticket = 0

    @property
    def kv_tokens(self) -> int:
        """Tokens of KV cache it holds while it runs."""
        return self.prompt_tokens + self.generated

    def preempted(self) -> None:
        """Forget the KV: prompt and generated tokens must be computed anew."""
        self.prefill_left = self.kv_tokens
