"""How long the kernel waits for whatever is not its own."""

from __future__ import annotations

from attrs import frozen


@frozen
class Patience:
    """How long the kernel waits for a trial's process, in seconds.

    ``grace``: for a call to come back by itself after its deadline or a cancellation, before it is left behind.
    ``silence``: without a word, until the process counts as gone; it says that it is alive every third of that.
    ``leave``: for the process to end by itself when all is said, before it is killed. ``watch``: for a plugin to take an
    event, ``report``: for it to write its reports, and ``claim``: to claim all nodes, before it is left out.
    """

    grace: float = 5.0
    silence: float = 30.0
    leave: float = 5.0
    watch: float = 10.0
    report: float = 600.0
    claim: float = 60.0
