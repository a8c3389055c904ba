"""``plugins``: what is installed, what each one is and does, what is wrong with it, and leaving one out for good."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click

from playbook_kernel.drivers import KINDS, Driver, Reader
from playbook_kernel.errors import ConfigError, DriverNotFound
from playbook_kernel.loading import HookManager, Loader, load_file, load_hooks
from playbook_kernel.loading.offers import normal
from playbook_kernel.model import DriverRef

from .common import READER, echo_json, json_option, names_of, near, sources, table
from .installed import ALL_KINDS, Installed, installed
from .main import Command


class _Group(Command, click.Group):
    """A group that is a command too."""

    command_class = Command


@click.group(cls=_Group, invoke_without_command=True)
@json_option
@click.pass_context
def plugins(ctx: click.Context, /, *, as_json: bool) -> None:
    """List what is installed, show one, find what is wrong, leave one out for good.

    \b
    Examples:  playbook-kernel plugins
               playbook-kernel plugins show benchmark:script
    """  # noqa: D301 - click wants the character
    if ctx.invoked_subcommand is None:
        _list(ctx.obj, None, as_json=as_json)


@plugins.command("list")
@click.option("--kind", type=click.Choice([*ALL_KINDS, "file"]), help="Only these. What a file offers: see `show`.")
@json_option
@click.pass_obj
def list_(obj: dict[str, Any], *, kind: str | None, as_json: bool) -> None:
    """List what is installed; nothing is imported."""
    _list(obj, kind, as_json=as_json)


def _list(obj: dict[str, Any], kind: str | None, *, as_json: bool) -> None:
    rows = [r for r in installed(obj).rows() if kind in (None, r["kind"])]
    if as_json:
        echo_json(rows)
    else:
        head = ["kind", "name", "distribution", "version", "target", "state"]
        table(head, [[r[h] for h in head] for r in rows])


@plugins.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(obj: dict[str, Any], *, name: str, as_json: bool) -> None:
    """Show the plugin NAME (or KIND:NAME): what it is for, its options, where it comes from, its hooks in call order."""
    there = installed(obj)
    about: dict[str, Any] = {"file": "", "doc": "", "options": [], "options_doc": "", "hooks": []}
    loaded: Any
    try:
        offer = there.find(name)
    except DriverNotFound:
        loaded = _file_called(there, name) or _made(there.loader, name)
        if loaded is None:
            raise
        about |= {"distribution": "", "version": "", "state": "ok"}
        if inspect.ismodule(loaded):
            about |= {"kind": "file", "name": Path(loaded.__file__ or name).name, "target": loaded.__name__}
            if not {loaded.__file__, loaded.__name__} & {*there.files}:
                about["state"] = "disabled"
        else:
            target = f"{loaded.__module__}:{loaded.__qualname__}"
            about |= {"kind": loaded.kind, "name": name.rpartition(":")[2], "target": target}
    else:
        loaded = there.loader.load(offer)
        about |= {
            "kind": offer.kind, "name": offer.name, "distribution": offer.distribution, "version": offer.version,
            "target": offer.target, "state": there.state(offer, there.loader.offers(offer.kind)),
        }  # fmt: skip
    if loaded is None:
        [bad] = [q for q in there.loader.quarantine if q.offer == offer]
        about["state"] = bad.reason
    else:
        about["file"] = _file(loaded)
        about["doc"] = _doc(loaded)
    if isinstance(loaded, type) and issubclass(loaded, Driver):
        about["options"] = list(options_of(loaded.options_type))
        about["options_doc"] = _doc(loaded.options_type)
    elif about["kind"] in ("hooks", "file") and loaded is not None:
        about["hooks"] = hooks_of(load_hooks(there.loader), loaded)
    elif isinstance(loaded, click.Command):
        about["doc"] = loaded.help or ""
    if as_json:
        echo_json(about)
    else:
        _tell(about)
    if loaded is None:
        raise click.exceptions.Exit(3)


def _file_called(there: Installed, name: str) -> Any | None:
    """The single-file plugin that is called so: by its path, as `list` shows it, or by its file's name."""
    short = name.removeprefix("file:")
    found = [f for f in (*there.files, *there.files_out) if short in names_of(f)]
    return load_file(found[0]) if len(found) == 1 else None


def _made(loader: Loader, name: str) -> type[Driver[Any]] | None:
    """The driver of that name that a single file offers, or a plugin that makes it in code: its hooks are asked."""
    load_hooks(loader)
    wanted, _, short = name.rpartition(":")
    kinds = [k for k in KINDS if wanted in ("", k) and short in loader.names(k)]
    return loader.driver(kinds[0], short) if len(kinds) == 1 else None


def _tell(about: dict[str, Any]) -> None:
    of = f", of {about['distribution']} {about['version']}" if about["distribution"] else ""
    click.echo(f"{about['kind']}:{about['name']}{of}")
    click.echo(f"{about['target']}" + (f", {near(about['file'])}" if about["file"] else ""))
    if about["state"] != "ok":
        click.echo(f"not used: {about['state']}")
    if about["doc"]:
        click.echo(f"\n{about['doc']}")
    if about["options"]:
        click.echo(f"\nOptions. {about['options_doc']}\n")
        rows = [[o["name"], o["type"], "required" if o["required"] else o["default"]] for o in about["options"]]
        table(["option", "type", "default"], rows)
    for hook in about["hooks"]:
        order = " > ".join(f"[{p}]" if p == about["name"] else p for p in hook["order"])
        how = f", {hook['how']}" if hook["how"] else ""
        click.echo(f"\n{hook['name']}({', '.join(hook['arguments'])}){how}\n  called: {order}")


def _doc(thing: Any) -> str:
    return inspect.cleandoc(vars(thing).get("__doc__") or "") if hasattr(thing, "__dict__") else ""


def _file(thing: Any) -> str:
    try:
        file = inspect.getsourcefile(thing) or ""
        line = "" if inspect.ismodule(thing) else f":{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):
        return ""
    return f"{file}{line}"


def options_of(holder: type[Any]) -> Iterator[dict[str, Any]]:
    """Name, type and default of every option of a driver."""
    for a in attrs.fields(holder):
        required = a.default is attrs.NOTHING
        default: Any = a.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            default = "made anew" if default.takes_self else default.factory()
        shown = a.metadata.get("shown")  # type and default in words, where the class cannot say them
        kind = shown[0] if shown else a.type if isinstance(a.type, str) else inspect.formatannotation(a.type)
        kind = re.sub(r"(\w+\.)+(?=\w)", "", kind)
        said = None if required else shown[1] if shown else repr(default)
        yield {"name": a.name, "type": kind, "required": required, "default": said}


def hooks_of(manager: HookManager, plugin: object) -> list[dict[str, Any]]:
    """The hooks that a plugin takes part in, in the order of the lifecycle, each with all who take part, as called."""
    found = []
    lifecycle = list(vars(__import__("playbook_kernel.hookspecs", fromlist=["x"])))
    for caller in sorted(manager.get_hookcallers(plugin) or (), key=lambda c: lifecycle.index(c.name)):
        impls = list(reversed(caller.get_hookimpls()))
        mine = next(i for i in impls if i.plugin is plugin)
        how = "wraps" if mine.wrapper or mine.hookwrapper else "tryfirst" * mine.tryfirst or "trylast" * mine.trylast
        found.append(
            {"name": caller.name, "arguments": mine.argnames, "how": how, "order": [i.plugin_name for i in impls]}
        )
    return found


@plugins.command()
@json_option
@click.pass_obj
def doctor(obj: dict[str, Any], *, as_json: bool) -> None:
    """Import every plugin and say what is wrong: what cannot be used and why, conflicts, versions, slow imports.

    Those of others are imported in processes of their own, so one that hangs or ends its process does no harm.
    """
    from .doctor import report

    if not report(installed(obj), as_json=as_json):
        raise click.exceptions.Exit(3)


@plugins.command()
@click.argument("name")
@json_option
@click.pass_obj
def disable(obj: dict[str, Any], *, name: str, as_json: bool) -> None:
    """Leave the plugin NAME (or KIND:NAME, a distribution, a FILE.py) out of every run, in the defaults file."""
    there = installed(obj)
    distributions = {o.distribution for k in ALL_KINDS for o in there.by_kind[k]}
    if normal(name) not in distributions and not any(name in names_of(f) for f in there.files):
        there.find(name)
    _write(obj, name, disabled=True, as_json=as_json)


@plugins.command()
@click.argument("name")
@json_option
@click.pass_obj
def enable(obj: dict[str, Any], *, name: str, as_json: bool) -> None:
    """Use the plugin NAME again."""
    there = installed(obj)
    same = next((names_of(f) for f in there.files_out if name in names_of(f)), {name})
    name = next((n for n in there.policy.disable if n in same), name)
    if name not in there.policy.disable:
        listed = ", ".join(there.policy.disable) or "nothing"
        raise ConfigError([f"{name!r} is not disabled"], hint=f"the defaults file disables {listed}")
    _write(obj, name, disabled=False, as_json=as_json)


def _write(obj: dict[str, Any], name: str, *, disabled: bool, as_json: bool) -> None:
    reader = Loader(blocked=tuple(obj.get("no_plugin", ()))).build(Reader, DriverRef(READER))
    file = reader.disable(sources(obj), name, disabled=disabled)
    if as_json:
        echo_json({"name": name, "disabled": disabled, "file": str(file)})
    else:
        click.echo(f"plugin {name} is {'disabled' if disabled else 'enabled'} now, in {near(str(file))}")
