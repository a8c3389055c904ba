"""`health`: what it finds on this machine, on a real server, and between real nodes."""

import pytest
from playbook_kernel.api import DriverRef, Node
from playbook_plugins.commands.checks import _accelerators, _judged

from tests.cli.calls import call, workspace, write
from tests.plugins.transports.sshd import Sshd, cannot

NODE = Node("n", DriverRef("local"))
FACTS = {"cpus": 8, "memory_kib": 1000, "memory_available_kib": 900, "clock_offset": 0.01}


def test_this_machine_is_looked_at_without_any_file(tmp_path):
    done = call("health", "--json", cwd=workspace(tmp_path, "001_a"))
    found = {c["check"]: c["status"] for c in done.json["checks"]}
    assert {"connectivity", "tools", "memory", "clock", "accelerators", "engine", "disk", "load"} == set(found)
    assert (done.code == 4) == ("unhealthy" in found.values()) == (done.json["overall"] == "unhealthy")
    text = call("health", cwd=tmp_path)
    assert text.out.startswith(f"Overall Health: {done.json['overall'].upper()}\n")


@pytest.mark.parametrize(
    ("facts", "check", "status"),
    [
        (FACTS, "memory", "healthy"),
        ({**FACTS, "memory_available_kib": 50}, "memory", "degraded"),
        ({**FACTS, "clock_offset": -7.5}, "clock", "degraded"),
        ({**FACTS, "missing_tools": ["tar"]}, "tools", "unhealthy"),
    ],
)
def test_what_a_fact_means(facts, check, status):
    assert [v.status for v in _judged(NODE, facts) if v.check == check] == [status]


def test_accelerators_are_counted_and_one_that_is_taken_already_is_told():
    card = {"kind": "nvidia", "name": "H200", "memory_mib": 1000, "memory_used_mib": 5}
    idle = _accelerators(NODE, [{**card, "index": 0}, {**card, "index": 1}])
    assert (idle.status, idle.detail) == ("healthy", "2 x H200")
    taken = _accelerators(NODE, [{**card, "index": 0}, {**card, "index": 1, "memory_used_mib": 900}])
    assert taken.status == "degraded"
    assert "1: 900 MiB" in taken.detail


def test_an_unknown_node_is_a_usage_error_with_a_suggestion(tmp_path):
    done = call("health", "locla", cwd=workspace(tmp_path, "001_a"))
    assert done.code == 2
    assert "did you mean 'local'?" in done.err
    assert done.out == ""


@pytest.mark.parametrize("case", ["down", "unknown key", "no engine"])
@pytest.mark.ssh
@pytest.mark.skipif(bool(cannot()), reason=cannot() or "-")
def test_a_node_that_cannot_serve_is_critical_and_says_why(tmp_path, case):
    server = Sshd(tmp_path / "sshd")
    root = workspace(tmp_path, "001_a")
    node = f"host: {server.host}, port: {server.port}, username: root, key_filename: {server.key}"
    write(
        root,
        {
            "config/nodes.yaml": f"nodes:\n  bad: {{{node}, known_hosts: {server.known_hosts},"
            f" docker_compose_version: v1}}\n  local: {{host: local, composer: process}}\n"
        },
    )
    if case == "unknown key":
        server.known_hosts.unlink()
    if case != "down":
        server.start()
    try:
        # a path without docker stands for a node without it
        done = call("health", "--json", cwd=root, environ={"PATH": "/usr/bin:/bin"})
    finally:
        server.stop()
    bad = {c["check"]: c for c in done.json["checks"] if c["node"] == "bad" and c["status"] == "unhealthy"}
    if case == "no engine" and "engine" not in bad:
        pytest.skip("this machine has a Docker engine with Compose V1")
    assert done.code == 4
    assert done.json["overall"] == "unhealthy"
    words = {
        "down": ("connectivity", "refused"),
        "unknown key": ("connectivity", "--enroll"),
        "no engine": ("engine", ""),
    }
    check, word = words[case]
    assert word in bad[check]["detail"]
    assert all(c["node"] == "bad" for c in done.json["checks"] if c["status"] == "unhealthy")


@pytest.mark.lab
def test_the_ways_between_nodes_are_found_and_measured(lab, tmp_path):
    root = workspace(tmp_path, "001_a", files={"config/nodes.yaml": lab.nodes_yaml()})
    done = call("health", "--network", "--json", "n1", "n2", cwd=root)
    assert done.code == 0, done.err
    network = [c for c in done.json["checks"] if c["check"] == "network"]
    assert [(c["node"], c["detail"]) for c in network] == [("n1", "reaches n2"), ("n2", "reaches n1")]
    (line,) = done.json["network"]
    assert line["ok"], line["detail"]
    assert 0 < line["latency_ms"] <= line["latency_p99_ms"]
    assert line["gbit_s"] > 0
