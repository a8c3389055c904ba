"""What signals do to a campaign: the first one stops it in good order, the second one leaves at once."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from attrs import define, field

from playbook_kernel.scope import Cancel

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@define(eq=False)
class Interrupts:
    """While :meth:`watched`, a signal raises ``cancel`` of the run in ``folder``.

    ``code``: the exit status that the first one asks for, or 0.
    """

    folder: Path
    cancel: Cancel = field(factory=Cancel)
    code: int = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Handle signals within the block; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in CODES}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: object) -> None:
        code = CODES[signal.Signals(number)]
        if self.code:
            self._leave(code)
        self.code = code
        name = signal.Signals(number).name
        _say(f"\n{name}: stopping, then collecting and cleaning up (again to leave at once)\n")
        # Watchers take locks that the interrupted code may hold, so they run on a thread of their own.
        threading.Thread(target=functools.partial(self.cancel.set, f"interrupted by {name}"), daemon=True).start()

    def _leave(self, code: int) -> NoReturn:
        _say(
            f"\nleaving at once; what may be left is cleaned up by:\n  playbook-kernel cleanup {shlex.quote(str(self.folder))}\n"
        )
        os._exit(code)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be what has gone
        os.write(2, text.encode())
