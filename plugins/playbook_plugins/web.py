"""One HTTP request, from the controller or as a node would make it, bounded in time and size."""

from __future__ import annotations

import errno
import functools
import http.client
import json
import re
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from playbook_kernel.api import Session, current

_LIMIT = 1024 * 1024
_BRIEF_SECONDS = 1.0
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+", re.ASCII)


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
    place = _place(url)
    bound = max(current().timeout(timeout) or 0.0, 0.001)
    if session is None:
        plain = connected(place.host, place.port, bound)  # before anything else: while services start, most are refused
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        plain = session.dial(place.host, place.port, timeout=bound)
        plain.settimeout(bound)
    connection = http.client.HTTPConnection(place.host, place.port, timeout=bound)
    connection.sock = plain
    try:
        if place.secure:
            import ssl

            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(plain, server_hostname=place.host)
        connection.request(method, place.path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.reason, response.read(_LIMIT))
    finally:
        connection.close()


def connected(host: str, port: int, timeout: float) -> socket.socket:
    """A TCP connection. Raises OSError. An address is not looked up like a name: that takes longer than a refusal."""
    if not _ADDRESS.fullmatch(host):
        return socket.create_connection((host, port), timeout)
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout)
        made.connect((host, port))
    except BaseException:
        made.close()
        raise
    return made


def address(_: object, attribute: object, value: str) -> None:
    """A validator of options: an address that can be asked. Raises ValueError with what is probably meant."""
    name = getattr(attribute, "name", "url")
    try:
        _place(value)
    except ValueError as error:
        bare = re.match(r"(?!\w+://)[\w.\[\]:-]+(/|$)", value)
        raise ValueError(f"{name}: {error}" + (f"; did you mean http://{value}?" if bare else "")) from None


def refuses(host: str, port: int) -> bool:
    """Whether nothing accepts connections there; of a name, which would have to be looked up, it is not known: no."""
    if not _ADDRESS.fullmatch(host):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.settimeout(_BRIEF_SECONDS)
        return made.connect_ex((host, port)) == errno.ECONNREFUSED


def place_of(url: str) -> tuple[str, int] | None:
    """Host and port of an address; None when it is none."""
    try:
        place = _place(url)
    except ValueError:
        return None
    return place.host, place.port


@frozen
class _Place:
    secure: bool
    host: str
    port: int
    path: str


@functools.lru_cache(maxsize=256)
def _place(url: str) -> _Place:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an http:// or https:// address")
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Place(secure, parts.hostname, parts.port or (443 if secure else 80), path)


@functools.lru_cache(maxsize=256)
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
