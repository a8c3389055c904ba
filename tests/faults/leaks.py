"""Secrets planted in every place that the tool reads or hears them from: ``python -m tests.faults.leaks`` looks for them.

One campaign over this machine (services as processes, an SSH node that cannot be reached), and then every command that shows
something. No planted value may be in any file that the tool makes, on any stream, or in the arguments of any of its processes.
Artifacts that the user's own script writes are the user's: they are copied as they are, and are not looked at.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from attrs import define, field

PLACES: Sequence[str] = (
    "node-password", "key-passphrase", "config-env", "scenario-env", "process-environment", "probe-url", "probe-header",
    "probe-api-key", "probe-script-output", "compose-environment", "compose-env-file", "compose-command", "benchmark-option",
    "plugin-option", "exception-text", "exception-cause", "warning", "event-output", "fact", "effect-data", "measurement-raw",
    "script-stdout", "script-stderr", "script-argv", "service-log", "health-detail", "artifact-note", "inspect-output",
    "webhook-url", "webhook-secret", "webhook-header", "mail-password", "log-line", "child-crash",
)  # fmt: skip
"""Where a secret is planted, one each; ``config-env`` and the like are variables whose name says that they are secret."""

COMMANDS: Sequence[Sequence[str]] = (
    ("run", "--all", "--dry-run"), ("run", "--all", "-v", "-l", "DEBUG"), ("run", "002_script", "--json"), ("validate", "--json"),
    ("config", "show", "--origin"), ("config", "show", "--json"), ("scenarios", "--json"), ("scenario", "001_all", "--json"),
    ("nodes", "--json"), ("status", "--json"), ("status",), ("results", "--json"), ("results",), ("logs",), ("journal",),
    ("journal", "--json"), ("plugins", "--json"), ("plugins", "show", "benchmark:leaky"), ("plugins", "doctor"),
    ("health", "--json"),
    ("validate-env",), ("report",), ("compare",), ("cleanup", "--json"), ("cleanup", "--all-orphans"), ("run", "--resume"),
    ("run", "no_such"), ("trend", "--json"),
)  # fmt: skip

PLUGIN = '''
"""Says every secret that it knows of, everywhere."""
import os, sys
from playbook_kernel.api import *

def value(place):
    return os.environ["PLANTED_" + place.upper().replace("-", "_") + "_TOKEN"]

@frozen
class Options:
    """``api_key``: a secret."""
    api_key: Secret | None = None

class Leaky(Benchmark[Options]):
    """Measures nothing, and talks."""
    name = "leaky"

    def run(self, ctx, deployment, load):
        trial, scenario = ctx.trial.id, ctx.trial.scenario.name
        ctx.warn("warning " + value("warning"))
        ctx.warn("option " + self.options.api_key.reveal())
        ctx.emit(Output("output " + value("event-output"), "stdout", "leaky", trial=trial, scenario=scenario))
        ctx.log.info("log " + value("log-line"), detail=value("log-line"))
        ctx.session("local").run(["sh", "-c", "echo $0; exit 0", value("inspect-output")])
        effect = ctx.effects.intend("leaky", "local", note=value("effect-data"))
        ctx.effects.undone(effect)
        raw = {"said": value("measurement-raw"), "config": {"password": value("measurement-raw")}}
        if scenario == "003_raises":
            try:
                raise ValueError("cause " + value("exception-cause"))
            except ValueError as error:
                raise RuntimeError("exception " + value("exception-text")) from error
        if scenario == "004_dies":
            sys.stderr.write("last words " + value("child-crash") + "\\n")
            sys.stderr.flush()
            os._exit(3)
        return Measurement({"speed": Metric(1.0, "1")}, method="said " + value("measurement-raw"), raw=raw)

@hookimpl
def playbook_discover(ctx, node, session):
    return {"fact_of_" + node.name: "fact " + value("fact"), "registry_password": value("fact")}

@hookimpl
def playbook_healthcheck(ctx, deployment):
    return Health(True, "detail " + value("health-detail"), "engine", "local", "leaky")

@hookimpl
def playbook_collect(ctx, deployment):
    (ctx.directory / "note").write_text("x")
    return [Artifact("note", "note", "local", note="note " + value("artifact-note"))]
'''


@define
class Site:
    """A folder with the campaign; ``secrets``: what is planted where."""

    folder: Path
    secrets: dict[str, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.secrets = {p: f"pl4nted-{p}-{os.urandom(5).hex()}" for p in PLACES}

    def variable(self, place: str) -> str:
        """The name of a variable that holds it; its end says that it is secret."""
        return f"PLANTED_{place.upper().replace('-', '_')}_TOKEN"

    @property
    def environ(self) -> dict[str, str]:
        """What the commands run with."""
        named = {self.variable(p): s for p, s in self.secrets.items()}
        return {**os.environ, **named, "NO_COLOR": "1"}

    def write(self) -> None:
        """Write every file."""
        s = self.secrets
        texts = {
            "config/.env": f"MORE_PASSWORD={s['config-env']}\n",
            "config/nodes.yaml": f"""\
nodes:
  local: {{host: localhost, transport: local, composer: process}}
  away:
    host: 127.0.0.1
    port: 1
    username: nobody
    password: {s["node-password"]}
    key_filename: {self.folder}/key
    passphrase: ${{{self.variable("key-passphrase")}}}
""",
            "config/scenarios.yaml": f"""\
execution: {{scenarios_root: scenarios}}
inter_scenario: {{wait_between_scenarios: 0, continue_on_failure: true, retry_count: 0}}
notifications:
  webhooks:
    - url: http://127.0.0.1:1/{s["webhook-url"]}
      secret: {s["webhook-secret"]}
      headers: {{Authorization: "Bearer ${{{self.variable("webhook-header")}}}"}}
      retries: 0
  email: {{host: 127.0.0.1, port: 1, recipients: [a@example.org], username: u, password: {s["mail-password"]}, retries: 0}}
""",
            "config/defaults.yaml": "plugins: {paths: [leaky.py]}\n"
            "reports: [json, csv, markdown, html, junit, yaml, github, openmetrics, classic]\n",
            "leaky.py": PLUGIN,
            "probe.sh": f'echo "probe ${self.variable("probe-script-output")}"; exit 0\n',
        }
        metadata = f"""\
name: all of them
services:
  - name: engine
    nodes: [local]
    health_check:
      startup_grace_period: 5
      max_retries: 1
      retry_delay: 0.2
      checks:
        - type: http
          url: "http://user:{s["probe-url"]}@127.0.0.1:{PORT}/"
          headers: {{Authorization: "Bearer {s["probe-header"]}"}}
          required: false
        - {{type: openai, url: "http://127.0.0.1:{PORT}", api_key: {s["probe-api-key"]}, required: false}}
        - {{type: script, script: probe.sh, required: false}}
"""
        compose = f"""\
services:
  engine:
    image: x
    command:
      - sh
      - -c
      - |
        echo "log ${{{self.variable("service-log")}}}"; echo --token={s["compose-command"]} >/dev/null
        exec python3 -m http.server {PORT} --bind 127.0.0.1
    environment: {{INLINE_TOKEN: {s["compose-environment"]}}}
    env_file: [more.env]
    ports: ["{PORT}:{PORT}"]
"""
        script = f"""\
#!/bin/sh
echo "stdout ${self.variable("script-stdout")}"
echo "stderr ${self.variable("script-stderr")}" >&2
sh -c 'sleep 0.3' "${self.variable("script-argv")}"
echo METRIC:answer=1
"""
        for name, more in (
            ("001_all", f"benchmark: {{use: leaky, options: {{api_key: {s['benchmark-option']}}}}}\n"),
            ("002_script", "test_execution: {script: run_test.sh}\n"),
            ("003_raises", f"benchmark: {{use: leaky, options: {{api_key: {s['plugin-option']}}}}}\n"),
            ("004_dies", f"benchmark: {{use: leaky, options: {{api_key: {s['plugin-option']}}}}}\n"),
        ):
            texts[f"scenarios/{name}/metadata.yaml"] = metadata + more
            texts[f"scenarios/{name}/docker-compose.yml"] = compose
            texts[f"scenarios/{name}/more.env"] = f"FILE_PASSWORD={s['compose-env-file']}\n"
            texts[f"scenarios/{name}/.env"] = (
                f"HF_TOKEN={s['scenario-env']}\n{self.variable('service-log')}={s['service-log']}\n"
            )
            texts[f"scenarios/{name}/probe.sh"] = texts["probe.sh"]
            texts[f"scenarios/{name}/run_test.sh"] = script
        texts["scenarios/005_away/metadata.yaml"] = "services: [{name: engine, nodes: [away]}]\nbenchmark: noop\n"
        texts["scenarios/005_away/docker-compose.yml"] = compose.replace("    env_file: [more.env]\n", "")
        texts["scenarios/005_away/.env"] = f"{self.variable('service-log')}={s['service-log']}\n"
        for name, text in texts.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", s["key-passphrase"], "-f", self.folder / "key"], check=True
        )

    def call(self, argv: Sequence[str]) -> bytes:
        """Run a command; everything that it says."""
        tool = Path(sys.executable).parent / "playbook-kernel"
        done = subprocess.run(
            [tool, *argv],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert done.returncode != 70, f"{argv}: {done.stderr.decode()[-2000:]}"
        return b"%d\n" % done.returncode + done.stdout + b"\n" + done.stderr

    def written(self) -> Iterator[tuple[str, bytes]]:
        """Every file that was not there before."""
        own = {"config", "scenarios", "leaky.py", "probe.sh", "key", "key.pub"}
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.relative_to(self.folder).parts[0] not in own:
                yield str(path.relative_to(self.folder)), path.read_bytes()


PORT = 18799


def forms(secret: str) -> list[bytes]:
    """As it is, and as it stands in an URL, in base64, or in reverse: nobody hides it like that by accident."""
    found = [secret.encode(), quote(secret, safe="").encode(), base64.b64encode(secret.encode()).rstrip(b"=")]
    return list(dict.fromkeys(found))


def arguments_of(seen: set[bytes], stop: threading.Event, folder: Path) -> None:
    """Collect the arguments of every process of the tool itself while it runs."""
    while not stop.wait(0.02):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes()
            except OSError:
                continue
            if b"playbook-kernel" in words or b"playbook_kernel" in words:
                seen.add(words)


def look(folder: Path) -> tuple[Site, list[str]]:
    """Run everything; where a secret was found."""
    site = Site(folder)
    site.write()
    seen: set[bytes] = set()
    stop = threading.Event()
    watcher = threading.Thread(target=arguments_of, args=(seen, stop, folder))
    watcher.start()
    try:
        streams = [(" ".join(argv), site.call(argv)) for argv in COMMANDS]
    finally:
        stop.set()
        watcher.join()
    places = [*((f"stream of {n}", d) for n, d in streams), *site.written(), ("arguments", b"\n".join(seen))]
    found = [
        f"{place} is in {where}: ...{data[max(0, data.find(form) - 60) : data.find(form)].decode(errors='replace')!r}"
        for place, secret in site.secrets.items()
        for where, data in places
        for form in forms(secret)
        if form in data
    ]
    return site, found


def main() -> int:
    """Say where they were found."""
    argparse.ArgumentParser(prog="python -m tests.faults.leaks", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="leaks-") as name:
        site, found = look(Path(name))
        files = list(site.written())
        runs = [json.loads(d) for n, d in files if n.endswith("campaign.json")]
    for line in found:
        print(line)
    outcomes = sorted({(s["scenario"], s["status"]) for r in runs for s in r["scenarios"]})
    print(f"{outcomes}")
    print(f"{len(PLACES)} places, {len(files)} files, {len(COMMANDS)} commands: found {len(found)} times")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
