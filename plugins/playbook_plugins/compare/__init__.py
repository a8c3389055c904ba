"""Runs against one another: what differs, by how much, and how sure that is."""
