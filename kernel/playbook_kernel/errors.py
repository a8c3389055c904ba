"""Every error the kernel raises on purpose.

* PlaybookError                 exit  error class
  x ConfigError                    2  config    files or flags are wrong; nothing was touched
  x PluginError                    3  plugin    a plugin cannot be found, loaded or used
    - DriverNotFound
    - DriverConflict
    - PluginTimeout                 timeout     a plugin held the kernel past its deadline
  x NodeError                      4  node      a node cannot be used
    - Unreachable                     network   no connection, or it was lost and nothing was sent
    - OutcomeUnknown                  network   the connection was lost while a command ran: it may have run
    - HostKeyRejected                 config
    - AuthenticationFailed            config
    - MissingTool                     node      a tool that the node must have is not there
    - NodeInUse                                 another campaign is at work on it
  x CommandFailed                  1  command   a command ended with a non-zero status
    - CommandTimeout                  timeout   it was killed because its deadline passed
  x TransferFailed                 1  node      a file did not arrive whole
  x PhaseFailed                    1  phase     a lifecycle phase did not succeed
    - ServiceFailed                   image, start, health, ...: says which service on which node
    - PhaseTimeout                    timeout
  x Cancelled                    130  cancelled somebody asked us to stop

``error_class`` is what retry policies and reports go by. Anything that is not a PlaybookError is a
bug of ours (exit 70) or of a plugin (the exception is signed with the plugin's name).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class PlaybookError(Exception):
    """Base class: shown to the user as one line plus an optional hint.

    ``error_class`` is one of ``config plugin node network image start health command timeout phase
    cancelled internal``.
    """

    exit_code: ClassVar[int] = 70
    error_class: str = "internal"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def words(error: BaseException) -> str:
    """An error in one sentence: those that are not ours say their type too."""
    return str(error) if isinstance(error, PlaybookError) else f"{type(error).__name__}: {error}"


class ConfigError(PlaybookError):
    """Files or flags are wrong; ``problems`` holds every one found, each as ``file:line: key: what``."""

    exit_code = 2
    error_class = "config"

    def __init__(self, problems: Sequence[object], *, hint: str | None = None) -> None:
        self.problems = tuple(str(p) for p in problems)
        super().__init__("\n".join(self.problems), hint=hint)


class PluginError(PlaybookError):
    """A plugin cannot be found, loaded or used."""

    exit_code = 3
    error_class = "plugin"


class DriverNotFound(PluginError):
    """No driver of that kind goes by that name, or the one that does is quarantined."""


class DriverConflict(PluginError):
    """Two distributions offer the same driver."""


class PluginTimeout(PluginError):
    """A plugin held the kernel past its deadline."""

    error_class = "timeout"


class NodeError(PlaybookError):
    """A node cannot be used; ``node`` is its name."""

    exit_code = 4
    error_class = "node"

    def __init__(self, node: str, message: str, *, hint: str | None = None) -> None:
        self.node = node
        super().__init__(f"{node}: {message}", hint=hint)


class Unreachable(NodeError):
    """No connection to the node, or it was lost before anything was sent: nothing ran."""

    error_class = "network"


class OutcomeUnknown(NodeError):
    """The connection was lost while a command ran: it may have run to its end. Look at the node."""

    error_class = "network"


class HostKeyRejected(NodeError):
    """The node's host key is unknown, or not the one that was enrolled."""

    error_class = "config"


class AuthenticationFailed(NodeError):
    """The node did not accept any of the credentials that were configured for it."""

    error_class = "config"


class MissingTool(NodeError):
    """A tool that the node must have is not there."""


class NodeInUse(NodeError):
    """Another campaign is at work on the node; ``ours``: it is a process of this very run, which must be about to end."""

    def __init__(self, node: str, who: str, *, ours: bool = False) -> None:
        self.ours = ours
        super().__init__(node, f"is in use by another campaign: {who}", hint="--wait waits until it is free")


class CommandFailed(PlaybookError):
    """A command on a node ended with a non-zero status.

    The message holds the program's name, the status and the last line of stderr: never the arguments, which
    may carry secrets.
    """

    exit_code = 1
    error_class = "command"

    def __init__(self, node: str, argv: Sequence[str], status: int, stderr: str = "", stdout: str = "") -> None:
        self.node, self.argv, self.status, self.stderr, self.stdout = (
            node,
            tuple(argv),
            status,
            stderr,
            stdout,
        )
        tail = (stderr.strip() or stdout.strip()).splitlines()[-1:]
        super().__init__(f"{node}: {argv[0] if argv else '?'} exited {status}" + (f": {tail[0]}" if tail else ""))


class CommandTimeout(CommandFailed):
    """A command was killed, with its whole process group, because its deadline passed."""

    error_class = "timeout"

    def __init__(self, node: str, argv: Sequence[str], seconds: float, stderr: str = "", stdout: str = "") -> None:
        super().__init__(node, argv, 124, stderr, stdout)
        self.seconds = seconds
        self.args = (f"{node}: {argv[0] if argv else '?'} was killed: not done within {seconds:.3g} s",)


class TransferFailed(PlaybookError):
    """A file did not arrive whole; what was there before is still there."""

    exit_code = 1
    error_class = "node"

    def __init__(self, node: str, message: str, *, hint: str | None = None) -> None:
        self.node = node
        super().__init__(f"{node}: {message}", hint=hint)


class PhaseFailed(PlaybookError):
    """A lifecycle phase did not succeed."""

    exit_code = 1
    error_class = "phase"


class ServiceFailed(PhaseFailed):
    """A service on a node could not be brought up, or did not stay up.

    ``error_class`` is given by whoever saw it fail: ``network``, ``image``, ``start``, ``health`` or ``config``.
    """

    def __init__(
        self, service: str, node: str, message: str, *, error_class: str = "start", hint: str | None = None
    ) -> None:
        self.service, self.node = service, node
        self.error_class = error_class
        super().__init__(f"{service} on {node}: {message}", hint=hint)


class PhaseTimeout(PhaseFailed):
    """A phase, or a wait within it, ran past its deadline."""

    error_class = "timeout"


class Cancelled(PlaybookError):
    """Somebody asked us to stop."""

    exit_code = 130
    error_class = "cancelled"
