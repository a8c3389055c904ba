"""Install what the tests need: Debian packages (as root, with service start blocked) and the Compose V2 binary.

``python -m tests.setup [--yes]``: outside CI it says what it will install, and asks. Nothing to do: it does nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.setup import compose_v2

# What is run, and the Debian package that has it.
NEEDED = {
    "/usr/sbin/sshd": "openssh-server",
    "/usr/bin/ssh": "openssh-client",
    "/usr/sbin/dockerd": "docker.io",
    "/usr/bin/docker-compose": "docker-compose",
    "/usr/sbin/iptables": "iptables",
    "/usr/sbin/ip": "iproute2",
    "/usr/bin/tini": "tini",
    "/usr/bin/busybox": "busybox-static",
    "/usr/bin/sudo": "sudo",
    "/usr/bin/nsenter": "util-linux",
    "/usr/bin/openssl": "openssl",
    "/usr/bin/ps": "procps",
    "/usr/bin/python3": "python3",
    "/usr/bin/kubectl": "kubernetes-client",
    "/usr/bin/chromium": "chromium",
}
OPTIONAL = {"docker-compose"}
"""Not everywhere to be had; tests that need it are skipped by name then."""

POLICY = Path("/usr/sbin/policy-rc.d")


def missing() -> list[str]:
    """The Debian packages that are not there."""
    return [package for path, package in NEEDED.items() if not Path(path).exists()]


@contextlib.contextmanager
def services_stay_off() -> Iterator[None]:
    """Debian starts a service when it installs one, unless this file says no."""
    before = POLICY.read_bytes() if POLICY.exists() else None
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        if before is None:
            POLICY.unlink()
        else:
            POLICY.write_bytes(before)


def install(packages: list[str]) -> None:
    """Install packages; those that cannot be had are told."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with services_stay_off():
        subprocess.run(["apt-get", "update", "-qq"], check=False, env=env)
        wanted = [p for p in packages if p not in OPTIONAL or available(p)]
        for package in sorted(set(packages) - set(wanted)):
            print(f"{package} cannot be had here; the tests that need it will be skipped by name", file=sys.stderr)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted]
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)


def available(package: str) -> bool:
    """Whether the package index has it."""
    shown = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False).stdout
    return "Candidate:" in shown and "Candidate: (none)" not in shown


def agreed() -> bool:
    """Whether somebody is there and says yes."""
    return sys.stdin.isatty() and input("install them now? [y/N] ").strip().lower() in ("y", "yes")


def main(argv: list[str]) -> int:
    """Do it; the exit status is 0 unless an installation failed."""
    packages = missing()
    if packages and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        why = "not root" if os.geteuid() else "no apt-get"
        print(
            f"not installed ({why}): {', '.join(packages)}; tests that need them are skipped by name", file=sys.stderr
        )
        packages = []
    if packages:
        print(f"tests need Debian packages: {', '.join(packages)}", file=sys.stderr)
        if not (os.environ.get("CI") or "--yes" in argv or agreed()):
            print("nothing installed; `make test CI=true` installs without asking", file=sys.stderr)
            return 1
        install(packages)
    if os.geteuid() == 0:
        compose_v2.binary()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
