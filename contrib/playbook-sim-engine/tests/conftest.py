"""Real engines as processes on free loopback ports."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest

WAIT = 20.0
_CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("SIM_")}


def eventually(check, what="condition"):
    """Wait until `check` gives something true, and return that."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        value = check()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {WAIT} s: {what}")


class Engine:
    """One engine process; its log is a file."""

    def __init__(self, log, flags, env):
        self.log_path = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "playbook_sim_engine", *map(str, flags)],
                stdout=out, stderr=subprocess.STDOUT, env={**_CLEAN, **env},
            )  # fmt: skip

    @property
    def log(self):
        return self.log_path.read_text()

    def wait_listening(self):
        match = eventually(lambda: re.search(r"listening on [\d.]+:(\d+), model", self.log), f"listening: {self.log}")
        self.port = int(match[1])
        self.address = f"127.0.0.1:{self.port}"
        kv = re.search(r"serving KV blocks on [\d.]+:(\d+)", self.log)
        self.kv_port = int(kv[1]) if kv else None
        return self

    def call(self, method, path, body=None, headers=None):
        """One request on a connection of its own; gives status and parsed body (bytes when it is not JSON)."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)) as connection:
            data = json.dumps(body) if isinstance(body, (dict, list)) else body
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            raw = answer.read()
            self.last_headers = dict(answer.getheaders())
            kind = answer.getheader("Content-Type", "")
            return answer.status, json.loads(raw) if kind == "application/json" else raw

    def complete(self, prompt="hello there", **fields):
        return self.call("POST", "/v1/completions", {"model": "sim-model", "prompt": prompt, "max_tokens": 4, **fields})

    def chat(self, content="hello there", **fields):
        messages = [{"role": "user", "content": content}]
        return self.call(
            "POST", "/v1/chat/completions", {"model": "sim-model", "messages": messages, "max_tokens": 4, **fields}
        )

    def stream(self, path="/v1/completions", **fields):
        """The raw bytes of a streamed answer, whatever becomes of it, and whether it ended as HTTP says it should."""
        body = {"model": "sim-model", "max_tokens": 8, "stream": True, **fields}
        body.update(
            {"prompt": "hello"} if path == "/v1/completions" else {"messages": [{"role": "user", "content": "x"}]}
        )
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)) as connection:
            connection.request("POST", path, json.dumps(body))
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            try:
                return answer.read(), True
            except http.client.IncompleteRead as error:
                return error.partial, False

    def raw(self):
        return closing(socket.create_connection(("127.0.0.1", self.port), timeout=WAIT))

    def set_faults(self, **faults):
        status, answer = self.call("POST", "/sim/faults", faults)
        assert status == 200, answer

    def metrics(self):
        """Every sample, by its name with the labels besides the model's."""
        _, page = self.call("GET", "/metrics")
        samples = {}
        for line in page.decode().splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name.replace('model_name="sim-model",', "").replace('{model_name="sim-model"}', "")] = float(
                    value
                )
        return samples

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(WAIT)


@pytest.fixture
def launch(tmp_path):
    """Start engines that need not come up; they are killed at the end."""
    engines = []

    def start(*flags, **env):
        fast = ["--prefill-base-ms", 1, "--prefill-per-token-ms", 0, "--decode-base-ms", 1, "--decode-per-seq-ms", 0]
        address = ["--host", "127.0.0.1", "--port", 0, "--kv-port", 0]
        engine = Engine(tmp_path / f"engine-{len(engines)}.log", [*address, *fast, "--allow-faults", *flags], env)
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        engine.process.kill()
        engine.process.wait(WAIT)


@pytest.fixture
def start(launch):
    """Start engines and wait until they listen."""
    return lambda *flags, **env: launch(*flags, **env).wait_listening()


@pytest.fixture
def engine(start):
    return start()


def parse_events(stream):
    """The JSON events of a stream, and whether [DONE] came last."""
    blocks = [block for block in stream.replace(b"\r\n", b"\n").split(b"\n\n") if block and not block.startswith(b":")]
    done = bool(blocks) and blocks[-1] == b"data: [DONE]"
    events = blocks[:-1] if done else blocks
    return [json.loads(block[len(b"data: ") :]) for block in events], done


@pytest.fixture
def events_of():
    return parse_events


@pytest.fixture
def wait_for():
    return eventually
