"""`playbook-aicp`: the earlier tool's command line, and what it did not have."""

from __future__ import annotations

import argparse
import difflib
import math
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from attrs import NOTHING, Attribute, evolve

from playbook_plugins.jsonc import line_of, load_config

from .options import ALIASES, BY_NAME, OptionError, Options, fill

VERSION = "0.1.0"
_COMMANDS = ("run", "recompute", "calibrate", "mock-server", "slo-search")
_MANY = ("metadata", "headers", "export_col")


class _Parser(argparse.ArgumentParser):
    """Tells a slip in a line, with what was probably meant, and not under a page of flags."""

    def error(self, message: str) -> NoReturn:
        words = message.removeprefix("unrecognized arguments: ").split()
        known = [flag for action in self._actions for flag in action.option_strings]
        hints = []
        for word in (w.partition("=")[0] for w in words if w.startswith("--")) if words != message.split() else ():
            near = difflib.get_close_matches(word, known, n=2, cutoff=0.75)
            hints.append(f"unknown option {word}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
        for line in hints or [message]:
            sys.stderr.write(f"{self.prog}: {line}\n")
        sys.stderr.write(f"{self.prog}: see {self.prog} --help\n")
        raise SystemExit(2)


def _parser(prog: str, about: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=prog, description=about, epilog="All but the first word: see docs/aicp.md.")
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("--config", type=Path, help="a test_config.json, comments allowed; flags win over it")
    groups: dict[str, Any] = {}
    for name, attribute in BY_NAME.items():
        group = attribute.metadata["group"]
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        _add(groups[group], name, attribute)
    for alias, name in ALIASES.items():
        if alias != "slo":
            groups["prompts"].add_argument(
                "--" + alias.replace("_", "-"), dest=name, default=None, help=argparse.SUPPRESS
            )
    return parser


def _add(group: Any, name: str, attribute: Attribute[Any]) -> None:
    flag = "--" + name.replace("_", "-")
    default = attribute.default
    shown = "" if default in (NOTHING, None, "", (), {}) or isinstance(default, bool) else f" [{_shown(default)}]"
    text = (attribute.metadata["help"] + shown).replace("%", "%%")
    if isinstance(default, bool):
        if default:
            group.add_argument("--no-" + name, dest=name, action="store_const", const=False, help=f"not: {text}")
        else:
            group.add_argument(flag, dest=name, action="store_const", const=True, help=text)
    elif name in _MANY:
        group.add_argument(
            flag, dest=name, nargs="*", help=text, metavar="KEY=VALUE" if name != "export_col" else "COLUMN"
        )
    else:
        group.add_argument(flag, dest=name, help=text, metavar=_metavar(attribute))


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(_shown(d) for d in default)
    if isinstance(default, Mapping):
        import json

        return json.dumps(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def _metavar(attribute: Attribute[Any]) -> str:
    kind = attribute.metadata["kind"]
    return kind.__doc__ if kind.__doc__ and "|" in kind.__doc__ else "X"


def _parts(parsed: argparse.Namespace) -> tuple[list[tuple[str, Options]], bool]:
    """Defaults, then the file, then the flags, for each load; whether they go side by side. Raises OptionError."""
    from .many import Part, expand

    flags = {name: getattr(parsed, name) for name in BY_NAME if getattr(parsed, name, None) is not None}
    parts, parallel = [Part("", {})], False
    if parsed.config is not None:
        try:
            parts, parallel = expand(load_config(parsed.config))
        except (OSError, ValueError) as error:
            raise OptionError([str(error)]) from None
    made, problems = [], list[str]()
    for part in parts:
        wrong: list[str] = []
        base = fill(part.given, problems=wrong)
        problems += [f"{parsed.config}:{line_of(parsed.config, p.partition(':')[0]) or ''}: {p}" for p in wrong]
        if parsed.config is None and "dataset_path" not in flags:
            kind = flags.get("dataset_name", "filtered")
            if kind in ("filtered", "sharegpt", "normal", "custom"):
                base = evolve(base, dataset_path="/workspace/dataset/filtered.json", dataset_name="filtered")
        mine: list[str] = []
        made.append((part.name, fill(flags, base, problems=mine)))
        problems += [p for p in mine if p not in wrong]  # what is wrong in the file is so with the flags over it
    if problems:
        raise OptionError(list(dict.fromkeys(problems)))
    return made, parallel


def _options(parsed: argparse.Namespace) -> Options:
    """The options of the one load. Raises OptionError."""
    parts, _ = _parts(parsed)
    if len(parts) > 1:
        raise OptionError(["loads, matrix: this command takes one load"])
    return parts[0][1]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _complain(line: str) -> None:
    sys.stderr.write(f"playbook-aicp: {line}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line: 0 done, 1 the benchmark failed, 2 it cannot be made as asked, 130 or 143 stopped."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = words.pop(0) if words and words[0] in _COMMANDS else "run"
    try:
        if command == "mock-server":
            from .core import mock

            return mock.main(words)
        if command == "recompute":
            return _recompute(words)
        if command == "calibrate":
            return _calibrate(words)
        if command == "slo-search":
            return _search(words)
        return _run(words)
    except OptionError as error:
        for problem in error.problems:
            _complain(problem)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _client(options: Options, live: Any, name: str = "") -> Any:
    from .client import Client

    def say(line: str) -> None:
        live.close()
        _say(line)

    watch = (lambda _: None) if options.disable_pbar else live.of(name)
    key = options.api_key or os.environ.get("OPENAI_API_KEY") or None
    return Client(evolve(options, api_key=None), api_key=key, say=say, watch=watch)


def _stopping(client: Any) -> list[int]:
    """Stop gently at the first signal, at once at the second; the signals that came are in the list."""
    seen: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if seen:
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h")  # the live picture hides the cursor
            os._exit(128 + number)
        seen.append(number)
        client.stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return seen


def _run(words: Sequence[str]) -> int:
    parsed = _parser(
        "playbook-aicp", "A load generator for LLM servers that says how true its numbers are."
    ).parse_args(words)
    from .campaign import loss, prepare, self_measure
    from .live import Live
    from .many import run
    from .point import BenchmarkError

    live = Live(sys.stderr)
    parts, parallel = _parts(parsed)
    campaigns: list[Any] = []
    for name, options in parts:
        client = _client(options, live, name)
        if campaigns:
            client.stop = campaigns[0].client.stop
        campaigns.append(prepare(client, Path(options.result_dir), client.say, name))
    seen = _stopping(campaigns[0].client)
    try:
        for campaign in campaigns:
            campaign.client.target()
        largest = max(campaigns, key=lambda c: max(c.options.max_concurrency)).client
        self_measure(largest, largest.say)
        for campaign in campaigns:
            campaign.client.calibration = largest.calibration
    except BenchmarkError as error:
        _complain(str(error))
        return 1
    try:
        problems = run(campaigns, parallel=parallel)
    finally:
        live.close()
    for line in problems or filter(None, (loss(o) for c in campaigns for o in c.outcomes)):
        _complain(line)
    for path in dict.fromkeys(p for c in campaigns for p in c.outputs.written):
        _say(f"wrote {path}")
    if seen:
        return 128 + seen[0]
    return 1 if problems else 0


def _search(words: Sequence[str]) -> int:
    parser = _parser("playbook-aicp slo-search", "Find the highest load that keeps the limits of --goodput.")
    parser.add_argument("--by", choices=("concurrency", "rate"), default="concurrency")
    parser.add_argument("--min", type=float, default=1.0, dest="low")
    parser.add_argument("--max", type=float, required=True, dest="high")
    parser.add_argument(
        "--resolution", type=float, default=0.05, help="stop when the bounds are this close, a share [0.05]"
    )
    parsed = parser.parse_args(words)
    from .campaign import prepare, self_measure
    from .live import Live
    from .outputs import OutputError
    from .point import BenchmarkError
    from .search import Bounds, point_of, slo_search

    options, live = _options(parsed), Live(sys.stderr)
    client = _client(options, live)
    bounds = Bounds(parsed.by, parsed.low, parsed.high, parsed.resolution)
    campaign = prepare(
        client, Path(options.result_dir), client.say, largest=point_of(bounds, bounds.high, options.num_prompts[0])
    )
    seen = _stopping(client)
    try:
        client.target()
        self_measure(client, client.say)
        verdict = slo_search(campaign, bounds)
    except (BenchmarkError, OutputError) as error:
        live.close()
        _complain(str(error))
        return 128 + seen[0] if seen else 1
    _say(verdict.text)
    if seen:
        return 128 + seen[0]
    return 0 if verdict.best is not None else 1


def _calibrate(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="playbook-aicp calibrate", description="Measure this client itself.")
    parser.add_argument("--streams", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--engine", choices=("auto", "epoll", "uvloop"), default="auto")
    parser.add_argument("--timestamps", choices=("kernel", "user"), default="kernel")
    parser.add_argument("--processes", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args(words)
    import json

    from .calibrate import calibrate
    from .client import Client
    from .point import BenchmarkError

    options = Options(engine=parsed.engine, timestamps=parsed.timestamps, processes=parsed.processes)
    try:
        found = calibrate(Client(options), parsed.streams, parsed.seconds)
    except BenchmarkError as error:
        _complain(str(error))
        return 1
    if parsed.json:
        _say(json.dumps(dict(found)))
    else:
        for name, value in found.items():
            _say(f"{name:<24} {value:.4g}" if isinstance(value, (int, float)) else f"{name:<24} {value}")
    return 0


def _recompute(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="playbook-aicp recompute", description="Figures from a file of records.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--goodput", default=None, help="other limits than the run's")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args(words)
    import json

    from . import report, rows
    from .core.records import load
    from .point import Outcome, Point
    from .summary import summarise

    try:
        loaded = load(parsed.file)
    except (OSError, ValueError, EOFError, ImportError) as error:
        _complain(str(error))
        return 2
    run = loaded.run
    options = fill({"goodput": parsed.goodput or run.get("slo") or {}, "model": run.get("model", "")})
    point = Point(run.get("label", "dynamic"), run.get("concurrency", 0), run.get("rate") or math.inf)
    summary = summarise(loaded.records, rows.slos(options.goodput))
    outcome = Outcome(point, summary, loaded.client or {}, parsed.file, partial=loaded.client is None)
    if parsed.json:
        _say(json.dumps(report.as_json(outcome, options), default=str))
    else:
        for line in report.text(outcome, options):
            _say(line)
    return 0 if summary.succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
