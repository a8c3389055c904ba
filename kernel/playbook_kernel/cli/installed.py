"""What is installed, and whether it is used; nothing is imported."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from attrs import field, frozen

from playbook_kernel.config import Problems
from playbook_kernel.drivers import KINDS, Reader
from playbook_kernel.errors import DriverNotFound, PluginError
from playbook_kernel.loading import BUILT_INS_ONLY, Loader, Offer
from playbook_kernel.loading.offers import normal, offers, unfit
from playbook_kernel.model import DriverRef, PluginPolicy

from .common import READER, every_file, files_of, near, sources, warn

ALL_KINDS = ("hooks", *KINDS, "command")


@frozen
class Installed:
    """What the installed distributions offer, looked at once, and what the user's files say about it."""

    policy: PluginPolicy
    blocked: tuple[str, ...]
    files: tuple[str, ...]
    files_out: tuple[str, ...]
    by_kind: dict[str, list[Offer]] = field(repr=False)
    loader: Loader

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row an offer, in order of kind and name; nothing is imported."""
        for kind in ALL_KINDS:
            usable = self.loader.offers(kind)
            for offer in self.by_kind[kind]:
                yield {
                    "kind": kind, "name": offer.name, "distribution": offer.distribution, "version": offer.version,
                    "target": offer.target, "state": self.state(offer, usable),
                }  # fmt: skip
        for file in (*self.files, *self.files_out):
            yield {
                "kind": "file", "name": near(file), "distribution": "", "version": "", "target": file,
                "state": "ok" if file in self.files else "disabled",
            }  # fmt: skip

    def state(self, offer: Offer, usable: list[Offer]) -> str:
        """``ok``, or why it is not used."""
        if offer not in usable:
            return "disabled" if self._is_named(offer) else f"left out by {BUILT_INS_ONLY}"
        if reason := unfit(offer):
            return reason
        rivals = [o for o in usable if o.name == offer.name]
        pin = self.policy.prefer.get(f"{offer.kind}:{offer.name}") or self.policy.prefer.get(offer.name)
        if len(rivals) > 1 and pin is None:
            return "its name is taken twice"
        return "ok" if pin is None or normal(pin) == offer.distribution else f"{pin} is preferred"

    def _is_named(self, offer: Offer) -> bool:
        names = {normal(n) if ":" not in n else n for n in (*self.blocked, *self.policy.disable)}
        return bool(names & {normal(offer.name), f"{offer.kind}:{offer.name}", offer.distribution})

    def find(self, name: str) -> Offer:
        """The offer that a ``name`` or ``kind:name`` means, if it can mean only one. Raises PluginError."""
        kind, _, short = name.rpartition(":")
        every = [o for k in ALL_KINDS for o in self.by_kind[k]]
        found = [o for o in every if o.name == short and kind in ("", o.kind)]
        if not found and ":" in name:  # names of commands hold colons
            found = [o for o in every if o.name == name]
        if len({(o.kind, o.name) for o in found}) > 1:
            raise PluginError(
                f"{name!r} means several", hint=f"say one of {', '.join(f'{o.kind}:{o.name}' for o in found)}"
            )
        usable = [o for o in found if o in self.loader.offers(o.kind)]
        if len(usable) > 1:
            pinned = [o for o in usable if self.state(o, usable) == "ok"]
            if len(pinned) != 1:
                raise PluginError(f"{name!r} is offered twice: " + "; ".join(map(str, usable)))
            usable = pinned
        if not found:
            close = difflib.get_close_matches(short, {o.name for o in every}, n=1)
            raise DriverNotFound(f"no plugin is called {name!r}", hint=f"did you mean {close[0]!r}?" if close else None)
        return (usable or found)[0]


def installed(options: dict[str, Any]) -> Installed:
    """Look at what is installed; problems of the user's files are left to ``validate``."""
    from importlib.metadata import entry_points

    points = entry_points()

    def discover(*, group: str) -> Any:
        return points.select(group=group)

    blocked = tuple(options.get("no_plugin", ()))
    reader = Loader(blocked=blocked, discover=discover).build(Reader, DriverRef(READER))
    problems = Problems()
    policy = reader.plugins(sources(options), problems)
    if problems.items:
        warn([*problems.items, "what the defaults file says of plugins may be incomplete"])
    files = files_of(policy, options)
    out = tuple(f for f in every_file(policy, options) if f not in files)
    by_kind = {kind: offers(kind, discover) for kind in ALL_KINDS}
    return Installed(policy, blocked, files, out, by_kind, Loader(policy, blocked, files, discover))
