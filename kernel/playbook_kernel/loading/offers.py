"""What is installed: entry points, by kind and name, with nothing imported."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, EntryPoint, entry_points

from attrs import field, frozen

from playbook_kernel import __version__

DISTRIBUTION = "playbook-kernel"
GROUP = "playbook_kernel."

_REQUIREMENT = re.compile(r"\s*([\w.-]*)\s*(?:\[[^]]*\])?\s*\(?([^;()]*)")

Discover = Callable[..., Iterable[EntryPoint]]


@frozen
class Offer:
    """An entry point somebody installed, not loaded yet."""

    kind: str
    name: str
    target: str
    distribution: str
    version: str
    requires: tuple[str, ...] = field(repr=False, eq=False)
    entry_point: EntryPoint = field(repr=False, eq=False)

    @property
    def built_in(self) -> bool:
        """Whether it comes with playbook-kernel itself."""
        return self.distribution == DISTRIBUTION

    def __str__(self) -> str:
        return f"{self.kind}:{self.name} from {self.distribution} {self.version} ({self.target})"


@frozen
class Quarantined:
    """An offer that could not be used, and why."""

    offer: Offer
    reason: str


def offers(kind: str, discover: Discover = entry_points) -> list[Offer]:
    """Every offer of a kind, sorted by name and distribution.

    importlib.metadata is asked rather than stevedore's cache, which drops the distribution and misses an entry point
    that was added within two minutes of the last one.
    """
    return sorted(
        # a set, for one distribution may be found on two paths
        {Offer(kind, p.name, p.value, *_described(p.dist), p) for p in discover(group=GROUP + kind)},
        key=lambda o: (o.name, o.distribution),
    )


@functools.lru_cache(maxsize=4096)  # each look parses the distribution's metadata anew
def _described(dist: Distribution | None) -> tuple[str, str, tuple[str, ...]]:
    about = dist and dist.metadata
    return (normal(about["Name"]), about["Version"], tuple(dist.requires or ())) if dist and about else ("?", "?", ())


@functools.cache
def normal(name: str) -> str:
    """A distribution's name as the index spells it."""
    return name.replace("_", "-").replace(".", "-").lower()


def unfit(offer: Offer) -> str:
    """Why this kernel is not one that the plugin's own requirements allow; empty if it is."""
    if offer.built_in:
        return ""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # a fourth of what packaging.requirements imports

    for text in offer.requires:
        name, versions = _REQUIREMENT.findall(text)[0]
        try:
            if normal(name) == DISTRIBUTION and not SpecifierSet(versions).contains(__version__, prereleases=True):
                return f"it wants {text}, this is {__version__}"
        except InvalidSpecifier:
            continue  # an address, or something to its authors alone
    return ""
