"""``serve``: reports and live state of runs on a local web page."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from playbook_plugins.serve.state import Runs

_SHORTEST = 16


@click.command(name="serve", context_settings={"help_option_names": ["--help"]})
@click.argument("run", required=False)
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "-p", "--port", type=click.IntRange(0, 65535), default=8888, show_default=True, help="0: any that is free."
)
@click.option(
    "--token-file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Ask for the token in this file.  [default: none on loopback, else one that is made and shown]",
)  # fmt: skip
@click.option("--allow-host", multiple=True, metavar="NAME", help="Also answer to this name; may be given again.")
@click.option("-r", "--results-dir", help="Folder of runs.  [default: results]")
@click.pass_obj
def command(
    obj: Mapping[str, Any] | None,
    /,
    run: str | None,
    host: str,
    port: int,
    token_file: Path | None,
    allow_host: tuple[str, ...],
    results_dir: str | None,
) -> None:
    """Show all runs, or RUN alone (a name, a path, or a folder of runs), in the browser. Nothing can be changed there.

    \b
    Example:  playbook-kernel serve
    From another machine:  ssh -L 8888:127.0.0.1:8888 HOST, and open http://localhost:8888/
    """  # noqa: D301 - click wants the character
    from playbook_kernel.api import ConfigError

    from playbook_plugins.serve.access import Access, is_loopback, own_names
    from playbook_plugins.serve.server import Server
    from playbook_plugins.serve.site import Site

    given = results_dir or (obj or {}).get("results_dir")
    runs = _runs(Path.cwd() / (given or "results"), run, surely=bool(given))
    try:
        inside = is_loopback(host)
        token = _token(token_file, wanted=not inside)
        server = Server(
            host, port, Site(runs, Access(token, own_names((*allow_host, *([] if inside else [host.lower()])))))
        )
    except OSError as error:
        hint = "--port 0 takes any that is free" if "in use" in str(error) else ""
        raise ConfigError([f"{host}:{port}: cannot listen there: {error.strerror or error}"], hint=hint) from error
    with server:
        name = f"[{host}]" if ":" in host else host
        click.echo(f"http://{name}:{server.server_address[1]}/")
        if token and token_file is None:
            click.echo(f"token: {token}", err=True)
        if not inside:
            click.echo("warning: not encrypted; an SSH tunnel to 127.0.0.1 is", err=True)
        click.echo("Ctrl-C ends it", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("", err=True)


def _runs(results: Path, name: str | None, *, surely: bool) -> Runs:
    """What to show. ``surely``: somebody named the folder, so it should be there. Raises ConfigError."""
    from playbook_kernel.api import ConfigError

    from playbook_plugins.serve.state import FILES, Runs
    from playbook_plugins.stats import runs

    if name is None:
        if not results.is_dir() and (surely or results.exists()):
            why = "is not a folder" if results.exists() else "there is no such folder"
            raise ConfigError([f"{results}: {why}"], hint="-r names the folder that holds the runs")
        if not results.is_dir():
            click.echo(f"{results} does not exist yet: the first run makes it", err=True)
        return Runs(results.resolve())
    given = Path(name)
    if given.is_dir() and not any((given / f).is_file() for f in FILES):
        return Runs(given.resolve())
    folder = runs.find(results, name, FILES).resolve()
    return Runs(folder.parent, folder.name)


def _token(file: Path | None, *, wanted: bool) -> str:
    from playbook_kernel.api import ConfigError

    if file is None:
        return secrets.token_urlsafe(32) if wanted else ""
    token = file.read_text(encoding="utf-8").strip()
    if len(token) < _SHORTEST:
        raise ConfigError(
            [f"{file}: the token is shorter than {_SHORTEST} characters"], hint="openssl rand -hex 32 makes one"
        )
    return token
