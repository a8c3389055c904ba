"""The precision engine: a raw epoll loop that takes its times from the kernel.

One buffer for every read, one send for every request, nothing parsed that is not needed to see where an answer ends.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .clock import SECOND, SO_TIMESTAMPNS, STAMP, Waiter, now, realtime_offset
from .dispatch import Dispatcher
from .exchange import CHUNKED, UNTIL_CLOSE, Exchange, Malformed
from .load import Load
from .plan import Plan
from .spool import Spool

if TYPE_CHECKING:
    from . import tls

_BUFFER = 256 * 1024
_TICK = SECOND // 4
_NAP = SECOND // 1000
_WORTH, _APART = 2, 8
# A sleep ends some 100 us late. So the time before each request is watched instead, where that takes a fifth of a core at most.
_WATCH, _MOST_WATCHED = SECOND // 10_000, 2000
_ENDS = b"\r\n\r\n"
_REFUSED = (errno.ECONNREFUSED,)


class _Connection:
    __slots__ = ("address", "deadline", "exchange", "fd", "out", "ready", "recvmsg", "sock", "tls", "used")

    def __init__(self, sock: socket.socket, address: int, deadline: int) -> None:
        self.sock, self.fd, self.address, self.deadline = sock, sock.fileno(), address, deadline
        self.recvmsg = sock.recvmsg_into
        self.exchange: Exchange | None = None
        self.out = b""
        self.tls: tls.Tunnel | None = None
        self.ready = False
        self.used = False


class EpollEngine:
    """Runs one share of a plan. ``controls`` are descriptors: anything to read, or their end, stops the run."""

    def __init__(self, plan: Plan, spool: Spool, controls: Sequence[int] = ()) -> None:
        self._plan, self._settings, self._spool = plan, plan.settings, spool
        self._controls = controls
        self._waiter = Waiter()
        self._epoll = self._waiter.epoll
        self._connections: dict[int, _Connection] = {}
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._waiting: deque[Exchange] = deque()
        self._connecting = 0
        self._tls: Any = None
        if self._settings.target.tls:  # a load without it need not wait for its import
            from . import tls

            self._tls, self._context = tls, tls.context(self._settings.target)
        self._stamps = self._settings.timestamps == "kernel"
        # How long to sleep before a look while nothing waits for us; and whether nothing does.
        self._nap = 0
        self._calm = False
        self._reads = 0
        self._missing_stamps = 0
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._offset = realtime_offset()
        self._dispatcher: Dispatcher | None = None
        self._load = Load()

    # -- before the window ----------------------------------------------------------------------------------------

    def connect(self, count: int) -> int:
        """Open so many connections, side by side; how many are open in the end, failures being for the requests."""
        todo, failed = count, 0
        while (todo or self._connecting) and failed < 3:
            while todo and self._connecting < 128:
                todo -= 1
                try:
                    self._open(None)
                except OSError:
                    failed += 1
                    break
            before = len(self._connections)
            self._turn(_TICK)
            failed += before - len(self._connections)
            self._expire(now())
        return len(self._idle)

    # -- the window -----------------------------------------------------------------------------------------------

    def run(self, dispatcher: Dispatcher, start: int) -> Load:
        """Make the load; returns when every answer is in, or was given up."""
        self._dispatcher = dispatcher
        end = start + round(self._settings.duration * SECOND) if self._settings.duration else 0
        drain = round(self._settings.drain * SECOND)
        load = self._load
        ahead = _WATCH if dispatcher.rate <= _MOST_WATCHED else 0
        for fd in self._controls:
            self._epoll.register(fd, select.EPOLLIN)
        load.begin(start)
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            tick = seen = start
            while True:
                at = now()
                if at >= tick:
                    tick = at + _TICK
                    self._expire(at)
                    self._offset = realtime_offset()
                    load.tick(len(self._busy) + len(self._waiting))
                    self._nap = self._rest(at - seen)
                    seen = at
                    self._spool.flush()
                    if self._spool.broken:
                        dispatcher.stop()
                        self._give_up(self._spool.broken)
                    elif end and at >= end + drain:
                        self._give_up(f"not done {self._settings.drain:.4g} s after the end")
                if at >= start:
                    self._fill(at)
                if dispatcher.exhausted and not self._busy and not self._waiting:
                    break
                wake = dispatcher.next_at(at) if at >= start else start
                wait = tick - at if wake is None else min(wake, tick) - at
                if self._calm and wait > 2 * self._nap > 0:
                    time.sleep(self._nap / SECOND)
                if self._turn(max(wait - ahead, 0)):
                    dispatcher.stop()
                    self._give_up("cancelled")
                    break
        finally:
            gc.enable()
            gc.unfreeze()
        load.end(now(), "kernel" if self._stamps and not self._missing_stamps else "user")
        return load

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._waiter.close()

    # -- the loop -------------------------------------------------------------------------------------------------

    def _turn(self, wait: int) -> bool:
        """Wait for what comes and take it in; whether the run is to stop."""
        events = self._waiter.wait(wait)
        if not events:
            return False
        began = now()
        connections, buffers, view = self._connections, [self._buffer], self._view
        stamps, offset, unpack, clock = self._stamps, self._offset, STAMP.unpack, now
        ended = self._spool.answers
        for fd, mask in events:
            connection = connections.get(fd)
            if connection is None:
                if fd in self._controls:
                    return True
                continue
            exchange = connection.exchange
            if exchange is None or connection.out or connection.tls is not None or not connection.ready:
                self._slow(connection, mask)
                continue
            try:
                size, extra, _, _ = connection.recvmsg(buffers, 64)
            except BlockingIOError:
                continue
            except OSError as error:
                self._lost(connection, error)
                continue
            if not size:
                self._lost(connection, None)
                continue
            if extra and stamps:
                second, nanosecond = unpack(extra[0][2])
                at = second * 1_000_000_000 + nanosecond - offset
            else:
                at = clock()
                self._missing_stamps += stamps
            exchange.times.append(at)
            exchange.sizes.append(size)
            body = exchange.body
            body += view[:size]
            if exchange.expected == CHUNKED and not body.endswith(_ENDS):
                continue
            try:
                whole = exchange.complete()
            except Malformed as error:
                self._finish(connection, "malformed", at, str(error))
                continue
            if whole:
                self._finish(connection, "answered", at)
        self._load.turn(now() - began)
        self._reads += len(events)
        self._calm = ended == self._spool.answers
        return False

    def _rest(self, passed: int) -> int:
        """How long to sleep before each look: the kernel notes the times meanwhile, and reads come together.

        Only where that saves several wake-ups, and where the events of one stream are too far apart to be merged.
        """
        reads, self._reads = self._reads, 0
        if not self._stamps or self._settings.open_loop or passed <= 0:
            return 0
        together = reads * _NAP / passed
        apart = len(self._busy) * passed / max(1, reads)
        return _NAP if together >= _WORTH and apart >= _APART * _NAP else 0

    def _fill(self, at: int) -> None:
        """Send what is due."""
        dispatcher = self._dispatcher
        if dispatcher is None:
            return
        while True:
            index = dispatcher.take(at)
            if index < 0:
                return
            self._start(Exchange(index, dispatcher.intended, now()))

    def _start(self, exchange: Exchange) -> None:
        while self._idle:
            connection = self._idle.pop()
            if connection.fd >= 0:
                self._send(connection, exchange)
                return
        self._on_new(exchange)

    def _on_new(self, exchange: Exchange) -> None:
        try:
            self._open(exchange)
        except OSError as error:
            self._fail(exchange, "connect_failed", error.strerror or str(error))

    def _send(self, connection: _Connection, exchange: Exchange) -> None:
        connection.exchange = exchange
        self._busy.add(connection)
        data = self._plan.request(exchange.index)
        exchange.sent = now()
        if connection.tls is not None:
            data = connection.tls.encrypt(data)
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lost(connection, error)
            return
        if sent < len(data):
            connection.out = data[sent:]
            self._epoll.modify(connection.fd, select.EPOLLIN | select.EPOLLOUT)

    def _finish(self, connection: _Connection, outcome: str, at: int, detail: str = "") -> None:
        """An answer has ended; its connection goes on with the next request, or becomes idle."""
        exchange = connection.exchange
        if exchange is None:
            return
        connection.exchange = None
        connection.used = True
        self._spool.add(exchange, outcome, at, detail)
        self._plan.answered(exchange)
        dispatcher = self._dispatcher
        index = -1
        if dispatcher is not None:
            dispatcher.done(exchange.index, at, ok=outcome == "answered")
            index = dispatcher.take(now(), at)
        if outcome != "answered" or not exchange.keep:
            self._busy.discard(connection)
            self._drop(connection)
            if index >= 0 and dispatcher is not None:
                self._start(Exchange(index, dispatcher.intended, now()))
        elif index >= 0 and dispatcher is not None:
            self._send(connection, Exchange(index, dispatcher.intended, now()))
        else:
            self._busy.discard(connection)
            self._idle.append(connection)

    def _fail(self, exchange: Exchange, outcome: str, detail: str) -> None:
        """A request that has no connection has failed."""
        at = now()
        self._spool.add(exchange, outcome, at, detail)
        if self._dispatcher is not None:
            self._dispatcher.done(exchange.index, at, ok=False)

    # -- connections ----------------------------------------------------------------------------------------------

    def _open(self, exchange: Exchange | None, address: int = 0) -> None:
        """Begin to connect, for ``exchange`` if it is given. Raises OSError."""
        target = self._settings.target
        host = target.addresses[address % len(target.addresses)]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._stamps:
                sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            status = sock.connect_ex((host, target.port))
            if status not in (0, errno.EINPROGRESS):
                raise OSError(status, os.strerror(status))
        except OSError:
            sock.close()
            raise
        connection = _Connection(sock, address, now() + round(self._settings.connect_timeout * SECOND))
        self._connections[connection.fd] = connection
        self._epoll.register(connection.fd, select.EPOLLIN | select.EPOLLOUT)
        self._connecting += 1
        if exchange is not None:
            self._waiting.append(exchange)

    def _slow(self, connection: _Connection, mask: int) -> None:
        """Everything that is not the plain reading of a plain answer."""
        if not connection.ready:
            self._advance(connection)
            return
        if connection.out and mask & select.EPOLLOUT:
            try:
                connection.out = connection.out[connection.sock.send(connection.out) :]
            except BlockingIOError:
                pass
            except OSError as error:
                self._lost(connection, error)
                return
            if not connection.out:
                self._epoll.modify(connection.fd, select.EPOLLIN)
        if mask & ~select.EPOLLOUT:
            self._read(connection)

    def _advance(self, connection: _Connection) -> None:
        """A step of connecting: TCP, then TLS."""
        if connection.tls is None:
            status = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if status:
                outcome = "connect_refused" if status in _REFUSED else "connect_failed"
                self._not_connected(connection, outcome, os.strerror(status))
                return
            try:
                connection.sock.getpeername()
            except OSError:
                return  # the event was meant for an earlier connection of the same number
            if self._tls is not None:
                connection.tls = self._tls.Tunnel(self._context, self._settings.target.host)
        if connection.tls is not None:
            try:
                done = self._shake(connection, connection.tls)
            except OSError as error:
                self._not_connected(connection, "tls", self._tls.reason(error))
                return
            if not done:
                return
        connection.ready = True
        self._connecting -= 1
        self._epoll.modify(connection.fd, select.EPOLLIN)
        self._assign(connection)

    def _shake(self, connection: _Connection, tunnel: tls.Tunnel) -> bool:
        with suppress(BlockingIOError):
            size = connection.sock.recv_into(self._buffer)
            if not size:
                raise OSError("the connection was closed during the TLS handshake")
            tunnel.feed(self._view[:size])
        done = tunnel.handshake()
        connection.out += tunnel.pending()
        if connection.out:
            with suppress(BlockingIOError):
                connection.out = connection.out[connection.sock.send(connection.out) :]
        wanted = select.EPOLLIN | (select.EPOLLOUT if connection.out else 0)
        self._epoll.modify(connection.fd, wanted)
        return done and not connection.out

    def _assign(self, connection: _Connection) -> None:
        """A connection is open: to the request that waits longest, if any."""
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _not_connected(self, connection: _Connection, outcome: str, detail: str) -> None:
        self._connecting -= 1
        address = connection.address + 1
        self._drop(connection)
        if address < len(self._settings.target.addresses):
            try:
                self._open(None, address)
                return
            except OSError as error:
                detail = error.strerror or str(error)
        if self._waiting and self._connecting < len(self._waiting):
            self._fail(self._waiting.popleft(), outcome, detail)

    def _read(self, connection: _Connection) -> None:
        """Read where anything may be: encrypted bytes, an answer while the request still goes out, an idle end."""
        try:
            size, extra, _, _ = connection.recvmsg([self._buffer], 64)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(connection, error)
            return
        if not size:
            self._lost(connection, None)
            return
        at = now()
        if extra and self._stamps:
            second, nanosecond = STAMP.unpack(extra[0][2])
            at = second * SECOND + nanosecond - self._offset
        data: bytes = bytes(self._view[:size])
        ended = False
        if connection.tls is not None:
            try:
                data, ended = connection.tls.decrypt(data)
            except OSError as error:
                self._lost(connection, OSError(self._tls.reason(error)))
                return
        exchange = connection.exchange
        if exchange is None:
            if data or ended:
                self._drop(connection)
            return
        if data:
            exchange.times.append(at)
            exchange.sizes.append(len(data))
            exchange.body += data
            try:
                if exchange.complete():
                    self._finish(connection, "answered", at)
                    return
            except Malformed as error:
                self._finish(connection, "malformed", at, str(error))
                return
        if ended:
            self._lost(connection, None)

    def _lost(self, connection: _Connection, error: OSError | None) -> None:
        """The other side closed, or the connection broke."""
        exchange = connection.exchange
        if exchange is None:
            self._drop(connection)
            return
        at = now()
        if exchange.expected == UNTIL_CLOSE and error is None:
            self._finish(connection, "answered", at)
        elif not exchange.body and connection.used and not exchange.retried:
            # The server closed a kept connection just as the request left: HTTP wants it tried again on another.
            connection.exchange = None
            self._busy.discard(connection)
            self._drop(connection)
            exchange.retried = True
            exchange.started = at
            self._on_new(exchange)
        else:
            why = (error.strerror or str(error)) if error is not None else "the server closed the connection"
            self._finish(connection, "cut" if exchange.body else "closed_early", at, why)

    def _drop(self, connection: _Connection) -> None:
        if connection.fd < 0:
            return
        self._connections.pop(connection.fd, None)
        connection.fd = -1
        connection.sock.close()

    def _expire(self, at: int) -> None:
        """Give up what takes too long."""
        settings = self._settings
        total, idle = round(settings.timeout * SECOND), round(settings.idle_timeout * SECOND)
        for connection in [c for c in self._connections.values() if not c.ready and at > c.deadline]:
            self._not_connected(connection, "connect_timeout", f"not connected within {settings.connect_timeout:.4g} s")
        for connection in list(self._busy):
            exchange = connection.exchange
            if exchange is None:
                continue
            if at - exchange.sent > total:
                self._finish(connection, "timeout", at, f"not done within {settings.timeout:.4g} s")
            elif at - (exchange.times[-1] if exchange.times else exchange.sent) > idle:
                self._finish(connection, "timeout", at, f"silent for {settings.idle_timeout:.4g} s")

    def _give_up(self, why: str) -> None:
        """End everything that is in flight."""
        if self._dispatcher is not None:
            self._dispatcher.stop()
        for connection in list(self._busy):
            self._finish(connection, "cancelled", now(), why)
        while self._waiting:
            self._fail(self._waiting.popleft(), "cancelled", why)
