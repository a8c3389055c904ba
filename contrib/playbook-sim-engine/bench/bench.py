"""Measures the engine on this machine: timing error, throughput, CPU. `python contrib/playbook-sim-engine/bench/bench.py`.

The client is the package's own; its error is part of the figures, so they are upper bounds of the engine's. Engine and
client are pinned to a core each where there are two.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_CORES = sorted(os.sched_getaffinity(0))


def _pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(_CORES[core % len(_CORES)])]


def _busy() -> float:
    """CPU seconds that all processes of the machine have used."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / _TICKS


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass(frozen=True)
class Result:
    """The client's summary, the engine's CPU seconds, and the cores that others used meanwhile."""

    summary: dict[str, Any]
    cpu: float
    foreign: float

    @property
    def cores(self) -> float:
        return float(self.cpu / self.summary["duration_s"])


class Engine:
    """One engine for the length of a `with` block."""

    def __init__(self, *flags: str) -> None:
        self._flags = flags

    def __enter__(self) -> Engine:
        command = [*_pinned(0), sys.executable, "-m", "playbook_sim_engine", "--host", "127.0.0.1", "--port", "0"]
        self._log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([*command, "--log-every", "0", *self._flags], stdout=self._log)
        for _ in range(500):
            self._log.seek(0)
            match = re.search(rb"listening on [\d.]+:(\d+), model", self._log.read())
            if match:
                self.url = f"http://127.0.0.1:{int(match[1])}"
                return self
            time.sleep(0.02)
        raise SystemExit("the engine did not start")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)
        self._log.close()

    def load(self, *flags: str) -> Result:
        """Run the client against the engine."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "summary.json"
            before = _cpu(self.process.pid), _busy(), _children(), time.monotonic()
            command = [*_pinned(1), sys.executable, "-m", "playbook_sim_engine.client", "--base-url", self.url]
            subprocess.run([*command, "--out", str(out), *flags], check=True, stdout=subprocess.DEVNULL)
            cpu, busy, client = _cpu(self.process.pid) - before[0], _busy() - before[1], _children() - before[2]
            foreign = max(0.0, busy - cpu - client) / (time.monotonic() - before[3])
            return Result(json.loads(out.read_text(encoding="utf-8")), cpu, foreign)

    def lag(self) -> dict[str, float]:
        """Quantiles (upper bucket bounds, ms) of how late tokens left against the model's clock."""
        with urllib.request.urlopen(self.url + "/metrics", timeout=5) as page:
            text = page.read().decode()
        buckets = [
            (float(bound), float(count))
            for bound, count in re.findall(r'sim:schedule_lag_seconds_bucket\{[^}]*le="([^"]+)"\} (\S+)', text)
        ]
        total = buckets[-1][1]
        return {
            name: next(bound for bound, count in buckets if count >= total * share) * 1000
            for name, share in (("p50", 0.5), ("p99", 0.99))
        }


def timing(rounds: int) -> None:
    """TTFT and ITL set and seen, for 1, 64 and 512 streams at 20 tokens/s each."""
    print(
        "| streams | tokens/s | TTFT error p50 / p99 | ITL error p50 / p99 | own lag p50 / p99 | CPU | others' load |"
    )
    print("|---|---|---|---|---|---|---|")
    flags = [
        "--scheduling",
        "paced",
        "--prefill-base-ms",
        "50",
        "--prefill-per-token-ms",
        "0",
        "--decode-base-ms",
        "50",
    ]
    for streams in (1, 64, 512):
        with Engine(*flags, "--decode-per-seq-ms", "0", "--max-num-seqs", "1024") as engine:
            result = engine.load(
                "--concurrency", str(streams), "--requests", str(streams * rounds), "--max-tokens", "20",
                "--prompt-tokens", "32", "--ramp-s", "1.0",
            )  # fmt: skip
            lag = engine.lag()
        ttft, itl = result.summary["ttft_ms"], result.summary["itl_ms"]
        print(
            f"| {streams} | {result.summary['throughput_tokens_per_s']:,.0f} "
            f"| {ttft['p50'] - 50:+.2f} / {ttft['p99'] - 50:+.2f} ms | {itl['p50'] - 50:+.2f} / {itl['p99'] - 50:+.2f} ms "
            f"| <= {lag['p50']:g} / {lag['p99']:g} ms | {result.cores:.2f} cores | {result.foreign:.2f} cores |"
        )


def throughput() -> None:
    """As fast as it goes: requests/s with 2 tokens each, tokens/s with 256 tokens each, one engine process."""
    print("\n| load, 64 at once | seen | CPU | per core of the engine | others' load |")
    print("|---|---|---|---|---|")
    zero = [f"--{name}" for name in ("prefill-base-ms", "prefill-per-token-ms", "decode-base-ms", "decode-per-seq-ms")]
    flags = [item for name in zero for item in (name, "0")]
    for label, requests, tokens, unit in (
        ("2 tokens, streamed", 6000, 2, "requests"),
        ("256 tokens, streamed", 600, 256, "tokens"),
        ("256 tokens, 8 a chunk", 600, 256, "tokens"),
    ):
        chunk = ["--tokens-per-chunk", "8"] if "chunk" in label else []
        with Engine(*flags, *chunk) as engine:
            result = engine.load(
                "--concurrency", "64", "--requests", str(requests), "--max-tokens", str(tokens), "--prompt-tokens", "32"
            )
        amount = requests * (tokens if unit == "tokens" else 1)
        print(
            f"| {label} | {result.summary[f'throughput_{unit}_per_s']:,.0f} {unit}/s | {result.cores:.2f} cores "
            f"| {amount / result.cpu:,.0f} {unit}/s | {result.foreign:.2f} cores |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="requests of each stream in the timing runs [5]")
    parser.add_argument("--nice", type=int, default=0, help="priority of engine and client; negative needs root [0]")
    options = parser.parse_args()
    os.nice(options.nice)
    print(f"{date.today()}, {platform.python_implementation()} {platform.python_version()}, {len(_CORES)} cores\n")
    timing(options.rounds)
    throughput()


if __name__ == "__main__":
    main()
