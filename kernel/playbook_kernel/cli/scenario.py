"""``scenario`` and ``config``: one scenario, and every value that counts with its origin."""

from __future__ import annotations

import json
from typing import Any

import click

from playbook_kernel.drivers import Reader
from playbook_kernel.loading import Loader
from playbook_kernel.model import DriverRef

from .common import READER, echo_json, json_option, near, read, select, sources, table
from .main import Command


def _reader(options: dict[str, Any]) -> Reader[Any]:
    return Loader(blocked=tuple(options.get("no_plugin", ()))).build(Reader, DriverRef(READER))


@click.command(cls=Command)
@click.argument("name")
@click.option("--enable", is_flag=True, help="Enable it, in the file that says so.")
@click.option("--disable", is_flag=True, help="Disable it, in the file that says so.")
@json_option
@click.pass_obj
def scenario(obj: dict[str, Any], name: str, *, enable: bool, disable: bool, as_json: bool) -> None:
    """Show the scenario NAME, or enable or disable it for good."""
    if enable and disable:
        raise click.UsageError("--enable and --disable exclude one another.")
    if enable or disable:
        file = _reader(obj).enable(sources(obj), name, enabled=enable)
        click.echo(f"Scenario {name} is {'enabled' if enable else 'disabled'} now, in {near(str(file))}", err=as_json)
        if not as_json:
            return
    setup = read(obj)
    (found,) = select(setup.config, [name])
    skip = next(s.skip for s in setup.config.scenarios if s.name == name)
    problems = [str(p) for p in setup.problems.items if str(found.directory) in p.file]
    row = {
        "name": found.name, "description": found.description, "directory": found.directory, "enabled": found.enabled,
        "left_out": skip, "valid": not problems, "problems": problems, "estimated_duration": found.estimated_duration,
        "tags": found.tags, "dependencies": found.depends_on, "benchmark": found.benchmark.use,
        "services": [{"name": s.name, "nodes": s.nodes, "after": [e.service for e in s.after]} for s in found.services],
        "info": found.info,
    }  # fmt: skip
    if as_json:
        echo_json(row)
        return
    state = "disabled" if not found.enabled else f"enabled; --all leaves it out: {skip}" if skip else "enabled"
    lines = [
        ("Name", found.name), ("Description", found.description or "-"), ("Directory", near(str(found.directory))),
        ("State", state), ("Valid", "no" if problems else "yes"),
        ("Duration", f"{found.estimated_duration // 60:.0f} minutes" if found.estimated_duration else "-"),
        ("Tags", ", ".join(found.tags) or "-"), ("Depends on", ", ".join(found.depends_on) or "-"),
        ("Benchmark", found.benchmark.use),
    ]  # fmt: skip
    for head, value in lines:
        click.echo(f"{head + ':':13}{value}")
    table(
        ["service", "nodes", "after"],
        [[s.name, ", ".join(s.nodes), ", ".join(e.service for e in s.after)] for s in found.services],
    )
    for problem in problems:
        click.echo(near(problem), err=True)


@click.command(cls=Command)
@click.argument("action", type=click.Choice(["show", "schema"]))
@click.argument("file", required=False)
@click.option(
    "--origin", is_flag=True, help="Say where each value comes from: a file and its line, a flag, or default."
)
@json_option
@click.pass_obj
def config(obj: dict[str, Any], action: str, file: str | None, *, origin: bool, as_json: bool) -> None:
    """Show every value that counts, or print the JSON Schema of a FILE (nodes, scenarios, defaults, metadata).

    \b
    Examples:  playbook-kernel config show --origin
               playbook-kernel config schema nodes
    """  # noqa: D301 - click wants the character
    if action == "schema":
        schemas = _reader(obj).schemas()
        if file is None or file not in schemas:
            raise click.UsageError(f"Give one of {', '.join(schemas)}.")
        click.echo(json.dumps(schemas[file], indent=1, ensure_ascii=False))
        return
    if file is not None:
        raise click.UsageError("`config show` takes no file.")
    found = _reader(obj).explain(sources(obj))
    if as_json:
        echo_json([_row(s, origin=origin) for s in found])
        return
    head = ["key", "value", *(["origin"] if origin else [])]
    table(head, [[s.key, _text(s.key, s.value), *([near(s.origin)] if origin else [])] for s in found])


def _row(setting: Any, *, origin: bool) -> dict[str, Any]:
    row = {"key": setting.key, "value": _safe(setting.key, setting.value)}
    return {**row, "origin": setting.origin} if origin else row


def _safe(key: str, value: object) -> object:
    from playbook_kernel.redaction import redacted

    return redacted(value, key.rpartition(".")[2])


def _text(key: str, value: object) -> str:
    safe = _safe(key, value)
    if isinstance(safe, bool):
        return "true" if safe else "false"
    if isinstance(safe, (list, tuple)):
        return ", ".join(map(str, safe))
    return str(safe)
