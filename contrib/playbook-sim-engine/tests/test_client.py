"""The load client against engines whose behaviour is known."""

import json
import subprocess
import sys

import pytest

from playbook_sim_engine.figures import Record, describe, percentile, summarise


def run(*args):
    done = subprocess.run(
        [sys.executable, "-m", "playbook_sim_engine.client", *map(str, args)],
        timeout=60,
        capture_output=True,
        text=True,
    )
    metrics = dict(
        line[len("METRIC:") :].split("=", 1) for line in done.stdout.splitlines() if line.startswith("METRIC:")
    )
    return done, {name: float(value) for name, value in metrics.items()}


@pytest.mark.parametrize("extra", [(), ("--no-stream",), ("--endpoint", "completions")])
def test_a_good_run(start, tmp_path, extra):
    engine = start("--tokens-per-chunk", 3)
    out = tmp_path / "new" / "summary.json"
    done, metrics = run(
        "--base-url",
        f"http://{engine.address}",
        "--requests",
        20,
        "--concurrency",
        4,
        "--max-tokens",
        10,
        "--out",
        out,
        *extra,
    )
    assert done.returncode == 0, done.stderr
    assert (metrics["total_requests"], metrics["successful_requests"], metrics["failed_requests"]) == (20, 20, 0)
    summary = json.loads(out.read_text())
    assert summary["output_tokens"] == 200  # by usage, not by chunks
    assert metrics["throughput"] == summary["throughput_requests_per_s"]
    assert metrics["latency_mean"] == summary["e2el_ms"]["mean"]
    rows = [json.loads(line) for line in out.with_name("requests.jsonl").read_text().splitlines()]
    assert [row["output_tokens"] for row in rows] == [10] * 20
    assert sum(row["e2el"] for row in rows) / 20 * 1000 == pytest.approx(summary["e2el_ms"]["mean"], abs=0.01)
    assert {row["error"] for row in rows} == {""}
    assert ("ttft_p99_ms" in metrics) == ("--no-stream" not in extra)
    assert engine.metrics()["vllm:generation_tokens_total"] == 200


def test_exact_prompt_lengths_with_completions(start):
    engine = start()
    run(
        "--base-url", f"http://{engine.address}/v1", "--requests", 3, "--prompt-tokens", 77, "--endpoint", "completions"
    )
    assert engine.metrics()["vllm:prompt_tokens_total"] == 3 * 77


def test_concurrency_is_kept(start, wait_for):
    engine = start("--decode-base-ms", 60)
    command = [sys.executable, "-m", "playbook_sim_engine.client", "--base-url", f"http://{engine.address}"]
    process = subprocess.Popen([*command, "--requests", "14", "--concurrency", "7"], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: engine.metrics()["vllm:num_requests_running"] == 7)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def test_the_figures_follow_the_timing_of_the_engine(start):
    engine = start("--scheduling", "paced", "--prefill-base-ms", 200, "--decode-base-ms", 20)
    _, metrics = run("--base-url", f"http://{engine.address}", "--requests", 4, "--concurrency", 2, "--max-tokens", 8)
    assert metrics["ttft_p50_ms"] >= 200
    assert metrics["tpot_p50_ms"] * 5 < metrics["ttft_p50_ms"]
    assert metrics["e2el_min_ms"] >= metrics["ttft_min_ms"] + 7 * 19


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"fail_rate": 1, "fail_status": 503}, "HTTP 503"),
        ({"cut_rate": 1, "cut_after_tokens": 2}, "closed the connection in the middle"),
        ({"no_done": True}, "without [DONE]"),
        ({"garbage_rate": 1}, "not JSON"),
        ({"error_event_rate": 1}, "closed the connection in the middle"),
        ({"stall_rate": 1, "stall_after_tokens": 2}, "silent for 0.5 s"),
    ],
)
def test_failures_are_counted_by_reason(start, tmp_path, faults, reason):
    engine = start()
    engine.set_faults(**faults)
    out = tmp_path / "summary.json"
    done, metrics = run(
        "--base-url", f"http://{engine.address}", "--requests", 6, "--concurrency", 3, "--timeout", 0.5, "--out", out
    )
    assert done.returncode == 1
    assert (metrics["successful_requests"], metrics["failed_requests"]) == (0, 6)
    assert "latency_mean" not in metrics
    assert reason in done.stderr
    assert sum(json.loads(out.read_text())["errors"].values()) == 6


def test_some_failures_are_a_failure(start):
    engine = start("--fault-fail-rate", 0.5)
    done, metrics = run("--base-url", f"http://{engine.address}", "--requests", 40)
    assert done.returncode == 1
    assert metrics["successful_requests"] > 0 < metrics["failed_requests"]


def test_nobody_there(engine):
    engine.stop()
    url = f"http://{engine.address}"
    done, _ = run("--base-url", url)
    assert done.returncode == 2
    assert "refused" in done.stderr
    done, metrics = run("--base-url", url, "--model", "m", "--requests", 3)
    assert (done.returncode, metrics["failed_requests"]) == (1, 3)


@pytest.mark.parametrize(
    ("text", "said"), [("{", "test_config.json"), ("{}", "--base-url"), ('{"base_url": "ftp://x:1"}', "ftp://x:1"),
                       ('{"base_url": "http://x:1", "num_prompts": "10,20"}', "requests")],
)  # fmt: skip
def test_configs_that_cannot_be_used(tmp_path, text, said):
    config = tmp_path / "test_config.json"
    config.write_text(text)
    done, _ = run("--config", config)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_config_and_a_flag_over_it(engine, tmp_path):
    config = tmp_path / "test_config.json"
    config.write_text(
        json.dumps({"base_url": f"http://{engine.address}", "model": "sim-model", "num_prompts": 5, "max_concurrency": 2,
                    "sharegpt_input_len": 8, "sharegpt_output_len": 3})
    )  # fmt: skip
    done, metrics = run("--config", config, "--max-tokens", 4)
    assert (done.returncode, metrics["total_requests"]) == (0, 5)
    assert engine.metrics()["vllm:generation_tokens_total"] == 20


def test_percentiles_interpolate():
    assert percentile([1, 2, 3, 4], 50) == 2.5
    assert percentile([7], 99) == 7
    assert describe([0.001, 0.003])["mean"] == 2
    assert describe([]) == {}


def test_latencies_of_a_stream_in_awkward_pieces():
    event = b'data: {"choices":[{"text":" a"}]}\r\n\r\n'
    usage = b'data: {"choices":[],"usage":{"completion_tokens":4}}\n\ndata: [DONE]\n\n'
    record = Record(
        sent=1.0, pieces=[(1.1, event[:9]), (1.2, event[9:]), (1.5, b": x\n\n" + event), (1.6, usage)], ended=1.6
    )
    summary = summarise([record], stream=True, wanted=1, seconds=1.0)
    assert summary["errors"] == {}
    assert summary["ttft_ms"]["p50"] == 200
    assert summary["itl_ms"]["p50"] == 300
    assert summary["tpot_ms"]["p50"] == 100
    assert summary["e2el_ms"]["p50"] == 500
