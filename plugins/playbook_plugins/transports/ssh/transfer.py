"""Files as streams through ``cat`` and ``tar``: never SFTP, which is five times slower. Verified, and moved into place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from playbook_kernel.api import Process, TransferFailed

from playbook_plugins.parts import beside
from playbook_plugins.transports.trees import PACK, PIECE, UNPACK, packing, unpacking

if TYPE_CHECKING:
    from .session import SshSession

_SECONDS = 24 * 3600.0

# What is on its way is protected by SSH itself; what can go missing is the end, to a full disk or a file that changes. So
# lengths are compared, which costs nothing, where a checksum would halve the speed.

# $1 the target, $2 the part beside it, $3 its length, $4 the mode. A directory is never replaced.
_RECEIVE = """\
if [ -d "$1" ]; then echo "a directory of that name is there" >&2; exit 73; fi
trap 'rm -f -- "$2"' EXIT
trap 'exit 74' TERM HUP INT
mkdir -p -- "$(dirname -- "$1")" && umask 077 && cat >"$2" || exit 74
n=$(wc -c <"$2")
[ "$n" -eq "$3" ] || { echo "$n of $3 bytes arrived" >&2; exit 75; }
chmod "$4" -- "$2" && mv -fT -- "$2" "$1"
"""

# $1 the file, $2 how much of its end at most, or -. The first line of stdout says how much will come at least.
_SEND = """\
[ -f "$1" ] || { echo "there is no such file" >&2; exit 66; }
n=$(wc -c <"$1") || exit 66
[ "$2" = - ] || [ "$n" -le "$2" ] || n=$2
echo "$n"
if [ "$2" = - ]; then exec cat -- "$1"; else tail -c "$2" -- "$1" | head -c "$2"; fi
"""


def put(session: SshSession, read: Callable[[int], bytes], size: int, remote: str, mode: int) -> None:
    """Send what ``read`` gives, ``size`` bytes, to a file of the node. Raises TransferFailed."""
    node = session.node.name
    folder, slash, name = remote.rpartition("/")
    part = f"{folder}{slash}{beside(name)}"
    argv = ["sh", "-c", _RECEIVE, "-", remote, part, size, format(mode, "o")]
    with session.start_bulk(argv, stdin=True, timeout=_SECONDS) as process:
        left = size
        while left and (piece := read(min(left, PIECE))):
            process.write(piece)
            left -= len(piece)
        process.end_input()
        errors = _errors(process)
        if process.wait():
            raise TransferFailed(node, f"cannot put {remote}: {errors}")


def get(session: SshSession, remote: str, local: Path, limit: int | None) -> int:
    """Fetch a file (its last ``limit`` bytes) and move it to ``local``; returns its size. Raises TransferFailed."""
    node = session.node.name
    part = local.with_name(beside(local.name))
    errors, first, size = bytearray(), b"", 0
    promised: int | None = None
    try:
        local.parent.mkdir(parents=True, exist_ok=True)
        argv = ["sh", "-c", _SEND, "-", remote, "-" if limit is None else limit]
        with part.open("wb", buffering=0) as out, session.start_bulk(argv, timeout=_SECONDS) as process:
            for pipe, data in process.chunks():
                piece = data
                if pipe == "stderr":
                    errors += piece
                    continue
                if promised is None:
                    line, newline, piece = (first + piece).partition(b"\n")
                    if not newline:
                        first = line
                        continue
                    promised = int(line)
                size += len(piece)
                out.write(piece)
            status = process.wait()
        if status:
            said = errors.decode("utf-8", "replace").strip()
            raise TransferFailed(node, f"cannot get {remote}: {said or f'exit {status}'}")
        if promised is None or size < promised:
            raise TransferFailed(node, f"{remote} did not arrive whole: {size} of {promised} bytes")
        part.replace(local)
    except OSError as error:
        raise TransferFailed(node, f"cannot keep {local}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return size


def _errors(process: Process) -> str:
    text = b"".join(data for pipe, data in process.chunks() if pipe == "stderr")
    return text.decode("utf-8", "replace").strip() or "the node did not take it"


def put_tree(session: SshSession, local: Path, remote: str) -> None:
    """Send the contents of a folder. Raises TransferFailed."""
    node = session.node.name
    with (
        packing(local, node) as tar,
        session.start_bulk(["sh", "-c", UNPACK, "-", remote], stdin=True, timeout=_SECONDS) as process,
    ):
        while piece := tar.read():
            process.write(piece)
        process.end_input()
        errors = _errors(process)
        if process.wait():
            raise TransferFailed(node, f"cannot put {remote}: {errors}")
        tar.finish()


def get_tree(session: SshSession, remote: str, local: Path) -> None:
    """Fetch the contents of a folder. Raises TransferFailed."""
    node = session.node.name
    with (
        unpacking(local, node) as tar,
        session.start_bulk(["sh", "-c", PACK, "-", remote], timeout=_SECONDS) as process,
    ):
        errors = bytearray()
        for pipe, piece in process.chunks():
            if pipe == "stdout":
                tar.write(piece)
            else:
                errors += piece
        if process.wait():
            raise TransferFailed(node, f"cannot get {remote}: {errors.decode('utf-8', 'replace').strip()}")
        tar.finish()
