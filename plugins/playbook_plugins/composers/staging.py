"""The files that Compose needs on a node: put there, what they replace kept, and all of it undone afterwards."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from playbook_kernel.api import ServiceFailed, Session, Share, TrialContext

from playbook_plugins.parts import REMOVE

MAX_UPLOAD = 64 * 1024 * 1024

# For each of $@: `d`, `f` or `-`, what is there.
_LOOK = 'for f in "$@"; do if [ -d "$f" ]; then echo d; elif [ -e "$f" ]; then echo f; else echo -; fi; done'
_KEEP = 'cp -p -- "$1" "$2.part" && mv -f -- "$2.part" "$2"'
_BACK = f'if [ -e "$2" ]; then mv -f -- "$2" "$1"; fi; rm -f -- "$2.part"; set -- "$1"\n{REMOVE}'


def remote(share: Share, name: str) -> str:
    """Where a file of the scenario lies on the node."""
    return f"{share.node.stage_dir.rstrip('/')}/{name}"


def override(share: Share, definition: Path) -> str:
    """Where the second compose file of a definition lies on the node."""
    return remote(share, f".playbook-{share.project}-{definition.name}.json")


def put(
    ctx: TrialContext, session: Session, share: Share, overrides: Mapping[Path, bytes], mounted: Iterable[str] = ()
) -> None:
    """Put everything there. Raises TransferFailed, or ServiceFailed when there is too much.

    ``mounted``: relative paths that containers will see. The engine makes a folder of each that is not there, and what
    it makes is the trial's: it goes with it, and so do folders that uploads need.
    """
    files: dict[str, tuple[Path, int]] = {}
    for definition in overrides:
        files[remote(share, definition.name)] = (definition, 0o644)
    if share.env_file is not None:
        files[remote(share, ".env")] = (share.env_file, 0o600)
    trees: dict[str, Path] = {}
    names = [p.resolve().relative_to(share.directory.resolve()).as_posix() for p in share.uploads]
    for path, name in zip(share.uploads, names, strict=True):
        target = remote(share, name)
        if path.is_dir():
            trees[target] = path
        else:
            files.setdefault(target, (path, 0o644))
    _check_size(share, [p for p, _ in files.values()], list(trees.values()))
    made = [_steps(share, name)[:-1] for name in names]
    made += [s for s in (_steps(share, name) for name in mounted) if not any(n in files or n in trees for n in s)]
    there = _look(session, list(dict.fromkeys([*files, *trees, *itertools.chain(*made)])))
    for first in dict.fromkeys(next((n for n in steps if there[n] == "-"), "") for steps in made):
        if first:
            ctx.effects.intend("file", share.node.name, path=first, tree=True)
    for target, (source, mode) in files.items():
        _replace(ctx, session, share, target, there[target])
        session.put(source, target, mode=mode)
    for target, source in trees.items():
        if there[target] == "-":  # a directory that is there is the node's own, and stays as it is
            effect = ctx.effects.intend("file", share.node.name, path=target, tree=True)
            session.put_tree(source, target)
            ctx.effects.done(effect)
        else:
            ctx.warn(f"{target} is there already and is used as it is", share.node.name)
    for definition, data in overrides.items():
        effect = ctx.effects.intend("file", share.node.name, path=override(share, definition))
        session.put_bytes(data, override(share, definition))
        ctx.effects.done(effect)


def _steps(share: Share, name: str) -> list[str]:
    """A path and the folders above it that lie below the scenario's place on the node, the outermost first."""
    parts = PurePosixPath(posixpath.normpath(name)).parts
    return [] if ".." in parts else [remote(share, "/".join(parts[: n + 1])) for n in range(len(parts))]


def _replace(ctx: TrialContext, session: Session, share: Share, target: str, there: str) -> None:
    """Before a file is put: keep what is there, or note that nothing was."""
    node = share.node.name
    if there == "d":
        raise ServiceFailed("*", node, f"{target} is a directory on the node", error_class="config")
    if there == "-":
        ctx.effects.intend("file", node, path=target)
        return
    backup = f"{target}.playbook-{share.project}"
    effect = ctx.effects.intend("replaced", node, path=target, backup=backup)
    session.run(["sh", "-c", _KEEP, "-", target, backup])
    ctx.effects.done(effect)


def restore(ctx: TrialContext, session: Session) -> None:
    """Put back what was replaced; files that were new are removed by whoever looks after files."""
    for effect in ctx.effects.open("replaced", session.node.name):
        session.run(["sh", "-c", _BACK, "-", str(effect.data["path"]), str(effect.data["backup"])])
        ctx.effects.undone(effect)


def _look(session: Session, paths: list[str]) -> dict[str, str]:
    done = session.run(["sh", "-c", _LOOK, "-", *paths])
    return dict(zip(paths, done.text.split(), strict=True))


def _check_size(share: Share, files: list[Path], trees: list[Path]) -> None:
    below = [p for tree in trees for p in tree.rglob("*") if p.is_file() and not p.is_symlink()]
    size = sum(p.stat().st_size for p in (*files, *below))
    if size > MAX_UPLOAD:
        raise ServiceFailed(
            "*",
            share.node.name,
            f"the files that the compose file refers to take {size / 1e6:.0f} MB, more than {MAX_UPLOAD / 1e6:.0f}",
            error_class="config",
            hint="put large files on the node, and refer to them by absolute paths",
        )
