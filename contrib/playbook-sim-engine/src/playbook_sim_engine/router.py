"""The router: each request's prefill goes to one peer, its decode to another, which pulls the KV from the first."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from functools import partial
from typing import Any

from playbook_sim_engine.app import BaseApp
from playbook_sim_engine.http import Exchange, Request
from playbook_sim_engine.lifecycle import Lifecycle
from playbook_sim_engine.openai import dumps, error_body, parse_json
from playbook_sim_engine.settings import Settings, parse_peers
from playbook_sim_engine.upstream import Peer, UpstreamConnection, UpstreamError

_LOG = logging.getLogger("playbook_sim_engine")


class _PeerFailedError(Exception):
    """A peer did not do its part, and the client has seen nothing yet."""

    def __init__(self, peer: Peer, reason: str) -> None:
        super().__init__(f"{peer.kind} {peer.address}: {reason}")
        self.peer = peer


class _NoPeerError(Exception):
    """No healthy peer of a kind."""


class RouterApp(BaseApp):
    """Dispatches completions over prefill and decode peers; without prefill peers it only balances."""

    def __init__(self, settings: Settings, lifecycle: Lifecycle, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(settings, lifecycle, loop)
        self._peers = {
            kind: [Peer(kind, host, port, settings.peer_timeout_s, loop) for host, port in parse_peers(text, kind)]
            for kind, text in (("prefill", settings.prefill), ("decode", settings.decode))
            if text
        }
        self._turn = {kind: itertools.count() for kind in self._peers}
        self._in_flight = 0
        self.retries = self.registry.counter("sim:router_retries_total", "Requests tried again with other peers.")
        gauge = self.registry.gauge
        gauge("vllm:num_requests_running", "Requests being answered.", lambda: self._in_flight)
        gauge("vllm:num_requests_waiting", "Requests waiting; a router keeps none.", lambda: 0)
        for peer in self._all():
            labels = {"kind": peer.kind, "peer": peer.address}
            gauge("sim:peer_up", "1 for a healthy peer.", partial(_read, peer, "up"), **labels)
            gauge("sim:peer_in_flight", "Requests at the peer.", partial(_read, peer, "in_flight"), **labels)
            gauge("sim:peer_requests", "Requests sent to the peer.", partial(_read, peer, "requests"), **labels)
            gauge("sim:peer_errors", "Requests that the peer failed.", partial(_read, peer, "errors"), **labels)

    def status_line(self) -> str:
        well = sum(peer.problem is None for peer in self._all())
        return f"{self._in_flight} in flight, {well} of {len(self._all())} peers healthy"

    def health_problem(self) -> str | None:
        return super().health_problem() or next(filter(None, map(self._missing, self._peers)), None)

    async def open(self) -> None:
        for peer in self._all():
            task = self.loop.create_task(self._watch(peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        await super().close()
        for peer in self._all():
            peer.close()

    def complete(self, request: Request, exchange: Exchange) -> None:
        self.run_task(exchange, self._answer(parse_json(request.body), request.path, exchange))

    def _all(self) -> list[Peer]:
        return [peer for peers in self._peers.values() for peer in peers]

    def _missing(self, kind: str) -> str | None:
        peers = self._peers[kind]
        if any(peer.problem is None for peer in peers):
            return None
        return f"no healthy {kind} peer: " + "; ".join(f"{peer.address}: {peer.problem}" for peer in peers)

    async def _watch(self, peer: Peer) -> None:
        while True:
            before = peer.problem
            await peer.check()
            if peer.problem != before:
                _LOG.info("%s peer %s is %s", peer.kind, peer.address, peer.problem or "healthy")
            await asyncio.sleep(self.settings.peer_interval_s)

    def _pick(self, kind: str, failed: set[Peer]) -> Peer:
        well = [peer for peer in self._peers[kind] if peer.problem is None]
        if not well:
            raise _NoPeerError(self._missing(kind))
        fresh = [peer for peer in well if peer not in failed] or well
        turn = next(self._turn[kind])
        if self.settings.policy == "least_loaded":
            # Among equals the turn decides, so that an idle fleet is used evenly.
            return min(enumerate(fresh), key=lambda item: (item[1].in_flight, (item[0] - turn) % len(fresh)))[1]
        return fresh[turn % len(fresh)]

    async def _answer(self, data: dict[str, Any], path: str, exchange: Exchange) -> None:
        self._in_flight += 1
        errors: list[str] = []
        failed: set[Peer] = set()
        try:
            for _ in range(self.settings.max_attempts):
                self.retries.value += bool(errors)
                try:
                    await self._attempt(data, path, exchange, failed)
                except _PeerFailedError as error:
                    error.peer.errors += 1
                    failed.add(error.peer)
                    errors.append(str(error))
                    _LOG.warning("%s", error)
                else:
                    return
            self._refuse(exchange, 502, "every attempt failed: " + "; ".join(errors))
        except _NoPeerError as error:
            status = 502 if errors else 503
            self._refuse(exchange, status, "; ".join([*errors, str(error)]))
        finally:
            self._in_flight -= 1

    def _refuse(self, exchange: Exchange, status: int, message: str) -> None:
        self.failed.value += 1
        headers = (("Retry-After", "1"),) if status == 503 else ()
        exchange.respond(status, error_body(status, message, code="upstream_error"), headers=headers)

    async def _attempt(self, data: dict[str, Any], path: str, exchange: Exchange, failed: set[Peer]) -> None:
        if "prefill" in self._peers:
            # Chosen before the prefill is spent: without a decode peer it would be for nothing.
            self._require("decode")
            peer = self._pick("prefill", failed)
            status, body = await self._ask(peer, path, _prefill_request(data))
            if status != 200:
                self._pass_on(exchange, status, body)
                return
            data = {**data, "kv_transfer_params": _kv_params(peer, body)}
        await self._relay(self._pick("decode", failed), path, data, exchange)

    def _require(self, kind: str) -> None:
        problem = self._missing(kind)
        if problem:
            raise _NoPeerError(problem)

    def _pass_on(self, exchange: Exchange, status: int, body: bytes) -> None:
        self.failed.value += status >= 400
        exchange.respond(status, body)

    async def _send(self, peer: Peer, path: str, data: dict[str, Any]) -> UpstreamConnection:
        """Send to a peer and wait for the head of its answer; a server error is the peer's failure."""
        peer.requests += 1
        silence = self.settings.request_timeout_s
        try:
            connection = await peer.send("POST", path, dumps(data), silence)
            if connection.status < 500:
                return connection
            body = await connection.body(silence)
        except UpstreamError as error:
            if error.refused:
                peer.problem = str(error)
            raise _PeerFailedError(peer, str(error)) from error
        peer.release(connection)
        raise _PeerFailedError(peer, f"{connection.status} {_message(body)}")

    async def _ask(self, peer: Peer, path: str, data: dict[str, Any]) -> tuple[int, bytes]:
        peer.in_flight += 1
        try:
            connection = await self._send(peer, path, data)
            try:
                body = await connection.body(self.settings.request_timeout_s)
            except UpstreamError as error:
                raise _PeerFailedError(peer, str(error)) from error
            finally:
                peer.release(connection)
        finally:
            peer.in_flight -= 1
        return connection.status, body

    async def _relay(self, peer: Peer, path: str, data: dict[str, Any], exchange: Exchange) -> None:
        peer.in_flight += 1
        try:
            connection = await self._send(peer, path, data)
            try:
                if "content-length" in connection.headers:
                    self._pass_on(exchange, connection.status, await connection.body(self.settings.request_timeout_s))
                    return
                kind = connection.headers.get("content-type", "application/octet-stream")
                exchange.start_stream(connection.status, kind, (("Cache-Control", "no-cache"),))
                connection.relay_to(lambda payload: exchange.write(exchange.chunk(payload)))
                await connection.wait(connection.done, self.settings.request_timeout_s)
                exchange.write(exchange.last_chunk())
                exchange.end()
            except UpstreamError as error:
                failure = _PeerFailedError(peer, str(error))
                if not exchange.started:
                    raise failure from error
                self._break_off(exchange, failure)
            finally:
                peer.release(connection)
        finally:
            peer.in_flight -= 1

    def _break_off(self, exchange: Exchange, failure: _PeerFailedError) -> None:
        """The client has part of the answer: it gets an error event and a cut connection, never a clean end."""
        failure.peer.errors += 1
        self.failed.value += 1
        _LOG.warning("%s", failure)
        event = b"data: " + error_body(502, str(failure), code="upstream_error") + b"\n\n"
        exchange.write(exchange.chunk(event))
        exchange.abort()


def _read(peer: Peer, name: str) -> float:
    return float(getattr(peer, name))


def _prefill_request(data: dict[str, Any]) -> dict[str, Any]:
    """Ask for one token and for the KV to be kept."""
    dropped = ("stream_options", "max_completion_tokens", "min_tokens")
    request = {name: value for name, value in data.items() if name not in dropped}
    return {**request, "stream": False, "max_tokens": 1, "kv_transfer_params": {"do_remote_decode": True}}


def _kv_params(peer: Peer, body: bytes) -> dict[str, Any]:
    try:
        params = json.loads(body)["kv_transfer_params"]
    except (ValueError, KeyError, TypeError):
        raise _PeerFailedError(peer, "its answer has no kv_transfer_params: is it a prefill engine?") from None
    return dict(params)


def _message(body: bytes) -> str:
    """Return the message of an error answer, or the beginning of whatever it is."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
