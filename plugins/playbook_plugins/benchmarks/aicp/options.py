"""Every option: a flag of the command line and, in snake_case, a key of test_config.json. Said once, here."""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from attrs import Attribute, evolve, field, fields, frozen

Mode = Literal["auto", "static", "dynamic"]
_URL = re.compile(r"https?://[^/]", re.IGNORECASE)
_WORD = re.compile(r"[\w-]+")


class OptionError(ValueError):
    """An option cannot be used; ``problems`` are all that were found."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


# -- kinds of values: from a text of the command line or a value of a file ------------------------------------------


def _text(value: Any) -> str:
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError("expected a text")


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("expected a whole number")
    try:
        number = float(value)
        if number == int(number):
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise ValueError("expected a whole number")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("expected a number")
    with contextlib.suppress(ValueError):
        number = float(value)
        if not math.isnan(number):
            return number
    raise ValueError("expected a number")


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "1", "yes", "on"):
        return True
    if str(value).lower() in ("false", "0", "no", "off"):
        return False
    raise ValueError("expected true or false")


def _list(kind: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def convert(value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = [v.strip() for v in value.split(",") if v.strip()]
        elif not isinstance(value, (list, tuple)):
            value = [value]
        if not value:
            raise ValueError("expected at least one value")
        return tuple(kind(v) for v in value)

    return convert


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    return tuple(_text(v) for v in value)


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"expected a JSON object: {error}") from None
    if not isinstance(value, Mapping):
        raise ValueError("expected a JSON object")
    return dict(value)


def _limits(value: Any) -> dict[str, float]:
    return {name: _number(limit) for name, limit in _mapping(value).items()}


def _pairs(value: Any) -> dict[str, str]:
    """``KEY=VALUE`` items; the value may hold further ``=``."""
    if isinstance(value, Mapping):
        return {str(k): "" if v is None else str(v) for k, v in value.items()}
    made = {}
    for item in [value] if isinstance(value, str) else value:
        key, found, text = str(item).partition("=")
        if not found or not key:
            raise ValueError(f"expected KEY=VALUE, got {item!r}")
        made[key] = text
    return made


def _stages(value: Any) -> tuple[tuple[float, float, float], ...]:
    """``SECONDS:FIRST:LAST,...``: rates that go in straight lines."""
    if isinstance(value, str):
        value = [v.split(":") for v in value.split(",") if v.strip()]
    made = []
    for stage in value:
        numbers = [_number(v) for v in stage]
        if len(numbers) == 2:
            numbers.append(numbers[1])
        if len(numbers) != 3:
            raise ValueError("expected SECONDS:FIRST:LAST")
        made.append((numbers[0], numbers[1], numbers[2]))
    return tuple(made)


def _choice(*names: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if value not in names:
            near = difflib.get_close_matches(str(value), shown, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"expected one of {', '.join(shown)}{hint}")
        return str(value)

    shown = [name for name in names if name]
    convert.__doc__ = "|".join(shown)
    return convert


def _opt(kind: Callable[[Any], Any], default: Any, text: str, *, group: str = "", secret: bool = False) -> Any:
    return field(default=default, metadata={"kind": kind, "help": text, "group": group, "secret": secret})


def _flag(text: str, *, group: str, default: bool = False) -> Any:
    return _opt(_switch, default, text, group=group)


@frozen
class Options:
    """What a load is. Empty ``request_rate`` entries are infinite: then ``max_concurrency`` alone makes the load."""

    base_url: str = _opt(_text, "", "where the server is; the endpoint is appended", group="target")
    endpoint: str = _opt(
        _text, "", "path of the API; chat, or completions for prompts made of token ids", group="target"
    )
    api_key: str | None = field(
        default=None,
        repr=False,
        metadata={
            "kind": _text,
            "help": "sent as a bearer token; OPENAI_API_KEY without it",
            "group": "target",
            "secret": True,
        },
    )
    model: str = _opt(_text, "", "sent as it is; reports use its last path component", group="target")
    response_mode: str = _opt(_choice("openai", "kts", "hw"), "openai", "shape of the answers", group="target")
    insecure: bool = _flag("accept any TLS certificate", group="target")
    ca_file: str = _opt(_text, "", "certificates to trust instead of the system's", group="target")
    headers: Mapping[str, str] = _opt(_pairs, {}, "further headers, NAME=VALUE", group="target")
    extra_body: Mapping[str, Any] = _opt(_mapping, {}, "JSON object merged into every request", group="target")

    tokenizer_path: str | None = _opt(_text, None, "folder of a tokenizer", group="prompts")
    dataset_path: str = _opt(_text, "", "file of prompts", group="prompts")
    dataset_name: str = _opt(
        _choice("", "filtered", "sharegpt", "normal", "custom", "jsonl", "random", "prefix", "multi-turn", "trace"),
        "",
        "kind of that file; filtered, or random without a file",
        group="prompts",
    )
    dataset_field: Mapping[str, Any] = _opt(
        _mapping, {}, 'custom: {"input_field": [...], "output_field": [...]}', group="prompts"
    )
    mode: str = _opt(
        _choice("auto", "static", "dynamic"), "auto", "static: filtered only, unless said", group="prompts"
    )
    input_len: tuple[int, ...] = _opt(_list(_whole), (), "static: prompt lengths", group="prompts")
    output_len: tuple[int, ...] = _opt(_list(_whole), (), "static: answer lengths, as many", group="prompts")
    dynamic_input_len: int | None = _opt(_whole, None, "dynamic: prompt length", group="prompts")
    dynamic_output_len: int | None = _opt(_whole, None, "dynamic: answer length", group="prompts")
    dynamic_prompt_len_scale: float = _opt(_number, 0.0, "dynamic: prompt lengths vary by this share", group="prompts")
    enable_same_prompt: bool = _flag("one prompt for all requests", group="prompts")
    num_prompts: tuple[int, ...] = _opt(
        _list(_whole), (1000,), "dynamic: requests, one value or one each", group="prompts"
    )
    shuffle: bool = _flag("shuffle the prompts", group="prompts")
    reuse_prompts: bool = _flag("the same prompts at every point", group="prompts")
    seed: int = _opt(_whole, 2024, "of everything that is drawn", group="prompts")
    prefix_len: int = _opt(_whole, 512, "prefix: tokens that prompts share", group="prompts")
    prefix_count: int = _opt(_whole, 8, "prefix: different shared prefixes", group="prompts")
    prefix_hit: float = _opt(_number, 1.0, "prefix: share of prompts that have one", group="prompts")
    turns: int = _opt(_whole, 4, "multi-turn: turns of a made conversation", group="prompts")
    turn_pause: float = _opt(_number, 0.0, "multi-turn: seconds between an answer and the next turn", group="prompts")
    own_answers: bool = _flag("multi-turn: the history holds the server's own answers", group="prompts")
    trace_speed: float = _opt(_number, 1.0, "trace: how much faster than recorded", group="prompts")
    vocabulary: int = _opt(_whole, 32000, "random: token ids are below this", group="prompts")

    max_concurrency: tuple[int, ...] = _opt(
        _list(_whole),
        (1, 8, 16, 32, 64, 128, 200, 300, 400, 500, 600),
        "requests in flight; 0 with a rate: no cap",
        group="load",
    )
    request_rate: tuple[float, ...] = _opt(_list(_number), (math.inf,), "requests per second, or inf", group="load")
    burstiness: float = _opt(_number, 1.0, "shape of the gamma distribution of gaps; 1 is Poisson", group="load")
    arrival: str = _opt(_choice("gamma", "poisson", "constant"), "gamma", "how requests arrive at a rate", group="load")
    rate_stages: tuple[tuple[float, float, float], ...] = _opt(
        _stages, (), "ramps of the rate: SECONDS:FIRST:LAST,...", group="load"
    )
    ramp: float | None = _opt(
        _number, None, "seconds over which the first wave starts; without it up to 1 s", group="load"
    )
    duration: float = _opt(_number, 0.0, "stop asking after so many seconds", group="load")
    drain: float = _opt(_number, 60.0, "seconds that answers may take after that", group="load")
    precision: float = _opt(
        _number, 0.0, "stop when the mean TTFT is known to this share (0.02: ± 2 %, 95 %)", group="load"
    )
    repeats: int = _opt(_whole, 1, "runs of every point; the spread over them is told", group="load")
    waves: int = _opt(_whole, 1, "static: requests are so many times the concurrency", group="load")
    disable_ignore_eos: bool = _flag("let the model end by itself", group="load")
    stream: bool = _flag("ask for streams", group="load", default=True)
    logprobs: int | None = _opt(_whole, None, "ask for log probabilities", group="load")
    best_of: int = _opt(_whole, 1, "sent if it is not 1", group="load")
    disable_warm: bool = _flag("no warm-up", group="load")
    profile: bool = _flag("POST /start_profile before and /stop_profile after", group="load")

    goodput: Mapping[str, float] = _opt(
        _limits,
        {"TTFT_P90": 10000.0, "TPOT_P90": 100.0},
        "limits that a good request keeps, ms or tok/s",
        group="goals",
    )
    stop_slo: Mapping[str, float] = _opt(
        _limits, {"TTFT_P90": 15000.0, "TPOT_P90": 150.0}, "static: limits that end a series", group="goals"
    )
    disable_acc: bool = _flag("static: do not look for the concurrency that just meets the goal", group="goals")
    stop_strategy: str = _opt(_choice("slo", "acc", "all"), "slo", "static: when a series ends", group="goals")
    acc_col: str = _opt(_text, "TTFT_P99", "static: the column that is to meet its goal", group="goals")
    enable_auto_batch: bool = _flag("dynamic: search for the highest load that meets goodput", group="goals")
    sparse_step: int = _opt(_whole, 30, "auto-batch: wide step", group="goals")
    dense_step: int = _opt(_whole, 10, "auto-batch: narrow step", group="goals")
    dynamic_strategy: str = _opt(_choice("fast", "exhaustive"), "fast", "auto-batch: how to search", group="goals")
    max_failed: float = _opt(
        _number, 1.0, "share of a point's requests that may fail; none succeeded is always a failure", group="goals"
    )
    slo_share: float = _opt(_number, 0.99, "slo-search: share of requests that must be good", group="goals")
    probe_repeats: int = _opt(_whole, 1, "searches: runs of each probe", group="goals")

    percentile_metrics: tuple[str, ...] = _opt(
        _names, ("ttft", "tpot", "itl", "e2el", "throughput"), "metrics that are printed", group="output"
    )
    metric_percentiles: tuple[float, ...] = _opt(
        _list(_number), (90.0, 95.0, 99.0), "percentiles that are printed", group="output"
    )
    metadata: Mapping[str, str] = _opt(_pairs, {}, "KEY=VALUE of every row", group="output")
    case_id: str | None = _opt(_text, None, "of every row; made up without it", group="output")
    disable_save_result: bool = _flag("no CSV and no database", group="output")
    result_dir: str = _opt(_text, "/workspace/result", "where results go", group="output")
    result_filename: str = _opt(_text, "model_performance", "name of CSV and database", group="output")
    result_dirname: str = _opt(_text, "defualt_params", "sub-folder of the workbook", group="output")
    disable_export_to_excel: bool = _flag("no workbook", group="output")
    export_col: tuple[str, ...] = _opt(_names, (), "further columns of the workbook", group="output")
    save_text: bool = _flag("keep the text of answers in the records", group="output")
    disable_pbar: bool = _flag("no progress", group="output")
    log_level: str = _opt(_text, "info", "debug, info, warning or error", group="output")

    engine: str = _opt(_choice("auto", "uvloop", "epoll"), "auto", "auto: epoll (kernel timestamps)", group="client")
    timestamps: str = _opt(_choice("kernel", "user"), "kernel", "of what is received, with epoll", group="client")
    processes: int = _opt(
        _whole, 0, "processes that make the load; 0: cores - 1, at least 64 streams each", group="client"
    )
    connections: int = _opt(_whole, 0, "opened before the load; 0: as many as are needed", group="client")
    timeout: float = _opt(_number, 21600.0, "seconds that a request may take", group="client")
    idle_timeout: float = _opt(_number, 600.0, "seconds that a server may be silent", group="client")
    connect_timeout: float = _opt(_number, 30.0, "seconds for a connection", group="client")
    calibrate: float = _opt(_number, 2.0, "seconds of measuring this client itself before; 0: none", group="client")

    @property
    def static(self) -> bool:
        """Whether the load is waves of fixed lengths rather than a number of requests."""
        return self.mode == "static" or (self.mode == "auto" and self.dataset == "filtered")

    @property
    def dataset(self) -> str:
        """The kind of the prompts, after its default."""
        return self.dataset_name or ("filtered" if self.dataset_path else "random")

    @property
    def api(self) -> str:
        """The endpoint, after its default: only completions take token ids, whose number is exact."""
        if self.endpoint:
            return self.endpoint
        ids = self.dataset in ("random", "prefix", "trace") and not self.tokenizer_path
        return "/v1/completions" if ids else "/v1/chat/completions"

    @property
    def rates(self) -> tuple[float, ...]:
        """The finite request rates."""
        return tuple(r for r in self.request_rate if math.isfinite(r))


# Names of the tool's earlier version, and words that are shorter.
ALIASES: Mapping[str, str] = {
    "sharegpt_input_len": "dynamic_input_len",
    "sharegpt_output_len": "dynamic_output_len",
    "sharegpt_prompt_len_scale": "dynamic_prompt_len_scale",
    "slo": "goodput",
}
# Keys of test_config.json that were for the container the tool ran in.
IGNORED: Mapping[str, str] = dict.fromkeys(
    ("container_image", "results_mount_path", "network_mode", "ipc_mode", "privileged"),
    "the load is made by this tool, without a container",
)
BY_NAME: Mapping[str, Attribute[Any]] = {a.name: a for a in fields(Options)}
INPUT_LENS, OUTPUT_LENS = (128, 2048, 4096, 7168), (1024, 2048, 1024, 1024)


def canonical(key: str) -> str:
    """An option's name for any way to write it; other keys stay as they are."""
    name = ALIASES.get(key.replace("-", "_"), key.replace("-", "_"))
    return name if name in BY_NAME else key


def fill(
    given: Mapping[str, Any],
    base: Options | None = None,
    *,
    strict: bool = True,
    problems: list[str] | None = None,
) -> Options:
    """Options from a mapping of names to values; a null value is as if it were not there.

    Raises OptionError, unless ``problems`` takes what is wrong: then options come back without it.
    """
    found: list[str] = []
    bad: set[str] = set()
    made: dict[str, Any] = {}
    for key, value in given.items():
        name = ALIASES.get(key.replace("-", "_"), key.replace("-", "_"))
        if name in IGNORED or value is None:
            continue
        attribute = BY_NAME.get(name)
        if attribute is None:
            if strict:
                close = difflib.get_close_matches(name, [*BY_NAME, *ALIASES], 1)
                found.append(f"{key}: unknown" + (f"; did you mean {close[0]}?" if close else ""))
            continue
        try:
            made[name] = attribute.metadata["kind"](value)
        except (ValueError, TypeError) as error:
            shown = "***" if attribute.metadata["secret"] else repr(value)[:60]
            found.append(f"{key}: {error}, got {shown}")
            bad.add(name)
    options = evolve(base or Options(), **made)
    found += [problem for problem in check(options) if not bad & set(_WORD.findall(problem))]
    if problems is None and found:
        raise OptionError(found)
    if problems is not None:
        problems += found
    return options


def about(problem: str) -> set[str]:
    """The options that a problem is about, and those that were probably meant."""
    head, _, rest = problem.partition(":")
    meant = rest.partition("did you mean ")[2].rstrip("?")
    words = {w.replace("-", "_") for w in _WORD.findall(head)} | {meant}
    return {ALIASES.get(w, w) for w in words} & BY_NAME.keys()


_KINDS: Mapping[Callable[[Any], Any], str] = {
    _text: "text", _whole: "whole number", _number: "number", _switch: "true or false", _names: "list of texts",
    _mapping: "object", _limits: "object of numbers", _pairs: "object of texts", _stages: "list of stages",
}  # fmt: skip


def in_words(name: str) -> tuple[str, str]:
    """What an option takes, and its default, in words."""
    attribute = BY_NAME[name]
    kind, default = attribute.metadata["kind"], attribute.default
    words = _KINDS.get(kind) or (kind.__doc__ if kind.__doc__ and "|" in kind.__doc__ else "list of numbers")
    plain: Any = getattr(default, "factory", lambda: default)()
    return words, "" if plain in (None, "", (), {}) else repr(list(plain) if isinstance(plain, tuple) else plain)


def _traced(options: Options) -> bool:
    return options.dataset == "trace"


def check(options: Options) -> list[str]:
    """What is wrong with options as a whole."""
    found = []
    if options.response_mode != "openai":
        found.append(
            f"response_mode: {options.response_mode!r} is not supported: no server that speaks it is known; use openai"
        )
    for name in ("max_concurrency", "num_prompts", "input_len", "output_len"):
        least = 0 if name == "max_concurrency" and (options.rates or options.rate_stages or _traced(options)) else 1
        if any(v < least for v in getattr(options, name)):
            found.append(f"{name}: must be 1 or more")
    for name in ("dynamic_input_len", "dynamic_output_len"):
        if (length := getattr(options, name)) is not None and length < 1:
            found.append(f"{name}: must be 1 or more")
    if options.base_url and not _URL.match(options.base_url):
        found.append(f"base_url: {options.base_url!r} is not http://HOST:PORT or https://HOST")
    if any(not r > 0 for r in options.request_rate):
        found.append("request_rate: must be positive")
    if not options.burstiness > 0:
        found.append("burstiness: must be positive")
    if len(options.input_len) != len(options.output_len):
        found.append("input_len and output_len: must be lists of the same length")
    if len(options.num_prompts) not in (1, len(options.max_concurrency)) and not options.static:
        found.append("num_prompts: must be one value, or one for each of max_concurrency")
    for name in (
        "sparse_step",
        "dense_step",
        "repeats",
        "waves",
        "probe_repeats",
        "vocabulary",
        "turns",
        "prefix_count",
    ):
        if getattr(options, name) < 1:
            found.append(f"{name}: must be 1 or more")
    for name in ("duration", "drain", "precision", "calibrate", "turn_pause", "prefix_len", "processes", "connections"):
        if getattr(options, name) < 0:
            found.append(f"{name}: must not be negative")
    for name in ("timeout", "idle_timeout", "connect_timeout", "trace_speed"):
        if not getattr(options, name) > 0:
            found.append(f"{name}: must be positive")
    if options.own_answers and options.dataset != "multi-turn":
        found.append("own_answers: only conversations (dataset_name multi-turn) have answers to repeat")
    if any(not 0 <= p <= 100 for p in options.metric_percentiles):
        found.append("metric_percentiles: must be from 0 to 100")
    if not 0 <= options.prefix_hit <= 1 or not 0 < options.slo_share <= 1:
        found.append("prefix_hit, slo_share: must be shares from 0 to 1")
    if not 0 <= options.max_failed <= 1:
        found.append("max_failed: must be a share from 0 to 1")
    if options.engine == "epoll" and not hasattr(__import__("select"), "epoll"):
        found.append("engine: epoll needs Linux")
    return found
