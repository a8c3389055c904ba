"""Drivers of kind `transport`."""
