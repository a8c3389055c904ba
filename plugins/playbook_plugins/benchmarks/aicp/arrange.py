"""From the user's wishes to a plan: how many processes and connections, where to, and when each request leaves."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from .core import plan as plans
from .core.clock import SECOND
from .core.schedule import Stage, arrivals
from .options import Options
from .point import BenchmarkError, Point
from .samples import Sample, url_of

_SHARE = 64
_MOST_OPEN = 1024


def connections_for(options: Options, point: Point, count: int) -> int:
    """How many connections to open before a point of ``count`` requests."""
    if options.connections:
        return options.connections
    if point.concurrency:
        return min(point.concurrency, count)
    expected = point.rate * 2 if math.isfinite(point.rate) else 256
    return min(count, math.ceil(expected) + 8, _MOST_OPEN)


def processes_for(options: Options, streams: int) -> int:
    """One process for each core but one, as long as each has enough to do."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return options.processes or max(1, min(cores - 1, streams // _SHARE))


def resolve(options: Options, *, here: bool = True) -> plans.Target:
    """Look the server's name up, if the load is made ``here``. Raises BenchmarkError."""
    parts = urlsplit(url_of(options))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BenchmarkError(f"base_url: {options.base_url!r} is not http://HOST:PORT or https://HOST")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM) if here else []
    except ValueError as error:
        raise BenchmarkError(f"base_url: {error}") from None
    except OSError as error:
        raise BenchmarkError(f"dns: {parts.hostname} cannot be looked up: {error.strerror or error}") from None
    addresses = tuple(dict.fromkeys(str(a[4][0]) for a in found))
    if options.ca_file and not Path(options.ca_file).is_file():
        raise BenchmarkError(f"ca_file: there is no {options.ca_file}")
    return plans.Target(
        host=parts.hostname,
        port=port,
        tls=parts.scheme == "https",
        addresses=addresses,
        verify=not options.insecure,
        ca=options.ca_file,
    )


def order_of(options: Options, point: Point, samples: Sequence[Sample]) -> plans.Order:
    """When each sample leaves."""
    starts = [
        n
        for n, s in enumerate(samples)
        if n == 0 or s.conversation is None or s.conversation != samples[n - 1].conversation
    ]
    due: dict[int, int] = {}
    if samples[0].due is not None:
        due = {n: round((samples[n].due or 0.0) * SECOND) for n in starts}
    elif options.rate_stages or math.isfinite(point.rate):
        stages = [Stage(*s) for s in options.rate_stages] or [Stage(math.inf, point.rate, point.rate)]
        shape = "constant" if math.isinf(options.burstiness) else options.arrival
        made = arrivals(len(starts), stages, shape, options.burstiness, options.seed)
        due = dict(zip(starts, made, strict=False))
        starts = starts[: len(made)]
    order = plans.Order()
    first, kept = set(starts), set(due) or set(starts)
    skipping = False
    for number, sample in enumerate(samples):
        if number in first:
            skipping = number not in kept
        elif sample.conversation is None:
            skipping = True
        if skipping:
            break
        following = number + 1
        more = (
            following < len(samples)
            and sample.conversation is not None
            and samples[following].conversation == sample.conversation
        )
        pause = round(samples[following].pause * SECOND) if more else 0
        order.add(number, due.get(number, 0), following if more else -1, pause)
    return order
