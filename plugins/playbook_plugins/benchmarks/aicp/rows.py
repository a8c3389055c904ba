"""A result as one row, under the names that the earlier tool gave its columns."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from .metrics import BY_NAME
from .options import OptionError
from .point import Outcome
from .summary import Slo, Summary

Row = dict[str, Any]
_LATENCIES = ("TTFT", "TPOT", "ITL", "E2EL")
_RATES = ("prefill_throughput", "decode_throughput")
_PERCENTS = ("90", "95", "99")
_HEAD = ("model", "question_label", "batch", "request_rate", "completed", "mean_input_tokens", "mean_output_tokens",
         "total_prompt_tokens", "total_completion_tokens")  # fmt: skip
_TOTALS = ("mean_output_throughput", "output_throughput", "total_token_throughput", "request_throughput",
           "request_goodput", "goodput_percentage", "mean_goodput_ttft", "mean_goodput_tpot", "mean_goodput_e2el",
           "mean_goodput_throughput")  # fmt: skip


def _latency(name: str) -> tuple[str, ...]:
    return (f"mean_{name}", f"median_{name}", f"std_{name}", *(f"{name}_P{p}" for p in _PERCENTS))


def _rate(name: str) -> tuple[str, ...]:
    return (f"mean_{name}", f"median_{name}", f"std_{name}", *(f"P{p}_{name}" for p in _PERCENTS))


RESULT_KEYS: Sequence[str] = (
    *_HEAD, *_latency("TTFT"), *_TOTALS, *_latency("TPOT"), *_latency("ITL"), *_latency("E2EL"),
    *_rate("prefill_throughput"), *_rate("decode_throughput"),
)  # fmt: skip
PER_GPU = ("prefill_throughput_per_gpu", "decode_throughput_per_gpu")
_STATISTIC = re.compile(
    r"(?:(?P<of>mean|median|std)_(?P<a>[A-Za-z0-9_]+)|(?P<b>TTFT|TPOT|ITL|E2EL)_P(?P<p>\d+(?:\.\d+)?)"
    r"|P(?P<q>\d+(?:\.\d+)?)_(?P<c>[a-z0-9_]+))"
)
_FAMILIES = {"ttft": "ttft", "tpot": "tpot", "e2el": "e2el"}
_THROUGHPUTS = ("mean_output_throughput", "output_throughput", "throughput")


def higher_is_better(key: str) -> bool:
    """Whether a limit on this column is a least value."""
    return "throughput" in key or "goodput" in key or key == "completed"


def value(summary: Summary, key: str) -> float | None:
    """A column's value; None where there is none. Raises KeyError for an unknown column."""
    totals = {
        "completed": 100 * summary.succeeded / max(1, summary.succeeded + summary.failed),
        "output_throughput": summary.rate(summary.output_tokens),
        "total_token_throughput": summary.rate(summary.output_tokens + summary.input_tokens),
        "request_throughput": summary.rate(summary.succeeded),
        "request_goodput": summary.rate(summary.good or 0),
        "goodput_percentage": None if summary.attainment is None else 100 * summary.attainment,
    }
    if key in totals:
        return totals[key]
    found = _STATISTIC.fullmatch(key)
    if not found:
        raise KeyError(key)
    name = (found["a"] or found["b"] or found["c"]).lower()
    if name not in summary.distributions:
        raise KeyError(key)
    distribution = summary.distributions[name]
    if not distribution.count:
        return None
    if found["of"]:
        kind = found["of"]
        return {"mean": distribution.mean, "median": distribution.percentile(50), "std": distribution.std}[kind]
    return distribution.percentile(float(found["p"] or found["q"]))


def known(key: str) -> bool:
    """Whether there is such a column."""
    if key in (*_TOTALS, "completed"):
        return True
    found = _STATISTIC.fullmatch(key)
    name = (found["a"] or found["b"] or found["c"]).lower() if found else ""
    return name in BY_NAME or name in ("itl", "itl_token", "itl_legacy")


def check_limits(option: str, limits: Mapping[str, float]) -> None:
    """Raise OptionError for a column that there is not."""
    wrong = [k for k in limits if not known(k)]
    if wrong:
        raise OptionError([f"{option}: there is no column {k!r}; such as TTFT_P90, mean_TPOT" for k in wrong])


def violated(summary: Summary, limits: Mapping[str, float]) -> list[str]:
    """The limits that a result breaks. A result without a value breaks the limit: nothing succeeded."""
    broken = []
    for key, limit in limits.items():
        seen = value(summary, key)
        if seen is None or math.isnan(seen) or (seen < limit if higher_is_better(key) else seen > limit):
            broken.append(f"{key} is {'not there' if seen is None else f'{seen:.4g}'}, not {limit:g}")
    return broken


def slos(goodput: Mapping[str, float]) -> tuple[Slo, ...]:
    """What each request must keep, by family: the first key of each. Raises OptionError for an unknown key."""
    made: dict[str, Slo] = {}
    for key, limit in goodput.items():
        lower = key.lower()
        family = next((f for f in _FAMILIES if re.fullmatch(rf"(?:mean_)?{f}(?:_p[\d.]+)?", lower)), None)
        if family is not None:
            made.setdefault(family, Slo(family, limit))
        elif lower in _THROUGHPUTS:
            made.setdefault("throughput", Slo("decode_throughput", limit, "more"))
        elif lower in BY_NAME:
            made.setdefault(lower, Slo(lower, limit, BY_NAME[lower].better))
        else:
            raise OptionError([f"goodput: unknown limit {key!r}; such as TTFT_P90, TPOT_P90, e2el, throughput"])
    return tuple(made.values())


def row_of(outcome: Outcome, model: str, metadata: Mapping[str, str]) -> Row:
    """The row of a result, in the order of its columns."""
    summary, point = outcome.summary, outcome.point
    row: Row = {
        "model": PurePosixPath(model).name or model,
        "question_label": point.label,
        "batch": point.concurrency,
        "request_rate": point.rate,
        "completed": value(summary, "completed"),
        "mean_input_tokens": summary.input_tokens // max(1, summary.succeeded),
        "mean_output_tokens": summary.output_tokens // max(1, summary.succeeded),
        "total_prompt_tokens": summary.input_tokens,
        "total_completion_tokens": summary.output_tokens,
    }
    good = _good_means(outcome)
    for key in RESULT_KEYS[len(_HEAD) :]:
        row[key] = good[key] if key in good else value(summary, key)
    row["num_prompts"] = summary.requests
    gpus = _positive(metadata.get("gpu_num")) * _positive(metadata.get("replicas"))
    row["prefill_throughput_per_gpu"] = summary.rate(summary.input_tokens) / gpus
    row["decode_throughput_per_gpu"] = summary.rate(summary.output_tokens) / gpus
    return row


def _positive(text: str | None) -> float:
    """A number of metadata that others are divided by: 1 where it is none."""
    try:
        number = float(text or 1)
    except ValueError:
        return 1.0
    return number if number > 0 and math.isfinite(number) else 1.0


def _good_means(outcome: Outcome) -> Row:
    """Means over all successful requests, in ms: the limits' families side by side."""
    distributions = outcome.summary.distributions

    def mean(name: str) -> float | None:
        found = distributions[name]
        return found.mean if found.count else None

    return {
        "mean_goodput_ttft": mean("ttft"),
        "mean_goodput_tpot": mean("tpot"),
        "mean_goodput_e2el": mean("e2el"),
        "mean_goodput_throughput": mean("decode_throughput"),
    }


def legacy(summary: Summary) -> Row:
    """What the earlier tool's own definitions would have given, where they differ."""
    found: Row = {}
    for name in ("ttft", "tpot", "itl"):
        distribution = summary.distributions[f"{name}_legacy"]
        for key, figure in distribution.figures((90, 95, 99)).items():
            found[f"{name.upper()}_legacy_{key}"] = figure
    found["completion_tokens_by_chunk"] = summary.chunk_tokens
    found["output_throughput_by_chunk"] = summary.rate(summary.chunk_tokens)
    if summary.good is not None and summary.succeeded:
        found["goodput_percentage_of_successful"] = 100 * summary.good / summary.succeeded
    return found
