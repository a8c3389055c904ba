"""What every :class:`Session` keeps, as checks for whoever writes a transport.

Each check takes ``opened``, which opens a new session to one and the same node, and ``here``, an empty folder on this
machine. The node must be a throw-away one, or this machine: processes are started there, and files are written below a
folder of its own in ``/tmp``. With pytest::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
    def test_session(check, tmp_path):
        check(lambda: MyTransport(options).connect(node, owner="pk-test"), tmp_path)

``owner`` must not be empty. Nothing here waits for a fixed time; what takes its time is asked for until it is so. A promise that
is broken is an AssertionError that says which.
"""

from __future__ import annotations

from .asking import Opened
from .commands import (
    NASTY,
    check_arguments,
    check_cancel,
    check_close,
    check_cwd,
    check_deadline,
    check_dial,
    check_environment,
    check_exit_status,
    check_input,
    check_kill,
    check_leftovers,
    check_live_output,
    check_output,
    check_threads,
)
from .files import (
    check_cancelled_transfers,
    check_failed_files,
    check_files,
    check_full_target,
    check_no_escape,
    check_replacing,
    check_trees,
)
from .portable import PORTABLE, SAYS, check_copies, check_run, check_stop

__all__ = [
    "CHECKS",
    "NASTY",
    "PORTABLE",
    "SAYS",
    "Opened",
    "check_arguments",
    "check_cancel",
    "check_cancelled_transfers",
    "check_close",
    "check_copies",
    "check_cwd",
    "check_deadline",
    "check_dial",
    "check_environment",
    "check_exit_status",
    "check_failed_files",
    "check_files",
    "check_full_target",
    "check_input",
    "check_kill",
    "check_leftovers",
    "check_live_output",
    "check_no_escape",
    "check_output",
    "check_replacing",
    "check_run",
    "check_stop",
    "check_threads",
    "check_trees",
]

CHECKS = (
    check_exit_status,
    check_output,
    check_live_output,
    check_input,
    check_arguments,
    check_environment,
    check_cwd,
    check_deadline,
    check_kill,
    check_cancel,
    check_close,
    check_leftovers,
    check_files,
    check_replacing,
    check_failed_files,
    check_trees,
    check_no_escape,
    check_threads,
    check_cancelled_transfers,
    *PORTABLE,
)
"""Those that need nothing but a session and a folder here."""
