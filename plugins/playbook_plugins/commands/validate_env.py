"""``validate-env``: a scenario's env file, and whether its compose files want more than it gives."""

from __future__ import annotations

import re
from typing import Any

import click
from playbook_kernel.api import CommandContext, ConfigError, Problems, Scenario, is_secret_name

from playbook_plugins import compose_file
from playbook_plugins.text import Document, env_lines, load_document

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[0-9.,]*")
_MASK = "***"


@click.command()
@click.option("-s", "--scenario", "name", help="The scenario whose env file is checked.")
@click.option("-a", "--all", "everything", is_flag=True, help="Check those of every scenario.")
@click.option(
    "-f", "--format", "form", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print clean JSON on stdout.")
@click.pass_obj
def command(obj: dict[str, Any], *, name: str | None, everything: bool, form: str, as_json: bool) -> None:
    """Check the env file of a scenario, or of all of them; values of secrets are never shown.

    \b
    Example:  playbook-kernel validate-env --all
    """  # noqa: D301 - click wants the character
    if name is None and not everything:
        raise click.UsageError("Give --scenario NAME, or --all.")
    ctx: CommandContext = obj["context"]()
    chosen = [s for s in ctx.config.scenarios if everything or s.name == name]
    if not chosen:
        known = ", ".join(s.name for s in ctx.config.scenarios) or "none"
        raise ConfigError(
            [f"no scenario is called {name!r}" if name else "there are no scenarios"], hint=f"there are: {known}"
        )
    found = [check(s) for s in chosen]
    if as_json or form == "json":
        ctx.echo_json(found)
    elif form == "yaml":
        import yaml

        click.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), nl=False)
    else:
        for one in found:
            _print(one)
    if not all(one["valid"] for one in found):
        raise click.exceptions.Exit(2)


def check(scenario: Scenario) -> dict[str, Any]:
    """Look at one env file: its variables, errors, warnings, and what the compose files want beyond it."""
    problems = Problems()
    values: dict[str, str] = {}
    if scenario.env_file is not None:
        for line, name, value in env_lines(scenario.env_file, problems):
            if not _NAME.fullmatch(name):
                problems.add(scenario.env_file, line, name, "is not a variable's name")
            elif name in values:
                problems.warn(scenario.env_file, line, name, "is given twice: the last one counts")
            elif name != name.upper():
                problems.warn(scenario.env_file, line, name, "is not in upper case")
            values[name] = value
    return {
        "scenario": scenario.name,
        "file": None if scenario.env_file is None else str(scenario.env_file),
        "valid": not problems.items,
        "variables": [
            {"name": n, "value": _MASK if is_secret_name(n) and not _NUMBER.fullmatch(v) else v}
            for n, v in values.items()
        ],
        "errors": [str(p) for p in problems.items],
        "warnings": [str(p) for p in problems.warnings],
        "undefined": undefined(scenario, values),
    }


def undefined(scenario: Scenario, values: dict[str, str]) -> list[str]:
    """Variables that a compose file of the scenario wants, without a default, and that nobody gives."""
    wanted: set[str] = set()
    named = dict.fromkeys(s.definition for s in scenario.services)
    for file in (f for f in named if not f.stem.startswith("metadata")):  # that of services on a cluster
        wanted |= compose_file.referenced(dict(_raw(file).data))
    return sorted(wanted - set(values))


def _raw(file: Any) -> Document:
    return load_document(file, Problems(), None)


def _print(found: dict[str, Any]) -> None:
    state = "VALID" if found["valid"] else "INVALID"
    click.echo(f"{found['scenario']}: {state if found['file'] else 'no env file'}")
    for variable in found["variables"]:
        click.echo(f"  {variable['name']}={variable['value']}")
    for kind in ("errors", "warnings"):
        for text in found[kind]:
            click.echo(f"  {kind[:-1]}: {text}")
    if found["undefined"]:
        click.echo(f"  wanted by a compose file, and not given: {', '.join(found['undefined'])}")
