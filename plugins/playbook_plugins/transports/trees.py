"""Folders as one stream, through tar processes: ten times faster than tarfile, and careful about where files land."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from playbook_kernel.api import TransferFailed, current

PIECE = 256 * 1024
_ROOM = 1024 * 1024
"""Bytes in a pipe: with the usual 64 KiB, both ends wait for one another all the time."""

PACK = '[ -d "$1" ] || { echo "there is no such directory" >&2; exit 66; }; exec tar -C "$1" -c -f - .'
"""Shell: write the contents of the folder ``$1``."""

UNPACK = 'mkdir -p -- "$1" && exec tar -C "$1" -x --no-same-owner -f -'
"""Shell: read them into the folder ``$1``, which is made if it is missing."""


class Tar:
    """A tar process on this machine."""

    def __init__(self, popen: subprocess.Popen[bytes], node: str, what: str) -> None:
        self._popen, self._node, self._what = popen, node, what
        self._said: list[bytes] = []
        self._drain = threading.Thread(target=self._listen, daemon=True)
        self._drain.start()

    def _listen(self) -> None:
        assert self._popen.stderr is not None
        self._said.append(self._popen.stderr.read())

    def listened(self) -> None:
        """Wait until all that it said is here: its pipe must not be closed under the reader."""
        self._drain.join(5.0)

    def read(self) -> bytes:
        """The next piece of the stream; nothing at its end."""
        assert self._popen.stdout is not None
        return self._popen.stdout.read(PIECE)

    def write(self, data: bytes) -> None:
        """Take a piece of the stream; what comes after tar has failed is dropped."""
        stdin, view = self._popen.stdin, memoryview(data)
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):
            while view:
                view = view[stdin.write(view) :]

    def finish(self) -> None:
        """Let it end. Raises TransferFailed."""
        if self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.close()
        try:
            status = self._popen.wait(current().timeout(60))
        except subprocess.TimeoutExpired as error:
            raise TransferFailed(self._node, f"{self._what}: tar did not end") from error
        current().check()
        self.listened()
        if status:
            text = b"".join(self._said).decode("utf-8", "replace").strip().splitlines()
            raise TransferFailed(self._node, f"{self._what}: {text[0] if text else f'tar exited {status}'}")


@contextlib.contextmanager
def _running(argv: list[str], node: str, what: str, *, feed: bool) -> Iterator[Tar]:
    """A tar that does not outlive the block; cancelling the scope ends it."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv, stdin=pipe if feed else subprocess.DEVNULL, stdout=None if feed else pipe, stderr=pipe, bufsize=0
    ) as popen:
        for stream in (popen.stdin, popen.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # more than the system gives to one user: slower, no worse
                    fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, _ROOM)
        tar = Tar(popen, node, what)
        try:
            with current().cancel.watching(popen.kill):
                yield tar
        finally:
            if popen.poll() is None:
                popen.kill()
            popen.wait()
            tar.listened()


@contextlib.contextmanager
def packing(folder: Path, node: str) -> Iterator[Tar]:
    """Read a folder's contents. Raises TransferFailed."""
    what = f"cannot put {folder}"
    if not folder.is_dir():
        raise TransferFailed(node, f"{what}: it is not a directory")
    with _running(["tar", "-C", str(folder), "-c", "-f", "-", "."], node, what, feed=False) as tar:
        yield tar


@contextlib.contextmanager
def unpacking(folder: Path, node: str) -> Iterator[Tar]:
    """Write into a folder; nothing can land outside of it. Raises TransferFailed."""
    what = f"cannot keep {folder}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TransferFailed(node, f"{what}: {error.strerror}") from error
    with _running(["tar", "-C", str(folder), "-x", "--no-same-owner", "-f", "-"], node, what, feed=True) as tar:
        yield tar
