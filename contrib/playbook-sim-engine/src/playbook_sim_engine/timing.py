"""The timing model: how long a prefill and a decode step take. README has the same formulas in prose."""

from __future__ import annotations

import random
from dataclasses import dataclass

from playbook_sim_engine.settings import Settings


@dataclass
class TimingModel:
    """Durations in seconds; every call draws its own jitter, reproducibly from the seed."""

    prefill_base: float
    prefill_per_token: float
    decode_base: float
    decode_per_seq: float
    jitter: float
    _random: random.Random

    @classmethod
    def of(cls, settings: Settings) -> TimingModel:
        return cls(
            prefill_base=settings.prefill_base_ms / 1000,
            prefill_per_token=settings.prefill_per_token_ms / 1000,
            decode_base=settings.decode_base_ms / 1000,
            decode_per_seq=settings.decode_per_seq_ms / 1000,
            jitter=settings.jitter,
            _random=random.Random(settings.seed),  # noqa: S311 - reproducible noise
        )

    def prefill(self, tokens: int) -> float:
        """Time of one pass that prefills `tokens`, of one prompt or of several."""
        return self._noisy(self.prefill_base + self.prefill_per_token * tokens)

    def step(self, batch: int) -> float:
        """Time of one decode step of `batch` sequences; no sequences take no time."""
        return self._noisy(self.decode_base + self.decode_per_seq * batch) if batch else 0.0

    def _noisy(self, seconds: float) -> float:
        return seconds * (1 + self.jitter * self._random.uniform(-1, 1)) if self.jitter else seconds
