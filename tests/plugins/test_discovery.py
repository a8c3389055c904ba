"""What a node says of itself, and whether that is enough for a scenario."""

import pytest
from playbook_kernel.api import PhaseFailed
from playbook_plugins.discovery import concerns, parse, require

ROCM = (
    "rocm\tdevice,VRAM Total Memory (B),VRAM Total Used Memory (B),Card Series,Card Model\n"
    "rocm\tcard0,206141652992,297795584,AMD Instinct MI300X,0x74a1\n"
    "rocm\tcard1,206141652992,297795584,AMD Instinct MI300X,0x74a1"
)


@pytest.mark.parametrize(
    ("output", "cards"),
    [
        (
            "nvidia\t0, H200, 143771, 5, 570.1",
            [{"kind": "nvidia", "name": "H200", "driver": "570.1", "index": 0, "memory_mib": 143771, "memory_used_mib": 5}],
        ),
        ("npu\t3,Ascend 910B,65536", [{"kind": "npu", "name": "Ascend 910B", "index": 3, "memory_mib": 65536}]),
        (
            ROCM,
            [
                {"kind": "rocm", "name": "AMD Instinct MI300X", "index": n, "memory_mib": 196592, "memory_used_mib": 284}
                for n in (0, 1)
            ],
        ),
        ("rocm\tsomething else, that no version prints", None),
    ],
)  # fmt: skip
def test_accelerators_of_three_makers(output, cards):
    assert parse(output).get("accelerators") == cards


def test_what_is_no_number_is_no_fact():
    assert parse("clock\t179.%N\ncpus\tmany\nmemory_kib\t-\nlisten\tzz\ndisk\ta b\nkernel\tLinux") == {
        "kernel": "Linux"
    }


def node(memory_gib, *cards_mib):
    facts = {"memory_kib": memory_gib * 2**20}
    if cards_mib:
        facts["accelerators"] = [
            {"kind": "nvidia", "name": "X", "index": n, "memory_mib": m} for n, m in enumerate(cards_mib)
        ]
    return facts


@pytest.mark.parametrize(
    ("wanted", "nodes"),
    [
        ({}, {"a": node(1)}),
        ({"min_memory": 64e9}, {"a": node(62), "b": node(512)}),
        ({"min_gpu_memory": 80e9}, {"a": node(1, 81559, 81559), "router": node(1)}),
        ({"min_gpu_memory": 80 * 2**30}, {"a": node(1, 81559)}),
    ],
)
def test_enough(wanted, nodes):
    require(wanted, nodes)


@pytest.mark.parametrize(
    ("wanted", "nodes", "words"),
    [
        ({"min_memory": 64e9}, {"a": node(512), "b": node(32)}, "b has 34.4 GB of memory, min_memory_gb is 64"),
        ({"min_gpu_memory": 80e9}, {"a": node(1), "b": node(1)}, "no accelerator is seen on a, b"),
        ({"min_gpu_memory": 80e9}, {"a": node(1, 81559, 24576)}, "X 1 on a has 25.8 GB, min_gpu_memory is 80"),
    ],
)
def test_too_little_is_told_and_never_tried_again(wanted, nodes, words):
    with pytest.raises(PhaseFailed, match="resource_requirements are not met") as caught:
        require(wanted, nodes)
    assert words in str(caught.value)
    assert caught.value.error_class == "config"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"disk_kib": 100, "disk_free_kib": 50, "memory_kib": 100, "memory_available_kib": 50, "clock_offset": 0.2},
            None,
        ),
        ({"disk_kib": 100 * 2**20, "disk_free_kib": 2 * 2**20}, "disk is nearly full: 2.0 GiB of 100 GiB"),
        ({"memory_kib": 100 * 2**20, "memory_available_kib": 2**20}, "memory is nearly used up"),
        ({"clock_offset": -3.0}, "-3.0 s"),
        (
            {"accelerators": [{"name": "H200", "index": 1, "memory_mib": 100, "memory_used_mib": 40}]},
            "H200 1 has 40 MiB",
        ),
    ],
)
def test_what_will_hurt_is_said_before_it_does(facts, words):
    found = list(concerns(facts))
    assert len(found) == (words is not None)
    assert words is None or words in found[0]
