"""Processes that carry a trial's mark, and the shared memory that they use."""

from __future__ import annotations

from playbook_kernel.api import Session

# Prints `pid<TAB>command` of every process that carries the owner mark $1; $2: a signal to send, or nothing. The look's
# own ancestors carry the mark too, and guards end by themselves when what they guard has ended.
_MARKED = r"""
skip=; p=$$
while [ "$p" -gt 1 ] 2>/dev/null; do
  skip="$skip $p"
  p=$(while read -r k v; do [ "$k" = PPid: ] && echo "$v"; done 2>/dev/null </proc/$p/status)
done
marked() {
  if printf 'a\0b' | grep -qzxF b 2>/dev/null; then grep -lzxF "PLAYBOOK_OWNER=$1" /proc/[0-9]*/environ 2>/dev/null
  else for e in /proc/[0-9]*/environ; do tr '\0' '\n' <$e 2>/dev/null | grep -qxF "PLAYBOOK_OWNER=$1" && echo $e; done; fi
}
"""
_END = (
    _MARKED
    + r"""
for e in $(marked "$1"); do
  d=${e%/environ} p=${e#/proc/}; p=${p%/environ}
  case "$skip " in *" $p "*) continue;; esac
  c=$(tr '\0' ' ' <$d/cmdline 2>/dev/null)
  case $c in "" | *playbook-guard*) continue;; esac
  [ -n "$2" ] && kill -"$2" "$p" 2>/dev/null
  printf '%s\t%s\n' "$p" "$c"
done
"""
)

# Prints every file of /dev/shm that a process of the trial $1, also one in its containers, has mapped. A container that has
# a /dev/shm of its own maps files of the same names, with other inodes.
_SHARED = (
    _MARKED
    + r"""
{ marked "$1"
  if command -v docker >/dev/null 2>&1; then
    for c in $(timeout 20 docker ps -q --no-trunc --filter "label=com.docker.compose.project=$1" 2>/dev/null); do
      grep -l "$c" /proc/[0-9]*/cgroup 2>/dev/null
    done
  fi
} | while read -r e; do
  d=${e%/*}
  while read -r _ _ _ _ i f _; do
    case $f in /dev/shm/*) [ "$(stat -c %i -- "$f" 2>/dev/null)" = "$i" ] && printf '%s\n' "$f";; esac
  done 2>/dev/null <$d/maps
done | sort -u
"""
)


def end_processes(session: Session, owner: str) -> list[tuple[str, str]]:
    """End every process that carries the owner mark; returns those that are still there after KILL."""
    for signal, pause in (("TERM", "0.3"), ("KILL", "0.2")):
        if not _marked(session, owner, signal):
            return []
        session.run(["sleep", pause])
    return _marked(session, owner, "")


def _marked(session: Session, owner: str, signal: str) -> list[tuple[str, str]]:
    argv = ["sh", "-s", "--", owner, signal]
    rows = session.run(argv, stdin=_END.encode(), timeout=60).text.splitlines()
    return [(pid, command.strip()) for pid, _, command in (row.partition("\t") for row in rows)]


def shared_memory(session: Session, owner: str) -> list[str]:
    """Files of /dev/shm that the trial's processes use now."""
    return session.run(["sh", "-s", "--", owner], stdin=_SHARED.encode(), timeout=60).text.splitlines()
