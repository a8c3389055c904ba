"""Sessions for the tests of transports."""

from __future__ import annotations

from typing import Any

from playbook_kernel.api import DriverRef, Node, NoOptions, Session
from playbook_plugins.transports.local import LocalTransport
from playbook_plugins.transports.ssh import Options, SshTransport

from .sshd import Sshd

NODE = Node("n1", DriverRef("ssh"))
OWNER = "pk-transports-test"


def options(server: Sshd, **changes: Any) -> Options:
    """What reaches the server, and reads nothing of the user's."""
    given: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "username": server.username,
        "key_filename": str(server.key),
        "known_hosts": str(server.known_hosts),
        "ssh_config": "/dev/null",
        "use_agent": False,
        **changes,
    }
    return Options(**given)


def connect(server: Sshd, **changes: Any) -> Session:
    return SshTransport(options(server, **changes)).connect(NODE, owner=OWNER)


def local() -> Session:
    return LocalTransport(NoOptions()).connect(Node("here", DriverRef("local")), owner=OWNER)
