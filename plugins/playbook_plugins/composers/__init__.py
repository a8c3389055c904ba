"""Drivers of kind `composer`."""
