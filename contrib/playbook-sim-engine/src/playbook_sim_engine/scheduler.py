"""Continuous batching on an absolute clock: who runs, who waits, and when tokens leave.

Events are planned from the planned time of the event before, never from the time at which a late callback ran, so
lateness of the machine does not add up. Only when the machine is more than `_RESYNC` late is the plan moved.
"""

from __future__ import annotations

import asyncio
import heapq
from abc import ABC, abstractmethod
from collections import deque

from playbook_sim_engine.metrics import EngineMetrics
from playbook_sim_engine.sequence import Sequence
from playbook_sim_engine.settings import Settings
from playbook_sim_engine.timing import TimingModel

_RESYNC = 1.0


class Scheduler(ABC):
    """Admission, KV capacity and accounting; a subclass decides how time passes for those running."""

    def __init__(self, settings: Settings, metrics: EngineMetrics, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._metrics = metrics
        self._timing = TimingModel.of(settings)
        self._tokens_per_step = settings.tokens_per_chunk
        self._max_num_seqs = settings.max_num_seqs
        self._kv_capacity = settings.kv_capacity_tokens or float("inf")
        self._waiting: deque[Sequence] = deque()
        self._running: dict[Sequence, None] = {}  # a dict keeps the order of admission and removes in O(1)
        self._kv_used = 0

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def kv_usage(self) -> float:
        """Fraction of the KV cache in use; 0 when there is no limit."""
        return self._kv_used / self._kv_capacity

    def submit(self, sequence: Sequence) -> None:
        """Let the sequence wait for its turn."""
        self._waiting.append(sequence)
        self._wake()

    def cancel(self, sequence: Sequence) -> None:
        """Free the sequence's slot at once; nothing more comes out of it. Does nothing when it is done."""
        if sequence.done:
            return
        sequence.done = True
        self._metrics.finished["abort"].value += 1
        if sequence in self._running:
            self._release(sequence)
            self._wake()
        else:
            self._waiting.remove(sequence)

    def hold(self, tokens: int) -> None:
        """Keep KV of a finished sequence (negative: let it go), as a prefill engine does until it is pulled."""
        self._kv_used += tokens
        if tokens < 0:
            self._wake()

    @abstractmethod
    def _wake(self) -> None:
        """Something may be able to run now."""

    def _admit(self, now: float) -> list[Sequence]:
        admitted = []
        while self._waiting and len(self._running) < self._max_num_seqs:
            sequence = self._waiting[0]
            if self._kv_used + sequence.kv_tokens + 1 > self._kv_capacity and self._kv_used:
                break
            self._waiting.popleft()
            self._running[sequence] = None
            self._kv_used += sequence.kv_tokens
            if sequence.admitted < 0:
                sequence.admitted = max(now, sequence.arrived)
                self._metrics.queue.observe(sequence.admitted - sequence.arrived)
            admitted.append(sequence)
        return admitted

    def _release(self, sequence: Sequence) -> None:
        del self._running[sequence]
        self._kv_used -= sequence.kv_tokens

    def _make_room(self, sequence: Sequence, tokens: int) -> bool:
        """Preempt the youngest others until `tokens` more fit; say whether `sequence` itself still runs."""
        while self._kv_used + tokens > self._kv_capacity and self._running:
            victim = next(reversed(self._running))
            if victim is sequence and len(self._running) == 1:
                break
            self._release(victim)
            victim.preempted()
            self._waiting.appendleft(victim)
            self._metrics.preemptions.value += 1
            if victim is sequence:
                return False
        return True

    def _emit(self, sequence: Sequence, count: int, planned: float) -> bool:
        """Give the sequence up to `count` new tokens, due at `planned`; say whether it goes on."""
        if sequence.done or sequence not in self._running:
            return False
        count = min(count, sequence.limit - sequence.generated)
        if self._kv_used + count > self._kv_capacity and not self._make_room(sequence, count):
            return False
        metrics = self._metrics
        if sequence.first < 0:
            sequence.first = planned
            metrics.ttft.observe(planned - sequence.arrived)
            metrics.prompt_tokens.value += sequence.prompt_tokens
        else:
            metrics.tpot.observe((planned - sequence.last) / count, count)
        sequence.last = planned
        sequence.generated += count
        self._kv_used += count
        metrics.generation_tokens.value += count
        finished = sequence.generated >= sequence.limit
        if finished:
            sequence.done = True
            self._release(sequence)
            metrics.e2e.observe(planned - sequence.arrived)
        sequence.sink.on_tokens(sequence, count, finished=finished)
        metrics.lag.observe(self._loop.time() - planned)
        return not finished


class BatchedScheduler(Scheduler):
    """One step for all: every running sequence decodes and waiting prompts are prefilled in the rest of the budget."""

    def __init__(self, settings: Settings, metrics: EngineMetrics, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(settings, metrics, loop)
        self._budget = settings.max_num_batched_tokens
        self._stepping = False

    def _wake(self) -> None:
        if not self._stepping and (self._running or self._waiting):
            self._stepping = True
            # Not at once: requests that arrive in the same turn of the loop belong to the same step.
            self._loop.call_soon(self._start, self._loop.time())

    def _start(self, start: float) -> None:
        self._admit(start)
        decoding = [s for s in self._running if not s.prefill_left]
        budget = max(1, self._budget - len(decoding) * self._tokens_per_step)
        tokens = 0
        prefilled: list[tuple[Sequence, int]] = []
        for sequence in self._running:
            if tokens >= budget:
                break
            if sequence.prefill_left:
                share = min(sequence.prefill_left, budget - tokens)
                tokens += share
                prefilled.append((sequence, share))
        if not decoding and not prefilled:
            self._stepping = False  # everybody left, or the KV cache is held by blocks not pulled yet
            return
        planned = start + self._timing.step(len(decoding))
        if prefilled:
            planned += self._timing.prefill(tokens)
        self._loop.call_at(planned, self._finish, planned, decoding, prefilled)

    def _finish(self, planned: float, decoding: list[Sequence], prefilled: list[tuple[Sequence, int]]) -> None:
        for sequence in decoding:
            self._emit(sequence, self._tokens_per_step, planned)
        for sequence, share in prefilled:
            if sequence in self._running:
                sequence.prefill_left -= share
                if not sequence.prefill_left:
                    self._emit(sequence, 1, planned)
        now = self._loop.time()
        self._start(planned if now - planned < _RESYNC else now)


class PacedScheduler(Scheduler):
    """Every sequence on its own clock: prefills do not disturb each other, a step is as long as the batch is large.

    For measuring clients: what a stream should look like is known from the settings alone.
    """

    def __init__(self, settings: Settings, metrics: EngineMetrics, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(settings, metrics, loop)
        self._due: list[tuple[float, int, Sequence]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._in_turn = False

    def _wake(self) -> None:
        now = self._loop.time()
        for sequence in self._admit(now):
            prefill = self._timing.prefill(sequence.prefill_left) if sequence.prefill_left else None
            start = max(sequence.arrived, sequence.admitted) if sequence.first < 0 else now
            sequence.prefill_left = 0
            self._plan(start + (self._timing.step(self.running) if prefill is None else prefill), sequence)
        if not self._in_turn:
            self._arm()

    def _plan(self, when: float, sequence: Sequence) -> None:
        self._count += 1
        sequence.ticket = self._count  # what was planned for it before a preemption no longer counts
        heapq.heappush(self._due, (when, self._count, sequence))

    def _arm(self) -> None:
        if self._due and (self._timer is None or self._due[0][0] < self._timer.when()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._due[0][0], self._turn)

    def _turn(self) -> None:
        self._timer = None
        self._in_turn = True
        now = self._loop.time()
        while self._due and self._due[0][0] <= now:
            planned, ticket, sequence = heapq.heappop(self._due)
            count = 1 if sequence.first < 0 else self._tokens_per_step
            if ticket == sequence.ticket and self._emit(sequence, count, planned):
                base = planned if now - planned < _RESYNC else now
                self._plan(base + self._timing.step(self.running), sequence)
        self._in_turn = False
        self._wake()


def new_scheduler(settings: Settings, metrics: EngineMetrics, loop: asyncio.AbstractEventLoop) -> Scheduler:
    """Make the scheduler that the settings name."""
    kind = PacedScheduler if settings.scheduling == "paced" else BatchedScheduler
    return kind(settings, metrics, loop)
