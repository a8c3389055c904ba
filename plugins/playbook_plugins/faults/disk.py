"""A disk that fills up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from playbook_kernel.api import CommandFailed, Deployment, Fault, PhaseFailed, Scenario, TrialContext, Wound, frozen

# $1: the file, $2: MiB to leave. What is allocated at once is not always all that root may still write.
_FILL = """\
d=$(dirname -- "$1"); keep=$2
free() { df -Pk -- "$d" | awk 'NR == 2 { print $4 }'; }
n=$(( $(free) - keep * 1024 ))
[ "$n" -gt 0 ] || exit 0
umask 077
fallocate -l "${n}K" -- "$1" 2>/dev/null || dd if=/dev/zero of="$1" bs=1M count=$((n / 1024 + 1)) 2>/dev/null
[ "$keep" -gt 0 ] || dd if=/dev/zero of="$1" bs=4k oflag=append conv=notrunc 2>/dev/null
left=$(free); echo "$left"
[ "$left" -le $((keep * 1024 + 1024)) ]
"""


@frozen
class Options:
    """``node``: whose disk. ``path``: a folder on it, else the node's ``work_dir``. ``leave``: MiB that stay free."""

    node: str
    path: str = ""
    leave: int = 0


class FillDisk(Fault[Options]):
    """Fills the disk of a node with one file, which is removed again."""

    def check(self, scenario: Scenario) -> Sequence[str]:
        found = []
        if self.options.node not in scenario.node_names:
            known = ", ".join(scenario.node_names) or "none"
            found.append(f"node: no service is on {self.options.node!r}; there are: {known}")
        if self.options.path and not PurePosixPath(self.options.path).is_absolute():
            found.append(f"path: {self.options.path!r} does not begin at the root")
        if self.options.leave < 0:
            found.append(f"leave: must be at least 0, is {self.options.leave}")
        return found

    def fit(self, ctx: TrialContext) -> str | None:
        folder = str(PurePosixPath(self._file(ctx)).parent)
        done = ctx.session(self.options.node).run(["sh", "-c", '[ -d "$1" ] && [ -w "$1" ]', "-", folder], check=False)
        return None if done.ok else f"{self.options.node}: there is no folder {folder} that we may write to"

    def plan(self, ctx: TrialContext, deployment: Deployment) -> Sequence[Wound]:
        path = self._file(ctx)
        return [Wound(self.options.node, f"disk of {self.options.node} full ({path})", data={"path": path})]

    def _file(self, ctx: TrialContext) -> str:
        folder = self.options.path or ctx.nodes[self.options.node].work_dir or "/tmp"  # noqa: S108
        return str(PurePosixPath(folder) / f".playbook-fault-{ctx.trial.id}")

    def strike(self, ctx: TrialContext, wound: Wound) -> None:
        argv = ["sh", "-c", _FILL, "-", wound.data["path"], self.options.leave]
        try:
            ctx.session(wound.node).run(argv, timeout=600)
        except CommandFailed as error:
            raise PhaseFailed(f"{wound.node}: the disk is not full: {error.stdout.strip()} KiB are free") from error

    def heal(self, ctx: TrialContext, wound: Wound) -> None:
        script = 'rm -f -- "$1" && ! [ -e "$1" ]'
        ctx.session(wound.node).run(["sh", "-c", script, "-", wound.data["path"]])
