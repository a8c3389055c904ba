"""What a test script says about itself on its standard output.

``METRIC:key=value`` on a line, and ``METRICS_START {json} METRICS_END``, in one line or over several. A value is a
number where it looks like one. Later values win.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from playbook_kernel.api import Metric

_LINE = re.compile(r"METRIC:\s*([^=\s]+)\s*=\s*(.*?)\s*$")
_START, _END = "METRICS_START", "METRICS_END"
_BLOCK_LIMIT = 1024 * 1024
_UNITS = (
    (re.compile(r"(?:^|_)(?:ttft|tpot|itl|e2el|latency)(?:_|$).*_ms$|_ms$"), "ms"),
    (re.compile(r"tokens?_per_s(?:econd)?$|token_throughput$|output_throughput$|_tps$"), "tok/s"),
    (re.compile(r"requests?_per_s(?:econd)?$|request_(?:throughput|rate|goodput)$|_rps$"), "req/s"),
    (re.compile(r"throughput$|_per_s(?:econd)?$"), "1/s"),
    (re.compile(r"(?:_s|_seconds|duration)$"), "s"),
    (re.compile(r"(?:percent|percentage|_pct)$"), "%"),
)


class MetricsReader:
    """Fed with lines, it keeps what they say."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.problems: list[str] = []
        self._block: list[str] | None = None
        self._size = 0
        self._slipped = False

    def feed(self, line: str) -> None:
        """Look at one line."""
        if self._block is None and _START in line:
            line = line.split(_START, 1)[1]
            self._block, self._size = [], 0
        if self._block is not None:
            head, found, _ = line.partition(_END)
            self._block.append(head)
            self._size += len(head)
            if found:
                self._take("\n".join(self._block))
                self._block = None
            elif self._size > _BLOCK_LIMIT:
                self.problems.append(f"a block of metrics without {_END} was given up after 1 MiB")
                self._block = None
            return
        if match := _LINE.search(line):
            self.values[match[1]] = number(match[2])
        elif line.lstrip().startswith("METRIC:") and not self._slipped:
            self._slipped = True  # once: a loop prints the same slip a thousand times
            self.problems.append(
                f"{line.strip()[:200]!r} is no METRIC:name=value, and is not read; so are others like it"
            )

    def _take(self, text: str) -> None:
        try:
            found = json.loads(text)
        except ValueError as error:
            self.problems.append(f"a block of metrics is not JSON: {error}")
            return
        if isinstance(found, Mapping):
            self.values.update({str(k): v for k, v in found.items()})
        else:
            self.problems.append("a block of metrics is not an object")


def number(text: str) -> object:
    """An int, a float, or the text itself.

    >>> number("3"), number("2.5"), number("fast")
    (3, 2.5, 'fast')
    """
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def unit(key: str) -> str:
    """The unit that a metric's name tells; ``1`` if it tells none.

    >>> unit("ttft_p99_ms"), unit("duration"), unit("output_throughput"), unit("count")
    ('ms', 's', 'tok/s', '1')
    """
    return next((u for pattern, u in _UNITS if pattern.search(key.lower())), "1")


def as_metrics(values: Mapping[str, object], samples: int | None) -> dict[str, Metric]:
    """The values that are numbers, as metrics."""
    return {
        key: Metric(float(value), unit(key), samples)
        for key, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
