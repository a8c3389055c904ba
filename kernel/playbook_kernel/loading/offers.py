"""What is installed: entry points, by kind and name, with nothing imported."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points

from attrs import field, frozen

from playbook_kernel import __version__

DISTRIBUTION = "playbook-kernel"
GROUP = "playbook_kernel."

Discover = Callable[..., Iterable[EntryPoint]]


@frozen
class Offer:
    """An entry point somebody installed, not loaded yet."""

    kind: str
    name: str
    target: str
    distribution: str
    version: str
    entry_point: EntryPoint = field(repr=False, eq=False)

    @property
    def built_in(self) -> bool:
        """Whether it comes with playbook-kernel itself."""
        return self.distribution == DISTRIBUTION

    def __str__(self) -> str:
        return f"{self.kind}:{self.name} from {self.distribution} {self.version} ({self.target})"


@frozen
class Quarantined:
    """An offer that could not be used, and why; ``details`` is the traceback."""

    offer: Offer
    reason: str
    details: str = field(default="", repr=False)


def offers(kind: str, discover: Discover = entry_points) -> list[Offer]:
    """Every offer of a kind, sorted by name and distribution.

    importlib.metadata is asked rather than stevedore's cache, which drops the distribution and misses an entry point
    that was added within two minutes of the last one.
    """
    found = []
    for point in discover(group=GROUP + kind):
        dist = point.dist
        name, version = (normal(dist.name), dist.version) if dist else ("?", "?")
        found.append(Offer(kind, point.name, point.value, name, version, point))
    unique = {(o.name, o.distribution, o.target): o for o in found}  # one distribution may be found on two paths
    return sorted(unique.values(), key=lambda o: (o.name, o.distribution))


@functools.cache
def normal(name: str) -> str:
    """A distribution's name as the index spells it."""
    return name.replace("_", "-").replace(".", "-").lower()


def unfit(offer: Offer) -> str:
    """Why this kernel is not one that the plugin's own requirements allow; empty if it is."""
    dist = offer.entry_point.dist
    if dist is None or offer.built_in:
        return ""
    from packaging.requirements import InvalidRequirement, Requirement  # only third-party plugins pay for this

    for text in dist.requires or []:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue  # what a plugin says of other packages is not ours to judge
        if normal(wanted.name) == DISTRIBUTION and not wanted.specifier.contains(__version__, prereleases=True):
            return f"it wants {wanted}, this is {__version__}"
    return ""
