"""Does a command of the user's say that all is well?"""

from __future__ import annotations

from playbook_kernel.api import CommandFailed, Health, NodeError, Probe, Target, field, frozen


@frozen
class Options:
    """``command``: an argument list, or a line for ``sh -c``; it runs on the node of the service."""

    command: str | list[str] = ""
    script: str | list[str] = ""
    env: dict[str, str] = field(factory=dict)
    cwd: str = ""


class ScriptProbe(Probe[Options]):
    """A command on the node exits with 0."""

    def check(self, target: Target) -> Health:
        chosen = self.options.command or self.options.script
        if not chosen:
            return Health(ok=False, detail="the check names no command")
        argv = ["sh", "-c", chosen] if isinstance(chosen, str) else chosen
        try:
            done = target.session.run(argv, env=self.options.env, cwd=self.options.cwd or None, check=False)
        except (CommandFailed, NodeError) as error:
            return Health(ok=False, detail=str(error))
        tail = (done.text.strip() or done.errors.strip()).splitlines()[-1:]
        return Health(ok=done.ok, detail=f"exit {done.status}" + (f": {tail[0][:200]}" if tail else ""))
