"""The lab itself: one killable process holds every namespace; ending it ends everything in them.

Only cgroup folders and files below the lab's own folder outlive that process, and :meth:`Lab.down` removes those too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, evolve, field, frozen

from tests.setup import compose_v2

from . import images

HERE = Path(__file__).resolve().parent
CGROUP = Path("/sys/fs/cgroup")
NET = "10.88.0"
GATEWAY = f"{NET}.1"
PASSWORDS = {"root": "lab-root-pw", "ops": "lab-user-pw", "guest": "lab-user-pw", "admin": "lab-user-pw"}
FLAVOURS = ("v1", "v2", "v2old", "both", "none", "bare")
_HOLDERS: dict[int, subprocess.Popen[bytes]] = {}  # by the root that each of them holds; to be reaped
_NEEDED = ("unshare", "nsenter", "ip", "tini", "busybox", "openssl", "ssh-keygen")


class LabError(Exception):
    """The lab cannot be brought up, and why."""


def cannot() -> str:
    """Why there can be no lab on this machine; empty if there can."""
    if os.geteuid() != 0:
        return "the lab needs root"
    if missing := [n for n in _NEEDED if shutil.which(n) is None]:
        return f"the lab needs {', '.join(missing)}"
    if not Path("/usr/sbin/sshd").exists():
        return "the lab needs openssh-server"
    if (CGROUP / "cgroup.controllers").exists():
        return "the lab needs cgroup v1 hierarchies; this machine has v2 only"
    tried = subprocess.run(["unshare", "-m", "-p", "-n", "--fork", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "the lab needs to make namespaces, and may not"


@frozen
class LabNode:
    """One machine. ``sshd``: further lines of its sshd_config."""

    name: str
    addr: str
    flavour: str
    sshd: tuple[str, ...] = ()


@define
class Lab:
    """A named lab; several may be up at the same time, each in a network of its own."""

    name: str = "default"
    root_size: str = "512m"
    nodes: dict[str, LabNode] = field(factory=dict)
    _root: tuple[int, int] | None = None

    # -- where things are -----------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        return Path("/var/tmp/playbook-lab") / self.name

    @property
    def key_filename(self) -> Path:
        return self.folder / "keys" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def cgroup(self) -> str:
        return f"pklab-{self.name}"

    @property
    def root(self) -> int:
        """The pid that holds the lab. Raises LabError when it is down."""
        if self._root is None or _ticks(self._root[0]) != self._root[1]:
            raise LabError(f"lab {self.name} is down")
        return self._root[0]

    @classmethod
    def load(cls, name: str) -> Lab:
        """The lab of that name as it is, up or down."""
        lab = cls(name)
        with contextlib.suppress(FileNotFoundError):
            data = json.loads((lab.folder / "state.json").read_text())
            lab.nodes = {n: LabNode(**{**v, "sshd": tuple(v["sshd"])}) for n, v in data["nodes"].items()}
            lab._root = tuple(data["root"])
            lab.root_size = data["root_size"]
        return lab

    def _save(self) -> None:
        nodes = {
            n: {"name": n, "addr": v.addr, "flavour": v.flavour, "sshd": list(v.sshd)} for n, v in self.nodes.items()
        }
        text = json.dumps({"root": self._root, "root_size": self.root_size, "nodes": nodes})
        (self.folder / "state.json").write_text(text)

    # -- up and down ----------------------------------------------------------------------------------------------

    def up(
        self, flavours: Sequence[str], *, sshd: Mapping[str, Sequence[str]] | None = None, seed: bool = True
    ) -> None:
        """Bring up a node of each flavour, named n1, n2 ...; what an earlier lab of that name left is removed first."""
        if why := cannot():
            raise LabError(why)
        if unknown := set(flavours) - set(FLAVOURS):
            raise LabError(f"unknown flavours: {', '.join(sorted(unknown))}; there are {', '.join(FLAVOURS)}")
        self.down()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.nodes = {
            f"n{i}": LabNode(f"n{i}", f"{NET}.{10 + i}", flavour, tuple((sshd or {}).get(f"n{i}", ())))
            for i, flavour in enumerate(flavours, 1)
        }
        store = _seed() if seed and any(f != "bare" for f in flavours) else None
        self._keys()
        self._root = _start_root()
        self._save()
        self._network()
        for node in self.nodes.values():
            _fill(self.folder / "nodes" / node.name / "data", store)
        self._boot(list(self.nodes))
        self.wait_ready(list(self.nodes))

    def down(self) -> None:
        """End everything and leave nothing; harmless when it is down."""
        with contextlib.suppress(LabError):
            root = self.root
            os.kill(root, signal.SIGKILL)
            _until(lambda: _ticks(root) is None, 30)
            if holder := _HOLDERS.pop(root, None):
                holder.wait(10)
        self._root = None
        for controller in _controllers():
            _remove_cgroups(CGROUP / controller / self.cgroup)
        for _ in range(50):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                break
            time.sleep(0.1)

    def poweroff(self, name: str) -> None:
        """The node is gone at once, as without power."""
        if pid := self.pid(name):
            os.kill(pid, signal.SIGKILL)
            _until(lambda: self.pid(name) is None, 10)

    def poweron(self, name: str) -> None:
        """The node boots again, with its engine's store and nothing else of what it had."""
        if self.pid(name) is None:
            self._boot([name])
            self.wait_ready([name])

    # -- at work --------------------------------------------------------------------------------------------------

    def pid(self, name: str) -> int | None:
        """The node's first process as this host counts; None when it is off."""
        try:
            pids = (CGROUP / "pids" / self.cgroup / name / "cgroup.procs").read_text().split()
        except OSError:
            return None
        for pid in pids:
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                spaces = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
                if len(spaces) == 3 and spaces[-1] == "1":
                    return int(pid)
        return None

    def run(
        self, name: str, argv: Sequence[str], *, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside a node, not through SSH."""
        return subprocess.run(self.inside(name, argv), check=check, capture_output=True, text=True, timeout=timeout)

    def inside(self, name: str, argv: Sequence[str]) -> list[str]:
        """The argument list that runs a command inside a node. It joins the node's cgroups first: nsenter does not."""
        pid = self.pid(name)
        if pid is None:
            raise LabError(f"{name} is off")
        joins = "; ".join(f"echo 0 > {CGROUP}/{c}/{self.cgroup}/{name}/cgroup.procs" for c in _controllers())
        enter = ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", "-C", "--"]
        return ["bash", "-c", f'{joins}; exec "$@"', "sh", *enter, *argv]

    def controller(self, argv: Sequence[str]) -> list[str]:
        """The argument list that runs a command on this host, in the lab's network."""
        return ["nsenter", "-t", str(self.root), "-n", "--", *argv]

    def svc(self, name: str, service: str, action: str) -> None:
        """``start``, ``stop``, ``kill`` or ``restart`` a node's ``sshd`` or ``dockerd``."""
        self.run(name, ["svc", action, service])
        if action in ("start", "restart"):
            self.wait_ready([name])

    def wait_ready(self, names: Sequence[str], timeout: float = 60) -> None:
        """Until sshd and the engine of each node answer."""
        left = [(n, kind) for n in names for kind in ("sshd", "dockerd") if kind == "sshd" or self._has_engine(n)]
        end = time.monotonic() + timeout
        while left:
            if time.monotonic() > end:
                raise LabError(f"not ready after {timeout:.0f} s: {left}; see {self.folder}/nodes/*/init.log")
            left = [(n, kind) for n, kind in left if not self._answers(n, kind)]
            time.sleep(0.02)

    def _has_engine(self, name: str) -> bool:
        return self.nodes[name].flavour != "bare"

    def _answers(self, name: str, kind: str) -> bool:
        pid = self.pid(name)
        if pid is None:
            return False
        run = Path(f"/proc/{pid}/root/run")
        if not (run / "boot.sh").exists():
            return False  # before the pivot this is the host's /run
        if kind == "sshd":
            return (run / "sshd.pid").exists()
        with socket.socket(socket.AF_UNIX) as asked, contextlib.suppress(OSError):
            asked.settimeout(5)
            asked.connect(str(run / "docker.sock"))
            asked.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b"200 OK" in asked.recv(200)
        return False

    def nodes_yaml(self, names: Sequence[str] | None = None, **more: object) -> str:
        """A nodes file for these nodes, as users write it."""
        rows = ["nodes:"]
        for name in names or self.nodes:
            rows += [
                f"  {name}:",
                f"    host: {self.nodes[name].addr}",
                "    username: root",
                f"    key_filename: {self.key_filename}",
                f"    known_hosts: {self.known_hosts}",
                *(f"    {k}: {json.dumps(v)}" for k, v in more.items()),
            ]
        return "\n".join(rows) + "\n"

    # -- the parts ------------------------------------------------------------------------------------------------

    def _keys(self) -> None:
        self.key_filename.parent.mkdir(parents=True, exist_ok=True)
        _keygen(self.key_filename, "ed25519")
        rows = []
        for node in self.nodes.values():
            folder = self.folder / "nodes" / node.name / "hostkeys"
            folder.mkdir(parents=True)
            for kind, store in (("ed25519", folder), ("rsa", _rsa_keys())):
                source = store / (f"ssh_host_{kind}_key" if kind == "ed25519" else f"{node.name}_rsa_key")
                if not source.exists():
                    _keygen(source, kind)
                target = folder / f"ssh_host_{kind}_key"
                for suffix in ("", ".pub"):
                    if source != target:
                        shutil.copy2(f"{source}{suffix}", f"{target}{suffix}")
                algorithm, key = Path(f"{target}.pub").read_text().split()[:2]
                rows.append(f"{node.addr},{node.name} {algorithm} {key}\n")
        self.known_hosts.write_text("".join(rows))

    def _network(self) -> None:
        rows = [
            "ip link set lo up", "mkdir -p /run/netns", "mount -t tmpfs lab-netns /run/netns",
            "ip link add br0 type bridge", f"ip addr add {GATEWAY}/24 dev br0", "ip link set br0 up",
        ]  # fmt: skip
        for node in self.nodes.values():
            n = node.name
            rows += [
                f"ip netns add {n}", f"ip link add v-{n} type veth peer name eth0 netns {n}",
                f"ip link set v-{n} master br0 up", f"ip -n {n} link set lo up",
                f"ip -n {n} addr add {node.addr}/24 dev eth0", f"ip -n {n} link set eth0 up",
                f"ip -n {n} link set ifb0 netns 1 2>/dev/null || true",
            ]  # fmt: skip
        self._in_root("bash", "-ec", "\n".join(rows))

    def _in_root(self, *argv: str) -> None:
        flags = ["-m", "-n", "-p", "-u", "-i"]
        subprocess.run(["nsenter", "-t", str(self.root), *flags, "--", *argv], check=True)

    def _boot(self, names: Sequence[str]) -> None:
        peers = " ".join(f"{n}={v.addr}" for n, v in self.nodes.items())
        rows = ["set -e"]
        for name in names:
            node, folder = self.nodes[name], self.folder / "nodes" / name
            for controller in _controllers():
                group = CGROUP / controller / self.cgroup / name
                group.mkdir(parents=True, exist_ok=True)
                if controller == "cpuset":
                    for below in (group.parent, group):
                        for file in ("cpuset.cpus", "cpuset.mems"):
                            (below / file).write_text((below.parent / file).read_text())
            env = {
                "NODE": name, "ADDR": node.addr, "FLAVOR": node.flavour, "MODE": "ns", "LABDIR": str(folder),
                "ROOTSIZE": self.root_size, "DATAROOT": str(folder / "data"), "PUBKEY": f"{self.key_filename}.pub",
                "ROOTPW": PASSWORDS["root"], "USERPW": PASSWORDS["ops"], "NODES": peers, "GW": GATEWAY,
                "COMPOSE_V2": str(compose_v2.binary()), "LABRUNC": str(HERE / "lab-runc"),
                "CGROUPS": " ".join(c for c in _controllers() if c != "systemd"), "PATH": os.environ["PATH"],
                "SSHD_EXTRA": "\n".join(node.sshd),
            }  # fmt: skip
            joins = " ".join(f"{CGROUP}/{c}/{self.cgroup}/{name}/cgroup.procs" for c in _controllers())
            words = [
                "env", *[f"{k}={v}" for k, v in env.items()], "nsenter", f"--net=/run/netns/{name}", "unshare",
                "-m", "-u", "-i", "-p", "-C", "--propagation", "private", "--fork", "--kill-child",
                "bash", str(HERE / "node.sh"),
            ]  # fmt: skip
            rows.append(
                f"( for f in {joins}; do echo 0 > $f; done; exec setsid {shlex.join(words)} ) "
                f"</dev/null >{shlex.quote(str(folder))}/init.log 2>&1 &"
            )
        self._in_root("bash", "-c", "\n".join(rows))

    def with_sshd(self, name: str, *lines: str) -> None:
        """Give a node further sshd_config lines and restart its sshd."""
        self.nodes[name] = evolve(self.nodes[name], sshd=lines)
        text = "\n".join(lines)
        self.run(name, ["sh", "-c", f"printf '%s\\n' {shlex.quote(text)} >>/etc/ssh/sshd_config"])
        self.svc(name, "sshd", "restart")


def _start_root() -> tuple[int, int]:
    command = [
        "unshare", "-m", "-p", "-u", "-i", "-n", "--propagation", "private", "--fork", "--kill-child", "--mount-proc",
        "tini", "-s", "--", "sh", "-c", "hostname pklab; exec sleep infinity",
    ]  # fmt: skip
    quiet = subprocess.DEVNULL
    holder = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            for pid in Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split():
                ticks = _ticks(int(pid))
                if "tini" in Path(f"/proc/{pid}/comm").read_text() and ticks is not None:
                    _HOLDERS[int(pid)] = holder
                    return int(pid), ticks
        time.sleep(0.005)
    raise LabError("the lab's first process did not start")


def _ticks(pid: int) -> int | None:
    """When a process started: with its pid, that names it for good."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except OSError:
        return None


def _until(done: object, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        if time.monotonic() > end:
            raise LabError("it did not end")
        time.sleep(0.01)


def _controllers() -> list[str]:
    names = sorted(p.name for p in CGROUP.iterdir() if (p / "tasks").exists() and p.name != "unified")
    return [*(n for n in names if n != "systemd"), *(["systemd"] if "systemd" in names else [])]


def _remove_cgroups(top: Path) -> None:
    for _ in range(50):
        if not top.exists():
            return
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        time.sleep(0.02)


def _keygen(path: Path, kind: str) -> None:
    bits = ["-b", "2048"] if kind == "rsa" else []
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-C", "lab", "-f", str(path)], check=True)


def _rsa_keys() -> Path:
    """RSA keys take long to make and are no secret here, so they are kept."""
    folder = compose_v2.cache() / "rsa"
    folder.mkdir(exist_ok=True)
    return folder


def _seed() -> Path:
    """An engine's store with the lab's images in it; made once for each set of images, by an engine of a lab of its own."""
    cache = compose_v2.cache()
    archive = images.save(cache)
    target = cache / archive.stem
    if target.exists():
        return target
    maker = Lab(f"seed-{os.getpid()}")
    maker.up(["v2old"], seed=False)
    try:
        with archive.open("rb") as file:
            subprocess.run(
                maker.inside("n1", ["docker", "load", "-q"]), stdin=file, check=True, stdout=subprocess.DEVNULL
            )
        maker.run("n1", ["svc", "stop", "dockerd"])
        part = target.with_suffix(f".{os.getpid()}")
        part.mkdir()
        for name in ("image", "overlay2"):
            subprocess.run(["cp", "-a", str(maker.folder / "nodes/n1/data" / name), str(part)], check=True)
        with contextlib.suppress(OSError):  # somebody else was faster
            part.rename(target)
        shutil.rmtree(part, ignore_errors=True)
    finally:
        maker.down()
    return target


def _fill(data: Path, store: Path | None) -> None:
    """An engine's data folder: small metadata copied, layers (which nobody changes) hard-linked."""
    data.mkdir(parents=True)
    if store is not None:
        subprocess.run(["cp", "-a", str(store / "image"), str(data)], check=True)
        subprocess.run(["cp", "-al", str(store / "overlay2"), str(data)], check=True)
