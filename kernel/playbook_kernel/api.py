"""All that a plugin may import. What is not here is private and may change in any release."""

from attrs import field, frozen

from .context import CampaignContext, Effect, Effects, Sessions, TrialContext
from .drivers import (
    KINDS,
    Benchmark,
    Collector,
    Completed,
    Composer,
    Driver,
    NoOptions,
    Probe,
    Process,
    Reader,
    Reporter,
    Session,
    Share,
    State,
    Target,
    Transport,
)
from .errors import (
    AuthenticationFailed,
    Cancelled,
    CommandFailed,
    CommandTimeout,
    ConfigError,
    HostKeyRejected,
    MissingTool,
    NodeError,
    OutcomeUnknown,
    PhaseFailed,
    PhaseTimeout,
    PlaybookError,
    PluginError,
    ServiceFailed,
    TransferFailed,
    Unreachable,
)
from .hookspecs import Registry, hookimpl
from .model import *  # noqa: F403 - the model is public as a whole; model.__all__ is the list
from .model import __all__ as _model
from .redaction import Secret, is_secret_name, redact, redacted
from .scope import Cancel, Deadline, Scope, current, replaced, run_all, within

__all__ = sorted(  # noqa: PLE0605
    [
        *_model,
        "KINDS", "AuthenticationFailed", "Benchmark", "CampaignContext", "Cancel", "Cancelled", "Collector",
        "CommandFailed", "CommandTimeout", "Completed", "Composer", "ConfigError", "Deadline", "Driver", "Effect",
        "Effects", "HostKeyRejected", "MissingTool", "NoOptions", "NodeError", "OutcomeUnknown", "PhaseFailed",
        "PhaseTimeout", "PlaybookError", "PluginError", "Probe", "Process", "Reader", "Registry", "Reporter", "Scope",
        "Secret", "ServiceFailed", "Session", "Sessions", "Share", "State", "Target", "TransferFailed", "Transport",
        "TrialContext", "Unreachable", "current", "field", "frozen", "hookimpl", "is_secret_name", "redact", "redacted",
        "replaced", "run_all", "within",
    ]
)  # fmt: skip
