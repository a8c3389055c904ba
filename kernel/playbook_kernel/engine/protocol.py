"""How a trial's process and its parent talk: JSON lines over two pipes.

=========  =========================  ============================================================================
from       message                    meaning, and what the other side does
=========  =========================  ============================================================================
parent     ``job``                    the first line: the trial, its nodes, how to load plugins; the child begins
parent     ``ack`` {ids}              these intents are on disk: now they may be done
parent     ``refuse`` {ids, error}    they could not be written: the child must not do them
parent     ``cancel`` {reason}        stop the phase that runs, then collect and clean up
parent     end of the pipe            the parent is gone: stop, make no further effect, and exit
child      ``alive``                  nothing happened for a while, and the child is still there
child      ``intent`` {effect}        about to be done: write it to disk, then ``ack``
child      ``done``, ``undone``       an effect was done, or undone and verified
child      ``event`` {event}          something to tell: to the journal and to the hooks
child      ``entered`` {plugin}       this plugin's hook runs now (empty: none): who is at fault if the child dies of it
child      ``result`` {result}        the last line: the trial is over
child      end of the pipe            with a result: over; without: the child died, and an emergency cleanup follows
=========  =========================  ============================================================================

States of the parent: *starting* (until the first line of the child) → *running* → *cancelling* (after ``cancel``) →
*over* (after ``result``) or *lost* (end of the pipe, silence, or a deadline without a ``result``). From *lost* the
process group is killed first, and only then does the cleanup begin, so that two of them never work on the same node.

An intent without its acknowledgement was never done: the child waits for it. Intents of several threads that arrive
together are written with one flush and acknowledged together.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from typing import IO, Any

from attrs import define, field

from playbook_kernel.errors import PluginError

LIMIT = 16 * 1024 * 1024
"""The longest line that is taken; a longer one is garbage."""


class Garbage(Exception):
    """What came over the pipe is not the protocol."""


@define(eq=False)
class Sender:
    """Writes messages; safe for use by many threads. After the other side is gone, sending does nothing."""

    _file: IO[bytes]
    gone: bool = False
    _lock: threading.Lock = field(factory=threading.Lock)

    def send(self, kind: str, /, **data: Any) -> None:
        """Write one message and flush it. Raises PluginError if it is longer than the other side takes."""
        line = json.dumps({"type": kind, **data}, allow_nan=False, separators=(",", ":"))
        if len(line) >= LIMIT:
            raise PluginError(f"a message ({kind}) of {len(line)} bytes is more than can be told")
        with self._lock:
            if self.gone:
                return
            try:
                self._file.write(line.encode() + b"\n")
                self._file.flush()
            except (OSError, ValueError):
                self.gone = True

    def close(self) -> None:
        """Close the pipe; the other side sees its end."""
        with self._lock, contextlib.suppress(OSError):
            self.gone = True
            self._file.close()


def messages(descriptor: int) -> Iterator[Mapping[str, Any]]:
    """Yield messages until the pipe ends. Raises Garbage."""
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        while line := file.readline(LIMIT + 1):
            if len(line) > LIMIT:
                raise Garbage("a message is longer than the limit")
            if not line.endswith(b"\n"):
                return  # torn by the death of the other side
            try:
                message = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise Garbage(f"a message is not JSON: {error}") from error
            if not isinstance(message, dict) or not isinstance(message.get("type"), str):
                raise Garbage("a message is not an object with a type")
            yield message
