"""What says nothing about a node's programs, so that a fake can keep it as well."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from playbook_kernel.errors import (
    Cancelled,
    CommandFailed,
    CommandTimeout,
    PhaseTimeout,
    TransferFailed,
    Unreachable,
)
from playbook_kernel.scope import Cancel, run_all, within
from playbook_kernel.testing.fakes import Answer, Hang, Said

from .asking import MIB, Opened, promise, raised

SAYS: Mapping[str, Answer] = {
    "echo *": lambda words: " ".join(words[1:]) + "\n",
    "sh -c 'echo why*": Said(stderr="why\n", status=3),
    "sh -c 'head *": Said("\0" * (3 * MIB), "\0" * (3 * MIB)),
    "sleep *": Hang(),
    "rm -rf *": "",
}
"""What a :class:`FakeSession` must be told to say for :data:`PORTABLE`."""


@promise
def check_run(opened: Opened, here: Path) -> None:
    """A command's output and status come back whole; one that fails says so unless nobody asked."""
    with opened() as session:
        assert session.run(["echo", "a b", 1]).text == "a b 1\n"
        assert session.run(["sh", "-c", "echo why >&2; exit 3"], check=False).status == 3
        failed = raised(lambda: session.run(["sh", "-c", "echo why >&2; exit 3"]), CommandFailed)
        assert (failed.status, failed.stderr) == (3, "why\n")
        done = session.run(["sh", "-c", f"head -c {3 * MIB} /dev/zero; head -c {3 * MIB} /dev/zero >&2"], limit=2 * MIB)
        assert done.stdout == done.stderr == bytes(2 * MIB)
        assert done.truncated
        echoes = run_all([lambda n=n: session.run(["echo", n]).text for n in range(32)])  # type: ignore[misc]
        assert echoes == [f"{n}\n" for n in range(32)]


@promise
def check_stop(opened: Opened, here: Path) -> None:
    """Its own limit, the scope's, a cancellation and a kill each end a command; what is closed starts none."""
    with opened() as session:
        raised(lambda: session.run(["sleep", "1000"], timeout=0.2), CommandTimeout)
        with within(seconds=0.2):
            raised(lambda: session.run(["sleep", "1000"]), CommandTimeout, PhaseTimeout)
        cancel = Cancel()
        with within(cancel=cancel):
            threading.Timer(0.1, cancel.set, ["enough"]).start()
            raised(lambda: session.run(["sleep", "1000"]), Cancelled)
            raised(lambda: session.run(["echo"]), Cancelled)
        process = session.start(["sleep", "1000"], timeout=60)
        process.kill()
        process.kill()
        session.close()
        session.close()
        raised(lambda: session.run(["echo"]), Unreachable)


@promise
def check_copies(opened: Opened, here: Path) -> None:
    """Files and folders come back as they were sent; what is not there fails by name, and changes nothing."""
    folder, data = f"/tmp/playbook-check.{os.urandom(6).hex()}", os.urandom(5000)  # noqa: S108 - on the node
    (here / "tree" / "sub").mkdir(parents=True)
    (here / "tree" / "sub" / "a b").write_bytes(data)
    with opened() as session:
        try:
            session.put(here / "tree" / "sub" / "a b", f"{folder}/one")
            session.put_bytes(data, f"{folder}/two", mode=0o600)
            for name in ("one", "two"):
                assert session.get(f"{folder}/{name}", here / "in" / name) == len(data)
                assert (here / "in" / name).read_bytes() == data
            assert session.get(f"{folder}/one", here / "tail", limit=10) == 10
            assert (here / "tail").read_bytes() == data[-10:]
            session.put_tree(here / "tree", f"{folder}/tree")
            session.get_tree(f"{folder}/tree", here / "back")
            assert (here / "back" / "sub" / "a b").read_bytes() == data
            raised(lambda: session.put(here / "missing", f"{folder}/one"), TransferFailed)
            raised(lambda: session.put_tree(here / "missing", f"{folder}/tree"), TransferFailed)
            raised(lambda: session.get(f"{folder}/missing", here / "tail"), TransferFailed)
            raised(lambda: session.get_tree(f"{folder}/missing", here / "back"), TransferFailed)
            assert session.get(f"{folder}/one", here / "again") == len(data)
            assert (here / "tail").read_bytes() == data[-10:]
        finally:
            session.run(["rm", "-rf", folder])


PORTABLE = (check_run, check_stop, check_copies)
"""Those of :data:`CHECKS` that say nothing about a node's programs, so that a fake can keep them as well."""
