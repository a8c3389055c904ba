"""Compose V1 (docker-compose 1.29), by argument lists of our own.

An option that it does not know makes it print its usage, do nothing, and exit with 0: so none is ever passed that is not
in its own manual, and what came of a command is looked up by label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from playbook_kernel.api import CommandTimeout, Completed, Problems, Session, Share, current

from playbook_plugins.compose_file import ComposeFile, ComposeService

from . import staging
from .compose import ComposeBase
from .engine import LOOK_SECONDS, EngineDown


class ComposeV1(ComposeBase):
    """docker-compose 1.x."""

    def fit(self, session: Session) -> str | None:
        done = told(session, ["docker-compose", "version", "--short"])
        if done.status:
            return "no docker-compose"
        if not done.text.strip().startswith("1."):
            return f"docker-compose is {done.text.strip()}, not 1.x"
        return engine_trouble(session)

    def compose(self, session: Session, share: Share, files: Sequence[str], command: Sequence[str]) -> None:
        argv = ["docker-compose", "--no-ansi", "--project-directory", share.node.stage_dir, "-p", share.project]
        if share.env_file is not None:
            argv += ["--env-file", staging.remote(share, ".env")]
        for file in files:
            argv += ["-f", file]
        session.run([*argv, *command], env=_ENVIRONMENT, timeout=_SECONDS)

    def starts_by_itself(self, file: ComposeFile, service: ComposeService) -> bool:
        """V1 creates a container on one network, and connects it to others, and links it, when it starts it."""
        raw = service.raw
        linked = bool(raw.get("links") or raw.get("external_links"))
        return super().starts_by_itself(file, service) or linked or len(raw.get("networks") or ()) > 1

    def addition(self, project: str, service: ComposeService) -> dict[str, Any]:
        """V1 waits for conditions even when it is to start nothing: so it is told of none, for order is ours to keep."""
        found = super().addition(project, service)
        depends = service.raw.get("depends_on")
        if isinstance(depends, Mapping):
            found["depends_on"] = {name: {"condition": "service_started"} for name in depends}
        return found

    def lint(self, file: ComposeFile, problems: Problems) -> None:
        """Note what V1 rejects."""
        document = file.document
        for key in ("name", "include"):
            if key in document.data:
                problems.add(document.file, document.line(key), key, "is not known to Compose V1", "use a node with V2")
        for name, service in file.services.items():
            base = ("services", name)
            raw = service.raw

            def refuse(*path: str, base: tuple[str, ...] = base) -> None:
                key = ".".join((*base, *path))
                problems.add(document.file, document.line(*base, *path), key, "is not known to Compose V1", "use V2")

            if "gpus" in raw:
                refuse("gpus")
            if "start_interval" in (raw.get("healthcheck") or {}):
                refuse("healthcheck", "start_interval")
            if any(isinstance(e, dict) for e in raw.get("env_file") or [] if not isinstance(raw.get("env_file"), str)):
                refuse("env_file")
            depends = raw.get("depends_on")
            if isinstance(depends, dict) and any("required" in (d or {}) for d in depends.values()):
                refuse("depends_on")
        for name, config in (document.data.get("configs") or {}).items():
            if isinstance(config, dict) and "content" in config:
                problems.add(
                    document.file, document.line("configs", name, "content"), f"configs.{name}.content",
                    "is not known to Compose V1", "use V2",
                )  # fmt: skip


_SECONDS = 1800.0
_ENVIRONMENT = {"COMPOSE_IGNORE_ORPHANS": "true"}
"""Its look for orphans inspects each container of the project, and ends with "No such container" at one that is being made."""


def engine_trouble(session: Session) -> str | None:
    """Why the node's engine cannot be used, or None. Raises EngineDown."""
    done = told(session, ["docker", "version", "--format", "{{.Server.Version}}"])
    if done.ok:
        return None
    said = (done.errors.strip() or done.text.strip()).splitlines()
    return said[-1] if said else "its engine does not answer"


def told(session: Session, argv: Sequence[str]) -> Completed:
    """What a short command of the docker client says: it waits for its engine. Raises EngineDown when that takes too long."""
    try:
        return session.run(argv, check=False, timeout=LOOK_SECONDS)
    except CommandTimeout as error:
        current().check()
        name = session.node.name
        raise EngineDown(name, f"its engine did not answer `{argv[0]} {argv[1]}` within {LOOK_SECONDS:g} s") from error
