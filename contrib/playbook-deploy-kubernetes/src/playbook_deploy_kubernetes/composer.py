"""The composer: a service's steps applied one after another, and everything that carries the trial's label removed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from attrs import evolve
from playbook_kernel.api import (
    Composer,
    Effect,
    Endpoint,
    NodeError,
    PhaseTimeout,
    Residue,
    ServiceFailed,
    Session,
    Share,
    State,
    TrialContext,
    current,
)

from . import manifests
from .checks import PodView, answer, pod_view, summed
from .kubectl import ClusterError, ClusterOptions, Kubectl
from .manifests import SERVICE, TRIAL, ClusterService, Part, Step

EFFECT = "kubernetes"
_STEP_SECONDS = 60.0
_PAUSES = (0.25, 2.0)
_PATIENCE = 3
"""So many looks in a row at an image that cannot be pulled: the first may be a registry's hiccup."""

_USUAL = (
    "pods", "services", "deployments.apps", "statefulsets.apps", "daemonsets.apps", "replicasets.apps", "jobs.batch",
    "configmaps", "secrets", "persistentvolumeclaims",
)  # fmt: skip


class KubernetesComposer(Composer[ClusterOptions]):
    """Services as objects of a Kubernetes cluster, by the kubectl of a node that reaches it.

    Every object, and every pod that comes of it, carries the labels `playbook.trial` and `playbook.service`; only what
    carries them is ever removed.
    """

    def fit(self, session: Session) -> str | None:
        if not session.run(["kubectl", "version", "--client"], check=False).ok:
            return "it has no kubectl"
        try:
            Kubectl(session, self.options).run("get", "--raw", "/version")
        except ClusterError as error:
            return str(error).partition(": ")[2]
        return None

    def check(self, share: Share) -> Sequence[str]:
        problems: list[str] = []
        for service in share.services:
            for step in self._described(share, service.name, problems).steps:
                if step.manifest is not None:
                    manifests.objects(step.manifest, problems)
        return problems

    def prepare(self, ctx: TrialContext, session: Session, share: Share) -> None:
        kubectl, node = Kubectl(session, self.options), share.node.name
        needed: dict[str, None] = {}
        made: set[str] = set()
        for service in share.services:
            described = self._described(share, service.name, [])
            found = [item for step in described.steps for item in _objects(step)]
            for part in manifests.parts(found):
                namespace = part.namespace or described.namespace
                needed.setdefault(namespace)
                kinds = list(dict.fromkeys(manifests.kind_of(i) for i in part.objects if i["kind"] != "Namespace"))
                if kinds:
                    ctx.effects.intend(
                        EFFECT, node, what="objects", service=service.name, namespace=namespace, kinds=",".join(kinds)
                    )
            made |= {str(i["metadata"]["name"]) for i in found if i["kind"] == "Namespace"}
        for namespace in [*needed, *sorted(made - needed.keys())]:
            if kubectl.get("namespace", namespace):
                continue
            effect = ctx.effects.intend(EFFECT, node, what="namespace", namespace=namespace)
            labels = {TRIAL: share.project}
            _apply(
                kubectl, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}]
            )
            ctx.effects.done(effect)

    def start(self, ctx: TrialContext, session: Session, share: Share, service: str) -> Mapping[str, Any]:
        kubectl, described = Kubectl(session, self.options), self._described(share, service, [])
        labels = {TRIAL: share.project, SERVICE: service}
        try:
            for step in described.steps:
                for part in manifests.parts(_objects(step)):
                    self._put(ctx, kubectl, share, described, part, labels)
                if step.check:
                    self._wait_for(kubectl, share, described, step)
            self._wait_for_pods(kubectl, share, described)
        except ClusterError as error:
            raise ServiceFailed(service, share.node.name, str(error), error_class=error.error_class) from error
        return {"namespace": described.namespace, "selector": _selector(share.project, service)}

    def _put(
        self,
        ctx: TrialContext,
        kubectl: Kubectl,
        share: Share,
        service: ClusterService,
        part: Part,
        labels: Mapping[str, str],
    ) -> None:
        """Apply, but nothing that was there before and is not ours."""
        namespace = part.namespace or service.namespace
        try:
            there = kubectl.get("-f", "-", namespace=namespace, stdin=_text(part.objects))
        except ClusterError as error:
            if not error.unknown_kind:
                raise
            there = []
        foreign = {
            (o["kind"], o["metadata"]["name"])
            for o in there
            if (o["metadata"].get("labels") or {}).get(TRIAL) != share.project
        }
        refused = sorted(f"{kind}/{name}" for kind, name in foreign if kind not in manifests.KEPT)
        if refused:
            raise ServiceFailed(
                service.name, share.node.name, f"{', '.join(refused)} is in namespace {namespace} already, and not ours",
                error_class="config", hint="delete it, or choose another namespace: nothing of others is ever replaced",
            )  # fmt: skip
        for kind, name in sorted(foreign):
            if kind != "Namespace":
                ctx.warn(
                    f"{kind}/{name} is in namespace {namespace} already: it is used as it is, and stays",
                    share.node.name,
                )
        ours = [
            manifests.labelled(o, labels) for o in part.objects if (o["kind"], o["metadata"]["name"]) not in foreign
        ]
        if ours:
            _apply(kubectl, ours, namespace)

    def _wait_for(self, kubectl: Kubectl, share: Share, service: ClusterService, step: Step) -> None:
        """Until a step's check is true. Raises ServiceFailed when its time is over, or when it never can be."""
        kind, seconds = str(step.check["type"]), float(step.check.get("timeout") or _STEP_SECONDS)
        own, began, stuck = _selector(share.project, service.name), time.monotonic(), 0
        while True:
            seen = answer(kubectl, kind, step.check, service=service.name, namespace=service.namespace, own=own)
            if seen.ok:
                return
            views = self._pods(kubectl, share.project, self._namespaces(service), service.name)
            stuck = _stuck(share, service, views, stuck)
            if time.monotonic() - began > seconds:
                raise ServiceFailed(
                    service.name, share.node.name, f"step {step.name}: {kind} not true within {seconds:g} s: {seen.detail}",
                    error_class="health",
                )  # fmt: skip
            _pause(began)

    def _wait_for_pods(self, kubectl: Kubectl, share: Share, service: ClusterService) -> None:
        """Until every pod of the service runs, or has ended; whether it is ready is the health checks' business."""
        if not any(manifests.makes_pods(o) for step in service.steps for o in _objects(step)):
            return
        began, stuck = time.monotonic(), 0
        views: list[PodView] = []
        while True:
            try:
                views = self._pods(kubectl, share.project, self._namespaces(service), service.name)
                if views and all(v.phase != "Pending" for v in views):
                    return
                stuck = _stuck(share, service, views, stuck)
                _pause(began)
            except PhaseTimeout as error:
                seen = summed(views) or "no pod has come of it"
                raise ServiceFailed(service.name, share.node.name, f"its pods do not run: {seen}") from error

    def reset(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
        self.stop(ctx, session, share, service)

    def states(self, session: Session, share: Share) -> Mapping[str, State]:
        kubectl = Kubectl(session, self.options)
        services = [self._described(share, s.name, []) for s in share.services]
        namespaces = dict.fromkeys(n for s in services for n in self._namespaces(s))
        views = self._pods(kubectl, share.project, tuple(namespaces))
        return {
            s.name: self._state(kubectl, share, s, [v for v in views if v.labels.get(SERVICE) == s.name])
            for s in services
        }

    def _state(self, kubectl: Kubectl, share: Share, service: ClusterService, views: Sequence[PodView]) -> State:
        handle = {"pods": ",".join(v.name for v in views)}
        found = [o for step in service.steps for o in _objects(step)]
        if not views:
            if any(manifests.makes_pods(o) for o in found):
                return State(service.name, "created", detail="it has no pod")
            # Without pods, to be there is all that can be asked of it.
            return State(service.name, "running" if self._exists(kubectl, share.project, service) else "created")
        worst = max(views, key=lambda v: (v.phase == "Failed", bool(v.trouble), v.phase == "Pending", v.restarts))
        restarts = max(v.restarts for v in views)
        if worst.phase == "Failed":
            return State(
                service.name, "exited", worst.exit_code, oom_killed=worst.oom_killed, detail=worst.detail, handle=handle
            )
        waits = worst.phase == "Pending" or worst.trouble
        return State(
            service.name, "created" if waits else "running", worst.exit_code, oom_killed=worst.oom_killed,
            restarts=restarts, detail=summed(views) if waits or restarts else "", handle=handle,
        )  # fmt: skip

    def _exists(self, kubectl: Kubectl, project: str, service: ClusterService) -> bool:
        for step in service.steps:
            for part in manifests.parts(_objects(step)):
                kinds = ",".join(dict.fromkeys(manifests.kind_of(o) for o in part.objects))
                namespace = part.namespace or service.namespace
                if not _labelled(kubectl, kinds, namespace, _selector(project, service.name)):
                    return False
        return True

    def endpoint(self, share: Share, service: str) -> Endpoint | None:
        """The first node port that a manifest fixes, on the node with kubectl; health checks may name another address."""
        for step in self._described(share, service, []).steps:
            for item in _objects(step):
                for port in (item.get("spec") or {}).get("ports") or () if item["kind"] == "Service" else ():
                    if isinstance(port, dict) and port.get("nodePort"):
                        return Endpoint(f"http://{share.node.host}:{port['nodePort']}")
        return None

    def logs(self, session: Session, share: Share, service: str, into: Path, *, limit: int) -> Path | None:
        kubectl, described = Kubectl(session, self.options), self._described(share, service, [])
        pieces: list[str] = []
        for namespace in self._namespaces(described):
            selector = _selector(share.project, service)
            names = [v.name for v in self._pods(kubectl, share.project, (namespace,), service)]
            if names:
                pieces.append(kubectl.run("get", "pods", "--selector", selector, "-o", "wide", namespace=namespace))
                pieces.append(kubectl.run("describe", "pods", "--selector", selector, namespace=namespace))
            for name in names:
                for words in (["--previous"], []):
                    try:
                        said = kubectl.run(
                            "logs", name, "--all-containers", "--prefix", "--tail=20000", *words, namespace=namespace
                        )
                    except ClusterError as error:
                        said = "" if words else f"{error}\n"
                    if said:
                        pieces.append(f"== {name}{' before its restart' if words else ''}\n{said}")
        data = "\n".join(pieces).encode()
        if not data:
            return None
        path = into / f"{service}.log"
        path.write_bytes(data[-limit:])
        return path

    def stop(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
        kubectl = Kubectl(session, self.options)
        for effect in ctx.effects.open(EFFECT, share.node.name):
            if effect.data.get("service") == service:
                self._delete(kubectl, effect, _selector(share.project, service))
                self._await_pods_gone(kubectl, str(effect.data["namespace"]), _selector(share.project, service))

    def down(self, ctx: TrialContext, session: Session, project: str) -> None:
        kubectl, node = Kubectl(session, self.options), session.node.name
        effects = ctx.effects.open(EFFECT, node)
        made = [e for e in effects if e.data.get("what") == "objects"]
        for effect in made:
            self._delete(kubectl, effect, f"{TRIAL}={project}")
        for namespace in dict.fromkeys(str(e.data["namespace"]) for e in made):
            self._await_pods_gone(kubectl, namespace, f"{TRIAL}={project}")
        for effect in made:
            ctx.effects.undone(effect)
        for effect in (e for e in effects if e.data.get("what") == "namespace"):
            name = str(effect.data["namespace"])
            there = kubectl.get("namespace", name)
            if there and (there[0]["metadata"].get("labels") or {}).get(TRIAL) == project:
                self._gone(kubectl, "delete", "namespace", name)
            ctx.effects.undone(effect)

    def _delete(self, kubectl: Kubectl, effect: Effect, selector: str) -> None:
        """Delete what an effect speaks of, in the reverse order of its making. Raises ClusterError."""
        namespace, kinds = str(effect.data["namespace"]), str(effect.data["kinds"]).split(",")[::-1]
        try:
            self._gone(kubectl, "delete", ",".join(kinds), "--selector", selector, namespace=namespace)
        except ClusterError as error:
            if not error.unknown_kind:
                raise
            if len(kinds) > 1:  # with its definition, every object of a kind has gone; of the others some may be there
                for kind in reversed(kinds):
                    self._delete(kubectl, evolve(effect, data={**effect.data, "kinds": kind}), selector)

    def _await_pods_gone(self, kubectl: Kubectl, namespace: str, selector: str) -> None:
        """Objects go at once; their pods take as long as they may to end, and hold what they hold until then."""
        began = time.monotonic()
        while kubectl.get("pods", "--selector", selector, namespace=namespace):
            if time.monotonic() - began > self.options.delete_timeout:
                raise NodeError(kubectl.session.node.name, f"pods of {selector} are still in namespace {namespace}")
            _pause(began)

    def _gone(self, kubectl: Kubectl, *words: str, namespace: str = "") -> None:
        seconds = self.options.delete_timeout
        wait = ("--ignore-not-found", "--wait=true", f"--timeout={seconds:.0f}s")
        kubectl.run(*words, *wait, namespace=namespace, seconds=seconds)

    def residue(self, session: Session, project: str) -> Sequence[Residue]:
        """In every namespace, if that may be looked at. Kinds of custom resources are seen by what their controllers made."""
        kubectl = Kubectl(session, self.options)
        found = kubectl.get(",".join(_USUAL), "--all-namespaces", "--selector", f"{TRIAL}={project}")
        found += kubectl.get("namespaces", "--selector", f"{TRIAL}={project}")
        node = session.node.name
        return [
            Residue(
                node,
                str(o["kind"]).lower(),
                "/".join(filter(None, (o["metadata"].get("namespace"), o["metadata"]["name"]))),
            )
            for o in found
        ]

    # -- reading ---------------------------------------------------------------------------------------------------

    def _described(self, share: Share, service: str, problems: list[str]) -> ClusterService:
        return manifests.described(share.service(service), share.directory, self.options.namespace, problems)

    def _namespaces(self, service: ClusterService) -> tuple[str, ...]:
        parts = manifests.parts([o for step in service.steps for o in _objects(step)])
        return tuple(dict.fromkeys(p.namespace or service.namespace for p in parts))

    def _pods(self, kubectl: Kubectl, project: str, namespaces: Sequence[str], service: str = "") -> list[PodView]:
        selector = _selector(project, service) if service else f"{TRIAL}={project}"
        return [pod_view(p) for n in namespaces for p in kubectl.get("pods", "--selector", selector, namespace=n)]


def _objects(step: Step) -> list[dict[str, Any]]:
    """What :meth:`KubernetesComposer.check` has found to be good."""
    return manifests.objects(step.manifest, []) if step.manifest is not None else []


def _stuck(share: Share, service: ClusterService, views: Sequence[PodView], before: int) -> int:
    """How often in a row a pod was seen that will not run as it is. Raises ServiceFailed the third time."""
    bad = next((v for v in views if v.trouble), None)
    if bad is None:
        return 0
    if before + 1 >= _PATIENCE:
        raise ServiceFailed(service.name, share.node.name, f"pod {bad.name}: {bad.detail}", error_class=bad.trouble)
    return before + 1


def _selector(project: str, service: str) -> str:
    return f"{TRIAL}={project},{SERVICE}={service}"


def _labelled(kubectl: Kubectl, kinds: str, namespace: str, selector: str) -> list[dict[str, Any]]:
    try:
        return kubectl.get(kinds, "--selector", selector, namespace=namespace)
    except ClusterError as error:
        if error.unknown_kind:
            return []
        raise


def _apply(kubectl: Kubectl, found: Sequence[Mapping[str, Any]], namespace: str = "") -> None:
    kubectl.run("apply", "-f", "-", namespace=namespace, stdin=_text(found))


def _text(found: Sequence[Mapping[str, Any]]) -> bytes:
    return yaml.safe_dump_all([dict(o) for o in found], sort_keys=False).encode()


def _pause(began: float) -> None:
    """Longer, the longer one has waited already."""
    shortest, longest = _PAUSES
    current().sleep(min(longest, max(shortest, (time.monotonic() - began) / 10)))
