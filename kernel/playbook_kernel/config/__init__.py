"""Text to objects: the only place where that happens. Knows no key of any user's file."""

from .convert import structure, structure_options
from .documents import Document, Key, dotted, env_lines, load_document, read_env_file
from .interpolate import interpolate, variables
from .problems import Problem, Problems, Sources

__all__ = [
    "Document",
    "Key",
    "Problem",
    "Problems",
    "Sources",
    "dotted",
    "env_lines",
    "interpolate",
    "load_document",
    "read_env_file",
    "structure",
    "structure_options",
    "variables",
]
