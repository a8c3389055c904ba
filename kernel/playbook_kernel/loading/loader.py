"""Load drivers and hook plugins by name; one that cannot be loaded is quarantined and hurts only who names it."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import importlib.util
import math
import os
import sys
import threading
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs
from attrs import define, field, frozen
from stevedore.named import NamedExtensionManager

from playbook_kernel.config import Problem
from playbook_kernel.drivers import KINDS, Driver
from playbook_kernel.errors import ConfigError, DriverConflict, DriverNotFound, PluginError, PluginTimeout, words
from playbook_kernel.model import DriverRef, PluginPolicy
from playbook_kernel.scope import fulfil
from playbook_kernel.structuring import instead, structure

from .blame import signed, watched
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
    discover: Discover = field(factory=lambda: entry_points().select)  # reading takes as long for one kind as for all
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
                f"no {kind} is called {name!r}; {instead(name, self.names(kind), 'installed')}",
                hint="`playbook-kernel plugins` lists what is installed, `... plugins doctor` says what is wrong with it",
            )
        if len(candidates) > 1:
            raise DriverConflict(
                f"{kind} {name!r} is offered twice: " + "; ".join(map(str, candidates)),
                hint=f'pin one in the defaults file: plugins: {{prefer: {{"{kind}:{name}": '
                f'"{candidates[0].distribution}"}}}}',
            )
        loaded = self.load(offer := candidates[0])
        if loaded is None:
            why = next(q.reason for q in self.quarantine if q.offer == offer)
            raise DriverNotFound(f"{offer} cannot be used: {why}")
        return cast("type[Driver[Any]]", loaded)

    def build(self, kind: Callable[[Any], D], ref: DriverRef) -> D:
        """Make a driver with its options. Raises ConfigError, or PluginError when there is none or it cannot be made.

        ``kind`` is a class; its annotation says otherwise because mypy takes no abstract class for a ``type[D]``.
        """
        name = cast("type[D]", kind).kind
        cls = self.driver(name, ref.use)
        options, wrong = structure(ref.options, cls.options_type)
        if wrong:
            origin = ref.origin or f"{name} {ref.use}"
            raise ConfigError([Problem(origin, 0, path, message) for path, message in wrong])
        try:
            return watched(cast("D", cls(options)), ref.use)
        except Exception as error:
            told = PluginError(f"{name} {ref.use!r} cannot be made: {words(error)}")
            raise signed(told, f"{name}:{ref.use}") from error

    def load(self, offer: Offer) -> Any | None:
        """Import one offer, once; None: it is in quarantine now."""
        if offer in self._loaded:
            return self._loaded[offer]
        if any(q.offer == offer for q in self.quarantine):
            return None
        if reason := unfit(offer):
            self.quarantine.append(Quarantined(offer, reason))
            return None
        try:
            plugin = (
                _import(offer)
                if offer.built_in or self.policy.import_timeout == math.inf
                else _in_time(lambda: _import(offer), self.policy.import_timeout)
            )
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an import raises is the plugin's fault
            self.quarantine.append(Quarantined(offer, _reason(error)))
            return None
        if reason := _wrong_type(offer, plugin):
            self.quarantine.append(Quarantined(offer, reason))
            return None
        self._loaded[offer] = plugin
        return plugin

    def hook_offers(self) -> list[Offer]:
        """Hook plugins that may be used, without those of a name that is pinned to another distribution."""
        return [
            offer
            for offer in self.offers("hooks")
            if offer.distribution == normal(self.policy.prefer.get(f"hooks:{offer.name}", offer.distribution))
        ]

    def hook_plugins(self) -> dict[str, Any]:
        """Import every hook plugin that may be used; those that fail are quarantined, as are names taken twice."""
        by_name: defaultdict[str, list[Offer]] = defaultdict(list)
        for offer in self.hook_offers():
            by_name[offer.name].append(offer)
        found: dict[str, Any] = {}
        for name, candidates in by_name.items():
            if len(candidates) > 1:
                self.quarantine += [Quarantined(o, "its name is taken twice") for o in candidates]
            elif (plugin := self.load(candidates[0])) is not None:
                found[name] = plugin
        for file in self.files:
            found[file] = load_file(file, self.policy.import_timeout)
        return found


@frozen
class PluginSettings:
    """How plugins are loaded: in the parent, and again in each child."""

    policy: PluginPolicy = field(factory=PluginPolicy)
    blocked: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def loader(self) -> Loader:
        """A loader of these settings."""
        return Loader(self.policy, self.blocked, self.files)


def load_file(file: str, seconds: float = PluginPolicy().import_timeout) -> Any:
    """Import a single-file plugin by path (``./my_bench.py``) or by module name. Raises PluginError."""
    try:
        return _module(file) if seconds == math.inf else _in_time(functools.partial(_module, file), seconds)
    except (Exception, SystemExit) as error:
        raise PluginError(f"plugin {file} cannot be loaded: {_reason(error)}") from error


def _module(file: str) -> Any:
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
    return module


def _import(offer: Offer) -> Any:
    def fail(_: object, __: object, error: BaseException) -> None:
        raise error

    [extension] = _Named(offer, on_load_failure_callback=fail, on_missing_entrypoints_callback=None)
    return extension.plugin


def _in_time(load: Callable[[], Any], seconds: float) -> Any:
    """Import on a thread of its own. Raises PluginTimeout when that takes too long, and ends the thread.

    That ends at its next step in Python: a loop at once, a wait when it is over, code in C when it comes back. Where the
    interpreter's own importing is at work it may go on, for it would leave locks behind that everybody needs.
    """
    future: Future[Any] = Future()
    thread = threading.Thread(target=fulfil, args=(future, load), daemon=True, name="import")
    thread.start()
    if wait([future], seconds).done:
        return future.result()
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - how else
    if frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
    raise PluginTimeout(f"its import does not end within {seconds:g} s{_where(traceback.extract_stack(frame))}")


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
    return (  # its own words end with the name of the file, without the folder
        f"{type(error).__name__}: {error.msg} at {error.filename}:{error.lineno}"
        if isinstance(error, SyntaxError) and error.filename
        else f"{type(error).__name__}: {error}{_where(traceback.extract_tb(error.__traceback__))}"
    )


def _where(stack: Sequence[traceback.FrameSummary]) -> str:
    """The line of the module that is imported: what is called from there may be anybody's."""
    return "".join([f" at {frame.filename}:{frame.lineno}" for frame in stack if frame.name == "<module>"][-1:])
