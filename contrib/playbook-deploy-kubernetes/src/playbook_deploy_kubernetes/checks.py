"""Questions to a cluster: is it there, is it ready? Of the steps of a service, and of its health checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from .kubectl import Kubectl

_STUCK = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_BROKEN = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


@frozen
class Answer:
    """``detail`` says what was seen."""

    ok: bool
    detail: str


@frozen
class PodView:
    """A pod in a few words. ``trouble``: ``image`` or ``start`` if it will not run as it is, and ``detail`` says why."""

    name: str
    phase: str
    ready: bool
    restarts: int
    trouble: str = ""
    detail: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    leaving: bool = False
    labels: Mapping[str, str] = field(factory=dict)


def pod_view(pod: Mapping[str, Any]) -> PodView:
    """Read what matters out of a pod."""
    meta, status = pod.get("metadata") or {}, pod.get("status") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    trouble, detail, code, oom = "", str(status.get("message") or status.get("reason") or ""), None, False
    for one in containers:
        waiting = (one.get("state") or {}).get("waiting") or {}
        ended = (one.get("state") or {}).get("terminated") or (one.get("lastState") or {}).get("terminated") or {}
        reason = str(waiting.get("reason") or "")
        if ended.get("exitCode") not in (None, 0):
            code, oom = int(ended["exitCode"]), ended.get("reason") == "OOMKilled"
            detail = (
                f"container {one.get('name')} exited with {code}: {ended.get('message') or ended.get('reason') or ''}"
            )
        if reason in _STUCK or reason in _BROKEN:
            trouble = "image" if reason in _STUCK else "start"
            detail = f"{reason}: {waiting.get('message') or one.get('image') or ''}"
    scheduled = conditions.get("PodScheduled") or {}
    if not detail and scheduled.get("status") == "False":
        detail = str(scheduled.get("message") or scheduled.get("reason") or "")
    return PodView(
        str(meta.get("name")), str(status.get("phase") or "Pending"),
        (conditions.get("Ready") or {}).get("status") == "True",
        sum(int(c.get("restartCount") or 0) for c in containers), trouble, detail.strip(" :"), code, oom,
        bool(meta.get("deletionTimestamp")), meta.get("labels") or {},
    )  # fmt: skip


def answer(
    kubectl: Kubectl, kind: str, options: Mapping[str, Any], *, service: str, namespace: str, own: str
) -> Answer:
    """Ask once. ``own`` is the selector of the service's pods, for checks without one. Raises ClusterError."""
    namespace = str(options.get("namespace") or namespace)
    name = str(options.get("name") or service)
    match kind:
        case "pod_ready":
            return _pods(kubectl, str(options.get("selector") or own), int(options.get("min_ready") or 1), namespace)
        case "deployment_ready":
            wanted = options.get("replicas")
            return _deployment(kubectl, name, None if wanted is None else int(wanted), namespace)
        case "service_endpoints":
            return _endpoints(kubectl, name, int(options.get("min_endpoints") or 1), namespace)
    found = kubectl.get(str(options["kind"]), name, namespace=namespace)
    if not found:
        return Answer(ok=False, detail=f"{options['kind']}/{name} is not there")
    if kind == "resource_ready":
        return _ready(found[0])
    return Answer(ok=True, detail=f"{options['kind']}/{name} is there")


def _pods(kubectl: Kubectl, selector: str, wanted: int, namespace: str) -> Answer:
    views = [pod_view(p) for p in kubectl.get("pods", "--selector", selector, namespace=namespace)]
    ready = [v for v in views if v.ready and v.phase == "Running" and not v.leaving]
    seen = f"{len(ready)} of {wanted} pods are ready"
    return Answer(ok=len(ready) >= wanted, detail="; ".join([seen, *filter(None, (v.detail for v in views))][:3]))


def _deployment(kubectl: Kubectl, name: str, wanted: int | None, namespace: str) -> Answer:
    found = kubectl.get("deployment", name, namespace=namespace)
    return _replicas(found[0], wanted) if found else Answer(ok=False, detail=f"deployment/{name} is not there")


def _replicas(item: Mapping[str, Any], wanted: int | None = None) -> Answer:
    """All replicas ready, available and of the newest generation: the controller has seen what was asked of it."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    asked = int(spec.get("replicas", 1)) if wanted is None else wanted
    seen_it = int(status.get("observedGeneration") or 0) >= int((item.get("metadata") or {}).get("generation") or 0)
    ready, available = int(status.get("readyReplicas") or 0), int(status.get("availableReplicas") or 0)
    good = seen_it and asked > 0 and ready >= asked and available >= asked
    return Answer(
        ok=good, detail=f"{ready} of {asked} replicas are ready" + ("" if seen_it else ", of an older generation")
    )


def _endpoints(kubectl: Kubectl, name: str, wanted: int, namespace: str) -> Answer:
    found = kubectl.get("endpoints", name, namespace=namespace)
    ready = sum(len(s.get("addresses") or ()) for s in (found[0].get("subsets") or ())) if found else 0
    return Answer(ok=ready >= wanted, detail=f"{ready} of {wanted} addresses of service/{name} are ready")


def _ready(item: Mapping[str, Any]) -> Answer:
    kind, status = str(item.get("kind")), item.get("status") or {}
    name = f"{kind.lower()}/{(item.get('metadata') or {}).get('name')}"
    if kind == "PersistentVolumeClaim":
        return Answer(ok=status.get("phase") == "Bound", detail=f"{name} is {status.get('phase') or 'pending'}")
    if kind == "Deployment":
        return _replicas(item)
    return Answer(ok=True, detail=f"{name} is there")


def summed(views: Sequence[PodView]) -> str:
    """The pods in a line."""
    return "; ".join(f"{v.name} is {v.phase.lower()}" + (f" ({v.detail})" if v.detail else "") for v in views[:4])
