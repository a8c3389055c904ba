"""AICP: a load generator that says how true its numbers are."""
