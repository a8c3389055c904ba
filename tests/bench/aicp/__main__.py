"""The load generator beside its peers, on one server and one machine: ``python -m tests.bench.aicp [--help]``.

What each client reports is compared with the server's own record of the same run. Ours is the whole product:
``playbook-aicp`` with records, usage and statistics. Peers come from their own wheels: SGLang's Rust client, vLLM's
benchmark without its engine (a wheel of 340 MB, once), AIPerf if named (1.2 GB installed, once), aiohttp and httpx as
most scripts use them.

A figure counts only where others used less than 0.2 cores meanwhile (``other``); with ``--realtime`` server and clients
get real-time priority, so that others matter less. CPU is that of the load alone. At the end stands every goal.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench import as_installed

from . import alone
from .clients import PEERS, Client, Workload, ours, peers
from .goals import Goal, judged
from .servers import cpu, instant, known, server, truth

WORKLOADS = {
    w.name: w
    for w in (
        Workload("gentle", 32, 128, 50, 10, 8),
        Workload("heavy", 512, 128, 50, 20, 3),
        Workload("fast", 512, 128, 50, 10, 3),
        Workload("instant-64", 64, 2, 0, 0, 500),
        Workload("instant-512", 512, 2, 0, 0, 60),
    )
}
ALONE = ("start", "after", "memory", "punctual", "counts")
_QUIET = 0.2


def measure(client: Client, work: Workload, there: Sequence[str], here: Sequence[str]) -> dict[str, Any]:
    """One client under one workload. Raises ValueError or CalledProcessError where it cannot be."""
    command = instant() if work.instant else known(work.ttft, work.itl)
    if command is None:
        raise ValueError("there is no C compiler for the server that answers at once")
    with server(command, there) as there_is:
        before, began = cpu(there_is.process.pid), time.monotonic()
        seen = client(there_is.url, work, here)
        used, served, busy = (b - a for a, b in zip(before, cpu(there_is.process.pid), strict=True))
        seconds = time.monotonic() - began
        log = there_is.get("/__log")
    row = {
        "requests_per_s": seen.requests / seen.seconds,
        "tokens_per_s": seen.tokens / seen.seconds,
        "cpu_s_per_1k_tokens": seen.cpu / seen.tokens * 1000,
        "cpu_s_per_1k_requests": seen.cpu / seen.requests * 1000,
        "server_cores": served / seconds,
        "other_cores": max(0.0, busy - used - served) / seconds,
    }
    if work.instant:
        return row | {"in_flight": log["peak"]}
    mean, tail, gap = truth(log)
    return row | {
        "ttft_true_ms": mean,
        "ttft_error_mean_ms": seen.ttft_mean - mean,
        "ttft_error_p99_ms": seen.ttft_p99 - tail,
        "itl_true_p99_ms": gap,
        "itl_error_p99_ms": seen.itl_p99 - gap,
    }


_COLUMNS = (
    ("req/s", "requests_per_s", "9.0f"), ("tok/s", "tokens_per_s", "9.0f"),
    ("in flight", "in_flight", "10d"), ("TTFT true", "ttft_true_ms", "10.2f"),
    ("error mean", "ttft_error_mean_ms", "+11.3f"), ("p99", "ttft_error_p99_ms", "+9.3f"),
    ("ITL p99", "itl_true_p99_ms", "9.2f"), ("error", "itl_error_p99_ms", "+8.3f"),
    ("CPU s/1k tok", "cpu_s_per_1k_tokens", "13.4f"), ("/1k req", "cpu_s_per_1k_requests", "9.4f"),
    ("server", "server_cores", "8.2f"), ("other", "other_cores", "7.2f"),
)  # fmt: skip


def _shown(row: dict[str, Any]) -> str:
    cells = [format(row[key], kind) if key in row else "-".rjust(len(format(0, kind))) for _, key, kind in _COLUMNS]
    return "".join(cells) + ("" if row["other_cores"] < _QUIET else "  does not count: not alone")


def _alone(name: str, there: Sequence[str], here: Sequence[str]) -> dict[str, float]:
    """A figure of the product by itself, and the foreign load meanwhile."""
    own = os.times()
    before, began = cpu(os.getpid()), time.monotonic()
    found = getattr(alone, name)(there, here)
    names = {
        "after": ("after_per_million_s", "after_besides_s", "after_cpu_per_million_s"),
        "punctual": ("late_said_p99_ms", "late_p99_ms"),
    }
    values = found if isinstance(found, tuple) else (found,)
    made = dict(zip(names.get(name, (name,)), map(float, values), strict=True))
    used, _, busy = (b - a for a, b in zip(before, cpu(os.getpid()), strict=True))
    mine = os.times()
    used += mine.user - own.user + mine.system - own.system
    return made | {"other_cores": max(0.0, busy - used) / (time.monotonic() - began)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="[all]; none: an empty text")
    parser.add_argument("--alone", default=",".join(ALONE), help="figures of the product by itself [all]")
    parser.add_argument("--clients", default="epoll,uvloop", help="our engines [both]")
    parser.add_argument("--peers", default="sglang-rust,vllm", help=f"of {', '.join(PEERS)}; none: an empty text")
    parser.add_argument("--realtime", action="store_true", help="real-time priority for all (needs root)")
    parser.add_argument("--json", action="store_true", help="at the end, on one line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as kept:
        environ = as_installed(Path(kept))
        os.environ.clear()
        os.environ.update(environ)
        _measured(options)


def _measured(options: argparse.Namespace) -> None:
    cores = sorted(os.sched_getaffinity(0))
    first = ["chrt", "-f", "10"] if options.realtime else []
    there = [*first, "taskset", "-c", str(cores[0])]
    here = [*first, "taskset", "-c", ",".join(map(str, cores[1:] or cores))]
    clients = {name: ours(name) for name in _words(options.clients)} | peers(_words(options.peers))
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name in _words(options.workloads):
        work = WORKLOADS[name]
        timing = "answered at once" if work.instant else f"TTFT {work.ttft:g} ms, ITL {work.itl:g} ms"
        print(f"\n{name}: {work.streams} streams, {work.tokens} tokens, {timing}")
        print(f"{'client':<12}" + "".join(t.rjust(len(format(0, kind))) for t, _, kind in _COLUMNS), flush=True)
        for label, client in clients.items():
            try:
                row = measure(client, work, there, here)
            except (subprocess.CalledProcessError, ValueError, StopIteration) as error:
                print(f"{label:<12} failed: {error}")
                continue
            found.setdefault(name, {})[label] = row
            print(f"{label:<12}" + _shown(row), flush=True)
    single: dict[str, dict[str, float]] = {}
    for name in _words(options.alone):
        single[name] = _alone(name, there, here)
        print(f"{name}: " + ", ".join(f"{k} {v:.4g}" for k, v in single[name].items()), flush=True)
    rows = judged(found, single, _QUIET)
    _table(rows)
    if options.json:
        print(json.dumps({"clients": found, "alone": single, "goals": [r.as_json() for r in rows]}))


def _table(rows: Sequence[Goal]) -> None:
    print(f"\n{'goal':<66}{'value':>12}{'goal':>12}  ")
    for row in rows:
        print(f"{row.what:<66}{row.value:>12.4g}{row.sign + ' ' + format(row.goal, '.4g'):>12}  {row.verdict}")


def _words(text: str) -> list[str]:
    return [w for w in text.split(",") if w]


if __name__ == "__main__":
    main()
