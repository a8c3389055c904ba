"""Faults of the network between two services: cut, slow to answer, narrow.

Each acts on what one service sends to the other, in both directions: in the network namespace of each container, or in the
node's own where a service uses that. What goes elsewhere is left alone; so is, in a node's own namespace, SSH.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from playbook_kernel.api import (
    CommandFailed,
    Composer,
    Deployment,
    Fact,
    Fault,
    PhaseFailed,
    Scenario,
    Session,
    TrialContext,
    Wound,
    field,
    frozen,
)

from playbook_plugins.deployment import composer_for, share_for

from .services import missing, places

# $1: pid, or 0 for the node's own namespace; $2: the namespace that it had. Then $IN runs what follows in there. Whoever
# comes too late finds another namespace under that number, or none: what was done to the old one is gone with it.
_ENTER = """\
pid=$1 ns=$2; shift 2
IN=
if [ "$pid" != 0 ]; then
  [ "$(readlink "/proc/$pid/ns/net" 2>/dev/null)" = "$ns" ] || exit 0
  IN="nsenter -t $pid -n"
fi
"""

# $1: chain, $2: port of sshd, $3: ports or -, then addresses.
_CUT = f"""\
{_ENTER}
chain=$1 ssh=$2 ports=$3; shift 3
set -e
$IN iptables -w -N "$chain"
[ -n "$IN" ] || $IN iptables -w -A "$chain" -p tcp --sport "$ssh" -j RETURN
for a in "$@"; do
  if [ "$ports" = - ]; then $IN iptables -w -A "$chain" -d "$a" -j DROP; continue; fi
  for p in $ports; do
    $IN iptables -w -A "$chain" -d "$a" -p tcp --dport "$p" -j DROP
    $IN iptables -w -A "$chain" -d "$a" -p tcp --sport "$p" -j DROP
  done
done
$IN iptables -w -I OUTPUT -j "$chain"
"""
_MEND = f"""\
{_ENTER}
chain=$1
$IN iptables -w -S "$chain" >/dev/null 2>&1 || exit 0
while $IN iptables -w -D OUTPUT -j "$chain" 2>/dev/null; do :; done
$IN iptables -w -F "$chain" && $IN iptables -w -X "$chain"
! $IN iptables -w -S "$chain" >/dev/null 2>&1
"""

# $1: rate, $2: arguments of netem or -, $3: ports or -, then addresses. A queue that somebody else made is not touched.
_SHAPE = f"""\
{_ENTER}
rate=$1 netem=$2 ports=$3; shift 3
set -e
for a in "$@"; do
  dev=$($IN ip -o route get "$a" | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p')
  if ! $IN tc qdisc show dev "$dev" | grep -q '^qdisc htb 1f00: root'; then
    if $IN tc qdisc show dev "$dev" | grep ' root ' | grep -qv ' 0: '; then
      echo "$dev has a queue that somebody else made" >&2; exit 3
    fi
    $IN tc qdisc add dev "$dev" root handle 1f00: htb default 1
    $IN tc class add dev "$dev" parent 1f00: classid 1f00:1 htb rate 100gbit quantum 60000
    $IN tc class add dev "$dev" parent 1f00: classid 1f00:2 htb rate "$rate" quantum 60000
    [ "$netem" = - ] || $IN tc qdisc add dev "$dev" parent 1f00:2 handle 1f02: netem $netem
  fi
  f="$IN tc filter add dev $dev parent 1f00: protocol ip prio 1 u32 match ip dst $a/32"
  if [ "$ports" = - ]; then $f flowid 1f00:2; continue; fi
  for p in $ports; do $f match ip dport "$p" 0xffff flowid 1f00:2; $f match ip sport "$p" 0xffff flowid 1f00:2; done
done
"""
_UNSHAPE = f"""\
{_ENTER}
devs() {{ $IN tc qdisc show | sed -n 's/^qdisc htb 1f00: dev \\([^ ]*\\) root.*/\\1/p'; }}
for d in $(devs); do $IN tc qdisc del dev "$d" root; done
[ -z "$(devs)" ]
"""

_TRY_CUT = "iptables -w -A OUTPUT -d 192.0.2.1 -p tcp --dport 1 -j DROP"
_TRY_SHAPE = """\
set -e
tc qdisc add dev lo root handle 1f00: htb default 1
tc class add dev lo parent 1f00: classid 1f00:2 htb rate 1gbit quantum 60000
tc filter add dev lo parent 1f00: protocol ip prio 1 u32 match ip dst 192.0.2.1/32 flowid 1f00:2
"""
_TRY_NETEM = f"{_TRY_SHAPE}\ntc qdisc add dev lo parent 1f00:2 handle 1f02: netem delay 1ms\n"


@frozen
class Options:
    """``between``: two services, each ``name`` or ``name@node``. ``ports``: only these, of TCP; all if left out."""

    between: list[str]
    ports: list[int] = field(factory=list)


@frozen
class DelayOptions(Options):
    """``ms``: how much later each packet comes, in each direction; ``jitter``: by how many ms more or less."""

    ms: float = field(kw_only=True)
    jitter: float = field(default=0.0, kw_only=True)


@frozen
class LimitOptions(Options):
    """``mbit``: megabits per second, in each direction."""

    mbit: float = field(kw_only=True)


O = TypeVar("O", bound=Options)  # noqa: E741 - a type


class _OfNetwork(Fault[O], Generic[O]):
    """Common to all of them."""

    tools: ClassVar[tuple[str, ...]]
    trial: ClassVar[str]
    """A script that does the like in a namespace made for it: whether the kernel can."""
    strike_script: ClassVar[str]
    heal_script: ClassVar[str]

    @abstractmethod
    def words(self) -> str:
        """What is wrong with the network then."""

    def check(self, scenario: Scenario) -> Sequence[str]:
        if len(self.options.between) != 2 or len(set(self.options.between)) != 2:
            return [f"between: expected two services, got {self.options.between}"]
        found = [f"between: {said}" for s in self.options.between if (said := missing(s, scenario))]
        found += [f"ports: {p} is no port" for p in self.options.ports if not 0 < p < 65536]
        return found

    def _nodes(self, ctx: TrialContext) -> list[str]:
        return sorted({n for s in self.options.between for _, n in places(s, ctx.trial.scenario)})

    def fit(self, ctx: TrialContext) -> str | None:
        for node in self._nodes(ctx):
            if type(composer_for(ctx, node)).attachments is Composer.attachments:
                return f"{node}: composer {ctx.facts[node].get('composer')} does not know how its services are on the network"
            session = ctx.session(node)
            if not _is_root(session) and session.run(["sudo", "-n", "true"], check=False).status:
                return f"{node}: needs root, and {ctx.nodes[node].name}'s user may not sudo without a password"
            script = 'for t in "$@"; do command -v "$t" >/dev/null || echo "$t"; done'
            absent = session.run(
                ["sh", "-c", script, "-", "nsenter", "unshare", *self.tools], sudo=not _is_root(session)
            )
            if absent.text.split():
                return f"{node}: has no {', '.join(absent.text.split())}"
            tried = session.run(["unshare", "-n", "sh", "-c", self.trial], check=False, sudo=not _is_root(session))
            if tried.status:
                return f"{node}: its kernel cannot do it: {_last(tried.errors)}"
        return None

    def plan(self, ctx: TrialContext, deployment: Deployment) -> Sequence[Wound]:
        one, other = self.options.between
        return [*self._side(ctx, one, other), *self._side(ctx, other, one)]

    def _side(self, ctx: TrialContext, ours: str, theirs: str) -> list[Wound]:
        found = []
        for service, node in places(ours, ctx.trial.scenario):
            session = ctx.session(node)
            composer = composer_for(ctx, node)
            for number, at in enumerate(composer.attachments(session, share_for(ctx, node), service)):
                addresses = self._addresses(ctx, node, theirs, own=at.pid == 0)
                key = hashlib.sha256(f"{ctx.trial.id} {ours} {theirs} {service}{node}{number}".encode()).hexdigest()[
                    :12
                ]
                namespace = session.run(
                    ["readlink", f"/proc/{at.pid or 'self'}/ns/net"], sudo=not _is_root(session)
                ).text.strip()
                data: dict[str, Fact] = {
                    "pid": at.pid, "namespace": namespace, "chain": f"playbook-{key}",
                    "addresses": list[Any](addresses), "ports": list[Any](self.options.ports),
                }  # fmt: skip
                found.append(Wound(node, f"network from {service} on {node} to {theirs} {self.words()}", data=data))
        return found

    def _addresses(self, ctx: TrialContext, node: str, theirs: str, *, own: bool) -> list[str]:
        """Where the other side is, as seen from a service on a node; ``own``: it is in the node's own namespace."""
        found: dict[str, None] = {}
        for service, there in places(theirs, ctx.trial.scenario):
            host = _address(ctx.nodes[there].host)
            if there != node:
                found[host] = None
                continue
            session = ctx.session(there)
            peers = composer_for(ctx, there).attachments(session, share_for(ctx, there), service)
            found.update(dict.fromkeys(a for p in peers for a in p.addresses))
            if not own:
                found[host] = None
            elif any(p.pid == 0 for p in peers):
                if not self.options.ports:
                    raise PhaseFailed(
                        f"{' and '.join(self.options.between)} both use the network of {node} itself",
                        hint="say which `ports` the fault is about",
                    )
                found.update({host: None, "127.0.0.1": None})
        return list(found)

    @abstractmethod
    def arguments(self, ctx: TrialContext, wound: Wound) -> Sequence[object]:
        """What the strike script takes after pid and namespace and before ports and addresses."""

    def strike(self, ctx: TrialContext, wound: Wound) -> None:
        ports = " ".join(map(str, _list(wound.data, "ports"))) or "-"
        self._do(ctx, wound, self.strike_script, [*self.arguments(ctx, wound), ports, *_list(wound.data, "addresses")])

    def heal(self, ctx: TrialContext, wound: Wound) -> None:
        self._do(ctx, wound, self.heal_script, [wound.data["chain"]])

    def _do(self, ctx: TrialContext, wound: Wound, script: str, more: Sequence[object]) -> None:
        session = ctx.session(wound.node)
        argv = ["sh", "-c", script, "-", wound.data["pid"], wound.data["namespace"], *more]
        try:
            session.run(argv, sudo=not _is_root(session))
        except CommandFailed as error:
            raise PhaseFailed(f"{wound.what}: {_last(error.stderr) or error}") from error


class Cut(_OfNetwork[Options]):
    """Nothing passes between two services: packets are dropped without an answer, as when a cable is pulled."""

    tools = ("iptables",)
    trial = _TRY_CUT
    strike_script, heal_script = _CUT, _MEND

    def words(self) -> str:
        return "cut"

    def arguments(self, ctx: TrialContext, wound: Wound) -> Sequence[object]:
        return [wound.data["chain"], ctx.nodes[wound.node].transport.options.get("port", 22)]


class Delay(_OfNetwork[DelayOptions]):
    """What two services send to one another comes later."""

    tools = ("tc", "ip")
    trial = _TRY_NETEM
    strike_script, heal_script = _SHAPE, _UNSHAPE

    def check(self, scenario: Scenario) -> Sequence[str]:
        wrong = self.options.ms <= 0 or self.options.jitter < 0
        return [*super().check(scenario), *(["ms: must be above 0, jitter at least 0"] if wrong else [])]

    def words(self) -> str:
        return f"{self.options.ms:g} ms later"

    def arguments(self, ctx: TrialContext, wound: Wound) -> Sequence[object]:
        jitter = f" {self.options.jitter:g}ms" if self.options.jitter else ""
        return ["100gbit", f"delay {self.options.ms:g}ms{jitter}"]


class Limit(_OfNetwork[LimitOptions]):
    """Two services can send no more than so many megabits per second to one another."""

    tools = ("tc", "ip")
    trial = _TRY_SHAPE
    strike_script, heal_script = _SHAPE, _UNSHAPE

    def check(self, scenario: Scenario) -> Sequence[str]:
        return [*super().check(scenario), *(["mbit: must be above 0"] if self.options.mbit <= 0 else [])]

    def words(self) -> str:
        return f"limited to {self.options.mbit:g} Mbit/s"

    def arguments(self, ctx: TrialContext, wound: Wound) -> Sequence[object]:
        return [f"{round(self.options.mbit * 1000)}kbit", "-"]


def _list(data: Mapping[str, Fact], name: str) -> list[Any]:
    value = data[name]
    return value if isinstance(value, list) else []


def _is_root(session: Session) -> bool:
    return session.run(["id", "-u"]).text.strip() == "0"


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def _address(host: str) -> str:
    """The IPv4 address of a node. Raises PhaseFailed."""
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0])
    except OSError as error:
        raise PhaseFailed(f"{host} has no IPv4 address: {error}") from error
