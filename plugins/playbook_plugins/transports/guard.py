"""The guard: a small POSIX sh program that commands of this machine run under, so that nothing outlives its reason to run.

It puts the command into a session of its own and kills that whole process group when the deadline passes, when the
lifeline (a pipe, or the process, that the controller holds open) ends, when the guard itself is told to stop, and when
the command's first process has ended and left others behind. Standard output and error are the command's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

KILL_AFTER = 2
"""Seconds between TERM and KILL."""

SLACK = 2
"""How much later than the controller's own deadline, in seconds, the node acts on it by itself."""

FOREVER = 0
"""What ``timeout`` takes for no limit."""

# $1 seconds, $2 lifeline: i (the input; the command has none) or p (the parent's life), $3 working directory or -; then
# the command. `exec 4<&0`: a command in the background would get /dev/null.
SCRIPT = """\
t=$1 l=$2 d=$3
shift 3
if [ "$d" != - ]; then cd -- "$d" || exit 126; fi
exec 4<&0
if [ "$l" = i ]; then setsid timeout -k 2 "$t" "$@" </dev/null 4<&- &
else setsid timeout -k 2 "$t" "$@" <&4 4<&- & fi
p=$!
unset PLAYBOOK_OWNER
k=
trap 'trap "" TERM HUP INT; kill -TERM -$p; { sleep 2; kill -KILL -$p; } >/dev/null 2>&1 & k=$!' TERM HUP INT
{
if [ "$l" = i ]; then read -r x <&4
else exec 4<&-; while kill -0 $PPID; do sleep 1; done; fi
kill -TERM -$p; sleep 2; kill -KILL -$p
} >/dev/null 2>&1 </dev/null & w=$!
exec 4<&-
while :; do wait $p; s=$?; kill -0 $p 2>/dev/null || break; done
kill -KILL $w $k -$p 2>/dev/null
exit $s
"""


def guarded(argv: Sequence[str], *, timeout: float | None, fed: bool, cwd: str | None) -> list[str]:
    """The argument list that runs ``argv`` under the guard; its limit lies ``SLACK`` seconds behind ours.

    ``fed``: the command reads the input; otherwise the input is the lifeline.
    """
    seconds = FOREVER if timeout is None else math.ceil(timeout) + SLACK
    return ["sh", "-c", SCRIPT, "playbook-guard", str(seconds), "p" if fed else "i", cwd or "-", *argv]
