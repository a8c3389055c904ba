"""kubectl on a node: every call has a deadline, every failure a class, and what may be tried again is."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen
from playbook_kernel.api import CommandTimeout as _CommandTimeout
from playbook_kernel.api import Completed, NodeError, Session, current

_TRIES = 3
_SLACK = 10.0

# The first that is in what kubectl said decides. Errors of the network deserve another try, those of the files never do.
_CLASSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("config", (
        "error validating", "strict decoding error", "is invalid", "no matches for kind", "forbidden", "unauthorized",
        "you must be logged in", "context was not found", "does not exist", "error loading config", "no such file",
        "certificate signed by unknown authority", "provide credentials", "field is immutable", "unable to parse",
        "does not match the namespace", "ensure crds are installed", "unknown flag", "exceeded quota", "error parsing",
            "have a resource type",
    )),
    ("network", (
        "connection refused", "i/o timeout", "no route to host", "handshake timeout", "connection reset", "unexpected eof",
        "unable to connect to the server", "currently unable to handle", "etcdserver", "too many requests", "internalerror",
        "deadline exceeded", "http2: ", "service unavailable", "no such host", "client.timeout", "was refused",
    )),
)  # fmt: skip


def class_of(said: str) -> str:
    """The error class of what kubectl said on its standard error; ``start`` if nothing is known of it."""
    lowered = said.lower()
    return next((name for name, texts in _CLASSES if any(t in lowered for t in texts)), "start")


class ClusterError(NodeError):
    """kubectl did not do what it was asked; ``error_class`` is what retries go by, ``said`` all that it said."""

    def __init__(self, node: str, said: str, error_class: str) -> None:
        lines = [line for line in said.strip().splitlines() if line.strip()]
        super().__init__(node, f"kubectl: {lines[-1][:600] if lines else 'it said nothing'}")
        self.error_class, self.said = error_class, said

    @property
    def unknown_kind(self) -> bool:
        """Whether the cluster has no such kind of object (any more, or yet)."""
        return "no matches for kind" in self.said or "the server doesn't have a resource type" in self.said


@frozen
class ClusterOptions:
    """``kubeconfig``: a file on the node, ``context`` of it; ``namespace``: for services that do not say one.

    ``call_timeout``: seconds for one request; ``delete_timeout``: for objects, with their pods, to be gone.
    """

    kubeconfig: str = ""
    context: str = ""
    namespace: str = "default"
    call_timeout: float = 20.0
    delete_timeout: float = 120.0


class Kubectl:
    """kubectl through a session. Arguments are a list, files go in by standard input: no shell, nothing on the disk."""

    def __init__(self, session: Session, options: ClusterOptions) -> None:
        self.session, self.options = session, options
        self._base = ["kubectl"]
        if options.kubeconfig:
            self._base.append(f"--kubeconfig={options.kubeconfig}")
        if options.context:
            self._base.append(f"--context={options.context}")

    def run(self, *words: str, namespace: str = "", stdin: bytes | None = None, seconds: float | None = None) -> str:
        """What it printed. ``seconds``: for calls that wait for something; they are not tried again.

        Raises ClusterError.
        """
        for attempt in range(1, _TRIES + 1):
            done = self._once(words, namespace, stdin, seconds)
            if isinstance(done, Completed) and done.ok:
                return done.text
            said = done.errors or done.text if isinstance(done, Completed) else done
            kind = class_of(said) if isinstance(done, Completed) else "network"
            if kind != "network" or seconds is not None or attempt == _TRIES:
                break
            current().sleep(float(attempt))
        raise ClusterError(self.session.node.name, said, kind)

    def _once(
        self, words: tuple[str, ...], namespace: str, stdin: bytes | None, seconds: float | None
    ) -> Completed | str:
        limit = seconds or self.options.call_timeout
        where = [f"--namespace={namespace}"] if namespace else []
        argv = [*self._base, *where, f"--request-timeout={limit:.0f}s", *words]
        try:
            return self.session.run(argv, stdin=stdin, timeout=limit + _SLACK, check=False, limit=64 * 1024 * 1024)
        except _CommandTimeout as error:
            current().check()
            return f"no answer within {error.seconds:.0f} s"

    def get(self, *words: str, namespace: str = "", stdin: bytes | None = None) -> list[dict[str, Any]]:
        """The objects that ``get`` finds; none is no error."""
        text = self.run("get", *words, "--ignore-not-found", "-o", "json", namespace=namespace, stdin=stdin)
        found = json.loads(text) if text.strip() else {}
        items = found.get("items", [found] if found else [])
        return [item for item in items if isinstance(item, dict)]
