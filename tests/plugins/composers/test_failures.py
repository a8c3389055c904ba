"""What engines and both generations of Compose really said, and what it is told as."""

from __future__ import annotations

import pytest
from playbook_plugins.composers.failures import failure

REGISTRY = 'Error response from daemon: Get "https://registry-1.docker.io/v2/": '


@pytest.mark.parametrize(
    ("said", "error_class", "hint"),
    [
        (f"{REGISTRY}dial tcp: lookup registry-1.docker.io on 10.88.0.1:53: no such host", "image", "load it"),
        (
            f"{REGISTRY}dial tcp: lookup registry-1.docker.io on 10.88.0.1:53: read udp 10.88.0.12:42->10.88.0.1:53: i/o timeout",
            "image",
            "DNS",
        ),
        (
            f"{REGISTRY}dial tcp: lookup registry-1.docker.io on 10.88.0.1:53: read: connection refused",
            "image",
            "load it",
        ),
        (
            'Error response from daemon: Get "http://10.88.0.1:5000/v2/": dial tcp 10.88.0.1:5000: connect: connection refused',
            "image",
            "proxy",
        ),
        (
            f"Pulling a (nothere/x:1)...\n{REGISTRY}net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
            "image",
            "load it",
        ),
        ('Head "https://ghcr.io/v2/a/b/manifests/1": unauthorized', "image", "docker login"),
        ("Unable to find image 'a/b:1' locally\ndocker: dial tcp: lookup r: no such host.", "image", "load or push"),
        ("Error response from daemon: No such image: a/b:1", "image", "load or push"),
        ("pull access denied for nothere/x, repository does not exist", "image", "mend its name"),
        (f"{REGISTRY}net/http: TLS handshake timeout", "network", ""),
        ("toomanyrequests: You have reached your pull rate limit", "network", ""),
        ("dial tcp: lookup plugins.example on 10.88.0.1:53: no such host", "network", ""),
        (
            'error during connect: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/containers/json": EOF',
            "engine",
            "dockerd",
        ),
        (
            'connection error: desc = "transport: Error while dialing dial unix /run/containerd/containerd.sock": unavailable',
            "engine",
            "containerd",
        ),
    ],
)
def test_what_is_said_has_the_class_that_decides_what_helps(said: str, error_class: str, hint: str) -> None:
    error = failure("web", "n2", said)
    assert error.error_class == error_class
    assert hint in (error.hint or "")
    assert str(error).removeprefix("web on n2: ") in said
