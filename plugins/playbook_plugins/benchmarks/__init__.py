"""Drivers of kind `benchmark`."""
