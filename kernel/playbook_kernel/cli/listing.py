"""``scenarios``, ``nodes``, ``status``: what there is."""

from __future__ import annotations

import functools
from typing import Any

import click

from playbook_kernel.drivers import Transport
from playbook_kernel.loading import Loader
from playbook_kernel.model import Node
from playbook_kernel.scope import run_all, within

from .common import checked, echo_json, json_option, of_nodes, read, results_dir, table, warn
from .main import Command, load_command, plugin_commands

_CONNECT_SECONDS = 20.0
_AT_ONCE = 32


@click.command(cls=Command)
@json_option
@click.pass_obj
def scenarios(obj: dict[str, Any], *, as_json: bool) -> None:
    """List the scenarios, in the order they run."""
    setup = read(obj)
    wrong = {s.name for s in setup.config.scenarios if any(str(s.directory) in p.file for p in setup.problems.items)}
    rows: list[dict[str, Any]] = [
        {
            "name": s.name, "enabled": s.enabled, "skip": s.skip, "valid": s.name not in wrong,
            "description": s.description, "tags": s.tags, "services": [x.name for x in s.services],
            "nodes": s.node_names, "estimated_duration": s.estimated_duration, "directory": s.directory,
        }
        for s in setup.config.scenarios
    ]  # fmt: skip
    if as_json:
        echo_json(rows)
        return
    table(
        ["name", "status", "services", "duration", "valid", "description"],
        [
            [
                r["name"], r["skip"] or ("enabled" if r["enabled"] else "disabled"), len(r["services"]),
                _about(r["estimated_duration"]), "yes" if r["valid"] else "no", _cut(str(r["description"])),
            ]
            for r in rows
        ],
    )  # fmt: skip
    order = [str(r["name"]) for r in rows if r["enabled"] and not r["skip"]]
    click.echo(f"Execution Order: {' → '.join(order) or 'nothing to run'}")
    warn(setup.problems.warnings)
    if setup.problems.items:
        click.echo(f"{len(setup.problems.items)} problems: `playbook-kernel validate` tells them", err=True)


def _about(seconds: float) -> str:
    if not seconds:
        return "-"
    return f"{seconds:.0f}s" if seconds < 120 else f"{seconds / 60:.0f}m"


def _cut(text: str) -> str:
    return text if len(text) <= 50 else text[:49] + "…"


@click.command(cls=Command, context_settings={"ignore_unknown_options": False})
@click.option("--check", is_flag=True, help="Connect to every enabled node and say which can be reached.")
@click.option(
    "--enroll", is_flag=True, help="Show the host keys of nodes that are not known yet, and keep those you accept."
)
@click.option("--accept", is_flag=True, help="With --enroll: accept them without asking.")
@json_option
@click.pass_context
def nodes(ctx: click.Context, /, *, check: bool, enroll: bool, accept: bool, as_json: bool) -> None:
    """List the nodes; --enroll trusts their host keys."""
    if enroll:
        _enroll(ctx, accept=accept, as_json=as_json)
        return
    if accept:
        raise click.UsageError("--accept goes with --enroll.")
    setup = checked(ctx.obj)
    found = list(setup.config.nodes.values())
    reach = reachable(setup.loader, [n for n in found if n.enabled]) if check else {}
    rows = [
        {
            "name": n.name, "host": n.host, "transport": n.transport.use, "composer": n.composer, "enabled": n.enabled,
            "role": n.role, "tags": n.tags, **({"reachable": reach.get(n.name, "disabled")} if check else {}),
        }
        for n in found
    ]  # fmt: skip
    if as_json:
        echo_json(rows)
    head = ["name", "host", "transport", "composer", "enabled", "role", "tags", *(["reachable"] if check else [])]
    if not as_json:
        table(head, [[_word(r[h]) for h in head] for r in rows])
    if any(v not in ("yes", "disabled") for v in reach.values()):
        raise click.exceptions.Exit(4)


def _enroll(ctx: click.Context, *, accept: bool, as_json: bool) -> None:
    """Host keys are the business of whoever knows about them: a command plugin of that name."""
    point = plugin_commands().get("nodes:enroll")
    if point is None:
        raise click.UsageError("no installed plugin knows how to enroll nodes")
    command = load_command(point)
    ctx.invoke(command, accept=accept, as_json=as_json)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def reachable(loader: Loader, chosen: list[Node]) -> dict[str, str]:
    """``yes``, or why not, for each node; all are asked at once."""

    def ask(node: Node) -> str:
        with within(_CONNECT_SECONDS), loader.build(Transport, node.transport).connect(node) as session:
            session.run(["true"], timeout=_CONNECT_SECONDS)
        return "yes"

    answers = run_all([functools.partial(ask, n) for n in chosen], limit=_AT_ONCE)
    return {
        n.name: a if isinstance(a, str) else str(a).removeprefix(f"{n.name}: ")
        for n, a in zip(chosen, answers, strict=True)
    }


@click.command(cls=Command)
@json_option
@click.pass_obj
def status(obj: dict[str, Any], *, as_json: bool) -> None:
    """Say what is configured, reachable, and how the last run went."""
    from .kept import isolation, runs
    from .recover import left_behind

    setup = read(obj)
    config = setup.config
    enabled = [n for n in config.nodes.values() if n.enabled]
    broken = of_nodes(setup)
    reach = {} if broken else reachable(setup.loader, enabled)
    folder = results_dir(obj)
    done = runs(folder, 10)
    last = next(iter(done), None)
    bad = [f"{n}: {why}" for n, why in reach.items() if why != "yes"]
    dead = [
        f"{run.name} died and may have left something at work: `playbook-kernel cleanup`" for run in left_behind(folder)
    ]
    issues = [*(str(p) for p in setup.problems.items), *bad, *dead]
    overall = (
        "UNHEALTHY"
        if setup.problems.items or (enabled and len(bad) == len(enabled))
        else "DEGRADED"
        if bad or dead
        else "HEALTHY"
    )
    order = [s.name for s in config.scenarios if s.enabled and not s.skip]
    rows = {
        "Nodes": "not asked: what describes them has problems"
        if broken
        else f"{len(enabled) - len(bad)} of {len(enabled)} enabled nodes reachable",
        "Scenarios": f"{len(order)} of {len(config.scenarios)} will run",
        "Last run": f"{last['name']}: {last['status']}" if last else "none",
    }
    past = isolation(done)
    if past["trials"]:
        errors = ", ".join(f"{n} {kind}" for kind, n in past["errors"].items())
        rows["Isolation"] = (
            f"{past['clean']} of {past['trials']} trials of the last {past['runs']} "
            f"run{'' if past['runs'] == 1 else 's'} were verified clean"
            + (f", cleanup takes {past['mean_cleanup_s']:.1f} s" if past["mean_cleanup_s"] is not None else "")
            + (f"; errors: {errors}" if errors else "")
        )
    if as_json:
        found = {"overall": overall, "components": rows, "nodes": reach, "issues": issues, "last_run": last}
        echo_json({**found, "isolation": past})
    else:
        click.echo(f"Overall Status: {overall}")
        table(["component", "details"], list(rows.items()))
        for issue in issues[:5]:
            click.echo(f"  {issue}")
        if len(issues) > 5:
            click.echo(f"  and {len(issues) - 5} more: `playbook-kernel validate`")
    if overall == "UNHEALTHY":
        raise click.exceptions.Exit(2 if setup.problems.items else 4)
