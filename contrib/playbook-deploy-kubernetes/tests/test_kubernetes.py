"""The composer and its checks, by the real kubectl, against a server that speaks enough of Kubernetes' API."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from api_server import Cluster
from attrs import evolve
from playbook_kernel.api import DriverRef, Node, NodeError, Service, ServiceFailed, Session, Share, Target, Warned
from playbook_kernel.scope import Cancel, Cancelled, Deadline, Scope, replaced
from playbook_kernel.testing import FakeTrial, check_composer, check_driver, fake_trial, later, local_session

from playbook_deploy_kubernetes import KubernetesComposer, manifests, probes
from playbook_deploy_kubernetes.checks import pod_view
from playbook_deploy_kubernetes.kubectl import ClusterError, ClusterOptions, Kubectl, class_of

PROJECT = "pk-00000000-test-1"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 2
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: c, image: "IMAGE"}]}
"""
SERVICE = """\
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}], selector: {app: NAME}}
"""


def web(name: str = "web", image: str = "x:1", more: str = SERVICE) -> str:
    return (DEPLOYMENT + more).replace("NAME", name).replace("IMAGE", image)


class World:
    """A node, and what is deployed from it."""

    def __init__(self, folder: Path, config: Path, cluster: Cluster, session: Session) -> None:
        self.folder, self.cluster = folder, cluster
        self.told: dict[str, Any] = {"kubeconfig": str(config), "context": "prod"}
        self.session = session
        self.trial = fake_trial(folder / "trial", {session.node.name: session}, trial=PROJECT)
        self.directory = folder / "trial" / "scenario"
        (self.directory / "manifests").mkdir()
        self.services: list[Service] = []

    def service(self, name: str = "web", text: str = "", *, steps: list[Any] | None = None, **options: Any) -> None:
        (self.directory / "manifests" / f"{name}.yaml").write_text(text or web(name))
        (self.directory / "metadata.yaml").write_text(f"services:\n- name: {name}\n  kubectl: {{}}\n")
        given = {"steps": steps or [{"name": "all", "manifest": f"{name}.yaml"}], **options}
        self.services.append(Service(name, (self.session.node.name,), self.directory / "metadata.yaml", options=given))

    @property
    def share(self) -> Share:
        return Share(self.session.node, PROJECT, self.directory, tuple(self.services))

    def composer(self, **options: Any) -> KubernetesComposer:
        return check_driver(KubernetesComposer, {**self.told, **options})

    def up(self, *names: str, **options: Any) -> KubernetesComposer:
        driver = self.composer(**options)
        driver.prepare(self.trial.ctx, self.session, self.share)
        for name in names or [s.name for s in self.services]:
            driver.start(self.trial.ctx, self.session, self.share, name)
        return driver

    def down(self, **options: Any) -> FakeTrial:
        after = later(self.trial)
        self.composer(**options).down(after.ctx, self.session, PROJECT)
        return after


@pytest.fixture
def world(tmp_path: Path, config: Path, cluster: Cluster) -> Iterator[World]:
    (tmp_path / "trial").mkdir()
    with local_session(PROJECT) as session:
        yield World(tmp_path, config, cluster, session)


def test_it_is_found_by_its_name() -> None:
    [point] = entry_points(group="playbook_kernel.composer", name="kubernetes")
    assert point.load() is KubernetesComposer
    assert {p.name for p in entry_points(group="playbook_kernel.probe")} >= set(manifests.CHECKS)


def test_it_keeps_the_contract_of_composers(world: World) -> None:
    world.service("web")
    world.service("engine", web("engine", more=""))
    check_composer(world.composer(), world.trial, world.session, world.share)
    assert world.cluster.names("pods") == []


def test_every_object_and_pod_carries_the_labels(world: World) -> None:
    world.service("web")
    world.up()
    ours = {k: o for k, o in world.cluster.objects.items() if k[0] != "namespaces"}
    assert sorted(ours) == [
        ("deployments", "default", "web"), ("pods", "default", "web-0"), ("pods", "default", "web-1"),
        ("services", "default", "web"),
    ]  # fmt: skip
    for item in ours.values():
        assert item["metadata"]["labels"].items() >= {"playbook.trial": PROJECT, "playbook.service": "web"}.items()
    assert ours["deployments", "default", "web"]["spec"]["selector"] == {"matchLabels": {"app": "web"}}


def test_labels_reach_pods_that_a_custom_resource_hides() -> None:
    hidden = {
        "apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": "r", "labels": {"a": "b"}},
        "spec": {"workerGroupSpecs": [{"template": {"spec": {"containers": []}}}], "volumeClaimTemplates": [{"spec": {}}]},
    }  # fmt: skip
    made = manifests.labelled(hidden, {"x": "y"})
    assert made["metadata"]["labels"] == {"a": "b", "x": "y"}
    assert made["spec"]["workerGroupSpecs"][0]["template"]["metadata"] == {"labels": {"x": "y"}}
    assert made["spec"]["volumeClaimTemplates"][0]["metadata"] == {"labels": {"x": "y"}}
    assert "metadata" not in hidden["spec"]["workerGroupSpecs"][0]["template"], "the manifest is left as it is"
    assert manifests.makes_pods(hidden)


def test_a_namespace_that_is_missing_is_made_and_goes_one_that_was_there_stays(world: World) -> None:
    world.cluster.put("namespaces", "", {"metadata": {"name": "theirs"}})
    other = web("b", more="").replace("{name: b}", "{name: b, namespace: theirs}", 1)
    world.service("a", web("a") + "---\n" + other, namespace="ours")
    world.up()
    assert world.cluster.names("namespaces") == ["default", "ours", "theirs"]
    assert world.cluster.names("pods", "ours") == ["a-0", "a-1"]
    assert world.cluster.names("pods", "theirs") == ["b-0", "b-1"]
    assert {r.name for r in world.composer().residue(world.session, PROJECT)} >= {"ours", "ours/a", "theirs/b"}
    after = world.down()
    assert not after.ctx.effects.open()
    assert world.cluster.names("namespaces") == ["default", "theirs"]
    assert world.cluster.names("deployments") == []
    assert not world.composer().residue(world.session, PROJECT)


def test_effects_are_in_the_journal_before_they_are_made(world: World) -> None:
    world.service("web", namespace="new")
    before: list[tuple[str, int]] = []
    handle = world.cluster.handle

    def spy(method: str, *rest: Any) -> Any:
        if method in ("POST", "PATCH"):
            before.append((rest[0], len(world.trial.ctx.effects.open("kubernetes"))))
        return handle(method, *rest)

    world.cluster.handle = spy  # type: ignore[method-assign]
    world.up()
    assert next(p.split("?")[0] for p, _ in before) == "/api/v1/namespaces"
    assert all(count == 2 for _, count in before), (
        "the objects and the namespace were announced before the first was made"
    )


def test_what_is_there_already_and_not_ours_is_never_touched(world: World) -> None:
    theirs = {"metadata": {"name": "web"}, "spec": {"replicas": 1, "template": {"spec": {"containers": []}}}}
    world.cluster.put("deployments", "default", theirs)
    world.service("web")
    with pytest.raises(ServiceFailed, match="Deployment/web is in namespace default already, and not ours") as caught:
        world.up()
    assert caught.value.error_class == "config"
    world.down()
    assert world.cluster.names("deployments") == ["web"]


def test_a_volume_claim_that_is_there_is_used_and_stays(world: World) -> None:
    world.cluster.put("persistentvolumeclaims", "default", {"metadata": {"name": "models"}})
    claim = "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: models}\nspec: {}\n"
    ready = {"type": "resource_ready", "kind": "PersistentVolumeClaim", "name": "models"}
    world.service("web", web() + claim, steps=[{"name": "all", "manifest": "web.yaml", "check": ready}])
    world.up()
    assert any("models is in namespace default already" in w.message for w in world.trial.of(Warned))
    world.down()
    assert world.cluster.names("persistentvolumeclaims") == ["models"]
    assert world.cluster.names("services") == []


STEPS = [
    {"type": "resource_exists", "kind": "service", "name": "web"},
    {"type": "resource_ready", "kind": "deployment", "name": "web"},
    {"type": "deployment_ready", "name": "web", "replicas": 2},
    {"type": "pod_ready", "selector": "app=web", "min_ready": 2},
    {"type": "pod_ready"},
]


@pytest.mark.parametrize("check", STEPS, ids=lambda c: f"{c['type']}-{len(c)}")
def test_a_step_waits_for_its_check(world: World, check: dict[str, Any]) -> None:
    world.service("web", web(image="slow:1"), steps=[{"manifest": "web.yaml", "check": check}, {"name": "nothing"}])
    world.up()
    assert world.composer().states(world.session, world.share)["web"].status == "running"


def test_a_check_that_stays_false_fails_with_what_was_seen(world: World) -> None:
    check = {"type": "pod_ready", "min_ready": 3, "timeout": 1}
    world.service("web", steps=[{"name": "up", "manifest": "web.yaml", "check": check}])
    with pytest.raises(ServiceFailed, match="step up: pod_ready not true within 1 s: 2 of 3 pods are ready") as caught:
        world.up()
    assert caught.value.error_class == "health"


def test_an_image_that_cannot_be_pulled_is_told_at_once(world: World) -> None:
    world.service("web", web(image="bad:1"))
    with pytest.raises(ServiceFailed, match='ImagePullBackOff: Back-off pulling image "bad:1"') as caught:
        world.up()
    assert caught.value.error_class == "image"


def test_a_pod_that_fits_nowhere_is_told_at_the_deadline(world: World) -> None:
    world.service("web", web(image="huge:1"))
    with replaced(Scope(Deadline.after(15.0))), pytest.raises(ServiceFailed, match=r"Insufficient nvidia\.com/gpu"):
        world.up()


def test_cancel_ends_a_wait(world: World) -> None:
    world.service("web", web(image="huge:1"))
    cancel = Cancel()
    handle = world.cluster.handle

    def spy(method: str, target: str, *rest: Any) -> Any:
        if method == "GET" and "/pods?" in target:
            cancel.set("enough")
        return handle(method, target, *rest)

    world.cluster.handle = spy  # type: ignore[method-assign]
    with replaced(Scope(cancel=cancel)), pytest.raises(Cancelled, match="enough"):
        world.up()


@pytest.mark.parametrize(
    "image, status, words",
    [("x:1", "running", ""), ("crash:1", "running", "web-0 is running"), ("dead:1", "exited", "exited with 137")],
)
def test_states(world: World, image: str, status: str, words: str) -> None:
    world.service("web", web(image=image))
    state = world.up().states(world.session, world.share)["web"]
    assert state.status == status
    assert words in state.detail
    assert state.restarts == (4 if image == "crash:1" else 0)
    assert (state.exit_code, state.oom_killed) == ((137, True) if image == "dead:1" else (None, False))


def test_a_job_that_is_done_and_a_service_without_pods_are_there(world: World) -> None:
    job = web(image="once:1", more="").replace("apps/v1", "batch/v1").replace("Deployment", "Job")
    world.service("web", job)
    world.service("conf", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {}\n")
    driver = world.composer()
    driver.prepare(world.trial.ctx, world.session, world.share)
    assert {s.status for s in driver.states(world.session, world.share).values()} == {"created"}
    for name in ("web", "conf"):
        driver.start(world.trial.ctx, world.session, world.share, name)
    assert {s.status for s in driver.states(world.session, world.share).values()} == {"running"}
    world.down()
    assert world.cluster.names("widgets") == []
    assert world.cluster.names("jobs") == []


def test_logs_tell_of_the_pods_too(world: World, tmp_path: Path) -> None:
    world.service("web")
    driver = world.up()
    path = driver.logs(world.session, world.share, "web", tmp_path, limit=100_000)
    assert path
    text = path.read_text()
    assert "[pod/web-0/c] line of web-0" in text
    assert "== web-1" in text
    assert "Status:       Running" in text
    assert driver.logs(world.session, world.share, "web", tmp_path, limit=30).stat().st_size == 30


def test_what_cannot_be_deleted_is_told_and_stays_in_the_journal(world: World) -> None:
    world.service("web")
    world.up()
    world.cluster.stuck.add("web-0")
    with pytest.raises(NodeError, match=r"pods of .* are still in namespace default"):
        world.down(delete_timeout=1.0)
    assert world.trial.ctx.effects.open("kubernetes")
    assert [r.name for r in world.composer().residue(world.session, PROJECT)] == ["default/web-0"]
    world.cluster.stuck.clear()
    world.cluster.delete(("pods", "default", "web-0"))
    assert not world.down().ctx.effects.open("kubernetes")


def test_a_kind_whose_definition_has_gone_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.service("web", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {}\n")
    world.up()
    monkeypatch.setattr(
        "api_server.KINDS", {k: v for k, v in __import__("api_server").KINDS.items() if k[0] != "example.com"}
    )
    assert not world.down().ctx.effects.open()


def test_errors_that_pass_are_tried_again_others_are_not(world: World) -> None:
    world.service("web")
    world.cluster.fail = [(r"GET /version", 503), (r"GET /version", 503)]
    assert world.composer().fit(world.session) is None
    world.cluster.fail = [(r"POST .*deployments", 403)]
    with pytest.raises(ServiceFailed, match="Forbidden") as caught:
        world.up()
    assert caught.value.error_class == "config"
    assert sum(a.startswith("POST") and "deployments" in a for a in world.cluster.asked) == 1


@pytest.mark.parametrize(
    "options, words",
    [
        ({"context": "dead"}, "refused"),
        ({"context": "nobody"}, "nobody"),
        ({"kubeconfig": "/no/such/file"}, "no such file"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_told_before_anything_is_made(
    world: World, options: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playbook_deploy_kubernetes.kubectl._TRIES", 1)
    assert words in (world.composer(**options).fit(world.session) or "")
    world.service("web")
    with pytest.raises(ClusterError):
        world.up(**options)
    assert world.cluster.names("pods") == []


def test_no_kubectl(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin" / "kubectl").unlink()
    (tmp_path / "bin" / "kubectl").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "bin" / "kubectl").chmod(0o755)
    assert world.composer().fit(world.session) == "it has no kubectl"


def test_a_call_that_hangs_ends_at_its_deadline(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin" / "kubectl").unlink()
    (tmp_path / "bin" / "kubectl").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "bin" / "kubectl").chmod(0o755)
    monkeypatch.setattr("playbook_deploy_kubernetes.kubectl._TRIES", 1)
    monkeypatch.setattr("playbook_deploy_kubernetes.kubectl._SLACK", 0.2)
    began = time.monotonic()
    with pytest.raises(ClusterError, match="no answer within") as caught:
        Kubectl(world.session, ClusterOptions(call_timeout=0.3)).run("get", "pods")
    assert caught.value.error_class == "network"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "said, kind",
    [
        ("The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?", "network"),
        ("Unable to connect to the server: net/http: TLS handshake timeout", "network"),
        ('Error from server (Forbidden): pods is forbidden: User "x" cannot list resource', "config"),
        ('error: error validating "STDIN": error validating data: unknown field "spec.x"', "config"),
        ("error: something new", "start"),
    ],
)
def test_classes_of_errors(said: str, kind: str) -> None:
    assert class_of(said) == kind


BAD = [
    ({"steps": []}, "", r"metadata\.yaml:2: services\.web\.kubectl\.steps: at least one step"),
    ({"steps": [{"manifest": "no.yaml"}]}, "", r"steps\[0\]\.manifest: there is no file manifests/no\.yaml"),
    ({"steps": [{"manifest": "../../x"}]}, "", r"leads out of manifests/"),
    ({"steps": [{"manifest": "web.yaml", "check": {"type": "pod_redy"}}]}, "", r"did you mean 'pod_ready'"),
    ({"steps": [{"manifest": "web.yaml", "check": {"type": "resource_exists"}}]}, "", r"resource_exists needs kind"),
    (None, "a: [\n", r"web\.yaml:2: "),
    (None, "kind: Pod\n", r"document 1 needs apiVersion, kind and metadata\.name"),
    (None, "# nothing\n", r"there is no object in it"),
]


@pytest.mark.parametrize("options, text, words", BAD)
def test_mistakes_are_found_without_a_cluster(world: World, options: Any, text: str, words: str) -> None:
    world.service("web", text)
    if options is not None:
        world.services[0] = evolve(world.services[0], options=options)
    problems = "\n".join(world.composer().check(world.share))
    assert re.search(words, problems), problems
    assert world.cluster.asked == []


def test_the_probes(world: World) -> None:
    world.service("web")
    driver = world.up()
    node = Node("k", DriverRef("local"), composer="kubernetes", composer_options=world.told)
    state = driver.states(world.session, world.share)["web"]
    target = Target(world.services[0], node, "h", world.session, state, owner=PROJECT)
    asked = [
        (probes.PodReady, {"min_ready": 2}, True), (probes.PodReady, {"selector": "app=other"}, False),
        (probes.DeploymentReady, {}, True), (probes.DeploymentReady, {"name": "no"}, False),
        (probes.ResourceExists, {"kind": "service", "name": "web"}, True),
        (probes.ResourceReady, {"kind": "deployment", "name": "web"}, True),
        (probes.ResourceExists, {"kind": "job", "name": "web"}, False), (probes.ServiceEndpoints, {}, False),
    ]  # fmt: skip
    for kind, options, good in asked:
        health = check_driver(kind, options).check(target)
        assert health.ok is good, (kind, health)
        assert health.detail
    world.cluster.put(
        "endpoints", "default", {"metadata": {"name": "web"}, "subsets": [{"addresses": [{"ip": "1.1.1.1"}]}]}
    )
    assert check_driver(probes.ServiceEndpoints).check(target).ok
    assert driver.endpoint(world.share, "web").url == f"http://{world.session.node.host}:30080"
    dead = evolve(target, node=evolve(node, composer_options={**world.told, "context": "nobody"}))
    assert "nobody" in check_driver(probes.PodReady).check(dead).detail


def test_a_pod_says_why_it_waits() -> None:
    waits = {
        "containerStatuses": [
            {"name": "c", "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "no secret"}}}
        ]
    }
    view = pod_view({"metadata": {"name": "p"}, "status": waits})
    assert (view.phase, view.trouble, view.detail) == ("Pending", "start", "CreateContainerConfigError: no secret")


def test_what_kubectl_itself_makes_of_our_manifests(kubectl: str, tmp_path: Path) -> None:
    """The client alone, without any server: what we label is still what it understands."""
    (tmp_path / "m.yaml").write_text(web())
    from playbook_deploy_kubernetes.composer import _text

    found = manifests.objects(tmp_path / "m.yaml", [])
    text = _text([manifests.labelled(o, {"playbook.trial": PROJECT}) for o in found[1:]])
    command = [kubectl, "label", "--local", "-f", "-", "more=labels", "-o", "yaml"]
    done = subprocess.run(command, input=text, capture_output=True, check=True)
    assert f"playbook.trial: {PROJECT}".encode() in done.stdout
    command = [kubectl, "create", "configmap", "c", "--dry-run=client", "-o", "yaml"]
    assert b"kind: ConfigMap" in subprocess.run(command, capture_output=True, check=True).stdout
