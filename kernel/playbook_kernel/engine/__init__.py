"""Runs campaigns: plan, campaign, the process of a trial and its parent, journal, store, recovery."""
