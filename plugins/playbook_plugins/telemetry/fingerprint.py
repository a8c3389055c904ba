"""What exactly was measured: images with digests, topology, versions, and the state of the files it was made from."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from playbook_kernel.api import (
    Artifact,
    Deployment,
    PlaybookError,
    TrialContext,
    current,
    hookimpl,
    is_secret_name,
    redact,
    redacted,
    run_all,
)

FILE, KIND = "fingerprint.json", "fingerprint"
_MOST_BYTES = 64 * 1024 * 1024
_SKIPPED = {"results", "__pycache__", ".git"}
_NODE = r"""
command -v nvidia-smi >/dev/null 2>&1 && { echo @topology; timeout 20 nvidia-smi topo -m 2>/dev/null; }
if [ $# -gt 0 ] && command -v docker >/dev/null 2>&1; then
  echo @compose; timeout 10 docker compose version --short 2>/dev/null || timeout 10 docker-compose version --short 2>/dev/null
  echo @containers; timeout 20 docker inspect --type container --format '{{.Id}} {{.Image}} {{.Config.Image}}' "$@" 2>/dev/null
  echo @images; for i in $(timeout 20 docker inspect --type container --format '{{.Image}}' "$@" 2>/dev/null | sort -u); do
    timeout 10 docker image inspect --format '{{.Id}} {{range .RepoDigests}}{{.}},{{end}}' "$i" 2>/dev/null; done
fi
:
"""


@hookimpl
def playbook_collect(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Artifact]:
    """Keep the fingerprint of a trial; what cannot be found out is left out."""
    names = ctx.trial.scenario.node_names
    seen = run_all([lambda n=n: _node(ctx, n, deployment) for n in names])  # type: ignore[misc]
    data: dict[str, Any] = {"schema": 1, "images": [], "nodes": {}}
    for name, found in zip(names, seen, strict=True):
        if isinstance(found, tuple):
            data["images"] += found[0]
            data["nodes"][name] = found[1]
    folder = ctx.trial.scenario.directory
    data["provenance"] = {**_versions(), **_git(folder)}
    data["scenario"] = {"folder": folder_hash(folder), **_config(folder)}
    path = ctx.directory / FILE
    raw = json.dumps(redacted(data), indent=1, ensure_ascii=False).encode()
    path.write_bytes(raw)
    return [Artifact(KIND, FILE, size=len(raw), sha256=hashlib.sha256(raw).hexdigest())]


def _node(ctx: TrialContext, node: str, deployment: Deployment | None) -> tuple[list[dict[str, str]], dict[str, str]]:
    services = {
        str(container): i.service
        for i in (deployment.instances if deployment else ())
        if i.node == node
        for container in i.handle.get("containers", ())
    }
    try:
        done = ctx.session(node).run(["sh", "-s", "--", *services], stdin=_NODE.encode(), timeout=60.0, check=False)
    except PlaybookError:
        return [], {}
    return parse(done.text, services, node)


def parse(text: str, services: Mapping[str, str], node: str) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Images (by service) and facts out of what the script printed. ``services``: by the id of their container."""
    parts: dict[str, list[str]] = {}
    lines = parts.setdefault("", [])
    for line in text.splitlines():
        if line.startswith("@"):
            lines = parts.setdefault(line[1:], [])
        elif line.strip():
            lines.append(line)
    digests = {words[0]: (words[1:] or [""])[0].rstrip(",") for words in map(str.split, parts.get("images", ()))}
    images = []
    for line in parts.get("containers", ()):
        container, image, name = (*line.split(None, 2), "", "")[:3]
        service = next((s for cid, s in services.items() if container.startswith(cid) or cid.startswith(container)), "")
        images.append({"service": service, "node": node, "image": name, "digest": digests.get(image) or image})
    facts = {k: "\n".join(v) for k in ("topology", "compose") if (v := parts.get(k))}
    return images, facts


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "controller": platform.platform()}
    for package in distributions():
        if any(point.group.startswith("playbook_kernel.") for point in package.entry_points):
            found[f"package {package.metadata['Name']}"] = package.version
    return found


def _git(folder: Path) -> dict[str, str]:
    """The commit that the scenario's folder is of, and whether anything in it is not committed."""

    def git(*words: str) -> str | None:
        env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *words],  # noqa: S607 - the git that the user has
                capture_output=True, text=True, timeout=current().timeout(10.0), check=False, env=env,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    changed = git("status", "--porcelain", "--", ".")
    state = "unknown" if changed is None else "changed since" if changed else "clean"
    return {"git commit": commit, "git state": state}


def folder_hash(folder: Path) -> str:
    """A SHA-256 over the names and contents of a scenario's files, what runs left there aside; empty if they are too big."""
    digest, left = hashlib.sha256(), _MOST_BYTES
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if _SKIPPED & set(inside.parts) or path.is_symlink() or not path.is_file():
            continue
        try:
            left -= path.stat().st_size
            if left < 0:
                return ""
            content = path.read_bytes()
        except OSError:
            continue
        digest.update(f"{inside.as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _config(folder: Path) -> dict[str, str]:
    """The plain values of test_config.json, so that a comparison can name what differs."""
    try:
        data = json.loads((folder / "test_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(data, Mapping):
        return {}
    plain = {k: v for k, v in data.items() if isinstance(v, (str, int, float, bool)) and not is_secret_name(str(k))}
    return {f"test_config {k}": redact(str(v))[:200] for k, v in list(plain.items())[:60]}
