"""Faults that strike a node of the lab, each with what heals it, and the classes of error that it may rightly be told as.

Commands run on the node unless they begin with ``@lab``: those are commands of the lab; or with ``@limit``, a file and a value: that
limit of the node is set from outside of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from tests.lab.core import CGROUP, Lab

from .runs import lab_command

NODE = "n2"
_SSHD = "for p in $(pgrep -x sshd); do kill -{0} $p; done"
_RAW = "iptables -t raw -{0} PREROUTING -p tcp --dport 22 -j DROP"
_OUT = "iptables -{0} OUTPUT -p tcp --sport 22 -j DROP"
_RST = "iptables -{0} INPUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset"
_OURS = "docker ps -q --filter label=playbook.trial"
_COMPOSE = "/usr/libexec/docker/cli-plugins/docker-compose"
_LISTEN = 'import socket,time; s=socket.create_server(("",8090)); time.sleep(600)'

NETWORK = ("network", "node", "timeout")
ENGINE = ("engine", "command", "timeout", "start", "node")
SERVICE = ("health", "start", "engine", "image")
LOAD = ("command", "phase", "timeout", "network")


@frozen
class Fault:
    """One way to break a node. ``classes``: how a failure because of it may be told.

    ``waits``: it strikes when what it strikes at is there.
    """

    name: str
    strike: str
    heal: str = ":"
    classes: tuple[str, ...] = ()
    waits: bool = False

    def commands(self, lab: Lab, script: str) -> list[list[str]]:
        """What to run for one of its scripts."""
        if script.startswith("@lab "):
            return [lab_command(lab, *script.split()[1:])]
        if script.startswith("@limit "):
            _, file, value = script.split()
            controller = file.partition(".")[0]
            return [["sh", "-c", f"echo {value} > {CGROUP}/{controller}/{lab.cgroup}/{NODE}/{file}"]]
        return [lab.inside(NODE, ["sh", "-c", script])] if lab.pid(NODE) else []


FAULTS: Sequence[Fault] = (
    Fault("node off", f"@lab poweroff {NODE}", f"@lab poweron {NODE}", NETWORK),
    Fault("sshd killed", _SSHD.format("KILL"), "svc start sshd", NETWORK),
    Fault("sshd frozen", _SSHD.format("STOP"), _SSHD.format("CONT"), NETWORK),
    Fault("sessions killed", "for p in $(pgrep -x sshd); do [ $p = $(cat /run/sshd.pid) ] || kill -9 $p; done", ":", NETWORK),
    Fault("link down", "ip link set eth0 down", "ip link set eth0 up", NETWORK),
    Fault("packets dropped", _RAW.format("I"), _RAW.format("D"), NETWORK),
    Fault("half open", _OUT.format("I"), _OUT.format("D"), NETWORK),
    Fault("resets", _RST.format("I"), _RST.format("D"), NETWORK),
    Fault(
        "slow link", "tc qdisc add dev eth0 root tbf rate 512kbit burst 4k latency 400ms", "tc qdisc del dev eth0 root", NETWORK
    ),
    Fault("engine killed", "svc kill dockerd", "svc start dockerd; while ! docker ps >/dev/null 2>&1; do sleep 0.2; done", ENGINE),
    Fault("engine restarted", "svc restart dockerd", "while ! docker ps >/dev/null 2>&1; do sleep 0.2; done", (*ENGINE, *SERVICE)),
    Fault("engine frozen", "kill -STOP $(cat /run/docker.pid)", "kill -CONT $(cat /run/docker.pid)", ENGINE),
    Fault(
        "containerd killed", "pkill -9 -x containerd",
        "while ! docker run --rm --network none lab/busybox:1 true >/dev/null 2>&1; do sleep 0.2; done", (*ENGINE, *SERVICE),
    ),
    Fault("docker command gone", "mv $(command -v docker) /run/docker-away", "mv /run/docker-away /usr/local/bin/docker", ENGINE),
    Fault(
        "compose gone", f"mount --bind /dev/null {_COMPOSE}",
        f"while [ ! -s {_COMPOSE} ] && umount -l {_COMPOSE} 2>/dev/null; do :; done", ENGINE,
    ),
    Fault("containers killed", f"for c in $({_OURS}); do docker kill $c; done; :", ":", (*SERVICE, *LOAD)),
    Fault("containers paused", f"for c in $({_OURS}); do docker pause $c; done; :", ":", (*SERVICE, *LOAD)),
    Fault("containers stopped", f"for c in $({_OURS}); do docker stop -t 0 $c; done; :", ":", (*SERVICE, *LOAD)),
    Fault("containers removed", f"for c in $({_OURS} -a); do docker rm -f $c; done; :", ":", (*SERVICE, *LOAD)),
    Fault(
        "image missing", "docker tag lab/busybox:1 kept:1; docker rmi -f lab/busybox:1",
        "docker tag kept:1 lab/busybox:1; docker rmi kept:1", ("image", "start", "command"),
    ),
    Fault("port taken", f"setsid python3 -c '{_LISTEN}' >/dev/null 2>&1 </dev/null & sleep 0.3", "fuser -k 8090/tcp; :", ("start", "health")),
    Fault(
        "networks exhausted", "for i in $(seq 40); do docker network create x$i || break; done; :",
        "docker network ls -q --filter name=^x | xargs -r docker network rm; :", ("node",),
    ),
    Fault("disk full", "dd if=/dev/zero of=/fill bs=1M 2>/dev/null; dd if=/dev/zero of=/fill2 bs=1 2>/dev/null; :", "rm -f /fill /fill2", ("node", "command", "start", "engine")),
    Fault("read-only disk", "mount -o remount,ro /", "mount -o remount,rw /", ("node", "command", "start", "engine")),
    Fault("temporary folder gone", "mv /tmp /tmp-away", "rm -rf /tmp; mv /tmp-away /tmp", ("node", "command")),
    Fault("script killed", "while ! pgrep -f run_test.sh >/dev/null; do sleep 0.1; done; pkill -9 -f run_test.sh; :", ":", LOAD, waits=True),
    Fault("few processes", "@limit pids.max 8", "@limit pids.max max", (*NETWORK, *ENGINE, *SERVICE, *LOAD)),
    Fault(
        "clock skew", "cp /usr/bin/date /usr/bin/right-date; printf '#!/bin/sh\\nexec right-date -d \"+2 hours\" \"$@\"\\n' >/run/date; "
        "chmod 755 /run/date; mv /run/date /usr/bin/date", "mv /usr/bin/right-date /usr/bin/date",
    ),
    Fault("little CPU", "echo 5000 > /sys/fs/cgroup/cpu/cpu.cfs_quota_us", "echo -1 > /sys/fs/cgroup/cpu/cpu.cfs_quota_us", NETWORK),
)  # fmt: skip
