"""Drivers of kind `probe`."""
