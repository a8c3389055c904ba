"""``results export`` and ``results import``: a run as one file, and back.

A tar file whose entries lie below the run's name, and whose last entry says the size and hash of all others: without it the
archive is torn. Import makes regular files and folders, of harmless names, in a fresh folder, then the links from one file of
the run to another, and moves that into place when all of it is there and right.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import click

from playbook_kernel.engine.recover import open_trials
from playbook_kernel.engine.store import JOURNAL, LOCK, is_full, run_lock, safe_name, sync_folder
from playbook_kernel.errors import ConfigError

from .common import echo_json, json_option, results_dir
from .kept import find_run
from .main import Command
from .verify import leads_inside, look, said

_MANIFEST = ".manifest.json"
_ENDINGS = (".tar.zst", ".tar.gz", ".tgz", ".tar")
_CHUNK = 1024 * 1024
_TORN = (EOFError, tarfile.TarError, gzip.BadGzipFile, zlib.error)


@click.command(cls=Command)
@click.argument("run")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
@click.pass_obj
def export(obj: dict[str, Any], run: str, file: Path | None, *, force: bool, as_json: bool) -> None:
    """Put a RUN into one FILE (default: RUN.tar.gz): .tar.zst, .tar.gz or .tar, as its name says.

    \b
    Example:  playbook-kernel results export 20260101_1200 nightly.tar.gz
    """  # noqa: D301 - click wants the character
    folder = find_run(results_dir(obj), run).resolve()
    into = Path.cwd() / (file or f"{folder.name}.tar.gz")
    if not into.name.endswith(_ENDINGS):
        raise ConfigError([f"{into}: what kind of archive is that?"], hint=f"end its name with {', '.join(_ENDINGS)}")
    if into.exists() and not force:
        raise ConfigError([f"{into}: is there already"], hint="--force replaces it")
    if not (folder / JOURNAL).is_file():
        raise ConfigError([f"{folder}: is not a run of this tool: it has no {JOURNAL}"])
    verdict = look(folder)
    for line in [] if verdict.good else said(verdict)[:-1]:
        click.echo(f"warning: {line}", err=True)
    if open_trials(folder):
        click.echo(
            f"warning: `playbook-kernel cleanup {folder.name}` has something to do, so nobody can import it", err=True
        )
    beside = into.with_name(f".{into.name}.part")
    try:
        with (
            run_lock(folder),
            _writer(beside) as raw,
            tarfile.open(fileobj=raw, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            count, size = _pack(tar, folder)
        beside.replace(into)
        sync_folder(into.parent)
    except OSError as error:
        hint = "make room, or name another place" if is_full(error) else ""
        raise ConfigError([f"{into}: cannot be written: {error.strerror or error}"], hint=hint) from error
    finally:
        beside.unlink(missing_ok=True)
    told = {
        "run": folder.name,
        "file": str(into),
        "files": count,
        "bytes": size,
        "packed": (packed := into.stat().st_size),
    }
    if as_json:
        echo_json(told)
    else:
        click.echo(f"{into}: {folder.name}, {count} files, {size / 1e6:.2f} MB, packed {packed / 1e6:.2f} MB")


@click.command(name="import", cls=Command)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
@click.pass_obj
def import_(obj: dict[str, Any], file: Path, *, as_json: bool) -> None:
    """Take the run out of a FILE that export made; one that is there already is never touched.

    \b
    Example:  playbook-kernel results import nightly.tar.gz
    """  # noqa: D301 - click wants the character
    results = results_dir(obj)
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".importing-", dir=results) as fresh:
        try:
            with _reader(file) as raw, tarfile.open(fileobj=raw, mode="r|") as tar:
                folder = _unpack(tar, Path(fresh), results)
        except _TORN as error:
            raise ConfigError([f"{file}: is torn or no archive of a run: {error}"], hint="export it again") from error
        except OSError as error:
            raise ConfigError([f"{results}: cannot take it: {error.strerror or error}"]) from error
        if left := open_trials(folder):
            raise ConfigError(
                [f"{folder.name} may have left something on its nodes ({len(left)} trials)"],
                hint="clean up where it ran (`playbook-kernel cleanup`), then export it again",
            )
        into = results / folder.name
        _refuse_existing(into)
        folder.rename(into)
        sync_folder(results)
    verdict = look(into)
    if as_json:
        echo_json({"run": into.name, "path": str(into), "good": verdict.good})
    else:
        for line in said(verdict):
            click.echo(line)
        click.echo(str(into))


def _pack(tar: tarfile.TarFile, folder: Path) -> tuple[int, int]:
    packed: dict[str, Any] = {}
    links: dict[str, str] = {}
    files = sorted(p for p in folder.rglob("*") if not _left_out(p.relative_to(folder)))
    total = sum(p.stat().st_size for p in files if p.is_file() and not p.is_symlink())
    with click.progressbar(length=total, label="packing", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        for path in (folder, *files):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink() and leads_inside(path, folder):
                links[name] = str(path.readlink())
                continue
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                click.echo(f"warning: {name} is no regular file and is left out", err=True)
                continue
            entry = tarfile.TarInfo(f"{folder.name}/{name}" if path != folder else folder.name)
            entry.mtime = int(path.stat().st_mtime)
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
                continue
            with path.open("rb") as file:
                entry.size, entry.mode = os.fstat(file.fileno()).st_size, 0o644
                hashing = _Hashing(file)
                tar.addfile(entry, hashing)
            packed[name] = [entry.size, hashing.digest.hexdigest()]
            bar.update(entry.size)
    text = json.dumps({"files": packed, "links": links}).encode(errors="surrogatepass")
    last = tarfile.TarInfo(f"{folder.name}/{_MANIFEST}")
    last.size, last.mode = len(text), 0o644
    tar.addfile(last, io.BytesIO(text))
    return len(packed), total


def _left_out(name: Path) -> bool:
    return name.parts[0] == LOCK or name.parts[0].startswith(".")


class _Hashing(io.RawIOBase):
    """Reads a file and keeps the hash of what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self.file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.digest.update(data)
        return data


def _unpack(tar: tarfile.TarFile, fresh: Path, results: Path) -> Path:
    """Make what the archive holds, below ``fresh``; raises ConfigError for what it must not hold."""
    found: dict[str, Any] = {}
    manifest: dict[str, Any] | None = None
    times: list[tuple[Path, int]] = []
    top = ""
    for entry in tar:
        parts = PurePosixPath(entry.name).parts
        if not parts or entry.name.startswith("/") or ".." in parts or "\0" in entry.name:
            raise ConfigError([f"the archive wants to write outside of its folder: {entry.name!r}"])
        if not (entry.isreg() or entry.isdir()):
            raise ConfigError([f"the archive holds something else than files and folders: {entry.name!r}"])
        if not top:
            top = parts[0]
            if safe_name(top) != top:
                raise ConfigError([f"{top!r} is no name of a run"])
            _refuse_existing(results / top)
        if parts[0] != top or (_left_out(Path(*parts[1:])) if parts[1:] not in ((), (_MANIFEST,)) else False):
            raise ConfigError([f"the archive holds what is no part of the run {top}: {entry.name!r}"])
        path, name = fresh.joinpath(*parts), "/".join(parts[1:])
        if manifest is not None:
            raise ConfigError([f"the archive goes on after its end: {entry.name!r}"])
        if entry.isdir():
            path.mkdir(parents=True, exist_ok=True)
        elif name == _MANIFEST:
            manifest = _manifest(tar, entry)
            continue
        elif name in found or not name:
            raise ConfigError([f"the archive holds {entry.name!r} twice"])
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            found[name] = [entry.size, _copy(tar, entry, path)]
        times.append((path, int(entry.mtime)))
    if manifest is None:
        raise EOFError("its end is missing")
    files = manifest["files"]
    wrong = sorted(n for n in {**found, **files} if found.get(n) != files.get(n))
    if wrong:
        raise ConfigError([f"the archive is damaged: {name} is not what was exported" for name in wrong[:20]])
    for name, target in manifest["links"].items():
        _link(fresh / top, str(name), str(target))
    for path, when in sorted(times, key=lambda t: len(t[0].parts), reverse=True):
        with contextlib.suppress(OverflowError):
            os.utime(path, (when, when))
    return fresh / top


def _copy(tar: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> str:
    if entry.size > (free := shutil.disk_usage(path.parent).free):
        raise ConfigError([f"{path.name} takes {entry.size / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free"])
    source = tar.extractfile(entry)
    assert source is not None
    digest = hashlib.sha256()
    with path.open("xb") as file:
        while data := source.read(_CHUNK):
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _link(run: Path, name: str, target: str) -> None:
    """Make a second name of a file of the run; both are looked at before, and nothing else can be linked to."""
    place = Path(os.path.normpath(run / name))
    wanted = Path(os.path.normpath(place.parent / target))
    inside = (
        place.is_relative_to(run)
        and wanted.is_relative_to(run)
        and place.parent.resolve().is_relative_to(run.resolve())
    )
    if not inside or Path(target).is_absolute() or not wanted.is_file() or wanted.is_symlink() or place.exists():
        raise ConfigError([f"the archive wants a link that it must not have: {name!r} to {target!r}"])
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def _manifest(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> dict[str, Any]:
    source = tar.extractfile(entry)
    assert source is not None
    try:
        read = json.loads(source.read())
    except ValueError as error:
        raise EOFError(f"its list of files cannot be read: {error}") from error
    if not (isinstance(read, dict) and all(isinstance(read.get(k), dict) for k in ("files", "links"))):
        raise EOFError("its list of files is none")
    return read


def _refuse_existing(into: Path) -> None:
    if into.exists() or into.is_symlink():
        raise ConfigError([f"{into}: is there already, and is left as it is"], hint="move it away first")


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[Any]:
    """A file to write an archive to, packed as its name says, on disk when the block is left."""
    with path.open("wb") as file:
        if ".tar.zst" in path.name:
            with _zstandard().ZstdCompressor(level=6, write_checksum=True).stream_writer(file, closefd=False) as packed:
                yield packed
        elif path.name.endswith(".tar.part"):
            yield file
        else:
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                yield packed
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _reader(path: Path) -> Iterator[Any]:
    """What an archive holds, unpacked as its first bytes say."""
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic == b"\x28\xb5\x2f\xfd":
            zstandard = _zstandard()
            try:
                with zstandard.ZstdDecompressor().stream_reader(file) as plain:
                    yield plain
            except zstandard.ZstdError as error:
                raise EOFError(str(error)) from error
        elif magic[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as plain:
                yield plain
        else:
            yield file


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise ConfigError(
            ["zstandard is not installed, and .zst files need it"],
            hint="pip install 'playbook-kernel[zstd]', or name the file .tar.gz",
        ) from error
    return zstandard
