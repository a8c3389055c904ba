"""A cluster of sorts, a node with the real kubectl, and scenarios."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # its modules, for these tests alone
from api_server import Cluster

KUBECTL = os.environ.get("PLAYBOOK_KUBECTL") or shutil.which("kubectl")


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The real kubectl, alone on the path before all else, with a home of its own."""
    if KUBECTL is None:
        pytest.skip("kubectl is not installed (Debian: kubernetes-client)")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kubectl").symlink_to(KUBECTL)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return KUBECTL


@pytest.fixture
def cluster(kubectl: str) -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.stop()


@pytest.fixture
def config(cluster: Cluster, tmp_path: Path) -> Path:
    """A kubeconfig with the contexts `prod`, and `dead`, where nobody listens."""
    path = tmp_path / "kube.yaml"
    path.write_text(f"""\
apiVersion: v1
kind: Config
clusters:
- {{name: here, cluster: {{server: "{cluster.url}"}}}}
- {{name: nowhere, cluster: {{server: "http://127.0.0.1:1"}}}}
users: [{{name: u, user: {{}}}}]
contexts:
- {{name: prod, context: {{cluster: here, user: u}}}}
- {{name: dead, context: {{cluster: nowhere, user: u}}}}
current-context: dead
""")
    return path
