"""Drivers of kind `command`."""
