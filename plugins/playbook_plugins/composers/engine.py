"""A Docker engine's own API, over ``docker system dial-stdio`` on a session: a call costs a round trip, not a process."""

from __future__ import annotations

import contextlib
import contextvars
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from attrs import define, evolve, field, frozen
from playbook_kernel.api import (
    Cancel,
    Cancelled,
    CommandFailed,
    CommandTimeout,
    NodeError,
    OutcomeUnknown,
    PhaseTimeout,
    PlaybookError,
    Process,
    Session,
    State,
    current,
    within,
)

LOOK_SECONDS, ACT_SECONDS, BRIEF_SECONDS = 30.0, 120.0, 5.0
_REMEMBERED_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 15.0
_HINT = "is dockerd at work there? `docker ps` on the node shows it; its own log says why not"
_ID = re.compile(r"[0-9a-f]{64}")
_LIFE_SECONDS = 24 * 3600.0
_HANGUP_SECONDS = 2.0
_AGAIN_SECONDS = 1.0
_TRUST_SECONDS = 5.0
_WAS_SO = 304
_SETTLE_SECONDS = 3.0
"""The engine tells of a container's end before its own list of containers does: cleaning up lies between."""

_EVENTS = [
    "start", "restart", "die", "oom", "kill", "stop", "pause", "unpause", "destroy",
]  # fmt: skip
MOST_CHANNELS = 4
"""A connection takes one of the few sessions that a node's sshd allows; two are left to others, with one for news."""


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


class EngineDown(NodeError):
    """The node's engine does not answer, or not in time."""

    error_class = "engine"


@frozen
class Look:
    """What was seen of a project, with the mark from before it. It holds as long as nothing is heard, but not for long."""

    mark: int | None
    states: Mapping[str, State]
    ids: Mapping[str, Sequence[str]] = field(factory=dict)
    """By service, its containers."""
    at: float = field(factory=time.monotonic)

    def holds(self, mark: int | None) -> bool:
        """Whether it need not be repeated."""
        return mark is not None and mark == self.mark and time.monotonic() - self.at < _TRUST_SECONDS


@define(eq=False)
class Channel:
    """One connection to the engine; for one caller at a time. ``until``: when it ends by itself, monotonic."""

    node: str
    process: Process
    until: float
    _data: bytearray = field(factory=bytearray)
    _errors: bytearray = field(factory=bytearray)
    _pieces: Any = None

    def ask(self, method: str, path: str, body: Any) -> Reply:
        payload = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
        self.process.write(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
        status, headers = self._head()
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

    def listen(self, path: str) -> Iterator[bytes]:
        """Ask for an answer that never ends; yields nothing once it is there, then each piece as it comes."""
        self.process.write(f"GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n".encode())
        status, _ = self._head()
        if status != 200:
            raise EngineDown(self.node, f"its engine answers {path} with status {status}")
        yield b""
        while True:
            taken, self._data = bytes(self._data), bytearray()
            if taken:
                yield taken
            self._more()

    def _head(self) -> tuple[int, dict[str, str]]:
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        return int(lines[0].split()[1]), headers

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
        raise EngineDown(self.node, said.splitlines()[-1] if said else "its engine hung up", hint=_HINT)

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
class News:
    """Listens to what happens to containers, so that nobody has to look as long as nothing does."""

    open: Callable[[], Channel]
    path: str
    expected: set[str]
    """Containers that we start ourselves: of that their start is no news."""
    _count: int = 0
    _died: float = -1e9
    _live: bool = False
    _ended: float | None = None
    _closing: bool = False
    _channel: Channel | None = None
    _thread: threading.Thread | None = None

    @property
    def mark(self) -> int | None:
        """Changes with whatever happens; None while nobody listens, and while an end is not in the books yet."""
        return self._count if self._live and time.monotonic() - self._died > _SETTLE_SECONDS else None

    @property
    def stale(self) -> bool:
        """Whether it ended, for long enough to try again."""
        return self._ended is not None and time.monotonic() - self._ended > _AGAIN_SECONDS

    def start(self) -> None:
        self._thread = threading.Thread(target=self._listen, daemon=True, name="engine-news")
        self._thread.start()

    def close(self) -> None:
        """Stop listening; returns when that is so."""
        self._closing = True
        if self._channel is not None:
            with contextlib.suppress(Exception):
                self._channel.process.end_input()
        if self._thread is not None:
            self._thread.join(_HANGUP_SECONDS)

    def _listen(self) -> None:
        try:
            self._channel = channel = self.open()
            with channel.process:
                tail = b""
                for piece in channel.listen(self.path):
                    if self._closing:
                        return
                    *lines, tail = (tail + piece).split(b"\n")
                    for line in lines:
                        self._hear(line)
                    self._live = True
        except (PlaybookError, OSError, ValueError, IndexError):
            pass  # whoever asks looks for himself then, and learns what is wrong
        finally:
            self._live = False
            self._ended = time.monotonic()

    def _hear(self, line: bytes) -> None:
        if not line.startswith(b"{"):
            return  # the length of a piece
        said = json.loads(line)
        if said["Action"] == "start" and said["Actor"]["ID"] in self.expected:
            self.expected.discard(said["Actor"]["ID"])
            return
        if said["Action"] == "die":
            self._died = time.monotonic()
        self._count += 1


def _query(words: Mapping[str, Any]) -> str:
    """A query string; values that are not texts are sent as JSON."""
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in words.items()}
    return f"?{urlencode(texts)}" if texts else ""


@define(eq=False)
class Engine:
    """The engine of one node. Calls may come from many threads; a few connections are shared by all and kept."""

    session: Session
    _idle: list[Channel] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)
    _free: threading.Semaphore = field(factory=lambda: threading.Semaphore(MOST_CHANNELS))
    _news: dict[str, News] = field(factory=dict)
    _frozen: float = -1e9
    _events: dict[str, list[str]] = field(factory=dict)
    _acts: int = 0
    _ours: set[str] = field(factory=set)
    seen: dict[str, Look] = field(factory=dict)
    """By project, the last look at it."""

    def call(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Reply:
        """Make one call. ``query`` values that are not texts are sent as JSON.

        Each call has a deadline of its own: ACT_SECONDS to act, LOOK_SECONDS to look, or BRIEF_SECONDS soon after another
        has passed. Raises EngineDown, and what the session raises.
        """
        target = path + _query(query or {})
        while not self._free.acquire(timeout=0.2):
            current().check()
        try:
            return self._call(method, target, body)
        finally:
            self._free.release()

    def _call(self, method: str, target: str, body: Any) -> Reply:
        seconds = ACT_SECONDS
        if method == "GET":
            lately = time.monotonic() - self._frozen < _REMEMBERED_SECONDS
            seconds = BRIEF_SECONDS if lately else LOOK_SECONDS
        with self._lock:
            channel = self._idle.pop() if self._idle else None
        if channel is not None and channel.until < time.monotonic() + seconds:
            channel.process.kill()  # it was opened by a phase that had less time
            channel = None
        fresh = channel is None
        channel = channel or self._open()
        try:
            with within(seconds):
                reply = channel.ask(method, target, body)
        except (EngineDown, OutcomeUnknown, CommandFailed, PhaseTimeout) as error:
            channel.process.kill()
            self._hang_up()
            current().check()  # the phase's own time may be over
            if isinstance(error, (CommandTimeout, PhaseTimeout)):
                self._frozen = time.monotonic()
                what = f"{method} {_ID.sub(lambda m: m[0][:12], target.partition('?')[0])}"
                raise EngineDown(
                    self.session.node.name, f"its engine did not answer {what} within {seconds:g} s", hint=_HINT
                ) from error
            if not fresh and method == "GET":
                return self._call(method, target, body)  # it was idle for long, and asking twice harms nothing
            if isinstance(error, CommandFailed):
                raise EngineDown(self.session.node.name, "its engine does not answer", hint=_HINT) from error
            raise
        except BaseException:
            channel.process.kill()
            raise
        self._frozen = -1e9
        with self._lock:
            self._idle.append(channel)
            self._acts += method != "GET"
        return reply

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Run a command that may rightly take long (it pulls an image), as long as the engine answers meanwhile.

        Raises EngineDown when it does not.
        """
        outer, inner, over = current(), Cancel(), threading.Event()
        trouble: list[EngineDown] = []

        def watch() -> None:
            while not over.wait(_LOOK_AGAIN_SECONDS):
                try:
                    self.call("GET", "/_ping")
                except EngineDown as error:
                    trouble.append(error)
                    inner.set(str(error))
                except PlaybookError:
                    return  # the command itself will learn it

        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(watch,), daemon=True, name="engine-watch"
        )
        with outer.cancel.watching(lambda: inner.set(outer.cancel.reason)):
            thread.start()
            try:
                with within(cancel=inner):
                    yield
            except Cancelled:
                outer.check()
                raise trouble[0] if trouble else Cancelled(inner.reason) from None
            finally:
                over.set()

    def start(self, project: str, service: str, container: str) -> Reply:
        """Start a container; if nothing else happened meanwhile, the last look holds on, with it running."""
        last, before = self.seen.get(project), self.mark(project)
        self._ours.add(container)
        reply = self.call("POST", f"/containers/{container}/start")
        if not reply.ok or reply.status == _WAS_SO:
            self._ours.discard(container)
        elif last is None or before is None or len(last.ids.get(service, ())) != 1:
            pass
        elif last.holds(before) and self.mark(project) == before + 1:
            state = State(service, "running", detail="it has just been started", handle={"container": container})
            self.seen[project] = evolve(last, mark=before + 1, states={**last.states, service: state})
        return reply

    def warm(self, calls: int) -> None:
        """Connect ahead for so many calls at once. Raises what the session raises."""
        opened = [self._open() for _ in range(min(calls, MOST_CHANNELS) - len(self._idle))]
        with self._lock:
            self._idle += opened

    def close(self) -> None:
        """Hang up; the next call opens a new connection."""
        with self._lock:
            news, self._news = list(self._news.values()), {}
        for one in news:
            one.close()
        self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for channel in idle:
            channel.close()

    def _open(self) -> Channel:
        command = ["docker", "system", "dial-stdio"]
        until = time.monotonic() + (current().timeout(_LIFE_SECONDS) or 0.0)
        process = self.session.start(command, stdin=True, timeout=_LIFE_SECONDS)
        return Channel(self.session.node.name, process, until)

    def listen(self, project: str, *, health: bool) -> None:
        """From now on hear what happens to a project's containers; of their ``health`` only if somebody asks for that."""
        self._events[project] = [*_EVENTS, "health_status"] if health else _EVENTS
        self.mark(project)

    def mark(self, project: str) -> int | None:
        """A number that changes when anything happens to a container of a project; None: it is not known."""
        with self._lock:
            news = self._news.get(project)
            if news is None or news.stale:
                events = self._events.get(project, [*_EVENTS, "health_status"])
                filters = {"type": ["container"], "event": events, "label": [f"com.docker.compose.project={project}"]}
                path = "/events" + _query({"filters": filters})
                news = self._news[project] = News(self._open, path, self._ours)
                news.start()
        return None if news.mark is None else news.mark + self._acts  # what we do is news before it is heard of

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
            raise EngineDown(self.session.node.name, f"its engine: {reply.error}", hint=_HINT)
        return list(reply.body or [])
