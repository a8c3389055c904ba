"""``plugins doctor``: what is wrong with the installed plugins. Those of others are imported in processes of their own."""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from attrs import frozen

from playbook_kernel.errors import PluginError
from playbook_kernel.loading import Loader, Offer, load_file, load_hooks
from playbook_kernel.loading.offers import normal, offers
from playbook_kernel.model import PluginPolicy
from playbook_kernel.scope import run_all

from .common import check_required, echo_json, names_of, near
from .installed import ALL_KINDS, Installed
from .slips import slips

SLOW = 0.5
"""Seconds from which on an import is told: every run pays for it, a hook plugin's in every process."""


@frozen
class Finding:
    """Something that the user should know of. ``error``: the plugin cannot be used as things are."""

    plugin: str
    message: str
    hint: str = ""
    error: bool = True


def report(there: Installed, *, as_json: bool) -> bool:
    """Tell all findings; whether there is no error among them."""
    found = list(examine(there))
    count = sum(len(of_kind) for of_kind in there.by_kind.values()) + len(there.files)
    if as_json:
        echo_json({"plugins": count, "findings": found})
    else:
        for finding in sorted(found, key=lambda f: not f.error):
            click.echo(f"{'error' if finding.error else 'warning'}: {finding.plugin}: {near(finding.message)}")
            if finding.hint:
                click.echo(f"  {finding.hint}")
        click.echo(f"{count} plugins, {len(found) or 'no'} finding{'s' if len(found) != 1 else ''}")
    return not any(f.error for f in found)


def examine(there: Installed) -> Iterator[Finding]:
    """Look at everything; raises nothing for what plugins do."""
    yield from _policy(there)
    strangers: list[Offer] = []
    for kind in ALL_KINDS:
        usable = there.loader.offers(kind)
        rivals: dict[str, list[Offer]] = {}
        for offer in usable:
            state = there.state(offer, usable)
            if state == "its name is taken twice":
                rivals.setdefault(offer.name, []).append(offer)
            elif state != "ok" and not state.endswith("is preferred"):
                yield Finding(
                    _named(offer), state, "install a version of it, or of playbook-kernel, that fits the other"
                )
            elif state == "ok" and offer.built_in and kind != "command":
                if there.loader.load(offer) is None:
                    yield Finding(_named(offer), there.loader.quarantine[-1].reason)
            elif state == "ok" and not offer.built_in:
                strangers.append(offer)
        for name, group in rivals.items():
            pins = ", ".join(f'"{kind}:{name}": "{o.distribution}"' for o in group)
            offered = " and ".join(f"{o.distribution} {o.version}" for o in group)
            yield Finding(f"{kind}:{name}", f"is offered by {offered}", f"pin one: plugins: {{prefer: {{{pins}}}}}")
    seconds = there.policy.import_timeout
    calls = [functools.partial(_child, o.kind, o.name, o.distribution, seconds) for o in strangers]
    calls += [functools.partial(_child, "file", file, "", seconds) for file in there.files]
    names = [*map(_named, strangers), *(near(f) for f in there.files)]
    for name, said in zip(names, run_all(calls, limit=os.cpu_count()), strict=True):
        if isinstance(said, BaseException):
            raise said
        yield from _heard(name, *said)


def _named(offer: Offer) -> str:
    return f"{offer.kind}:{offer.name} of {offer.distribution} {offer.version}"


def _policy(there: Installed) -> Iterator[Finding]:
    policy, every = there.policy, [o for kind in ALL_KINDS for o in there.by_kind[kind]]
    known = {w for o in every for w in (normal(o.name), f"{o.kind}:{o.name}", o.distribution)}
    files = {name for file in there.files_out for name in names_of(file)}
    for name in policy.disable:
        if name not in files and (name if ":" in name else normal(name)) not in known:
            yield Finding("plugins.disable", f"{name!r} is nothing that is installed", error=False)
    for name, pin in policy.prefer.items():
        kind, _, short = name.rpartition(":")
        if not any(o.name == short and kind in ("", o.kind) and o.distribution == normal(pin) for o in every):
            yield Finding("plugins.prefer", f"{pin!r} does not offer {name!r}")
    try:
        check_required(Loader(PluginPolicy(require=policy.require)))
    except PluginError as error:
        yield Finding("plugins.require", str(error).removeprefix("required plugins: "))


def _heard(name: str, seconds: float, reason: str) -> Iterator[Finding]:
    if reason:
        yield Finding(name, reason)
    elif seconds > SLOW:
        hint = "let it import what is slow within the functions that need it: `python -X importtime` shows what is"
        yield Finding(name, f"takes {seconds:.1f} s to import", hint, error=False)


def _child(kind: str, name: str, distribution: str, seconds: float) -> tuple[float, str]:
    """Import one in a process of its own: how long it took, and why it cannot be used."""
    argv = [sys.executable, "-m", "playbook_kernel.cli.doctor", kind, name, distribution]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return seconds, f"its import does not end within {seconds:g} s"
    try:
        said = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        tail = done.stderr.strip().splitlines()[-1:] or ["without a word"]
        return 0.0, f"its import ends the process with status {done.returncode}: {tail[0]}"
    return float(said[0]), str(said[1])


def _import(kind: str, name: str, distribution: str) -> str:
    """Why it cannot be used; empty: it can."""
    # on this thread, whose time is measured: the parent ends the process
    alone_here = PluginPolicy(import_timeout=math.inf)
    if kind == "file":
        strangers = tuple(f"hooks:{o.name}" for o in offers("hooks"))
        try:
            load_hooks(Loader(alone_here, strangers, (name,)))
        except Exception as error:  # noqa: BLE001 - told as it is
            return str(error).removeprefix(f"plugin {name} cannot be registered: ")
        return "; ".join(slips(load_file(name, math.inf)))
    loader = Loader(alone_here)
    [offer] = [o for o in offers(kind) if (o.name, o.distribution) == (name, distribution)]
    loaded = loader.load(offer)
    if loaded is None:
        return loader.quarantine[0].reason
    if kind == "command" and not isinstance(loaded, click.Command):
        return f"{offer.target} is not a click command"
    if kind == "hooks":
        others = tuple(f"hooks:{o.name}" for o in offers("hooks") if o != offer)
        alone = Loader(alone_here, others)
        load_hooks(alone)
        if alone.quarantine:
            return alone.quarantine[0].reason
    return "; ".join(slips(loaded))


def _queued() -> float:
    """Seconds that this process has waited for a processor: others' work, not the plugin's; 0 where nobody counts them."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, LookupError, ValueError):
        return 0.0


def main(argv: Sequence[str]) -> None:
    """Import one plugin and say how long it took and what is wrong, as one line of JSON."""
    import playbook_kernel.api  # noqa: F401 - its time is not the plugin's

    keep, sys.stdout = sys.stdout, sys.stderr  # a plugin that prints does not spoil the answer
    began = time.monotonic() - _queued()
    reason = _import(*argv)
    print(json.dumps([time.monotonic() - _queued() - began, reason]), file=keep, flush=True)
    os._exit(0)  # threads that a plugin started hold nothing up


if __name__ == "__main__":
    main(sys.argv[1:])
