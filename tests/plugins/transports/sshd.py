"""A real sshd on loopback with its own keys, configuration and accounts; nothing of the machine's own is used or changed."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SSHD = "/usr/sbin/sshd"


def cannot() -> str:
    """Why there can be no sshd here; empty if there can."""
    if not Path(SSHD).exists():
        return "openssh-server is not installed"
    if shutil.which("ssh-keygen") is None:
        return "ssh-keygen is not installed"
    return ""


def make_key(file: Path, *, passphrase: str = "", kind: str = "ed25519") -> Path:
    """Make a key pair; returns the private half."""
    if not file.exists():
        command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(file)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return file


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


PASSWORD = "words with spaces & $igns"


def make_accounts(folder: Path) -> dict[str, Path]:
    """Accounts for a server of root's, as files to lay over the machine's own: a login shell that finds no settings.

    ``plain`` may do nothing special, ``asked`` may use sudo with the password, ``trusted`` without one. Their shells
    differ: one that is plain sh, and one whose name says nothing.
    """
    homes = folder / "homes"
    users = {"root": 0, "plain": 21000, "asked": 21001, "trusted": 21002}
    homes.mkdir(exist_ok=True)
    (homes / "odd").symlink_to("/bin/bash")
    shells = {"plain": "/bin/sh", "asked": str(homes / "odd")}
    crypted = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", "playbook", "-stdin"],
        input=PASSWORD.encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    passwd, shadow, group = [], [], []
    for name, uid in users.items():
        home = homes / name
        home.mkdir(parents=True, exist_ok=True)
        os.chown(home, uid, uid)
        passwd.append(f"{name}:x:{uid}:{uid}::{home}:{shells.get(name, '/bin/bash')}")
        shadow.append(f"{name}:{crypted.strip()}:19000:0:99999:7:::")
        group.append(f"{name}:x:{uid}:")
    for file, rows in (("/etc/passwd", passwd), ("/etc/shadow", shadow), ("/etc/group", group)):
        rows += [r for r in Path(file).read_text().splitlines() if not r.startswith("root:")]
    sudo = ["Defaults !lecture", "root ALL=(ALL) ALL", "asked ALL=(ALL) ALL", "trusted ALL=(ALL) NOPASSWD: ALL"]
    found = {}
    files = {"/etc/passwd": passwd, "/etc/shadow": shadow, "/etc/group": group, "/etc/sudoers": sudo}
    for target, lines in files.items():
        if Path(target).exists():
            file = folder / Path(target).name
            file.write_text("\n".join(lines) + "\n")
            file.chmod(0o440 if target == "/etc/sudoers" else 0o600 if target == "/etc/shadow" else 0o644)
            found[target] = file
    return found


class Sshd:
    """One server. ``lines`` come first in its configuration, where the first value of a key wins.

    Started by root, it sees accounts of its own, and a disk of 512 KiB at ``tmpfs``; otherwise there is only our account,
    with whatever our login shell does.
    """

    def __init__(
        self,
        folder: Path,
        *lines: str,
        host: str = "127.0.0.1",
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        tmpfs: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.folder, self.host, self.port = folder, host, port or free_port(host)
        self.host_key = make_key(folder / "host_key")
        self.key = make_key(folder / "user_key")
        self.authorized = folder / "authorized_keys"
        if not self.authorized.exists():
            self.authorized.write_bytes(self.key.with_suffix(".pub").read_bytes())
        self.authorized.chmod(0o644)
        self.known_hosts = folder / "known_hosts"
        self.log = folder / "sshd.log"
        self.username = getpass.getuser()
        self.binds = make_accounts(folder) if os.geteuid() == 0 else {}
        self.tmpfs = tmpfs
        self.environment = dict(environment or {})
        self.configure(*lines)
        self._process: subprocess.Popen[bytes] | None = None
        self.enroll()

    def configure(self, *lines: str) -> None:
        """Write the configuration; it counts from the next start on."""
        rows = [
            *lines,
            f"ListenAddress {self.host}",
            f"Port {self.port}",
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.authorized}",
            f"PidFile {self.folder}/sshd.pid",
            "StrictModes no",
            "UsePAM no",
            "UseDNS no",
            "PermitRootLogin yes",
            "KbdInteractiveAuthentication no",
            "PrintMotd no",
            "Subsystem sftp internal-sftp",
        ]
        (self.folder / "sshd_config").write_text("\n".join(rows) + "\n")

    def enroll(self, file: Path | None = None) -> None:
        """Write this server's host key as the only one that is known."""
        kind, key, *_ = self.host_key.with_suffix(".pub").read_text().split()
        (file or self.known_hosts).write_text(f"[{self.host}]:{self.port} {kind} {key}\n")

    @property
    def pid(self) -> int:
        return int((self.folder / "sshd.pid").read_text())

    def start(self) -> Sshd:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        command = [SSHD, "-D", "-f", str(self.folder / "sshd_config"), "-E", str(self.log)]
        if self.binds:
            mounts = "".join(f"mount --bind '{source}' '{target}' && " for target, source in self.binds.items())
            if self.tmpfs:
                mounts += f"mount -t tmpfs -o size=512k none '{self.tmpfs}' && "
            command = ["unshare", "-m", "sh", "-c", f'{mounts}exec "$@"', "-", *command]
        home = {k: os.environ[k] for k in ("PATH", "HOME", "USER", "LANG") if k in os.environ}
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**home, **self.environment})
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=5) as sock:
                sock.recv(1)
                return self
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"sshd did not start: {self.log.read_text() if self.log.exists() else ''}")
            time.sleep(0.01)

    def workers(self) -> list[int]:
        """The processes that serve connections, oldest first."""
        return [p for p, parent in _parents().items() if parent == self.pid]

    def stop(self) -> None:
        """End the server and every connection and command of it."""
        if self._process is None:
            return
        below = _below(self._process.pid)
        self._process.kill()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def __enter__(self) -> Sshd:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _parents() -> dict[int, int]:
    found: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    return dict(sorted(found.items()))


def _below(top: int) -> Sequence[int]:
    """Every process below one, which must still be there: its children's parent is another afterwards."""
    parents, found = _parents(), [top]
    for pid in found:
        found += [p for p, parent in parents.items() if parent == pid]
    return found[1:]
