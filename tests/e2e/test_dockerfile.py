"""The controller in a container: built of wheels alone, on an engine that reaches no registry, and used as its page says."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.core import Lab

from .helpers import ROOT

PLACE, IMAGE = "/root/controller", "playbook-kernel"
pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
OUTSIDE = os.open("/proc/self/ns/net", os.O_RDONLY)
"""The network that the tests are in before a lab is up: what packages come from is not in the lab's."""
SCENARIO = {
    "scenarios/001_a/docker-compose.yml": "services:\n  engine: {image: lab/busybox:1, command: [sleep, '600']}\n",
    "scenarios/001_a/metadata.yaml": "name: a\nservices: [{name: engine, nodes: [far]}]\ntest_execution: {script: test.py}\n",
    "scenarios/001_a/test.py": "print('METRIC:throughput=7')\n",
    "scenarios.yaml": "inter_scenario: {wait_between_scenarios: 0, retry_count: 0}\n",
}
NODES = """nodes:
  far: {{host: {addr}, username: root, key_filename: config/key, known_hosts: config/known_hosts}}
"""


def packed(files: dict[str, bytes], folders: tuple[Path, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))
        for folder in folders:
            tar.add(folder, folder.name)
    return out.getvalue()


def wheelhouse(folder: Path) -> Path:
    """Our wheel, all that it needs, and pip, for the Python of the lab's image: what a user collects with two commands."""
    version = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    pip = ["nsenter", f"--net=/proc/self/fd/{OUTSIDE}", "--", sys.executable, "-m", "pip"]
    ours = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(ours, check=True, timeout=200, pass_fds=[OUTSIDE])
    wanted = ["--python-version", version, "--only-binary", ":all:", "--find-links", folder, "playbook-kernel", "pip"]
    done = subprocess.run(
        [*pip, "download", "--quiet", "--dest", folder, *wanted],
        capture_output=True, text=True, timeout=300, check=False, pass_fds=[OUTSIDE],
    )  # fmt: skip
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"packages cannot be had here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def node(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The image is built on n2, and the user's files lie there."""
    wheels = wheelhouse(tmp_path_factory.mktemp("context") / "wheels")
    context = packed({"Dockerfile": (ROOT / "Dockerfile").read_bytes()}, (wheels,))
    build = ["docker", "build", "--quiet", "--tag", IMAGE, "--build-arg", "BASE=lab/python:3", "-"]
    built = subprocess.run(lab.inside("n2", build), input=context, capture_output=True, timeout=280, check=False)
    assert built.returncode == 0, (built.stdout + built.stderr).decode()[-3000:]
    files = {f"config/{name}": text.encode() for name, text in SCENARIO.items()}
    files["config/nodes.yaml"] = NODES.format(addr=lab.nodes["n1"].addr).encode()
    files["config/key"], files["config/known_hosts"] = lab.key_filename.read_bytes(), lab.known_hosts.read_bytes()
    unpack = ["sh", "-c", f"mkdir -p {PLACE}/results && tar -xC {PLACE}"]
    subprocess.run(lab.inside("n2", unpack), input=packed(files), check=True, timeout=60)
    try:
        yield lab
    finally:
        lab.run("n2", ["rm", "-rf", PLACE])
        lab.run("n2", ["docker", "image", "rm", "--force", IMAGE])


def run(lab: Lab, *argv: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    mounts = [f"--volume={PLACE}/{name}:/workspace/playbook/{name}" for name in ("config", "results")]
    command = ["docker", "run", "--rm", "--network=host", *mounts, *options, IMAGE, *argv]
    return lab.run("n2", command, check=False, timeout=200)


def test_status_of_the_files_that_are_mounted(node: Lab) -> None:
    done = run(node, "status")
    assert done.returncode == 0, done.stderr
    assert "Overall Status: " in done.stdout


def test_a_campaign_runs_over_ssh_and_its_results_are_on_the_mount(node: Lab) -> None:
    done = run(node, "run", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    found = node.run("n2", ["sh", "-c", f"cat {PLACE}/results/*/001_a/summary/result_summary.json"]).stdout
    assert '"avg_throughput": 7' in found


def test_it_needs_no_root(node: Lab) -> None:
    node.run("n2", ["sh", "-c", f"chmod a+rX /root && chmod -R a+rX {PLACE}"])
    done = run(node, "validate", "--json", options=("--user=1234:1234", "--cap-drop=ALL"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["valid"] is True
