"""Nodes over SSH, on paramiko: one pooled connection each, tuned, watched, and re-opened when it is lost."""

from __future__ import annotations

from playbook_kernel.api import Node, Session, Transport

from .options import Options


class SshTransport(Transport[Options]):
    """Reaches a node over SSH: by key, agent or password, through jump hosts, with strict host keys."""

    def connect(self, node: Node, *, owner: str = "") -> Session:
        from .session import SshSession  # imports paramiko, which costs 150 ms that no other transport pays

        return SshSession(node, self.options, owner)


__all__ = ["Options", "SshTransport"]
