"""``health``: are the nodes fit for a campaign?"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from typing import Any

import click
from attrs import asdict
from playbook_kernel.api import CommandContext, ConfigError, Node, PlaybookError, Session, Transport, run_all, within

from . import network
from .checks import CONNECT_SECONDS, Status, Verdict, examine

_ORDER: tuple[Status, ...] = ("healthy", "degraded", "unhealthy")


@click.command()
@click.argument("nodes", nargs=-1)
@click.option("--network", "measure", is_flag=True, help="Measure latency and bandwidth between the nodes, too.")
@click.option("--json", "as_json", is_flag=True, help="Print clean JSON on stdout.")
@click.pass_obj
def command(obj: dict[str, Any], nodes: tuple[str, ...], *, measure: bool, as_json: bool) -> None:
    """Check the enabled NODES (default: all of them): connection, engine, disk, memory, clock, accelerators, network.

    \b
    Overall: HEALTHY; DEGRADED (something will hurt); UNHEALTHY (a scenario on that node would fail, exit status 4).
    """  # noqa: D301 - click wants the character
    ctx: CommandContext = obj["context"]()
    chosen = _chosen(ctx, nodes)
    verdicts = examine_all(ctx, chosen)
    lines = network.measure(ctx, _reached(chosen, verdicts)) if measure else []
    worst = max((_ORDER.index(v.status) for v in verdicts), default=-1)
    if any(not line.ok for line in lines):
        worst = max(worst, 1)
    overall = _ORDER[worst].upper() if worst >= 0 else "UNKNOWN"
    critical = [f"{v.node}: {v.check}: {v.detail}" for v in verdicts if v.status == "unhealthy"]
    if as_json:
        found: dict[str, Any] = {
            "overall": overall.lower(), "checks": [asdict(v) for v in verdicts], "critical_issues": critical,
        }  # fmt: skip
        ctx.echo_json({**found, "network": [asdict(line) for line in lines]} if measure else found)
    else:
        click.echo(f"Overall Health: {overall}")
        ctx.table(["node", "check", "status", "details"], [[v.node, v.check, v.status, v.detail] for v in verdicts])
        if lines:
            _print_lines(ctx, lines)
        for issue in critical[:5]:
            click.echo(f"critical: {issue}", err=True)
        if len(critical) > 5:
            click.echo(f"and {len(critical) - 5} more", err=True)
    if overall == "UNHEALTHY":
        raise click.exceptions.Exit(4)


def _chosen(ctx: CommandContext, names: Sequence[str]) -> list[Node]:
    known = ctx.config.nodes
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known nodes: {', '.join(known) or 'none'}"
            raise ConfigError([f"there is no node {name!r}"], hint=hint)
    return [n for n in known.values() if n.name in names or (n.enabled and not names)]


def examine_all(ctx: CommandContext, nodes: Sequence[Node]) -> list[Verdict]:
    """Every check of every node, so many nodes at once as health checks may run at once; then the ways between them."""
    limit = max((s.max_concurrent_checks for s in ctx.config.scenarios), default=10)
    found: list[Verdict] = []
    results = run_all([functools.partial(examine, ctx, n) for n in nodes], limit=limit)
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found += result
    return found + _between(ctx, _reached(nodes, found), limit)


def _reached(nodes: Sequence[Node], verdicts: Sequence[Verdict]) -> list[Node]:
    lost = {v.node for v in verdicts if v.check == "connectivity" and v.status == "unhealthy"}
    return [n for n in nodes if n.name not in lost]


def _between(ctx: CommandContext, nodes: Sequence[Node], limit: int) -> list[Verdict]:
    if not list(network.pairs(nodes)):
        return []

    def connect(node: Node) -> Session:
        with within(CONNECT_SECONDS):
            return ctx.build(Transport, node.transport).connect(node)

    opened = run_all([functools.partial(connect, n) for n in nodes], limit=limit)
    sessions = {s.node.name: s for s in opened if isinstance(s, Session)}
    try:
        for result in opened:
            if isinstance(result, BaseException) and not isinstance(result, PlaybookError):
                raise result
        return network.reach(sessions, nodes, limit)
    finally:
        for session in sessions.values():
            session.close()


def _print_lines(ctx: CommandContext, lines: Sequence[network.Line]) -> None:
    click.echo()
    rows = [
        [
            f"{ln.source} - {ln.target}",
            "?" if ln.latency_ms is None else f"{ln.latency_ms:.3f} ms",
            "?" if ln.latency_p99_ms is None else f"{ln.latency_p99_ms:.3f} ms",
            "?" if ln.gbit_s is None else f"{ln.gbit_s:.2f} Gbit/s",
            ln.detail,
        ]
        for ln in lines
    ]
    ctx.table(["between", "round trip", "p99", "bandwidth", "details"], rows)
