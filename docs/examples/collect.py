"""Brings home what each node's kernel said, after every trial, failed ones above all."""

from collections.abc import Iterable

from playbook_kernel.api import Artifact, Deployment, TrialContext, hookimpl


@hookimpl
def playbook_collect(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Artifact]:
    """Every file lies in the trial's folder; a node that does not answer is told, and hurts no other."""
    for node in ctx.nodes:
        done = ctx.session(node).run(["dmesg", "--level=err,warn"], sudo=True, check=False)
        if not done.ok:
            ctx.warn(f"no kernel messages: {done.errors.strip()}", node)
            continue
        file = ctx.directory / "kernel" / f"{node}.log"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(done.stdout)
        yield Artifact("log", f"kernel/{node}.log", node=node, origin="dmesg", size=file.stat().st_size)
