"""Lets a local docker client run on a session: a stub passes us its arguments, and gets back what the node says."""

from __future__ import annotations

import contextlib
import contextvars
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from playbook_kernel.api import PlaybookError, Session

_SECONDS = 1800.0
_FAILED = 125
_PIPES = ("words", "out", "err", "status")

# A shell and two `cat` start in a tenth of the time that an interpreter needs.
_STUB = """d=$1; shift
printf '%s\\0' "$@" >"$d/words"
cat "$d/out" & cat "$d/err" >&2 &
read -r status <"$d/status"
wait
exit "$status"
"""


@contextlib.contextmanager
def relayed(session: Session) -> Iterator[list[str]]:
    """Give the words that stand for ``docker`` on the session's node, as long as the block runs; one call at a time."""
    folder = Path(tempfile.mkdtemp(prefix="playbook-relay-"))
    for name in _PIPES:
        os.mkfifo(folder / name, 0o600)
    work = contextvars.copy_context().run
    server = threading.Thread(target=work, args=(_serve, folder, session), daemon=True, name="relay")
    server.start()
    try:
        yield ["/bin/sh", "-c", _STUB, "docker", str(folder)]
    finally:
        _release(folder, server)
        shutil.rmtree(folder, ignore_errors=True)


def _release(folder: Path, server: threading.Thread) -> None:
    """Open every pipe from the other side, so that the server, wherever it waits for one, goes on to its end."""
    for _ in range(100):
        for name in _PIPES:
            os.close(os.open(folder / name, os.O_RDWR | os.O_NONBLOCK))
        server.join(0.01)
        if not server.is_alive():
            return


def _serve(folder: Path, session: Session) -> None:
    with contextlib.suppress(OSError):  # the folder went: nobody waits any more
        while words := (folder / "words").read_bytes():
            status = _FAILED
            with (folder / "out").open("wb", 0) as out, (folder / "err").open("wb", 0) as err:
                try:
                    status = _run(
                        session, ["docker", *words.decode("utf-8", "surrogateescape").split("\0")[:-1]], out, err
                    )
                except (PlaybookError, ValueError) as error:
                    _write(err, f"{error}\n".encode())
            (folder / "status").write_text(f"{status}\n")


def _run(session: Session, words: list[str], out: BinaryIO, err: BinaryIO) -> int:
    """Run one client's command; its standard input is not used by any command that Compose is asked for here."""
    with session.start(words, timeout=_SECONDS) as process:
        for pipe, piece in process.chunks():
            _write(out if pipe == "stdout" else err, piece)
        return process.wait()


def _write(file: BinaryIO, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[file.write(data) :]
