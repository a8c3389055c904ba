"""The command line, and the environment variables of the same names."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from playbook_sim_engine import __version__
from playbook_sim_engine.faults import Faults
from playbook_sim_engine.options import OptionError, add_flags, build, known_variables
from playbook_sim_engine.server import run
from playbook_sim_engine.settings import Settings

_CHECK_TIMEOUT = 5.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="playbook-sim-engine", allow_abbrev=False,
        description="A simulated LLM inference engine. Every flag is also an environment variable, named in brackets.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"playbook-sim-engine {__version__}")
    parser.add_argument(
        "--check-health",
        action="store_true",
        help="ask /health of the engine at --port on this host; exit 0 when it is",
    )
    add_flags(parser.add_argument_group("engine"), Settings)
    add_flags(parser.add_argument_group("faults"), Faults, "fault_")
    return parser


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run an engine; return the exit status (2 for options that cannot be used)."""
    environ = os.environ if environ is None else environ
    given = vars(_parser().parse_args(argv))
    check = given.pop("check_health")
    try:
        settings = build(Settings, given, environ)
        faults = build(Faults, given, environ, "fault_")
    except OptionError as error:
        print(f"playbook-sim-engine: {error}", file=sys.stderr)
        return 2
    if check:
        return _check_health(settings.port)
    known = known_variables(Settings) | known_variables(Faults, "fault_")
    for name in sorted(n for n in environ if n.startswith("SIM_") and n not in known):
        print(f"playbook-sim-engine: {name} is set but is no option", file=sys.stderr)
    return run(settings, faults)


def _check_health(port: int) -> int:
    import http.client  # a quarter of the start-up time, needed only here

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_CHECK_TIMEOUT)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except OSError as error:
        print(f"playbook-sim-engine: /health at port {port}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0 if status == 200 else 1
