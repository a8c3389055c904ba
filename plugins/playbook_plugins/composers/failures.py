"""What an engine's or Compose's words mean: the class of an error, and what to do about it."""

from __future__ import annotations

import re

from playbook_kernel.api import ServiceFailed

_RULES: tuple[tuple[str, str, str], ...] = (
    (
        (
            r"no such image|manifest (?:for .* )?(?:unknown|not found)|pull access denied|repository .* not found"
            r"|unable to find image|image .* not found|failed to resolve reference"
        ),
        "image",
        "load or push the image, or mend its name",
    ),
    (r"toomanyrequests|tls handshake timeout|connection reset by peer|unexpected eof", "network", ""),
    # What an engine says of a registry that it could not ask, which it does only for an image that the node does not have.
    (
        r'(?:get|head) "?https?://[^ "]+/v2/',
        "image",
        "the node has not got the image: load it there, or mend the node's way to the registry (DNS, proxy, docker login)",
    ),
    (r"port is already allocated|address already in use", "start", "something else on the node uses that port"),
    (r"no space left on device", "node", "free some disk on the node"),
    (
        r"could not select device driver|nvidia-container|unknown runtime",
        "start",
        "the node lacks the accelerator's runtime",
    ),
    (r"could not find an available.* address pool", "node", "remove unused networks: docker network prune"),
    (
        (
            r"cannot connect to the docker daemon|is the docker daemon running|connection refused.*docker"
            r"|error while fetching server api version|couldn't connect to docker daemon|error during connect"
        ),
        "engine",
        "start dockerd; its own log on the node says why it ended",
    ),
    (
        r"containerd\.sock|transport: error while dialing",
        "engine",
        "the engine's containerd does not answer; dockerd starts it again, if it is the one that started it",
    ),
    (
        r"permission denied.*docker\.sock|permission denied while trying to connect",
        "config",
        "add the user to group docker",
    ),
    (r"temporary failure in name resolution|i/o timeout|no such host", "network", ""),
    (
        r"is invalid because|unsupported config option|yaml|additional propert|undefined (?:volume|network|service)",
        "config",
        "",
    ),
    (r"oci runtime|exec:.*not found|no such file or directory|mount", "start", ""),
)
_NOISE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def failure(service: str, node: str, text: str) -> ServiceFailed:
    """An error for what was said, with the class that decides about retries."""
    plain = _NOISE.sub("", text).strip()
    lowered = plain.lower()
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    message = lines[-1] if lines else "it did not start, and nothing was said"
    for pattern, error_class, hint in _RULES:
        if re.search(pattern, lowered):
            telling = next((line for line in reversed(lines) if re.search(pattern, line.lower())), message)
            return ServiceFailed(service, node, telling[:500], error_class=error_class, hint=hint or None)
    return ServiceFailed(service, node, message[:500])
