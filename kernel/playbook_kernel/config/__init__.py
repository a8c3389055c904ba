"""Text to objects: the only place where that happens. Knows no key of any user's file."""

from .convert import structure, structure_options
from .problems import Problem, Problems, Sources

__all__ = ["Problem", "Problems", "Sources", "structure", "structure_options"]
