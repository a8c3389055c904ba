"""Bringing a scenario's services up in order, watching them, and taking them down again; composers do the work."""

from .choose import composer_for, discover, share_for
from .deploy import deploy
from .readiness import healthcheck, still_there
from .teardown import cleanup

__all__ = ["cleanup", "composer_for", "deploy", "discover", "healthcheck", "share_for", "still_there"]
