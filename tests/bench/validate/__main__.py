"""What ``validate`` costs for many scenarios and nodes, without connections.

    python -m tests.bench.validate            # 1,000 scenarios, 500 nodes
    python -m tests.bench.validate --scenarios 100 --nodes 50

Prints seconds of CPU and peak memory of the command in a process of its own, the best of several calls, and the ratio to
plain YAML reading of the same files by PyYAML's C loader in the same minute: that holds on a busy machine, too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import as_installed

GOAL_SECONDS, GOAL_MIB = 2.0, 150.0
CALL = """import resource, sys
from playbook_kernel.cli.main import main
try:
    main(["validate", "--json"])
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, file=sys.stderr)
"""
COMPOSE = """services:
  prefill:
    image: vllm/vllm-openai:v0.8
    command: ["--model", "/models/m{n}", "--port", "8000"]
    ports: ["8000:8000"]
    environment: {{A: "1", B: "2"}}
  decode:
    image: vllm/vllm-openai:v0.8
    command: ["--model", "/models/m{n}", "--port", "8001"]
    ports: ["8001:8001"]
    depends_on: [prefill]
"""
METADATA = """name: scenario {n}
description: number {n}
tags: [a, b]
estimated_duration: 600
services:
  - name: prefill
    nodes: [{one}]
    health_check:
      checks:
        - {{type: http_endpoint, url: "http://localhost:8000/health"}}
  - name: decode
    nodes: [{two}]
    depends_on: [prefill]
test_execution: {{node: local, script: run_test.sh, result_paths: [results]}}
"""


def lay_out(root: Path, scenarios: int, nodes: int) -> None:
    """Write the files of so many scenarios and nodes."""
    names = [f"n{n:03}" for n in range(nodes)]
    (root / "config/scenarios").mkdir(parents=True)
    hosts = "".join(
        f"  {name}:\n    host: 10.0.{n // 250}.{n % 250 + 1}\n    username: bench\n    password: ${{P:-secret}}\n"
        for n, name in enumerate(names)
    )
    (root / "config/nodes.yaml").write_text(f"nodes:\n{hosts}")
    (root / "config/scenarios.yaml").write_text("inter_scenario: {wait_between_scenarios: 0}\n")
    for n in range(scenarios):
        folder = root / f"config/scenarios/{n:04}_scenario"
        folder.mkdir()
        one, two = names[n % nodes], names[(n + 1) % nodes]
        (folder / "docker-compose.yml").write_text(COMPOSE.format(n=n))
        (folder / "metadata.yaml").write_text(METADATA.format(n=n, one=one, two=two))
        (folder / "run_test.sh").write_text("echo METRIC:throughput=1\n")


def validate(root: Path) -> tuple[float, float]:
    """CPU seconds and peak MiB of one call."""
    environ = as_installed(root)
    done = subprocess.run(
        [sys.executable, "-c", CALL], cwd=root, capture_output=True, text=True, check=True, env=environ
    )
    assert json.loads(done.stdout)["valid"] is True
    cpu, mib = done.stderr.split()[-2:]
    return float(cpu), float(mib)


def plain(root: Path) -> float:
    """CPU seconds of reading the same files with nothing but PyYAML's C loader."""
    import yaml

    began = time.process_time()
    for path in sorted((root / "config").rglob("*.y*ml")):
        yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenarios", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--times", type=int, default=4)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lay_out(root, asked.scenarios, asked.nodes)
        validate(root)  # Python compiles its modules once
        calls = [(*validate(root), plain(root)) for _ in range(asked.times)]
    cpu, mib, yaml = (min(c[i] for c in calls) for i in range(3))
    print(f"validate, {asked.scenarios} scenarios, {asked.nodes} nodes; load average {os.getloadavg()[0]:.1f}")
    print(f"CPU {cpu:.2f} s (goal {GOAL_SECONDS:.2f}), peak {mib:.0f} MiB (goal {GOAL_MIB:.0f})")
    print(f"{cpu / yaml:.2f} times plain YAML loading of the same files ({yaml:.2f} s)")


if __name__ == "__main__":
    main()
