"""The benchmark driver in a trial: here, on a node, cancelled, late, and with nothing to measure."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from playbook_kernel.api import (
    Deployment,
    DriverRef,
    Endpoint,
    Load,
    Node,
    Output,
    PhaseFailed,
    PhaseTimeout,
    Progress,
    Secret,
    within,
)
from playbook_kernel.scope import Cancel, Cancelled, Deadline, Scope, replaced
from playbook_kernel.testing import check_benchmark, check_driver, fake_trial
from playbook_plugins.benchmarks.aicp import AicpBenchmark
from playbook_plugins.benchmarks.aicp.driver import reachable
from playbook_plugins.transports.local import LocalTransport

from .servers import mock_server, plain, stream, token, usage

SMALL = {"num_prompts": 6, "max_concurrency": 2, "dynamic_input_len": 8, "dynamic_output_len": 4, "calibrate": 0}
GOOD = stream(token(), token(), usage(8, 2))


@pytest.fixture
def trial(tmp_path):
    """A trial with this test_config; node ``n1`` is this machine."""

    def make(config=None):
        home = tmp_path / f"trial{len(list(tmp_path.iterdir()))}"
        home.mkdir()
        node = Node("n1", DriverRef("local"), work_dir=str(home / "work"))
        session = LocalTransport(check_driver(LocalTransport).options).connect(node, owner="pk-00000000-test-1")
        made = fake_trial(home, {"n1": session})
        if config is not None:
            text = config if isinstance(config, str) else json.dumps(config)
            (made.ctx.trial.scenario.directory / "test_config.json").write_text(text)
        return made

    return make


def deployed(port, model="mock"):
    return Deployment(endpoints={"engine": Endpoint(f"http://127.0.0.1:{port}", model)})


def driver(**options):
    return check_driver(AicpBenchmark, options)


def test_it_keeps_the_contract_of_benchmarks(trial, canned):
    dead = trial({**SMALL, "base_url": "http://127.0.0.1:1", "model": "m"})
    with mock_server() as server:
        good = trial({**SMALL, "base_url": f"http://localhost:{server.port}", "model": "mock"})
        slow = trial({**SMALL, "base_url": f"http://127.0.0.1:{canned([30.0]).port}", "model": "m"})
        measured = check_benchmark(
            driver(config="test_config.json"), good, deployed(server.port), Load(), broken=dead, hangs=slow
        )
    assert (measured.requests, measured.errors) == (6, 0)
    assert measured.metrics["ttft_p99_ms"].samples == 6
    assert {
        "output_throughput",
        "tpot_mean_ms",
        "itl_p99_ms",
        "e2el_p50_ms",
        "client_limited",
    } <= measured.metrics.keys()


def test_a_comment_in_the_file_and_keys_of_the_container_are_fine(trial):
    with mock_server() as server:
        text = f"""{{
            // where the server is
            "base_url": "http://127.0.0.1:{server.port}", "model": "mock",
            "num_prompts": 4, "max_concurrency": 2, "calibrate": 0,
            "sharegpt_input_len": 16, "sharegpt_output_len": 3, "sharegpt_prompt_len_scale": 0.1,
            "metadata": {{"gpu_num": 8, "arch": "x86"}}, "container_image": "registry/x:v0.0.6", "privileged": true,
        }}"""
        made = trial(text)
        measured = driver(config="test_config.json").run(made.ctx, Deployment(), Load())
    row = measured.raw["points"][0]["row"]
    assert (row["batch"], row["num_prompts"], row["mean_output_tokens"]) == (2, 4, 3)
    assert 14 <= row["mean_input_tokens"] <= 18


def test_without_a_file_the_deployment_says_where_and_the_load_how_much(trial):
    with mock_server() as server:
        made = trial()
        measured = driver(calibrate=0, dynamic_input_len=4, dynamic_output_len=2).run(
            made.ctx, deployed(server.port), Load(concurrency=3, requests=9)
        )
    point = measured.raw["points"][0]
    assert (point["concurrency"], point["requests"], measured.requests) == (3, 9, 9)
    measured_rate = driver(**SMALL)
    with mock_server() as server:
        point = measured_rate.run(trial().ctx, deployed(server.port), Load(rate=200.0)).raw["points"][0]
    assert (point["concurrency"], point["request_rate"]) == (0, 200.0)


def test_an_address_as_seen_on_a_node_is_reached_by_its_port(trial):
    made = trial({**SMALL, "base_url": "http://localhost:18000/v1", "model": "m"})
    deployment = Deployment(endpoints={"engine": Endpoint("http://127.0.0.9:18000"), "other": Endpoint("http://h:2")})
    with pytest.raises(
        PhaseFailed, match=r"the warm-up failed: http://127\.0\.0\.9:18000/v1/completions: connect_refused"
    ):
        driver(config="test_config.json").run(made.ctx, deployment, Load())
    assert reachable("http://localhost:18000/v1", deployment) == "http://127.0.0.9:18000/v1"
    assert reachable("http://localhost:7/v1", deployment) == "http://localhost:7/v1"


def test_problems_are_found_before_anything_is_touched(trial):
    made = trial({"base_url": "http://h", "model": "m", "dataset_path": "no.json", "dataset_name": "sharegpt"})
    where = made.ctx.trial.scenario.directory
    (problem,) = driver(config="test_config.json").check(where)
    assert str(where / "no.json") in problem
    assert driver(config="gone.json").check(where)
    assert driver(seed="x").check(where) == ["seed: expected a whole number, got 'x'"]
    assert driver(**SMALL).check(where) == []


def test_the_trials_own_options_win_over_older_names_in_the_file(trial):
    made = trial({"base_url": "http://h", "model": "m", "sharegpt_input_len": 512, "max-concurrency": 3})
    one = driver(config="test_config.json", dynamic_input_len=64, max_concurrency=[5])
    [(_, options)], _ = one._filled(made.ctx.trial.scenario.directory, {"base_url": "", "model": ""})
    assert (options.dynamic_input_len, options.max_concurrency) == (64, (5,))


def test_all_that_is_wrong_with_a_file_is_told_at_once_with_its_lines(trial):
    made = trial({"seed": "x"})
    where = made.ctx.trial.scenario.directory
    (where / "test_config.json").write_text(
        '{\n  // "seed": why\n  "base_url": "localhost:8000",\n  "loads": [{"seed": "x"},\n{"max-concurrency": 0}],\n'
        '  "dataset_path": "no.json", "dataset_name": "sharegpt",\n  "sede": 3\n}'
    )
    file = where / "test_config.json"
    assert sorted(driver(config="test_config.json", num_prompts=0).check(where)) == [
        f"{file}:3: base_url: 'localhost:8000' is not http://HOST:PORT or https://HOST",
        f"{file}:4: seed: expected a whole number, got 'x'",
        f"{file}:5: max_concurrency: must be 1 or more",
        f"{file}:7: sede: unknown; did you mean seed?",
        "num_prompts: must be 1 or more",
    ]


def test_progress_and_results_are_seen_and_files_lie_in_the_trials_folder(trial):
    with mock_server(ttft_ms=700) as server:
        made = trial()
        measured = driver(**SMALL).run(made.ctx, deployed(server.port), Load())
    assert any(isinstance(e, Progress) and e.total == 6 for e in made.events)
    assert any(isinstance(e, Output) and "Successful requests:" in e.line for e in made.events)
    folder = made.ctx.directory
    records = measured.raw["points"][0]["records"]
    assert (folder / records).is_file()
    assert records.startswith("aicp/records/")
    assert json.loads((folder / "aicp/results.json").read_text())["points"][0]["requests"] == 6
    assert (folder / "aicp/model_performance.csv").is_file()


def test_a_secret_key_is_sent_and_not_kept(trial, canned, tmp_path):
    server = canned([GOOD])
    made = trial()
    driver(**SMALL, api_key=Secret("sk-planted-77")).run(made.ctx, deployed(server.port), Load())
    assert b"Bearer sk-planted-77" in server.requests[-1]
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"planted-77" in p.read_bytes()]
    assert "planted-77" not in repr(made.events)


def test_cancelling_ends_it_and_leaves_what_was_measured(trial):
    cancel = Cancel()
    with mock_server(ttft_ms=5) as server:
        made = trial()
        options = {**SMALL, "num_prompts": 20_000, "dynamic_input_len": 1}
        watcher = threading.Thread(target=_cancel_when, args=(cancel, lambda: len(server.log()["streams"]) > 20))
        watcher.start()
        with replaced(Scope(cancel=cancel)), pytest.raises(Cancelled):
            driver(**options).run(made.ctx, deployed(server.port), Load())
        watcher.join()
    (kept,) = made.ctx.directory.glob("aicp/records/*/*.jsonl")
    assert len(kept.read_text().splitlines()) > 20


def _cancel_when(cancel, condition):
    while not condition():
        threading.Event().wait(0.01)
    cancel.set("enough")


def test_a_deadline_stops_it_before_it_passes(trial):
    with mock_server(ttft_ms=5) as server:
        made = trial()
        options = {**SMALL, "num_prompts": 20_000, "dynamic_input_len": 1}
        with replaced(Scope(Deadline.after(7.0))), pytest.raises(PhaseTimeout, match="was not done in time"):
            driver(**options).run(made.ctx, deployed(server.port), Load())
    assert list(made.ctx.directory.glob("aicp/records/*/*.json"))


def test_no_success_is_a_failure_with_its_reason(trial, canned):
    server = canned([plain(503, b'{"error": {"message": "overloaded"}}')])
    with pytest.raises(PhaseFailed, match=r"no request succeeded: 6 x http_5xx: HTTP 503: overloaded"):
        driver(**SMALL, disable_warm=True).run(trial().ctx, deployed(server.port), Load())


def test_a_search_measures_its_best_point(trial):
    options = {**SMALL, "max_concurrency": [1, 6], "enable_auto_batch": True, "goodput": {"TTFT_P90": 60000}}
    with mock_server() as server:
        measured = driver(**options).run(trial().ctx, deployed(server.port), Load())
        assert measured.raw["searched"] == "the highest concurrency that was allowed, 6, meets the goal"
        options["goodput"] = {"TTFT_P90": 0.000001}
        with pytest.raises(PhaseFailed, match="no concurrency from 1 to 6 meets the goal"):
            driver(**options).run(trial().ctx, deployed(server.port), Load())


def test_a_load_on_a_node_is_the_same_and_leaves_nothing_untold(trial):
    with mock_server(ttft_ms=10) as server:
        made = trial()
        measured = driver(**SMALL, node="n1").run(made.ctx, deployed(server.port), Load())
    assert (measured.requests, measured.errors) == (6, 0)
    assert measured.metrics["ttft_p50_ms"].value >= 10
    (effect,) = made.ctx.effects.open("file", "n1")
    assert effect.data["tree"] is True


def test_thousands_of_answers_between_two_looks_are_told_from_a_node(trial):
    many = {**SMALL, "num_prompts": 3000, "max_concurrency": 64, "dynamic_input_len": 1, "dynamic_output_len": 1}
    with mock_server(ttft_ms=0) as server:
        made = trial()
        measured = driver(**many, node="n1").run(made.ctx, deployed(server.port), Load())
    assert (measured.requests, measured.errors) == (3000, 0)


def test_a_load_on_a_node_is_calibrated_there(trial):
    with mock_server(ttft_ms=10) as server:
        made = trial()
        started, real = [], made.ctx.session("n1").start
        made.ctx.session("n1").start = lambda argv, **more: started.append(argv) or real(argv, **more)
        measured = driver(**{**SMALL, "calibrate": 0.5}, node="n1").run(made.ctx, deployed(server.port), Load())
    said = [e.line for e in made.events if isinstance(e, Output)]
    assert any(line.startswith("this client at 2 streams: TTFT ") for line in said), said
    client = measured.raw["points"][0]["client"]
    assert client["client_error_p99_ms"] == client["calibration_ttft_error_p99_ms"]
    assert measured.metrics["client_error_p99_ms"].value == client["client_error_p99_ms"]
    assert client["calibration_streams"] == 2
    assert client["calibration_max_requests_per_s"] > 0
    # Its server came with the shipped file, on the node, and is gone.
    (server_there,) = [a for a in started if "mock-server" in a]
    assert server_there[1].startswith(made.ctx.nodes["n1"].work_dir)
    running = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not [c for c in running if server_there[1].encode() in c]


def test_a_load_on_a_node_stops_when_it_is_cancelled(trial):
    cancel = Cancel()
    with mock_server(ttft_ms=5) as server:
        made = trial()
        watcher = threading.Thread(target=_cancel_when, args=(cancel, lambda: len(server.log()["streams"]) > 20))
        watcher.start()
        with replaced(Scope(cancel=cancel)), pytest.raises(Cancelled):
            driver(**{**SMALL, "num_prompts": 20_000, "dynamic_input_len": 1}, node="n1").run(
                made.ctx, deployed(server.port), Load()
            )
        watcher.join()


@pytest.mark.parametrize("node", ["local", "n1"])
def test_a_model_that_nobody_says_is_the_one_that_is_served(trial, node):
    with mock_server() as server:
        made = trial({**SMALL, "base_url": f"http://127.0.0.1:{server.port}/v1"})
        measured = driver(config="test_config.json", node=node).run(made.ctx, Deployment(), Load())
    assert measured.raw["points"][0]["row"]["model"] == "mock"


def test_no_model_and_nobody_to_ask_is_an_error(trial):
    made = trial({**SMALL, "base_url": "http://127.0.0.1:1"})
    with pytest.raises(PhaseFailed, match="model: is needed"):
        driver(config="test_config.json").run(made.ctx, Deployment(), Load())


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.3, 0.6])
def test_a_deadline_at_any_moment_is_told_as_one(trial, canned, seconds):
    made = trial({**SMALL, "base_url": f"http://127.0.0.1:{canned([30.0]).port}", "model": "m"})
    with within(seconds), pytest.raises(PhaseTimeout):
        driver(config="test_config.json").run(made.ctx, Deployment(), Load())
