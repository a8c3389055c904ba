"""Nothing of a trial outlives it: files are removed, leftover processes ended, and what is there is looked at again."""

from __future__ import annotations

from collections.abc import Iterable

from playbook_kernel.api import (
    CommandFailed,
    Deployment,
    Effect,
    NodeError,
    Residue,
    Session,
    TrialContext,
    hookimpl,
    run_all,
)

# Prints `pid<TAB>command` of every process that carries the owner mark $1; $2: a signal to send, or nothing. The look's
# own ancestors carry the mark too, and guards end by themselves when what they guard has ended.
_PROCESSES = r"""
skip=; p=$$
while [ "$p" -gt 1 ] 2>/dev/null; do
  skip="$skip $p"
  p=$(while read -r k v; do [ "$k" = PPid: ] && echo "$v"; done 2>/dev/null </proc/$p/status)
done
marked() {
  if printf 'a\0b' | grep -qzxF b 2>/dev/null; then grep -lzxF "PLAYBOOK_OWNER=$1" /proc/[0-9]*/environ 2>/dev/null
  else for e in /proc/[0-9]*/environ; do tr '\0' '\n' <$e 2>/dev/null | grep -qxF "PLAYBOOK_OWNER=$1" && echo $e; done; fi
}
for e in $(marked "$1"); do
  d=${e%/environ} p=${e#/proc/}; p=${p%/environ}
  case "$skip " in *" $p "*) continue;; esac
  c=$(tr '\0' ' ' <$d/cmdline 2>/dev/null)
  case $c in "" | *playbook-guard*) continue;; esac
  [ -n "$2" ] && kill -"$2" "$p" 2>/dev/null
  printf '%s\t%s\n' "$p" "$c"
done
"""
_EXISTS = 'for f in "$@"; do [ -e "$f" ] || [ -L "$f" ] && printf "%s\\n" "$f"; done; :'


@hookimpl(trylast=True)
def playbook_cleanup(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Residue]:
    """On every node at once: end what still runs, remove what was put there, look again."""
    nodes = sorted({*ctx.trial.scenario.node_names, *(e.node for e in ctx.effects.open("file"))})
    results = run_all([lambda n=n: _node(ctx, n) for n in nodes])  # type: ignore[misc]
    left: list[Residue] = []
    for node, result in zip(nodes, results, strict=True):
        if isinstance(result, NodeError | CommandFailed):
            left.append(Residue(node, "unverified", "node", f"could not be looked at: {result}"))
        elif isinstance(result, BaseException):
            raise result
        else:
            left += result
    return left


def _node(ctx: TrialContext, node: str) -> list[Residue]:
    session = ctx.session(node)
    left = [Residue(node, "process", pid, command) for pid, command in end_processes(session, ctx.trial.id)]
    return left + _remove_files(ctx, session, node)


def end_processes(session: Session, owner: str) -> list[tuple[str, str]]:
    """End every process that carries the owner mark; returns those that are still there after KILL."""
    for signal, pause in (("TERM", "0.3"), ("KILL", "0.2")):
        if not _marked(session, owner, signal):
            return []
        session.run(["sleep", pause])
    return _marked(session, owner, "")


def _marked(session: Session, owner: str, signal: str) -> list[tuple[str, str]]:
    argv = ["sh", "-s", "--", owner, signal]
    rows = session.run(argv, stdin=_PROCESSES.encode(), timeout=60).text.splitlines()
    return [(pid, command.strip()) for pid, _, command in (row.partition("\t") for row in rows)]


def _remove_files(ctx: TrialContext, session: Session, node: str) -> list[Residue]:
    effects = [e for e in ctx.effects.open("file", node) if isinstance(e.data.get("path"), str)]
    if not effects:
        return []
    for effect in effects:
        session.run(["rm", "-rf" if effect.data.get("tree") else "-f", "--", _path(effect)])
    still = set(session.run(["sh", "-c", _EXISTS, "-", *map(_path, effects)]).text.splitlines())
    for effect in effects:
        if _path(effect) not in still:
            ctx.effects.undone(effect)
    return [Residue(node, "file", path) for path in sorted(still)]


def _path(effect: Effect) -> str:
    return str(effect.data["path"])
