"""A tool that runs in a real container: it ends by itself, or is killed at its deadline; nothing of it is left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from packaging.version import Version
from playbook_bench_tool import ToolBenchmark, ToolOptions, collect, containers
from playbook_kernel.api import Deployment, DriverRef, Endpoint, Load, Measurement, Node, within
from playbook_kernel.loading import Loader
from playbook_kernel.testing import check_cleanup, check_driver, fake_trial

from tests.lab.core import Lab


class Shell(ToolBenchmark[ToolOptions]):
    """Writes its report with sh; with the argument ``hang`` it never ends."""

    tool, program, asks_version, versions = "shell", ("sh",), ("sh", "-c", "echo shell 1.2.3"), ">=1,<2"

    def arguments(self, endpoint: Endpoint, load: Load, folder: str, version: Version) -> Sequence[object]:
        return ["-c", f'echo 8 >{folder}/report; if [ "$1" = hang ]; then sleep 600; fi', "-"]

    def read(self, folder: Path) -> Measurement:
        return collect({}, {"n": (json.loads((folder / "report").read_text()), "1")}, 8, 0, {}, {})


@pytest.mark.lab
@pytest.mark.parametrize("hang", [False, True], ids=["ends", "hangs"])
def test_a_real_container(lab: Lab, tmp_path: Path, hang: bool) -> None:
    place, ident = lab.nodes["n2"], f"pk-container-{'hangs' if hang else 'ends'}"
    options = {
        "host": place.addr, "username": "root", "key_filename": str(lab.key_filename), "known_hosts": str(lab.known_hosts),
    }  # fmt: skip
    node = Node("n2", DriverRef("ssh", options), place.addr)
    ssh = check_driver(Loader().driver("transport", "ssh"), options)
    given = {"node": "n2", "image": "lab/busybox:1", "url": "http://x", "model": "m", "args": ["hang"] if hang else []}
    benchmark = check_driver(Shell, {**given, "timeout": 4.0 if hang else 60.0})
    with within(120), ssh.connect(node, owner=ident) as session:
        trial = fake_trial(tmp_path, {"n2": session}, trial=ident)
        names = ["docker", "ps", "--all", "--quiet", "--filter", f"name=bench-{ident}"]
        assert benchmark.fit(trial.ctx) is None
        if hang:
            with pytest.raises(Exception, match="was killed"):
                benchmark.run(trial.ctx, Deployment(), Load())
        else:
            assert benchmark.run(trial.ctx, Deployment(), Load()).metrics["n"].value == 8
            assert session.run(names).text == ""
        assert check_cleanup(containers, trial, kinds=["bench-container"]) == []
        assert session.run(names).text == ""
        session.run(["rm", "-rf", f"/tmp/playbook-shell-{ident}"])
        missing = check_driver(Shell, {**given, "image": "lab/nothing:1"})
        assert "docker on n2 has no image lab/nothing:1" in (missing.fit(trial.ctx) or "")
