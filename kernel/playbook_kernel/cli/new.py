"""``new``: a package for a plugin of one's own, complete and tested, to start from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from playbook_kernel import __version__
from playbook_kernel.drivers import KINDS
from playbook_kernel.errors import ConfigError
from playbook_kernel.loading import Loader

from .main import Command

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 24
TEMPLATES = Path(__file__).resolve().parent.parent / "_templates"


@frozen
class Sort:
    """What can be made: how its distribution and its class are called, and one line about it."""

    prefix: str
    suffix: str
    summary: str


SORTS = {
    "benchmark": Sort("bench", "Benchmark", "Benchmark {name} for playbook-kernel: a load generator's adapter"),
    "transport": Sort("transport", "Transport", "Transport {name} for playbook-kernel: a way to reach nodes"),
    "composer": Sort("composer", "Composer", "Composer {name} for playbook-kernel: brings services up and down"),
    "probe": Sort("probe", "Probe", "Probe {name} for playbook-kernel: a health check"),
    "collector": Sort("collect", "Collector", "Collector {name} for playbook-kernel: brings evidence home"),
    "reporter": Sort("report", "Reporter", "Reporter {name} for playbook-kernel: a report format"),
    "executor": Sort("executor", "Executor", "Executor {name} for playbook-kernel: sends load from many machines"),
    "fault": Sort("fault", "Fault", "Fault {name} for playbook-kernel: breaks something on purpose while a load runs"),
    "hooks": Sort("hooks", "", "Plugin {name} for playbook-kernel: takes part in every run"),
}


@click.command(cls=Command)
@click.argument("kind", type=click.Choice(list(SORTS)))
@click.argument("name")
@click.option(
    "--directory", type=click.Path(file_okay=False, path_type=Path), help="Where to.  [default: the package's name]"
)
def new(kind: str, name: str, directory: Path | None) -> None:
    """Write a package for a plugin of a KIND that goes by NAME: code, options, tests, CI.

    \b
    Example:  playbook-kernel new benchmark my-tool
    """  # noqa: D301 - click wants the character
    sort = SORTS[kind]
    name = name.removeprefix("playbook-").removeprefix(f"{sort.prefix}-")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ConfigError(
            [f"{name!r} is not a name for a plugin"],
            hint=f"lower case letters, digits and single dashes, a letter first, at most {_LONGEST}: my-tool",
        )
    if there := [o for o in Loader().offers(kind) if o.name == name]:
        raise ConfigError(
            [f"{kind} {name!r} is already offered by {there[0].distribution} {there[0].version}"],
            hint="two of one name are an error until one is pinned; choose another",
        )
    distribution = f"playbook-{sort.prefix}-{name}"
    target = directory or Path(distribution)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError([f"{target} is there, and is not an empty folder"], hint="nothing was written")
    for path, text in sorted(files(kind, name, distribution).items()):
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        click.echo(f"wrote {place}")
    click.echo(f"next: pip install -e {target} pytest && python -m pytest {target}", err=True)


def files(kind: str, name: str, distribution: str) -> dict[str, str]:
    """The texts of the package, by path."""
    package = distribution.replace("-", "_")
    cls = "".join(part.capitalize() for part in name.split("-")) + SORTS[kind].suffix
    words: dict[str, Any] = {
        "NAME": name,
        "KIND": kind,
        "DIST": distribution,
        "PACKAGE": package,
        "CLASS": cls,
        "TARGET": package if kind == "hooks" else f"{package}:{cls}",
        "SUMMARY": SORTS[kind].summary.format(name=name),
        "VERSION": ".".join(__version__.split(".")[:2]),
    }
    assert kind == "hooks" or kind in KINDS
    words["USE"] = _filled((TEMPLATES / kind / "use.md").read_text(encoding="utf-8"), words).strip()
    found = {}
    for root in (TEMPLATES / "common", TEMPLATES / kind):
        for path in root.rglob("*.tmpl"):
            where = _filled(path.relative_to(root).as_posix().removesuffix(".tmpl"), words)
            # a dot in front would hide them from those who package this package
            where = re.sub(r"^(gitignore|github)", r".\1", where)
            found[where] = _filled(path.read_text(encoding="utf-8"), words)
    return found


def _filled(text: str, words: dict[str, Any]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda match: str(words[match[1]]), text)
