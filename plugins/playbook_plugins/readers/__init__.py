"""Drivers of kind `reader`."""
