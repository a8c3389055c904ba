"""What tests of faults do to nodes of the lab, and how they look at them without asking the tool."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tests.lab.core import Lab


def sh(lab: Lab, node: str, script: str, *args: str) -> str:
    """Run a shell script on a node; returns what it prints."""
    return lab.run(node, ["sh", "-c", script, "-", *args]).stdout.strip()


def background(lab: Lab, node: str, argv: Sequence[str], owner: str = "") -> None:
    """Start a process that outlives this call, with a trial's mark if ``owner`` is given."""
    mark = f"PLAYBOOK_OWNER={owner} " if owner else ""
    sh(lab, node, f"{mark}setsid {shlex.join(argv)} >/dev/null 2>&1 </dev/null &")


def running(lab: Lab, node: str, words: str) -> bool:
    """Whether a process with these words in its command line runs on a node."""
    return bool(lab.run(node, ["python3", "-c", _FIND, words]).stdout.strip())


def end(lab: Lab, node: str, *words: str) -> None:
    """Kill every process whose command line has these words."""
    for one in words:
        for pid in lab.run(node, ["python3", "-c", _FIND, one]).stdout.split():
            lab.run(node, ["kill", "-KILL", pid], check=False)


_FIND = """
import os, sys
from pathlib import Path
for p in Path("/proc").glob("[0-9]*"):
    try: command = (p / "cmdline").read_bytes().replace(b"\\0", b" ").decode(errors="replace")
    except OSError: continue
    if sys.argv[1] in command and int(p.name) != os.getpid(): print(p.name)
"""


def listing(lab: Lab, node: str) -> dict[str, list[str]]:
    """What could be left on a node: containers, networks, volumes, files, marked processes; empty kinds are left out."""
    docker = lab.nodes[node].flavour != "bare"
    asked = {
        "containers": "docker ps -a --format '{{.Names}}'",
        "networks": "docker network ls --filter type=custom --format '{{.Name}}'",
        "volumes": "docker volume ls -q",
        "files": "find /opt/inference /tmp /var/tmp /dev/shm -mindepth 1 2>/dev/null; :",  # what vanishes meanwhile is no error
        "processes": 'grep -lz "^PLAYBOOK_OWNER=." /proc/[0-9]*/environ 2>/dev/null | while read -r f; do '
        'tr "\\0" " " <${f%environ}cmdline; echo; done; :',
    }
    seen = {k: sorted(sh(lab, node, v).splitlines()) for k, v in asked.items() if docker or k in ("files", "processes")}
    return {k: v for k, v in seen.items() if v}
