"""``watch``: follow a campaign that runs in another terminal, or on another machine."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from playbook_plugins.follow import Follower

_OFTEN = 0.25
_REPORTS = 120.0
"""How long to wait for the reports of a campaign that has ended."""
_STATUS = {"completed": 0, "failed": 1, "cancelled": 130}


@click.command(name="watch")
@click.argument("run", required=False)
@click.option("-r", "--results-dir", help="Folder of runs.  [default: results]")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON on stdout.")
@click.pass_obj
def command(obj: Mapping[str, Any] | None, /, run: str | None, results_dir: str | None, *, as_json: bool) -> None:
    """Show a RUN (default: the newest) as it goes on, until it ends. It is only read; Ctrl-C leaves it alone.

    RUN may be a path, also of a folder that is copied or mounted from another machine.

    \b
    Example:  playbook-kernel watch
    Exit status: that of the run: 0 good, 1 a scenario failed, 130 interrupted; 1, too, when the run has died.
    """  # noqa: D301 - click wants the character
    from playbook_plugins.follow import Follower
    from playbook_plugins.follow.follower import JOURNAL
    from playbook_plugins.stats import runs

    results = Path.cwd() / (results_dir or (obj or {}).get("results_dir", "results"))
    folder = runs.find(results, run, (JOURNAL,))
    raise click.exceptions.Exit(_watch(Follower(folder), as_json=as_json))


def _watch(follower: Follower, *, as_json: bool) -> int:
    from playbook_kernel.api import encode, redacted

    from playbook_plugins.follow.life import QUIET, life
    from playbook_plugins.progress import make_view
    from playbook_plugins.progress.board import Board

    at: list[float] = []

    def wall() -> float:
        return at[0] if at else time.time()

    board = Board(lambda: time.monotonic() - (time.time() - wall()))
    view = make_view(board, wall)
    ended, told = 0.0, False
    try:
        while True:
            seen = follower.poll()
            for one in seen:
                at[:] = [one.at]
                board.apply(one.event)
                if as_json:
                    click.echo(json.dumps({"at": one.at, **redacted(encode(one.event))}, ensure_ascii=False))
                else:
                    view.show(one.event)
            at.clear()
            now = life(follower)
            if follower.status:
                ended = ended or time.monotonic()
                if not now.alive or time.monotonic() - ended > _REPORTS:
                    return _over(follower)
            elif now.alive is False and not seen:
                return _died(follower, now.silent)
            elif now.alive is None and now.silent > QUIET and not told:
                told = True
                _say(
                    f"nothing was written for {now.silent / 60:.0f} minutes: the run may be dead (its processes cannot "
                    "be seen from here), or this copy of it is not kept up to date"
                )
            elif seen:
                told = False
            time.sleep(_OFTEN)
    except KeyboardInterrupt:
        view.close()
        _say("stopped watching; the run goes on")
        return 130
    finally:
        view.close()


def _over(follower: Follower) -> int:
    report = next((p for n in ("report.html", "report.md") if (p := follower.folder / n).is_file()), follower.folder)
    _say(f"the run has ended: {follower.status}: {report}")
    return _STATUS.get(follower.status, 1)


def _died(follower: Follower, silent: float) -> int:
    name = follower.folder.name
    _say(
        f"the run is dead: none of its processes lives, and it did not end; its last sign is {silent:.0f} s old\n"
        f"hint: `playbook-kernel run --resume {name}` goes on with it, `playbook-kernel cleanup {name}` cleans up after it"
    )
    return 1


def _say(text: str) -> None:
    click.echo(text, err=True)
