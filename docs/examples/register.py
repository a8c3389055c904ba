"""Three health checks that differ in one number, made in code rather than named by entry points."""

from playbook_kernel.api import Health, NoOptions, Probe, Registry, Target, hookimpl


def cooler_than(limit: int) -> type[Probe[NoOptions]]:
    """Make the check that the hottest accelerator of the node is cooler than so many degrees."""

    class CoolerThan(Probe[NoOptions]):
        """The accelerators of the node are cool enough."""

        def check(self, target: Target) -> Health:
            query = ["nvidia-smi", "--query-gpu=temperature.gpu", "--format=csv,noheader"]
            hottest = max(map(int, target.session.run(query).text.split()))
            return Health(ok=hottest < limit, detail=f"{hottest} °C, limit {limit} °C")

    return CoolerThan


@hookimpl
def playbook_register(registry: Registry) -> None:
    """A scenario names them: ``checks: [{type: cooler-than-80}]``."""
    for limit in (70, 80, 90):
        registry.add(f"cooler-than-{limit}", cooler_than(limit))
