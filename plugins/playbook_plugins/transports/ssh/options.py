"""What a user can say about reaching a node over SSH."""

from __future__ import annotations

from typing import Literal

from playbook_kernel.api import Secret, frozen


@frozen
class Options:
    """How to reach a node. What is left out comes from ``~/.ssh/config``, then from OpenSSH's own defaults.

    ``host_keys``: ``strict`` (only enrolled keys), ``accept-new`` (a new host's key is kept, a changed one refused) or
    ``insecure`` (nothing is checked, and that is said each time). ``known_hosts``: a file in place of
    ``~/.ssh/known_hosts``. ``proxy_jump``: ``[user@]host[:port]``, several with commas. Times are in seconds:
    a frozen peer is noticed within ``keepalive_interval + keepalive_timeout``. ``max_sessions``: commands at once on the
    connection; more are queued, and two more sessions are taken for the guard. ``kept_shell``: short commands run one after
    the other in a shell that stays open, which is three times faster; otherwise each has a session of its own.
    """

    host: str
    port: int = 22
    username: str | None = None
    password: Secret | None = None
    key_filename: str | None = None
    passphrase: Secret | None = None
    host_keys: Literal["strict", "accept-new", "insecure"] = "strict"
    known_hosts: str | None = None
    proxy_jump: str | None = None
    use_agent: bool = True
    ssh_config: str = "~/.ssh/config"
    connect_timeout: float = 15.0
    auth_timeout: float = 30.0
    keepalive_interval: float = 5.0
    keepalive_timeout: float = 10.0
    max_sessions: int = 8
    kept_shell: bool = True
