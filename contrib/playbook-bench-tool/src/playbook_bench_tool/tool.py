"""The way of every such benchmark: is the tool there, run it, bring its report home, read it."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from attrs import asdict, evolve
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version
from playbook_kernel.api import (
    Benchmark,
    Deployment,
    Endpoint,
    Load,
    Measurement,
    NodeError,
    Output,
    PhaseFailed,
    Secret,
    TrialContext,
    current,
    field,
    frozen,
)

from .containers import contained, removed

_VERSION = re.compile(r"\d+(?:\.\d+)+(?:[-.]?(?:rc|post|dev|a|b)\d+)?")
_FRAMES = " \t│┃|╭╮╰╯─━=•"
_TROUBLE = re.compile(r"error|exception|failed|refused|cannot", re.IGNORECASE)
_UNREADABLE = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError)


@frozen
class ToolOptions:
    """Where the tool runs: on ``node`` (``local``: this machine), in a container of ``image`` there if one is named.

    ``program``: how to call it, instead of the usual words. ``args``: further arguments, after ours. ``env``: variables; their
    values are secrets and never arguments. ``service``: which one to measure, none for the first that has an address; ``url``
    and ``model`` instead of its own. ``tokenizer``: a name or a folder, where it runs. ``input_len``, ``output_len``: tokens of
    the random prompts and answers that are used where ``args`` name no data. ``versions``: which versions of the tool to
    accept, such as ``>=1,<3``; ``*`` for any. ``timeout``: seconds, then it is killed. ``docker``: the engine's command.
    """

    node: str = "local"
    image: str = ""
    program: list[str] = field(factory=list)
    args: list[str] = field(factory=list)
    env: dict[str, Secret] = field(factory=dict)
    service: str = ""
    url: str = ""
    model: str = ""
    tokenizer: str = ""
    input_len: int = 512
    output_len: int = 128
    versions: str = ""
    timeout: float = 3600.0
    docker: str = "docker"


O = TypeVar("O", bound=ToolOptions)  # noqa: E741 - as in OptionsT


class ToolBenchmark(Benchmark[O]):
    """A load generator with a command line.

    ``tool`` is its name, ``program`` how it is called, ``asks_version`` what prints its version, ``versions`` those whose
    report is known. ``takes``: the fields of a load that it has an option for.
    """

    tool: ClassVar[str]
    program: ClassVar[tuple[str, ...]]
    asks_version: ClassVar[tuple[str, ...]]
    versions: ClassVar[str]
    takes: ClassVar[frozenset[str]] = frozenset({"concurrency", "rate", "requests"})

    @abstractmethod
    def arguments(self, endpoint: Endpoint, load: Load, folder: str, version: Version) -> Sequence[object]:
        """What it is told; it writes its report into ``folder``, where it runs."""

    @abstractmethod
    def read(self, folder: Path) -> Measurement:
        """What its report, brought home to ``folder``, says. Raises anything if it is not as it should be."""

    def check(self, directory: Path) -> Sequence[str]:
        try:
            SpecifierSet(self._accepted)
        except InvalidSpecifier:
            return (f"{directory}: {self.tool}: versions: {self.options.versions!r} is not such as '>=1,<3' or '*'",)
        return ()

    @property
    def _accepted(self) -> str:
        said = self.options.versions
        return "" if said == "*" else said or self.versions

    def fit(self, ctx: TrialContext) -> str | None:
        """Why it cannot measure: no such tool, no such image, another version, a load that it cannot make."""
        asked = {name for name, value in asdict(ctx.trial.scenario.load).items() if value is not None}
        if alien := asked - self.takes:
            return f"{self.tool} has no option for load.{', load.'.join(sorted(alien))}"
        where = f"in {self.options.image} on {self.options.node}" if self.options.image else f"on {self.options.node}"
        try:
            version = self._version(ctx)
        except (NodeError, PhaseFailed) as error:
            return str(error)
        if version is None:
            return f"{self.tool} is not {where}: `{' '.join(self._asks_version)}` tells no version; {self._hint}"
        if not SpecifierSet(self._accepted).contains(version, prereleases=True):
            return (
                f"{self.tool} {version} is {where}, and what it writes is known of {self._accepted}; "
                f"the option `versions` accepts others"
            )
        return None

    @property
    def _asks_version(self) -> list[str]:
        """With the user's own program: the first word of it takes the place of ours."""
        asked = list(self.asks_version)
        return [self.options.program[0], *asked[1:]] if self.options.program else asked

    @property
    def _hint(self) -> str:
        if self.options.image:
            return "is the image right?"
        return f"install it there, or name an `image` that has it, or its `program` ({self.program[0]})"

    def _version(self, ctx: TrialContext) -> Version | None:
        """Asked once in a trial: it is a container's start, or the import of an engine."""
        asked: dict[str, Version | None] = ctx.stash.setdefault("playbook-bench-tool", {})
        key = repr((type(self), self.options))
        if key not in asked:
            asked[key] = self._ask_version(ctx)
        return asked[key]

    def _ask_version(self, ctx: TrialContext) -> Version | None:
        session, argv = ctx.session(self.options.node), self._asks_version
        if self.options.image:
            there = session.run([self.options.docker, "image", "inspect", self.options.image], check=False)
            if not there.ok:
                said = (there.errors.strip().splitlines() or ["no answer"])[-1]
                raise PhaseFailed(
                    f"{self.options.docker} on {self.options.node} has no image {self.options.image} ({said}); "
                    f"`{self.options.docker} pull {self.options.image}` there, before the campaign"
                )
            argv = [self.options.docker, "run", "--rm", "--entrypoint", argv[0], self.options.image, *argv[1:]]
        done = session.run(argv, check=False, timeout=180)
        found = _VERSION.search(done.text) or _VERSION.search(done.errors)
        return Version(found[0]) if done.ok and found else None

    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        """Run it and read its report; what it printed is in ``logs/``, what it wrote in ``benchmark/``."""
        session, folder = ctx.session(self.options.node), f"/tmp/playbook-{self.tool}-{ctx.trial.id}"  # noqa: S108
        effect = ctx.effects.intend("file", self.options.node, path=folder, tree=True)
        session.run(["mkdir", "-p", "-m", "700", "--", folder])
        ctx.effects.done(effect)
        version = self._version(ctx)
        if version is None:
            raise PhaseFailed(f"{self.tool} tells no version: `{' '.join(self._asks_version)}`", hint=self._hint)
        told = self.arguments(self._endpoint(deployment), load, folder, version)
        argv: list[object] = [*(self.options.program or self.program), *told, *self.options.args]
        container = ""
        if self.options.image:
            argv, container = contained(ctx, session, self.options, argv, folder)
        status, tail = self._follow(ctx, argv, folder)
        if container:
            removed(ctx, session, container)
        home = ctx.directory / "benchmark" / self.tool
        session.get_tree(folder, home)
        if status:
            words = last_words(tail)
            raise PhaseFailed(f"{self.tool} exited with {status}: {words}", hint=f"what it printed is in {self._log}")
        try:
            measured = self.read(home)
        except _UNREADABLE as error:
            raise PhaseFailed(
                f"the report of {self.tool} cannot be read: {type(error).__name__}: {error}",
                hint=f"what it wrote is in benchmark/{self.tool}, what it printed in {self._log}",
            ) from error
        if measured.requests and measured.errors == measured.requests:
            raise PhaseFailed(f"no request of {self.tool} succeeded", hint=f"what it printed is in {self._log}")
        return evolve(measured, method=f"{self.tool} {version}")

    @property
    def _log(self) -> str:
        return f"logs/{self.tool}.log"

    def _follow(self, ctx: TrialContext, argv: Sequence[object], folder: str) -> tuple[int, Sequence[str]]:
        """Run it with its output into the log and onto the screen; its status, and its last lines."""
        log, tail = ctx.directory / self._log, deque[str](maxlen=40)
        log.parent.mkdir(parents=True, exist_ok=True)
        env = {name: value.reveal() for name, value in self.options.env.items()}
        node = "" if self.options.node == "local" else self.options.node
        told = {"trial": ctx.trial.id, "scenario": ctx.trial.scenario.name}
        start = ctx.session(self.options.node).start
        with (
            log.open("w", encoding="utf-8") as file,
            start(argv, env=env, cwd=folder, timeout=self.options.timeout) as process,
        ):
            for pipe, line in process.lines():
                shown = line.rpartition("\r")[2]  # progress bars draw over themselves
                file.write(shown + "\n")
                file.flush()
                tail.append(shown)
                ctx.emit(Output(shown, pipe, self.tool, node, **told))
            return process.wait(), tail

    def _endpoint(self, deployment: Deployment) -> Endpoint:
        options, found = self.options, deployment.endpoints
        if options.service and options.service not in found and not options.url:
            raise PhaseFailed(
                f"service {options.service!r} has no address", hint=f"there are: {', '.join(found) or 'none'}"
            )
        chosen = found.get(options.service) if options.service else next(iter(found.values()), None)
        url = options.url or (chosen.url if chosen else "")
        if not url:
            raise PhaseFailed(
                "there is nothing to measure: no service has an address", hint="the option `url` names one"
            )
        root = url.rstrip("/").removesuffix("/v1")
        model = options.model or (chosen.model if chosen else "") or served(root)
        return Endpoint(root, model)


def last_words(lines: Sequence[str]) -> str:
    """The last line that speaks of an error, else the last one.

    >>> last_words(["ValueError: no", "see the log"]), last_words(["│ done │", ""]), last_words([])
    ('ValueError: no', 'done', 'without a word')
    """
    plain = [text for line in lines if (text := line.strip(_FRAMES))]
    told = [line for line in plain if _TROUBLE.search(line)]
    return (told or plain or ["without a word"])[-1]


def served(url: str) -> str:
    """The first model that an engine lists. Raises PhaseFailed."""
    import urllib.request  # this module is imported by every trial, with or without an engine

    try:
        bound = current().timeout(10.0) or 0.001
        with urllib.request.urlopen(f"{url}/v1/models", timeout=bound) as answer:  # noqa: S310 - the user's own address
            listed: Mapping[str, list[Mapping[str, str]]] = json.load(answer)
        return listed["data"][0]["id"]
    except _UNREADABLE as error:
        raise PhaseFailed(
            f"{url}/v1/models does not say which model is served: {error}", hint="the option `model` names one"
        ) from error
