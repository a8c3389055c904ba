"""Texts of tools and engines, and what is taken out of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook_plugins.stats.samples import with_gaps
from playbook_plugins.telemetry.engines import EngineReader
from playbook_plugins.telemetry.node import NodeReader, npu, nvidia, rocm
from playbook_plugins.telemetry.summary import energy

NPU = """
+------------------------------------------------------------------------------------------------+
| npu-smi 23.0.2                   Version: 23.0.2                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 93.6        40                0    / 0             |
| 0                         | 0000:C1:00.0  | 87          0    / 0          33060/ 65536         |
+===========================+===============+====================================================+
| 1     310P3               | OK            | NA          44                0    / 0             |
| 0     0                   | 0000:01:00.0  | 5           1546 / 44280                           |
| 1     310P3               | OK            | NA          45                0    / 0             |
| 1     1                   | 0000:01:00.0  | 6           1500 / 43693                           |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 0       0                 | 4711          | python3                  | 33010                   |
+===========================+===============+====================================================+
"""

ROCM = """WARNING: AMD GPU device(s) is/are in a low-power state. Check power control/runtime_status

device,Temperature (Sensor edge) (C),Temperature (Sensor junction) (C),Average Graphics Package Power (W),GPU use (%),\
VRAM Total Memory (B),VRAM Total Used Memory (B)
card0,45.0,52.0,310.5,97,68702699520,34351349760
card1,N/A,41.0,N/A,0,68702699520,10485760
"""

# Rows as real machines printed them, from what their users published; heads and rows are shortened to a few.
# vllm-project/vllm-ascend issue 12980: two chips a card, the second without a power of its own.
NPU_26 = """
+------------------------------------------------------------------------------------------------------------------+
| npu-smi 26.0.rc2                            Version: 26.0.rc2                                                    |
+---------------------------+---------------+----------------------------------------------------------------------+
| NPU   Name                | Health        | Power(W)             Temp(C)                 Hugepages-Usage(page)   |
| Chip  Phy-ID              | Bus-Id        | AICore(%)            Memory-Usage(MB)        HBM-Usage(MB)           |
+===========================+===============+======================================================================+
| 0     Ascend910           | OK            | 162.6                34                      0    / 0                |
| 0     0                   | 0000:9D:00.0  | 0                    0    / 0                3419 / 65536            |
+------------------------------------------------------------------------------------------------------------------+
| 0     Ascend910           | OK            | -                    34                      0    / 0                |
| 1     1                   | 0000:9F:00.0  | 0                    0    / 0                2874 / 65536            |
+===========================+===============+======================================================================+
"""
# Project-HAMi/HAMi-WebUI issue 47
NPU_25 = """
+------------------------------------------------------------------------------------------------+
| npu-smi 25.2.0                   Version: 25.2.0                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B4-1             | OK            | 91.3        33                0    / 0             |
| 0                         | 0000:xx:00.0  | 0           0    / 0          3197 / 65536         |
+===========================+===============+====================================================+
| 1     910B4-1             | OK            | 88.1        32                0    / 0             |
| 0                         | 0000:xx:00.0  | 0           0    / 0          3197 / 65536         |
"""
# mostlygeek/llama-swap pull request 775, ROCm 7.2.3
ROCM_7 = """device,Device Name,Device ID,Device Rev,Subsystem ID,GUID,Temperature (Sensor edge) (C),\
Temperature (Sensor junction) (C),Temperature (Sensor memory) (C),Average Graphics Package Power (W),GPU use (%),\
GPU Memory Allocated (VRAM%),GPU Memory Read/Write Activity (%),Memory Activity,Avg. Memory Bandwidth,\
VRAM Total Memory (B),VRAM Total Used Memory (B),Card Series,Card Model,Card Vendor,Card SKU,Node ID,GFX Version \

card0,Radeon RX 7900 XTX,0x744c,0xc8,0x2422,47413,31.0,37.0,42.0,19.0,0,0,0,N/A,0,25753026560,27947008,\
Radeon RX 7900 XTX,0x744c,Advanced Micro Devices Inc. [AMD/ATI],EXT95849,1,gfx1100 \

card1,Radeon RX 7900 XTX,0x744c,0xc8,0x5304,7360,27.0,35.0,58.0,18.0,0,0,0,N/A,0,25753026560,27947008,\
Radeon RX 7900 XTX,0x744c,Advanced Micro Devices Inc. [AMD/ATI],D70201,2,gfx1100 \

"""
# a machine with Strix Halo and a 9070 XT: memory of the first is the part that is set aside for it
ROCM_HALO = """WARNING: AMD GPU device(s) is/are in a low-power state. Check power control/runtime_status

device,Temperature (Sensor edge) (C),Current Socket Graphics Package Power (W),GPU use (%),VRAM Total Memory (B),\
VRAM Total Used Memory (B),Card Series,Card Model,Card Vendor,Card SKU,Subsystem ID,Device Rev,Node ID,GUID,GFX Version
card0,54.0,20.358,2,536870912,511442944,AMD Radeon 8060S Graphics,0x1586,Advanced Micro Devices Inc. [AMD/ATI],STRXLGEN,\
0x1fb3,0xc1,1,64042,gfx1151
"""

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 5.0
vllm:num_requests_waiting{engine="0",model_name="m {}"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.25
vllm:prefix_cache_queries_total{engine="0"} %d
vllm:prefix_cache_hits_total{engine="0"} %d
vllm:num_preemptions_total{engine="0"} %d
vllm:generation_tokens_total{engine="0"} %d 1767225600000
vllm:request_success_total{finished_reason="stop"} NaN
"""

SGLANG = """sglang:num_running_reqs{model_name="m"} 7.0
sglang:num_queue_reqs{model_name="m"} 1.0
sglang:token_usage{model_name="m"} 0.28
sglang:cache_hit_rate{model_name="m"} 0.125
sglang:gen_throughput{model_name="m"} 1234.5
sglang:generation_tokens_total{model_name="m"} 7.557572e+06
"""


def test_vllm_in_common_words():
    reader = EngineReader()
    first = {"running": 8.0, "waiting": 2.0, "kv_usage": 37.5}
    assert reader.read(VLLM % (100, 10, 1, 1000), 10.0) == first
    second = reader.read(VLLM % (200, 85, 3, 1500), 12.0)
    assert second == {**first, "prefix_hit_rate": 75.0, "preemptions": 1.0, "generated": 250.0}
    assert reader.read(VLLM % (5, 1, 0, 10), 13.0) == first  # it began anew: no rate is made up


def test_sglang_in_common_words():
    assert EngineReader().read(SGLANG, 1.0) == {
        "running": 7.0, "waiting": 1.0, "kv_usage": 28.0, "prefix_hit_rate": 12.5, "generated": 1234.5,
    }  # fmt: skip


def test_accelerators_of_three_makers():
    assert nvidia("3, 55, 1024, 81559, [Not Supported], 41") == [
        ("gpu3", {"util": 55.0, "mem_used": 1024.0, "temp": 41.0})
    ]
    assert npu(NPU) == [
        ("npu0", {"util": 87.0, "mem_used": 33060.0, "power": 93.6, "temp": 40.0}),
        ("npu1", {"util": 5.0, "mem_used": 1546.0, "temp": 44.0}),
        ("npu1.1", {"util": 6.0, "mem_used": 1500.0, "temp": 45.0}),
    ]
    assert rocm(ROCM) == [
        ("gpu0", {"temp": 45.0, "power": 310.5, "util": 97.0, "mem_used": 32760.0}),
        ("gpu1", {"temp": 41.0, "util": 0.0, "mem_used": 10.0}),
    ]


def test_what_real_machines_printed():
    assert npu(NPU_26) == [
        ("npu0", {"util": 0.0, "mem_used": 3419.0, "power": 162.6, "temp": 34.0}),
        ("npu0.1", {"util": 0.0, "mem_used": 2874.0, "temp": 34.0}),
    ]
    assert npu(NPU_25) == [
        ("npu0", {"util": 0.0, "mem_used": 3197.0, "power": 91.3, "temp": 33.0}),
        ("npu1", {"util": 0.0, "mem_used": 3197.0, "power": 88.1, "temp": 32.0}),
    ]
    assert rocm(ROCM_7) == [
        ("gpu0", {"temp": 31.0, "power": 19.0, "util": 0.0, "mem_used": pytest.approx(26.652, abs=1e-3)}),
        ("gpu1", {"temp": 27.0, "power": 18.0, "util": 0.0, "mem_used": pytest.approx(26.652, abs=1e-3)}),
    ]
    assert rocm(ROCM_HALO) == [
        ("gpu0", {"temp": 54.0, "power": 20.358, "util": 2.0, "mem_used": pytest.approx(487.75, abs=1e-3)})
    ]


def test_counters_become_rates_on_our_clock():
    reader = NodeReader("n", offset=5.0)
    lines = [
        "C 99 1 1 1 1 1 1 1 1", "Z 1767225605.5 100.0", "C 101.00 100 0 0 100 0 0 0 0", "T 101.00 1000000 0", "D 101.00 0 0",
        "C 103.00 250 0 0 150 0 0 0 0", "M 103.00 1000 250", "T 103.00 5000000 2000000", "D 103.00 0 7812",
    ]  # fmt: skip
    rows = [row for line in lines for row in reader.feed(line)]
    assert {r["t"] for r in rows} == {1767225603.5}  # 5605.5 - 5 s that its clock is ahead + 3 s of uptime
    found = {k: v for r in rows for k, v in r.items() if k not in ("t", "source")}
    assert found == {
        "cpu": 75.0, "mem": 75.0, "net_rx": 2.0, "net_tx": 1.0, "disk_read": 0.0, "disk_write": pytest.approx(2.0, abs=1e-3),
    }  # fmt: skip


def slow(*times: float) -> list[tuple[float, float]]:
    return [(t, 100.0) for t in times]


def test_a_gap_is_what_is_long_for_its_series():
    every_ten = slow(0, 10.4, 21.1, 31.5, 42.0)
    assert with_gaps(every_ten) == every_ten, "what is asked every ten seconds is whole"
    broken = with_gaps(slow(*range(5), *range(9, 14)))
    assert [t for t, v in broken if v != v] == [6.5]
    assert with_gaps([]) == []


def test_energy_is_known_where_power_is():
    cpu = {("cpu", "n"): slow(*range(61))}
    assert energy({**cpu, ("power", "n/npu0"): slow(1, 12, 23, 34, 45, 56)}) == (6000.0, 100.0), "edges are no gaps"
    for times in ([*range(20), *range(40, 61)], range(30)):  # lost for a while, and for good
        assert energy({**cpu, ("power", "n/gpu0"): slow(*times)}) == (None, pytest.approx(100.0))
    assert energy(cpu) is None


@given(st.lists(st.text(max_size=60) | st.sampled_from([*NPU.splitlines(), *ROCM.splitlines()]), max_size=40))
def test_nothing_that_a_tool_prints_stops_the_sampling(lines: list[str]):
    reader = NodeReader("n")
    for line in ["Z 1.0 1.0", *(f"{kind} 2.0 {line}" for kind in "CMTDGNRZ" for line in lines), "N 3.0", "R 3.0"]:
        for row in reader.feed(line):
            assert row["source"]
    EngineReader().read("\n".join(lines), 1.0)
