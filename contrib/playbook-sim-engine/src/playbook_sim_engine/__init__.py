"""A simulated LLM inference engine: OpenAI's API with a known timing, P/D disaggregation and faults on demand."""

from __future__ import annotations

__version__ = "0.1.0"
