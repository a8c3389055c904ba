"""``plugins``: what is installed, what is quarantined, and why."""

from __future__ import annotations

from typing import Any

import click

from playbook_kernel.drivers import KINDS
from playbook_kernel.loading import Loader

from .common import echo_json, json_option, table
from .main import Command


@click.command(cls=Command)
@click.option("--load", is_flag=True, help="Import every one of them, to see which fail.")
@json_option
@click.pass_obj
def plugins(obj: dict[str, Any], *, load: bool, as_json: bool) -> None:
    """List what is installed, and with --load what is quarantined and why."""
    loader = Loader(blocked=tuple(obj.get("no_plugin", ())))
    rows = []
    for kind in ("hooks", *KINDS, "command"):
        offers = loader.offers(kind)
        for offer in offers:
            twice = sum(o.name == offer.name for o in offers) > 1
            if load and not twice:
                loader.load(offer)
            bad = next((q.reason for q in loader.quarantine if q.offer == offer), "")
            state = "its name is taken twice" if twice else bad or "ok"
            rows.append(
                {
                    "kind": kind, "name": offer.name, "distribution": offer.distribution, "version": offer.version,
                    "target": offer.target, "state": state,
                }
            )  # fmt: skip
    if as_json:
        echo_json(rows)
    else:
        head = ["kind", "name", "distribution", "version", "target", "state"]
        table(head, [[r[h] for h in head] for r in rows])
    if load and any(r["state"] != "ok" for r in rows):
        raise click.exceptions.Exit(3)
