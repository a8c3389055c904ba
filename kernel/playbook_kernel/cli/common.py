"""What several commands need: the configuration, the plugins, tables and JSON."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from playbook_kernel import __version__
from playbook_kernel.config import Problem, Problems, Sources
from playbook_kernel.context import CommandContext
from playbook_kernel.drivers import Reader
from playbook_kernel.engine.job import PluginSettings
from playbook_kernel.engine.plan import Plan, make_plan
from playbook_kernel.errors import ConfigError, PlaybookError
from playbook_kernel.loading import HookManager, Loader, load_hooks
from playbook_kernel.model import Configuration, DriverRef
from playbook_kernel.model.codec import encode
from playbook_kernel.redaction import redact, redacted

READER = "playbook"

json_option = click.option("--json", "as_json", is_flag=True, help="Print clean JSON on stdout.")


@frozen
class Setup:
    """The files as they were read. ``problems`` are not raised yet."""

    sources: Sources
    config: Configuration
    problems: Problems
    settings: PluginSettings

    @functools.cached_property
    def _loaded(self) -> tuple[Loader, HookManager]:
        loader = self.settings.loader()
        return loader, load_hooks(loader)

    @property
    def loader(self) -> Loader:
        """What builds drivers, also those that plugins make in code. Raises PluginError for a bad single-file plugin."""
        return self._loaded[0]

    @property
    def hooks(self) -> HookManager:
        """The hook plugins."""
        return self._loaded[1]


def sources(options: Mapping[str, Any]) -> Sources:
    """Where the user's files are, by the options and the defaults."""
    here = Path.cwd()
    scenarios = options.get("scenarios_dir")
    return Sources(
        here / Path(options.get("config_dir", "config")).expanduser(),
        results_dir(options),
        here,
        here / Path(scenarios).expanduser() if scenarios else None,
        dict(os.environ),
    )


def results_dir(options: Mapping[str, Any]) -> Path:
    """The folder of runs."""
    return Path.cwd() / Path(options.get("results_dir", "results")).expanduser()


def read(options: Mapping[str, Any]) -> Setup:
    """Read the configuration; problems are kept for the caller to raise."""
    blocked = tuple(options.get("no_plugin", ()))
    problems = Problems()
    where = sources(options)
    config = Loader(blocked=blocked).build(Reader, DriverRef(READER)).read(where, problems)
    if options.get("verbose"):
        enabled = sum(n.enabled for n in config.nodes.values())
        runs = sum(s.enabled and not s.skip for s in config.scenarios)
        click.echo(
            f"playbook-kernel {__version__}: {where.config_dir}: {enabled} of {len(config.nodes)} nodes enabled, "
            f"{runs} of {len(config.scenarios)} scenarios to run; results go to {where.results_dir}",
            err=True,
        )
    files = tuple(dict.fromkeys((*config.plugins.paths, *single_files(options))))
    settings = PluginSettings(config.plugins, blocked, files)
    return Setup(where, config, problems, settings)


def single_files(options: Mapping[str, Any]) -> list[str]:
    """What ``--plugin`` named: absolute paths, or names of modules."""
    return [str(Path(f).resolve()) if f.endswith(".py") else f for f in options.get("plugin_files", ())]


def checked(options: Mapping[str, Any]) -> Setup:
    """Read the configuration for work on nodes. Raises ConfigError with all that is wrong outside of scenario folders.

    Problems inside of them are counted on stderr, beside warnings: a typo in one scenario is no reason not to look at a
    node, or not to clean it up.
    """
    setup = read(options)
    folders = tuple(f"{s.directory}{os.sep}" for s in setup.config.scenarios)
    elsewhere = [p for p in setup.problems.items if not p.file.startswith(folders)]
    if elsewhere:
        setup.problems.raise_if_any()
    warn(setup.problems.warnings)
    if setup.problems.items:
        click.echo(
            f"{len(setup.problems.items)} problems in scenarios: `playbook-kernel validate` tells them", err=True
        )
    return setup


def command_context(options: Mapping[str, Any]) -> CommandContext:
    """What a plugin's command gets. Raises ConfigError with all that is wrong; warnings go to stderr."""
    setup = checked(options)
    return CommandContext(setup.config, setup.loader.build, echo_json, table)


def everything_wrong(setup: Setup, names: Sequence[str] | None) -> tuple[Plan | None, PlaybookError | None]:
    """Make the plan even if files have problems, so that all of them are told at once.

    Of the scenarios only those in ``names`` count, if there are names: a mistake in one stops no other.
    """
    items = _relevant(setup, names)
    try:
        plan = make_plan(setup.config, names, setup.loader, setup.hooks)
    except PlaybookError as error:
        if not items:
            return None, error
        more = error.problems if isinstance(error, ConfigError) else (str(error),)
        return None, ConfigError(list(dict.fromkeys([*_in_order(items), *more])), hint=error.hint)
    if items:
        return None, ConfigError(_in_order(items))
    return plan, None


def _relevant(setup: Setup, names: Sequence[str] | None) -> list[Problem]:
    if not names:
        return setup.problems.items
    others = tuple(f"{s.directory}{os.sep}" for s in setup.config.scenarios if s.name not in names)
    return [p for p in setup.problems.items if not f"{p.file}{os.sep}".startswith(others or ("\0",))]


def near(text: str) -> str:
    """A message whose leading path is said from where the user stands."""
    return text.removeprefix(f"{Path.cwd()}{os.sep}")


def _in_order(problems: Sequence[Problem]) -> list[str]:
    return [str(p) for p in sorted(problems, key=lambda p: (p.file, p.line))]


def warn(lines: Sequence[object]) -> None:
    """Tell warnings, on stderr."""
    for line in lines:
        click.echo(f"warning: {redact(near(str(line)))}", err=True)


def echo_json(value: object) -> None:
    """Print a value as JSON on stdout, without secrets."""
    click.echo(json.dumps(redacted(encode(value)), indent=2, ensure_ascii=False))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print plain columns, as wide as they must be."""
    if not rows:
        return
    cells = [[str(c) for c in row] for row in rows]
    widths = [max(len(h), *(len(r[n]) for r in cells)) for n, h in enumerate(head)]
    for row in [[h.upper() for h in head], *cells]:
        click.echo("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
