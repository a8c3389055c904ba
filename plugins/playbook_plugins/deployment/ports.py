"""Ports that a check would ask and that somebody else holds already: his answer would be taken for the service's."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from playbook_kernel.api import Check, Node, Service, ServiceFailed, TrialContext

_HERE = ("localhost", "127.0.0.1", "::1", "")


def refuse_taken(ctx: TrialContext, service: Service, node: Node) -> None:
    """Raise ServiceFailed if something listened on the service's port when nothing of this trial was up.

    What listens is what discovery found; a check of another host, or an optional one, is nobody's claim to a port.
    """
    listening = ctx.facts.get(node.name, {}).get("listening")
    taken = set(listening) if isinstance(listening, list) else set()
    for port in asked(service, node):
        if port in taken:
            raise ServiceFailed(
                service.name,
                node.name,
                f"port {port}, which its check asks, is taken already: somebody else would answer",
                hint=f"on the node, `ss -ltnp sport = :{port}` says who; a killed trial's services go with "
                "`playbook-kernel cleanup --all-orphans`",
            )


def asked(service: Service, node: Node) -> Iterator[int]:
    """The ports of this node that the service's required checks ask."""
    for check in service.checks:
        if check.required and (port := _port(check, node)):
            yield port


def _port(check: Check, node: Node) -> int | None:
    options = check.probe.options
    url, port = options.get("url"), options.get("port")
    if isinstance(url, str):
        try:
            parts = urlsplit(url)
            return parts.port if (parts.hostname or "") in (*_HERE, node.host, node.name) else None
        except ValueError:
            return None
    if isinstance(port, int) and str(options.get("host") or "") in (*_HERE, node.host, node.name):
        return port
    return None
