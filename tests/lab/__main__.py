"""``python -m tests.lab``: a lab to work with; docs/lab.md."""

from __future__ import annotations

import argparse
import os
import sys

from .core import FLAVOURS, Lab, LabError


def main() -> int:
    """Run one command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--name", default="default", help="which lab; several may be up")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring a lab up, and print a nodes.yaml for it")
    up.add_argument("count", type=int, nargs="?", default=4)
    up.add_argument("--flavours", default="v1,v2,both,none", help=f"repeated as needed, of {', '.join(FLAVOURS)}")
    commands.add_parser("down", help="take it down; nothing stays")
    commands.add_parser("status", help="what is up")
    for name in ("poweroff", "poweron"):
        commands.add_parser(name).add_argument("node")
    svc = commands.add_parser("svc", help="svc NODE sshd|dockerd start|stop|kill|restart")
    for argument in ("node", "service", "action"):
        svc.add_argument(argument)
    ctl = commands.add_parser("ctl", help="run a command on this host, in the lab's network")
    ctl.add_argument("argv", nargs=argparse.REMAINDER)
    for name, text in (("sh", "run a command in a node, not through SSH"), ("ssh", "log in to a node")):
        inner = commands.add_parser(name, help=text)
        inner.add_argument("node")
        inner.add_argument("argv", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    lab = Lab.load(options.name)
    try:
        return _perform(lab, options)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _perform(lab: Lab, options: argparse.Namespace) -> int:
    argv = [a for i, a in enumerate(getattr(options, "argv", [])) if i or a != "--"]
    match options.command:
        case "up":
            flavours = options.flavours.split(",")
            lab.up([flavours[i % len(flavours)] for i in range(options.count)])
            print(lab.nodes_yaml(), end="")
        case "down":
            lab.down()
        case "status":
            print(f"lab {lab.name}: pid {lab.root}")
            for node in lab.nodes.values():
                print(f"{node.name}  {node.addr}  {node.flavour}  {'on' if lab.pid(node.name) else 'off'}")
        case "poweroff":
            lab.poweroff(options.node)
        case "poweron":
            lab.poweron(options.node)
        case "svc":
            lab.svc(options.node, options.service, options.action)
        case "ctl":
            command = lab.controller(argv or ["bash"])
            os.execvp(command[0], command)
        case "sh":
            command = lab.inside(options.node, argv or ["bash"])
            os.execvp(command[0], command)
        case "ssh":
            known = f"UserKnownHostsFile={lab.known_hosts}"
            target = f"root@{lab.nodes[options.node].addr}"
            command = lab.controller(["ssh", "-i", str(lab.key_filename), "-o", known, target, *argv])
            os.execvp(command[0], command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
