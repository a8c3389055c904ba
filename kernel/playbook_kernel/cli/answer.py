"""What a command was asked for: with ``--json`` the only thing on stdout."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

_PLACE = "playbook_kernel.answer"


@contextlib.contextmanager
def alone(context: click.Context) -> Iterator[None]:
    """Keep stdout for answers: what plugins print meanwhile is talk, and goes to stderr."""
    context.meta[_PLACE] = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        yield


def answer(text: str) -> None:
    """Print what was asked for."""
    context = click.get_current_context(silent=True)
    click.echo(text, file=context.meta.get(_PLACE) if context else None)
