"""Just enough of the Kubernetes API for the real kubectl: discovery, objects, selectors, logs, and controllers of a sort.

Deployments, stateful sets and jobs get pods; what becomes of a pod its image says: ``bad:1`` cannot be pulled, ``crash:1``
restarts for ever, ``huge:1`` fits nowhere, ``slow:1`` is ready at the third look, anything else is ready at once.
"""

from __future__ import annotations

import http.server
import itertools
import json
import re
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

KINDS = {
    ("", "v1"): {
        "namespaces": "Namespace", "pods": "Pod", "services": "Service", "configmaps": "ConfigMap", "secrets": "Secret",
        "persistentvolumeclaims": "PersistentVolumeClaim", "endpoints": "Endpoints", "events": "Event",
    },
    ("apps", "v1"): {
        "deployments": "Deployment", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet", "replicasets": "ReplicaSet",
    },
    ("batch", "v1"): {"jobs": "Job"},
    ("example.com", "v1"): {"widgets": "Widget"},
}  # fmt: skip
REFUSED = {
    403: {"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "x is forbidden: no", "code": 403},
    503: {
        "kind": "Status", "status": "Failure", "reason": "ServiceUnavailable", "code": 503,
        "message": "the server is currently unable to handle the request",
    },
}  # fmt: skip
SHORT = {"persistentvolumeclaims": ["pvc"], "deployments": ["deploy"], "services": ["svc"], "pods": ["po"]}
OWNERS = ("deployments", "statefulsets", "jobs", "daemonsets")


class Cluster:
    """``asked``: every request's method and path; ``fail``: answers to give instead of the right one, by method and path."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.numbers = itertools.count(1)
        self.lock = threading.RLock()
        self.asked: list[str] = []
        self.fail: list[tuple[str, int]] = []
        self.stuck: set[str] = set()
        self.logs = "line of {pod}\n"
        self.put("namespaces", "", {"metadata": {"name": "default"}})
        cluster = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                with cluster.lock:
                    status, data = cluster.handle(self.command, self.path, body, self.headers.get("Accept", ""))
                raw = data if isinstance(data, bytes) else json.dumps(data).encode()
                self.send_response(status)
                kind = "text/plain" if isinstance(data, bytes) else "application/json"
                if "proto-openapi" in self.headers.get("Accept", ""):
                    kind = "application/octet-stream"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def names(self, resource: str, namespace: str | None = None) -> list[str]:
        return sorted(n for r, s, n in self.objects if r == resource and namespace in (None, s))

    # -- requests --------------------------------------------------------------------------------------------------

    def handle(self, method: str, target: str, body: bytes, accept: str) -> tuple[int, Any]:
        parts = urlsplit(target)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        self.asked.append(f"{method} {parts.path}")
        for number, (pattern, status) in enumerate(self.fail):
            if re.search(pattern, f"{method} {target}"):
                del self.fail[number]
                return status, REFUSED[status]
        if (found := self.discovery(parts.path)) is not None:
            return 200, found
        match = re.fullmatch(
            r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))(?:/namespaces/(?P<ns>[^/]+)(?=/))?/"
            r"(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>log))?", parts.path)  # fmt: skip
        if match is None:
            return 404, failure(404, "NotFound", "the server could not find the requested resource")
        group, version = match["group"] or "", match["core"] or match["version"]
        resource, namespace, name = match["resource"], match["ns"] or "", match["name"]
        if resource not in KINDS.get((group, version), {}):
            return 404, failure(404, "NotFound", "the server could not find the requested resource")
        if match["sub"]:
            return (400, failure(400, "BadRequest", "no previous container")) if query.get("previous") else (
                200, self.logs.format(pod=name).encode())  # fmt: skip
        if method == "POST":
            item = json.loads(body)
            if (resource, namespace, item["metadata"]["name"]) in self.objects:
                return 409, failure(409, "AlreadyExists", f"{resource} {item['metadata']['name']!r} already exists")
            if namespace and ("namespaces", "", namespace) not in self.objects:
                return 404, failure(404, "NotFound", f"namespaces {namespace!r} not found")
            return 201, self.put(resource, namespace, item)
        if name is None and method == "GET":
            return 200, self.listed(group, version, resource, namespace, query)
        key = (resource, namespace, name or "")
        if key not in self.objects:
            return 404, failure(404, "NotFound", f"{resource} {name!r} not found")
        if method == "PATCH":
            merge(self.objects[key], json.loads(body))
        if method == "DELETE":
            uid = self.objects[key]["metadata"]["uid"]
            self.delete(key)
            return 200, {
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": {"name": name, "kind": resource, "uid": uid},
            }  # fmt: skip
        return 200, self.looked_at(key)

    def discovery(self, path: str) -> Any:
        if path == "/version":
            return {"major": "1", "minor": "30", "gitVersion": "v1.30.0"}
        if path == "/openapi/v2":
            return b""
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = [(g, v) for g, v in KINDS if g]
            listed = [{"groupVersion": f"{g}/{v}", "version": v} for g, v in groups]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
                {"name": g, "versions": [one], "preferredVersion": one} for (g, _), one in zip(groups, listed, strict=True)
            ]}  # fmt: skip
        for (group, version), kinds in KINDS.items():
            if path == (f"/apis/{group}/{version}" if group else f"/api/{version}"):
                verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
                return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": path.split("/", 2)[2], "resources": [
                    {"name": r, "singularName": k.lower(), "namespaced": r != "namespaces", "kind": k, "verbs": verbs,
                     "shortNames": SHORT.get(r, [])}
                    for r, k in kinds.items()
                ]}  # fmt: skip
        return None

    def listed(self, group: str, version: str, resource: str, namespace: str, query: dict[str, str]) -> dict[str, Any]:
        wanted = [term.split("=") for term in query.get("labelSelector", "").split(",") if term]
        name = re.search(r"metadata\.name=([^,]+)", query.get("fieldSelector", ""))
        keys = [k for k in sorted(self.objects) if k[0] == resource and (not namespace or k[1] == namespace)]
        found = []
        for key in keys:
            labels = self.objects[key]["metadata"].get("labels") or {}
            if all(labels.get(w[0]) == w[-1] for w in wanted) and (name is None or key[2] == name[1]):
                found.append(self.looked_at(key))
        kind = KINDS[group, version][resource]
        api = f"{group}/{version}" if group else version
        return {"kind": f"{kind}List", "apiVersion": api, "metadata": {"resourceVersion": "1"}, "items": found}

    # -- objects ---------------------------------------------------------------------------------------------------

    def put(
        self, resource: str, namespace: str, item: dict[str, Any], owner: tuple[str, str, str] | None = None
    ) -> Any:
        (group, version), kinds = next((g, k) for g, k in KINDS.items() if resource in k)
        item.setdefault("kind", kinds[resource])
        item.setdefault("apiVersion", f"{group}/{version}" if group else version)
        meta = item["metadata"]
        meta |= {"uid": f"uid-{next(self.numbers)}", "generation": 1, "resourceVersion": str(next(self.numbers))}
        meta["creationTimestamp"] = "2026-01-01T00:00:00Z"
        if namespace:
            meta["namespace"] = namespace
        key = (resource, namespace, meta["name"])
        self.objects[key] = item
        item["_owner"], item["_looks"] = owner, 0
        if resource in OWNERS:
            spec = item.get("spec", {})
            for number in range(spec.get("replicas", 1)):
                template = json.loads(json.dumps(spec.get("template", {})))
                pod = {
                    "metadata": {**template.get("metadata", {}), "name": f"{meta['name']}-{number}"},
                    "spec": template.get("spec", {}),
                }
                self.put("pods", namespace, pod, key)
        if resource == "persistentvolumeclaims":
            item["status"] = {"phase": "Bound"}
        return self.looked_at(key)

    def delete(self, key: tuple[str, str, str]) -> None:
        if key[2] in self.stuck:
            self.objects[key]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return
        del self.objects[key]
        gone = [
            k for k, o in self.objects.items() if o.get("_owner") == key or (key[0] == "namespaces" and k[1] == key[2])
        ]
        for one in gone:
            if one in self.objects:
                self.delete(one)

    def looked_at(self, key: tuple[str, str, str]) -> dict[str, Any]:
        """An object as it is now; a slow pod gets nearer to being ready by being looked at."""
        item = self.objects[key]
        if key[0] == "pods":
            item["_looks"] += 1
            item["status"] = pod_status(item, item["_looks"])
        if key[0] in OWNERS:
            pods = [o for o in self.objects.values() if o.get("_owner") == key]
            ready = sum(
                c["status"] == "True"
                for p in pods
                for c in pod_status(p, p["_looks"])["conditions"]
                if c["type"] == "Ready"
            )
            item["status"] = {"observedGeneration": 1, "readyReplicas": ready, "availableReplicas": ready}
        return {k: v for k, v in item.items() if not k.startswith("_")}


def pod_status(pod: dict[str, Any], looks: int) -> dict[str, Any]:
    containers = pod["spec"].get("containers", [])
    image = containers[0]["image"] if containers else ""
    name = containers[0]["name"] if containers else "c"
    ready, phase, state, restarts = True, "Running", {"running": {}}, 0
    conditions = [{"type": "PodScheduled", "status": "True"}]
    if image == "bad:1":
        ready, phase = False, "Pending"
        state = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "bad:1"'}}
    elif image == "crash:1":
        ready, restarts, state = False, 4, {"waiting": {"reason": "CrashLoopBackOff"}}
    elif image == "huge:1":
        ready, phase, state = False, "Pending", {}
        conditions = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient nvidia.com/gpu"}]
    elif image == "slow:1" and looks < 3:
        ready = False
    elif image == "once:1":
        ready, phase, state = False, "Succeeded", {"terminated": {"exitCode": 0}}
    elif image == "dead:1":
        ready, phase, state = False, "Failed", {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    conditions.append({"type": "Ready", "status": "True" if ready else "False"})
    status = {"name": name, "image": image, "ready": ready, "restartCount": restarts, "state": state}
    return {"phase": phase, "conditions": conditions, "containerStatuses": [status] if state else []}


def merge(base: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value


def failure(status: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": status,
    }
