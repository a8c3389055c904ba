"""A load on a node: the main program of the one file that is shipped there.

It starts the workers of a plan and tells how they do: ``started NS``, then ``seen JSON`` now and then, ``ended`` or
``failed WHY``. The end of its standard input stops the load.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import socket
import sys
from pathlib import Path

from . import plan as plans
from . import worker
from .launch import LaunchError, Workers, file_limit

_INTERVAL = 0.3
_LINE = 400


def main(argv: list[str]) -> int:
    """``FOLDER``, ``worker FOLDER SHARE``, or ``mock-server FLAGS``: what a calibration there talks to."""
    if len(argv) > 1 and argv[1] == "worker":
        return worker.main(argv[1:])
    if len(argv) > 1 and argv[1] == "mock-server":
        from . import mock

        return mock.main(argv[2:])
    folder = Path(argv[1])
    try:
        settings = resolved(folder)
        problem = file_limit(settings.open_at_once)
        if problem:
            raise LaunchError(problem)
        workers = Workers(folder, settings, [sys.executable, argv[0], "worker"])
        workers.launch()
        _say(f"started {workers.start}")
        workers.wait(_INTERVAL, lambda: _look(workers))
        _seen(workers)
    except (LaunchError, OSError) as error:
        _say(f"failed {error}")
        return 1
    _say("ended")
    return 0


def resolved(folder: Path) -> plans.Settings:
    """The plan's settings, the server's name looked up as this node does."""
    described = json.loads((folder / "plan.json").read_bytes())
    target = plans.Target(**described["settings"]["target"])
    if not target.addresses:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        target = dataclasses.replace(target, addresses=list(dict.fromkeys(str(a[4][0]) for a in found)))
        described["settings"]["target"] = dataclasses.asdict(target)
        (folder / "plan.json").write_text(json.dumps(described))
    return plans.Settings(**{**described["settings"], "target": target})


def _seen(workers: Workers) -> None:
    """Tell what ended, in lines that are short enough for any session."""
    news = workers.news()
    for at in range(0, max(1, len(news)), _LINE):
        _say("seen " + json.dumps(news[at : at + _LINE]))


def _look(workers: Workers) -> bool:
    _seen(workers)
    ready, _, _ = select.select([0], [], [], 0)
    return bool(ready) and not os.read(0, 4096)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
