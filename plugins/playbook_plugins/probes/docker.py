"""Is the service's container (or process) running, and does its engine call it healthy?"""

from __future__ import annotations

from playbook_kernel.api import Health, Probe, Target, frozen


@frozen
class Options:
    """``health``: the engine's own health check must say healthy."""

    health: bool = False


class DockerProbe(Probe[Options]):
    """The container of the service runs; with ``health: true`` its own health check must be healthy too.

    A container whose health check says unhealthy is never good, whatever was asked.
    """

    def check(self, target: Target) -> Health:
        state = target.state
        seen = state.status + (f" ({state.health})" if state.health else "")
        if state.status == "exited" and target.service.one_shot:
            return Health(ok=state.exit_code == 0, detail=f"exited with {state.exit_code}")
        if state.status != "running":
            return Health(ok=False, detail=state.detail or seen)
        if state.health == "unhealthy" or (self.options.health and state.health != "healthy"):
            return Health(ok=False, detail=seen if state.health else "running, but it has no health check of its own")
        return Health(ok=True, detail=seen)
