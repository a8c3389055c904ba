"""The load generator beside its peers, on one known-timing server: ``python -m tests.bench.aicp [--help]``.

What each client reports is compared with the server's own record of the same run. Ours is the whole product:
``playbook-aicp`` with records, usage and statistics. Peers go into a folder of their own: aiohttp and httpx as most
scripts use them, and SGLang's Rust client from its wheel.

A figure of accuracy counts only where others used less than 0.2 cores meanwhile (``other``); with ``--realtime`` server
and clients get real-time priority, so that others matter less.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from playbook_plugins.benchmarks.aicp.calibrate import Known
from playbook_plugins.benchmarks.aicp.core.launch import cpu_times
from playbook_plugins.benchmarks.aicp.core.stats import percentile

HERE = Path(__file__).parent
CACHE = Path.home() / ".cache" / "playbook-bench-aicp"
MODULE = "playbook_plugins.benchmarks.aicp"
SGLANG = "sglang==0.5.23"


@frozen
class Workload:
    """``waves``: requests are so many times ``streams``."""

    name: str
    streams: int
    tokens: int
    ttft: float
    itl: float
    waves: int


WORKLOADS = {
    w.name: w
    for w in (
        Workload("gentle", 32, 128, 50, 10, 4),
        Workload("heavy", 512, 128, 50, 20, 3),
        Workload("fast", 512, 128, 50, 10, 3),
        Workload("instant-64", 64, 2, 0, 0, 300),
        Workload("instant-512", 512, 2, 0, 0, 40),
    )
}


@frozen
class Seen:
    """What a client reported, ms; CPU seconds are those of the load alone for ours, of the whole process for peers."""

    requests: int
    tokens: int
    seconds: float
    ttft_mean: float
    ttft_p99: float
    itl_p99: float
    cpu: float | None = None


def peers() -> dict[str, list[str]]:
    """Commands of the peers that can be had; those that cannot are said."""
    python = CACHE / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(CACHE / "venv", with_pip=True)
    found = {}
    for name in ("aiohttp", "httpx"):
        if subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False).returncode:
            subprocess.run([python, "-m", "pip", "install", "-q", name], capture_output=True, check=False)
        if subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0:
            found[name] = [str(python), str(HERE / "peers" / f"{name}_client.py")]
        else:
            print(f"{name} cannot be installed here: left out")
    extension = _sglang(python)
    if extension is not None:
        found["sglang rust"] = [sys.executable, str(HERE / "peers" / "sglang_rust.py"), str(extension)]
    return found


def _sglang(python: Path) -> Path | None:
    folder = CACHE / "sglang"
    if not folder.exists():
        with tempfile.TemporaryDirectory() as made:
            command = [python, "-m", "pip", "download", "-q", "--no-deps", "-d", made, SGLANG]
            subprocess.run(command, capture_output=True, check=False)
            for wheel in Path(made).glob("*.whl"):
                subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(folder)], check=True)
    found = next(folder.glob("sglang/srt/rust_extensions/_bench*.so"), None)
    if found is None:
        print(f"{SGLANG} cannot be had here: left out")
    return found


def ours(engine: str) -> Callable[[str, Workload, list[str]], Seen]:
    """The product with an engine."""

    def run(url: str, work: Workload, prefix: list[str]) -> Seen:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                *prefix, sys.executable, "-m", f"{MODULE}.cli", "--base-url", url, "--model", "mock",
                "--dataset-name", "random", "--dynamic-input-len", "32", "--dynamic-output-len", str(work.tokens),
                "--max-concurrency", str(work.streams), "--num-prompts", str(work.streams * work.waves),
                "--ramp", "0", "--calibrate", "0", "--disable-warm", "--engine", engine, "--result-dir", folder,
                "--processes", "1",
            ]  # fmt: skip
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            found = json.loads(next(Path(folder).glob("records/*/*.json")).read_text())
        metrics = found["metrics"]
        return Seen(
            found["succeeded"], found["output_tokens"], found["seconds"], metrics["ttft"]["mean"],
            metrics["ttft"]["p99"], metrics.get("itl", {}).get("p99", 0.0), found["client"]["cpu_seconds"],
        )  # fmt: skip

    return run


def peer(command: Sequence[str]) -> Callable[[str, Workload, list[str]], Seen]:
    """Another client, which prints what it saw."""

    def run(url: str, work: Workload, prefix: list[str]) -> Seen:
        numbers = [str(n) for n in (work.streams, work.streams * work.waves, work.tokens)]
        words = [*prefix, *command[:2], f"{url}/v1/completions", *numbers, *command[2:]]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        found = json.loads(done.stdout)
        waits = sorted(r["ttft"] * 1000 for r in found["requests"])
        gaps = sorted(g * 1000 for r in found["requests"] for g in r["itl"])
        tokens = len(waits) * work.tokens
        tail = percentile(gaps, 99) if gaps else 0.0
        return Seen(len(waits), tokens, found["seconds"], sum(waits) / len(waits), percentile(waits, 99), tail)

    return run


def truth(log: dict[str, Any]) -> tuple[float, float, float]:
    """Mean and p99 of TTFT, and p99 of ITL, as the server sent them."""
    waits = sorted((s["sent"][0] - s["received"]) / 1e6 for s in log["streams"])
    gaps = sorted((b - a) / 1e6 for s in log["streams"] for a, b in zip(s["sent"], s["sent"][1:], strict=False))
    return sum(waits) / len(waits), percentile(waits, 99), percentile(gaps, 99) if gaps else 0.0


def server(work: Workload, prefix: list[str]) -> tuple[subprocess.Popen[str], Known]:
    flags = {"ttft-ms": work.ttft, "itl-ms": work.itl, "stagger": "false"}
    words = [w for name, value in flags.items() for w in (f"--{name}", str(value))]
    command = [*prefix, sys.executable, "-m", f"{MODULE}.core.mock", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    port = int(process.stdout.readline().rsplit(":", 1)[1]) if process.stdout else 0
    return process, Known(port, process)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="[all]")
    parser.add_argument("--clients", default="", help="only these [all that can be had]")
    parser.add_argument("--realtime", action="store_true", help="real-time priority for all (needs root)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    first = ["chrt", "-f", "10"] if options.realtime else []
    there = [*first, "taskset", "-c", str(cores[0])]
    here = [*first, "taskset", "-c", ",".join(map(str, cores[1:] or cores))]
    clients = {"aicp epoll": ours("epoll"), "aicp uvloop": ours("uvloop")}
    clients |= {name: peer(command) for name, command in peers().items()}
    if options.clients:
        clients = {n: c for n, c in clients.items() if n in options.clients.split(",")}
    rows = []
    for name in options.workloads.split(","):
        work = WORKLOADS[name]
        print(f"\n{name}: {work.streams} streams, {work.tokens} tokens, TTFT {work.ttft} ms, ITL {work.itl} ms")
        print(f"{'client':<14}{'req/s':>9}{'tok/s':>10}{'TTFT true':>11}{'error mean':>11}{'p99':>9}"
              f"{'ITL p99':>9}{'error':>9}{'CPU s/1k tok':>14}{'req':>8}{'other':>7}")  # fmt: skip
        for label, client in clients.items():
            process, known = server(work, there)
            try:
                before, began = _cpu(process.pid), time.monotonic()
                seen = client(known.url, work, here)
                used, served, busy = (b - a for a, b in zip(before, _cpu(process.pid), strict=True))
                other = max(0.0, busy - used - served) / (time.monotonic() - began)
                mean, tail, gap = truth(known.get("/__log"))
            except (subprocess.CalledProcessError, ValueError, StopIteration) as error:
                print(f"{label:<14} failed: {error}")
                continue
            finally:
                process.terminate()
                process.wait()
            cpu = seen.cpu if seen.cpu is not None else used
            row = {
                "workload": name, "client": label, "requests_per_s": seen.requests / seen.seconds,
                "tokens_per_s": seen.tokens / seen.seconds, "ttft_true_ms": mean,
                "ttft_error_mean_ms": seen.ttft_mean - mean, "ttft_error_p99_ms": seen.ttft_p99 - tail,
                "itl_true_p99_ms": gap, "itl_error_p99_ms": seen.itl_p99 - gap,
                "cpu_s_per_1k_tokens": cpu / seen.tokens * 1000, "cpu_s_per_1k_requests": cpu / seen.requests * 1000,
                "other_cores": other,
            }  # fmt: skip
            rows.append(row)
            print(
                f"{label:<14}{row['requests_per_s']:>9.0f}{row['tokens_per_s']:>10.0f}{mean:>11.2f}"
                f"{row['ttft_error_mean_ms']:>+11.3f}{row['ttft_error_p99_ms']:>+9.3f}{gap:>9.2f}"
                f"{row['itl_error_p99_ms']:>+9.3f}{row['cpu_s_per_1k_tokens']:>14.4f}"
                f"{row['cpu_s_per_1k_requests']:>8.3f}{other:>7.2f}",
                flush=True,
            )
    if options.json:
        print(json.dumps(rows))


def _cpu(pid: int) -> tuple[float, float, float]:
    """CPU seconds so far of finished children, of a process, and of the whole machine."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return usage.ru_utime + usage.ru_stime, own, cpu_times()["busy"]


if __name__ == "__main__":
    main()
