"""Faults that an engine shows on demand."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from playbook_sim_engine.options import OptionError, convert, option


@dataclass(frozen=True)
class Faults:
    """What goes wrong, all off by default. A rate is the fraction of requests that the fault hits."""

    fail_rate: float = option(0.0, "fraction of requests answered with an error", low=0, high=1)
    fail_status: int = option(500, "status of those errors; 429 and 503 carry Retry-After", low=400, high=599)
    stall_rate: float = option(0.0, "fraction of streams that fall silent", low=0, high=1)
    stall_after_tokens: int = option(5, "after so many tokens", low=0)
    stall_s: float = option(0.0, "for so long; 0 is for ever", low=0)
    cut_rate: float = option(0.0, "fraction of streams whose connection is cut", low=0, high=1)
    cut_after_tokens: int = option(5, "after so many tokens", low=0)
    unhealthy_after_s: float = option(0.0, "/health answers 503 from then on; 0 never", low=0)
    exit_after_s: float = option(0.0, "the process exits then; 0 never", low=0)
    exit_after_requests: int = option(0, "the process exits when so many requests have come in; 0 never", low=0)
    exit_code: int = option(1, "with this status", low=0, high=255)
    leak_mb_s: float = option(0.0, "memory that leaks, in MiB/s", low=0)
    ignore_sigterm: bool = option(default=False, text="SIGTERM is ignored")
    health_delay_s: float = option(0.0, "/health answers only after this", low=0)
    drop_kv_rate: float = option(0.0, "prefill: fraction of KV transfers cut half way", low=0, high=1)
    corrupt_kv_rate: float = option(0.0, "prefill: fraction of KV transfers with a wrong byte", low=0, high=1)
    garbage_rate: float = option(0.0, "fraction of streams with an event that is not JSON", low=0, high=1)
    error_event_rate: float = option(0.0, "fraction of streams that end in an error event", low=0, high=1)
    no_done: bool = option(default=False, text="streams end without [DONE]")
    no_usage: bool = option(default=False, text="no usage in any answer")
    crlf: bool = option(default=False, text="SSE lines end in CRLF")
    comments: bool = option(default=False, text="a keep-alive comment before every event")
    split_bytes: int = option(0, "streams are written in pieces of so many bytes; 0 whole", low=0)
    crash_at_start: bool = option(default=False, text="the process ends with an error before it listens")

    def with_changes(self, changes: Mapping[str, Any]) -> Faults:
        """Return these faults with some set anew.

        Raises OptionError for an unknown name or an unusable value.
        """
        fields = {field.name: field for field in dataclasses.fields(self)}
        unknown = sorted(set(changes) - set(fields))
        if unknown:
            raise OptionError(f"unknown fault {', '.join(unknown)}; known: {', '.join(fields)}")
        return dataclasses.replace(self, **{k: convert(fields[k], v, k) for k, v in changes.items()})

    @property
    def on_streams(self) -> bool:
        """Whether any fault touches how a stream is written."""
        return bool(
            self.stall_rate or self.cut_rate or self.garbage_rate or self.error_event_rate
            or self.no_done or self.crlf or self.comments or self.split_bytes
        )  # fmt: skip


class FaultDice:
    """Decides, reproducibly from a seed, which requests a rate hits."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing secret hangs on it

    def hits(self, rate: float) -> bool:
        return rate > 0 and (rate >= 1 or self._random.random() < rate)
