"""What differs on a node between the beginning and the end of a trial, and whose doing it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from playbook_kernel.api import Residue

from .look import Seen

MEMORY_MIB = 64
"""An accelerator whose memory in use has grown by less is back where it was."""

SHARED = "/dev/shm"  # noqa: S108 - that is where it is
_DISK_KIB = 1024 * 1024
_NAMED = 5


def carrying(seen: Seen, node: str, trial: str) -> list[Residue]:
    """What carries the mark of this trial."""
    found = [Residue(node, "container", name) for name, mark in seen.containers.values() if mark == trial]
    found += [Residue(node, "network", name) for name, mark in seen.networks.values() if mark == trial]
    found += [Residue(node, "volume", name) for name, mark in seen.volumes.items() if mark == trial]
    found += [Residue(node, "process", pid, command) for pid, owner, command in seen.processes if owner == trial]
    return found + [Residue(node, "file", path) for path in seen.files if belongs(path, trial)]


def belongs(path: str, trial: str) -> bool:
    """Whether a file is a trial's by its name.

    >>> belongs("/tmp/playbook-pk-0a-s-1", "pk-0a-s-1"), belongs("/tmp/playbook-pk-0a-s-11", "pk-0a-s-1")
    (True, False)
    """
    name = path.rpartition("/")[2]
    _, mark, after = name.partition(f"playbook-{trial}")
    return bool(mark) and not after[:1].isdigit()


def changed(before: Seen, after: Seen, node: str, trial: str, *, crowded: bool) -> list[Residue]:
    """Every other difference; nobody can say that it is ours, so it is told and left alone.

    ``crowded``: other programs work on that machine, so what comes and goes in temporary folders means nothing.
    """
    found = [*_objects(before, after, node, trial)]
    new_ports = sorted(after.ports.keys() - before.ports.keys())
    found += [
        Residue(node, "port", str(p), f"listened on now {after.ports[p]}".rstrip(), foreign=True) for p in new_ports
    ]
    for path in [] if crowded else sorted({f.rpartition("/")[0] for f in after.files}):
        new = [f for f in after.files if f.startswith(f"{path}/") and f not in before.files and not belongs(f, trial)]
        found += _several(node, "files", path, [f.rpartition("/")[2] for f in new])
    found += _several(node, "shared memory", SHARED, [s for s in after.shared if s not in before.shared])
    for folder, free in after.disk.items():
        less = before.disk.get(folder, free) - free
        if less > _DISK_KIB:
            found.append(Residue(node, "disk", folder, f"{less / 2**20:.1f} GiB less are free", foreign=True))
    return found


def memory(before: Seen, after: Seen, node: str) -> list[Residue]:
    """Accelerators whose memory is not back where it was; ours unless somebody else's process computes there."""
    found = []
    for card, used in after.memory.items():
        grown = used - before.memory.get(card, used)
        if grown >= MEMORY_MIB:
            who = f", in use by {', '.join(after.users)}" if after.users else ""
            detail = f"{grown} MiB more than before{who}"
            found.append(Residue(node, "accelerator memory", card, detail, foreign=bool(after.users)))
    return found


def _objects(before: Seen, after: Seen, node: str, trial: str) -> Iterator[Residue]:
    kinds: Sequence[tuple[str, Mapping[str, tuple[str, str]], Mapping[str, tuple[str, str]]]] = (
        ("container", before.containers, after.containers),
        ("network", _made(before.networks), _made(after.networks)),
        ("volume", _named(before.volumes), _named(after.volumes)),
    )
    for kind, then, now in kinds:
        for key in now.keys() - then.keys():
            name, mark = now[key]
            if mark != trial:
                yield Residue(node, kind, name, "appeared during the trial", foreign=True)
        for key in then.keys() - now.keys():
            name, mark = then[key]
            if mark != trial:
                yield Residue(node, kind, name, "disappeared during the trial", foreign=True)


def _made(networks: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Without those that an engine brings along, with new ids each time that it starts."""
    return {key: network for key, network in networks.items() if network[0] not in ("bridge", "host", "none")}


def _named(volumes: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (name, mark) for name, mark in volumes.items()}


def _several(node: str, kind: str, place: str, names: Sequence[str]) -> list[Residue]:
    if not names:
        return []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [Residue(node, kind, place, f"appeared: {', '.join(names[:_NAMED])}{more}", foreign=True)]
