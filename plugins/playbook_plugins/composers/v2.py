"""Compose V2, through python-on-whales; its docker client is a stub, and what that is told to run, we run on the node."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from playbook_kernel.api import CommandFailed, Session, Share, current

from playbook_plugins.compose_file import ComposeFile, ComposeService

from . import staging
from .compose import ComposeBase
from .v1 import engine_trouble, told


class ComposeV2(ComposeBase):
    """docker compose 2.x, the plugin of the docker command."""

    def fit(self, session: Session) -> str | None:
        done = told(session, ["docker", "compose", "version", "--short"])
        if done.status:
            return "no docker compose"
        return engine_trouble(session)

    def starts_by_itself(self, file: ComposeFile, service: ComposeService) -> bool:
        """V2 puts configs and secrets that are no files into a container, and runs hooks, when it starts it."""
        return (
            super().starts_by_itself(file, service)
            or bool(service.raw.get("post_start"))
            or any(
                not (file.document.at(section, str(name)) or {}).get("file")
                for section in ("configs", "secrets")
                for name in service.sources(section)
            )
        )

    def compose(self, session: Session, share: Share, files: Sequence[str], command: Sequence[str]) -> None:
        from python_on_whales import DockerClient  # 216 ms of pydantic, which only this composer pays
        from python_on_whales.exceptions import DockerException

        from .relay import relayed

        services = [w for w in command if not w.startswith("-")][1:]
        with relayed(session) as call:
            docker = DockerClient(
                client_call=call,
                client_type="docker",
                compose_files=list(files),
                compose_env_files=[staging.remote(share, ".env")] if share.env_file is not None else [],
                compose_project_name=share.project,
                compose_project_directory=share.node.stage_dir,
            )
            try:
                docker.compose.up(
                    services, start="--no-start" not in command, detach="-d" in command, dependencies=False, no_build=True,
                    quiet=True, color=False,
                )  # fmt: skip
            except DockerException as error:
                current().check()  # whoever ended the command has the reason
                # its text holds the whole command line, which may hold secrets; ours holds what the command said
                said = "\n".join(str(getattr(error, k, "") or "") for k in ("stdout", "stderr"))
                with contextlib.suppress(AttributeError):
                    raise CommandFailed(session.node.name, ["docker", "compose"], error.return_code, said) from None
