"""What several commands need: the configuration, the plugins, tables and JSON."""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve, frozen

from playbook_kernel import __version__
from playbook_kernel.config import Problem, Problems, Sources
from playbook_kernel.context import CommandContext
from playbook_kernel.drivers import Reader
from playbook_kernel.errors import ConfigError, PlaybookError, PluginError
from playbook_kernel.loading import HookManager, Loader, PluginSettings, load_hooks
from playbook_kernel.loading.offers import normal
from playbook_kernel.model import Configuration, DriverRef, PluginPolicy, Scenario
from playbook_kernel.model.codec import encode
from playbook_kernel.redaction import learn, redact, redacted

from .answer import answer

READER = os.environ.get("PLAYBOOK_READER", "playbook")
"""The reader of the user's files; another vocabulary is chosen before any file can say so."""

if TYPE_CHECKING:
    from playbook_kernel.engine.plan import Plan

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
        hooks = load_hooks(loader)
        for bad in loader.quarantine:
            self.problems.warn(f"plugin {bad.offer}", 0, "", f"is not used: {bad.reason}")
        return loader, hooks

    @property
    def loader(self) -> Loader:
        """What builds drivers, also those that plugins make in code. Raises PluginError for a bad single-file plugin."""
        return self._loaded[0]

    @property
    def hooks(self) -> HookManager:
        """The hook plugins."""
        return self._loaded[1]

    @property
    def usable(self) -> PluginSettings:
        """The settings for other processes: what is in quarantine here is not tried again in each of them."""
        bad = (f"{q.offer.kind}:{q.offer.name}" for q in self.loader.quarantine)
        return evolve(self.settings, blocked=tuple(dict.fromkeys((*self.settings.blocked, *bad))))


def sources(options: Mapping[str, Any]) -> Sources:
    """Where the user's files are, by the options and the defaults."""
    here = Path.cwd()
    scenarios = options.get("scenarios_dir")
    learn(os.environ)
    return Sources(
        here / _at_home(options.get("config_dir", "config")),
        results_dir(options),
        here,
        here / _at_home(scenarios) if scenarios else None,
        dict(os.environ),
    )


def _at_home(path: str) -> Path:
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib raises for users that do not exist


def results_dir(options: Mapping[str, Any]) -> Path:
    """The folder of runs."""
    return Path.cwd() / _at_home(options.get("results_dir", "results"))


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
    settings = PluginSettings(config.plugins, blocked, files_of(config.plugins, options))
    return Setup(where, config, problems, settings)


def files_of(policy: PluginPolicy, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The single-file plugins of the defaults file and of ``--plugin``, but for those that ``--no-plugin`` names.

    They are absolute paths, or names of modules; each may be named by its path, its file's name, or that without ending.
    Raises ConfigError for what ``--plugin`` names and is no such thing.
    """
    out = {*options.get("no_plugin", ()), *policy.disable}
    return tuple(f for f in every_file(policy, options) if not out & names_of(f))


def every_file(policy: PluginPolicy, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The same, with those that are left out. Raises ConfigError, too."""
    named = options.get("plugin_files", ())
    wrong = [f"--plugin {f}: {why}" for f in named if (why := _no_plugin(f))]
    if wrong:
        raise ConfigError(wrong, hint="name a Python file, or a module that can be imported")
    given = [str(Path(f).resolve()) if f.endswith(".py") else f for f in named]
    return tuple(dict.fromkeys((*policy.paths, *given)))


def names_of(file: str) -> set[str]:
    """How a single-file plugin may be called."""
    return {file, near(file), f"./{near(file)}", Path(file).name, Path(file).stem}


def _no_plugin(file: str) -> str:
    if file.endswith(".py"):
        return "" if Path(file).is_file() else "there is no such file"
    return (
        ""
        if all(map(str.isidentifier, file.split(".")))
        else "is neither a Python file (NAME.py) nor the name of a module"
    )


def checked(options: Mapping[str, Any]) -> Setup:
    """Read the configuration for work on nodes. Raises ConfigError with all that is wrong with these.

    Problems elsewhere are counted on stderr, beside warnings: a typo in a scenario, or in how scenarios run, is no reason
    not to look at a node, or not to clean it up.
    """
    setup = read(options)
    if wrong := of_nodes(setup):
        raise ConfigError(_in_order(wrong))
    warn(setup.problems.warnings)
    if more := len(setup.problems.items):
        what = "1 problem" if more == 1 else f"{more} problems"
        tells = "tells it" if more == 1 else "tells them"
        click.echo(f"warning: {what} in other files: `playbook-kernel validate` {tells}", err=True)
    return setup


def of_nodes(setup: Setup) -> list[Problem]:
    """The problems of the file that nodes are written in; where no node could be read, all outside of scenarios' folders."""
    origins = {n.transport.origin for n in setup.config.nodes.values()}
    if origins:  # a second file of the same name, in another format, is one of them, too
        stems = {_stem(re.sub(r":\d+(: .*)?$", "", o)) for o in origins if o}
        return [p for p in setup.problems.items if _stem(p.file) in stems]
    folders = tuple(f"{s.directory}{os.sep}" for s in setup.config.scenarios)
    return [p for p in setup.problems.items if not p.file.startswith(folders)]


def _stem(file: str) -> Path:
    return Path(file).with_suffix("")


def command_context(options: Mapping[str, Any]) -> CommandContext:
    """What a plugin's command gets. Raises ConfigError with all that is wrong; warnings go to stderr."""
    setup = checked(options)
    told = len(setup.problems.warnings)
    build = setup.loader.build
    warn(setup.problems.warnings[told:])
    return CommandContext(setup.config, build, echo_json, table)


def select(config: Configuration, names: Sequence[str] | None) -> tuple[Scenario, ...]:
    """The scenarios that were named, in order and whatever the filters say; all of them for None. Raises ConfigError."""
    if names is None:
        return config.scenarios
    known = {s.name: s for s in config.scenarios}
    missing = [n for n in names if n not in known]
    if missing:
        near = difflib.get_close_matches(missing[0], list(known), n=1)
        raise ConfigError(
            [f"no scenario is called {n!r}" for n in missing],
            hint=f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}",
        )
    return tuple(evolve(known[n], skip="") for n in known if n in names)


def check_required(loader: Loader) -> None:
    """Raise PluginError unless everything of ``plugins.require`` is installed and loadable."""
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import InvalidRequirement, Requirement

    bad = []
    for text in loader.policy.require:
        try:
            wanted = Requirement(text)
            have = version(wanted.name)
        except InvalidRequirement:
            bad.append(f"{text!r} is not a requirement such as 'name>=1'")
        except PackageNotFoundError:
            bad.append(f"{text} is not installed")
        else:
            if not wanted.specifier.contains(have, prereleases=True):
                bad.append(f"{text} is required, {have} is installed")
            bad += [f"{q.offer}: {q.reason}" for q in loader.quarantine if q.offer.distribution == normal(wanted.name)]
    if bad:
        raise PluginError("required plugins: " + "; ".join(bad), hint="see plugins.require in the defaults file")


def everything_wrong(setup: Setup, names: Sequence[str] | None) -> tuple[Plan | None, PlaybookError | None]:
    """Make the plan even if files have problems, so that all of them are told at once.

    Of the scenarios only those in ``names`` count, if there are names: a mistake in one stops no other.
    """
    from playbook_kernel.engine.plan import make_plan  # only who plans pays for the log's imports

    items = _relevant(setup, names)
    try:
        plan = make_plan(evolve(setup.config, scenarios=select(setup.config, names)), setup.loader, setup.hooks)
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
    answer(json.dumps(redacted(encode(value)), indent=2, ensure_ascii=False))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print plain columns, as wide as they must be."""
    if not rows:
        return
    cells = [[str(c) for c in row] for row in rows]
    widths = [max(len(h), *(len(r[n]) for r in cells)) for n, h in enumerate(head)]
    for row in [[h.upper() for h in head], *cells]:
        click.echo("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
