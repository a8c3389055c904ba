"""What the executor is told."""

from __future__ import annotations

from attrs import frozen


@frozen
class DaskOptions:
    """``scheduler``: its address, such as ``tcp://10.0.0.1:8786``. ``workers``: the names of those to use; all, if none.

    ``connect_timeout``, ``answer_timeout``: seconds. ``ca_file``, ``cert_file``, ``key_file``: for a ``tls://`` cluster.
    """

    scheduler: str
    workers: tuple[str, ...] = ()
    connect_timeout: float = 10.0
    answer_timeout: float = 15.0
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
