"""What is measured of the product by itself: its start, its end, its memory, its punctuality, its counting."""

from __future__ import annotations

import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from playbook_plugins.benchmarks.aicp.core.records import load
from playbook_plugins.benchmarks.aicp.core.stats import percentile

from .clients import Workload, command, flags, result
from .servers import known, server

_LONG = Workload("long", 512, 128, 50, 10, 16)


def start(there: Sequence[str], here: Sequence[str], runs: int = 7) -> float:
    """Seconds from the start of the process to its first request (the warm-up), median."""
    found = []
    for _ in range(runs):
        with server(known(5, 1), there) as there_is, tempfile.TemporaryDirectory() as folder:
            began = time.monotonic_ns()
            words = command(there_is.url, folder, "--max-concurrency", 1, "--num-prompts", 1, "--dynamic-output-len", 2)
            subprocess.run([*here, *words], stdout=subprocess.DEVNULL, check=True)
            log = there_is.get("/__log")
        found.append((min(s["received"] for s in log["streams"]) - began) / 1e9)
    return statistics.median(found)


def after(there: Sequence[str], here: Sequence[str]) -> tuple[float, float, float]:
    """Seconds from the last token to the end of the process: for each million tokens, and besides; then CPU seconds of
    all but the load itself for each million tokens, which foreign load stretches less.
    """
    found = {}
    for waves in (1, _LONG.waves):
        with server(known(_LONG.ttft, _LONG.itl), there) as there_is, tempfile.TemporaryDirectory() as folder:
            work = Workload("", _LONG.streams, _LONG.tokens, 0, 0, waves)
            words, used = [*here, *command(there_is.url, folder, *flags(work))], _children()
            subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
            ended, used = time.monotonic_ns(), _children() - used
            seen = result(folder)
            last = max(s["sent"][-1] for s in there_is.get("/__log")["streams"])
        found[seen["output_tokens"]] = (ended - last) / 1e9, used - seen["client"]["cpu_seconds"]
    (few, (short, little)), (many, (long, much)) = sorted(found.items())
    slope = (long - short) / (many - few)
    return slope * 1e6, short - slope * few, (much - little) / (many - few) * 1e6


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def memory(there: Sequence[str], here: Sequence[str]) -> float:
    """The most that all processes together held (PSS), MiB, while 512 streams ran and afterwards."""
    work = Workload("", 512, 128, 50, 20, 3)
    with server(known(work.ttft, work.itl), there) as there_is, tempfile.TemporaryDirectory() as folder:
        words = [*here, *command(there_is.url, folder, *flags(work))]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
            most = 0.0
            while process.poll() is None:
                most = max(most, sum(map(_held, _family(process.pid))))
                time.sleep(0.1)
    return most


def _family(pid: int) -> list[int]:
    found, seen = [pid], 0
    while seen < len(found):
        try:
            text = Path(f"/proc/{found[seen]}/task/{found[seen]}/children").read_text()
        except OSError:
            text = ""
        found += map(int, text.split())
        seen += 1
    return found


def _held(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def punctual(there: Sequence[str], here: Sequence[str], rate: int = 1000, seconds: int = 10) -> tuple[float, float]:
    """p99 of how late requests were, ms, at a Poisson rate: as the client says, and by the server's kernel."""
    with server(known(5, 1), there) as there_is, tempfile.TemporaryDirectory() as folder:
        words = command(
            there_is.url, folder, "--request-rate", rate, "--arrival", "poisson", "--max-concurrency", 0,
            "--num-prompts", rate * seconds, "--dynamic-output-len", 2, "--disable-warm", "--processes", 1,
        )  # fmt: skip
        subprocess.run([*here, *words], stdout=subprocess.DEVNULL, check=True)
        records = load(next(Path(folder).glob("records/*/*.jsonl"))).records
        received = {s["id"]: s["received"] for s in there_is.get("/__log")["streams"]}
    said = sorted((r.sent - r.intended) / 1000 for r in records)
    there_at = {r.number: received[str(r.number)] / 1000 for r in records}
    # The way takes at least as long as for the quickest request.
    way = min(there_at[r.number] - r.sent for r in records)
    late = sorted((there_at[r.number] - way - r.intended) / 1000 for r in records)
    return percentile(said, 99), percentile(late, 99)


def counts(there: Sequence[str], here: Sequence[str]) -> bool:
    """Whether tokens are counted exactly where chunks hold several."""
    with server(known(5, 1, per_chunk=4), there) as there_is, tempfile.TemporaryDirectory() as folder:
        work = Workload("", 32, 103, 0, 0, 8)
        subprocess.run([*here, *command(there_is.url, folder, *flags(work))], stdout=subprocess.DEVNULL, check=True)
        found = result(folder)
    chunks = -(-103 // 4)
    return bool(found["output_tokens"] == 32 * 8 * 103 and found["output_tokens_by_chunk"] == 32 * 8 * chunks)
