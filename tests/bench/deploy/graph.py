"""The graph: twelve services with uneven starts. Each answers over HTTP once its start is over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playbook_kernel.api import Check, DriverRef, Edge, HealthPolicy, RetryPolicy, Scenario, Service

SERVICES: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "etcd": (1, ()), "nats": (2, ()), "minio": (8, ()), "registry": (1, ("etcd",)), "kvpool": (3, ("etcd", "nats")),
    "prefill0": (9, ("registry",)), "prefill1": (4, ("registry", "nats")), "decode0": (5, ("kvpool",)),
    "decode1": (10, ("kvpool",)), "router": (2, ("prefill0", "prefill1")), "gateway": (2, ("router", "decode0")),
    "monitor": (1, ("minio",)),
}  # fmt: skip
"""Seconds that each takes to start, and what it waits for."""

AFTER = {name: needs for name, (_, needs) in SERVICES.items()}
SECONDS = {name: seconds for name, (seconds, _) in SERVICES.items()}
PORTS = {name: 18600 + place for place, name in enumerate(SERVICES)}
FAILS_FIRST = "gateway"


def compose_file(*, host: bool, interval: float = 1, failing: bool = False, health: bool = True) -> dict[str, Any]:
    """What Compose is told. ``failing``: one service exits at its first start, a second after it began."""
    services: dict[str, Any] = {}
    for name, (seconds, needs) in SERVICES.items():
        port = PORTS[name]
        first = "[ -e /mark/failed ] || { touch /mark/failed; sleep 1; exit 3; }; " if failing else ""
        services[name] = {
            "image": "lab/busybox:1",
            "command": ["sh", "-c", f"{first if name == FAILS_FIRST else ''}sleep {seconds}; exec httpd -f -p {port}"],
            "depends_on": {n: {"condition": "service_healthy"} for n in needs},
            "stop_grace_period": "0s",
            **({"network_mode": "host"} if host else {"ports": [f"{port}:{port}"]}),
        }
        if health:
            ask = f"wget -q -S -O /dev/null http://127.0.0.1:{port}/ 2>&1 | grep -q HTTP/1"
            services[name]["healthcheck"] = {"test": ask, "interval": f"{interval}s", "retries": 60}
        if failing and name == FAILS_FIRST:
            services[name]["volumes"] = ["/tmp/bench-mark:/mark"]
    return {"services": services}


def scenario(folder: Path, node: str, address: str, **how: Any) -> Scenario:
    """The graph as a scenario: each service is ready when it answers."""
    definition = folder / "docker-compose.yml"
    definition.write_text(json.dumps(compose_file(**how)))
    services = []
    for name, (_, needs) in SERVICES.items():
        url = f"http://{address}:{PORTS[name]}/"
        check = Check(DriverRef("http", {"url": url, "expected_status": [200, 404]}))
        edges = tuple(Edge(n) for n in needs)
        services.append(Service(name, (node,), definition, edges, (check,), HealthPolicy(grace=60)))
    return Scenario(
        "bench", folder, DriverRef("noop"), tuple(services), max_concurrent_services=12, retry=RetryPolicy(delay=0)
    )
