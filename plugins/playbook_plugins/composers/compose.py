"""What both generations of Compose have in common: Compose creates, the engine's own API does the rest, by label."""

from __future__ import annotations

import json
import re
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

from playbook_kernel.api import (
    Attachment,
    Composer,
    Endpoint,
    NoOptions,
    PlaybookError,
    Problems,
    Residue,
    ServiceFailed,
    Session,
    Share,
    State,
    TrialContext,
    current,
)

from playbook_plugins import compose_file
from playbook_plugins.compose_file import ComposeFile, ComposeService
from playbook_plugins.text import env_lines

from . import goodbye, staging
from .engine import Engine, Look
from .failures import failure

LABEL = "playbook.trial"
_SERVICE = "com.docker.compose.service"
_EXITED = re.compile(r"\((\d+)\)")
_ACTS = {"kill": "kill", "pause": "pause", "resume": "unpause"}
_OF_ONE_SERVICE = ("image", "network", "start")
_TRIES, _PAUSE = 3, 2.0
_engines: WeakKeyDictionary[Session, Engine] = WeakKeyDictionary()
_engines_lock = threading.Lock()


def engine_of(session: Session) -> Engine:
    """The engine behind a session, one for all callers."""
    with _engines_lock:
        found = _engines.get(session)
        if found is None:
            found = _engines[session] = Engine(session)
        return found


class ComposeBase(Composer[NoOptions]):
    """Compose, of whichever generation; a subclass says how it is called."""

    @abstractmethod
    def compose(self, session: Session, share: Share, files: Sequence[str], command: Sequence[str]) -> None:
        """Run one compose command for a share's project with these files. Raises CommandFailed."""

    # -- before anything is touched -------------------------------------------------------------------------------

    def check(self, share: Share) -> Sequence[str]:
        problems = Problems()
        for definition in dict.fromkeys(s.definition for s in share.services):
            self.lint(_load(share, definition, problems), problems)
        return [str(p) for p in problems.items]

    def lint(self, file: ComposeFile, problems: Problems) -> None:
        """Note what this generation does not understand; nothing by default."""

    # -- up -------------------------------------------------------------------------------------------------------

    def prepare(self, ctx: TrialContext, session: Session, share: Share) -> None:
        """Files and containers. What one service's container cannot be made for is told when that service starts."""
        engine = engine_of(session)
        engine.warm(len(share.services))  # connecting takes a moment, and staging and creating are one
        engine.listen(share.project, health=any(c.probe.use == "docker" for s in share.services for c in s.checks))
        staging.put(ctx, session, share, self._overrides(share), _mounted(share))
        for definition, names in _by_definition(share).items():
            created = [n for n in names if not self._whole(share, n)]
            if created:
                try:
                    self._create_patiently(session, share, definition, created)
                except ServiceFailed as error:
                    if error.error_class not in _OF_ONE_SERVICE:
                        raise
                    ctx.log.warning("not everything could be created", node=share.node.name, error=str(error))
        self._look(engine, share)

    def start(self, ctx: TrialContext, session: Session, share: Share, service: str) -> Mapping[str, Any]:
        node, definition = share.node.name, share.service(service).definition
        if self._whole(share, service):
            self._compose(session, share, definition, ["up", "-d", "--no-deps", "--no-build", service], [service])
        engine = engine_of(session)
        ids = self._known(engine, share, service) or self._ids(engine, share, service)
        if not ids:
            self._create(session, share, definition, [service])
            ids = self._ids(engine, share, service)
        if not ids:
            raise ServiceFailed(service, node, "Compose made no container for it", error_class="config")
        for container in ids:
            reply = engine.start(share.project, service, container)
            if not reply.ok:
                raise failure(service, node, reply.error)
        return {"containers": list(ids)}

    def reset(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
        engine = engine_of(session)
        for container in self._ids(engine, share, service):
            engine.call("DELETE", f"/containers/{container}", {"force": "1", "v": "1"})
        if not self._whole(share, service):
            self._create(session, share, share.service(service).definition, [service])

    def _create_patiently(self, session: Session, share: Share, definition: Path, services: Sequence[str]) -> None:
        """An engine that is being restarted answers a moment later, and creating what is there already harms nothing."""
        for left in reversed(range(_TRIES)):
            try:
                self._create(session, share, definition, services)
                break
            except ServiceFailed as error:
                if error.error_class != "engine" or not left:
                    raise
            current().sleep(_PAUSE)

    def _create(self, session: Session, share: Share, definition: Path, services: Sequence[str]) -> None:
        command = ["up", "--no-start", "--no-deps", "--no-build", *services]
        self._compose(session, share, definition, command, services)

    def _compose(
        self, session: Session, share: Share, definition: Path, command: Sequence[str], services: Sequence[str]
    ) -> None:
        files = [staging.remote(share, definition.name), staging.override(share, definition)]
        engine = engine_of(session)
        try:
            with engine.answering():
                self.compose(session, share, files, command)
        except PlaybookError as error:
            said = getattr(error, "stderr", "") or getattr(error, "stdout", "") or str(error)
            if error.error_class != "command":
                raise
            raise failure(", ".join(services), share.node.name, said) from error
        finally:
            engine.seen.pop(share.project, None)  # there are other containers now

    def _whole(self, share: Share, service: str) -> bool:
        """Whether Compose itself must start a service: its start does more than starting a container."""
        file = _load(share, share.service(service).definition, Problems())
        described = file.services.get(service)
        return described is not None and self.starts_by_itself(file, described)

    def starts_by_itself(self, file: ComposeFile, service: ComposeService) -> bool:
        """Whether this generation's own start of a service does more than starting its container."""
        raw = service.raw
        shares = any(str(raw.get(k) or "").startswith("service:") for k in ("network_mode", "pid", "ipc"))
        return shares or bool(raw.get("volumes_from"))

    def addition(self, project: str, service: ComposeService) -> dict[str, Any]:
        """What our own compose file says of a service; it is merged over the user's."""
        return {"labels": {LABEL: project}}

    def _overrides(self, share: Share) -> dict[Path, bytes]:
        """For each definition a second file that adds our label; JSON is YAML."""
        found = {}
        for definition, names in _by_definition(share).items():
            file = _load(share, definition, Problems())
            data: dict[str, Any] = {"services": {n: self.addition(share.project, file.services[n]) for n in names}}
            version = file.document.data.get("version")
            if version is not None:
                data["version"] = str(version)  # V1 refuses files of different versions
            found[definition] = json.dumps(data).encode()
        return found

    # -- looking --------------------------------------------------------------------------------------------------

    def states(self, session: Session, share: Share) -> Mapping[str, State]:
        engine = engine_of(session)
        last, mark = engine.seen.get(share.project), engine.mark(share.project)
        return (last if last is not None and last.holds(mark) else self._look(engine, share)).states

    def _look(self, engine: Engine, share: Share) -> Look:
        mark = engine.mark(share.project)
        states: dict[str, State] = {s.name: State(s.name, "absent") for s in share.services}
        ids: dict[str, list[str]] = {}
        for container in engine.containers(share.project):
            name = container["Labels"].get(_SERVICE, "")
            if name in states:
                states[name] = _worse(states[name], self._state(engine, name, container))
                ids.setdefault(name, []).append(str(container["Id"]))
        look = engine.seen[share.project] = Look(mark, states, ids)
        return look

    def _known(self, engine: Engine, share: Share, service: str) -> Sequence[str]:
        """The containers of a service as they were last seen: Compose has not been called since."""
        last = engine.seen.get(share.project)
        return () if last is None else last.ids.get(service, ())

    def _ids(self, engine: Engine, share: Share, service: str) -> Sequence[str]:
        return self._look(engine, share).ids.get(service, ())

    def _state(self, engine: Engine, service: str, container: Mapping[str, Any]) -> State:
        said = str(container.get("Status", ""))
        words: dict[str, Literal["created", "running", "paused", "restarting", "exited"]] = {
            "created": "created", "running": "running", "paused": "paused", "restarting": "restarting",
            "exited": "exited", "dead": "exited", "removing": "exited",
        }  # fmt: skip
        status = words.get(str(container["State"]), "exited")
        health = next((h for h in ("unhealthy", "healthy", "starting") if f"({h})" in said or f": {h})" in said), "")
        handle = {"container": container["Id"]}
        if status not in ("exited", "restarting"):
            return State(service, status, health=health, detail=said, handle=handle)
        more = engine.inspect(container["Id"])
        inner = more.get("State", {})
        code = _EXITED.search(said)
        return State(
            service,
            status,
            int(inner.get("ExitCode", code[1] if code else -1)),
            health,
            bool(inner.get("OOMKilled")),
            int(more.get("RestartCount", 0)),
            str(inner.get("Error") or said),
            handle,
        )

    def endpoint(self, share: Share, service: str) -> Endpoint | None:
        described = _load(share, share.service(service).definition, Problems()).services.get(service)
        port = next((p.published for p in described.ports if p.published), None) if described else None
        return Endpoint(f"http://{share.node.host}:{port}") if port else None

    def logs(self, session: Session, share: Share, service: str, into: Path, *, limit: int) -> Path | None:
        ids = self._ids(engine_of(session), share, service)
        if not ids:
            return None
        script = 'n=$1; shift; for c in "$@"; do docker logs --timestamps "$c" 2>&1; done | tail -c "$n"'
        target = into / f"{service}.log"
        engine, words = engine_of(session), ["sh", "-c", script, "-", limit, *ids]
        with target.open("wb") as out, engine.answering(), session.start(words, timeout=600) as process:
            for pipe, piece in process.chunks():
                if pipe == "stdout":
                    out.write(piece)
            process.wait()
        return target

    # -- down -----------------------------------------------------------------------------------------------------

    def stop(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
        engine = engine_of(session)
        found = [c for c in engine.containers(share.project) if c["Labels"].get(_SERVICE) == service]
        goodbye.stop(session, engine, found)

    def down(self, ctx: TrialContext, session: Session, project: str) -> None:
        engine = engine_of(session)
        goodbye.remove(session, engine, engine.containers(project))
        for network in engine.networks(project):
            engine.call("DELETE", f"/networks/{network['Id']}")
        for volume in engine.volumes(project):
            engine.call("DELETE", f"/volumes/{volume['Name']}", {"force": "1"})
        staging.restore(ctx, session)

    def residue(self, session: Session, project: str) -> Sequence[Residue]:
        engine, node = engine_of(session), session.node.name
        left = [
            *(Residue(node, "container", c["Names"][0].lstrip("/"), c["Status"]) for c in engine.containers(project)),
            *(Residue(node, "network", n["Name"]) for n in engine.networks(project)),
            *(Residue(node, "volume", v["Name"]) for v in engine.volumes(project)),
        ]
        engine.close()  # what is left running on the node is looked for next
        return left

    # -- faults on purpose ----------------------------------------------------------------------------------------

    def disturb(self, session: Session, share: Share, service: str, act: Literal["kill", "pause", "resume"]) -> None:
        engine = engine_of(session)
        for container in self._ids(engine, share, service):
            state = engine.inspect(container).get("State", {})
            if not state.get("Running") or (bool(state.get("Paused")) != (act == "resume") and act != "kill"):
                continue  # it is so already; older engines call that an error of theirs
            reply = engine.call("POST", f"/containers/{container}/{_ACTS[act]}")
            if not reply.ok and reply.status not in (404, 409):  # it has ended meanwhile
                raise failure(service, session.node.name, reply.error)

    def attachments(self, session: Session, share: Share, service: str) -> Sequence[Attachment]:
        engine = engine_of(session)
        found = []
        for container in self._ids(engine, share, service):
            said = engine.inspect(container)
            mode = str(said.get("HostConfig", {}).get("NetworkMode", ""))
            pid = 0 if mode == "host" else int(said.get("State", {}).get("Pid", 0))
            if mode != "host" and not pid:
                continue  # it does not run, and has no network
            owner = engine.inspect(mode.removeprefix("container:")) if mode.startswith("container:") else said
            networks = (owner.get("NetworkSettings", {}).get("Networks") or {}).values()
            found.append(Attachment(pid, tuple(n["IPAddress"] for n in networks if n.get("IPAddress"))))
        return found


def _worse(one: State, other: State) -> State:
    """Of several containers of a service, the one that is worst off speaks for it."""
    rank = ("running", "absent", "created", "paused", "restarting", "exited")
    if one.status == "absent":
        return other
    return max(one, other, key=lambda s: rank.index(s.status))


def _by_definition(share: Share) -> dict[Path, list[str]]:
    found: dict[Path, list[str]] = {}
    for service in share.services:
        found.setdefault(service.definition, []).append(service.name)
    return found


def _mounted(share: Share) -> list[str]:
    """The relative paths that the share's services have in common with their node."""
    found = []
    for definition, names in _by_definition(share).items():
        services = _load(share, definition, Problems()).services
        found += [f for n in names if n in services for f in services[n].files if f.startswith("./")]
    return found


def _load(share: Share, definition: Path, problems: Problems) -> ComposeFile:
    env = {} if share.env_file is None else {k: v for _, k, v in env_lines(share.env_file, Problems())}
    return compose_file.load(definition, env, problems)
