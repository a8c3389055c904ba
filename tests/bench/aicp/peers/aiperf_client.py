"""AIPerf as its users run it: its own command, its own processes. Prints what it reported as JSON.

Its start and its end take several seconds, so CPU is counted between its first request and its last answer only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TICKS = 100
PLAIN = {"unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 1_000_000}


def tokenizer(folder: Path) -> None:
    """A vocabulary of single words: nothing is fetched."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"<unk>": 0, **{f"w{n}": n + 1 for n in range(4000)}}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(PLAIN))


def family(pid: int) -> list[int]:
    found, seen = [pid], 0
    while seen < len(found):
        for task in Path(f"/proc/{found[seen]}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
        seen += 1
    return found


def used(pid: int) -> float:
    """CPU seconds of a process and of all that it started."""
    total = 0
    for one in family(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def watch(process: subprocess.Popen[bytes], seen: list[tuple[int, float]]) -> None:
    while process.poll() is None:
        seen.append((time.time_ns(), used(process.pid)))
        time.sleep(0.05)


def at(seen: list[tuple[int, float]], moment: int) -> float:
    return max((cpu for when, cpu in seen if when <= moment), default=0.0)


def main(url: str, concurrency: int, count: int, tokens: int) -> None:
    base = url.removesuffix("/v1/completions")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        tokenizer(folder)
        command = [
            str(Path(sys.executable).with_name("aiperf")), "profile", "--model", "mock", "--url", base,
            "--endpoint-type", "completions", "--streaming", "--concurrency", str(concurrency),
            "--request-count", str(count), "--synthetic-input-tokens-mean", "32", "--output-tokens-mean", str(tokens),
            "--extra-inputs", "ignore_eos:true", "--tokenizer", made, "--ui", "none", "--artifact-dir", f"{made}/out",
            "--use-server-token-count",
        ]  # fmt: skip
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            seen: list[tuple[int, float]] = []
            watcher = threading.Thread(target=watch, args=(process, seen))
            watcher.start()
            watcher.join()
        if process.returncode:
            sys.exit((folder / "log").read_text("utf-8", "replace")[-2000:])
        lines = [json.loads(line) for line in (folder / "out/profile_export.jsonl").open()]
    rows = [line for line in lines if line["metadata"]["benchmark_phase"] == "profiling" and not line.get("error")]
    began = min(line["metadata"]["request_start_ns"] for line in rows)
    ended = max(line["metadata"]["request_end_ns"] for line in rows)
    requests = [
        {
            "ttft": line["metrics"]["time_to_first_token"]["value"] / 1000,
            "itl": [gap / 1000 for gap in line["metrics"].get("inter_chunk_latency", {}).get("value", [])],
        }
        for line in rows
    ]
    cpu = at(seen, ended) - at(seen, began)
    json.dump({"seconds": (ended - began) / 1e9, "cpu": cpu, "requests": requests}, sys.stdout)


main(sys.argv[1], *map(int, sys.argv[2:5]))
