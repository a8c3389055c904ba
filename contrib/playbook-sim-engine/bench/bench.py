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
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import date
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_CORES = sorted(os.sched_getaffinity(0))


def _pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(_CORES[core % len(_CORES)])]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


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

    def load(self, *flags: str) -> tuple[dict[str, dict[str, float]], dict[str, float], float]:
        """Run the client; return its summary and the engine's CPU seconds."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "summary.json"
            before = _cpu(self.process.pid)
            command = [*_pinned(1), sys.executable, "-m", "playbook_sim_engine.client", "--base-url", self.url]
            subprocess.run([*command, "--out", str(out), *flags], check=True, stdout=subprocess.DEVNULL)
            cpu = _cpu(self.process.pid) - before
            summary = json.loads(out.read_text(encoding="utf-8"))
        return summary, summary, cpu

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


def timing(seconds: float) -> None:
    """TTFT and ITL set and seen, for 1, 64 and 512 streams at 20 tokens/s each."""
    print(
        "| streams | tokens/s | TTFT error p50 / p99, ms | ITL error p50 / p99, ms | lag p50 / p99 <=, ms | engine CPU |"
    )
    print("|---|---|---|---|---|---|")
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
            rounds = max(2, round(seconds / 1.0))
            summary, figures, cpu = engine.load(
                "--concurrency", str(streams), "--requests", str(streams * rounds), "--max-tokens", "20",
                "--prompt-tokens", "32", "--ramp-s", "1.0",
            )  # fmt: skip
            lag = engine.lag()
        ttft, itl = summary["ttft_ms"], summary["itl_ms"]
        print(
            f"| {streams} | {figures['throughput_tokens_per_s']:.0f} | {ttft['p50'] - 50:+.2f} / {ttft['p99'] - 50:+.2f} "
            f"| {itl['p50'] - 50:+.2f} / {itl['p99'] - 50:+.2f} | {lag['p50']:g} / {lag['p99']:g} "
            f"| {cpu / figures['duration_s']:.2f} cores |"
        )


def throughput() -> None:
    """As fast as it goes: requests/s with 2 tokens each, tokens/s with 256 tokens each, one engine process."""
    print("\n| load, 64 at once | seen | engine CPU | per core |")
    print("|---|---|---|---|")
    zero = [f"--{name}" for name in ("prefill-base-ms", "prefill-per-token-ms", "decode-base-ms", "decode-per-seq-ms")]
    flags = [item for name in zero for item in (name, "0")]
    for label, requests, tokens, unit in (
        ("2 tokens, streamed", 6000, 2, "requests"),
        ("256 tokens, streamed", 600, 256, "tokens"),
        ("256 tokens, 8 a chunk", 600, 256, "tokens"),
    ):
        chunk = ["--tokens-per-chunk", "8"] if "chunk" in label else []
        with Engine(*flags, *chunk) as engine:
            _, figures, cpu = engine.load(
                "--concurrency", "64", "--requests", str(requests), "--max-tokens", str(tokens), "--prompt-tokens", "32"
            )
        rate, amount = figures[f"throughput_{unit}_per_s"], requests * (tokens if unit == "tokens" else 1)
        share = cpu / figures["duration_s"]
        print(f"| {label} | {rate:,.0f} {unit}/s | {share:.2f} cores | {amount / cpu:,.0f} {unit}/s |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each timing run [5]")
    options = parser.parse_args()
    print(f"{date.today()}, {platform.python_implementation()} {platform.python_version()}, {len(_CORES)} cores\n")
    timing(options.seconds)
    throughput()


if __name__ == "__main__":
    main()
