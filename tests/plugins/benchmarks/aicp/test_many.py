"""Several loads and targets in one file."""

from __future__ import annotations

import json
import threading

import pytest
from playbook_plugins.benchmarks.aicp.many import expand
from playbook_plugins.benchmarks.aicp.options import OptionError

from .servers import Canned, mock_server, stream, token, usage

SMALL = {"model": "m", "dataset_name": "random", "num_prompts": 4, "max_concurrency": 2, "dynamic_input_len": 4,
         "dynamic_output_len": 2, "calibrate": 0}  # fmt: skip


@pytest.fixture
def config(tmp_path):
    def write(**given):
        path = tmp_path / "test_config.json"
        path.write_text(json.dumps({**SMALL, **given}))
        return path

    return write


def test_a_matrix_makes_every_combination_and_a_list_every_item():
    parts, parallel = expand({"seed": 1, "loads": [{"name": "a b"}, {"seed": 2}], "matrix": {"x": [1, 2], "y": ["u"]}})
    assert [(p.name, p.given) for p in parts] == [
        ("a_b-x-1-y-u", {"seed": 1, "x": 1, "y": "u"}),
        ("a_b-x-2-y-u", {"seed": 1, "x": 2, "y": "u"}),
        ("load-2-x-1-y-u", {"seed": 2, "x": 1, "y": "u"}),
        ("load-2-x-2-y-u", {"seed": 2, "x": 2, "y": "u"}),
    ]
    assert parallel is False
    assert [(p.name, p.given) for p in expand({"seed": 3})[0]] == [("", {"seed": 3})]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"loads": {"a": 1}}, "loads: expected a list"),
        ({"matrix": {"seed": 1}}, "matrix: expected an object of lists"),
        ({"matrix": {"seed": []}}, "matrix: expected an object of lists"),
        ({"parallel": "yes"}, "parallel: expected true or false"),
        ({"loads": [{"name": "a"}, {"name": "a"}]}, "the name 'a' comes twice"),
    ],
)
def test_what_cannot_be_expanded_is_told(given, told):
    with pytest.raises(OptionError, match=told):
        expand(given)


def test_each_load_has_rows_and_records_of_its_own(aicp, config):
    with mock_server() as server:
        run = aicp(server.port, "--config", config(matrix={"dynamic_output_len": [2, 5]}), "--case-id", "c", plain=True)
    assert run.status == 0
    assert [(r["case_id"], r["mean_output_tokens"]) for r in run.rows] == [
        ("c-dynamic_output_len-2", "2"),
        ("c-dynamic_output_len-5", "5"),
    ]
    assert len(list(run.folder.glob("records/*/001-*.jsonl"))) == 2


def test_targets_side_by_side_are_loaded_at_the_same_time(aicp, config):
    """Each server answers its first request only when the other one has got one, too."""
    meeting = threading.Barrier(2, timeout=30)
    met = []

    def waits_once():
        first = [True]

        def wait(_):
            if first:
                first.clear()
                meeting.wait()
                met.append(1)

        return wait

    good = stream(token(), token(), usage(4, 2))
    servers = [Canned([[waits_once(), good]]) for _ in range(2)]
    loads = [{"name": f"t{n}", "base_url": f"http://127.0.0.1:{s.port}"} for n, s in enumerate(servers)]
    flags = ["--disable-warm", "--max-concurrency", 1, "--disable-export-to-excel"]
    path = config(loads=loads, parallel=True)
    words = ["--config", path, *flags]
    run = aicp(servers[0].port, *words, plain=True, url=False)
    for server in servers:
        server.stop()
    assert run.status == 0, run.err
    assert len(met) == 2
    assert sorted(r["case_id"][-2:] for r in run.rows) == ["t0", "t1"]


def test_one_load_that_fails_does_not_stop_the_next(aicp, config):
    with mock_server() as server:
        loads = [{"name": "dead", "base_url": "http://127.0.0.1:1"}, {"base_url": f"http://127.0.0.1:{server.port}"}]
        run = aicp(server.port, "--config", config(loads=loads), plain=True, url=False)
    assert run.status == 1
    assert (
        run.err == "playbook-aicp: dead: the warm-up failed: http://127.0.0.1:1/v1/completions: "
        "connect_refused: Connection refused\n"
    )
    assert [r["completed"] for r in run.rows] == ["100.0"]
