"""For plugin authors' tests: checks of what the kernel expects, fakes, and a campaign within one process.

Importing this needs no pytest. Where it is installed, its fixtures ``fake_session`` and ``fake_trial`` are there by themselves;
that is why names are imported only when they are asked for: every run of pytest starts this package.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bounds import check_honours_cancel, check_honours_deadline
    from .clock import FakeClock
    from .conformance import (
        check_benchmark,
        check_collector,
        check_composer,
        check_driver,
        check_executor,
        check_fault,
        check_probe,
        check_reader,
        check_reporter,
    )
    from .fakes import FakeProcess, FakeSession, FakeTrial, Hang, Said, fake_trial, later, local_session, node
    from .harness import run_campaign
    from .hooks import check_cleanup, check_hooks
    from .material import PLANTED, deployed, results

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
_ELSEWHERE = {
    **dict.fromkeys(_FAKES, "fakes"),
    **dict.fromkeys(("check_honours_cancel", "check_honours_deadline"), "bounds"),
    **dict.fromkeys(("check_cleanup", "check_hooks"), "hooks"),
    **dict.fromkeys(("PLANTED", "deployed", "results"), "material"),
    "FakeClock": "clock",
    "run_campaign": "harness",
}
"""Where a name is, if not in ``conformance``."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_ELSEWHERE.get(name, 'conformance')}", __name__)
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return __all__
