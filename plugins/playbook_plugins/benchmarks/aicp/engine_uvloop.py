"""The uvloop engine: one raw protocol object for each connection. Records what the epoll engine records.

Its times are taken in user space, when the loop hands over what it read: it is cheaper on CPU, and less exact.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import os
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import uvloop

from .core import tls
from .core.clock import SECOND, now
from .core.dispatch import Dispatcher
from .core.exchange import CHUNKED, UNTIL_CLOSE, Exchange, Malformed
from .core.load import Load
from .core.plan import Plan
from .core.spool import Spool

_TICK = 0.25
_ENDS = b"\r\n\r\n"
_AT_ONCE = 128
_ABSOLUTE = 1
_TIMER = struct.Struct("@qqqq")


class _Alarm:
    """A timer that is exact to some tens of microseconds; uvloop's own are to a millisecond."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._library.timerfd_create(1, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop, self._ring = loop, ring
        self._at = 0
        loop.add_reader(self._fd, self._rang)

    def set(self, at: int) -> None:
        """Ring at a monotonic nanosecond, instead of what was set before."""
        if at == self._at:
            return
        self._at = at
        wanted = _TIMER.pack(0, 0, *divmod(max(1, at), SECOND))
        self._library.timerfd_settime(self._fd, _ABSOLUTE, wanted, None)

    def _rang(self) -> None:
        self._at = 0
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        self._ring()

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


class _Link(asyncio.Protocol):
    """One connection."""

    __slots__ = ("engine", "exchange", "gone", "transport", "used")

    def __init__(self, engine: UvloopEngine) -> None:
        self.engine = engine
        self.exchange: Exchange | None = None
        self.transport: Any = None
        self.used = False
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        at = now()
        exchange = self.exchange
        if exchange is None:
            self.transport.abort()
            return
        exchange.times.append(at)
        exchange.sizes.append(len(data))
        body = exchange.body
        body += data
        if exchange.expected == CHUNKED and not body.endswith(_ENDS):
            return
        try:
            whole = exchange.complete()
        except Malformed as error:
            self.engine.finish(self, "malformed", at, str(error))
            return
        if whole:
            self.engine.finish(self, "answered", at)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self.engine.lost(self, exc)


class UvloopEngine:
    """Runs one share of a plan. ``controls`` are descriptors: anything to read, or their end, stops the run."""

    def __init__(self, plan: Plan, spool: Spool, controls: Sequence[int] = ()) -> None:
        self._plan, self._settings, self._spool = plan, plan.settings, spool
        self._controls = controls
        self._loop = uvloop.new_event_loop()
        self._context = tls.context(self._settings.target) if self._settings.target.tls else None
        self._idle: list[_Link] = []
        self._busy: set[_Link] = set()
        self._waiting: deque[Exchange] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._dispatcher: Dispatcher | None = None
        self._load = Load()
        self._over: asyncio.Future[None] | None = None
        self._alarm: _Alarm | None = None
        self._start = self._end = 0
        self._lag = 0

    # -- before the window ----------------------------------------------------------------------------------------

    def connect(self, count: int) -> int:
        """Open so many connections, side by side; how many are open in the end, failures being for the requests."""
        return self._loop.run_until_complete(self._connect(count))

    async def _connect(self, count: int) -> int:
        gate, failures = asyncio.Semaphore(_AT_ONCE), 0

        async def one() -> None:
            nonlocal failures
            async with gate:
                if failures < 3:
                    try:
                        self._idle.append(await self._dial())
                    except (OSError, TimeoutError):
                        failures += 1

        await asyncio.gather(*(one() for _ in range(count)))
        return len(self._idle)

    async def _dial(self) -> _Link:
        """A new connection. Raises OSError or TimeoutError."""
        target = self._settings.target
        problem: OSError | None = None
        for address in target.addresses:
            try:
                async with asyncio.timeout(self._settings.connect_timeout):
                    _, link = await self._loop.create_connection(
                        lambda: _Link(self),
                        address,
                        target.port,
                        ssl=self._context,
                        server_hostname=target.host if self._context else None,
                    )
                return link
            except ssl.SSLCertVerificationError:
                raise
            except OSError as error:
                problem = error
        raise problem or OSError("no address")

    # -- the window -----------------------------------------------------------------------------------------------

    def run(self, dispatcher: Dispatcher, start: int) -> Load:
        """Make the load; returns when every answer is in, or was given up."""
        self._dispatcher, self._start = dispatcher, start
        duration = round(self._settings.duration * SECOND)
        self._end = start + duration if duration else 0
        self._load.begin(start)
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            self._loop.run_until_complete(self._run())
        finally:
            gc.enable()
            gc.unfreeze()
        self._load.end(now(), "user")
        return self._load

    async def _run(self) -> None:
        loop = self._loop
        self._over = loop.create_future()
        self._alarm = _Alarm(loop, self._pump)
        for fd in self._controls:
            loop.add_reader(fd, self._stop)
        self._alarm.set(self._start)
        tick = loop.call_later(_TICK, self._tick, loop.time() + _TICK)
        try:
            await self._over
        finally:
            tick.cancel()
            self._alarm.close()
            for fd in self._controls:
                loop.remove_reader(fd)

    def close(self) -> None:
        """Close every connection."""
        for task in self._connecting:
            task.cancel()
        for link in [*self._idle, *self._busy]:
            link.transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _stop(self) -> None:
        self._give_up("cancelled")

    def _pump(self) -> None:
        """Send what is due, and be woken for the next; end when nothing is left."""
        dispatcher, over = self._dispatcher, self._over
        if dispatcher is None or over is None or self._alarm is None or over.done():
            return
        at = now()
        if at < self._start:
            self._alarm.set(self._start)
            return
        while (index := dispatcher.take(at)) >= 0:
            self._send_anywhere(Exchange(index, dispatcher.intended, now()))
        if dispatcher.exhausted and not self._busy and not self._waiting:
            over.set_result(None)
            return
        wake = dispatcher.next_at(now())
        if wake is not None:
            self._alarm.set(wake)

    def _tick(self, expected: float) -> None:
        late = self._loop.time() - expected
        self._load.turn(round(max(0.0, late) * SECOND))
        self._load.tick(len(self._busy) + len(self._waiting))
        self._expire(now())
        self._spool.flush()
        if self._spool.broken:
            self._give_up(self._spool.broken)
        elif self._end and now() >= self._end + round(self._settings.drain * SECOND):
            self._give_up(f"not done {self._settings.drain:.4g} s after the end")
        else:
            self._loop.call_later(_TICK, self._tick, self._loop.time() + _TICK)
            self._pump()

    def _send_anywhere(self, exchange: Exchange) -> None:
        while self._idle:
            link = self._idle.pop()
            if not link.gone:
                self._send(link, exchange)
                return
        self._on_new(exchange)

    def _send(self, link: _Link, exchange: Exchange) -> None:
        link.exchange = exchange
        self._busy.add(link)
        data = self._plan.request(exchange.index)
        exchange.sent = now()
        link.transport.write(data)

    def _on_new(self, exchange: Exchange) -> None:
        self._waiting.append(exchange)
        task = self._loop.create_task(self._dial_for_waiting())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _dial_for_waiting(self) -> None:
        try:
            link = await self._dial()
        except (OSError, TimeoutError) as error:
            if self._waiting:
                self._fail(self._waiting.popleft(), *_connect_problem(error, self._settings.connect_timeout))
            self._pump()
            return
        if self._waiting:
            self._send(link, self._waiting.popleft())
        else:
            self._idle.append(link)

    def finish(self, link: _Link, outcome: str, at: int, detail: str = "") -> None:
        """An answer has ended; its connection goes on with the next request, or becomes idle."""
        exchange, dispatcher = link.exchange, self._dispatcher
        if exchange is None or dispatcher is None:
            return
        link.exchange = None
        link.used = True
        self._spool.add(exchange, outcome, at, detail)
        self._plan.answered(exchange)
        dispatcher.done(exchange.index, at, ok=outcome == "answered")
        index = dispatcher.take(now(), at)
        usable = outcome == "answered" and exchange.keep and not link.gone
        if index >= 0 and usable:
            self._send(link, Exchange(index, dispatcher.intended, now()))
            return
        self._busy.discard(link)
        if usable:
            self._idle.append(link)
        elif not link.gone:
            link.gone = True
            link.transport.abort()
        if index >= 0:
            self._send_anywhere(Exchange(index, dispatcher.intended, now()))
        else:
            self._pump()

    def lost(self, link: _Link, error: Exception | None) -> None:
        """The other side closed, or the connection broke."""
        exchange = link.exchange
        if exchange is None:
            return
        at = now()
        if exchange.expected == UNTIL_CLOSE and error is None:
            self.finish(link, "answered", at)
        elif not exchange.body and link.used and not exchange.retried:
            # The server closed a kept connection just as the request left: HTTP wants it tried again on another.
            link.exchange = None
            self._busy.discard(link)
            exchange.retried = True
            exchange.started = at
            self._on_new(exchange)
        else:
            why = tls.reason(error) if error is not None else "the server closed the connection"
            self.finish(link, "cut" if exchange.body else "closed_early", at, why)

    def _fail(self, exchange: Exchange, outcome: str, detail: str) -> None:
        at = now()
        self._spool.add(exchange, outcome, at, detail)
        if self._dispatcher is not None:
            self._dispatcher.done(exchange.index, at, ok=False)

    def _expire(self, at: int) -> None:
        """Give up what takes too long."""
        settings = self._settings
        total, idle = round(settings.timeout * SECOND), round(settings.idle_timeout * SECOND)
        for link in list(self._busy):
            exchange = link.exchange
            if exchange is None:
                continue
            if at - exchange.sent > total:
                self.finish(link, "timeout", at, f"not done within {settings.timeout:.4g} s")
            elif at - (exchange.times[-1] if exchange.times else exchange.sent) > idle:
                self.finish(link, "timeout", at, f"silent for {settings.idle_timeout:.4g} s")

    def _give_up(self, why: str) -> None:
        """End everything that is in flight."""
        if self._dispatcher is not None:
            self._dispatcher.stop()
        for link in list(self._busy):
            self.finish(link, "cancelled", now(), why)
        while self._waiting:
            self._fail(self._waiting.popleft(), "cancelled", why)
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


def _connect_problem(error: BaseException, timeout: float) -> tuple[str, str]:
    if isinstance(error, ssl.SSLError):
        return "tls", tls.reason(error)
    if isinstance(error, ConnectionRefusedError):
        return "connect_refused", os.strerror(errno.ECONNREFUSED)
    if isinstance(error, TimeoutError):
        return "connect_timeout", f"not connected within {timeout:.4g} s"
    return "connect_failed", str(error)
