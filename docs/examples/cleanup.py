"""Locks the clocks of the accelerators for a trial, and lets them go again, whatever happens."""

from collections.abc import Iterable

from playbook_kernel.api import Deployment, Health, Residue, TrialContext, hookimpl

KIND = "clocks"
MHZ = 1410


@hookimpl
def playbook_healthcheck(ctx: TrialContext, deployment: Deployment) -> Iterable[Health]:
    """Announced first: a later process finds it even if this one dies in the next line."""
    for node in ctx.nodes:
        effect = ctx.effects.intend(KIND, node)
        ctx.session(node).run(["nvidia-smi", f"--lock-gpu-clocks={MHZ}"], sudo=True)
        ctx.effects.done(effect)
        yield Health(ok=True, detail=f"clocks at {MHZ} MHz", node=node, probe=KIND)


@hookimpl
def playbook_cleanup(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Residue]:
    """Undo what the journal has, and say what could not be undone. Nothing but the effects is known here."""
    for effect in ctx.effects.open(KIND):
        done = ctx.session(effect.node).run(["nvidia-smi", "--reset-gpu-clocks"], sudo=True, check=False)
        if done.ok:
            ctx.effects.undone(effect)
        else:
            yield Residue(effect.node, KIND, "gpu clocks", done.errors.strip() or f"status {done.status}")
