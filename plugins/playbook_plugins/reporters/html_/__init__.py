"""The report for people: one HTML file that needs nothing else."""

from .reporter import HtmlReporter

__all__ = ["HtmlReporter"]
