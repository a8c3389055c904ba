"""One contender, one task, in a process of its own: ``python contenders.py TOOL TASK PLACE`` prints its figures as JSON.

Run by the interpreter that has the tool installed. PLACE is a JSON object; see ``__main__``. Every tool does the same:
connect, one command or transfer to warm up where the task says so, then what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Place = dict[str, Any]
Figures = dict[str, float]
COMMAND = "/bin/true"  # a program, as real commands are: `true` alone is done by the login shell itself
CIPHER = "aes128-gcm@openssh.com"


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=count)


def many(place: Place, connect: Callable[[int], Any], run: Callable[[Any], object]) -> Figures:
    """Connect to all, run a command on each, then ``commands`` on each, one after the other there."""
    with threads(len(place["ports"])) as pool:
        lines: list[Any] = []
        figures = {"connect": timed(lambda: lines.extend(pool.map(connect, place["ports"])))}
        figures["first"] = timed(lambda: list(pool.map(run, lines)))

        def work(line: Any) -> None:
            for _ in range(place["commands"]):
                run(line)

        cpu = time.process_time()
        figures["warm"] = timed(lambda: list(pool.map(work, lines)))
        figures["cpu"] = time.process_time() - cpu
    return figures


# -- ours ---------------------------------------------------------------------------------------------------------


def ours(task: str, place: Place) -> Figures:
    from playbook_kernel.api import DriverRef, Node
    from playbook_plugins.transports.ssh import Options, SshTransport, session  # noqa: F401 - imports are not measured

    def connect(port: int) -> Any:
        options = Options(
            host=place["host"],
            port=port,
            username=place["user"],
            key_filename=place["key"],
            known_hosts=place["known"],
            ssh_config="/dev/null",
            use_agent=False,
        )
        return SshTransport(options).connect(Node(f"n{port}", DriverRef("ssh")), owner="pk-bench")

    if task == "commands":
        return many(place, connect, lambda line: line.run([COMMAND]))
    with connect(place["ports"][0]) as line:
        line.start_bulk([COMMAND]).wait()
        local, remote = Path(place["local"]), place["remote"]
        if task == "file":
            return {
                "up": timed(lambda: line.put(local, remote)),
                "down": timed(lambda: line.get(remote, Path(place["back"]))),
            }
        return {
            "up": timed(lambda: line.put_tree(local, remote)),
            "down": timed(lambda: line.get_tree(remote, Path(place["back"]))),
        }


# -- others -------------------------------------------------------------------------------------------------------


def _client(place: Place, port: int) -> Any:
    import paramiko

    client = paramiko.SSHClient()
    client.load_host_keys(place["known"])
    client.connect(
        place["host"], port, place["user"], key_filename=place["key"], allow_agent=False, look_for_keys=False
    )
    return client


def paramiko(task: str, place: Place) -> Figures:
    """As it comes: SSHClient, its own ciphers and sockets, and SFTP for files."""

    def run(client: Any) -> None:
        _, stdout, _ = client.exec_command(COMMAND)
        stdout.read()
        assert stdout.channel.recv_exit_status() == 0

    if task == "commands":
        return many(place, lambda port: _client(place, port), run)
    sftp = _client(place, place["ports"][0]).open_sftp()
    local, remote, back = Path(place["local"]), place["remote"], Path(place["back"])
    if task == "file":
        return {
            "up": timed(lambda: sftp.put(str(local), remote)),
            "down": timed(lambda: sftp.get(remote, str(back))),
        }
    sftp.mkdir(remote)
    back.mkdir()
    names = [p.name for p in local.iterdir()]
    return {
        "up": timed(lambda: [sftp.put(str(local / n), f"{remote}/{n}") for n in names]),
        "down": timed(lambda: [sftp.get(f"{remote}/{n}", str(back / n)) for n in names]),
    }


def fabric(task: str, place: Place) -> Figures:
    from fabric import Config, Connection

    config = Config(overrides={"load_ssh_configs": False})

    def connect(port: int) -> Any:
        keys = {"key_filename": place["key"], "allow_agent": False, "look_for_keys": False}
        made = Connection(place["host"], user=place["user"], port=port, connect_kwargs=keys, config=config)
        made.open()
        return made

    assert task == "commands"
    return many(place, connect, lambda connection: connection.run(COMMAND, hide=True, in_stream=False))


def asyncssh(task: str, place: Place) -> Figures:
    import asyncssh as library

    assert task == "commands"

    async def main() -> Figures:
        def connect(port: int) -> Any:
            return library.connect(
                place["host"],
                port,
                username=place["user"],
                client_keys=[place["key"]],
                known_hosts=place["known"],
                config=None,
                agent_path=None,
            )

        async def work(line: Any, count: int) -> None:
            for _ in range(count):
                assert (await line.run(COMMAND)).exit_status == 0

        figures: Figures = {}
        began = time.perf_counter()
        lines = await asyncio.gather(*[connect(p) for p in place["ports"]])
        figures["connect"] = time.perf_counter() - began
        for name, count in (("first", 1), ("warm", place["commands"])):
            began, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*[work(line, count) for line in lines])
            figures[name], figures["cpu"] = time.perf_counter() - began, time.process_time() - cpu
        for line in lines:
            line.close()
        return figures

    return asyncio.run(main())


def _ssh(place: Place, port: int, *options: str) -> list[str]:
    known = f"UserKnownHostsFile={place['known']}"
    key = ["-i", place["key"], "-o", "IdentitiesOnly=yes", "-o", known, "-p", str(port)]
    return ["ssh", "-F", "none", *key, *options, f"{place['user']}@{place['host']}"]


def openssh(task: str, place: Place) -> Figures:
    """ControlMaster for commands; cat and tar with the same cipher as ours for files."""
    if task == "commands":
        with _masters(place) as run:
            return many(place, lambda port: run(port, "-M", "-f", "-N") or port, lambda port: run(port))
    ssh = _ssh(place, place["ports"][0], "-c", CIPHER)
    local, remote, back = place["local"], place["remote"], place["back"]
    if task == "file":
        with Path(local).open("rb") as source, Path(back).open("wb") as target:
            return {
                "up": timed(lambda: subprocess.run([*ssh, f"cat >{remote}"], stdin=source, check=True)),
                "down": timed(lambda: subprocess.run([*ssh, f"cat {remote}"], stdout=target, check=True)),
            }
    Path(back).mkdir()

    def piped(first: list[str], second: list[str]) -> None:
        with subprocess.Popen(first, stdout=subprocess.PIPE) as source:
            subprocess.run(second, stdin=source.stdout, check=True)

    up = [*ssh, f"mkdir -p {remote} && tar -C {remote} -xf -"]
    return {
        "up": timed(lambda: piped(["tar", "-C", local, "-cf", "-", "."], up)),
        "down": timed(lambda: piped([*ssh, f"tar -C {remote} -cf - ."], ["tar", "-C", back, "-xf", "-"])),
    }


@contextlib.contextmanager
def _masters(place: Place) -> Iterator[Callable[..., None]]:
    def run(port: int, *options: str) -> None:
        control = f"ControlPath={place['scratch']}/control-{port}"
        command = [] if options else [COMMAND]
        argv = [*_ssh(place, port, "-o", control, "-o", "KexAlgorithms=curve25519-sha256", *options), *command]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)

    try:
        yield run
    finally:
        for port in place["ports"]:
            subprocess.run(_ssh(place, port, "-O", "exit", "-o", f"ControlPath={place['scratch']}/control-{port}"),
                           capture_output=True, check=False)  # fmt: skip


# -- tools, which know no warm connection: what more commands take is the difference of two runs ---------------------


def _differing(place: Place, run: Callable[[int], object]) -> Figures:
    first = timed(lambda: run(1))
    return {"first": first, "warm": timed(lambda: run(1 + place["commands"])) - first}


def pyinfra(task: str, place: Place) -> Figures:
    assert task == "commands"
    scratch = Path(place["scratch"])
    common = {
        "ssh_hostname": place["host"],
        "ssh_user": place["user"],
        "ssh_key": place["key"],
        "ssh_known_hosts_file": place["known"],
        "ssh_strict_host_key_checking": "yes",
        "ssh_look_for_keys": False,
        "ssh_allow_agent": False,
    }
    hosts = [(f"n{port}", {**common, "ssh_port": port}) for port in place["ports"]]
    (scratch / "inventory.py").write_text(f"nodes = {hosts!r}\n")

    def run(count: int) -> None:
        deploy = f"from pyinfra.operations import server\nfor _ in range({count}):\n    server.shell({COMMAND!r})\n"
        (scratch / "deploy.py").write_text(deploy)
        argv = [sys.executable, "-m", "pyinfra", "-y", "--parallel", str(len(hosts)), "inventory.py", "deploy.py"]
        subprocess.run(argv, check=True, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True)

    return _differing(place, run)


def ansible(task: str, place: Place) -> Figures:
    """The module ``raw``, which is its fastest: it copies no Python to the nodes."""
    assert task == "commands"
    scratch = Path(place["scratch"])
    options = f"-o UserKnownHostsFile={place['known']} -o IdentitiesOnly=yes -o KexAlgorithms=curve25519-sha256"
    rows = [
        f"n{port} ansible_host={place['host']} ansible_port={port} ansible_user={place['user']} "
        f"ansible_ssh_private_key_file={place['key']} ansible_ssh_common_args='{options}'"
        for port in place["ports"]
    ]
    (scratch / "hosts.ini").write_text("\n".join(rows) + "\n")
    home = {"ANSIBLE_LOCAL_TEMP": str(scratch / "ansible"), "ANSIBLE_HOME": str(scratch / "ansible")}
    env = {**os.environ, **home, "ANSIBLE_SSH_CONTROL_PATH_DIR": str(scratch / "cp")}

    def run(count: int) -> None:
        steps = [{"raw": COMMAND} for _ in range(count)]
        (scratch / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": steps}]))
        program = str(Path(sys.executable).parent / "ansible-playbook")
        argv = [program, "-i", "hosts.ini", "-f", str(len(rows)), "play.json"]
        subprocess.run(argv, check=True, cwd=scratch, env=env, stdin=subprocess.DEVNULL, capture_output=True)

    return _differing(place, run)


TOOLS: dict[str, Callable[[str, Place], Figures]] = {
    "ours": ours,
    "paramiko": paramiko,
    "fabric": fabric,
    "asyncssh": asyncssh,
    "openssh": openssh,
    "pyinfra": pyinfra,
    "ansible": ansible,
}

if __name__ == "__main__":
    import resource

    _, tool, asked, text = sys.argv
    found = TOOLS[tool](asked, json.loads(text))
    found["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found), flush=True)
    os._exit(0)  # connections that are still open are not part of anything
