"""Drivers of kind `reporter`."""
