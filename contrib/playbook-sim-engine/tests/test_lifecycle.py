"""Start, configuration and end of a process."""

import json
import signal
import socket
import subprocess
import sys

import pytest

from playbook_sim_engine.cli import main
from playbook_sim_engine.options import OptionError
from playbook_sim_engine.settings import Settings, parse_peers


def test_the_start_up_delay_shows_in_health(start, wait_for):
    engine = start("--startup-delay-s", 0.5)
    status, health = engine.call("GET", "/health")
    assert (status, health["status"]) == (503, "starting")
    assert engine.complete()[0] == 503
    wait_for(lambda: engine.call("GET", "/health")[0] == 200)
    assert engine.complete()[0] == 200


def test_every_flag_is_a_variable_and_the_flag_wins(start):
    engine = start("--kv-bytes-per-token", "7", SIM_MODEL="by-env", SIM_KV_BYTES_PER_TOKEN="5", SIM_NOPE="1")
    assert engine.call("GET", "/v1/models")[1]["data"][0]["id"] == "by-env"
    assert "SIM_NOPE is set but is no option" in engine.log
    assert "SIM_MODEL" not in engine.log


@pytest.mark.parametrize(
    ("flags", "env", "said"),
    [
        (["--port", "70000"], {}, "--port"),
        (["--max-num-seqs", "x"], {}, "--max-num-seqs"),
        ([], {"SIM_MAX_NUM_SEQS": "0"}, "SIM_MAX_NUM_SEQS"),
        ([], {"SIM_ROLE": "boss"}, "SIM_ROLE"),
        ([], {"SIM_ALLOW_FAULTS": "perhaps"}, "SIM_ALLOW_FAULTS"),
        (["--role", "router"], {}, "--decode"),
        (["--role", "router", "--decode", "host"], {}, "HOST:PORT"),
        (["--jitter", "nan"], {}, "--jitter"),
        ([], {"SIM_FAULT_FAIL_RATE": "1.5"}, "SIM_FAULT_FAIL_RATE"),
    ],
)
def test_unusable_options_are_named(capsys, flags, env, said):
    assert main(flags, env) == 2
    assert said in capsys.readouterr().err


def test_peers():
    assert parse_peers("a:1, http://b:2/,[::1]:3", "--decode") == [("a", 1), ("b", 2), ("::1", 3)]
    for wrong in ("a", ":1", "a:0", "a:99999", "a:b"):
        with pytest.raises(OptionError, match="--decode"):
            parse_peers(wrong, "--decode")


def test_a_model_cannot_be_longer_than_the_kv_cache():
    assert Settings(kv_capacity_tokens=100).max_model_len == 100


def test_a_port_in_use(launch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        engine = launch("--port", taken.getsockname()[1])
        assert engine.process.wait(20) == 1
    assert "cannot listen" in engine.log


def begin_stream(engine, sock, tokens):
    body = json.dumps({"model": "sim-model", "prompt": "x", "max_tokens": tokens, "stream": True})
    sock.sendall(f"POST /v1/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    return sock.recv(100)


def test_sigterm_lets_running_requests_finish(start, wait_for):
    engine = start("--decode-base-ms", 20)
    with engine.raw() as sock, engine.raw() as idle:
        assert begin_stream(engine, sock, 30)
        engine.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "SIGTERM: stopping" in engine.log)
        with pytest.raises(ConnectionRefusedError):
            engine.call("GET", "/health")
        received = b""
        while piece := sock.recv(65536):
            received += piece
        assert received.endswith(b"[DONE]\n\n\r\n0\r\n\r\n")
        assert idle.recv(1) == b""
    assert engine.process.wait(20) == 0
    assert "stopped after 1 requests" in engine.log


def test_after_the_grace_period_requests_are_cut(start):
    engine = start("--decode-base-ms", 20, "--grace-s", 0.3)
    with engine.raw() as sock:
        assert begin_stream(engine, sock, 30000)
        assert engine.stop() == 0
        received = b""
        try:
            while piece := sock.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
        assert b"[DONE]" not in received
    assert "cutting 1 connections" in engine.log


def test_check_health(start):
    engine = start("--startup-delay-s", 3)
    command = [sys.executable, "-m", "playbook_sim_engine", "--check-health", "--port"]
    assert subprocess.run([*command, str(engine.port)], timeout=20).returncode == 1
    while engine.call("GET", "/health")[0] != 200:
        pass
    assert subprocess.run([*command, str(engine.port)], timeout=20).returncode == 0
    engine.stop()
    done = subprocess.run([*command, str(engine.port)], timeout=20, capture_output=True, text=True)
    assert done.returncode == 1
    assert "refused" in done.stderr


def test_help_names_every_variable():
    done = subprocess.run(
        [sys.executable, "-m", "playbook_sim_engine", "--help"], timeout=20, capture_output=True, text=True
    )
    text = "".join(done.stdout.split())
    assert done.returncode == 0
    assert all(name in text for name in ("(SIM_ROLE)", "(SIM_MAX_NUM_SEQS)", "(SIM_FAULT_CUT_RATE)"))
