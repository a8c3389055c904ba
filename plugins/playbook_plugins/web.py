"""One HTTP request, from the controller or as a node would make it, bounded in time and size."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from playbook_kernel.api import Session, current

_LIMIT = 1024 * 1024


@frozen
class Answer:
    """A response; ``body`` is at most 1 MiB of it."""

    status: int
    reason: str
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Parse the body; raises ValueError."""
        return json.loads(self.body)


def ask(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 10.0,
    session: Session | None = None,
) -> Answer:
    """Make one request. With ``session`` the connection is made from that node.

    Raises OSError, http.client.HTTPException, ValueError (the URL), or what the session raises.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an http:// or https:// address")
    bound = max(current().timeout(timeout) or 0.0, 0.001)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = http.client.HTTPConnection(parts.hostname, port, timeout=bound)
    try:
        if session is not None:
            connection.sock = session.dial(parts.hostname, port, timeout=bound)
            connection.sock.settimeout(bound)
        else:
            connection.connect()
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=parts.hostname)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.reason, response.read(_LIMIT))
    finally:
        connection.close()


def from_outside(url: str, host: str) -> str:
    """Replace ``localhost`` and ``127.0.0.1`` in an address by a node's host: what a user wrote as seen on the node.

    >>> from_outside("http://localhost:8000/health", "10.0.0.7")
    'http://10.0.0.7:8000/health'
    """
    parts = urlsplit(url)
    if parts.hostname not in ("localhost", "127.0.0.1"):
        return url
    name = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=f"{name}:{parts.port}" if parts.port else name).geturl()
