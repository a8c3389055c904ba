"""Nodes, and how they are reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


@frozen
class DriverRef:
    """A driver that somebody named, with that driver's own options still unstructured.

    ``origin`` says where it was named (``file:line: key``), for error messages.
    """

    use: str
    options: Mapping[str, Any] = field(factory=dict)
    origin: str = field(default="", eq=False)


@frozen
class Node:
    """One host of the fleet.

    ``stage_dir`` is where a scenario's files are put on the node, ``work_dir`` where remote scripts run. ``composer``
    is ``auto`` (chosen among those that fit) or the name of one, then with ``composer_options``. Lists keep the user's order.
    """

    name: str
    transport: DriverRef
    host: str = "localhost"
    composer: str = "auto"
    enabled: bool = True
    role: str = "worker"
    tags: tuple[str, ...] = ()
    stage_dir: str = "/opt/inference"
    work_dir: str = "/opt/inference"
    composer_options: Mapping[str, Any] = field(factory=dict)


@frozen
class Endpoint:
    """An address that answers requests. ``model`` is empty when nobody said it."""

    url: str
    model: str = ""
