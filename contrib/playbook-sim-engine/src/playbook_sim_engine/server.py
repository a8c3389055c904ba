"""One process: listen, serve, and end as a service should."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys

from playbook_sim_engine import __version__
from playbook_sim_engine.app import BaseApp
from playbook_sim_engine.engine import EngineApp
from playbook_sim_engine.faults import Faults
from playbook_sim_engine.http import Connection
from playbook_sim_engine.lifecycle import Lifecycle
from playbook_sim_engine.loop import new_event_loop
from playbook_sim_engine.router import RouterApp
from playbook_sim_engine.settings import Settings

_LOG = logging.getLogger("playbook_sim_engine")
_BACKLOG = 4096
_POLL = 0.02


def run(settings: Settings, faults: Faults) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format=f"%(asctime)s {settings.role} %(levelname)s %(message)s"
    )
    if faults.crash_at_start:
        _LOG.error("crashing at the start, as asked")
        return faults.exit_code or 1
    # What exists now lives for ever; looking through it again and again would delay tokens by milliseconds.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_serve(settings, faults, loop))
    except OSError as error:
        _LOG.error("cannot listen on %s:%d: %s", settings.host, settings.port, error)
        return 1
    finally:
        loop.close()


async def _serve(settings: Settings, faults: Faults, loop: asyncio.AbstractEventLoop) -> int:
    lifecycle = Lifecycle(faults, settings.startup_delay_s, loop)
    stop = _heeding_signals(lifecycle, loop)
    app: BaseApp = (RouterApp if settings.role == "router" else EngineApp)(settings, lifecycle, loop)
    connections: set[Connection] = set()
    server = await loop.create_server(
        lambda: Connection(app, connections), settings.host, settings.port, backlog=_BACKLOG, family=_family(settings)
    )
    host, port = server.sockets[0].getsockname()[:2]
    try:
        await app.open()
        _LOG.info("playbook-sim-engine %s listening on %s:%d, model %s", __version__, host, port, settings.model)
        lifecycle.begin()
        await stop.wait()
        lifecycle.draining = True
        server.close()
        await _drain(connections, settings.grace_s, loop)
    finally:
        await app.close()
    _LOG.info("stopped after %d requests, %d failed; %s", app.requests.value, app.failed.value, app.status_line())
    return 0


def _family(settings: Settings) -> int:
    return socket.AF_INET6 if ":" in settings.host else socket.AF_INET


def _heeding_signals(lifecycle: Lifecycle, loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """What is set when somebody asks for the end. Whoever reads that we listen may ask at once, so this comes first."""
    stop = asyncio.Event()

    def on_signal(number: int) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGTERM and lifecycle.faults.ignore_sigterm:
            _LOG.warning("%s ignored, as asked", name)
            return
        _LOG.info("%s: stopping", name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


async def _drain(connections: set[Connection], grace: float, loop: asyncio.AbstractEventLoop) -> None:
    """Close idle connections, let busy ones finish within `grace` seconds, then cut them."""
    deadline = loop.time() + grace
    while connections:
        for connection in list(connections):
            if not connection.busy:
                connection.close()
        if loop.time() >= deadline:
            _LOG.warning("cutting %d connections after %g s of grace", len(connections), grace)
            for connection in list(connections):
                connection.transport.abort()
            await asyncio.sleep(0)
            return
        await asyncio.sleep(_POLL)
