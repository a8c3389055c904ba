"""Every fault that the earlier tool was known for (rows B1 to B36), each shown not to be there.

B1 (needs a new Python) is in test_records; B9 (certificates) is in test_engines too.
"""

from __future__ import annotations

import http.server
import json
import resource
import sqlite3
import ssl
import subprocess
import threading

import pytest
from playbook_plugins.benchmarks.aicp.campaign import prepare
from playbook_plugins.benchmarks.aicp.cli import main
from playbook_plugins.benchmarks.aicp.client import Client
from playbook_plugins.benchmarks.aicp.core.records import Record
from playbook_plugins.benchmarks.aicp.options import OptionError, fill
from playbook_plugins.benchmarks.aicp.point import BenchmarkError, Outcome, Point
from playbook_plugins.benchmarks.aicp.rows import RESULT_KEYS, row_of, slos
from playbook_plugins.benchmarks.aicp.summary import summarise

from .servers import HEAD, LAST, chunk, mock_server, plain, sse, stream, thought, token, usage

GOOD = stream(token(), token(), token(), token(), usage(8, 4))


def record(number=0, *, ttft=100.0, itl=10.0, tokens=4, error="", **more):
    """A record as if measured; times in ms."""
    times = [round((ttft + itl * n) * 1000) for n in range(tokens)] if not error else []
    made = Record(
        number, error, "", 200, number * 1000, number * 1000, number * 1000, round(ttft * 1000),
        times[-1] if times else 1000, times, 0, [], None, 10, tokens, "length", not error,
    )  # fmt: skip
    return made._replace(**more)


class Modelled(Client):
    """A client whose server's TTFT in ms is a function of the load; it sends nothing."""

    def __init__(self, options, ttft):
        super().__init__(options)
        self.ttft, self.asked = ttft, []

    def warm_up(self, sample, count):
        return

    def run(self, point, samples, slos, records):
        level = point.rate if point.rate < 1e9 else point.concurrency
        self.asked.append(level)
        wait = self.ttft(level)
        found = [record(n, ttft=wait or 1, error="" if wait else "http_5xx") for n in range(len(samples))]
        return Outcome(point, summarise(found, slos, confidence=False), {}, None)


@pytest.fixture
def campaign(tmp_path):
    def make(ttft, **given):
        base = {"base_url": "http://h", "model": "m", "dataset_name": "random", "num_prompts": 5,
                "disable_export_to_excel": True}  # fmt: skip
        said = []
        made = prepare(Modelled(fill({**base, **given}), ttft), tmp_path, said.append)
        return made, said

    return make


def test_b2_when_all_fails_the_benchmark_fails_and_nothing_is_best(aicp, canned, campaign):
    run = aicp(canned([plain(500, b"{}")]).port, "--disable-warm")
    assert run.status == 1
    assert "no request succeeded: 4 x http_5xx" in run.err
    assert (run.rows[0]["completed"], run.rows[0]["mean_TTFT"]) == ("0.0", "")
    made, _ = campaign(lambda level: 0, max_concurrency=[1, 64], enable_auto_batch=True)
    with pytest.raises(BenchmarkError, match="no request succeeded"):
        made.run()
    assert made.found is not None
    assert made.found.best is None


def test_b3_failed_requests_lower_goodput(aicp, canned):
    run = aicp(canned([GOOD], [plain(500, b"{}")]).port, "--disable-warm")
    (row,) = run.rows
    assert (row["completed"], row["goodput_percentage"]) == ("50.0", "50.0")
    assert run.results[0]["legacy"]["goodput_percentage_of_successful"] == 100.0


def test_b4_tokens_are_the_servers_count_and_chunks_are_told_apart(aicp):
    with mock_server(per_chunk=4, itl_ms=4) as server:
        run = aicp(server.port, "--dynamic-output-len", 32)
    (row,) = run.rows
    assert (row["mean_output_tokens"], row["total_completion_tokens"]) == ("32", "128")
    assert run.results[0]["legacy"]["completion_tokens_by_chunk"] == 4 * 8
    # 8 chunks 4 ms apart: 1 ms for a token.
    assert float(row["mean_TPOT"]) < 0.5 * run.results[0]["legacy"]["TPOT_legacy_mean"]


def test_b5_a_role_is_no_token(aicp):
    with mock_server(ttft_ms=400, role="early") as server:
        run = aicp(server.port, "--endpoint", "/v1/chat/completions")
    assert float(run.rows[0]["mean_TTFT"]) >= 400
    assert run.results[0]["legacy"]["TTFT_legacy_mean"] < 400
    assert run.rows[0]["mean_output_tokens"] == "4"


def test_b6_reasoning_is_seen(aicp, canned):
    steps = [
        HEAD + chunk(sse(thought())),
        0.5,
        chunk(sse(thought())) + chunk(sse(token(), usage(3, 9), "[DONE]")) + LAST,
    ]
    run = aicp(canned(steps).port)
    metrics = run.results[0]["metrics"]
    assert metrics["ttft"]["max"] < 500 <= metrics["ttft_content"]["min"]
    assert run.rows[0]["mean_output_tokens"] == "9"


def test_b7_b8_framing_and_a_missing_end_fail_nothing(aicp, canned):
    crlf = HEAD + chunk(b": hello\r\n\r\nevent: x\r\n" + sse(token(), usage(1, 1), end=b"\r\n\r\n")) + LAST
    run = aicp(canned([crlf]).port)
    assert run.status == 0
    assert (run.rows[0]["completed"], run.rows[0]["mean_output_tokens"]) == ("100.0", "1")


def test_b9_certificates_are_checked(aicp, canned, tmp_path):
    key, cert = tmp_path / "k.pem", tmp_path / "c.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", cert, "-subj", "/CN=x"], check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    port = canned([GOOD], context=context).port
    refused = aicp(f"https://127.0.0.1:{port}")
    assert refused.status == 1
    assert "tls: the certificate is not accepted" in refused.err
    assert aicp(f"https://127.0.0.1:{port}", "--insecure").status == 0


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_b10_the_key_is_sent_and_shown_nowhere(aicp, canned, tmp_path, monkeypatch, way):
    server = canned([GOOD], [plain(401, b'{"error": {"message": "bad key"}}')])
    if way == "environment":
        monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-1234")
        run = aicp(server.port)
    else:
        run = aicp(server.port, "--api-key", "sk-planted-1234")
    assert all(b"Authorization: Bearer sk-planted-1234\r\n" in r for r in server.requests)
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert "planted" not in run.out + run.err
    assert b"planted" not in written


def test_b11_one_warm_up_for_all_points_and_none_if_told(aicp, canned):
    server = canned([GOOD])
    aicp(server.port, "--max-concurrency", "1,2", "--metadata", "replicas=2")
    assert len(server.requests) == 2 * 4 + 8  # two replicas: four times as many warm-ups
    server = canned([GOOD])
    aicp(server.port, "--disable-warm")
    assert len(server.requests) == 4


def test_b12_an_e2el_limit_is_for_e2el_and_means_are_ms():
    found = summarise([record(ttft=100, itl=50, tokens=4)], slos({"E2EL_P90": 200.0}))
    assert found.good == 0
    assert summarise([record(ttft=100, itl=50, tokens=4)], slos({"E2EL_P90": 260.0})).good == 1
    outcome = Outcome(_point(), found, {}, None)
    row = row_of(outcome, "m", {})
    assert (row["mean_goodput_ttft"], row["mean_goodput_tpot"], row["mean_goodput_e2el"]) == (100.0, 50.0, 250.0)


def _point(label="dynamic", concurrency=4):
    return Point(label, concurrency)


def test_b13_one_token_answers_keep_limits_of_tpot():
    limits = slos({"TTFT_P90": 150.0, "TPOT_P90": 20.0})
    mixed = [record(0, tokens=1), record(1, tokens=4), record(2, tokens=1, ttft=200), record(3, tokens=4, itl=30)]
    assert summarise(mixed, limits).good == 2


@pytest.mark.parametrize("percents", ["50", "10,20,30,40", "99.9"])
def test_b14_any_percentiles_and_columns_that_are_what_they_say(aicp, percents):
    with mock_server() as server:
        run = aicp(server.port, "--metric-percentiles", percents)
    assert run.status == 0
    assert all(f"P{p} TTFT (ms):" in run.out for p in percents.split(","))
    values = sorted(json.loads(line)["t"][0] for line in _records(run))
    place = 0.9 * (len(values) - 1)
    wanted = values[int(place)] + (values[int(place) + 1] - values[int(place)]) * (place % 1)
    assert float(run.rows[0]["TTFT_P90"]) == pytest.approx(wanted / 1000)


def _records(run):
    (path,) = run.folder.glob("records/*/*.jsonl")
    return path.read_text().splitlines()[1:-1]


STATIC = {"mode": "static", "input_len": [8], "output_len": [4], "acc_col": "TTFT_P99", "goodput": {"TTFT_P99": 100.0}}


def test_b15_b16_the_accuracy_search_ends_just_below_its_goal(campaign):
    made, _ = campaign(lambda c: c, **STATIC, max_concurrency=[10, 60, 150, 300], stop_strategy="acc")
    made.run()
    assert made.client.asked[:3] == [10, 60, 150]
    assert 90 <= made.client.asked[-1] <= 100
    assert 300 not in made.client.asked


def test_b16_a_goal_that_there_is_not_is_an_error_before_the_load(campaign):
    with pytest.raises(OptionError, match="no column 'TTFT_X'"):
        campaign(lambda c: c, **{**STATIC, "acc_col": "TTFT_X"})
    with pytest.raises(OptionError, match="goodput has no limit for ITL_P99"):
        campaign(lambda c: c, **{**STATIC, "acc_col": "ITL_P99"})


def test_the_slo_strategy_stops_at_the_first_violation(campaign):
    given = {**STATIC, "stop_slo": {"TTFT_P90": 50.0}, "disable_acc": True}
    made, said = campaign(lambda c: c, **given, max_concurrency=[10, 40, 60, 80])
    made.run()
    assert made.client.asked == [10, 40, 60]
    assert any("TTFT_P90 is 60, not 50" in line for line in said)
    made, _ = campaign(lambda c: c, **{**given, "stop_strategy": "all"}, max_concurrency=[10, 40, 60, 80])
    made.run()
    assert made.client.asked == [10, 40, 60, 80]


def test_b17_limits_of_throughput_are_least_values_and_unknown_ones_are_refused(campaign):
    given = {**STATIC, "disable_acc": True, "goodput": {"throughput": 5.0}}
    made, _ = campaign(lambda c: c, **given, stop_slo={"output_throughput": 1e9}, max_concurrency=[1, 2])
    made.run()
    assert made.client.asked == [1]
    made, _ = campaign(lambda c: c, **given, stop_slo={"output_throughput": 1e-9}, max_concurrency=[1, 2])
    made.run()
    assert made.client.asked == [1, 2]
    with pytest.raises(OptionError, match="unknown limit 'speed'"):
        campaign(lambda c: c, goodput={"speed": 1})
    with pytest.raises(OptionError, match="stop_slo: there is no column 'speed'"):
        campaign(lambda c: c, **{**STATIC, "stop_slo": {"speed": 1}})


@pytest.mark.parametrize("goodput", ['{"TTFT_P90": 1000}', '{"TTFT_P90": 900, "TPOT_P90": 90, "throughput": 1}'])
def test_b18_a_workbook_for_any_number_of_limits(aicp, goodput):
    openpyxl = pytest.importorskip("openpyxl")
    with mock_server() as server:
        run = aicp(server.port, "--goodput", goodput, "--max-concurrency", "1,2", "--export-col", "std_TTFT")
    (path,) = run.folder.glob("defualt_params/dynamic_mock_*.xlsx")
    sheet = openpyxl.load_workbook(path).active
    rows = list(sheet.iter_rows(min_row=2))
    assert [r[5].value for r in rows] == [1, 2]
    assert [r[5].font.bold for r in rows] == [False, True]  # the largest batch that meets the limits
    assert sheet.cell(1, sheet.max_column).value == "std_TTFT"


def test_b19_no_metadata_can_lose_a_row(aicp):
    words = ["scenario=s", "gpu=H200", "note=it's; DROP TABLE summary_data", 'quote="x"']
    with mock_server() as server:
        run = aicp(server.port, "--metadata", *words)
    base = sqlite3.connect(run.folder / "model_performance.db")
    found = base.execute("SELECT gpu, other_params, model, batch FROM summary_data").fetchall()
    base.close()
    assert found == [("H200", 'scenario=s; note=it\'s; DROP TABLE summary_data; quote="x"', "mock", 2.0)]
    assert list(run.folder.glob("defualt_params/*.xlsx"))


def test_b20_rows_with_other_columns_go_to_another_file(aicp):
    with mock_server() as server:
        aicp(server.port, "--metadata", "a=1")
        second = aicp(server.port, "--metadata", "b=2")
        third = aicp(server.port, "--metadata", "a=3")
    assert "model_performance-2.csv" in second.out
    assert [r["a"] for r in third.rows] == ["1", "3"]
    assert (third.folder / "model_performance-2.csv").read_text().splitlines()[1].startswith('"2"')


def test_b21_b22_metadata_is_as_it_was_given(aicp):
    with mock_server() as server:
        run = aicp(
            server.port, "--metadata", "flags=--a=b --c=d", "empty=", "--max-concurrency", "1,2", "--case-id", "c"
        )
    assert [(r["flags"], r["empty"], r["case_id"]) for r in run.rows] == [("--a=b --c=d", "", "c")] * 2
    header = (run.folder / "model_performance.csv").read_text().splitlines()[0].replace('"', "").split(",")
    wanted = [*RESULT_KEYS, "num_prompts", "prefill_throughput_per_gpu", "decode_throughput_per_gpu"]
    assert header == ["flags", "empty", "case_id", *wanted]


def test_b23_normal_and_custom_datasets(aicp, canned, tmp_path):
    normal, custom = tmp_path / "n.json", tmp_path / "c.json"
    normal.write_text(json.dumps([{"instruction": f"do {n}", "output": "one two three"} for n in range(9)]))
    custom.write_text(json.dumps([{"q": f"ask {n}", "r": "!", "a": "yes"} for n in range(9)]))
    server = canned([GOOD])
    fields = '{"input_field": ["q", "r"], "output_field": ["a"]}'
    assert aicp(server.port, "--dataset-name", "normal", "--dataset-path", normal).status == 0
    assert (
        aicp(server.port, "--dataset-name", "custom", "--dataset-path", custom, "--dataset-field", fields).status == 0
    )
    contents = {json.loads(r.partition(b"\r\n\r\n")[2])["messages"][0]["content"] for r in server.requests}
    assert {f"do {n}" for n in range(4)} | {f"ask {n}!" for n in range(4)} <= contents


@pytest.mark.parametrize("mode", ["kts", "hw"])
def test_b24_modes_that_do_not_exist_are_refused_clearly(aicp, mode):
    run = aicp(1, "--response-mode", mode)
    assert run.status == 2
    assert f"response_mode: '{mode}' is not supported" in run.err


@pytest.mark.parametrize(("limit", "status"), [((), 0), (("--max-failed", "0.8"), 0), (("--max-failed", "0.5"), 1)])
def test_a_share_of_failures_is_told_and_may_be_limited(aicp, canned, limit, status):
    port = canned([GOOD], *[[plain(500, b"{}")]] * 3).port
    run = aicp(port, "--disable-warm", "--num-prompts", "12", "--max-concurrency", "1", *limit)
    assert run.status == status
    told = "9 of 12 requests failed (75 %): 9 x http_5xx"
    assert run.err.count(told) == 1
    assert ("allowed are 0.5" in run.err) is bool(status)
    assert run.results[0]["failed_share"] == 0.75
    assert "Failed requests (%):                     75.00" in run.out


def test_b25_the_real_error_is_the_one_that_is_told(aicp):
    run = aicp(1)
    assert run.status == 1
    assert run.err.splitlines() == [
        "playbook-aicp: the warm-up failed: http://127.0.0.1:1/v1/completions: connect_refused: Connection refused"
    ]


def test_b26_rows_are_saved_as_they_are_made_and_the_best_is_told(campaign):
    kept = []

    def ttft(level):
        kept.append((len(made.outcomes), _saved(made)))
        return level

    given = {"max_concurrency": [10, 200], "enable_auto_batch": True, "goodput": {"TTFT_P90": 100.0}, "sparse_step": 20}
    made, said = campaign(ttft, **given)
    made.run()
    assert all(before == saved for before, saved in kept)
    assert made.found is not None
    assert 90 <= made.found.best <= 100
    assert f"the highest concurrency that meets the goal is {made.found.best:g} (of 10 to 200)" in said
    best = json.loads(next(made.outputs.directory.glob("records/*/best.json")).read_text())
    assert best["best"] == made.found.best


def _saved(made):
    path = made.outputs.directory / "model_performance.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


@pytest.mark.parametrize("strategy", ["fast", "exhaustive"])
@pytest.mark.parametrize(("limit", "best"), [(1000.0, 138), (5.0, None), (10.0, 10), (137.0, None)])
def test_b27_both_ends_are_tried_and_never_passed(campaign, strategy, limit, best):
    given = {"max_concurrency": [10, 138], "enable_auto_batch": True, "dynamic_strategy": strategy}
    made, _ = campaign(lambda c: c, **given, goodput={"TTFT_P90": limit})
    made.run()
    assert min(made.client.asked) == 10
    assert max(made.client.asked) <= 138
    if limit != 137.0:
        assert made.found.best == best
    else:
        assert made.found.best is not None
        assert 127 <= made.found.best <= 137


def test_b27_a_best_value_that_does_not_hold_again_is_given_up(campaign):
    seen = []

    def lucky(level):
        seen.append(level)
        return 90 if level <= 40 or (level == 50 and seen.count(50) == 1) else 110

    given = {"max_concurrency": [10, 100], "enable_auto_batch": True, "probe_repeats": 2, "sparse_step": 30}
    made, _ = campaign(lucky, **given, goodput={"TTFT_P90": 100.0}, dynamic_strategy="exhaustive")
    made.run()
    assert seen.count(50) == 2
    assert made.found.best == 40


def test_b27_rates_are_searched_when_several_are_given(campaign):
    given = {"request_rate": [1, 64], "enable_auto_batch": True, "sparse_step": 4, "dense_step": 1}
    made, _ = campaign(lambda r: r, **given, goodput={"TTFT_P90": 20.0})
    made.run()
    assert made.found.by == "rate"
    assert 17 <= made.found.best <= 20


def test_b28_waiting_for_a_slot_is_seen_and_so_is_a_rate_that_is_not_reached(aicp):
    with mock_server(ttft_ms=50) as server:
        run = aicp(
            server.port, "--request-rate", 100, "--max-concurrency", 1, "--arrival", "constant", "--num-prompts", 8
        )
    (result,) = run.results
    assert result["metrics"]["ttft"]["max"] < result["metrics"]["ttft_intended"]["max"]
    assert result["metrics"]["ttft_intended"]["max"] >= 8 * 50 - 70
    assert result["client"]["achieved_rate"] < 0.5 * result["client"]["asked_rate"]
    assert "held back by the cap of 1" in run.out


def test_b29_connections_are_kept_and_too_few_files_are_told_before(aicp, canned, monkeypatch, capsys):
    server = canned([GOOD])
    aicp(server.port, "--num-prompts", 12, "--disable-warm")
    assert server.connections == 2
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    # Neither a warm-up nor the calibration nor a smaller point comes before that is told.
    told = "10000 connections need 10064 open files, and the limit is 1024"
    many = ("--num-prompts", 10_000, "--dynamic-input-len", 1, "--calibrate", 1)
    run = aicp(server.port, "--max-concurrency", "2,10000", *many)
    assert (run.status, run.out) == (2, "")
    assert told in run.err
    rate = aicp(server.port, "--request-rate", 50_000, "--max-concurrency", 0, *many, "--connections", 10_000)
    assert told in rate.err
    search = main(["slo-search", "--base-url", f"http://127.0.0.1:{server.port}", "--model", "m", "--dataset-name",
                   "random", "--max", "10000", *map(str, many)])  # fmt: skip
    assert (search, told in capsys.readouterr().err) == (2, True)
    assert len(server.requests) == 12


def test_b30_too_few_prompts_are_told_and_counted(aicp, canned, tmp_path):
    path = tmp_path / "few.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"p{n}"}) + "\n" for n in range(3)))
    run = aicp(canned([GOOD]).port, "--dataset-name", "jsonl", "--dataset-path", path, "--num-prompts", 9)
    assert run.rows[0]["num_prompts"] == "3"
    assert "has 3 usable prompts, not 9" in run.out


@pytest.mark.parametrize("same", [False, True])
def test_b31_points_have_prompts_of_their_own(aicp, canned, same):
    server = canned([GOOD])
    aicp(server.port, "--max-concurrency", "1,2", "--disable-warm", *(["--reuse-prompts"] if same else []))
    prompts = {json.dumps(json.loads(r.partition(b"\r\n\r\n")[2])["prompt"]) for r in server.requests}
    assert len(server.requests) == 8
    assert len(prompts) == (4 if same else 8)


def test_b32_waves_make_samples_and_few_samples_are_told(aicp, canned, tmp_path):
    path = tmp_path / "filtered.json"
    path.write_text(json.dumps({"8": [f"p{n}" for n in range(40)]}))
    flags = ["--dataset-path", path, "--input-len", 8, "--output-len", 4, "--max-concurrency", 2, "--disable-acc"]
    run = aicp(canned([GOOD]).port, *flags, "--waves", 5, plain=True)
    assert [(r["num_prompts"], r["question_label"], r["batch"]) for r in run.rows] == [("10", "8:4", "2")]
    assert "of 10 values: hardly more than the largest" in run.out


def test_b33_nothing_is_left_in_the_working_directory(aicp, tmp_path):
    with mock_server() as server:
        aicp(server.port)
    assert [p.name for p in tmp_path.iterdir()] == ["results"]


def test_b34_a_profile_is_asked_for_plainly_and_outside_of_the_window(aicp, canned):
    server = canned([plain(200, b"{}")], *[[GOOD]] * 4, [2.0, plain(200, b"{}")])
    run = aicp(server.port, "--profile", "--disable-warm")
    paths = [r.split(b" ")[1] for r in server.requests]
    assert (paths[0], paths[-1]) == (b"/start_profile", b"/stop_profile")
    assert all(r.endswith(b"\r\n\r\n") for r in (server.requests[0], server.requests[-1]))
    assert run.results[0]["seconds"] < 2.0


@pytest.mark.parametrize("gpus", ["0", "eight", ""])
def test_b35_metadata_need_not_be_numbers(aicp, gpus):
    with mock_server() as server:
        run = aicp(server.port, "--metadata", f"gpu_num={gpus}", "replicas=many")
    assert run.status == 0
    assert float(run.rows[0]["decode_throughput_per_gpu"]) == pytest.approx(float(run.rows[0]["output_throughput"]))


def test_b36_strict_servers_are_asked_what_they_understand(aicp):
    seen = []

    class Strict(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(body)
            known = {"model", "prompt", "max_tokens", "stream", "stream_options", "temperature"}
            bad = sorted(set(body) - known)
            if bad:
                data = json.dumps({"error": {"message": f"unknown field {bad[0]}"}}).encode()
                self.send_response(400)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            else:
                self.wfile.write(GOOD)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Strict) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run = aicp(server.server_port)
        server.shutdown()
    assert run.status == 0
    assert "the server refuses ignore_eos" in run.out
    assert "best_of" not in seen[0]
    assert sum("ignore_eos" in body for body in seen) == 1
