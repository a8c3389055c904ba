"""The command line: both vocabularies, the commands beside the load, and how it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from playbook_plugins.benchmarks.aicp.cli import main
from playbook_plugins.benchmarks.aicp.core.records import load as load_records
from playbook_plugins.benchmarks.aicp.options import BY_NAME, OptionError, Options, fill
from playbook_plugins.benchmarks.aicp.rows import RESULT_KEYS
from playbook_plugins.jsonc import loads

from .servers import mock_server, stream, token, usage

COMMAND = [sys.executable, "-m", "playbook_plugins.benchmarks.aicp.cli"]
GOOD = stream(token(), token(), usage(8, 2))
# The flags of the tool's versions 0.0.6 and 0.0.7, each with a value that it took.
OLDER = {
    "base-url": "http://h", "endpoint": "/v1/completions", "api-key": "k", "model": "m", "response-mode": "openai",
    "tokenizer-path": "t", "max-concurrency": "1,8", "dataset-path": "d.json", "dataset-name": "filtered",
    "dataset-field": '{"input_field": ["a"]}', "request-rate": "1.5,inf", "burstiness": "0.5", "seed": "1",
    "logprobs": "2", "best-of": "1", "disable-ignore-eos": None, "profile": None, "disable-warm": None, "shuffle": None,
    "percentile-metrics": "ttft,tpot", "metric-percentiles": "90,95,99", "goodput": '{"TTFT_P90":1,"TPOT_P90":2}',
    "input-len": "128,256", "output-len": "8,9", "stop-slo": '{"TTFT_P90":1}', "disable-acc": None,
    "stop-strategy": "all", "acc-col": "TTFT_P90", "dynamic-output-len": "5", "dynamic-input-len": "6",
    "dynamic-prompt-len-scale": "0.1", "enable-same-prompt": None, "num-prompts": "10,20", "disable-pbar": None,
    "enable-auto-batch": None, "sparse-step": "3", "dense-step": "1", "dynamic-strategy": "exhaustive",
    "metadata": "a=b", "case-id": "c", "disable-save-result": None, "result-dir": "r", "result-filename": "f",
    "result-dirname": "defualt_params", "disable-export-to-excel": None, "export-col": "std_TTFT", "log-level": "info",
    "sharegpt-input-len": "7", "sharegpt-output-len": "8", "sharegpt-prompt-len-scale": "0.2",
}  # fmt: skip


@pytest.fixture
def parsed(monkeypatch):
    """The options that a command line makes, without running anything."""

    def parse(*words):
        found = []

        def stop(client, *_):
            found.append(client)
            raise OptionError(["stopped here"])

        monkeypatch.setattr("playbook_plugins.benchmarks.aicp.campaign.prepare", stop)
        assert main([str(w) for w in words]) == 2
        return found[0].options if found else None

    return parse


def test_every_flag_of_the_earlier_versions_is_taken(parsed, capsys):
    words = [w for name, value in OLDER.items() for w in (f"--{name}", value) if w is not None]
    options = parsed(*words)
    assert capsys.readouterr().err == "playbook-aicp: stopped here\n"
    assert options.max_concurrency == (1, 8)
    assert options.request_rate == (1.5, float("inf"))
    assert (options.dynamic_input_len, options.dynamic_output_len, options.dynamic_prompt_len_scale) == (7, 8, 0.2)
    assert options.metadata == {"a": "b"}
    assert options.goodput == {"TTFT_P90": 1.0, "TPOT_P90": 2.0}


@pytest.mark.parametrize("name", sorted(OLDER))
def test_every_flag_is_a_key_in_snake_case(name):
    value = OLDER[name]
    key = name.replace("-", "_")
    together = {"max_concurrency": "1,2", "num_prompts": 1, "input_len": "1,2", "output_len": "1,2"}
    assert fill({**together, key: True if value is None else value}) is not None


def test_flags_win_over_the_file_and_prefixes_of_flags_are_taken(parsed, tmp_path):
    path = tmp_path / "test_config.jsonc"
    path.write_text('{"base_url": "http://file", "model": "m", // why\n "max_concurrency": 4, "seed": 9}')
    options = parsed("--config", path, "--max-conc", "7", "--dynamic-input", "3")
    assert (options.base_url, options.max_concurrency, options.seed, options.dynamic_input_len) == (
        "http://file",
        (7,),
        9,
        3,
    )


def test_defaults_are_those_of_the_earlier_tool(parsed):
    options = parsed("--base-url", "http://h", "--model", "m")
    assert options.dataset_path == "/workspace/dataset/filtered.json"
    assert (options.dataset, options.static, options.api) == ("filtered", True, "/v1/chat/completions")
    assert options.max_concurrency == (1, 8, 16, 32, 64, 128, 200, 300, 400, 500, 600)
    assert (options.result_dir, options.result_dirname) == ("/workspace/result", "defualt_params")
    assert options.goodput == {"TTFT_P90": 10000.0, "TPOT_P90": 100.0}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--model", "m", "--dataset-name", "random"], "base_url: is needed"),
        (["--dataset-name", "rand"], "expected one of filtered, sharegpt, normal, custom, jsonl, random"),
        (["--dynamic-output-len", "0"], "dynamic_output_len: must be 1 or more"),
        (["--max-failed", "2"], "max_failed: must be a share"),
        (["--base-url", "h:1", "--model", "m", "--dataset-name", "random"], "is not http://HOST:PORT"),
        (["--base-url", "http://h", "--model", "m", "--goodput", "{"], "goodput: expected a JSON object"),
        (["--input-len", "1,2", "--output-len", "1"], "lists of the same length"),
        (["--max-concurrency", "0"], "max_concurrency: must be 1 or more"),
        (["--metadata", "novalue"], "expected KEY=VALUE, got 'novalue'"),
        (["--request-rate", "0"], "request_rate: must be positive"),
        (["--seed", "1.5"], "seed: expected a whole number"),
        (
            ["--num-prompts", "1,2,3", "--dataset-name", "random", "--max-concurrency", "1,2"],
            "num_prompts: must be one",
        ),
        (["--config", "/no/such/file"], "No such file"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(capsys, tmp_path, words, told):
    code = main([*words, "--result-dir", str(tmp_path), "--calibrate", "0"])
    err = capsys.readouterr().err
    assert code in (1, 2)
    assert told in err
    assert len(err.splitlines()) == 1


def test_all_that_is_wrong_is_told_at_once(capsys, tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"max_concurency": 1, "max_concurrency": 0, "seed": "x"}')
    assert main(["--config", str(path), "--num-prompts", "0", "--acc-col", "x"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.removeprefix(f"playbook-aicp: {path}:") for line in told] == [
        "1: max_concurency: unknown; did you mean max_concurrency?",
        "1: seed: expected a whole number, got 'x'",
        "1: max_concurrency: must be 1 or more",
        "playbook-aicp: num_prompts: must be 1 or more",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--num-promts", "5"], "unknown option --num-promts; did you mean --num-prompts?"),
        (["--frobnicate=5"], "unknown option --frobnicate"),
        (["--num-prompts"], "argument --num-prompts: expected one argument"),
    ],
)
def test_a_misspelt_flag_is_told_in_two_lines_with_what_was_meant(capsys, words, told):
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == 2
    assert capsys.readouterr().err == f"playbook-aicp: {told}\nplaybook-aicp: see playbook-aicp --help\n"


def test_lengths_of_another_kind_of_load_are_said_to_do_nothing(capsys, tmp_path):
    words = ["--base-url", "http://127.0.0.1:1", "--model", "m", "--dataset-name", "random", "--mode", "static"]
    main([*words, "--dynamic-input-len", "7", "--result-dir", str(tmp_path), "--calibrate", "0"])
    assert "dynamic_input_len: no effect on a static load" in capsys.readouterr().out


def test_a_file_with_a_wrong_key_names_file_and_key(capsys, tmp_path):
    path = tmp_path / "test_config.json"
    path.write_text('{"max_concurency": 3}')
    assert main(["--config", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"playbook-aicp: {path}:1: max_concurency: unknown; did you mean max_concurrency?\n"
    )
    path.write_text('{\n"a": 1\n"b": 2}')
    assert main(["--config", str(path)]) == 2
    assert f"{path}:3:" in capsys.readouterr().err


def test_a_name_that_cannot_be_looked_up(aicp):
    run = aicp("http://no-such-host.invalid:1")
    assert run.status == 1
    assert run.err.startswith("playbook-aicp: dns: no-such-host.invalid cannot be looked up")


def test_recomputing_gives_the_very_same_figures(aicp, capsys):
    with mock_server(per_chunk=3, itl_ms=2) as server:
        run = aicp(server.port, "--dynamic-output-len", 10)
    (path,) = run.folder.glob("records/*/*.jsonl")
    capsys.readouterr()
    assert main(["recompute", str(path), "--json"]) == 0
    again, before = json.loads(capsys.readouterr().out), run.results[0]
    for key in ("metrics", "rates", "legacy", "goodput", "steady", "series", "errors", "requests", "seconds"):
        assert _rounded(again[key]) == _rounded(before[key]), key


def _rounded(value):
    return json.loads(json.dumps(value), parse_float=lambda t: round(float(t), 9))


def test_a_file_cut_by_a_kill_is_recomputed_as_partial(aicp, capsys, tmp_path):
    with mock_server() as server:
        run = aicp(server.port)
    (path,) = run.folder.glob("records/*/*.jsonl")
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(path.read_bytes()[:-200].rpartition(b"\n")[0] + b'\n{"i":')
    capsys.readouterr()
    assert main(["recompute", str(cut)]) == 0
    assert "(stopped early)" in capsys.readouterr().out
    cut.write_text("nonsense\nnonsense\n")
    assert main(["recompute", str(cut)]) == 2


@pytest.mark.parametrize("workers_too", [False, True])
def test_what_a_killed_run_flushed_is_read_and_told_as_partial(tmp_path, capsys, workers_too):
    with mock_server(ttft_ms=5) as server:
        words = ["--base-url", f"http://127.0.0.1:{server.port}", "--model", "m", "--dataset-name", "random",
                 "--dynamic-input-len", "1", "--num-prompts", "200000", "--max-concurrency", "4", "--calibrate", "0",
                 "--api-key", "sk-planted-88", "--result-dir", tmp_path]  # fmt: skip
        process = subprocess.Popen(
            [*COMMAND, *words], stdout=subprocess.DEVNULL, env={**os.environ, "TMPDIR": tmp_path}
        )
        while len(server.log()["streams"]) < 200:
            threading.Event().wait(0.01)
        threading.Event().wait(0.6)  # a worker flushes four times in a second
        children = _children(process.pid)
        assert children
        if workers_too:
            for child in children:
                os.kill(child, signal.SIGSTOP)
        process.kill()
        process.wait()
        for child in children:
            if workers_too:
                os.kill(child, signal.SIGKILL)
        while any(map(_alive, children)):
            threading.Event().wait(0.01)
    (part,) = tmp_path.glob("records/*/*.part")
    assert main(["recompute", str(part), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["partial"] is True
    assert found["succeeded"] >= 100
    assert found["metrics"]["ttft"]["p50"] >= 5
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"planted-88" in p.read_bytes()]


def test_a_finished_run_leaves_no_part(aicp):
    with mock_server() as server:
        run = aicp(server.port)
    assert [p.suffix for p in run.folder.glob("records/*/*")].count(".part") == 0


def test_text_of_answers_is_kept_if_asked_for(aicp, canned):
    run = aicp(canned([GOOD]).port, "--save-text")
    (path,) = run.folder.glob("records/*/*.jsonl")
    assert {r.text for r in load_records(path).records} == {"xx"}


def test_large_records_are_compressed_and_read_back(aicp, monkeypatch):
    monkeypatch.setattr("playbook_plugins.benchmarks.aicp.client._LARGE", 10)
    with mock_server() as server:
        run = aicp(server.port)
    (path,) = run.folder.glob("records/*/*.jsonl.*")
    assert len(load_records(path).records) == 4


def test_answers_in_one_piece(aicp):
    with mock_server() as server:
        run = aicp(server.port, "--no-stream")
    assert (run.rows[0]["mean_output_tokens"], run.rows[0]["mean_TTFT"], run.rows[0]["completed"]) == ("4", "", "100.0")


def test_a_duration_and_a_precision_end_a_load(aicp):
    with mock_server(ttft_ms=10) as server:
        timed = aicp(server.port, "--duration", 0.4, "--num-prompts", 3)
        assert int(timed.rows[0]["num_prompts"]) > 3
        assert "all prompts were used before the time was over" in timed.out
        exact = aicp(server.port, "--num-prompts", 50_000, "--dynamic-input-len", 1, "--precision", 0.5)
    assert 64 <= int(exact.rows[-1]["num_prompts"]) < 50_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_what_was_measured_is_kept(tmp_path, number):
    with mock_server(ttft_ms=5) as server:
        words = ["--base-url", f"http://127.0.0.1:{server.port}", "--model", "m", "--dataset-name", "random",
                 "--dynamic-input-len", "1", "--num-prompts", "200000", "--max-concurrency", "4", "--calibrate", "0",
                 "--result-dir", tmp_path]  # fmt: skip
        process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while len(server.log()["streams"]) < 50:
            threading.Event().wait(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "(stopped early)" in out
    (path,) = tmp_path.glob("records/*/*.jsonl*")
    assert len(load_records(path).records) >= 50
    assert len((tmp_path / "model_performance.csv").read_text().splitlines()) == 2


def test_workers_die_with_their_parent(tmp_path):
    with mock_server(ttft_ms=5) as server:
        words = ["--base-url", f"http://127.0.0.1:{server.port}", "--model", "m", "--dataset-name", "random",
                 "--dynamic-input-len", "1", "--num-prompts", "200000", "--max-concurrency", "4", "--calibrate", "0",
                 "--result-dir", tmp_path]  # fmt: skip
        process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL)
        while len(server.log()["streams"]) < 50:
            threading.Event().wait(0.01)
        children = _children(process.pid)
        process.kill()
        process.wait()
        assert children
        for _ in range(3000):
            if not any(map(_alive, children)):
                break
            threading.Event().wait(0.01)
        assert not any(map(_alive, children))


def _stat(pid):
    """State and parent of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return "X", 0
    return fields[0], int(fields[1])


def _children(parent):
    return [int(p.name) for p in Path("/proc").glob("[0-9]*") if _stat(p.name)[1] == parent]


def _alive(pid):
    return _stat(pid)[0] not in "ZX"


def test_calibrating_says_how_true_it_is(capsys):
    assert main(["calibrate", "--streams", "8", "--seconds", "0.3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["streams"] == 8
    assert 0 <= found["ttft_error_p50_ms"] <= found["ttft_error_p99_ms"]
    assert found["max_tokens_per_s"] > found["max_requests_per_s"] > 0


def test_every_result_carries_the_error_of_its_client(aicp):
    with mock_server(ttft_ms=20) as server:
        run = aicp(server.port, "--calibrate", 0.3)
    client = run.results[0]["client"]
    assert client["client_error_p99_ms"] == client["calibration_ttft_error_p99_ms"] > 0
    assert client["client_limited"] in (True, False)
    assert client["timestamp_source"] == "kernel"
    assert run.results[0]["metrics"]["ttft"]["client_error_p99_ms"] == client["client_error_p99_ms"]


def test_a_search_keeps_its_probes_and_goes_on_with_them(aicp, monkeypatch, capsys, tmp_path):
    flags = [
        "--base-url",
        "http://127.0.0.1:{}",
        "--model",
        "m",
        "--dataset-name",
        "random",
        "--dynamic-input-len",
        "2",
    ]
    more = ["--num-prompts", "24", "--dynamic-output-len", "1", "--max", "6", "--goodput", '{"ttft": 60000}']
    with mock_server() as server:
        words = [w.format(server.port) for w in flags] + more + ["--calibrate", "0", "--result-dir", str(tmp_path)]
        assert main(["slo-search", *words]) == 0
        first = capsys.readouterr().out
        count = len(server.log()["streams"])
        assert main(["slo-search", *words]) == 0
        again = capsys.readouterr().out
        assert len(server.log()["streams"]) == count
    assert "concurrency 6 keeps at least 0.99 of requests good: 24 of 24" in first
    assert "not sure at 95 %" in first
    assert "2 probes of an earlier search are used again" in again
    assert first.splitlines()[-1] == again.splitlines()[-1]


def test_columns_are_those_of_the_earlier_tool():
    assert len(RESULT_KEYS) == len(set(RESULT_KEYS)) == 55
    assert RESULT_KEYS[:5] == ("model", "question_label", "batch", "request_rate", "completed")
    assert RESULT_KEYS[-1] == "P99_decode_throughput"


def test_json_with_comments_keeps_strings_and_line_numbers():
    assert loads('{"u": "http://x/*y*/", /* a\nb */ "v": [1, 2, // c\n], }') == {"u": "http://x/*y*/", "v": [1, 2]}
    with pytest.raises(json.JSONDecodeError) as caught:
        loads('{\n// one\n"a": }')
    assert caught.value.lineno == 3


def test_a_key_does_not_show_itself():
    assert "sk-1" not in repr(fill({"api_key": "sk-1"}))
    with pytest.raises(OptionError) as caught:
        fill({"api_key": ["sk-1"]})
    assert "sk-1" not in str(caught.value)


def test_every_option_has_a_help_text_and_a_group():
    assert all(a.metadata["help"] and a.metadata["group"] for a in BY_NAME.values())
    assert Options().static is False


def test_repeats_tell_how_sure_their_means_are(aicp):
    with mock_server(ttft_ms=5) as server:
        run = aicp(server.port, "--repeats", 3)
    assert len(run.rows) == 3
    (path,) = run.folder.glob("records/*/repeats-*.json")
    found = json.loads(path.read_text())["mean_TTFT"]
    assert found["values"] == [float(r["mean_TTFT"]) for r in run.rows]
    assert found["ci95"][0] <= found["mean"] <= found["ci95"][1]
    assert "(95 %, 3 runs)" in run.out
