"""One look at a node: everything that a trial could leave there, in one command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from playbook_kernel.api import Session, field, frozen

TRIAL = re.compile(r"pk-[0-9a-f]{8}-[a-z0-9-]+-[1-9]\d*")
"""What the id of a trial looks like, of whatever run; number 0 holds claims, and is no trial."""

_SECONDS = 60.0
_FILE = re.compile(rf"playbook-({TRIAL.pattern})(?![a-z0-9])")

# $1: the stage folder. Every line is `kind<TAB>...`; `x` names what did not answer.
_SCRIPT = r"""
stage=$1
blind=
asked() {
  k=$1; shift
  [ -n "$blind" ] && return
  if out=$(timeout 10 docker "$@" 2>/dev/null); then [ -z "$out" ] || printf '%s\n' "$out" | sed "s/^/$k	/"
  else blind=1; printf 'x\tdocker\n'; fi
}
if command -v docker >/dev/null 2>&1; then
  p='{{.Label "com.docker.compose.project"}}'
  asked c ps -a --no-trunc --format "{{.ID}}\t{{.Names}}\t$p\t{{.Label \"playbook.trial\"}}"
  asked n network ls --no-trunc --format "{{.ID}}\t{{.Name}}\t$p"
  asked v volume ls --format "{{.Name}}\t$p"
fi
if command -v ss >/dev/null 2>&1; then
  ss -Hltnp 2>/dev/null | while read -r _ _ _ l _ u; do printf 'p\t%s\t%s\n' "${l##*:}" "$u"; done
else
  for f in /proc/net/tcp /proc/net/tcp6; do
    [ -r $f ] && while read -r _ l _ s _; do [ "$s" = 0A ] && printf 'h\t%s\n' "${l##*:}"; done <$f
  done
fi
[ -r /proc/sys/net/ipv4/ip_local_port_range ] && printf 'e\t%s\n' "$(cat /proc/sys/net/ipv4/ip_local_port_range)"
skip=; p=$$
while [ "$p" -gt 1 ] 2>/dev/null; do
  skip="$skip $p"
  p=$(while read -r k v; do [ "$k" = PPid: ] && echo "$v"; done 2>/dev/null </proc/$p/status)
done
marked=$(
  if printf 'a\0b' | grep -qzxF b 2>/dev/null; then grep -lz '^PLAYBOOK_OWNER=pk-' /proc/[0-9]*/environ 2>/dev/null
  else for e in /proc/[0-9]*/environ; do tr '\0' '\n' <"$e" 2>/dev/null | grep -q '^PLAYBOOK_OWNER=pk-' && echo "$e"; done; fi
)
for e in $marked; do
  d=${e%/environ}; p=${d#/proc/}
  case "$skip " in *" $p "*) continue;; esac
  o=$(tr '\0' '\n' <"$e" 2>/dev/null | sed -n 's/^PLAYBOOK_OWNER=//p')
  c=$(tr '\0' ' ' <"$d/cmdline" 2>/dev/null)
  case $c in "" | *playbook-guard*) ;; *) printf 'o\t%s\t%s\t%s\n' "$p" "$o" "$c";; esac
done
for d in /tmp /var/tmp "$stage"; do
  [ -d "$d" ] && ls -A "$d" 2>/dev/null | head -n 3000 | sed "/^playbook-guard\\./d; s|^|t	$d/|"
done
[ -d /dev/shm ] && ls -A /dev/shm 2>/dev/null | sed 's|^|s	|'
for d in "$stage" /var/lib/docker; do
  [ -d "$d" ] && df -Pk -- "$d" 2>/dev/null | tail -n 1 | { read -r _ _ _ free _; printf 'd\t%s\t%s\n' "$d" "$free"; }
done
if command -v nvidia-smi >/dev/null 2>&1; then
  timeout 20 nvidia-smi --query-gpu=index,memory.used --format=csv,noheader,nounits 2>/dev/null | sed 's/^/a	nvidia /'
  timeout 20 nvidia-smi --query-compute-apps=pid,process_name --format=csv,noheader 2>/dev/null | sed 's/^/g	/'
fi
if command -v rocm-smi >/dev/null 2>&1; then
  timeout 20 rocm-smi --showmeminfo vram --csv 2>/dev/null | sed -n 's/^card\([0-9]*\),[0-9]*,\([0-9]*\).*/b	rocm \1, \2/p'
fi
:
"""


@frozen
class Seen:
    """What was on a node. ``containers`` and ``networks`` by id, the others by name or number; ``blind``: what did not answer.

    ``ours`` of a container, network or volume is the trial that it carries the mark of, or ``""``. ``processes`` are those
    with anybody's mark, as (pid, owner, command). ``memory``: MiB in use by accelerator. ``disk``: KiB free by folder.
    """

    containers: Mapping[str, tuple[str, str]] = field(factory=dict)
    networks: Mapping[str, tuple[str, str]] = field(factory=dict)
    volumes: Mapping[str, str] = field(factory=dict)
    ports: Mapping[int, str] = field(factory=dict)
    processes: tuple[tuple[str, str, str], ...] = ()
    files: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    memory: Mapping[str, int] = field(factory=dict)
    users: tuple[str, ...] = ()
    disk: Mapping[str, int] = field(factory=dict)
    blind: tuple[str, ...] = ()

    def trials(self) -> set[str]:
        """Every trial, of whatever run, that something here belongs to."""
        marks = [m for _, m in (*self.containers.values(), *self.networks.values())] + [*self.volumes.values()]
        marks += [owner for _, owner, _ in self.processes]
        found = {m for m in marks if TRIAL.fullmatch(m)}
        return found | {m[1] for path in self.files if (m := _FILE.search(path.rpartition("/")[2]))}


def look(session: Session, stage: str) -> str:
    """Look at a node. The text is what :func:`parse` takes. Raises what a session raises."""
    return session.run(["sh", "-s", "--", stage or "/nonexistent"], stdin=_SCRIPT.encode(), timeout=_SECONDS).text


def parse(text: str) -> Seen:
    r"""What was seen.

    >>> parse("p\t8000\tusers:((\"x\",pid=1))\nv\tdata\tpk-0123abcd-s-1\nx\tdocker").volumes
    {'data': 'pk-0123abcd-s-1'}
    """
    rows: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        kind, *rest = line.split("\t")
        rows.setdefault(kind, []).append([*rest, "", "", "", ""])
    return Seen(
        {r[0]: (r[1], r[3] or _ours(r[2])) for r in rows.get("c", ())},
        {r[0]: (r[1], _ours(r[2])) for r in rows.get("n", ())},
        {r[0]: _ours(r[1]) for r in rows.get("v", ())},
        _ports(rows),
        tuple((r[0], r[1], r[2].strip()) for r in rows.get("o", ())),
        _firsts(rows.get("t", ())),
        _firsts(rows.get("s", ())),
        {**_memory(rows.get("a", ()), 1), **_memory(rows.get("b", ()), 2**20)},
        _firsts(rows.get("g", ())),
        {r[0]: int(r[1]) for r in rows.get("d", ()) if r[1].isdigit()},
        _firsts(rows.get("x", ())),
    )


def _ports(rows: Mapping[str, Sequence[Sequence[str]]]) -> dict[int, str]:
    """Those that somebody chose: ports that the kernel gives out by itself come and go, and mean nothing."""
    found = {int(r[0]): r[1] for r in rows.get("p", ()) if r[0].isdigit()}
    found |= {int(r[0], 16): "" for r in rows.get("h", ())}
    low, high = next(((int(r[0]), int(r[1])) for r in rows.get("e", ())), (65536, 65536))
    return {port: who for port, who in found.items() if not low <= port <= high}


def _memory(rows: Sequence[Sequence[str]], unit: int) -> dict[str, int]:
    split = (r[0].partition(", ") for r in rows)
    return {card: int(used) // unit for card, _, used in split if used.isdigit()}


def _firsts(rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(r[0] for r in rows))


def _ours(project: str) -> str:
    return project if TRIAL.fullmatch(project) else ""
