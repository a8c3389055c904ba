"""AICP: a load generator that says how true its numbers are."""

from __future__ import annotations

from typing import Any

__all__ = ["AicpBenchmark"]


def __getattr__(name: str) -> Any:
    """Import the driver only when it is asked for: a load process must start at once."""
    if name == "AicpBenchmark":
        from .driver import AicpBenchmark

        return AicpBenchmark
    raise AttributeError(name)
