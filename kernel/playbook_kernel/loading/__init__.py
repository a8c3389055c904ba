"""Find, load and call plugins: stevedore loads by name, pluggy calls, and every error knows its plugin."""

from .loader import BUILT_INS_ONLY, Loader, load_file
from .manager import HookManager, load_hooks, origin, signed, suspect
from .offers import DISTRIBUTION, GROUP, Offer, Quarantined

__all__ = [
    "BUILT_INS_ONLY",
    "DISTRIBUTION",
    "GROUP",
    "HookManager",
    "Loader",
    "Offer",
    "Quarantined",
    "load_file",
    "load_hooks",
    "origin",
    "signed",
    "suspect",
]
