"""Lets a local docker client run on a session: a stub passes its arguments and its open files to us over a socket."""

from __future__ import annotations

import array
import contextlib
import contextvars
import json
import os
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from playbook_kernel.api import PlaybookError, Session

STUB = Path(__file__).with_name("relay_stub.py")
_SECONDS = 1800.0
_FAILED = 125


@contextlib.contextmanager
def relayed(session: Session) -> Iterator[list[str]]:
    """Give the words that stand for ``docker`` on the session's node, as long as the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="playbook-relay-"))
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o600)
        server.listen(16)
        context = contextvars.copy_context()

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                work = context.copy().run
                threading.Thread(target=work, args=(_serve, connection, session), daemon=True, name="relay").start()

        threading.Thread(target=accept, daemon=True, name="relay-accept").start()
        try:
            yield [sys.executable, "-I", "-S", str(STUB), str(path), "docker"]
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
    path.unlink(missing_ok=True)
    folder.rmdir()


def _serve(connection: socket.socket, session: Session) -> None:
    """Run one client's command; its standard input is not used by any command that Compose is asked for here."""
    status = _FAILED
    files: list[int] = []
    try:
        data, files = _received(connection)
        _, stdout, stderr = files
        with session.start(json.loads(data), timeout=_SECONDS) as process:
            for pipe, piece in process.chunks():
                _write(stdout if pipe == "stdout" else stderr, piece)
            status = process.wait()
    except (PlaybookError, OSError, ValueError) as error:
        if len(files) == 3:
            _write(files[2], f"{error}\n".encode())
    finally:
        for file in files:
            os.close(file)
        with contextlib.suppress(OSError):
            connection.sendall(str(status).encode())
        connection.close()


def _received(connection: socket.socket) -> tuple[bytes, list[int]]:
    files = array.array("i")
    data, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(3 * files.itemsize))
    for level, kind, raw in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            files.frombytes(raw[: len(raw) - len(raw) % files.itemsize])
    (size,) = struct.unpack(">I", data[:4])
    while len(data) < 4 + size:
        data += connection.recv(65536)
    return data[4:], list(files)


def _write(file: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(file, data) :]
