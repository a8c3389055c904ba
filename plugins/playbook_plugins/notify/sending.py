"""The thread that sends while the campaign goes on, and the sending of what came of it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, field
from playbook_kernel.api import CampaignResult, Reporter, run_all

from .message import Message, of_result
from .options import Options, Target

FLUSH = 20.0
TOTAL = 60.0
_MOST_WAITING = 1000


@define(eq=False)
class Queue:
    """Messages on their way; what does not fit any more is dropped, and said to be."""

    _waiting: queue.Queue[tuple[Target, Message, Any]] = field(factory=lambda: queue.Queue(_MOST_WAITING))
    _thread: threading.Thread | None = None
    _lock: threading.Lock = field(factory=threading.Lock)
    _hurry: threading.Event = field(factory=threading.Event)

    def put(self, target: Target, message: Message, log: Any) -> None:
        """Hand a message over; returns at once."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait((target, message, log))
        except queue.Full:
            log.warning("a notification was dropped: too many are waiting", notification=message.event)

    def flush(self, seconds: float) -> bool:
        """Wait until all is sent, or given up; False: some of it is still waiting after so many seconds."""
        until = time.monotonic() + seconds
        with self._waiting.all_tasks_done:
            while self._waiting.unfinished_tasks:
                left = until - time.monotonic()
                if left <= 0:
                    self._hurry.set()
                    return False
                self._waiting.all_tasks_done.wait(left)
        return True

    def _work(self) -> None:
        from .deliver import (
            NotDelivered,
            address,
            deliver,
        )  # mail, TLS and HTTP: not for a trial's process, which loads every hook

        while True:
            target, message, log = self._waiting.get()
            try:
                deliver(target, message, self._hurry.wait)
            except NotDelivered as error:
                log.warning("a notification was not delivered", notification=message.event, error=str(error))
            except Exception as error:  # noqa: BLE001 - the thread must live on for the next message
                told = f"{address(target)}: {type(error).__name__}"
                log.warning("a notification failed", notification=message.event, error=told)
            finally:
                self._waiting.task_done()


QUEUE = Queue()


class NotifyReporter(Reporter[Options]):
    """Holds the settings of notifications; the hook of the same name sends them. It writes no file."""

    renders: ClassVar[bool] = False
    """`report` does not offer it."""

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        return []


def send_result(options: Options, result: CampaignResult) -> list[str]:
    """Tell everybody who wants to know what came of a campaign; returns whom that failed for, and why.

    What was queued before is given some time to go first.
    """
    from .deliver import deliver

    late = not QUEUE.flush(FLUSH)
    message = of_result(result)
    targets = [t for t in options.targets() if message.event in t.events]
    until = time.monotonic() + TOTAL

    def pause(seconds: float) -> bool:
        left = until - time.monotonic()
        time.sleep(max(0.0, min(seconds, left)))
        return left <= seconds

    done = run_all([lambda t=t: deliver(t, message, pause) for t in targets])  # type: ignore[misc]
    failures = [str(d) for d in done if isinstance(d, BaseException)]
    return [*failures, "earlier notifications were still waiting"] if late else failures
