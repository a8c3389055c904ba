"""``report``: write reports of an earlier run again, or in another format."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import click

GROUP = "playbook_kernel.reporter"


@click.command(name="report")
@click.argument("run", required=False)
@click.option("-f", "--format", "formats", multiple=True, metavar="NAME", help="Which report; may be given again.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the files.  [default: the run's own]")
@click.option("-r", "--results-dir", help="Folder of runs.  [default: results]")
@click.option("--list", "listing", is_flag=True, help="List the formats.")
@click.pass_obj
def command(
    obj: Mapping[str, Any] | None,
    /,
    run: str | None,
    formats: tuple[str, ...],
    output: Path | None,
    results_dir: str | None,
    *,
    listing: bool,
) -> None:
    """Write reports of RUN (default: the newest) from its record; nothing is run.

    \b
    playbook-kernel report --format html
    playbook-kernel report 20260101_120000_nightly --format junit --format github --output out
    """  # noqa: D301 - click wants the character
    from playbook_plugins import seal
    from playbook_plugins.stats import runs

    known = {p.name: p for p in entry_points(group=GROUP)}
    if listing:
        for name in sorted(n for n, point in known.items() if _renders(point)):
            click.echo(name)
        return
    folder = runs.find(Path.cwd() / (results_dir or (obj or {}).get("results_dir", "results")), run)
    result = runs.load(folder)
    into = output or folder
    reporters = [_reporter(known, name, folder) for name in formats or ("html",)]
    into.mkdir(parents=True, exist_ok=True)
    for reporter in reporters:
        written = [*reporter.write(result, into)]
        seal.add(folder, written)
        for path in written:
            click.echo(str(path))


def _renders(point: EntryPoint) -> bool:
    """Whether it writes files; one that cannot be loaded is named, so that asking for it says why."""
    try:
        return bool(getattr(point.load(), "renders", True))
    except Exception:  # noqa: BLE001 - whatever an import raises
        return True


def _reporter(known: Mapping[str, EntryPoint], name: str, folder: Path) -> Any:
    """The reporter, told where the run is if it wants to know. Raises ConfigError."""
    from attrs import fields
    from playbook_kernel.api import ConfigError

    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`playbook-kernel report --list` lists them"
        raise ConfigError([f"there is no report format {name!r}"], hint=hint)
    try:
        driver = known[name].load()
    except Exception as error:
        raise ConfigError([f"report format {name} cannot be loaded: {type(error).__name__}: {error}"]) from error
    if not getattr(driver, "renders", True):
        raise ConfigError(
            [f"{name} writes no report: it is of use while a campaign runs"],
            hint="`playbook-kernel report --list` lists what does",
        )
    wants = {f.name for f in fields(driver.options_type)}
    return driver(driver.options_type(**({"source": str(folder)} if "source" in wants else {})))
