"""A user of the earlier tool moves over: the files stay as they are, the hosts are enrolled, and the campaign runs."""

import json

import pytest

from tests.cli.calls import spawn, write
from tests.lab.core import PASSWORDS

pytestmark = pytest.mark.lab

NODES = """\
nodes:
  node1:
    host: {n1}
    username: root
    password: ${{NODE_PASSWORD}}
    port: 22
    tags: [a]
    role: master
    docker_compose_path: /opt/inference
    work_dir: /opt/bench
  node2:
    host: {n2}
    username: root
    password: ${{NODE_PASSWORD}}
    docker_compose_version: v2
  spare:
    host: 192.0.2.1
    username: root
    password: ${{NEVER_SET}}
    enabled: no
"""
SCENARIOS = """\
execution:
  scenarios_root: config/scenarios
  execution_mode: auto
inter_scenario:
  wait_between_scenarios: 0
  continue_on_failure: true
  retry_count: 0
execution_config:
  concurrent_deployment:
    max_concurrent_services: 1
"""
METADATA = """\
name: pair
description: A store and a front
version: "1.0"
tags: [pair]
deployment:
  platform: docker-compose
  services:
    - name: store
      nodes: [node1]
      health_check:
        enabled: true
        strategy: standard
        startup_grace_period: 20
        checks:
          - type: docker_status
          - type: http_endpoint
            url: http://localhost:8080/index.html
            expected_status: 200
            timeout: 5
          - type: docker_health
            required: false
    - name: front
      node: node2
      depends_on: [store]
test_execution:
  node: node1
  script: run_test.sh
  timeout: 60
  result_paths: [/opt/bench/out/]
  collection_mode: detailed
"""
COMPOSE = """\
services:
  store:
    image: lab/busybox:1
    command: ["sh", "-c", "mkdir /www && echo ${GREETING} >/www/index.html && exec httpd -f -p 8080 -h /www"]
    ports: ["8080:8080"]
  front:
    image: lab/busybox:1
    command: ["sleep", "600"]
"""
SCRIPT = """\
#!/bin/bash
echo "name $SCENARIO_NAME in $PWD, path $SCENARIO_PATH, results $SCENARIO_RESULT_PATH"
test -s /tmp/test_config_001_pair.json || exit 9
mkdir -p "$SCENARIO_RESULT_PATH"
echo measured > "$SCENARIO_RESULT_PATH/numbers.txt"
echo 'METRICS_START {"throughput": 42.5, "total_requests": 7, "successful_requests": 7} METRICS_END'
echo METRIC:latency_mean=12.5
"""


def test_the_files_of_the_earlier_tool_run_unchanged(lab, tmp_path):
    root = write(
        tmp_path,
        {
            "config/nodes.yaml": NODES.format(n1=lab.nodes["n1"].addr, n2=lab.nodes["n2"].addr),
            "config/scenarios.yaml": SCENARIOS,
            "config/scenarios/001_pair/metadata.yml": METADATA,
            "config/scenarios/001_pair/docker-compose.yml": COMPOSE,
            "config/scenarios/001_pair/run_test.sh": SCRIPT,
            "config/scenarios/001_pair/test_config.json": '{"base_url": "http://localhost:8080", "model": "m"}\n',
            "config/scenarios/001_pair/.env": "GREETING=hello\nAPI_TOKEN=planted-secret-1\n",
        },
    )
    environ = {"NODE_PASSWORD": PASSWORDS["root"], "HOME": str(tmp_path / "home")}

    refused = spawn("run", "--all", cwd=root, environ=environ)
    assert refused.code == 1
    assert "nodes --enroll" in refused.err, "a host that nobody has enrolled gets no password"
    assert spawn("nodes", "--enroll", "--accept", cwd=root, environ=environ).code == 0

    done = spawn("run", "--all", "--json", cwd=root, environ=environ)
    assert done.code == 0, done.err
    (scenario,) = done.json["result"]["scenarios"]
    trial = scenario["trials"][-1]
    assert trial["clean"] is True
    assert trial["deployment"]["composers"] == {"node1": "v1", "node2": "v2"}
    metrics = {k: v["value"] for k, v in trial["measurement"]["metrics"].items()}
    assert (metrics["throughput"], metrics["latency_mean"]) == (42.5, 12.5)
    advisory = [h for h in trial["health"] if h["advisory"]]
    assert [h["ok"] for h in advisory] == [False], "it has no health check of its own, and that stops nothing"

    run = root / done.json["run"]
    output = (run / "001_pair/logs/test_output.log").read_text()
    assert "name 001_pair in /opt/bench, path /opt/bench, results /opt/bench/out" in output
    kept = {a["path"]: a for a in trial["artifacts"]}
    assert any(p.endswith("numbers.txt") and not a["partial"] for p, a in kept.items())
    assert {"node1", "node2"} <= {a["node"] for a in kept.values()}
    for file in (p for p in run.rglob("*") if p.is_file()):
        assert b"planted-secret-1" not in file.read_bytes(), file
        assert PASSWORDS["root"].encode() not in file.read_bytes(), file
    for node in ("n1", "n2"):
        left = lab.run(node, ["sh", "-c", "docker ps -aq; ls -A /opt/inference /tmp | grep -v :"]).stdout.split()
        assert left == []
    json.loads((run / "journal.jsonl").read_text().splitlines()[0])
