"""Facts of a node, all in one command: what it is, what it has, what listens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from playbook_kernel.api import Fact, MissingTool, Node, Session, TrialContext, hookimpl

REQUIRED_TOOLS = ("sh", "setsid", "timeout", "tar", "cat", "sha256sum")

# Every line is `key<TAB>value`; what is missing is not printed. $1: the stage folder, $2...: tools to look for.
_SCRIPT = r"""
stage=$1; shift
say() { printf '%s\t%s\n' "$1" "$2"; }
say clock "$(date +%s.%N)"
say kernel "$(uname -sr)"
say arch "$(uname -m)"
say hostname "$(uname -n)"
say user "$(id -un)"
[ -r /etc/os-release ] && say os "$(. /etc/os-release; echo "$PRETTY_NAME")"
say cpus "$(getconf _NPROCESSORS_ONLN 2>/dev/null)"
[ -r /proc/meminfo ] && while read -r k v _; do
  case $k in MemTotal:) say memory_kib "$v";; MemAvailable:) say memory_available_kib "$v";; esac
done </proc/meminfo
d=$stage; while [ ! -d "$d" ] && [ "$d" != / ] && [ -n "$d" ]; do d=$(dirname -- "$d"); done
say disk "$(df -Pk -- "${d:-/}" 2>/dev/null | tail -n 1 | { read -r _ total _ free _; echo "$total $free"; })"
for t in "$@"; do command -v "$t" >/dev/null 2>&1 || say missing "$t"; done
if command -v docker >/dev/null 2>&1; then
  say docker_cli 1
  say docker "$(timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null)"
fi
if command -v nvidia-smi >/dev/null 2>&1; then
  timeout 10 nvidia-smi --query-gpu=index,name,memory.total,memory.used,driver_version --format=csv,noheader,nounits \
    2>/dev/null | while read -r line; do say nvidia "$line"; done
fi
command -v npu-smi >/dev/null 2>&1 && say npu "$(timeout 10 npu-smi info -l 2>/dev/null | head -n 1)"
if command -v rocm-smi >/dev/null 2>&1; then
  say rocm "$(timeout 10 rocm-smi --showproductname --csv 2>/dev/null | sed -n 2p)"
fi
for f in /proc/net/tcp /proc/net/tcp6; do
  [ -r $f ] && while read -r _ local _ state _; do [ "$state" = 0A ] && say listen "${local##*:}"; done <$f
done
:
"""


@hookimpl
def playbook_discover(ctx: TrialContext, node: Node, session: Session) -> Mapping[str, Fact]:
    """Look at the node once. Raises MissingTool if it lacks what every command needs."""
    facts = look(node, session)
    missing = facts.get("missing_tools")
    if isinstance(missing, list) and missing:
        raise MissingTool(node.name, f"needs {', '.join(map(str, missing))}", hint="install them on the node")
    return facts


def look(node: Node, session: Session) -> dict[str, Fact]:
    """Every fact of a node, in one command. Raises what a session raises."""
    before = time.time()
    argv = ["sh", "-s", "--", node.stage_dir or "/", *REQUIRED_TOOLS]
    done = session.run(argv, stdin=_SCRIPT.encode(), timeout=60)
    facts = parse(done.text)
    clock = facts.pop("clock", None)
    if isinstance(clock, float):
        # the script reads the clock first, so half of a round trip is the best guess of when that was
        facts["clock_offset"] = round(clock - before - min(done.seconds, 0.1) / 2, 3)
    return facts


def parse(output: str) -> dict[str, Fact]:
    r"""Facts of what the script printed.

    >>> parse("cpus\t8\nlisten\t1F90\nlisten\t1F90\nmissing\ttar\ndisk\t100 50")
    {'cpus': 8, 'disk_kib': 100, 'disk_free_kib': 50, 'listening': [8080], 'missing_tools': ['tar']}
    """
    facts: dict[str, Fact] = {}
    listening: set[int] = set()
    missing: list[Any] = []
    accelerators: list[Any] = []
    for line in output.splitlines():
        key, _, value = line.partition("\t")
        value = value.strip()
        if not value:
            continue
        match key:
            case "clock":
                facts[key] = float(value.replace(".N", ""))
            case "cpus" | "memory_kib" | "memory_available_kib":
                facts[key] = int(value)
            case "disk":
                total, _, free = value.partition(" ")
                if total.isdigit() and free.isdigit():
                    facts |= {"disk_kib": int(total), "disk_free_kib": int(free)}
            case "listen":
                listening.add(int(value, 16))
            case "missing":
                missing.append(value)
            case "docker_cli":
                facts[key] = True
            case "nvidia":
                accelerators.append(_nvidia(value))
            case "npu" | "rocm":
                accelerators.append({"kind": key, "name": value})
            case _:
                facts[key] = value
    if listening:
        facts["listening"] = sorted(listening)
    if missing:
        facts["missing_tools"] = missing
    if accelerators:
        facts["accelerators"] = accelerators
    return facts


def _nvidia(line: str) -> dict[str, Any]:
    parts = [p.strip() for p in line.split(",")]
    index, name, total, used, driver = (*parts, "", "", "", "", "")[:5]
    found: dict[str, Any] = {"kind": "nvidia", "name": name, "driver": driver}
    for key, value in (("index", index), ("memory_mib", total), ("memory_used_mib", used)):
        if value.isdigit():
            found[key] = int(value)
    return found
