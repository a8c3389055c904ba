"""``python -m tests.plugins.transports.rekey``: transfers while the server asks for new keys all the time.

200 files of 64 MiB, up and down in turns, four at once, with an sshd that wants new keys after each 16 MiB, and commands
beside them. Every file is compared. Where it was stopped it goes on: what is done stands in ``--log``. Exit 1 if any failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playbook_kernel.api import PlaybookError, Session

from .helpers import connect
from .sshd import Sshd, cannot


def transfers(session: Session, folder: Path, log: Path, count: int, size: int, at_once: int = 4) -> list[str]:
    """Do those of ``count`` transfers of ``size`` bytes that ``log`` does not have yet; what failed in all of them."""
    source, lock = folder / "source", threading.Lock()
    data = os.urandom(1024 * 1024)
    with source.open("wb") as file:
        for start in range(0, size, len(data)):
            file.write(data[: size - start])
    wanted = hashlib.sha256(source.read_bytes()).hexdigest()
    rows = [json.loads(row) for row in log.read_text().splitlines()] if log.exists() else []
    rows = [row for row in rows if row["size"] == size and row["number"] < count]
    done = {row["number"] for row in rows}

    def one(number: int) -> None:
        path, began, why = folder / f"copy-{number}", time.monotonic(), ""
        try:
            if number % 2:
                session.get(str(source), path)
            else:
                session.put(source, str(path))
            found = session.run(["sha256sum", path], timeout=300).text.split()[0]
            why = "" if found == wanted else "the copy is not the same"
        except (PlaybookError, OSError) as error:
            why = f"{type(error).__name__}: {error}"
        path.unlink(missing_ok=True)
        row = {"number": number, "size": size, "seconds": round(time.monotonic() - began, 2), "failed": why}
        with lock:
            rows.append(row)
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            if why or len(rows) % 10 == 0:
                print(f"{len(rows)} of {count}{': ' + why if why else ''}", file=sys.stderr)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, [n for n in range(count) if n not in done]))
    return [row["failed"] for row in rows if row["failed"]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.plugins.transports.rekey", description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, default=64, help="MiB of each")
    parser.add_argument("--limit", default="16M", help="sshd's RekeyLimit")
    parser.add_argument("--log", type=Path, default=Path("rekey.jsonl"), help="one line for each transfer")
    given = parser.parse_args()
    if why := cannot():
        raise SystemExit(f"no sshd: {why}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="playbook-rekey-", dir="/dev/shm") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Sshd(folder / "sshd", f"RekeyLimit {given.limit}") as server, connect(server) as session:
            failed = transfers(session, folder, given.log, given.count, given.size * 1024 * 1024)
    size = f"{given.size} MiB, new keys each {given.limit}"
    print(f"{given.count} transfers of {size}: {len(failed)} failed ({time.monotonic() - began:.0f} s)")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
