"""``validate``: everything that can be known to be wrong without touching a node."""

from __future__ import annotations

import gc
from typing import Any

import click

from playbook_kernel.loading import load_file
from playbook_kernel.redaction import redact

from .common import echo_json, everything_wrong, json_option, near, read
from .main import Command
from .slips import slips


@click.command(cls=Command)
@click.argument("name", required=False)
@json_option
@click.pass_obj
def validate(obj: dict[str, Any], name: str | None, *, as_json: bool) -> None:
    """Check every file (or scenario NAME and what it needs), without touching any node."""
    gc.disable()  # what is read is kept to the end: to look for garbage among it takes a tenth of the time
    try:
        setup = read(obj)
        _, error = everything_wrong(setup, [name] if name else None)
    finally:
        gc.enable()
    problems = [near(p) for p in list(getattr(error, "problems", ())) or ([str(error)] if error else [])]
    warnings = [near(str(w)) for w in setup.problems.warnings]
    if not problems:  # then each is loaded
        warnings += [near(f"{f}: {slip}") for f in setup.settings.files for slip in slips(load_file(f))]
    notes = [near(str(n)) for n in setup.problems.notes]
    if as_json:
        echo_json({"valid": not problems, "issues": problems, "warnings": warnings, "notes": notes})
    else:
        click.echo("✓ Configuration is valid" if not problems else "✗ Configuration has issues:")
        for problem in problems:
            click.echo(f"  {redact(problem)}")
        if warnings:
            click.echo("Warnings:")
        for warning in warnings:
            click.echo(f"  {warning}")
        if notes:
            click.echo("Notes:")
        for note in notes:
            click.echo(f"  {note}")
        if problems or warnings:
            click.echo(f"Total issues: {len(problems)}\nTotal warnings: {len(warnings)}")
    if error is not None:
        raise click.exceptions.Exit(error.exit_code)
