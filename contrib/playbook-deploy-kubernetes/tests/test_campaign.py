"""Whole campaigns through the files of the earlier tool: a cluster alone, and beside a node without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from api_server import Cluster

METADATA = """\
name: k8s example
deployment:
  services:
    - name: engine
      nodes: [k8s_prod]
      kubectl:
        namespace: inference
        cluster: k8s_prod
        steps:
          - name: storage
            action: apply
            manifest: pvc.yaml
            check: {type: resource_ready, kind: pvc, name: models, timeout: 30}
          - name: engine
            manifest: engine.yaml
            check: {type: deployment_ready, name: engine, replicas: 2, timeout: 60}
      health_check:
        strategy: kubernetes
        startup_grace_period: 1
        checks:
          - {type: pod_ready, selector: app=engine, min_ready: 2, namespace: inference}
          - {type: resource_exists, kind: deployment, name: engine, namespace: inference}
  test_execution: {node: k8s_prod, script: run_test.sh, timeout: 60}
"""
ENGINE = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: engine}
spec:
  replicas: 2
  selector: {matchLabels: {app: engine}}
  template: {metadata: {labels: {app: engine}}, spec: {containers: [{name: c, image: "IMAGE"}]}}
"""
PVC = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: models}\nspec: {accessModes: [ReadWriteOnce]}\n"
SCRIPT = (
    "#!/bin/sh\nkubectl --kubeconfig $KUBE --context prod -n inference get pods -o name\necho METRIC:throughput=12.5\n"
)


@pytest.fixture
def project(tmp_path: Path, config: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "nodes.yaml").write_text(
        "kubernetes:\n  k8s_prod:\n    host: localhost\n    username: ops\n    transport: local\n"
        f"    kubectl_work_dir: {work}\n    kubeconfig: {config}\n    context: prod\n    default_namespace: default\n"
    )
    folder = tmp_path / "scenarios" / "001_k8s"
    (folder / "manifests").mkdir(parents=True)
    (folder / "metadata.yaml").write_text(METADATA)
    (folder / "manifests" / "engine.yaml").write_text(ENGINE.replace("IMAGE", "x:1"))
    (folder / "manifests" / "pvc.yaml").write_text(PVC)
    (folder / "run_test.sh").write_text(SCRIPT)
    return tmp_path


def playbook(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "playbook_kernel", "-s", "scenarios", *words]
    env = {**os.environ, "KUBE": str(project / "kube.yaml")}
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=250, check=False)


def result(project: Path) -> dict:
    [path] = project.glob("results/*/summary.json")
    return json.loads(path.read_text())["scenarios"][0]


def test_a_cluster_alone_is_enough(project: Path, cluster: Cluster) -> None:
    done = playbook(project, "run", "001_k8s")
    assert done.returncode == 0, done.stdout + done.stderr
    found = result(project)
    [trial] = found["trials"]
    assert trial["clean"] is True
    assert trial["measurement"]["metrics"]["throughput"]["value"] == 12.5
    assert cluster.names("namespaces") == ["default"], "the namespace that was made for it has gone"
    assert cluster.names("deployments") == cluster.names("pods") == cluster.names("persistentvolumeclaims") == []
    kept = [path.read_text() for path in project.glob("results/*/**/engine.log")]
    assert kept
    assert all("line of engine-0" in text for text in kept)


def test_what_fails_on_the_cluster_fails_the_scenario_and_leaves_nothing(project: Path, cluster: Cluster) -> None:
    (project / "scenarios/001_k8s/manifests/engine.yaml").write_text(ENGINE.replace("IMAGE", "bad:1"))
    (project / "config" / "scenarios.yaml").write_text(
        "execution_config: {retry_strategy: {service_level_retries: 0}}\n"
    )
    done = playbook(project, "run", "001_k8s")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ImagePullBackOff" in result(project)["reason"]
    assert cluster.names("namespaces") == ["default"]
    assert cluster.names("deployments") == []


def test_mistakes_are_told_with_their_places(project: Path) -> None:
    path = project / "scenarios/001_k8s/metadata.yaml"
    path.write_text(METADATA.replace("engine.yaml", "no.yaml").replace("type: pod_ready", "type: pod_redy"))
    done = playbook(project, "validate")
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "there is no file manifests/no.yaml" in said
    assert "pod_redy" in said
    path.write_text(METADATA.replace("nodes: [k8s_prod]", "nodes: [other]"))
    done = playbook(project, "validate")
    assert "there is no node 'other'" in done.stdout + done.stderr
