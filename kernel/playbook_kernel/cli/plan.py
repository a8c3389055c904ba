"""A plan as a person, or a program, looks at it: for ``--dry-run``."""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Mapping
from typing import Any

import click

from playbook_kernel.engine.plan import Plan
from playbook_kernel.model import Scenario

from .common import echo_json


def describe(plan: Plan) -> dict[str, Any]:
    """Describe a plan as data."""
    return {
        "scenarios": [_scenario(plan, s) for s in plan.scenarios],
        "nodes": sorted({n for s in plan.runnable for n in s.node_names}),
        "policy": {
            "wait_between": plan.config.policy.wait_between,
            "continue_on_failure": plan.config.policy.continue_on_failure,
            "retries": plan.config.policy.retries,
        },
        "reporters": [r.use for r in plan.config.reporters],
        "warnings": list(plan.warnings),
    }


def _scenario(plan: Plan, scenario: Scenario) -> dict[str, Any]:
    after = {s.name: [e.service for e in s.after] for s in scenario.services}
    waves = batches(after)
    return {
        "name": scenario.name,
        "runs": scenario.enabled and not scenario.skip,
        "why_not": "" if scenario.enabled and not scenario.skip else scenario.skip or "disabled",
        "description": scenario.description,
        "directory": str(scenario.directory),
        "services": [
            {
                "name": s.name,
                "nodes": list(s.nodes),
                "after": [{"service": e.service, "condition": e.condition} for e in s.after],
                "checks": [c.probe.use for c in s.checks],
            }
            for s in scenario.services
        ],
        "batches": waves,
        "critical_path": longest_chain(after, waves),
        "composers": {n: list(plan.composers.get(n, ())) for n in scenario.node_names},
        "benchmark": scenario.benchmark.use,
        "collectors": [c.use for c in scenario.collectors],
        "faults": [f.fault.use for f in scenario.faults],
        "depends_on": list(scenario.depends_on),
        "timeouts": {"deploy": scenario.timeouts.deploy, "benchmark": scenario.timeouts.benchmark},
    }


def batches(after: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Kahn's batches: each needs only what stands in earlier ones; names keep their order.

    >>> batches({"router": ["p", "d"], "p": [], "d": []})
    [['p', 'd'], ['router']]
    """
    sorter = graphlib.TopologicalSorter(after)
    sorter.prepare()
    place = {name: n for n, name in enumerate(after)}
    found = []
    while sorter.is_active():
        ready = sorter.get_ready()
        found.append(sorted(ready, key=lambda name: place.get(name, len(place))))
        sorter.done(*ready)
    return found


def longest_chain(after: Mapping[str, Collection[str]], waves: list[list[str]]) -> list[str]:
    """The chain that no amount of parallel work can shorten, if every service takes equally long.

    >>> longest_chain({"a": [], "b": [], "c": ["b"]}, [["a", "b"], ["c"]])
    ['b', 'c']
    """
    chain: list[str] = []
    for wave in reversed(waves):  # whoever stands in a wave waits for somebody of the one before it
        chain.append(next(name for name in wave if not chain or name in after[chain[-1]]))
    return chain[::-1]


def show(made: Plan, *, as_json: bool) -> None:
    """Print a plan."""
    plan = describe(made)
    if as_json:
        echo_json(plan)
        return
    for number, scenario in enumerate(plan["scenarios"], 1):
        why = "" if scenario["runs"] else f"  (will not run: {scenario['why_not']})"
        click.echo(f"{number}. {scenario['name']}{why}")
        if not scenario["runs"]:
            continue
        for n, batch in enumerate(scenario["batches"], 1):
            click.echo(f"   batch {n}: {', '.join(batch)}")
        for service in scenario["services"]:
            after = ", ".join(f"{e['service']} ({e['condition']})" for e in service["after"])
            click.echo(f"   {service['name']} on {', '.join(service['nodes'])}" + (f", after {after}" if after else ""))
        if scenario["critical_path"]:
            click.echo(f"   critical path: {' -> '.join(scenario['critical_path'])}")
        composers = "; ".join(f"{n}: {' or '.join(c) or 'none'}" for n, c in scenario["composers"].items())
        click.echo(f"   composers: {composers}")
        click.echo(f"   benchmark {scenario['benchmark']}; collect {', '.join(scenario['collectors']) or 'nothing'}")
    click.echo(f"nodes: {', '.join(plan['nodes']) or 'none'}")
