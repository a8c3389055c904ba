"""The system checks before a run: a node that is gone costs the scenarios that need it, and nothing else."""

from __future__ import annotations

import json
import socket
import xml.etree.ElementTree as ET

from tests.cli.calls import METADATA, spawn, workspace


def test_what_needs_a_dead_node_fails_with_its_name_and_the_rest_runs(tmp_path):
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port, and nobody answers
        taken.bind(("127.0.0.1", 0))
        gone = f"{{host: 127.0.0.1, port: {taken.getsockname()[1]}, username: root, password: x, host_keys: insecure}}"
        between = (
            "inter_scenario: {wait_between_scenarios: 0, retry_count: 1, retry_interval: 0, continue_on_failure: on}\n"
        )
        root = workspace(
            tmp_path, "001_here", "002_gone", "003_both", "004_here",
            files={
                "config/nodes.yaml": f"nodes:\n  local: {{host: local, composer: process}}\n  far: {gone}\n",
                "config/scenarios.yaml": f"{between}reports: [json, csv, markdown, html, junit, yaml, openmetrics, github]\n",
                **{
                    f"config/scenarios/{n}/metadata.yaml": METADATA.format(name=n, tag="x").replace("local", on)
                    for n, on in (("002_gone", "far"), ("003_both", "local, far"))
                },
            },
        )  # fmt: skip
        assert spawn("run", "--all", "--dry-run", cwd=root).code == 0, "a plan connects to nobody"
        done = spawn("run", "--all", cwd=root)
    assert done.code == 1, done.err
    assert "could not be written" not in done.err
    [run] = (root / "results").iterdir()
    found = {s["scenario"]: s for s in json.loads((run / "campaign.json").read_text())["scenarios"]}
    assert {n: s["status"] for n, s in found.items()} == {
        "001_here": "completed", "002_gone": "failed", "003_both": "failed", "004_here": "completed",
    }  # fmt: skip
    for name in ("002_gone", "003_both"):
        assert found[name]["reason"].startswith("node far cannot be used: connectivity: ")
        assert found[name]["trials"] == []
        assert f"✗ {name} failed: node far cannot be used: connectivity: " in done.out
    failures = [c.get("name") for c in ET.parse(run / "junit.xml").iter("testcase") if c.find("failure") is not None]
    assert failures == ["002_gone", "003_both"]
