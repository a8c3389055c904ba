"""`results export`, `import` and `verify`: what was kept is what comes back, and what is not is told."""

from __future__ import annotations

import fcntl
import io
import json
import shutil
import subprocess
import sys
import tarfile

import pytest

from .calls import call


@pytest.fixture
def root(finished, tmp_path):
    """A workspace with a copy of the finished run; its name is ``run`` of it."""
    shutil.copytree(finished[0] / "results", tmp_path / "results", symlinks=True)
    return tmp_path


@pytest.fixture
def run(root):
    return next((root / "results").iterdir())


def content(folder):
    files = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and p.name != "lock")
    return {p.relative_to(folder): p.read_bytes() for p in files}


def links(folder):
    return {p.relative_to(folder): p.readlink() for p in folder.rglob("*") if p.is_symlink()}


def remake(source, target, change):
    """The archive again, with each entry as ``change(entry, data)`` returns it; None leaves it out."""
    with tarfile.open(source) as old, tarfile.open(target, "w:gz") as new:
        for entry in old:
            data = old.extractfile(entry).read() if entry.isreg() else b""
            for made, raw in change(entry, data):
                made.size = len(raw) if made.isreg() else 0
                new.addfile(made, io.BytesIO(raw))
    return target


@pytest.mark.parametrize("ending", ["tar.gz", "tar.zst", "tar"])
def test_a_run_comes_back_as_it_was(root, run, ending):
    before, linked, when = content(run), links(run), run.stat().st_mtime
    assert linked
    done = call("results", "export", run.name, f"out.{ending}", "--json", cwd=root)
    assert (done.code, done.json["files"]) == (0, len(before)), done.err
    again = call("results", "import", f"out.{ending}", cwd=root)
    assert (again.code, "is there already, and is left as it is" in again.err) == (2, True)
    run.rename(root / "gone")
    done = call("results", "import", f"out.{ending}", cwd=root)
    assert done.code == 0, done.err
    assert content(run) == before
    assert links(run) == linked
    assert run.stat().st_mtime == pytest.approx(when, abs=1)
    assert [p.name for p in (root / "results").iterdir()] == [run.name]


def test_a_file_is_replaced_when_asked_and_left_alone_else(root, run):
    (root / "out.tar.gz").write_text("of the user")
    assert call("results", "export", run.name, "out.tar.gz", cwd=root).code == 2
    assert (root / "out.tar.gz").read_text() == "of the user"
    assert call("results", "export", run.name, "out.tar.gz", "--force", cwd=root).code == 0
    assert call("results", "export", run.name, "out.zip", cwd=root).code == 2
    assert {p.name for p in root.iterdir()} == {"results", "out.tar.gz"}


def test_a_run_at_work_is_not_exported(root, run):
    with (run / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = call("results", "export", run.name, "out.tar.gz", cwd=root)
    assert done.code != 0
    assert "still at work" in done.err
    assert not (root / "out.tar.gz").exists()
    assert not (root / ".out.tar.gz.part").exists()


@pytest.mark.parametrize("ending", ["tar.gz", "tar.zst", "tar"])
def test_a_torn_archive_is_told_wherever_it_is_torn(root, run, ending):
    call("results", "export", run.name, f"out.{ending}", cwd=root)
    whole = (root / f"out.{ending}").read_bytes()
    run.rename(root / "gone")
    for share in (0.0, 0.1, 0.5, 0.9):
        (root / f"torn.{ending}").write_bytes(whole[: int(len(whole) * share)])
        done = call("results", "import", f"torn.{ending}", cwd=root)
        assert done.code == 2, share
        assert "torn" in done.err
        assert not list((root / "results").iterdir())


def test_a_changed_archive_is_told(root, run):
    call("results", "export", run.name, "out.tar.gz", cwd=root)
    run.rename(root / "gone")

    def change(entry, data):
        yield entry, data.replace(b"completed", b"complete!") if entry.name.endswith("/campaign.json") else data

    remake(root / "out.tar.gz", root / "bad.tar.gz", change)
    done = call("results", "import", "bad.tar.gz", cwd=root)
    assert (done.code, "damaged: campaign.json is not what was exported" in done.err) == (2, True)
    assert not list((root / "results").iterdir())


def entries():
    link = tarfile.TarInfo("RUN/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    hard = tarfile.TarInfo("RUN/hard")
    hard.type, hard.linkname = tarfile.LNKTYPE, "/etc/passwd"
    pipe = tarfile.TarInfo("RUN/pipe")
    pipe.type = tarfile.FIFOTYPE
    return [tarfile.TarInfo(n) for n in ("../evil", "/evil", "RUN/../../evil", "other/evil", "RUN/lock", "RUN")] + [
        link, hard, pipe,
    ]  # fmt: skip


@pytest.mark.parametrize("entry", entries(), ids=lambda e: f"{e.name}-{e.type.decode()}")
def test_nothing_is_written_outside_and_no_link_is_made(root, run, entry):
    call("results", "export", run.name, "out.tar.gz", cwd=root)
    run.rename(root / "gone")
    entry.name = entry.name.replace("RUN", run.name)
    seen = []

    def change(old, data):
        if not seen.append(old) and len(seen) == 2:
            yield entry, b"evil" if entry.isreg() else b""
        yield old, data

    remake(root / "out.tar.gz", root / "bad.tar.gz", change)
    done = call("results", "import", "bad.tar.gz", cwd=root)
    assert done.code == 2
    assert "archive" in done.err
    assert not list((root / "results").iterdir())
    assert not list(root.parent.glob("**/evil"))


@pytest.mark.parametrize(
    "name, target",
    [("evil", "/etc/passwd"), ("evil", "../../x"), ("../evil", "RUN/campaign.json"), ("campaign.json", "lock")],
)
def test_a_link_out_of_the_run_is_refused(root, run, name, target):
    call("results", "export", run.name, "out.tar.gz", cwd=root)
    run.rename(root / "gone")

    def change(entry, data):
        if entry.name.endswith("/.manifest.json"):
            data = json.dumps({**json.loads(data), "links": {name: target.replace("RUN", run.name)}}).encode()
        yield entry, data

    remake(root / "out.tar.gz", root / "bad.tar.gz", change)
    done = call("results", "import", "bad.tar.gz", cwd=root)
    assert (done.code, "a link that it must not have" in done.err) == (2, True)
    assert not list((root / "results").iterdir())


def test_a_run_with_something_left_is_not_imported_for_its_journal_says_what_to_remove(root, run):
    from playbook_kernel.engine.journal import Journal

    journal = Journal(run / "journal.jsonl")
    effect = {"id": 9, "kind": "file", "node": "local", "data": {"path": "/etc", "tree": True}}
    first = {"scenario": "x", "attempt": 1, "folder": "x", "nodes": ["local"]}
    journal.append([("trial", "pk-x", first), ("intent", "pk-x", effect)])
    journal.close()
    done = call("results", "export", run.name, "out.tar.gz", cwd=root)
    assert "nobody can import it" in done.err
    run.rename(root / "gone")
    done = call("results", "import", "out.tar.gz", cwd=root)
    assert (done.code, "may have left something on its nodes" in done.err) == (2, True)
    assert not list((root / "results").iterdir())


def test_without_the_module_it_says_what_to_install(root, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    done = call("results", "export", run.name, "out.tar.zst", cwd=root)
    assert done.code == 2
    assert "playbook-kernel[zstd]" in done.err
    assert ".tar.gz" in done.err
    assert [p.name for p in root.iterdir()] == ["results"]


# -- verify -------------------------------------------------------------------------------------------------------------


def test_a_run_is_sealed_so_that_any_machine_can_check_it(root, run):
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=run, check=True)
    done = call("results", "verify", cwd=root)
    assert (done.code, "all as they were" in done.out) == (0, True)


def test_what_is_missing_changed_or_extra_is_named(root, run):
    (run / "001_good/trial.json").unlink()
    (run / "campaign.json").write_text((run / "campaign.json").read_text() + "\n")
    (run / "001_good/mine.txt").write_text("x")
    (run / "001_good/out").symlink_to("/etc/passwd")
    done = call("results", "verify", run.name, "--json", cwd=root)
    [found] = done.json
    assert done.code == 1
    assert (found["missing"], found["changed"], found["extra"]) == (
        ["001_good/trial.json"], ["campaign.json"], ["001_good/mine.txt", "001_good/out"],
    )  # fmt: skip


def test_a_report_that_is_written_again_belongs_to_the_run(root, run):
    assert call("report", run.name, "-f", "junit", "-f", "markdown", cwd=root).code == 0
    assert call("results", "verify", cwd=root).code == 0


def test_a_journal_that_is_damaged_or_cut_is_told(root, run):
    raw = (run / "journal.jsonl").read_bytes()
    (run / "journal.jsonl").write_bytes(raw.replace(b"PhaseEnded", b"PhaseEnder", 1))
    assert "damaged  journal.jsonl" in call("results", "verify", cwd=root).out
    for kept in (0, 3, raw.count(b"\n") - 1):
        (run / "journal.jsonl").write_bytes(b"".join(raw.splitlines(keepends=True)[:kept]))
        done = call("results", "verify", cwd=root)
        assert done.code == 1, "it was sealed after its end"
        assert "damaged  journal.jsonl does not hold the end of the campaign" in done.out
        assert f"it breaks off after {kept} record" in done.out
        assert "1 damaged" in done.out
    (run / "journal.jsonl").unlink()
    for words in (run.name, "--all"):
        assert "damaged  journal.jsonl is missing\n" in call("results", "verify", words, cwd=root).out
    (run / "journal.jsonl").write_bytes(b"".join(raw.splitlines(keepends=True)[:3]))
    (run / "SHA256SUMS").unlink()
    done = call("results", "verify", cwd=root)
    assert (done.code, "note: the run was interrupted" in done.out) == (0, True)


def test_of_an_earlier_version_the_artifacts_are_checked(root, run):
    (run / "SHA256SUMS").unlink()
    log = run / "001_good" / json.loads((run / "001_good/trial.json").read_text())["artifacts"][0]["path"]
    assert call("results", "verify", cwd=root).code == 0
    log.write_bytes(log.read_bytes() + b"!")
    done = call("results", "verify", cwd=root)
    assert (done.code, f"changed  {log.relative_to(run)}" in done.out) == (1, True)
