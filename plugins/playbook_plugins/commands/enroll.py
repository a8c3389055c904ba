"""``nodes --enroll``: look at the host keys of nodes, show their fingerprints, keep those that are accepted."""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import click
from attrs import evolve, field, frozen
from playbook_kernel.api import (
    CommandContext,
    ConfigError,
    Node,
    PlaybookError,
    Transport,
    Unreachable,
    run_all,
    within,
)

from playbook_plugins.transports.ssh import Options, SshTransport

_AT_ONCE = 32
State = Literal["known", "new", "changed", "unreachable", "kept"]


@frozen
class Seen:
    """A host key that a node, or a host on the way to it, has shown."""

    node: str
    host: str
    state: State
    key_type: str = ""
    fingerprint: str = ""
    detail: str = ""
    file: str = ""
    key: Any = field(default=None, repr=False, eq=False)

    def row(self) -> dict[str, str]:
        """Make it data for a person or a program."""
        names = ("node", "host", "state", "key_type", "fingerprint", "file", "detail")
        return {n: str(getattr(self, n)) for n in names}


@click.command()
@click.option("--accept", is_flag=True, help="Keep the keys without asking.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def command(obj: dict[str, Any], *, accept: bool, as_json: bool) -> None:
    """Show the host keys of the enabled nodes, and keep those that you accept."""
    ctx: CommandContext = obj["context"]()
    seen = scan_all(ctx)
    new = [s for s in seen if s.state == "new"]
    if not as_json:
        head = ["node", "host", "state", "key_type", "fingerprint"]
        ctx.table(head, [[s.row()[h] for h in head] for s in seen])
        for one in seen:
            if one.detail:
                click.echo(f"{one.node}: {one.detail}", err=True)
        if not seen:
            click.echo("no enabled node is reached over SSH", err=True)
    if new and (accept or (not as_json and _asked(new))):
        keep(new)
        seen = [evolve(s, state="kept") if s in new else s for s in seen]
        if not as_json:
            click.echo(f"kept {len(new)} keys in {', '.join(sorted({s.file for s in new}))}")
    if as_json:
        ctx.echo_json([s.row() for s in seen])
    if any(s.state not in ("known", "kept") for s in seen):
        raise click.exceptions.Exit(4)


def _asked(new: Sequence[Seen]) -> bool:
    if not sys.stdin.isatty():
        click.echo("nothing was kept: compare the fingerprints, then call it again with --accept", err=True)
        return False
    click.echo(
        "Compare them with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on each node.", err=True
    )
    return click.confirm(f"Keep these {len(new)} keys?", err=True)


def scan_all(ctx: CommandContext) -> list[Seen]:
    """Look at every enabled node that is reached over SSH, all at once; a host is listed once."""
    found: list[Seen] = []
    nodes = [n for n in ctx.config.nodes.values() if n.enabled]
    targets = [(n, t) for n in nodes if isinstance(t := ctx.build(Transport, n.transport), SshTransport)]
    results = run_all([functools.partial(scan, n, t.options) for n, t in targets], limit=_AT_ONCE)
    for (node, _), result in zip(targets, results, strict=True):
        if isinstance(result, PlaybookError):
            text = str(result).removeprefix(f"{node.name}: ")
            result = [Seen(node.name, node.host, "unreachable", detail=text)]
        elif isinstance(result, BaseException):
            raise result
        found += [s for s in result if not any((s.host, s.fingerprint) == (f.host, f.fingerprint) for f in found)]
    return found


def scan(node: Node, options: Options) -> list[Seen]:
    """The keys of a node and of each host on the way; stops at the first that is not known, for none lies behind it.

    Raises Unreachable, or AuthenticationFailed where a host on the way does not let us through.
    """
    from playbook_plugins.transports.ssh import connection

    seen: list[Seen] = []
    with within(options.connect_timeout * 2), contextlib.ExitStack() as stack:
        below: Any = None
        for step in _way(options):
            target = connection.Target.of(step)
            seen.append(_look(node.name, target, _socket(node.name, target, below, step)))
            if seen[-1].state != "known":
                break
            if step is not options:
                below = connection.connect(node.name, step)
                stack.callback(below.close)
    return seen


def _way(options: Options) -> Iterator[Options]:
    """Every host from us to the node, the node last."""
    from playbook_plugins.transports.ssh import connection

    hops = [j.strip() for j in connection.Target.of(options).jump.split(",") if j.strip()]
    for number, hop in enumerate(hops):
        yield connection.jump_options(options, hop, ",".join(hops[:number]))
    yield options


def _socket(node: str, target: Any, below: Any, options: Options) -> Any:
    import paramiko

    place = (target.host, target.port)
    try:
        if below is not None:
            return below.transport.open_channel("direct-tcpip", place, ("", 0), timeout=options.connect_timeout)
        return socket.create_connection(place, timeout=options.connect_timeout)
    except (OSError, paramiko.SSHException) as error:
        raise Unreachable(node, f"{target.host}:{target.port}: {error}") from error


def _look(node: str, target: Any, sock: Any) -> Seen:
    import paramiko

    from playbook_plugins.transports.ssh import connection, hostkeys

    known = hostkeys.KnownHosts(target.known_hosts)
    name = hostkeys.place(target.host, target.port)
    transport = paramiko.Transport(sock)
    try:
        types = transport.get_security_options()
        wanted = known.types(name)
        # as the session does: a host is asked for a key of the kind that is known of it
        types.key_types = tuple(sorted(types.key_types, key=lambda t: connection.base_type(t) not in wanted))
        transport.start_client(timeout=15)
        key = transport.get_remote_server_key()
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise Unreachable(node, f"{name}: no SSH server answered: {str(error) or type(error).__name__}") from error
    finally:
        transport.close()
    verdict = known.known(name, key)
    state: State = "known" if verdict else "new" if verdict is None else "changed"
    detail = ""
    if state == "changed":
        detail = (
            f"the host key of {name} is not the one that was enrolled, and is not accepted: somebody may be in between. "
            f"If the host was set up anew, remove its lines (ssh-keygen -R '{name}' -f {known.files[0]}) and enroll again"
        )
    return Seen(node, name, state, key.get_name(), hostkeys.fingerprint(key), detail, str(known.files[0]), key)


def keep(new: Sequence[Seen]) -> None:
    """Write keys into the known_hosts files of their nodes. Raises PlaybookError if one cannot be written."""
    from playbook_plugins.transports.ssh import hostkeys

    for one in new:
        try:
            hostkeys.append(Path(one.file), one.host, one.key)
        except OSError as error:
            raise ConfigError([f"{one.file}: cannot be written: {error.strerror}"]) from error
