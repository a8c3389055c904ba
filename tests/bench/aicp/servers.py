"""What clients are measured against: the known-timing server, and one in C that answers at once."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from playbook_plugins.benchmarks.aicp.calibrate import Known
from playbook_plugins.benchmarks.aicp.core.launch import cpu_times
from playbook_plugins.benchmarks.aicp.core.stats import percentile

from .clients import CACHE, HERE, MODULE


@contextlib.contextmanager
def server(command: Sequence[str], prefix: Sequence[str]) -> Iterator[Known]:
    """Run one, and end it."""
    with subprocess.Popen([*prefix, *command], stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            yield Known(int(line.rsplit(":", 1)[1]), process)
        finally:
            process.terminate()


def known(ttft_ms: float, itl_ms: float, **more: object) -> list[str]:
    """The command of the known-timing server; all streams keep step, which is hardest on a client."""
    given = {
        "ttft-ms": ttft_ms,
        "itl-ms": itl_ms,
        "stagger": "false",
        **{k.replace("_", "-"): v for k, v in more.items()},
    }
    return [sys.executable, "-m", f"{MODULE}.core.mock", *(w for k, v in given.items() for w in (f"--{k}", str(v)))]


def instant() -> list[str] | None:
    """The command of the server in C; None without a compiler."""
    compiler, source, program = shutil.which("cc"), HERE / "instant.c", CACHE / "instant"
    if compiler is None:
        return None
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
    return [str(program)]


def truth(log: dict[str, Any]) -> tuple[float, float, float]:
    """Mean and p99 of TTFT, and p99 of ITL, in ms, as the server sent them."""
    waits = sorted((s["sent"][0] - s["received"]) / 1e6 for s in log["streams"])
    gaps = sorted((b - a) / 1e6 for s in log["streams"] for a, b in zip(s["sent"], s["sent"][1:], strict=False))
    return sum(waits) / len(waits), percentile(waits, 99), percentile(gaps, 99) if gaps else 0.0


def cpu(pid: int) -> tuple[float, float, float]:
    """CPU seconds so far of finished children, of a process, and of the whole machine."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return usage.ru_utime + usage.ru_stime, own, cpu_times()["busy"]
