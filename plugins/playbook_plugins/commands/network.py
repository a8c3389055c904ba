"""Whether nodes reach one another, and how well: latency and bandwidth between each pair, measured on the nodes."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen
from playbook_kernel.api import CommandContext, Node, PlaybookError, Session, Transport, run_all, within

from .checks import CONNECT_SECONDS, Verdict

FULL_MESH = 16
"""Up to so many nodes every pair is looked at; of more, each node looks at the next FEW in a ring."""
FEW = 4
PAIR_SECONDS = 30.0
_SHOTS, _SECONDS = 200, 1.0

# Says its port, answers each byte until the client says "go", then swallows what comes and says how much that was.
_SERVER = """
import json, socket, sys, time
s = socket.socket(); s.bind(("0.0.0.0", 0)); s.listen(1); s.settimeout(20)
print(s.getsockname()[1], flush=True)
c, _ = s.accept(); c.settimeout(20); c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while True:
    b = c.recv(1)
    if b != b"p":
        break
    c.sendall(b)
n = 0; t = time.monotonic(); buf = bytearray(1 << 20)
while (k := c.recv_into(buf)):
    n += k
print(json.dumps({"bytes": n, "seconds": time.monotonic() - t}), flush=True)
"""
_CLIENT = """
import json, socket, sys, time
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10)
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); took = []
for _ in range(int(sys.argv[3])):
    t = time.perf_counter(); c.sendall(b"p"); c.recv(1); took.append(time.perf_counter() - t)
c.sendall(b"g"); end = time.monotonic() + float(sys.argv[4]); data = bytes(1 << 20)
while time.monotonic() < end:
    c.sendall(data)
c.close(); took.sort()
print(json.dumps({"min": took[0], "median": took[len(took) // 2], "p99": took[int(len(took) * 0.99)]}))
"""


@frozen
class Line:
    """The measured way from one node to another. Latencies: a round trip, in milliseconds; bandwidth in Gbit/s."""

    source: str
    target: str
    ok: bool
    detail: str = ""
    latency_ms: float | None = None
    latency_p99_ms: float | None = None
    gbit_s: float | None = None


def pairs(nodes: Sequence[Node]) -> Iterator[tuple[Node, Node]]:
    """Which node looks at which; a node that has no address of its own for others is looked at by none.

    >>> a, b, c = (Node(n, None, host=n) for n in "abc")
    >>> [(x.name, y.name) for x, y in pairs([a, b, c])]
    [('a', 'b'), ('a', 'c'), ('b', 'a'), ('b', 'c'), ('c', 'a'), ('c', 'b')]
    """
    for source in nodes:
        others = [n for n in nodes if n is not source and n.host != "localhost"]
        if len(nodes) > FULL_MESH:
            start = nodes.index(source)
            ring = itertools.chain(nodes[start + 1 :], nodes[:start])
            others = [n for n in ring if n.host != "localhost"][:FEW]
        yield from ((source, other) for other in others)


def reach(sessions: Mapping[str, Session], nodes: Sequence[Node], limit: int) -> list[Verdict]:
    """Whether each node can open a connection to the port at which the others are managed."""
    wanted: dict[str, list[Node]] = {}
    for source, target in pairs([n for n in nodes if n.name in sessions]):
        wanted.setdefault(source.name, []).append(target)

    def ask(name: str, targets: list[Node]) -> Verdict:
        bad = []
        for target in targets:
            port = int(target.transport.options.get("port", 22))
            try:
                with within(CONNECT_SECONDS), sessions[name].dial(target.host, port) as sock:
                    sock.close()
            except (OSError, PlaybookError) as error:
                bad.append(f"{target.name}: {str(error).removeprefix(f'{name}: ')}")
        if bad:
            return Verdict(name, "network", "degraded", "does not reach " + "; ".join(bad))
        return Verdict(name, "network", "healthy", f"reaches {', '.join(t.name for t in targets)}")

    calls = [functools.partial(ask, name, targets) for name, targets in wanted.items()]
    return [v for v in run_all(calls, limit=limit) if isinstance(v, Verdict)]


def measure(ctx: CommandContext, nodes: Sequence[Node]) -> list[Line]:
    """Measure pair after pair, so that none disturbs another; each takes about two seconds."""
    lines: list[Line] = []
    with contextlib.ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for source, target in pairs(nodes):
            if any((ln.source, ln.target) == (target.name, source.name) and ln.ok for ln in lines):
                continue  # a pair is measured once, in the first direction that works
            try:
                for node in (source, target):
                    if node.name not in sessions:
                        session = ctx.build(Transport, node.transport).connect(node)
                        sessions[node.name] = stack.enter_context(session)
                with within(PAIR_SECONDS):
                    lines.append(_pair(sessions[source.name], sessions[target.name], target))
            except (PlaybookError, ValueError, OSError) as error:
                lines.append(Line(source.name, target.name, ok=False, detail=str(error)))
    return lines


def _pair(source: Session, target: Session, node: Node) -> Line:
    with target.start(["python3", "-c", _SERVER], timeout=PAIR_SECONDS) as server:
        said = (text for pipe, text in server.lines() if pipe == "stdout")
        port = next(said, "")
        if not port.isdigit():
            raise ValueError(f"{node.name}: nothing could listen there: python3 is needed on both nodes")
        got: dict[str, Any] = {}

        def drain() -> None:
            with contextlib.suppress(PlaybookError, ValueError):
                got.update(json.loads(next(said, "{}")))

        reader = threading.Thread(target=drain, daemon=True)
        reader.start()
        argv = ["python3", "-c", _CLIENT, node.host, port, _SHOTS, _SECONDS]
        took = source.run(argv, timeout=PAIR_SECONDS / 2).json()
        reader.join(PAIR_SECONDS / 2)
    rate = got.get("bytes", 0) * 8e-9 / got["seconds"] if got.get("seconds") else None
    return Line(
        source.node.name, node.name, ok=True,
        latency_ms=round(took["median"] * 1e3, 4), latency_p99_ms=round(took["p99"] * 1e3, 4),
        gbit_s=None if rate is None else round(rate, 3),
    )  # fmt: skip
