"""For plugin authors' tests: checks of what the kernel expects, fakes, and a campaign within one process.

Importing this needs no pytest. Where it is installed, its fixtures ``fake_session`` and ``fake_trial`` are there by themselves.
"""

from .conformance import (
    PLANTED,
    check_benchmark,
    check_cleanup,
    check_collector,
    check_composer,
    check_driver,
    check_honours_cancel,
    check_honours_deadline,
    check_hooks,
    check_probe,
    check_reader,
    check_reporter,
    deployed,
    results,
)
from .fakes import FakeProcess, FakeSession, FakeTrial, Hang, Said, fake_trial, later, node
from .harness import run_campaign

__all__ = [
    "PLANTED",
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
    "check_honours_cancel",
    "check_honours_deadline",
    "check_hooks",
    "check_probe",
    "check_reader",
    "check_reporter",
    "deployed",
    "fake_trial",
    "later",
    "node",
    "results",
    "run_campaign",
]
