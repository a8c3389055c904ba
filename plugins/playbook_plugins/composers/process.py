"""Services as plain processes, for a node without Docker: the embedded default.

A service's ``command`` (with its ``entrypoint``) runs with its ``environment`` in a session of its own; ``image`` and ``ports``
are not looked at. Everything of a trial on a node lies in one folder, which goes when the trial does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from playbook_kernel.api import (
    Attachment,
    Composer,
    Endpoint,
    NoOptions,
    Problems,
    Residue,
    ServiceFailed,
    Session,
    Share,
    State,
    TrialContext,
)

from playbook_plugins import compose_file
from playbook_plugins.compose_file import ComposeService
from playbook_plugins.text import env_lines

_ROOT = "/tmp"  # noqa: S108 - the one folder that every POSIX node has; ours in it is made with mkdir and mode 700

# $1 the service's files without ending, then its command. The wrapper stays to write the exit status down.
_START = """\
f=$1; shift
rm -f -- "$f.exit" "$f.pid"
setsid sh -c '
f=$1; shift
echo $$ >"$f.pid"
trap "kill -TERM \\$c 2>/dev/null" TERM INT
"$@" & c=$!
wait $c; s=$?
while kill -0 $c 2>/dev/null; do wait $c; s=$?; done
echo $s >"$f.exit.part"; mv -- "$f.exit.part" "$f.exit"
' playbook-service "$f" "$@" >>"$f.log" 2>&1 </dev/null &
i=0
while [ ! -s "$f.pid" ] && [ $i -lt 500 ]; do sleep 0.02; i=$((i+1)); done
cat -- "$f.pid"
"""

# Prints `service<TAB>pid<TAB>alive or exit status` for each pid file of the folder $1.
_STATES = """\
cd -- "$1" 2>/dev/null || exit 0
for p in *.pid; do
  [ -s "$p" ] || continue
  s=${p%.pid}; read -r pid <"$p"
  if [ -s "$s.exit" ]; then read -r x <"$s.exit"; printf '%s\\t%s\\t%s\\n' "$s" "$pid" "$x"
  elif kill -0 "$pid" 2>/dev/null; then printf '%s\\t%s\\talive\\n' "$s" "$pid"
  else printf '%s\\t%s\\t137\\n' "$s" "$pid"; fi
done
"""

# Ends the process groups of $3... (TERM, then KILL after $1 tenths of a second); $2: the folder with their pid files. That a
# wrapper has ended is told by its exit file: its pid stays for as long as the node's init leaves it a zombie.
_STOP = """\
n=$1; cd -- "$2" 2>/dev/null || exit 0; shift 2
for s in "$@"; do [ -s "$s.pid" ] && read -r p <"$s.pid" && kill -TERM "$p" 2>/dev/null; done
i=0
while [ $i -lt "$n" ]; do
  live=
  for s in "$@"; do [ ! -s "$s.exit" ] && [ -s "$s.pid" ] && read -r p <"$s.pid" && kill -0 "$p" 2>/dev/null && live=1; done
  [ -z "$live" ] && break
  if [ $i -lt 10 ]; then sleep 0.02; else sleep 0.1; fi
  i=$((i+1))
done
for s in "$@"; do [ -s "$s.pid" ] && read -r p <"$s.pid" && kill -KILL -"$p" 2>/dev/null; done
:
"""
_GRACE_TENTHS = 80

# Sends the signal $1 to all of the session that the service $2 (its files without ending) runs in, but for its wrapper.
_DISTURB = """\
signal=$1 f=$2
[ -s "$f.pid" ] && [ ! -s "$f.exit" ] || exit 0
read -r wrapper <"$f.pid"
for stat in /proc/[0-9]*/stat; do
  read -r line 2>/dev/null <"$stat" || continue
  p=${stat#/proc/} p=${p%/stat}
  set -- ${line##*) }
  [ "$4" = "$wrapper" ] && [ "$p" != "$wrapper" ] && kill -"$signal" "$p" 2>/dev/null
done
:
"""
_SIGNALS = {"kill": "KILL", "pause": "STOP", "resume": "CONT"}


class ProcessComposer(Composer[NoOptions]):
    """Runs each service's command as a process of the node, without any container engine."""

    def fit(self, session: Session) -> str | None:
        done = session.run(["sh", "-c", "command -v setsid"], check=False)
        return None if done.ok else "it has no setsid"

    def check(self, share: Share) -> Sequence[str]:
        problems = Problems()
        for service in share.services:
            described = _described(share, service.name, problems)
            if described is not None and not _words(described):
                problems.add(
                    service.definition,
                    described.line,
                    f"services.{service.name}.command",
                    "is needed to run the service as a process",
                    "or use a node with Docker",
                )
        return [str(p) for p in problems.items]

    def prepare(self, ctx: TrialContext, session: Session, share: Share) -> None:
        folder = _folder(share.project)
        effect = ctx.effects.intend("file", share.node.name, path=folder, tree=True)
        session.run(["sh", "-c", 'umask 077 && mkdir -- "$1" "$1/files"', "-", folder])
        ctx.effects.done(effect)
        if share.node.transport.use != "local":
            session.put_tree(share.directory, f"{folder}/files")

    def start(self, ctx: TrialContext, session: Session, share: Share, service: str) -> Mapping[str, int]:
        described = _described(share, service, Problems())
        if described is None:
            raise ServiceFailed(service, share.node.name, "is not in its compose file", error_class="config")
        base = str(share.directory) if share.node.transport.use == "local" else f"{_folder(share.project)}/files"
        cwd = described.working_dir or base
        if session.run(["test", "-d", cwd], check=False).status:
            cwd = base  # what an image has for a working directory need not be on the node
        argv = ["sh", "-c", _START, "-", f"{_folder(share.project)}/{service}", *_words(described)]
        done = session.run(argv, env=_environment(share, described), cwd=cwd, timeout=30)
        pid = done.text.strip()
        if not pid.isdigit():
            raise ServiceFailed(service, share.node.name, f"did not start: {done.errors.strip() or 'no process'}")
        return {"pid": int(pid)}

    def reset(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
        self.stop(ctx, session, share, service)
        base = f"{_folder(share.project)}/{service}"
        session.run(["rm", "-f", "--", f"{base}.pid", f"{base}.exit"])

    def states(self, session: Session, share: Share) -> Mapping[str, State]:
        found = {s.name: State(s.name, "created") for s in share.services}
        for row in session.run(["sh", "-c", _STATES, "-", _folder(share.project)]).text.splitlines():
            service, pid, said = row.split("\t")
            handle = {"pid": int(pid)}
            if said == "alive":
                found[service] = State(service, "running", handle=handle)
            else:
                detail = _last_line(session, f"{_folder(share.project)}/{service}.log")
                found[service] = State(service, "exited", int(said), detail=detail, handle=handle)
        return found

    def endpoint(self, share: Share, service: str) -> Endpoint | None:
        described = _described(share, service, Problems())
        port = next((p.published for p in described.ports if p.published), None) if described else None
        return Endpoint(f"http://{share.node.host}:{port}") if port else None

    def logs(self, session: Session, share: Share, service: str, into: Path, *, limit: int) -> Path | None:
        remote = f"{_folder(share.project)}/{service}.log"
        if session.run(["test", "-s", remote], check=False).status:
            return None
        target = into / f"{service}.log"
        session.get(remote, target, limit=limit)
        return target

    def stop(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
        _stop(session, share.project, [service])

    def down(self, ctx: TrialContext, session: Session, project: str) -> None:
        _stop(session, project, [row.split("\t")[0] for row in _rows(session, project)])

    def residue(self, session: Session, project: str) -> Sequence[Residue]:
        alive = [row.split("\t") for row in _rows(session, project) if row.endswith("\talive")]
        return [Residue(session.node.name, "process", pid, service) for service, pid, _ in alive]

    def disturb(self, session: Session, share: Share, service: str, act: Literal["kill", "pause", "resume"]) -> None:
        session.run(["sh", "-c", _DISTURB, "-", _SIGNALS[act], f"{_folder(share.project)}/{service}"])

    def attachments(self, session: Session, share: Share, service: str) -> Sequence[Attachment]:
        return [Attachment()]


def _folder(project: str) -> str:
    return f"{_ROOT}/playbook-{project}"


def _rows(session: Session, project: str) -> list[str]:
    return session.run(["sh", "-c", _STATES, "-", _folder(project)]).text.splitlines()


def _stop(session: Session, project: str, services: Sequence[str]) -> None:
    if services:
        argv = ["sh", "-c", _STOP, "-", str(_GRACE_TENTHS), _folder(project), *services]
        session.run(argv, timeout=_GRACE_TENTHS / 10 + 20)


def _last_line(session: Session, path: str) -> str:
    lines = session.run(["tail", "-n", "1", "--", path], check=False).text.strip()
    return lines[:300]


def _env(share: Share) -> dict[str, str]:
    if share.env_file is None:
        return {}
    return {name: value for _, name, value in env_lines(share.env_file, Problems())}


def _described(share: Share, service: str, problems: Problems) -> ComposeService | None:
    definition = share.service(service).definition
    return compose_file.load(definition, _env(share), problems).services.get(service)


def _words(service: ComposeService) -> list[str]:
    return [*(service.entrypoint or ()), *(service.command or ())]


def _environment(share: Share, service: ComposeService) -> dict[str, str]:
    """What the service gets on top of the node's own environment: its env files, then its environment."""
    base = _env(share)
    found: dict[str, str] = {}
    for name in service.env_files:
        found |= {key: value for _, key, value in env_lines(share.directory / name, Problems())}
    for key, value in service.environment.items():
        if value is not None:
            found[key] = value
        elif key in base:
            found[key] = base[key]
    return found
