"""What a service's retry policy means for one error."""

from __future__ import annotations

from playbook_kernel.api import RetryPolicy


def further(policy: RetryPolicy, error_class: str) -> int:
    """How many further tries an error of this class deserves."""
    return 0 if error_class in ("config", "plugin", "cancelled") else policy.attempts.get(error_class, policy.other)


def class_of(policy: RetryPolicy, error_class: str, message: str) -> str:
    """The class of an error: by the user's patterns, else as it was seen by whoever raised it."""
    lowered = message.lower()
    found = (c for c, texts in policy.patterns.items() if any(t.lower() in lowered for t in texts))
    return next(found, error_class)


def timeout(policy: RetryPolicy, error_class: str, otherwise: float) -> float:
    """How long the next try may take after an error of this class, in seconds; ``""``: nothing has failed yet."""
    if not error_class:
        return otherwise
    return policy.timeouts.get(error_class, policy.timeouts.get("other", otherwise))
