"""What engines and routers have in common: health, models, metrics, version, and faults at run time."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from abc import ABC, abstractmethod
from functools import partial
from typing import Callable

from playbook_sim_engine import __version__
from playbook_sim_engine.faults import FaultDice, Faults
from playbook_sim_engine.http import Exchange, Request
from playbook_sim_engine.lifecycle import Lifecycle
from playbook_sim_engine.metrics import CONTENT_TYPE, Registry
from playbook_sim_engine.openai import CHAT, COMPLETIONS, ApiError, dumps, error_body, parse_json
from playbook_sim_engine.options import OptionError
from playbook_sim_engine.settings import Settings

_LOG = logging.getLogger("playbook_sim_engine")


class BaseApp(ABC):
    """Routes requests; a subclass answers completions."""

    def __init__(self, settings: Settings, lifecycle: Lifecycle, loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.lifecycle = lifecycle
        self.loop = loop
        self.max_body = int(settings.max_body_mb * 1024 * 1024)
        self.registry = Registry({"model_name": settings.model})
        self.dice = FaultDice(settings.seed)
        self.requests = self.registry.counter("sim:requests_total", "Completion requests received.")
        self.failed = self.registry.counter("sim:requests_failed_total", "Completion requests answered with an error.")
        self._created = int(time.time())
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes: dict[tuple[str, str], Callable[[Request, Exchange], None]] = {
            ("GET", "/health"): self._health,
            ("GET", "/ping"): self._health,
            ("POST", "/ping"): self._health,
            ("GET", "/version"): lambda _, exchange: exchange.respond(200, dumps({"version": __version__})),
            ("GET", "/v1/models"): self._models,
            ("GET", "/metrics"): lambda _, exchange: exchange.respond(200, self.registry.render(), CONTENT_TYPE),
            ("GET", "/sim/faults"): self._faults,
            ("POST", "/sim/faults"): self._faults,
            ("DELETE", "/sim/faults"): self._faults,
            ("POST", COMPLETIONS): self._completions,
            ("POST", CHAT): self._completions,
        }
        self._paths = {path for _, path in self._routes}

    @property
    def faults(self) -> Faults:
        """Faults that are on now."""
        return self.lifecycle.faults

    @abstractmethod
    def status_line(self) -> str:
        """Say in a few words what this process is doing, for its log."""

    @abstractmethod
    def complete(self, request: Request, exchange: Exchange) -> None:
        """Answer a completion; raises ApiError when it is refused."""

    def health_problem(self) -> str | None:
        """Say why this process cannot work, or None."""
        return self.lifecycle.problem()

    async def open(self) -> None:  # noqa: B027 - not every one has something to start
        """Start what runs beside the HTTP server."""

    async def close(self) -> None:
        """Stop it."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def run_task(self, exchange: Exchange, work: object) -> None:
        """Run a coroutine that answers `exchange`; the client's disconnect cancels it."""
        task: asyncio.Task[None] = self.loop.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(partial(self._task_done, exchange))

        def disconnected() -> None:
            task.cancel()

        exchange.on_disconnect = disconnected

    def _task_done(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _LOG.error("an answer failed", exc_info=error)
            if exchange.started:
                exchange.abort()
            else:
                exchange.respond(500, error_body(500, "internal error; see the engine's log"))

    def error_body(self, status: int, message: str) -> bytes:
        return error_body(status, message)

    def handle(self, request: Request, exchange: Exchange) -> None:
        route = self._routes.get((request.method, request.path))
        if route is None:
            known = request.path in self._paths
            status, message = (405, "method not allowed") if known else (404, f"no such path: {request.path}")
            exchange.respond(status, error_body(status, message))
            return
        try:
            route(request, exchange)
        except ApiError as error:
            if request.path in (COMPLETIONS, CHAT):
                self.failed.value += 1
            headers = (("Retry-After", "1"),) if error.status in (429, 503) else ()
            exchange.respond(error.status, error.body(), headers=headers)

    def _completions(self, request: Request, exchange: Exchange) -> None:
        self.requests.value += 1
        self.lifecycle.count_request()
        every = self.settings.log_every
        if every and not self.requests.value % every:
            _LOG.info("%d requests, %d failed; %s", self.requests.value, self.failed.value, self.status_line())
        if self.lifecycle.starting:
            raise ApiError(503, "the engine is starting")
        if self.dice.hits(self.faults.fail_rate):
            raise ApiError(self.faults.fail_status, "this request was chosen to fail")
        self.complete(request, exchange)

    def _health(self, request: Request, exchange: Exchange) -> None:
        if self.faults.health_delay_s:
            self.loop.call_later(self.faults.health_delay_s, self._say_health, exchange)
        else:
            self._say_health(exchange)

    def _say_health(self, exchange: Exchange) -> None:
        problem = self.health_problem()
        body = {"status": problem or "ok", "role": self.settings.role}
        exchange.respond(503 if problem else 200, dumps(body))

    def _models(self, request: Request, exchange: Exchange) -> None:
        model = {
            "id": self.settings.model, "object": "model", "created": self._created, "owned_by": "playbook-sim-engine",
            "root": self.settings.model, "parent": None, "max_model_len": self.settings.max_model_len,
        }  # fmt: skip
        exchange.respond(200, dumps({"object": "list", "data": [model]}))

    def _faults(self, request: Request, exchange: Exchange) -> None:
        if not self.settings.allow_faults:
            raise ApiError(403, "faults cannot be switched: the engine runs without --allow-faults")
        if request.method == "DELETE":
            self.lifecycle.set_faults(Faults())
        elif request.method == "POST":
            try:
                faults = self.faults.with_changes(parse_json(request.body))
            except OptionError as error:
                raise ApiError(422, str(error)) from None
            self.lifecycle.set_faults(faults)
        exchange.respond(200, dumps(dataclasses.asdict(self.faults)))
