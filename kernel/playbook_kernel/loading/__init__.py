"""Find, load and call plugins: stevedore loads by name, pluggy calls, and every error knows its plugin."""

from .blame import called, origin, signed
from .loader import BUILT_INS_ONLY, Loader, PluginSettings, load_file
from .manager import HookManager, load_hooks
from .offers import DISTRIBUTION, GROUP, Offer, Quarantined

__all__ = [
    "BUILT_INS_ONLY",
    "DISTRIBUTION",
    "GROUP",
    "HookManager",
    "Loader",
    "Offer",
    "PluginSettings",
    "Quarantined",
    "called",
    "load_file",
    "load_hooks",
    "origin",
    "signed",
]
