"""``webui``: the earlier name of serve."""

from __future__ import annotations

from .serve import command

__all__ = ["command"]
