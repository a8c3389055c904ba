"""What can be found wrong with a compose file by reading it: misspelt keys, wrong kinds of values, names without definition.

Compose itself has the last word, and a newer one knows more keys: so an unknown key is an error only where a known one is
spelt nearly so, and a warning otherwise. A value with a variable in it is not judged.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from playbook_kernel.api import Problems

from playbook_plugins.text import Document, dotted

_TOP = ("version", "name", "include", "services", "networks", "volumes", "configs", "secrets", "models")
_SERVICE = """
annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name cpu_count
cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec depends_on deploy develop
device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file environment expose extends external_links
extra_hosts gpus group_add healthcheck hostname image init ipc isolation label_file labels links logging mac_address mem_limit
mem_reservation mem_swappiness memswap_limit models network_mode networks oom_kill_disable oom_score_adj pid pids_limit
platform ports post_start post_stop pre_start pre_stop privileged profiles provider pull_policy pull_refresh_after read_only
restart runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty
ulimits use_api_socket user userns_mode uts volume_driver volumes volumes_from working_dir
""".split()  # noqa: SIM905 - one key a line would be three pages
_INSIDE: Mapping[str, Collection[str]] = {
    "healthcheck": ("test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"),
    "deploy": (
        "mode", "endpoint_mode", "replicas", "labels", "resources", "restart_policy", "rollback_config", "update_config",
        "placement",
    ),
    "logging": ("driver", "options"),
}  # fmt: skip
_LISTS = (
    "cap_add",
    "cap_drop",
    "device_cgroup_rules",
    "devices",
    "expose",
    "external_links",
    "group_add",
    "security_opt",
)
_MAPPINGS = ("deploy", "healthcheck", "logging", "ulimits")
_LISTS_OR_MAPPINGS = ("extra_hosts", "labels", "networks", "sysctls")
_SCALARS = (
    "container_name", "cpus", "hostname", "image", "init", "ipc", "mem_limit", "network_mode", "pid", "pids_limit", "platform",
    "privileged", "pull_policy", "read_only", "restart", "runtime", "scale", "shm_size", "stdin_open", "stop_grace_period",
    "stop_signal", "tty", "user", "working_dir",
)  # fmt: skip
_VOLUME = re.compile(r"[A-Za-z0-9][\w.-]+", re.ASCII)
_NEAR = 0.75


def lint(document: Document, problems: Problems) -> None:
    """Note what is wrong with a compose file, at its line."""
    _keys(document, (), document.data, _TOP, problems)
    services = document.data.get("services")
    if not isinstance(services, Mapping):
        return
    for name, raw in services.items():
        if isinstance(raw, Mapping):
            base = ("services", str(name))
            _keys(document, base, raw, _SERVICE, problems)
            _kinds(document, base, raw, problems)
            for key, known in _INSIDE.items():
                if isinstance(inner := raw.get(key), Mapping):
                    _keys(document, (*base, key), inner, known, problems)
            if "include" not in document.data:  # what is included may define them
                _names(document, base, raw, problems)


def near(name: str, known: Collection[str]) -> str:
    """What to do about a name that is not there: a hint with one that is spelt nearly so, or nothing."""
    found = difflib.get_close_matches(name, [str(k) for k in known], n=1, cutoff=_NEAR)
    return f"did you mean {found[0]!r}?" if found else ""


def _keys(
    document: Document, base: tuple[str, ...], raw: Mapping[Any, Any], known: Collection[str], problems: Problems
) -> None:
    for key in map(str, raw):
        if key in known or key.startswith("x-") or "$" in key:
            continue
        path = (*base, key)
        line = document.line(*path)
        if hint := near(key, [k for k in known if k not in raw]):
            problems.add(document.file, line, dotted(path), "is not a key of compose files", hint)
        else:
            problems.warn(
                document.file,
                line,
                dotted(path),
                "is no key of compose files that is known here; Compose may refuse it",
            )


def _kinds(document: Document, base: tuple[str, ...], raw: Mapping[Any, Any], problems: Problems) -> None:
    wanted: tuple[tuple[Collection[str], tuple[type, ...], str], ...] = (
        (_LISTS, (list,), "a list"),
        (_MAPPINGS, (dict,), "a mapping"),
        (_LISTS_OR_MAPPINGS, (list, dict), "a list or a mapping"),
    )
    for keys, kinds, words in wanted:
        for key in keys:
            value = raw.get(key)
            if value is not None and not isinstance(value, kinds):
                path = (*base, key)
                problems.add(document.file, document.line(*path), dotted(path), f"must be {words}")
    for key in _SCALARS:
        if isinstance(raw.get(key), (list, dict)):
            path = (*base, key)
            problems.add(document.file, document.line(*path), dotted(path), "must be a single value")


def _names(document: Document, base: tuple[str, ...], raw: Mapping[Any, Any], problems: Problems) -> None:
    """Networks, volumes, configs and secrets that a service uses must be defined at the top of the file."""
    uses = {
        "networks": (n for n in _listed(raw.get("networks")) if n != "default"),
        "volumes": () if "volume_driver" in raw else _volumes(raw.get("volumes")),
        "configs": _sources(raw.get("configs")),
        "secrets": _sources(raw.get("secrets")),
    }
    for section, names in uses.items():
        defined = document.data.get(section)
        known = [str(n) for n in defined] if isinstance(defined, Mapping) else []
        for name in dict.fromkeys(names):
            if "$" not in name and name not in known:
                path = (*base, section)
                hint = near(name, known) or f"define it at the top of the file: {section}: {{{name}: ...}}"
                problems.add(
                    document.file, document.line(*path), dotted(path), f"{name!r} is not defined in this file", hint
                )


def _listed(value: Any) -> Iterator[str]:
    if isinstance(value, (list, Mapping)):
        yield from (str(v) for v in value if not isinstance(v, (list, Mapping)))


def _volumes(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else []:
        if isinstance(item, Mapping):
            if item.get("type") == "volume" and item.get("source"):
                yield str(item["source"])
        elif isinstance(item, str) and ":" in item:
            source = item.partition(":")[0]
            if "$" not in item and _VOLUME.fullmatch(source):
                yield source


def _sources(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else []:
        name = item.get("source") if isinstance(item, Mapping) else item
        if name:
            yield str(name)
