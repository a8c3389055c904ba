"""Removing what a trial put on a node: what the journal names, and whatever carries its mark."""

from __future__ import annotations

from playbook_kernel.api import Residue, Session, TrialContext

from playbook_plugins.parts import REMOVE

_EXISTS = 'for f in "$@"; do [ -e "$f" ] || [ -L "$f" ] && printf "%s\\n" "$f"; done; :'

# $1: the trial. Containers first, for networks and volumes in use cannot be removed.
_SWEEP = r"""
command -v docker >/dev/null 2>&1 || exit 0
l=label=com.docker.compose.project=$1
for f in "$l" "label=playbook.trial=$1"; do
  for c in $(timeout 20 docker ps -aq --filter "$f"); do timeout 60 docker rm -fv "$c"; done
done
for n in $(timeout 20 docker network ls -q --filter "$l"); do timeout 20 docker network rm "$n"; done
for v in $(timeout 20 docker volume ls -q --filter "$l"); do timeout 20 docker volume rm -f "$v"; done
"""


def remove_files(ctx: TrialContext, session: Session, node: str) -> list[Residue]:
    """Remove the files that the journal names; returns those that are still there."""
    effects = [(e, str(e.data["path"])) for e in ctx.effects.open("file", node) if isinstance(e.data.get("path"), str)]
    if not effects:
        return []
    trees = [path for effect, path in effects if effect.data.get("tree")]
    if trees:
        session.run(["rm", "-rf", "--", *trees], check=False)
    if files := [path for _, path in effects if path not in trees]:
        session.run(["sh", "-c", f'rm -f -- "$@"\n{REMOVE}', "-", *files], check=False)
    still = set(session.run(["sh", "-c", _EXISTS, "-", *(path for _, path in effects)]).text.splitlines())
    for effect, path in effects:
        if path not in still:
            ctx.effects.undone(effect)
    return [Residue(node, "file", path) for path in sorted(still)]


def sweep(ctx: TrialContext, session: Session, node: str, marked: list[Residue]) -> None:
    """Remove what carries the trial's mark although nobody has undone it: a journal that was lost knows nothing of it."""
    trial = ctx.trial.id
    if any(r.kind in ("container", "network", "volume") for r in marked):
        session.run(["sh", "-s", "--", trial], stdin=_SWEEP.encode(), timeout=180, check=False)
    kept = {str(e.data.get("backup")) for e in ctx.effects.open("replaced", node)}
    for path in (r.name for r in marked if r.kind == "file" and r.name not in kept):
        original = path.removesuffix(f".playbook-{trial}")
        argv = ["rm", "-rf", "--", path] if original == path else ["mv", "-f", "--", path, original]
        session.run(argv, check=False)
