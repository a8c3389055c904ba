"""``trend``: a metric over all runs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click


@click.command(name="trend")
@click.argument("scenario")
@click.argument("metric")
@click.option("-r", "--results-dir", help="Folder of runs.  [default: results]")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write a page instead of a plot.")
@click.pass_obj
def command(
    obj: Mapping[str, Any] | None, /, scenario: str, metric: str, results_dir: str | None, page: Path | None
) -> None:
    """Draw METRIC of SCENARIO over all runs.

    \b
    playbook-kernel trend 001_unified_smoke p99_ttft
    """  # noqa: D301 - click wants the character
    from playbook_plugins.compare import trend as drawn

    results = Path.cwd() / (results_dir or (obj or {}).get("results_dir", "results"))
    found = drawn.trend(results, scenario, metric)
    if page is None:
        click.echo(drawn.as_text(found, width=max(20, shutil.get_terminal_size().columns - 12)))
    else:
        page.write_text(drawn.as_html(found), encoding="utf-8")
        click.echo(str(page))
