"""What the checks of sessions have in common: how a promise is told, and waiting for what takes its time."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec, TypeVar

from playbook_kernel.errors import NodeError, OutcomeUnknown, PlaybookError
from playbook_kernel.scope import current
from playbook_kernel.session import Process, Session

E = TypeVar("E", bound=BaseException)
Opened = Callable[[], Session]
_P = ParamSpec("_P")
MIB = 1024 * 1024
_PATIENCE = 20.0


def promise(check: Callable[_P, None]) -> Callable[_P, None]:
    """A complaint begins with what was promised: a bare assertion says nothing where no test runner rewrites it."""

    @functools.wraps(check)
    def told(*args: _P.args, **named: _P.kwargs) -> None:
        try:
            check(*args, **named)
        except (AssertionError, PlaybookError, OSError) as error:
            raise AssertionError(f"this is not so: {check.__doc__}\n{error}".strip()) from error

    return told


def raised(call: Callable[[], object], *kinds: type[E]) -> E:
    wanted, came = " or ".join(k.__name__ for k in kinds), list[object]()

    def work() -> None:
        try:
            came.append(call())
        except BaseException as error:  # noqa: BLE001 - looked at below
            came.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    assert came, f"expected {wanted}, and it goes on"
    if isinstance(came[0], kinds):
        return came[0]
    if isinstance(came[0], BaseException):
        raise AssertionError(f"expected {wanted}, and it raised {came[0]!r}") from came[0]
    raise AssertionError(f"expected {wanted}, and it returned {came[0]!r}")


@contextlib.contextmanager
def folder_on(session: Session) -> Iterator[str]:
    folder = session.run(["mktemp", "-d", "/tmp/playbook-check.XXXXXX"]).text.strip()  # noqa: S108 - on the node
    try:
        yield folder
    finally:
        with contextlib.suppress(NodeError, OutcomeUnknown):
            session.run(["rm", "-rf", "--", folder], check=False)


def sent(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # what came back tells
        sock.sendall(data)


def numbers(process: Process) -> list[int]:
    """The numbers in the first line of its output, which stays readable."""
    text = b""
    for pipe, data in process.chunks():
        text += data if pipe == "stdout" else b""
        if b"\n" in text:
            return [int(n) for n in text.split()]
    raise AssertionError(f"it ended and said {text!r}")


def drained(process: Process) -> None:
    for _ in process.chunks():
        pass
    process.wait()


def gone(session: Session, pids: list[int]) -> None:
    look = 'for p in "$@"; do if read -r a b s c </proc/$p/stat && [ "$s" != Z ]; then echo "$p"; fi; done 2>/dev/null'
    until(lambda: not session.run(["sh", "-c", f"{look}; :", "-", *pids]).text, f"some of {pids} still run")


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        current().sleep(0.02)


def all_well(results: Sequence[object]) -> None:
    bad = [r for r in results if isinstance(r, BaseException)]
    assert not bad, f"{len(bad)} failed: {bad[0]!r}"
