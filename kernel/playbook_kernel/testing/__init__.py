"""For plugin authors' tests: checks of what the kernel expects, fakes, and a campaign within one process.

Importing this needs no pytest. Where it is installed, its fixtures ``fake_session`` and ``fake_trial`` are there by themselves;
that is why names are imported only when they are asked for: every run of pytest starts this package.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import FakeClock
    from .conformance import (
        PLANTED,
        check_benchmark,
        check_cleanup,
        check_collector,
        check_composer,
        check_driver,
        check_executor,
        check_fault,
        check_honours_cancel,
        check_honours_deadline,
        check_hooks,
        check_probe,
        check_reader,
        check_reporter,
        deployed,
        results,
    )
    from .fakes import FakeProcess, FakeSession, FakeTrial, Hang, Said, fake_trial, later, local_session, node
    from .harness import run_campaign

__all__ = [
    "PLANTED",
    "FakeClock",
    "FakeProcess",
    "FakeSession",
    "FakeTrial",
    "Hang",
    "Said",
    "check_benchmark",
    "check_cleanup",
    "check_collector",
    "check_composer",
    "check_driver",
    "check_executor",
    "check_fault",
    "check_honours_cancel",
    "check_honours_deadline",
    "check_hooks",
    "check_probe",
    "check_reader",
    "check_reporter",
    "deployed",
    "fake_trial",
    "later",
    "local_session",
    "node",
    "results",
    "run_campaign",
]

_FAKES = ("FakeProcess", "FakeSession", "FakeTrial", "Hang", "Said", "fake_trial", "later", "local_session", "node")
_ELSEWHERE = {"FakeClock": "clock", "run_campaign": "harness"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "fakes" if name in _FAKES else _ELSEWHERE.get(name, "conformance")
    value = globals()[name] = getattr(importlib.import_module(f".{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return __all__
