"""What a service on a cluster is made of: its steps, their manifests, and our labels on every object of them."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen
from playbook_kernel.api import Service

TRIAL, SERVICE = "playbook.trial", "playbook.service"
FOLDER = "manifests"
CHECKS: Mapping[str, frozenset[str]] = {
    "resource_exists": frozenset({"kind", "name"}),
    "resource_ready": frozenset({"kind", "name"}),
    "deployment_ready": frozenset(),
    "pod_ready": frozenset(),
    "service_endpoints": frozenset(),
}
"""The types of checks, and the keys that each must have."""

KEPT = frozenset(
    {"Namespace", "PersistentVolumeClaim", "PersistentVolume", "StorageClass", "CustomResourceDefinition", "Secret",
     "ConfigMap", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
)  # fmt: skip
"""Kinds of which somebody else's object is used as it is, and left alone; of others it is refused."""


@frozen
class Step:
    """One step: a manifest to apply, and what must be true afterwards."""

    name: str
    manifest: Path | None
    check: Mapping[str, Any]


@frozen
class ClusterService:
    """``namespace`` is that of the service; objects may name another."""

    name: str
    namespace: str
    steps: tuple[Step, ...]


@frozen
class Part:
    """Objects of one namespace, in the order of their file. ``namespace`` "" is that of the service."""

    namespace: str
    objects: tuple[Mapping[str, Any], ...]


def described(service: Service, directory: Path, namespace: str, problems: list[str]) -> ClusterService:
    """The service as its metadata describe it; what is wrong goes to ``problems``, with file, line and key."""
    options = service.options
    where = f"services.{service.name}.kubectl"

    def wrong(key: str, message: str, near: str = "") -> None:
        line = _line(service.definition, near or service.name)
        problems.append(f"{service.definition}:{line}: {where}{key}: {message}")

    steps = options.get("steps")
    found: list[Step] = []
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        wrong(".steps", "at least one step with a manifest is needed")
        steps = ()
    for number, step in enumerate(steps):
        if not isinstance(step, Mapping):
            wrong(f".steps[{number}]", "expected name, manifest and check")
            continue
        manifest, check = step.get("manifest"), step.get("check") or {}
        path = None
        if manifest is not None:
            path = directory / FOLDER / str(manifest)
            if not path.resolve().is_relative_to((directory / FOLDER).resolve()):
                wrong(f".steps[{number}].manifest", f"{manifest!r} leads out of {FOLDER}/", str(manifest))
                path = None
            elif not path.is_file():
                wrong(f".steps[{number}].manifest", f"there is no file {FOLDER}/{manifest}", str(manifest))
                path = None
        if isinstance(check, Mapping):
            for problem in check_problems(check):
                wrong(f".steps[{number}].check", problem, str(check.get("type", "check")))
        else:
            wrong(f".steps[{number}].check", "expected type and its options")
            check = {}
        found.append(Step(str(step.get("name") or manifest or number), path, check))
    return ClusterService(service.name, str(options.get("namespace") or namespace), tuple(found))


def check_problems(check: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a check of a step; an empty one is fine."""
    if not check:
        return
    kind = str(check.get("type"))
    if kind not in CHECKS:
        near = difflib.get_close_matches(kind, CHECKS, n=1)
        yield f"there is no check {kind!r}; " + (
            f"did you mean {near[0]!r}?" if near else f"known: {', '.join(CHECKS)}"
        )
        return
    for key in sorted(CHECKS[kind] - check.keys()):
        yield f"{kind} needs {key}"


def objects(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The objects of a manifest, lists taken apart; what is wrong goes to ``problems``."""
    try:
        documents = list(yaml.safe_load_all(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: cannot be read: {error}")
        return []
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problems.append(f"{path}:{mark.line + 1 if mark else 0}: {getattr(error, 'problem', None) or error}")
        return []
    found: list[dict[str, Any]] = []
    for number, document in enumerate(d for d in documents if d is not None):
        for item in _items(document):
            metadata = item.get("metadata") if isinstance(item, dict) else None
            named = isinstance(metadata, dict) and metadata.get("name")
            if not named or not item.get("kind") or not item.get("apiVersion"):
                problems.append(f"{path}: document {number + 1} needs apiVersion, kind and metadata.name")
                continue
            found.append(item)
    if not found and not problems:
        problems.append(f"{path}: there is no object in it")
    return found


def _items(document: Any) -> list[Any]:
    """What a list holds, or the document itself."""
    if isinstance(document, dict) and str(document.get("kind")).endswith("List"):
        listed = document.get("items")
        return listed if isinstance(listed, list) else [document]
    return [document]


def parts(found: Sequence[Mapping[str, Any]]) -> list[Part]:
    """Objects by namespace, neighbours together."""
    result: list[Part] = []
    for item in found:
        namespace = str(item["metadata"].get("namespace") or "")
        if result and result[-1].namespace == namespace:
            result[-1] = Part(namespace, (*result[-1].objects, item))
        else:
            result.append(Part(namespace, (item,)))
    return result


def labelled(item: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """The object with our labels, and with them on everything that its controller will make of it."""
    made = copy.deepcopy(dict(item))
    _mark(made, labels)
    for template in _templates(made):
        _mark(template, labels)
    return made


def _mark(thing: dict[str, Any], labels: Mapping[str, str]) -> None:
    metadata = thing.setdefault("metadata", {}) or {}
    thing["metadata"] = metadata
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}


def _templates(thing: Any) -> Iterator[dict[str, Any]]:
    """Every template within an object, of pods or of volume claims, however deep a custom resource hides it."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            many = value if isinstance(value, list) else [value]
            if key.lower().endswith(("template", "templates")):
                yield from (t for t in many if isinstance(t, dict) and isinstance(t.get("spec"), dict))
            for inner in many:
                yield from _templates(inner)
    elif isinstance(thing, list):
        for inner in thing:
            yield from _templates(inner)


def makes_pods(item: Mapping[str, Any]) -> bool:
    """Whether pods are to be expected of it."""
    if item["kind"] == "Pod":
        return True
    replicas = (item.get("spec") or {}).get("replicas", 1)
    return replicas != 0 and any("containers" in t["spec"] for t in _templates(dict(item)))


def kind_of(item: Mapping[str, Any]) -> str:
    """Its kind as kubectl takes it without doubt.

    >>> kind_of({"apiVersion": "apps/v1", "kind": "Deployment"}), kind_of({"apiVersion": "v1", "kind": "Pod"})
    ('Deployment.v1.apps', 'Pod')
    """
    group, _, version = str(item["apiVersion"]).rpartition("/")
    return f"{item['kind']}.{version}.{group}" if group else str(item["kind"])


def _line(file: Path, text: str) -> int:
    """The first line of a file that has a text."""
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return 0
    return next((n for n, line in enumerate(lines, 1) if text in line), 0)
