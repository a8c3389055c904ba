"""A node belongs to one campaign at a time: a lock on the node itself, held by a process that lives only while we do."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Iterator

from playbook_kernel.api import (
    CampaignContext,
    CommandFailed,
    NodeError,
    NodeInUse,
    Pipe,
    Process,
    Scope,
    Session,
    replaced,
    within,
)

SILENCE = 60
"""Seconds without a word from us until the node gives its lock up: we are dead, and the connection does not know it."""

_ANSWER_SECONDS = 20.0

# $1: who we are, $2: the longest silence (0: let go at once), $3: an earlier holder of ours, which has lost its connection and
# may not know it. The lock is an flock, so a dead holder has none; its file may be left. A file that is not the one that was
# opened any more belongs to somebody who came in between. Removing files of other users may fail.
_HOLD = r"""
f=${PLAYBOOK_LOCK_DIR:-/tmp}/playbook-claim.lock
command -v flock >/dev/null 2>&1 || { echo none; exit 0; }
umask 022
tries=0
case $(tr '\0' ' ' 2>/dev/null </proc/"$3"/cmdline) in
*playbook-claim*) read -r _ _ _ _ g _ </proc/"$3"/stat; kill -KILL -- "-$g" 2>/dev/null;;
esac
w=; timeout --foreground 1 true 2>/dev/null && w=--foreground
while :; do
  fresh=
  if (set -C; printf '%s\n' "$1" >"$f") 2>/dev/null; then fresh=1; fi
  if ! command exec 9<"$f"; then sleep 0.1; continue; fi 2>/dev/null
  if ! flock -n 9; then
    who=$(cat "$f" 2>/dev/null)
    tries=$((tries + 1))
    if [ "$who" = "$1" ] && [ $tries -lt 20 ]; then sleep 0.1; continue; fi
    printf 'held\t%s\n' "$who"; exit 0
  fi
  [ "$f" -ef /proc/self/fd/9 ] || continue
  [ -n "$fresh" ] && break
  printf 'stale\t%s\n' "$(cat "$f")"
  rm -f -- "$f" 2>/dev/null || break
done
drop() { [ "$f" -ef /proc/self/fd/9 ] && rm -f -- "$f"; exit 0; }
trap drop TERM HUP INT PIPE
[ "$2" = 0 ] && drop
printf 'claimed\t%s\n' $$
while l=$(exec 9<&-; timeout $w "$2" head -n 1) && [ -n "$l" ]; do echo "$l"; done
drop
"""


class Claim:
    """The lock of one node. :meth:`renew` makes or keeps it, :meth:`release` gives it back."""

    def __init__(self, ctx: CampaignContext, session: Session, mark: str) -> None:
        self._ctx, self._session, self._mark = ctx, session, mark
        self._process: Process | None = None
        self._lines: Iterator[tuple[Pipe, str]] = iter(())
        self._lock = threading.Lock()
        self._holder = ""
        self._unheld = False

    def renew(self) -> None:
        """Say that we live, and take the lock again if it was lost. Raises NodeInUse, and what a session raises."""
        with self._lock:
            if not self._unheld and not self._alive():
                self._take(SILENCE)

    def _alive(self) -> bool:
        if self._process is None:
            return False
        try:
            with within(_ANSWER_SECONDS):
                self._process.write(b"here\n")
                return next(self._lines, ("stdout", ""))[1] == "here"
        except (NodeError, CommandFailed):
            self._process = None
            return False

    def _take(self, silence: int) -> None:
        import getpass

        node, mark = self._session.node.name, self._mark
        who = (
            f"{mark}\t{self._ctx.run}, by {getpass.getuser()}@{platform.node()}, process {os.getpid()}, since {_now()}"
        )
        with replaced(Scope()):  # it outlives the call that makes it
            process = self._session.start(["sh", "-c", _HOLD, "playbook-claim", who, silence, self._holder], stdin=True)
        self._lines = process.lines()
        with within(_ANSWER_SECONDS):
            for _, line in self._lines:
                said, _, rest = line.partition("\t")
                whose, _, other = rest.partition("\t")
                if said == "claimed":
                    self._process, self._holder = process, rest
                    return
                if said == "stale" and whose != mark:
                    self._ctx.warn(f"{node}: took over the lock of a campaign that has died ({other or 'unknown'})")
                elif said == "held":
                    raise NodeInUse(node, other or "somebody unknown", ours=whose == mark)
                elif said == "none":
                    self._unheld = True
                    self._ctx.warn(f"{node}: has no flock, so nothing keeps two campaigns apart there")
                    return
            status = process.wait()
        if status:
            raise CommandFailed(node, ["playbook-claim"], status)

    def release(self) -> None:
        """Give the node back, also when the connection that held it was lost."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                try:
                    with within(_ANSWER_SECONDS):
                        process.end_input()
                        if process.wait() == 0:  # else it ended before it was told to, and could not remove its file
                            return
                except (NodeError, CommandFailed):
                    process.kill()
            if self._holder:
                with contextlib.suppress(NodeError, CommandFailed):
                    self._take(0)


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
