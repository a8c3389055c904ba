"""The earlier tool's results: its folders, files and keys, beside ours."""

from .reporter import ClassicReporter

__all__ = ["ClassicReporter"]
