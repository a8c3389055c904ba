"""``webui``: there is none; says what to open instead."""

from __future__ import annotations

import click


@click.command(context_settings={"help_option_names": ["--help"]})
@click.option("-p", "--port", default=8888, hidden=True)
@click.option("-h", "--host", default="0.0.0.0", hidden=True)  # noqa: S104 - taken, and never listened on
def command(port: int, host: str) -> None:
    """There is no web interface; exits with 2."""
    click.echo(
        "error: there is no web interface: open report.html in a run's folder (`playbook-kernel results`)", err=True
    )
    raise click.exceptions.Exit(2)
