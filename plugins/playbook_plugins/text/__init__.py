"""YAML, TOML and env files as trees of values that know their places. A library: readers of others may use it too."""

from .documents import load_document
from .env import env_lines, read_env_file
from .interpolate import hide, interpolate, show, variables
from .places import is_dir, is_file, is_there, leads_out
from .tree import Document, Key, dotted

__all__ = [
    "Document",
    "Key",
    "dotted",
    "env_lines",
    "hide",
    "interpolate",
    "is_dir",
    "is_file",
    "is_there",
    "leads_out",
    "load_document",
    "read_env_file",
    "show",
    "variables",
]
