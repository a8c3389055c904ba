"""Each check of any driver, and of a benchmark, passes a good one, and names the fault of one that breaks it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from attrs import frozen
from playbook_kernel.api import (
    Benchmark,
    Deployment,
    Load,
    Measurement,
    Metric,
    PhaseTimeout,
    TrialContext,
    current,
)
from playbook_kernel.testing import (
    PLANTED,
    Hang,
    check_benchmark,
    check_driver,
)

from tests.testing.samples import Options, by_tool, fails, runs, trial

# -- any driver ---------------------------------------------------------------------------------------------------


def test_a_driver_is_built_with_its_options() -> None:
    driver = check_driver(type(runs(by_tool)), {"rounds": 3})
    assert driver.options.rounds == 3


def test_a_driver_without_docstring_is_told() -> None:
    class Bench(Benchmark[Options]):
        def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement: ...

    with fails("no docstring"):
        check_driver(Bench)


def test_an_unfinished_driver_is_told() -> None:
    class Bench(Benchmark[Options]):
        """Unfinished."""

    with fails("lacks run"):
        check_driver(Bench)


def test_a_method_that_does_not_take_what_it_is_given_is_told() -> None:
    class Bench(Benchmark[Options]):
        """Deaf."""

        def run(self) -> Measurement: ...  # type: ignore[override]

    with fails(r"Bench\.run is called with \(ctx, deployment, load\): too many positional arguments"):
        check_driver(Bench)


def test_options_that_can_change_are_told() -> None:
    @attrs.define
    class Loose:
        rounds: int = 1

    class Bench(Benchmark[Loose]):
        """Loose."""

        def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement: ...

    with fails("not frozen"):
        check_driver(Bench)


def test_a_password_in_plain_text_is_told() -> None:
    @frozen
    class Open:
        password: str = ""

    class Bench(Benchmark[Open]):
        """Open."""

        def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement: ...

    with fails("password of Bench sounds secret"):
        check_driver(Bench)


def test_options_that_do_not_fit_are_told() -> None:
    with fails("rounds: expected a whole number"):
        check_driver(type(runs(by_tool)), {"rounds": "three"})


@pytest.mark.parametrize(("thing", "complaint"), [(dict, "not a subclass"), (object(), "is not a class")])
def test_something_that_is_no_driver_is_told(thing: Any, complaint: str) -> None:
    with fails(complaint):
        check_driver(thing)


@frozen
class Untyped:
    rounds = attrs.field(default=1)


class Anything:
    """Takes whatever it is given."""


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("kind", "probe", "kind 'probe' is not a kind"),
        ("kind", "tool", "kind 'tool' is not a kind"),
        ("options_type", Anything, "are not an attrs class"),
        ("options_type", Untyped, "option rounds of Bench has no type"),
    ],
)
def test_a_driver_that_is_put_together_wrongly_is_told(name: str, value: Any, complaint: str) -> None:
    bench = type(runs(by_tool))
    setattr(bench, name, value)
    with fails(complaint):
        check_driver(bench)


def test_options_that_take_anything_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(given: Mapping[str, Any], cls: type[Any]) -> tuple[Any, list[Any]]:
        return cls(), []

    monkeypatch.setattr("playbook_kernel.testing.conformance.structure", lenient)
    with fails("takes options that it does not have"):
        check_driver(type(runs(by_tool)))


# -- benchmarks ---------------------------------------------------------------------------------------------------


def test_a_good_benchmark_passes(tmp_path: Path) -> None:
    measured = check_benchmark(
        runs(by_tool),
        trial(tmp_path / "good", "812.5"),
        broken=trial(tmp_path / "broken", 1),
        hangs=trial(tmp_path / "hangs", Hang()),
    )
    assert measured.metrics["throughput"].value == 812.5


@pytest.mark.parametrize(
    "body, complaint",
    [
        (lambda _: None, "returned NoneType"),
        (lambda _: Measurement({}), "nothing was measured"),
        (lambda _: Measurement({"x": Metric(float("nan"), "s")}), "metric x is nan"),
        (lambda _: Measurement({"x": Metric(1.0, "")}), "metric x has no unit"),
        (lambda _: Measurement({"x": Metric(1.0, "s", 0)}), "stands on 0 samples"),
        (lambda _: Measurement({"x": 1.0}), "metric x is float"),  # type: ignore[dict-item]
        (lambda _: Measurement({"x": Metric(1.0, "s")}, raw={"a": {1, 2}.__iter__}), "JSON"),
        (lambda _: Measurement({"x": Metric(1.0, 5)}), "cannot go to another process: .* a text, got 5"),  # type: ignore[arg-type]
        (lambda _: Measurement({"x": Metric(1.0, "s")}, raw={"a": {"$float": "1"}}), "changes when it goes to another"),
    ],
)
def test_a_dishonest_measurement_is_told(tmp_path: Path, body: Any, complaint: str) -> None:
    with fails(complaint):
        check_benchmark(runs(body), trial(tmp_path, ""))


def test_a_swallowed_failure_is_told(tmp_path: Path) -> None:
    def careless(ctx: TrialContext) -> Measurement:
        ctx.session("n1").run(["bench"], check=False)
        return Measurement({"x": Metric(1.0, "s")})

    with fails("as if it had not"):
        check_benchmark(runs(careless), trial(tmp_path / "a", ""), broken=trial(tmp_path / "b", 9))


def test_a_benchmark_that_does_not_stop_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playbook_kernel.testing.bounds._PATIENCE", 1.0)
    once: list[int] = []

    def stubborn(ctx: TrialContext) -> Measurement:
        if ctx.session("n1").run(["bench"], check=False, timeout=None).ok and not once:
            once.append(1)
            return Measurement({"x": Metric(1.0, "s")})
        time.sleep(3)
        return Measurement({"x": Metric(1.0, "s")})

    with fails("its deadline passed, and it goes on"):
        check_benchmark(runs(stubborn), trial(tmp_path / "a", ""), hangs=trial(tmp_path / "b", ""))


def test_a_benchmark_that_answers_a_cancellation_with_a_result_is_told(tmp_path: Path) -> None:
    def eager(ctx: TrialContext) -> Measurement:
        scope = current()
        if scope.deadline.at is not None:
            scope.sleep(60)
        scope.cancel.wait(0.3 if scope.deadline.at is None else 0)
        return Measurement({"x": Metric(1.0, "s")})

    with fails("it was cancelled, and it returned"):
        check_benchmark(runs(eager), trial(tmp_path / "a", ""), hangs=trial(tmp_path / "b", ""))


@pytest.mark.parametrize(
    ("error", "complaint"),
    [(ValueError("oh"), "raised ValueError: oh"), (PhaseTimeout("late"), "raised PhaseTimeout instead of Cancelled")],
)
def test_a_benchmark_that_ends_otherwise_than_asked_is_told(tmp_path: Path, error: Exception, complaint: str) -> None:
    def odd(ctx: TrialContext) -> Measurement:
        if ctx.session("n1").run(["bench"]).text == "good":
            return Measurement({"x": Metric(1.0, "s")})
        if isinstance(error, PhaseTimeout) and current().deadline.at is not None:
            current().sleep(60)
        raise error

    with fails(complaint):
        check_benchmark(runs(odd), trial(tmp_path / "a", "good"), hangs=trial(tmp_path / "b", ""))


def test_a_secret_in_an_event_is_told(tmp_path: Path) -> None:
    def chatty(ctx: TrialContext) -> Measurement:
        ctx.warn(f"the key is {PLANTED}")
        return Measurement({"x": Metric(1.0, "s")})

    with fails("Warned holds a secret"):
        check_benchmark(runs(chatty), trial(tmp_path, ""))
