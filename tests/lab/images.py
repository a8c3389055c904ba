"""Container images without a registry: root file systems of this host's own programs, in the layout of ``docker save``."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

ROOT = Path(__file__).resolve().parents[2]
SIM = ROOT / "contrib" / "playbook-sim-engine" / "src"
BUSYBOX = Path("/usr/bin/busybox")
PYTHON = Path("/usr/bin/python3")
_SKIP = re.compile(r"(^|/)(__pycache__|test|idlelib|tkinter|lib2to3|ensurepip|pydoc_data|config-3[^/]*)(/|$)")

_COMPANIONS = ("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libgcc_s.so.1")


@frozen
class Image:
    """An image: files by their place in it, links, and how it starts."""

    tag: str
    files: Mapping[str, Path] = field(factory=dict)
    links: Mapping[str, str] = field(factory=dict)
    cmd: Sequence[str] = ("/bin/sh",)
    workdir: str = "/"
    env: Sequence[str] = ("PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONPATH=/app")


def images() -> list[Image]:
    """What the lab's nodes have: busybox, Python, and the simulated engine."""
    links = {f"bin/{name}": "busybox" for name in _run("busybox", "--list").split() if name != "busybox"}
    links |= {"usr/bin/env": "../../bin/busybox", "sbin": "bin"}
    busybox = Image("lab/busybox:1", {"bin/busybox": BUSYBOX}, links)
    python = _python(busybox)
    sim = {f"app/{p.relative_to(SIM)}": p for p in sorted(SIM.rglob("*.py"))}
    engine = Image(
        "playbook/sim-engine:lab",
        {**python.files, **sim},
        python.links,
        ("python3", "-m", "playbook_sim_engine"),
        "/app",
    )
    return [busybox, python, engine]


def _python(base: Image) -> Image:
    real = PYTHON.resolve()
    library = Path("/usr/lib") / real.name
    files = {f"usr/bin/{real.name}": real}
    files |= {str(p)[1:]: p for p in sorted(library.rglob("*")) if p.is_file() and not _SKIP.search(str(p))}
    for name in _COMPANIONS:  # what packages with compiled parts expect of any system
        files |= {str(p)[1:]: p for p in Path("/lib").glob(f"*-linux-gnu/{name}")}
    for program in (real, *library.glob("lib-dynload/*.so")):
        for line in _run("ldd", str(program)).splitlines():
            if match := re.search(r"(/\S+) \(0x", line):
                files[match[1][1:]] = Path(match[1])
    return Image("lab/python:3", {**base.files, **files}, {**base.links, "usr/bin/python3": real.name}, ("python3",))


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=False, capture_output=True, text=True).stdout


def save(into: Path) -> Path:
    """Write all images into one tar, named by its contents; returns it. The same inputs give the same bytes."""
    layers = [(image, _layer(image)) for image in images()]
    name = hashlib.sha256("".join(hashlib.sha256(data).hexdigest() for _, data in layers).encode()).hexdigest()[:16]
    target = into / f"images-{name}.tar"
    if target.exists():
        return target
    manifest = []
    part = target.with_suffix(f".{os.getpid()}.part")
    with tarfile.open(part, "w") as tar:
        for image, data in layers:
            digest = hashlib.sha256(data).hexdigest()
            _put(tar, f"{digest}/layer.tar", data)
            config = json.dumps(
                {
                    "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
                    "os": "linux",
                    "created": "2024-01-01T00:00:00Z",
                    "config": {"Cmd": list(image.cmd), "Env": list(image.env), "WorkingDir": image.workdir},
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                    "history": [{"created_by": "lab"}],
                }
            ).encode()
            config_name = hashlib.sha256(config).hexdigest() + ".json"
            _put(tar, config_name, config)
            manifest.append({"Config": config_name, "RepoTags": [image.tag], "Layers": [f"{digest}/layer.tar"]})
        _put(tar, "manifest.json", json.dumps(manifest).encode())
    part.replace(target)
    return target


def _put(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _layer(image: Image) -> bytes:
    """The root file system, with nothing in it that changes from one run to the next."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder, mode in (("tmp", 0o1777), ("etc", 0o755), ("root", 0o700), ("app", 0o755), ("var", 0o755)):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)
        _put(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        _put(tar, "etc/group", b"root:x:0:\n")
        for name, path in sorted(image.files.items()):
            info = tarfile.TarInfo(name)
            data = path.read_bytes()
            info.size, info.mode = len(data), 0o755 if os.access(path, os.X_OK) else 0o644
            tar.addfile(info, io.BytesIO(data))
        for name, to in sorted(image.links.items()):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, to
            tar.addfile(info)
    return out.getvalue()
