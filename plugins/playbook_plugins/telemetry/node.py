"""Samples of a node: what the script on it prints, and what that means."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping

from attrs import define, field

# One process that lives as long as the load. Each second it reads a few files of /proc by itself: no process is started
# for that but `sleep`. Lines: `C uptime cpu-jiffies...`, `M uptime total available` (kB), `T uptime rx tx` (bytes),
# `D uptime read written` (sectors of 512), `G|N|R uptime text` (accelerators), `Z unix uptime` once, at the beginning.
SCRIPT = r"""
interval=$1 slow=$2
up() { read -r now _ </proc/uptime; }
clock=$(date +%s.%N); up; echo "Z ${clock%.*N*} $now"  # busybox knows no %N
if command -v nvidia-smi >/dev/null 2>&1; then
  nvidia-smi --query-gpu=index,utilization.gpu,memory.used,memory.total,power.draw,temperature.gpu \
    --format=csv,noheader,nounits -l "$3" 2>/dev/null | while read -r line; do up; echo "G $now $line"; done &
fi
if command -v npu-smi >/dev/null 2>&1; then
  while :; do npu-smi info 2>/dev/null | { up; while read -r line; do echo "N $now $line"; done; echo "N $now"; }
    sleep "$slow"; done &
fi
if command -v rocm-smi >/dev/null 2>&1; then
  while :; do rocm-smi --showuse --showtemp --showpower --showmeminfo vram --csv 2>/dev/null |
    { up; while read -r line; do echo "R $now $line"; done; echo "R $now"; }
    sleep "$slow"; done &
fi
while :; do
  up
  read -r _ a b c d e f g h _ </proc/stat; echo "C $now $a $b $c $d $e $f $g ${h:-0}"
  total=0 avail=0
  while read -r k v _; do case $k in MemTotal:) total=$v;; MemAvailable:) avail=$v; break;; esac; done </proc/meminfo
  echo "M $now $total $avail"
  rx=0 tx=0
  while read -r k r _ _ _ _ _ _ _ t _; do
    case $k in lo:*|docker*|veth*|br-*|virbr*|Inter*|face*) ;; *:) rx=$((rx + r)) tx=$((tx + t));; esac
  done </proc/net/dev
  echo "T $now $rx $tx"
  if [ -r /proc/diskstats ]; then
    rd=0 wr=0
    while read -r _ _ name _ _ r _ _ _ w _; do
      case $name in sd[a-z]|sd[a-z][a-z]|vd[a-z]|xvd[a-z]|nvme[0-9]*n[0-9]|nvme[0-9]*n[0-9][0-9]|mmcblk[0-9])
        rd=$((rd + r)) wr=$((wr + w));; esac
    done </proc/diskstats
    echo "D $now $rd $wr"
  fi
  sleep "$interval"
done
"""

Row = dict[str, float | str]
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@define(eq=False)
class NodeReader:
    """Turns the script's lines into rows; ``offset`` is how far the node's clock is ahead of ours, in seconds."""

    node: str
    offset: float = 0.0
    _began: float | None = None
    _before: dict[str, tuple[float, tuple[float, ...]]] = field(factory=dict)
    _table: list[str] = field(factory=list)

    def feed(self, line: str) -> list[Row]:
        """The rows that a line completes; none for a line that says nothing (yet)."""
        kind, _, rest = line.partition(" ")
        head, _, text = rest.partition(" ")
        try:
            if kind == "Z":
                self._began = float(head.replace(".N", "")) - float(text) - self.offset
                return []
            if self._began is None:
                return []
            when = round(self._began + float(head), 3)
            match kind:
                case "C" | "M" | "T" | "D":
                    found = self._system(kind, float(head), tuple(float(v) for v in text.split()))
                    return [{"t": when, "source": self.node, **found}] if found else []
                case "G":
                    return [self._row(when, *a) for a in nvidia(text)]
                case "N" | "R":
                    if text:
                        self._table.append(text)
                        return []
                    lines, self._table = self._table, []
                    parse = npu if kind == "N" else rocm
                    return [self._row(when, *a) for a in parse("\n".join(lines))]
        except ValueError:
            pass
        return []

    def _row(self, when: float, name: str, values: Mapping[str, float]) -> Row:
        return {"t": when, "source": f"{self.node}/{name}", **values}

    def _system(self, kind: str, now: float, values: tuple[float, ...]) -> dict[str, float]:
        if kind == "M":
            total, free = values
            return {"mem": round((1 - free / total) * 100, 2)} if total else {}
        before = self._before.get(kind)
        self._before[kind] = (now, values)
        if before is None or now <= before[0]:
            return {}
        gone = [v - b for v, b in zip(values, before[1], strict=True)]
        seconds = now - before[0]
        if min(gone) < 0:  # counters began anew
            return {}
        if kind == "C":
            return {"cpu": round((1 - (gone[3] + gone[4]) / sum(gone)) * 100, 2)} if sum(gone) else {}
        scale = 512 / 1e6 if kind == "D" else 1 / 1e6
        names = ("disk_read", "disk_write") if kind == "D" else ("net_rx", "net_tx")
        return {name: round(g * scale / seconds, 4) for name, g in zip(names, gone, strict=True)}


Accelerator = tuple[str, dict[str, float]]


def nvidia(line: str) -> list[Accelerator]:
    """A line of ``nvidia-smi --query-gpu``; what a GPU does not tell (``[N/A]``) is left out.

    >>> nvidia("0, 97, 71234, 81559, 612.34, 63"), nvidia("1, 0, 5, 81559, [N/A], 30")[0][1]["util"]
    ([('gpu0', {'util': 97.0, 'mem_used': 71234.0, 'power': 612.34, 'temp': 63.0})], 0.0)
    """
    parts = [p.strip() for p in line.split(",")]
    if len(parts) != 6 or not parts[0].isdigit():
        return []
    known = zip(("util", "mem_used", "", "power", "temp"), parts[1:], strict=True)
    return [(f"gpu{parts[0]}", {k: float(v) for k, v in known if k and _NUMBER.fullmatch(v)})]


def npu(table: str) -> list[Accelerator]:
    """The table of ``npu-smi info``: two lines a chip, power and temperature in the first, use and memory in the second."""
    found: dict[str, dict[str, float]] = {}
    first: tuple[str, list[float]] | None = None
    for line in table.splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if len(cells) != 3 or not cells[0][:1].isdigit():
            if "Process" in line:
                break
            continue
        left, numbers = cells[0].split(), [float(n) for n in _NUMBER.findall(cells[2])]
        if ":" not in cells[1] and len(left) >= 2:
            first = (left[0], _placed(cells[2]))
        elif first is not None and len(numbers) >= 3:
            name = f"npu{first[0]}" if f"npu{first[0]}" not in found else f"npu{first[0]}.{left[0]}"
            # AICore(%), then memory used / total, then (if there is any) HBM used / total, which is what counts
            used = numbers[3] if len(numbers) >= 5 and numbers[4] > 0 else numbers[1]
            power, temperature = [*first[1], float("nan"), float("nan")][:2]
            values = {"util": numbers[0], "mem_used": used, "power": power, "temp": temperature}
            found[name] = {k: v for k, v in values.items() if v == v}
    return list(found.items())


def _placed(text: str) -> list[float]:
    """Numbers by their place; a dash or NA is a number that is not known."""
    return [float(w) if _NUMBER.fullmatch(w) else float("nan") for w in text.split()]


def rocm(text: str) -> list[Accelerator]:
    """What ``rocm-smi --csv`` prints; columns are found by their names, which differ between versions."""
    lines = [line for line in text.splitlines() if "," in line]
    found: list[Accelerator] = []
    for row in csv.DictReader(io.StringIO("\n".join(lines))):
        device = row.get("device") or ""
        if not device.startswith("card"):
            continue
        values: dict[str, float] = {}
        for column, cell in row.items():
            name = _rocm_name(str(column).lower())
            if name and name not in values and isinstance(cell, str) and _NUMBER.fullmatch(cell.strip()):
                values[name] = float(cell) / (2**20 if name == "mem_used" else 1)
        if values:
            found.append((f"gpu{device.removeprefix('card')}", values))
    return found


def _rocm_name(column: str) -> str:
    if column.startswith("gpu use"):
        return "util"
    if "power (w)" in column and "max" not in column:
        return "power"
    if column.startswith("vram total used memory"):
        return "mem_used"
    return "temp" if column.startswith("temperature") and ("edge" in column or "junction" in column) else ""
