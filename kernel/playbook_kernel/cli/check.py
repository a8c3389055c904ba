"""``validate``: everything that can be known to be wrong without touching a node."""

from __future__ import annotations

from typing import Any

import click

from .common import echo_json, everything_wrong, json_option, read
from .main import Command


@click.command(cls=Command)
@click.argument("name", required=False)
@json_option
@click.pass_obj
def validate(obj: dict[str, Any], name: str | None, *, as_json: bool) -> None:
    """Check every file (or scenario NAME and what it needs), without touching any node."""
    setup = read(obj)
    _, error = everything_wrong(setup, [name] if name else None)
    problems = list(getattr(error, "problems", ())) or ([str(error)] if error else [])
    warnings = [str(w) for w in setup.problems.warnings]
    if as_json:
        echo_json({"valid": not problems, "issues": problems, "warnings": warnings})
    else:
        click.echo("✓ Configuration is valid" if not problems else "✗ Configuration has issues:")
        for problem in problems:
            click.echo(f"  {problem}")
        if warnings:
            click.echo("Warnings:")
        for warning in warnings:
            click.echo(f"  {warning}")
        if problems or warnings:
            click.echo(f"Total issues: {len(problems)}\nTotal warnings: {len(warnings)}")
    if error is not None:
        raise click.exceptions.Exit(error.exit_code)
