"""Facts of a node, all in one command: what it is, what it has, what listens."""

from __future__ import annotations

import csv
import string
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from playbook_kernel.api import Fact, MissingTool, Node, PhaseFailed, Session, TrialContext, hookimpl

CLOCK_WARN = 1.0
"""Seconds between the clocks of a node and of this machine: enough to put a log's lines out of order."""
BUSY_WARN = 10.0
"""Percent of an accelerator's memory that is taken before anything of ours runs."""
TOOLS = "docker_tools"
"""Programs of Docker and Compose, each with size, time and inode: what tells that none of them was changed."""
_FORGIVEN = 0.96
_lock = threading.Lock()
REQUIRED_TOOLS = ("sh", "cat", "chmod", "head", "mv", "setsid", "sleep", "tail", "tar", "timeout", "wc")

# Every line is `key<TAB>value`; what is missing is not printed. $1: the stage folder, $2...: tools to look for.
_SCRIPT = r"""
stage=$1; shift
say() { printf '%s\t%s\n' "$1" "$2"; }
now=$(date +%s.%N)
say clock "${now%.*N*}"  # busybox knows no %N
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
for f in "$(command -v docker)" "$(command -v docker-compose)" "$HOME/.docker/cli-plugins/docker-compose" \
  /usr/local/lib/docker/cli-plugins/docker-compose /usr/local/libexec/docker/cli-plugins/docker-compose \
  /usr/lib/docker/cli-plugins/docker-compose /usr/libexec/docker/cli-plugins/docker-compose; do
  [ -n "$f" ] && [ -e "$f" ] && say docker_tool "$(stat -Lc '%n %s %Y %i' -- "$f" 2>/dev/null)"
done
if command -v nvidia-smi >/dev/null 2>&1; then
  timeout 10 nvidia-smi --query-gpu=index,name,memory.total,memory.used,driver_version --format=csv,noheader,nounits \
    2>/dev/null | while read -r line; do say nvidia "$line"; done
fi
if command -v npu-smi >/dev/null 2>&1; then
  timeout 10 npu-smi info -m 2>/dev/null | while read -r id chip _ name; do
    case $id$chip in *[!0-9]* | "") ;; *) case $name in *[Mm]cu*) ;; *)
      mib=$(timeout 10 npu-smi info -t memory -i "$id" -c "$chip" 2>/dev/null | sed -n 's/.*HBM Capacity(MB)[ :]*//p')
      say npu "$id,$name,$mib";; esac;;
    esac
  done
fi
if command -v rocm-smi >/dev/null 2>&1; then
  timeout 10 rocm-smi --showproductname --showmeminfo vram --csv 2>/dev/null | while read -r line; do say rocm "$line"; done
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
    facts.pop(TOOLS, None)
    for concern in concerns(facts):
        ctx.warn(concern, node.name)
    with _lock:
        seen: dict[str, Mapping[str, Fact]] = ctx.stash.setdefault(__name__, {})
        seen[node.name] = facts
        last = len(seen) == len(ctx.trial.scenario.node_names)
    if last:  # of several nodes, and only then is it known what all of them have
        require(ctx.trial.scenario.info.get("requirements") or {}, seen)
    return facts


def concerns(facts: Mapping[str, Fact]) -> Iterator[str]:
    """What will hurt a measurement, or soon the node; none of it fails anything."""
    total, free = facts.get("disk_kib"), facts.get("disk_free_kib")
    if isinstance(total, int) and isinstance(free, int) and total and free / total < 0.05:
        yield f"the disk is nearly full: {free / 2**20:.1f} GiB of {total / 2**20:.0f} GiB are free"
    total, free = facts.get("memory_kib"), facts.get("memory_available_kib")
    if isinstance(total, int) and isinstance(free, int) and total and free / total < 0.05:
        yield f"memory is nearly used up: {free / 2**20:.1f} GiB of {total / 2**20:.0f} GiB are available"
    offset = facts.get("clock_offset")
    if isinstance(offset, (int, float)) and abs(offset) > CLOCK_WARN:
        yield f"its clock is {offset:+.1f} s from this machine's: times in its logs do not compare"
    for card in _accelerators(facts):
        has, used = card.get("memory_mib"), card.get("memory_used_mib")
        if isinstance(has, int) and isinstance(used, int) and has and 100 * used / has > BUSY_WARN:
            what = f"{card.get('name') or card.get('kind')} {card.get('index', '')}".strip()
            yield f"{what} has {used} MiB in use before anything of ours runs"


def require(wanted: Mapping[str, float], nodes: Mapping[str, Mapping[str, Fact]]) -> None:
    """Compare what a scenario needs with what its nodes have. Raises PhaseFailed with everything that is short.

    ``min_memory`` (bytes) is of every node; ``min_gpu_memory`` of every accelerator that says how much it has, and
    there must be one. What is sold as 80 GB reports a little less or more, so 4% are forgiven.
    """
    short = []
    memory, card = wanted.get("min_memory", 0.0) * _FORGIVEN, wanted.get("min_gpu_memory", 0.0) * _FORGIVEN
    cards = [(n, a) for n, facts in nodes.items() for a in _accelerators(facts)]
    for name, facts in nodes.items():
        total = facts.get("memory_kib")
        if memory and isinstance(total, int) and total * 1024 < memory:
            short.append(
                f"{name} has {total * 1024 / 1e9:.1f} GB of memory, min_memory_gb is {memory / _FORGIVEN / 1e9:g}"
            )
    if card and not cards:
        short.append(f"no accelerator is seen on {', '.join(nodes)}: nvidia-smi, npu-smi and rocm-smi show none")
    for name, found in cards:
        has = found.get("memory_mib")
        if card and isinstance(has, int) and has * 2**20 < card:
            what = f"{found.get('name') or found.get('kind')} {found.get('index', '')}".strip()
            short.append(
                f"{what} on {name} has {has * 2**20 / 1e9:.1f} GB, min_gpu_memory is {card / _FORGIVEN / 1e9:g}"
            )
    if short:
        error = PhaseFailed("resource_requirements are not met: " + "; ".join(short))
        error.error_class = "config"  # trying again changes nothing
        raise error


def _accelerators(facts: Mapping[str, Fact]) -> list[dict[str, Any]]:
    found = facts.get("accelerators")
    return [a for a in found if isinstance(a, dict)] if isinstance(found, list) else []


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
    r"""Facts of what the script printed; what is no number where one belongs is left out.

    >>> parse("cpus\t8\nlisten\t1F90\nlisten\t1F90\nmissing\ttar\ndisk\t100 50")
    {'cpus': 8, 'disk_kib': 100, 'disk_free_kib': 50, 'listening': [8080], 'missing_tools': ['tar']}
    """
    facts: dict[str, Fact] = {}
    listening: set[int] = set()
    missing: list[Any] = []
    accelerators: list[Any] = []
    rocm: list[str] = []
    tools: list[Any] = []
    for line in output.splitlines():
        key, _, value = line.partition("\t")
        value = value.strip()
        if not value:
            continue
        match key:
            case "clock":
                if value.replace(".", "", 1).isdecimal():
                    facts[key] = float(value)
            case "cpus" | "memory_kib" | "memory_available_kib":
                if value.isdecimal():
                    facts[key] = int(value)
            case "disk":
                total, _, free = value.partition(" ")
                if total.isdigit() and free.isdigit():
                    facts |= {"disk_kib": int(total), "disk_free_kib": int(free)}
            case "listen":
                if all(c in string.hexdigits for c in value):
                    listening.add(int(value, 16))
            case "missing":
                missing.append(value)
            case "docker_cli":
                facts[key] = True
            case "docker_tool":
                tools.append(value)
            case "nvidia":
                accelerators.append(_nvidia(value))
            case "npu":
                accelerators.append(_npu(value))
            case "rocm":
                rocm.append(value)
            case _:
                facts[key] = value
    if listening:
        facts["listening"] = sorted(listening)
    if missing:
        facts["missing_tools"] = missing
    if tools:
        facts[TOOLS] = tools
    accelerators += _rocm(rocm)
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


def _npu(line: str) -> dict[str, Any]:
    """One line of ours: index, name, MB of high bandwidth memory."""
    index, name, memory = (*(p.strip() for p in line.split(",")), "", "")[:3]
    found: dict[str, Any] = {"kind": "npu", "name": name}
    for key, value in (("index", index), ("memory_mib", memory)):
        if value.isdigit():
            found[key] = int(value)
    return found


def _rocm(lines: list[str]) -> list[dict[str, Any]]:
    """The table that rocm-smi prints: a head, and a line for each card; which columns there are depends on its version."""
    rows = list(csv.reader(line for line in lines if "," in line))
    if len(rows) < 2 or rows[0][0] != "device":
        return []
    found = []
    for row in rows[1:]:
        cells = dict(zip(rows[0], row, strict=False))
        name = next(
            (v for k, v in cells.items() if k in ("Card Series", "Card series", "Card Model", "Card model")), ""
        )
        card: dict[str, Any] = {"kind": "rocm", "name": name}
        index = row[0].removeprefix("card")
        if index.isdigit():
            card["index"] = int(index)
        for key, column in (("memory_mib", "VRAM Total Memory (B)"), ("memory_used_mib", "VRAM Total Used Memory (B)")):
            if cells.get(column, "").isdigit():
                card[key] = int(cells[column]) // 2**20
        found.append(card)
    return found
