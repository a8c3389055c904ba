"""What the kernel expects of a hook plugin, as checks that its author can run."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence

import pluggy

from playbook_kernel.loading import HookManager
from playbook_kernel.model import Residue

from .fakes import FakeTrial, later


def check_hooks(plugin: object, name: str = "under-test") -> list[str]:
    """A hook plugin fits the hook specifications; returns the hooks it takes part in, in order.

    It implements at least one, with arguments that exist, wraps none that is isolated, and every function that looks like
    a hook is marked as one.
    """
    manager = HookManager()
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise AssertionError(f"{name} does not fit the hook specifications: {error}") from error
    callers = manager.get_hookcallers(plugin) or []
    hooks = sorted(c.name for c in callers)
    assert hooks, f"{name} implements no hook"
    known = {h for h in dir(manager.hook) if h.startswith("playbook_")}
    for attribute, _ in inspect.getmembers(plugin, callable):
        if attribute in known:
            assert attribute in hooks, f"{attribute} is not marked with @hookimpl: it would never be called"
        elif attribute.startswith("playbook_"):
            raise AssertionError(f"{attribute} is no hook that exists")
    return hooks


def check_cleanup(
    plugin: object, trial: FakeTrial, name: str = "under-test", *, kinds: Iterable[str] | None = None
) -> Sequence[Residue]:
    """The cleanup of a hook plugin undoes its effects, also when it runs twice, later, or when nothing was done.

    Run what makes the effects on ``trial`` first. ``kinds``: those of its own, if others (such as ``file``, which the
    tool's own plugin undoes) are there too; None: all. Returns what it says is left.
    """
    manager = HookManager()
    manager.register(plugin, name)
    left: list[Residue] = []
    again = later(trial)
    for ctx in (again.ctx, again.ctx):
        try:
            answers = [call() for _, call in manager.calls("playbook_cleanup", ctx=ctx, deployment=None)]
        except Exception as error:
            raise AssertionError(f"cleanup raised {type(error).__name__}: {error}") from error
        left = [r for answer in answers for r in answer or ()]
    own = None if kinds is None else frozenset(kinds)
    still = [e for e in again.ctx.effects.open() if own is None or e.kind in own]
    assert not still, f"cleanup did not say that these were undone: {[(e.kind, e.node) for e in still]}"
    return left
