"""``compare``: runs against a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from playbook_plugins.compare.comparison import Comparison
    from playbook_plugins.compare.observed import Variant


def settings_options(function: Any) -> Any:
    """Decorate with the options that say what is compared, and how strictly."""
    for option in (
        click.option("-r", "--results-dir", help="Folder of runs.  [default: results]"),
        click.option("-m", "--metric", "metrics", multiple=True, metavar="NAME", help="Compare this; may be given again."),
        click.option("--all-metrics", is_flag=True, help="Compare all that both sides have."),
        click.option("--margin", default=2.0, show_default=True, help="A difference of so many percent does not matter."),
        click.option(
            "--assumed-spread", default=5.0, show_default=True,
            help="Percent by which runs differ by themselves; used while there is one run a side.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command(name="compare")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "-b",
    "--baseline",
    metavar="NAME",
    help="What they are compared with: one of them, or another run.  [default: the first]",
)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json", "markdown", "html"]), default="table")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file instead of stdout.")
@settings_options
@click.pass_obj
def command(
    obj: Mapping[str, Any] | None,
    /,
    runs: tuple[str, ...],
    baseline: str | None,
    form: str,
    output: Path | None,
    **options: Any,
) -> None:
    """Say what differs between runs, by how much, and how sure that is.

    Each RUN is a run's name (or its beginning, or latest), or several that are repeats of one thing: A,B,C or 'nightly*';
    NAME=A,B gives them a name.

    \b
    playbook-kernel compare 20260101_100000_all 20260102_100000_all
    playbook-kernel compare before='20260101*' after='20260102*' --format html --output compare.html
    """  # noqa: D301 - click wants the character
    from playbook_plugins.compare.render import FORMATS

    text = FORMATS[form](compared(obj, runs, baseline, options))
    if output is None:
        click.echo(text)
    else:
        output.write_text(f"{text}\n", encoding="utf-8")
        click.echo(str(output))


def compared(
    obj: Mapping[str, Any] | None,
    names: Sequence[str],
    baseline: str | None,
    options: Mapping[str, Any],
    *,
    also: Sequence[str] = (),
) -> list[Comparison]:
    """Every variant against the baseline. Raises ConfigError."""
    from playbook_kernel.api import ConfigError

    from playbook_plugins.compare.comparison import compare
    from playbook_plugins.compare.observed import MAIN, variant
    from playbook_plugins.compare.verdicts import Settings

    results = Path.cwd() / (options.get("results_dir") or (obj or {}).get("results_dir", "results"))
    variants = [variant(results, name) for name in names]
    first = variants[0] if baseline is None else _named(variants, names, baseline) or variant(results, baseline)
    others = [v for v in variants if v is not first]
    if not others:
        raise ConfigError(["one run alone cannot be compared"], hint="name two, or repeats of two: A,B C,D")
    wanted = None if options["all_metrics"] else (*(options["metrics"] or MAIN), *also)
    settings = Settings(margin=options["margin"] / 100, assumed=options["assumed_spread"] / 100)
    return [compare(first, other, settings, wanted) for other in others]


def _named(variants: Sequence[Variant], names: Sequence[str], name: str) -> Variant | None:
    for one, said in zip(variants, names, strict=True):
        if name in (one.name, said) or name in {r.id for r in one.results}:
            return one
    return None
