"""Whose key is it? Strict unless told otherwise."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import paramiko
from playbook_kernel.api import HostKeyRejected, Problems

from playbook_plugins.home import at_home

DEFAULT_FILES = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
_write_lock = threading.Lock()


def fingerprint(key: paramiko.PKey) -> str:
    """``SHA256:...`` as OpenSSH prints it."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def place(host: str, port: int) -> str:
    """The name of a host in known_hosts.

    >>> place("a", 22), place("a", 2222)
    ('a', '[a]:2222')
    """
    return host if port == 22 else f"[{host}]:{port}"


class KnownHosts:
    """The files of one node; hashed names and ports are understood."""

    def __init__(self, files: Sequence[str | Path]) -> None:
        self.files = [at_home(f) for f in files]
        self._keys = paramiko.HostKeys()
        self.problems = Problems()
        for file in self.files:
            self._load(file)

    def _load(self, file: Path) -> None:
        try:
            rows = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return
        for number, row in enumerate(rows, 1):
            text = row.strip()
            if not text or text.startswith(("#", "@")):
                continue
            try:
                entry = paramiko.hostkeys.HostKeyEntry.from_line(text, number)
            except (paramiko.SSHException, ValueError) as error:
                self.problems.warn(file, number, "", f"is not a host key: {error}")
                continue
            if entry is not None:
                self._keys._entries.append(entry)  # type: ignore[attr-defined]  # noqa: SLF001 - add() loses hashed names

    def types(self, name: str) -> list[str]:
        """The key types that are known of a host, which is what it should be asked for."""
        found = self._keys.lookup(name)
        return [] if found is None else list(found.keys())

    def known(self, name: str, key: paramiko.PKey) -> bool | None:
        """Whether this is the host's key; None when nothing is known of the host."""
        found = self._keys.lookup(name)
        if found is None:
            return None
        same = found.get(key.get_name())
        return None if same is None and not found else same is not None and same == key

    def add(self, name: str, key: paramiko.PKey) -> None:
        """Keep a key in the first file, for everybody and for good."""
        append(self.files[0], name, key)
        self._keys.add(name, key.get_name(), key)


def append(file: Path, name: str, key: paramiko.PKey) -> None:
    """Append a key to a known_hosts file; safe beside other processes that do the same."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    line = f"{name} {key.get_name()} {key.get_base64()}\n"
    with _write_lock, file.open("a+", encoding="utf-8") as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        out.seek(0)
        if line not in out.read():
            out.write(line)
            out.flush()
            with contextlib.suppress(OSError):
                os.fsync(out.fileno())


def check(node: str, policy: str, known: KnownHosts, name: str, key: paramiko.PKey) -> str:
    """Accept the key or raise HostKeyRejected; returns a warning to be told, or nothing."""
    if policy == "insecure":
        return f"the host key of {name} is not checked (host_keys: insecure): anybody may answer in its place"
    verdict = known.known(name, key)
    shown = f"{key.get_name()} {fingerprint(key)}"
    if verdict:
        return ""
    if verdict is False:
        raise HostKeyRejected(
            node,
            f"the host key of {name} has changed: it now shows {shown}",
            hint=f"somebody may be in between; if the host was set up anew, remove its lines from {known.files[0]} "
            "and run `playbook-kernel nodes --enroll`",
        )
    if policy == "accept-new":
        known.add(name, key)
        return f"the host key of {name} was not known and has been kept: {shown}"
    raise HostKeyRejected(
        node,
        f"the host key of {name} is not known: {shown}",
        hint="run `playbook-kernel nodes --enroll` and compare the fingerprint",
    )
