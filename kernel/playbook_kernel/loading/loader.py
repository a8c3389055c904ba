"""Load drivers and hook plugins by name; one that cannot be loaded is quarantined and hurts only who names it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs
from attrs import define, field
from stevedore.named import NamedExtensionManager

from playbook_kernel.config import Problems, structure_options
from playbook_kernel.drivers import KINDS, Driver
from playbook_kernel.errors import DriverConflict, DriverNotFound, PluginError
from playbook_kernel.model import DriverRef, PluginPolicy

from .offers import Discover, Offer, Quarantined, normal, offers, unfit

D = TypeVar("D", bound=Driver[Any])
BUILT_INS_ONLY = "PLAYBOOK_NO_PLUGINS"


class _Named(NamedExtensionManager[Any]):
    """stevedore's loading by name, over a list of our own."""

    def __init__(self, offer: Offer, **kwargs: Any) -> None:
        self._points = [offer.entry_point]
        super().__init__(offer.kind, [offer.name], **kwargs)

    def list_entry_points(self) -> list[EntryPoint]:
        return self._points


@define(eq=False)
class Loader:
    """Every plugin of this Python, by kind and name.

    ``files``: single-file plugins (``--plugin``), a path or a module name each. ``blocked``: ``--no-plugin``, on top of
    the policy's ``disable``.
    """

    policy: PluginPolicy = field(factory=PluginPolicy)
    blocked: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    discover: Discover = entry_points
    quarantine: list[Quarantined] = field(factory=list)
    _offers: dict[str, list[Offer]] = field(factory=dict, init=False)
    _loaded: dict[Offer, Any] = field(factory=dict)
    _made: dict[tuple[str, str], type[Driver[Any]]] = field(factory=dict)

    def offers(self, kind: str) -> list[Offer]:
        """What may be used of a kind; imports nothing."""
        if (
            kind not in self._offers
        ):  # looking at all that is installed takes milliseconds, and plans ask a thousand times
            names = {normal(n) if ":" not in n else n for n in (*self.blocked, *self.policy.disable)}
            built_ins_only = os.environ.get(BUILT_INS_ONLY, "") not in ("", "0")
            self._offers[kind] = [
                offer
                for offer in offers(kind, self.discover)
                if not names & {normal(offer.name), f"{kind}:{offer.name}", offer.distribution}
                and (offer.built_in or not built_ins_only)
            ]
        return self._offers[kind]

    def names(self, kind: str) -> list[str]:
        """What a scenario may write as the name of a driver of this kind."""
        return sorted({o.name for o in self.offers(kind)} | {n for k, n in self._made if k == kind})

    def add(self, name: str, driver: type[Driver[Any]]) -> None:
        """Offer a driver class that was made in code; see ``playbook_register``."""
        key = (driver.kind, name)
        if (there := self._made.get(key)) not in (None, driver) or any(
            o.name == name for o in self.offers(driver.kind)
        ):
            raise DriverConflict(f"{driver.kind} {name!r} is already offered" + (f" by {there}" if there else ""))
        self._made[key] = driver

    def driver(self, kind: str, name: str) -> type[Driver[Any]]:
        """Import one driver class by name. Raises DriverNotFound or DriverConflict."""
        if (kind, name) in self._made:
            return self._made[kind, name]
        candidates = [o for o in self.offers(kind) if o.name == name]
        if pinned := self.policy.prefer.get(f"{kind}:{name}") or self.policy.prefer.get(name):
            candidates = [o for o in candidates if o.distribution == normal(pinned)]
        if not candidates:
            raise DriverNotFound(
                f"no {kind} is called {name!r}; installed: {', '.join(self.names(kind)) or 'none'}",
                hint="`playbook-kernel plugins` lists what is installed and what is quarantined",
            )
        if len(candidates) > 1:
            raise DriverConflict(
                f"{kind} {name!r} is offered twice: " + "; ".join(map(str, candidates)),
                hint=f'pin one in the defaults file: plugins: {{prefer: {{"{kind}:{name}": '
                f'"{candidates[0].distribution}"}}}}',
            )
        [offer] = candidates
        loaded = self.load(offer)
        if loaded is None:
            raise DriverNotFound(f"{offer} cannot be used: {self._why(offer)}")
        return cast("type[Driver[Any]]", loaded)

    def build(self, kind: Callable[[Any], D], ref: DriverRef) -> D:
        """Make a driver with its options. Raises DriverNotFound, DriverConflict or ConfigError.

        ``kind`` is a class; its annotation says otherwise because mypy takes no abstract class for a ``type[D]``.
        """
        name = cast("type[D]", kind).kind
        cls = self.driver(name, ref.use)
        problems = Problems()
        options = structure_options(cls.options_type, ref.options, ref.origin or f"{name} {ref.use}", problems)
        problems.raise_if_any()
        return cast("D", cls(options))

    def load(self, offer: Offer) -> Any | None:
        """Import one offer, once; None: it is in quarantine now."""
        if offer in self._loaded:
            return self._loaded[offer]
        if any(q.offer == offer for q in self.quarantine):
            return None
        if reason := unfit(offer):
            self.quarantine.append(Quarantined(offer, reason))
            return None
        failures: list[BaseException] = []
        try:
            manager = _Named(
                offer,
                on_load_failure_callback=lambda _, __, error: failures.append(error),
                on_missing_entrypoints_callback=None,
            )
        except (AssertionError, SystemExit) as error:  # stevedore lets these two through
            failures.append(error)
        if failures:
            self.quarantine.append(_post_mortem(offer, failures[0]))
            return None
        [extension] = manager
        plugin = extension.plugin
        if reason := _wrong_type(offer, plugin):
            self.quarantine.append(Quarantined(offer, reason))
            return None
        self._loaded[offer] = plugin
        return plugin

    def hook_plugins(self) -> dict[str, Any]:
        """Import every hook plugin that may be used; those that fail are quarantined, as are names taken twice."""
        by_name: defaultdict[str, list[Offer]] = defaultdict(list)
        for offer in self.offers("hooks"):
            pinned = self.policy.prefer.get(f"hooks:{offer.name}")
            if pinned is None or offer.distribution == normal(pinned):
                by_name[offer.name].append(offer)
        found: dict[str, Any] = {}
        for name, candidates in by_name.items():
            if len(candidates) > 1:
                self.quarantine += [Quarantined(o, "its name is taken twice") for o in candidates]
            elif (plugin := self.load(candidates[0])) is not None:
                found[name] = plugin
        for file in self.files:
            found[file] = load_file(file)
        return found

    def check_required(self) -> None:
        """Raise PluginError unless everything of ``plugins.require`` is installed and loadable."""
        from importlib.metadata import PackageNotFoundError, version

        from packaging.requirements import InvalidRequirement, Requirement

        bad = []
        for text in self.policy.require:
            try:
                wanted = Requirement(text)
                have = version(wanted.name)
            except InvalidRequirement:
                bad.append(f"{text!r} is not a requirement such as 'name>=1'")
            except PackageNotFoundError:
                bad.append(f"{text} is not installed")
            else:
                if not wanted.specifier.contains(have, prereleases=True):
                    bad.append(f"{text} is required, {have} is installed")
                bad += [
                    f"{q.offer}: {q.reason}" for q in self.quarantine if q.offer.distribution == normal(wanted.name)
                ]
        if bad:
            raise PluginError("required plugins: " + "; ".join(bad), hint="see plugins.require in the defaults file")

    def _why(self, offer: Offer) -> str:
        return next(q.reason for q in self.quarantine if q.offer == offer)


def load_file(file: str) -> Any:
    """Import a single-file plugin by path (``./my_bench.py``) or by module name. Raises PluginError."""
    try:
        if not file.endswith(".py"):
            return importlib.import_module(file)
        path = Path(file).resolve()
        name = f"playbook_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise PluginError(f"{file} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"plugin {file} cannot be loaded: {_reason(error)}") from error
    return module


def drivers_of(plugin: Any) -> Mapping[str, type[Driver[Any]]]:
    """The driver classes that a single-file plugin defines, by their ``name`` attribute, else their class name."""
    own = [
        value
        for value in vars(plugin).values()
        if isinstance(value, type)
        and issubclass(value, Driver)
        and value.__module__ == plugin.__name__
        and not getattr(value, "__abstractmethods__", None)
    ]
    return {getattr(cls, "name", cls.__name__): cls for cls in own}


def _wrong_type(offer: Offer, plugin: Any) -> str:
    base = KINDS.get(offer.kind)
    if base is None:
        return ""
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        return f"{offer.target} is not a subclass of {base.__name__}"
    if missing := sorted(getattr(plugin, "__abstractmethods__", ())):
        return f"{offer.target} lacks {', '.join(missing)}"
    if not attrs.has(plugin.options_type):
        return f"{offer.target}: its options are not an attrs class"
    return ""


def _reason(error: BaseException) -> str:
    frames: Sequence[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" at {frames[0].filename}:{frames[0].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _post_mortem(offer: Offer, error: BaseException) -> Quarantined:
    return Quarantined(offer, _reason(error), "".join(traceback.format_exception(error)))
