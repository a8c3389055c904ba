"""Files and trees: whole or not at all, nothing lost on the way, nothing outside of where they belong."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from playbook_kernel.errors import (
    Cancelled,
    TransferFailed,
)
from playbook_kernel.scope import Cancel, within

from .asking import MIB, Opened, folder_on, promise, raised, until


@promise
def check_files(opened: Opened, here: Path) -> None:
    """Files arrive whole both ways, under any name, with their mode, in folders that were not there."""
    data = os.urandom(3 * MIB + 17)
    source = here / "source"
    source.write_bytes(data)
    with opened() as session, folder_on(session) as folder:
        for name in ("plain", "a b", "-n", "quo'te\"", "new\nline", "é漢"):
            remote = f"{folder}/deep/er/{name}"
            session.put(source, remote, mode=0o640)
            assert session.run(["stat", "-c", "%a %s", "--", remote]).text == f"640 {len(data)}\n"
            assert session.get(remote, here / "in" / "back") == len(data)
            assert (here / "in" / "back").read_bytes() == data
        session.put_bytes(b"", f"{folder}/empty", mode=0o600)
        assert session.get(f"{folder}/empty", here / "back") == 0
        assert session.get(f"{folder}/deep/er/plain", here / "tail", limit=1000) == 1000
        assert (here / "tail").read_bytes() == data[-1000:]
        assert session.get(f"{folder}/deep/er/plain", here / "tail", limit=len(data) + 5) == len(data)
        assert session.run(["ls", "-A", folder]).text.split() == ["deep", "empty"], "something was left beside them"
        assert not [p for p in here.rglob("*") if p.name.startswith(".")], "something was left beside them"


@promise
def check_replacing(opened: Opened, here: Path) -> None:
    """A file is replaced in one step: who has the old one open keeps it whole, and links are not followed."""
    with opened() as session, folder_on(session) as folder:
        name, target = f"{folder}/file", f"{folder}/target"
        session.put_bytes(b"old\n", name)
        with session.start(["sh", "-c", 'exec <"$1"; echo open; sleep 1000 & wait', "-", name], timeout=60) as reader:
            lines = reader.lines()
            assert next(lines) == ("stdout", "open")
            held = session.run(["stat", "-c", "%i", name]).text
            session.put_bytes(b"new\n", name)
            assert session.run(["stat", "-c", "%i", name]).text != held
        assert session.run(["cat", name]).text == "new\n"
        session.put_bytes(b"target\n", target)
        session.run(["ln", "-s", target, f"{folder}/link"])
        session.put_bytes(b"other\n", f"{folder}/link")
        assert session.run(["cat", target, f"{folder}/link"]).text == "target\nother\n"
        kept = here / "kept"
        kept.write_bytes(b"before")
        with kept.open("rb") as old:
            session.get(name, kept)
            assert old.read() == b"before"
        assert kept.read_bytes() == b"new\n"


@promise
def check_failed_files(opened: Opened, here: Path) -> None:
    """What cannot be copied fails by name and changes nothing."""
    with opened() as session, folder_on(session) as folder:
        raised(lambda: session.put(here / "missing", f"{folder}/x"), TransferFailed)
        raised(lambda: session.get(f"{folder}/missing", here / "x"), TransferFailed)
        raised(lambda: session.get(folder, here / "x"), TransferFailed)
        session.run(["mkdir", f"{folder}/d"])
        raised(lambda: session.put_bytes(b"x", f"{folder}/d"), TransferFailed)
        session.put_bytes(b"x", f"{folder}/f")
        raised(lambda: session.put_bytes(b"x", f"{folder}/f/below"), TransferFailed)
        (here / "old").write_text("old")
        raised(lambda: session.get(f"{folder}/missing", here / "old"), TransferFailed)
        assert (here / "old").read_text() == "old"
        raised(lambda: session.get(f"{folder}/f", here / "old" / "below"), TransferFailed)
        raised(lambda: session.put_tree(here / "missing", f"{folder}/t"), TransferFailed)
        raised(lambda: session.get_tree(f"{folder}/missing", here / "t"), TransferFailed)
        raised(lambda: session.put_tree(here, f"{folder}/f"), TransferFailed)
        assert sorted(session.run(["ls", "-A", folder]).text.split()) == ["d", "f"]
        assert session.run(["cat", f"{folder}/f"]).text == "x"


@promise
def check_trees(opened: Opened, here: Path) -> None:
    """Folders arrive with everything: links as links, odd names, modes, empty folders. What else is there stays."""
    source = here / "source"
    (source / "sub" / "empty").mkdir(parents=True)
    for name in ("plain", "a b", "-n", "new\nline", "é漢", "*", ".hidden"):
        (source / "sub" / name).write_text(name)
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "secret").write_text("s")
    (source / "secret").chmod(0o600)
    (source / "to-file").symlink_to("sub/plain")
    (source / "to-folder").symlink_to("sub")
    (source / "dangling").symlink_to("/nowhere/at/all")
    with opened() as session, folder_on(session) as folder:
        session.put_bytes(b"stays", f"{folder}/t/other")
        session.put_bytes(b"old", f"{folder}/t/secret")
        session.put_tree(source, f"{folder}/t")
        assert session.run(["cat", f"{folder}/t/other"]).text == "stays"
        assert session.run(["stat", "-c", "%a", f"{folder}/t/run.sh", f"{folder}/t/secret"]).text == "755\n600\n"
        assert session.run(["readlink", f"{folder}/t/dangling"]).text == "/nowhere/at/all\n"
        back = here / "back"
        session.get_tree(f"{folder}/t", back)
    assert (back / "other").read_text() == "stays"
    (back / "other").unlink()
    assert _listing(back) == _listing(source)


@promise
def check_no_escape(opened: Opened, here: Path) -> None:
    """Nothing that is fetched lands outside of its folder, whatever links are there or come along."""
    outside, inside = here / "outside", here / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "precious").write_text("precious")
    (inside / "folder").symlink_to(outside)
    (inside / "file").symlink_to(outside / "precious")
    with opened() as session, folder_on(session) as folder:
        session.put_bytes(b"evil", f"{folder}/t/folder/precious")
        session.put_bytes(b"evil", f"{folder}/t/file")
        session.get_tree(f"{folder}/t", inside)
        session.run(["ln", "-s", str(outside), f"{folder}/link"])
        session.run(["sh", "-c", 'mkdir "$1/u" && ln -s "$2" "$1/u/folder"', "-", folder, outside])
        session.get_tree(f"{folder}/u", here / "second")
    assert (outside / "precious").read_text() == "precious"
    assert [p.name for p in outside.iterdir()] == ["precious"]
    assert (inside / "folder" / "precious").read_text() == "evil"


@promise
def check_full_target(opened: Opened, folder: str) -> None:
    """A node whose disk is full keeps the old file. ``folder``: on the node, empty, with room for less than 1 MiB."""
    with opened() as session:
        session.put_bytes(b"old", f"{folder}/file")
        raised(lambda: session.put_bytes(b"x" * (4 * MIB), f"{folder}/file"), TransferFailed)
        assert session.run(["ls", "-A", folder]).text == "file\n"
        assert session.run(["cat", f"{folder}/file"]).text == "old"
        session.put_bytes(b"new", f"{folder}/file")
        assert session.run(["cat", f"{folder}/file"]).text == "new"


@promise
def check_cancelled_transfers(opened: Opened, here: Path) -> None:
    """A transfer that somebody cancels ends at once and leaves nothing beside its target."""
    with opened() as session, folder_on(session) as folder:
        os.mkfifo(here / "endless")
        big = here / "big"
        with big.open("wb") as file:
            file.truncate(4 * 1024 * MIB)  # a hole: it takes no room, and long to copy
        session.run(["truncate", "-s", "4G", f"{folder}/big"])
        for call in (
            lambda: session.put(big, f"{folder}/copy"),
            lambda: session.get(f"{folder}/big", here / "copy"),
        ):
            cancel = Cancel()
            with within(cancel=cancel):
                threading.Timer(0.3, cancel.set, ["enough"]).start()
                raised(call, Cancelled)
        until(lambda: session.run(["ls", "-A", folder]).text == "big\n", "a part of the file stayed on the node")
        assert sorted(p.name for p in here.iterdir()) == ["big", "endless"]


def _listing(top: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        else:
            found[name] = (oct(path.stat().st_mode), path.read_text() if path.is_file() else "")
    return found
