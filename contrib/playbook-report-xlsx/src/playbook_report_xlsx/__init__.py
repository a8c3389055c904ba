"""A campaign as a workbook."""

from .reporter import XlsxReporter

__all__ = ["XlsxReporter"]
