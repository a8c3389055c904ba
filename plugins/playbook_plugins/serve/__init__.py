"""Runs on a local web page: reports, files and the live state of what is at work. Nothing can be changed through it."""
