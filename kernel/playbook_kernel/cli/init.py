"""``init`` and ``completion``: to start from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from playbook_kernel.errors import ConfigError

from .main import Command

_GITIGNORE = (
    "# What is yours stays out of git.\nconfig/nodes.*\n!config/nodes.example.*\nconfig/.env\n.env\nresults/\nlogs/\n"
)


def share(name: str) -> Path:
    """A folder that comes with the package: in a wheel below it, in a clone at its root. Raises ConfigError."""
    package = Path(__file__).resolve().parent.parent
    for place in (package / "_share" / name, package.parent.parent / name):
        if place.is_dir():
            return place
    raise ConfigError([f"this installation has no {name} to copy"])


@click.command(cls=Command)
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.pass_obj
def init(obj: dict[str, Any], directory: Path) -> None:
    """Write config/ and scenarios/ to start from into DIRECTORY; what is there is never overwritten."""
    written, kept = [], []
    roots = [(name, share(name)) for name in ("config", "scenarios")]
    plan = [(source, directory / name / source.relative_to(root)) for name, root in roots for source in _files(root)]
    for source, target in plan:
        if target.exists():
            kept.append(target)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        written.append(target)
    ignore = directory / ".gitignore"
    if ignore.exists():
        kept.append(ignore)
    else:
        ignore.write_text(_GITIGNORE, encoding="utf-8")
        written.append(ignore)
    for path in written:
        click.echo(f"wrote {path}")
    for path in kept:
        click.echo(f"kept {path}, which was there", err=True)
    click.echo("next: playbook-kernel run --all --dry-run", err=True)


def _files(folder: Path) -> list[Path]:
    skip = {"__pycache__", "results", "logs"}
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".gitkeep")
    return sorted(p for p in files if not skip.intersection(p.relative_to(folder).parts))


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """Print the completion script of a SHELL.

    \b
    Example:  eval "$(playbook-kernel completion bash)"
    """  # noqa: D301 - click wants the character
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "playbook-kernel", "_PLAYBOOK_KERNEL_COMPLETE").source())
