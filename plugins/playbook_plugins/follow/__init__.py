"""A run seen from outside of its process: its journal read as it grows, and turned into the events of the campaign."""

from .follower import Follower, Seen
from .life import Life, life

__all__ = ["Follower", "Life", "Seen", "life"]
