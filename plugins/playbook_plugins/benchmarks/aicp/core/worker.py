"""One process of a load: `python -m ...core.worker FOLDER SHARE`.

It opens its connections, says ``ready N`` on its standard output, and starts at the monotonic nanosecond that the line
``go NS`` on its standard input names. The end of its input stops it, and so do SIGTERM and SIGINT.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from . import plan as plans
from .clock import sharpen_timers
from .dispatch import Dispatcher
from .load import Load
from .spool import Spool


class Engine(Protocol):
    """What drives connections."""

    def connect(self, count: int) -> int: ...

    def run(self, dispatcher: Dispatcher, start: int) -> Load: ...

    def close(self) -> None: ...


def build(plan: plans.Plan, spool: Spool, controls: Sequence[int]) -> Engine:
    """The engine that the plan names; raises ImportError if uvloop is named and not there."""
    if plan.settings.engine == "uvloop":
        module = importlib.import_module(f"{(__package__ or '').rpartition('.')[0]}.engine_uvloop")
        engine: Engine = module.UvloopEngine(plan, spool, controls)
        return engine
    from .epoll import EpollEngine

    return EpollEngine(plan, spool, controls)


def spool_of(folder: Path, share: int) -> Path:
    """Where the worker of a share records."""
    return folder / f"spool-{share}.bin"


def run(folder: Path, share: int) -> int:
    """Run one share; 0, or 1 if the record could not be written."""
    plan = plans.read(folder)
    sharpen_timers()
    inside, outside = os.pipe()

    def stop(*_: Any) -> None:
        os.write(outside, b"x")

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    spool = Spool(spool_of(folder, share))
    engine = build(plan, spool, (inside, 0))
    parts = plan.settings.processes
    wanted = plan.settings.connections
    opened = engine.connect(wanted // parts + (share < wanted % parts))
    sys.stdout.write(f"ready {opened}\n")
    sys.stdout.flush()
    line = sys.stdin.readline().split()
    if len(line) != 2 or line[0] != "go":
        return 1
    start = int(line[1])
    dispatcher = Dispatcher(plan, share, start)
    load = engine.run(dispatcher, start)
    engine.close()
    spool.note(end=True, share=share, start=start, wrapped=dispatcher.wrapped, broken=spool.broken, **load.summary())
    spool.close()
    return 1 if spool.broken else 0


def main(argv: list[str]) -> int:
    return run(Path(argv[1]), int(argv[2]))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
