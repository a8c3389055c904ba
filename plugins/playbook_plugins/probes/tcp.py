"""Does something accept connections on a port?"""

from __future__ import annotations

from playbook_kernel.api import Health, NodeError, Probe, Target, current, field, frozen

from playbook_plugins.web import connected


@frozen
class Options:
    """``port`` on ``host`` (default: the node). ``via: node`` connects from the node, not from the controller."""

    port: int = field()
    host: str = ""
    via: str = field(default="controller")

    @via.validator
    def _known(self, _: object, value: str) -> None:
        if value not in ("controller", "node"):
            raise ValueError(f"via: expected controller or node, got {value!r}")


class TcpProbe(Probe[Options]):
    """A TCP connection to the port is accepted."""

    def check(self, target: Target) -> Health:
        options = self.options
        bound = current().timeout(10.0) or 0.001
        host = options.host or ("127.0.0.1" if options.via == "node" else target.host)
        try:
            if options.via == "node":
                connection = target.session.dial(host, options.port, timeout=bound)
            else:
                connection = connected(host, options.port, bound)
        except (OSError, NodeError) as error:
            return Health(ok=False, detail=f"{host}:{options.port}: {error}")
        connection.close()
        return Health(ok=True, detail=f"{host}:{options.port} accepts connections")

    def address(self, host: str) -> tuple[str, int] | None:
        return None if self.options.via == "node" else (self.options.host or host, self.options.port)
