"""The ``playbook-kernel`` command: global options, lazy commands, errors as one line and an exit status.

Nothing but click is imported here; a command's module is imported when that command runs (or shows its own help).
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import keyword
import os
import sys
import threading
import time
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

import click

from playbook_kernel import __version__

from .points import Point, points

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "Run one scenario, or all of them."),
    "validate": ("check", "Check every file, without touching any node."),
    "config": ("scenario", "Show every value that counts, and where it comes from."),
    "scenarios": ("listing", "List the scenarios, in the order they run."),
    "scenario": ("scenario", "Show one scenario, or enable or disable it."),
    "nodes": ("listing", "List the nodes; --enroll trusts their host keys."),
    "status": ("listing", "Say what is configured, reachable, and how the last run went."),
    "results": ("results", "List the runs; prune, export, import, verify them."),
    "logs": ("results", "Show the logs of a run."),
    "journal": ("journal", "Show what a run did, and what may be left where."),
    "plugins": ("plugins", "List what is installed, and what is quarantined and why."),
    "new": ("new", "Write a package for a plugin of one's own, with its tests."),
    "cleanup": ("recover", "Clean up after a run whose process died."),
    "init": ("init", "Write a configuration to start from."),
    "completion": ("init", "Print the completion script of a shell."),
}
"""Name: (module, one line of help). Kept here so that --help imports nothing."""

GROUP = "playbook_kernel.command"
PEACE = 5.0
"""Seconds that threads of plugins have to end by themselves once the command has."""


def global_options(function: Any) -> Any:
    """Decorate with the options that stand before or after a command."""
    options = [
        click.option("-c", "--config-dir", help="Folder of nodes, scenarios and defaults files.  [default: config]"),
        click.option("-s", "--scenarios-dir", help="Folder of scenarios; beats scenarios_root of the scenarios file."),
        click.option("-r", "--results-dir", help="Folder that gets a folder for each run.  [default: results]"),
        click.option(
            "-l", "--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
            help="How much goes to the log files.  [default: INFO]",
        ),
        click.option("-v", "--verbose", is_flag=True, default=None, help="Say more, and show tracebacks of our own bugs."),
        click.option("--no-plugin", multiple=True, metavar="NAME", help="Leave a plugin, kind:name or distribution out."),
        click.option("--plugin", "plugin_files", multiple=True, metavar="FILE", help="Load a single-file plugin."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


class Command(click.Command):
    """A command that also takes the global options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = {p.name for p in self.params}

        def holder() -> None:
            """Carry the options, nothing else."""

        extra = [p for p in reversed(global_options(holder).__click_params__) if p.name not in own]
        taken = {o for p in self.params for o in p.opts}
        for param in extra:
            param.opts = [o for o in param.opts if o not in taken]
            param.hidden = True
        self.params += extra
        self._global = {p.name for p in extra}

    def invoke(self, ctx: click.Context) -> Any:
        shared = ctx.ensure_object(dict)
        for name in self._global:
            value = ctx.params.pop(name, None)
            if value not in (None, ()):
                shared[name] = (*shared.get(name, ()), *value) if isinstance(value, tuple) else value
        if not ctx.params.get("as_json"):
            return super().invoke(ctx)
        from .answer import alone

        with alone(ctx):
            return super().invoke(ctx)


class Family(Command, click.Group):
    """A command that does something by itself and has subcommands; ``members``: name -> (module, one line of help)."""

    def __init__(self, *args: Any, members: dict[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, invoke_without_command=True, **kwargs)
        self.members = members or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.members]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.members:
            return None
        module = importlib.import_module(f"playbook_kernel.cli.{self.members[cmd_name][0]}")
        found: click.Command = getattr(module, f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.members.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.members:
            near = difflib.get_close_matches(args[0], self.members, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" There are {', '.join(self.members)}."
            raise click.UsageError(f"No such command {ctx.info_name} {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


class Commands(click.Group):
    """A group whose commands, also those of plugins, are listed by name and imported only when called."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(n for n in plugin_commands() if n not in COMMANDS and ":" not in n)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module = importlib.import_module(f"playbook_kernel.cli.{COMMANDS[cmd_name][0]}")
            found: click.Command = getattr(module, cmd_name)
            return found
        point = plugin_commands().get(cmd_name)
        return None if point is None else load_command(point)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            rows = [(name, text) for name, (_, text) in COMMANDS.items()]
            points = plugin_commands()
            more = sorted(n for n in points if n not in COMMANDS and ":" not in n)
            formatter.write_dl([*rows, *((n, _summary(points[n])) for n in more)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and name not in plugin_commands():
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


def plugin_commands() -> dict[str, Point]:
    """The commands of plugins, by name."""
    return {p.name: p for p in points(GROUP)}


def _summary(point: Point) -> str:
    """The first line of a plugin command's module, read and not imported; else whose it is."""
    import os.path
    from importlib.util import find_spec

    top, *rest = point.module.split(".")
    spec = find_spec(top)
    for root in (spec and spec.submodule_search_locations) or ():
        path = os.path.join(root, *rest) + ".py"  # noqa: PTH118 - pathlib would be one more import of --help
        try:
            with open(path, encoding="utf-8") as file:  # noqa: PTH123
                first = file.readline().strip()
        except (OSError, ValueError):
            continue
        if first.startswith('"""') and (words := first.strip('"').removeprefix(f"``{point.name}``: ")):
            return words[:1].upper() + words[1:]
    return f"(a plugin of {point.distribution})"


def load_command(point: Point) -> click.Command:
    """Import a command of a plugin; one that cannot be imported says so when it is called. Raises UsageError."""
    try:
        loaded = point.load()
    except Exception as error:
        raise click.ClickException(f"command {point.name} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(loaded, click.Command):
        raise click.ClickException(f"command {point.name} ({point.value}) is not a click command")
    return loaded


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="playbook-kernel")
@global_options
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """Run benchmark campaigns of distributed LLM inference engines, unattended.

    \b
    Try it:  playbook-kernel run --all --dry-run
    """  # noqa: D301 - click wants the character
    ctx.ensure_object(dict).update({k: v for k, v in options.items() if v not in (None, ())})
    ctx.obj["context"] = functools.partial(_context, ctx.obj)


def _context(options: dict[str, Any]) -> Any:
    """What plugins' commands ask for, once the options behind the command's name are known too."""
    from .common import command_context

    return command_context(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: errors become one line (and a hint) on stderr and an exit status, tracebacks stay in the log."""
    shared: dict[str, Any] = {}
    before = {*threading.enumerate()}
    try:
        arguments = None if argv is None else list(argv)
        status = cli.main(args=arguments, prog_name="playbook-kernel", standalone_mode=False, obj=shared)
    except click.exceptions.Exit as done:
        status = done.exit_code
    except click.ClickException as error:
        error.show()
        status = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        status = 130
    except BrokenPipeError:
        sys.stderr.close()
        status = 141
    except Exception as error:  # noqa: BLE001 - the last resort
        status = _failed(error, verbose=bool(shared.get("verbose")))
    finally:
        _let_go()
    leave(status if isinstance(status, int) else 0, before)


def leave(status: int, before: Collection[threading.Thread]) -> NoReturn:
    """Exit with ``status``. Threads that plugins have begun since ``before`` may end in peace, but hold nobody up."""
    end = time.monotonic() + PEACE
    held = [t for t in threading.enumerate() if t not in before and not t.daemon]
    for thread in held:
        thread.join(max(0.0, end - time.monotonic()))
    if names := sorted(t.name for t in held if t.is_alive()):
        with contextlib.suppress(OSError, ValueError):
            click.echo(f"warning: threads of plugins do not end, and are left behind: {', '.join(names)}", err=True)
        os._exit(status)
    sys.exit(status)


def _let_go() -> None:
    """Flush what was printed; where nobody reads any more, the interpreter must not try again and spoil the exit status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


def _failed(error: Exception, *, verbose: bool) -> int:
    from pathlib import Path

    from playbook_kernel.errors import ConfigError, PlaybookError
    from playbook_kernel.loading import origin
    from playbook_kernel.redaction import redact

    if not isinstance(error, PlaybookError):
        import traceback

        trace = traceback.format_exception(error)
        click.echo(redact("".join(trace if verbose else [*trace[-2:-1], trace[-1]])), err=True, nl=False)
        more = "" if verbose else "; --verbose shows all of it"
        who = f"plugin {plugin}" if (plugin := origin(error)) else "playbook-kernel"
        click.echo(f"error: that is a bug of {who}: please report it with the lines above{more}", err=True)
        return 70
    lines = error.problems if isinstance(error, ConfigError) else str(error).splitlines() or [type(error).__name__]
    for line in lines:
        click.echo(f"error: {redact(line.removeprefix(f'{Path.cwd()}/'))}", err=True)
    if error.hint:
        click.echo(f"hint: {redact(error.hint)}", err=True)
    return error.exit_code
