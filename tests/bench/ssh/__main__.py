"""``python -m tests.bench.ssh``: our SSH transport beside paramiko as it comes, asyncssh, Fabric and OpenSSH.

``--only tools`` sets it beside pyinfra and Ansible, which takes its time and is left out otherwise.

Everything runs on this machine, servers too, so read the ratios and not the seconds. Contenders take turns, round by
round, and the best round of each counts: noise only adds. ``--json FILE`` writes all figures.
Peers are installed into virtual environments of their own below ``~/.cache``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.plugins.transports.sshd import Sshd, cannot

HERE = Path(__file__).resolve().parent
PEERS = {
    "asyncssh": ("asyncssh", "fabric"),
    "fabric": ("asyncssh", "fabric"),
    "pyinfra": ("pyinfra",),
    "ansible": ("ansible-core",),
}
"""What is installed for each."""
MIB = 1024 * 1024


def python_of(tool: str) -> Path:
    """The interpreter that has a tool."""
    if tool not in PEERS:
        return Path(sys.executable)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "playbook-kernel" / "bench-ssh"
    place = cache / "-".join(PEERS[tool])
    python = place / "bin" / "python"
    if not (place / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEERS[tool]], check=True)
        (place / "complete").touch()
    return python


class Bench:
    """The servers, and what has been measured: ``figures[task][tool][name]`` holds a value for each round."""

    def __init__(self, servers: Sequence[Sshd], scratch: Path, rounds: int) -> None:
        self.servers, self.scratch, self.rounds = servers, scratch, rounds
        self.ways = {"remote": scratch / "remote", "back": scratch / "back"}
        self.figures: dict[str, dict[str, dict[str, list[float]]]] = {}

    def measure(self, label: str, tools: Sequence[str], task: str, nodes: int, **place: object) -> None:
        """Let the tools take turns at a task."""
        first = self.servers[0]
        known = self.scratch / "known_hosts"
        known.write_text("".join(s.known_hosts.read_text() for s in self.servers))
        common = {
            "host": first.host,
            "ports": [s.port for s in self.servers[:nodes]],
            "user": first.username,
            "key": str(first.key),
            "known": str(known),
            "scratch": str(self.scratch),
            **{k: str(v) if isinstance(v, Path) else v for k, v in place.items()},
        }
        found = self.figures.setdefault(label, {})
        for turn in range(self.rounds):
            for tool in tools:
                argv = [str(python_of(tool)), str(HERE / "contenders.py"), tool, task, json.dumps(common)]
                done = subprocess.run(argv, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{tool} failed at {label}:\n{done.stderr}")
                for name, value in json.loads(done.stdout.splitlines()[-1]).items():
                    found.setdefault(tool, {}).setdefault(name, []).append(value)
                for name in ("remote", "back"):
                    path = Path(str(common.get(name, "")) or "/nonexistent")
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            print(f"{label}: round {turn + 1} of {self.rounds}", file=sys.stderr)

    def best(self, label: str, tool: str, name: str) -> float:
        return min(self.figures[label][tool][name])


Row = tuple[str, float, str, float, float, str]
"""What, our seconds, against whom, their seconds, the ratio, the goal."""


def row(bench: Bench, label: str, name: str, peer: str, goal: str, *, speed: bool = False, scale: float = 1.0) -> Row:
    """One comparison: of times, or of speeds. ``scale``: what they were spared of the work."""
    mine, theirs = bench.best(label, "ours", name), bench.best(label, peer, name) * scale
    what = f"{label}: {name}{' (speed)' if speed else ''}"
    return what, mine, peer, theirs, theirs / mine if speed else mine / theirs, goal


def commands(bench: Bench, nodes: int) -> list[Row]:
    """Short commands on one node and on many."""
    one, all_ = "1 node, 20 commands", f"{nodes} nodes, 20 commands"
    bench.measure(one, ("ours", "paramiko", "asyncssh", "openssh"), "commands", 1, commands=20)
    bench.measure(all_, ("ours", "asyncssh", "fabric", "openssh"), "commands", nodes, commands=20)
    return [
        row(bench, one, "warm", "paramiko", "<= 0.083"),
        row(bench, one, "warm", "asyncssh", ""),
        row(bench, one, "warm", "openssh", ""),
        row(bench, all_, "connect", "asyncssh", "<= 1.10"),
        row(bench, all_, "warm", "asyncssh", "<= 0.95"),
        row(bench, all_, "warm", "fabric", "<= 0.50"),
        row(bench, all_, "warm", "openssh", "<= 0.25"),
        row(bench, all_, "cpu", "asyncssh", ""),
    ]


def tools(bench: Bench, nodes: int) -> list[Row]:
    """Short commands on many nodes, beside tools that are made for that."""
    label = f"{nodes} nodes, 20 commands (tools)"
    bench.measure(label, ("ours", "pyinfra", "ansible"), "commands", nodes, commands=20)
    return [
        row(bench, label, "warm", "pyinfra", "<= 0.20"),
        row(bench, label, "warm", "ansible", "<= 0.10"),
    ]


def one_file(bench: Bench, size: int) -> list[Row]:
    """One big file, both ways."""
    big, label = bench.scratch / "big", f"{size} MiB"
    with big.open("wb") as file:
        for _ in range(size):
            file.write(os.urandom(MIB))
    bench.measure(label, ("ours", "openssh", "paramiko"), "file", 1, local=big, **bench.ways)
    big.unlink()
    goals = {("up", "openssh"): ">= 0.45", ("down", "openssh"): ">= 0.55"}
    return [
        row(bench, label, way, peer, goals.get((way, peer), ">= 2.5"), speed=True)
        for way in ("up", "down")
        for peer in ("openssh", "paramiko")
    ]


def many_files(bench: Bench, count: int) -> list[Row]:
    """A folder of small files, both ways."""
    small, tenth, label = bench.scratch / "small", bench.scratch / "tenth", f"{count} files"
    for folder, number in ((small, count), (tenth, count // 10)):
        folder.mkdir()
        for n in range(number):
            (folder / f"{n:06}").write_bytes(os.urandom(4096))
    bench.measure(label, ("ours", "openssh"), "tree", 1, local=small, **bench.ways)
    bench.measure(label, ("paramiko",), "tree", 1, local=tenth, **bench.ways)
    return [
        found
        for way in ("up", "down")
        for found in (
            row(bench, label, way, "openssh", ">= 0.90", speed=True),
            row(bench, label, way, "paramiko", ">= 15", speed=True, scale=10.0),
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ssh", description=__doc__)
    parser.add_argument("--only", choices=("commands", "tools", "file", "files"), help="one part of it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=32)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the one big file")
    parser.add_argument("--files", type=int, default=10_000, help="small files of 4 KiB")
    parser.add_argument("--json", type=Path, help="write all figures there")
    given = parser.parse_args()
    if why := cannot():
        raise SystemExit(f"no sshd: {why}")
    scratch = Path(tempfile.mkdtemp(prefix="playbook-bench-", dir="/dev/shm"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        servers = [stack.enter_context(Sshd(scratch / f"sshd-{n}")) for n in range(given.nodes)]
        for server in servers[1:]:
            server.authorized.write_bytes(servers[0].authorized.read_bytes())
        bench = Bench(servers, scratch, given.rounds)
        parts = {
            "commands": lambda: commands(bench, given.nodes),
            "tools": lambda: tools(bench, given.nodes),
            "file": lambda: one_file(bench, given.size),
            "files": lambda: many_files(bench, given.files),
        }
        chosen = [given.only] if given.only else [name for name in parts if name != "tools"]
        rows = [found for name in chosen for found in parts[name]()]
    print(f"{'what':38} {'ours':>9} {'theirs':>9}  {'against':9} {'ratio':>6}  goal")
    for what, mine, peer, theirs, ratio, goal in rows:
        print(f"{what:38} {mine:8.3f}s {theirs:8.3f}s  {peer:9} {ratio:6.2f}  {goal}")
    print(f"our memory at most: {max(max(t['ours']['rss']) for t in bench.figures.values()):.0f} MiB")
    if given.json:
        given.json.write_text(json.dumps({"figures": bench.figures, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
