"""Drivers of kind `collector`."""
