"""Where prompts come from."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest
from playbook_plugins.benchmarks.aicp.arrange import order_of
from playbook_plugins.benchmarks.aicp.core.plan import Order
from playbook_plugins.benchmarks.aicp.datasets import open_dataset
from playbook_plugins.benchmarks.aicp.options import OptionError, fill
from playbook_plugins.benchmarks.aicp.point import Point
from playbook_plugins.benchmarks.aicp.samples import payload

COMPLETIONS = "/v1/completions"


@pytest.fixture
def dataset(tmp_path):
    """A dataset of a file with this content (text, or a value for JSON)."""

    def make(content=None, *, name="d.json", **given):
        options = {"base_url": "http://h", "model": "m", **given}
        if content is not None:
            path = tmp_path / name
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
            options["dataset_path"] = str(path)
        return open_dataset(fill(options))

    return make


@pytest.fixture
def tokenizer(tmp_path):
    """A folder with a tokenizer whose tokens are words."""
    tokenizers = pytest.importorskip("tokenizers")
    words = {"[UNK]": 0, **{f"w{n}": n + 1 for n in range(500)}}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    return str(folder)


def words(count, start=0):
    return " ".join(f"w{(start + n) % 500}" for n in range(count))


def test_filtered_groups_go_on_from_batch_to_batch_and_start_over_with_a_note(dataset):
    made = dataset({"8": [f"p{n}" for n in range(5)]}, input_len=[8], output_len=[3])
    assert [s.text for s in made.static(8, 3, 2)] == ["p0", "p1"]
    assert [s.text for s in made.static(8, 3, 2)] == ["p2", "p3"]
    assert made.notes == []
    assert [(s.text, s.output_len) for s in made.static(8, 7, 2)] == [("p0", 7), ("p1", 7)]
    assert "all 5 prompts were used" in made.notes[0]


def test_filtered_prompts_are_cut_with_a_tokenizer_in_every_group(dataset, tokenizer):
    groups = {"4": [words(9)], "6": [words(9)]}
    made = dataset(groups, input_len=[4, 6], output_len=[1, 1], tokenizer_path=tokenizer)
    assert [made.static(n, 1, 1)[0].text for n in (4, 6)] == [words(4), words(6)]


@pytest.mark.parametrize(
    ("content", "given", "told"),
    [
        ("", {}, "is empty"),
        ("{}", {}, "is empty"),
        ('{"8": [\n "a", }', {}, "d.json:2: not JSON"),
        ("[1]", {}, "expected an object"),
        ({"8": ["a"]}, {"input_len": [7168], "output_len": [1]}, "no prompts of length 7168; it has 8"),
        ({"8": "text"}, {"input_len": [8], "output_len": [1]}, "key 8: expected a list of texts"),
        ([{"x": 1}], {"dataset_name": "sharegpt"}, 'entry 0: has no "conversations"'),
        ([{"conversations": []}], {"dataset_name": "sharegpt"}, "no usable prompt"),
        ([{"q": "a"}], {"dataset_name": "custom"}, "dataset_field"),
        ([{"q": "a"}], {"dataset_name": "custom", "dataset_field": {"input_field": ["z"]}}, "entry 0: has no 'z'"),
        ([{"output": "a"}], {"dataset_name": "normal"}, 'entry 0: has no "instruction"'),
        ('{"prompt": "a"}\n{"prompt"\n', {"dataset_name": "jsonl"}, "d.json:2: not JSON"),
        ('{"prompt": "a"}\n\n{"promt": "b"}\n', {"dataset_name": "jsonl"}, 'd.json:3: has no "prompt"'),
        ('{"timestamp": 1}\n', {"dataset_name": "trace"}, "d.json:1: not a line of a Mooncake trace"),
        ("bad\n", {"dataset_name": "trace"}, "d.json:1: neither a line of JSON"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", {"dataset_name": "trace"}, "d.json:2: not a line"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_before_the_load(dataset, content, given, told):
    with pytest.raises(OptionError) as caught:
        dataset(content, **given)
    assert told in str(caught.value)


def test_a_file_or_a_tokenizer_that_is_not_there(dataset, tmp_path):
    with pytest.raises(OptionError, match="there is no file"):
        open_dataset(fill({"dataset_path": str(tmp_path / "no.json"), "dataset_name": "sharegpt"}))
    with pytest.raises(OptionError, match="is needed for the dataset sharegpt"):
        dataset(dataset_name="sharegpt")
    with pytest.raises(OptionError, match="tokenizer_path: there is no"):
        dataset(dataset_name="random", tokenizer_path=str(tmp_path / "none"))
    with pytest.raises(OptionError, match=r"has no tokenizer\.json"):
        dataset(dataset_name="random", tokenizer_path=str(tmp_path))


def conversation(prompt, answer):
    return {"conversations": [{"from": "human", "value": prompt}, {"from": "gpt", "value": answer}]}


def test_sharegpt_keeps_what_the_earlier_tool_kept(dataset, tokenizer):
    entries = [
        conversation(words(3), words(9)),  # prompt too short
        conversation(words(1025), words(9)),  # too long
        conversation(words(1000), words(1049)),  # too long together
        conversation(words(9), words(3)),  # answer too short
        conversation(words(9), words(7)),
    ]
    (sample,) = dataset(entries, dataset_name="sharegpt", tokenizer_path=tokenizer).dynamic(5)
    assert (sample.nominal, sample.output_len) == (9, 7)


def test_sharegpt_with_a_length_cuts_longer_prompts_to_about_it(dataset, tokenizer):
    entries = [conversation(words(n, n), words(5)) for n in (50, 110, 111, 200, 300)]
    given = {"dynamic_input_len": 100, "dynamic_prompt_len_scale": 0.1, "dynamic_output_len": 6}
    samples = dataset(entries, dataset_name="sharegpt", tokenizer_path=tokenizer, **given).dynamic(3)
    assert all(90 <= s.nominal <= 110 and s.output_len == 6 for s in samples)
    assert [s.text.split()[0] for s in samples] == ["w111", "w200", "w300"]
    same = dataset(entries, dataset_name="sharegpt", tokenizer_path=tokenizer, enable_same_prompt=True, **given)
    assert len({s.text for s in same.dynamic(7)}) == 1


def test_jsonl_takes_texts_ids_and_messages(dataset):
    lines = [
        {"prompt": "a", "output_len": 3},
        {"prompt_token_ids": [1, 2]},
        {"messages": [{"role": "user", "content": "b"}], "max_tokens": 5},
    ]
    content = "\n".join(map(json.dumps, lines))
    made = dataset(content, dataset_name="jsonl", dynamic_output_len=None).dynamic(3)
    assert [(s.text, tuple(s.ids), len(s.messages), s.output_len) for s in made] == [
        ("a", (), 0, 3),
        ("", (1, 2), 0, 128),
        ("", (), 1, 5),
    ]


def test_random_prompts_have_exact_lengths_without_a_tokenizer(dataset):
    made = dataset(dataset_name="random", dynamic_input_len=77, vocabulary=900)
    first, second = made.dynamic(20), made.dynamic(20)
    assert {len(s.ids) for s in first} == {77}
    assert all(0 <= i < 900 for s in first for i in s.ids)
    assert len({tuple(s.ids) for s in [*first, *second]}) == 40
    assert made.options.api == COMPLETIONS
    again = dataset(dataset_name="random", dynamic_input_len=77, vocabulary=900).dynamic(20)
    assert [s.ids for s in again] == [s.ids for s in first]


def test_random_lengths_vary_by_the_share_asked_for(dataset):
    made = dataset(dataset_name="random", dynamic_input_len=100, dynamic_prompt_len_scale=0.2).dynamic(300)
    lengths = [len(s.ids) for s in made]
    assert min(lengths) < 90 < 110 < max(lengths)
    assert all(80 <= n <= 120 for n in lengths)


def test_random_text_has_exact_lengths_with_a_tokenizer(dataset, tokenizer):
    made = dataset(dataset_name="random", dynamic_input_len=50, tokenizer_path=tokenizer, vocabulary=400)
    assert {(len(s.text.split()), s.nominal) for s in made.dynamic(5)} == {(50, 50)}


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_prefixes_are_shared_by_the_share_asked_for(dataset, share):
    given = {"prefix_len": 16, "prefix_count": 2, "prefix_hit": share, "dynamic_input_len": 8}
    samples = dataset(dataset_name="prefix", **given).dynamic(40)
    starts = Counter(tuple(s.ids[:16]) for s in samples)
    assert {len(s.ids) for s in samples} == {24}
    assert sum(n for n in starts.values() if n > 1) == pytest.approx(40 * share, abs=2)
    assert len({tuple(s.ids[16:]) for s in samples}) == 40


def test_turns_repeat_what_was_said_and_follow_one_another(dataset):
    entries = [
        {"conversations": [{"value": v} for v in ("q1", "a1", "q2", "a2", "q3")]},
        {"conversations": [{"value": "other"}, {"value": "yes"}]},
    ]
    made = dataset(entries, dataset_name="multi-turn", turn_pause=0.5)
    samples = made.dynamic(4)
    assert [len(s.messages) for s in samples] == [1, 3, 5, 1]
    assert samples[2].messages[3] == {"role": "assistant", "content": "a2"}
    order: Order = order_of(made.options, Point("dynamic", 2), samples)
    assert list(order.then) == [1, 2, -1, -1]
    assert list(order.pause) == [500_000_000, 500_000_000, 0, 0]


def test_conversations_can_be_made_up(dataset):
    made = dataset(dataset_name="multi-turn", turns=3, num_prompts=7, dynamic_input_len=5, dynamic_output_len=4)
    samples = made.dynamic(7)
    assert [(s.conversation, len(s.messages)) for s in samples] == [
        (0, 1),
        (0, 3),
        (0, 5),
        (1, 1),
        (1, 3),
        (1, 5),
        (2, 1),
    ]


def test_a_mooncake_trace_keeps_times_lengths_and_shared_blocks(dataset):
    lines = [
        {"timestamp": 3000, "input_length": 1100, "output_length": 5, "hash_ids": [1, 2, 3]},
        {"timestamp": 1000, "input_length": 1024, "output_length": 7, "hash_ids": [1, 2]},
        {"timestamp": 1500, "input_length": 600, "output_length": 0, "hash_ids": [9, 4]},
    ]
    made = dataset("\n".join(map(json.dumps, lines)), dataset_name="trace", trace_speed=2.0)
    first, second, third = made.dynamic(3)
    assert [s.due for s in (first, second, third)] == [0.0, 0.25, 1.0]
    assert [len(s.ids) for s in (first, second, third)] == [1024, 600, 1100]
    assert third.ids[:1024] == first.ids
    assert second.ids[:512] != first.ids[:512]
    order = order_of(made.options, Point("dynamic", 0), [first, second, third])
    assert list(order.due) == [0, 250_000_000, 1_000_000_000]


def test_an_azure_trace(dataset):
    rows = ["2023-11-16 18:17:03.9799600,374,44", "2023-11-16 18:17:04.0319600,396,109"]
    content = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(rows) + "\n"
    first, second = dataset(content, name="t.csv", dataset_name="trace").dynamic(2)
    assert second.due == pytest.approx(0.052, abs=1e-4)
    assert [(len(s.ids), s.output_len) for s in (first, second)] == [(374, 44), (396, 109)]


def test_shuffling_is_another_order_for_another_seed(dataset):
    content = "\n".join(json.dumps({"prompt": f"p{n}"}) for n in range(30))

    def order(**given):
        return [s.text for s in dataset(content, dataset_name="jsonl", **given).dynamic(30)]

    plain = [f"p{n}" for n in range(30)]
    assert order() == plain
    one, other = order(shuffle=True, seed=1), order(shuffle=True, seed=2)
    assert one != plain != other != one
    assert sorted(one) == sorted(plain)


def test_payloads_hold_only_what_says_something(dataset):
    made = dataset(dataset_name="random", dynamic_input_len=2, dynamic_output_len=3)
    body = payload(made.dynamic(1)[0], made.options)
    assert {k: v for k, v in body.items() if k != "prompt"} == {
        "model": "m", "temperature": 0.0, "max_tokens": 3, "stream": True, "ignore_eos": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    options = fill(
        {"best_of": 2, "disable_ignore_eos": True, "stream": False, "extra_body": {"top_k": 1}}, made.options
    )
    body = payload(made.dynamic(1)[0], options)
    assert (body["best_of"], body["top_k"], body["stream"]) == (2, 1, False)
    assert not {"ignore_eos", "stream_options"} & body.keys()


def test_rates_give_every_conversation_its_own_time(dataset):
    made = dataset(dataset_name="multi-turn", turns=2, num_prompts=6, arrival="constant")
    order = order_of(made.options, Point("dynamic", 0, 10.0), made.dynamic(6))
    dues = [d for d, number in zip(order.due, range(6), strict=True) if number % 2 == 0]
    assert [b - a for a, b in pairwise(dues)] == [100_000_000] * 2
