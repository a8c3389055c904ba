"""A Docker engine's own API, over ``docker system dial-stdio`` on a session: a call costs a round trip, not a process."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from attrs import define, field, frozen
from playbook_kernel.api import CommandFailed, OutcomeUnknown, PlaybookError, Process, Session, within

_LIFE_SECONDS = 24 * 3600.0
_HANGUP_SECONDS = 2.0


@frozen
class Reply:
    """An answer of the engine. ``error`` is its own message when the status is not a good one."""

    status: int
    body: Any = None

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def error(self) -> str:
        message = self.body.get("message") if isinstance(self.body, Mapping) else self.body
        return str(message or f"status {self.status}")


class EngineDown(PlaybookError):
    """The node's engine does not answer."""

    exit_code = 4
    error_class = "engine"


@define(eq=False)
class _Channel:
    """One connection to the engine; for one caller at a time."""

    process: Process
    _data: bytearray = field(factory=bytearray)
    _errors: bytearray = field(factory=bytearray)
    _pieces: Any = None

    def ask(self, method: str, path: str, body: Any) -> Reply:
        payload = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
        self.process.write(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        raw = b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self._until(b"\r\n").split(b";")[0], 16):
                raw += self._exactly(size)
                self._exactly(2)
            self._until(b"\r\n")
        elif status not in (204, 304):
            raw = self._exactly(int(headers.get("content-length", "0")))
        try:
            return Reply(status, json.loads(raw) if raw.strip() else None)
        except ValueError:
            return Reply(status, raw.decode("utf-8", "replace"))

    def close(self) -> None:
        """Hang up. The end of its input ends the other side at once; a signal takes newer docker commands seconds."""
        with contextlib.suppress(PlaybookError), within(_HANGUP_SECONDS):
            self.process.end_input()
            self.process.wait()
        self.process.kill()

    def _more(self) -> None:
        if self._pieces is None:
            self._pieces = self.process.chunks()
        for pipe, piece in self._pieces:
            if pipe == "stdout":
                self._data += piece
                return
            self._errors += piece
        said = self._errors.decode("utf-8", "replace").strip()
        raise EngineDown(said.splitlines()[-1] if said else "the engine hung up")

    def _until(self, end: bytes) -> bytes:
        while (at := self._data.find(end)) == -1:
            self._more()
        taken = bytes(self._data[:at])
        del self._data[: at + len(end)]
        return taken

    def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            self._more()
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken


@define(eq=False)
class Engine:
    """The engine of one node. Calls may come from many threads; connections are kept for the next."""

    session: Session
    _idle: list[_Channel] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)

    def call(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Reply:
        """Make one call. ``query`` values that are not texts are sent as JSON.

        Raises EngineDown when the engine does not answer, and what the session raises.
        """
        words = {k: v if isinstance(v, str) else json.dumps(v) for k, v in (query or {}).items()}
        target = path + (f"?{urlencode(words)}" if words else "")
        with self._lock:
            channel = self._idle.pop() if self._idle else None
        fresh = channel is None
        channel = channel or self._open()
        try:
            reply = channel.ask(method, target, body)
        except (EngineDown, OutcomeUnknown, CommandFailed) as error:
            channel.close()
            if not fresh and method == "GET":
                return self.call(method, path, query, body)  # it was idle for long, and asking twice harms nothing
            if isinstance(error, CommandFailed):
                raise EngineDown(f"{self.session.node.name}: the engine does not answer") from error
            if isinstance(error, EngineDown):
                raise EngineDown(f"{self.session.node.name}: {error}", hint="is dockerd at work there?") from error
            raise
        except BaseException:
            channel.process.kill()
            raise
        with self._lock:
            self._idle.append(channel)
        return reply

    def close(self) -> None:
        """Hang up; the next call opens a new connection."""
        with self._lock:
            idle, self._idle = self._idle, []
        for channel in idle:
            channel.close()

    def _open(self) -> _Channel:
        command = ["docker", "system", "dial-stdio"]
        return _Channel(self.session.start(command, stdin=True, timeout=_LIFE_SECONDS))

    def containers(self, project: str) -> list[dict[str, Any]]:
        """Every container of a compose project, also those that have ended."""
        query = {"all": "1", "filters": {"label": [f"com.docker.compose.project={project}"]}}
        return self._list("/containers/json", query)

    def containers_with_ids(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Those of these containers that there are."""
        return self._list("/containers/json", {"all": "1", "filters": {"id": list(ids)}})

    def networks(self, project: str) -> list[dict[str, Any]]:
        """The networks of a compose project."""
        return self._list("/networks", {"filters": {"label": [f"com.docker.compose.project={project}"]}})

    def volumes(self, project: str) -> list[dict[str, Any]]:
        """The volumes of a compose project."""
        reply = self.call("GET", "/volumes", {"filters": {"label": [f"com.docker.compose.project={project}"]}})
        return list((reply.body or {}).get("Volumes") or []) if reply.ok else []

    def inspect(self, container: str) -> dict[str, Any]:
        """All about one container; empty when it is gone."""
        reply = self.call("GET", f"/containers/{quote(container, safe='')}/json")
        return dict(reply.body) if reply.ok else {}

    def _list(self, path: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        reply = self.call("GET", path, query)
        if not reply.ok:
            raise EngineDown(f"{self.session.node.name}: {reply.error}")
        return list(reply.body or [])
