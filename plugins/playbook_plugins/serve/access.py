"""Who may ask, and under which name of this machine."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie

from attrs import field, frozen

COOKIE = "playbook_session"


@frozen
class Access:
    """``token``: what must be shown, empty for none. ``names``: those that this machine is asked for by, beside addresses."""

    token: str = field(default="", repr=False)
    names: frozenset[str] = frozenset()

    def host_known(self, host: str) -> bool:
        """Whether a Host header means this machine: a page of another site that made its name lead here is turned away."""
        name = _bare(host)
        if name in self.names or name == "localhost":
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return bool(self.token) or address.is_loopback

    def allowed(self, headers: Mapping[str, str]) -> bool:
        """Whether the request shows the token, or the cookie that it was changed for."""
        if not self.token:
            return True
        kind, _, shown = headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.matches(shown.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self.session().encode())

    def matches(self, shown: str) -> bool:
        """Whether that is the token; takes as long for a wrong one as for the right one."""
        return bool(self.token) and hmac.compare_digest(shown.encode(), self.token.encode())

    def session(self) -> str:
        """What the cookie holds: it proves the token, and does not tell it."""
        return hmac.new(self.token.encode(), b"session", hashlib.sha256).hexdigest()


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach that address. Raises OSError for a name that leads nowhere."""
    found = {str(info[4][0]) for info in socket.getaddrinfo(address, None)}
    return all(ipaddress.ip_address(a.partition("%")[0]).is_loopback for a in found)


def own_names(more: Iterable[str]) -> frozenset[str]:
    """The names of this machine, and those that the user gives it."""
    return frozenset(n.lower() for n in (socket.gethostname(), socket.getfqdn(), *more) if n)


def _bare(host: str) -> str:
    """A Host header without its port, and an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
