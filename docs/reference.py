"""The pages that are made from the code: ``python docs/reference.py`` writes them anew; a test tells when they are old.

* ``configuration.md``: every key of the users' files, from the classes that the files become.
* ``builtin.md``: every driver that comes with the tool, with its options.
* ``drivers/KIND.md`` and ``hooks/HOOK.md``: one page for each kind of driver and each hook, from their docstrings, with
  an example: what ``playbook-kernel new KIND`` writes, or the files of ``examples/``.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from playbook_kernel import api, hookspecs
from playbook_kernel.cli.new import SORTS, files
from playbook_kernel.drivers import KINDS, Driver, NoOptions
from playbook_kernel.loading import Loader
from playbook_plugins.readers.playbook import PlaybookReader

DOCS = Path(__file__).resolve().parent
EXAMPLES = DOCS / "examples"
MADE = "<!-- Made from the code by docs/reference.py; changes belong there. -->\n\n"
PACKAGE = "mine"


def pages() -> dict[str, str]:
    """Every page, by its path below ``docs``."""
    made = {"configuration.md": configuration(), "builtin.md": builtin()}
    made |= {f"drivers/{kind}.md": driver_page(kind, cls) for kind, cls in KINDS.items()}
    made |= {f"hooks/{name}.md": hook_page(name) for name in hooks()}
    return {path: MADE + text.rstrip() + "\n" for path, text in made.items()}


def main() -> None:
    """Write them all."""
    for path, text in pages().items():
        (DOCS / path).parent.mkdir(exist_ok=True)
        (DOCS / path).write_text(text, encoding="utf-8")


# -- the users' files ---------------------------------------------------------------------------------------------


def configuration() -> str:
    """One section a file, one table a mapping."""
    words = [(DOCS / "configuration.head").read_text(encoding="utf-8")]
    told: set[str] = set()
    for name, schema in PlaybookReader(NoOptions()).schemas().items():
        words.append(f"## {name}.yaml\n")
        words += _mapping("", schema, schema, told)
    return "\n".join(words)


def _mapping(name: str, schema: Mapping[str, Any], top: Mapping[str, Any], told: set[str]) -> Iterator[str]:
    """A mapping as a table, and below it those that its keys lead to; each is told once."""
    if name:
        yield f"### {name}\n"
    yield _upper(schema["description"]) + "\n"
    required = schema.get("required", ())
    rows = []
    for key, inner in schema["properties"].items():
        default = "required" if key in required else _value(inner.get("default"))
        rows.append((f"`{key}`", _type(inner, top), default, inner.get("description", "")))
    yield _table(("key", "type", "default", "meaning"), rows)
    for inner in schema["properties"].values():
        for ref in _refs(inner):
            if ref not in told:
                told.add(ref)
                yield from _mapping(ref, top["$defs"][ref], top, told)


def _refs(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for value in schema.values():
            yield from _refs(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _refs(value)


_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def _type(schema: Mapping[str, Any], top: Mapping[str, Any]) -> str:
    """The type of a value in words; that nothing and ``${VARIABLE}`` may stand for it is said once for all."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return ", ".join(f"`{v}`" for v in schema["enum"])
    if "anyOf" in schema:
        texts = [s for s in schema["anyOf"] if s.get("type") != "null" and "pattern" not in s]
        return " or ".join(_type(s, top) for s in texts)
    kinds = schema.get("type", [])
    kinds = [k for k in ([kinds] if isinstance(kinds, str) else kinds) if k != "null"]
    if "array" in kinds:
        return f"list of {_type(schema['items'], top)}"
    if "object" in kinds:
        inner = schema.get("additionalProperties")
        return f"mapping of names to {_type(inner, top)}" if isinstance(inner, dict) and inner else "mapping"
    if schema.get("pattern"):
        kinds = [k for k in kinds if k != "string"]
    return " or ".join(_WORDS[k] for k in kinds) or "anything"


def _value(value: object) -> str:
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


# -- drivers that come with the tool ------------------------------------------------------------------------------


def builtin() -> str:
    """Every driver of this distribution, by kind."""
    words = [
        "# Drivers that come with the tool\n",
        "What `playbook-kernel plugins show NAME` prints, on one page. Options are given where the driver is named.\n",
    ]
    loader = Loader()
    for kind in KINDS:
        offers = sorted((o for o in loader.offers(kind) if o.distribution == "playbook-kernel"), key=lambda o: o.name)
        if offers:
            words.append(f"## {_upper(kind)}\n")
        for offer in offers:
            words += _driver(offer.name, typing.cast("type[Driver[Any]]", loader.load(offer)))
    return "\n".join(words)


def _driver(name: str, cls: type[Driver[Any]]) -> Iterator[str]:
    yield f"### {name}\n"
    yield markdown(cls) + "\n"
    options = cls.options_type
    if not attrs.has(options) or not attrs.fields(options):
        return
    yield markdown(options) + "\n"
    attrs.resolve_types(options)
    rows = [(f"`{f.name}`", f"`{_annotation(f.type)}`", _default(f.default)) for f in attrs.fields(options) if f.init]
    yield _table(("option", "type", "default"), rows)


def _annotation(kind: Any) -> str:
    text = inspect.formatannotation(kind).replace("playbook_kernel.model.fleet.", "").replace("collections.abc.", "")
    return re.sub(r"\b(?:typing|playbook_\w+(?:\.\w+)*)\.", "", text)


def _default(default: Any) -> str:
    if default is attrs.NOTHING:
        return "required"
    made = default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]
    return "" if made in (None, "") else f"`{made!r}`"


# -- kinds of driver ----------------------------------------------------------------------------------------------


def driver_page(kind: str, cls: type[Driver[Any]]) -> str:
    """What a kind must have and may have, the data it handles, and a whole package."""
    methods = {n: m for n, m in vars(cls).items() if inspect.isfunction(m) and not n.startswith("_")}
    must = {n: m for n, m in methods.items() if n in cls.__abstractmethods__}
    may = {n: m for n, m in methods.items() if n not in must}
    words = [
        f"# {cls.__name__}\n",
        markdown(cls) + "\n",
        (
            f"Entry-point group `playbook_kernel.{kind}`; subclass `playbook_kernel.api.{cls.__name__}`. How a plugin is "
            "found, isolated and blamed is said in [A plugin of your own](../write-a-plugin.md).\n"
        ),
        "## It must have\n",
        *(_method(m) for m in must.values()),
    ]
    if may:
        words += ["## It may have\n", *(_method(m) for m in may.values())]
    words += _data(methods.values())
    words += _example(kind)
    return "\n".join(words)


def _method(method: Any) -> str:
    return f"```python\n{_signature(method)}\n```\n\n{markdown(method)}\n"


def _signature(function: Any) -> str:
    # annotations are texts in quotes, and defaults may be
    signature = re.sub(r"(?<!= )'([^']+)'", r"\1", str(inspect.signature(function)).replace("''", '""'))
    return f"def {function.__name__}{signature}"


def _data(methods: Iterable[Any]) -> list[str]:
    """The classes that the signatures name, with their fields."""
    names = [n for m in methods for n in re.findall(r"\b[A-Z]\w+", str(inspect.signature(m)))]
    found = {n: getattr(api, n) for n in dict.fromkeys(names) if inspect.isclass(getattr(api, n, None))}
    rows = [(f"`{name}`", _first(cls), _fields(cls)) for name, cls in found.items()]
    return ["## What it handles\n", _table(("class", "what it is", "fields"), rows)] if rows else []


def _fields(cls: type[Any]) -> str:
    fields = attrs.fields(cls) if attrs.has(cls) else ()
    return ", ".join(f"`{f.name}`" for f in fields if not f.name.startswith("_"))


def _first(thing: Any) -> str:
    return markdown(thing).partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _example(kind: str) -> Iterator[str]:
    yield "## A whole example\n"
    if kind not in SORTS:
        yield from _files(f"{kind}.py", f"test_{kind}.py")
        return
    sort = SORTS[kind]
    yield f"`playbook-kernel new {kind} {PACKAGE}` writes this package; it passes its tests and `mypy --strict` as it is.\n"
    made = files(kind, PACKAGE, f"playbook-{sort.prefix}-{PACKAGE}")
    for path in sorted(p for p in made if p.endswith(".py")):
        yield f"`{path}`:\n\n```python\n{made[path].strip()}\n```\n"
    yield (Path(str(_templates() / kind / "use.md"))).read_text(encoding="utf-8").replace("@NAME@", PACKAGE)


def _templates() -> Path:
    from playbook_kernel.cli.new import TEMPLATES

    return TEMPLATES


# -- hooks --------------------------------------------------------------------------------------------------------


def hooks() -> list[str]:
    """The names of all hooks, in the order of a run."""
    return [n for n, f in vars(hookspecs).items() if n.startswith("playbook_") and inspect.isfunction(f)]


def hook_page(name: str) -> str:
    """What a hook is for, and a plugin that uses it."""
    called, purpose = _called()[name]
    function = getattr(hookspecs, name)
    short = name.removeprefix("playbook_")
    words = [
        f"# {name}\n",
        f"For: {purpose}. Called: {called}.\n",
        f"```python\n{_signature(function)}\n```\n",
        markdown(function) + "\n",
        (
            "An argument that is not needed is left out. What the contexts offer is shown in [the API](../api.md); how hooks "
            "are ordered, bounded in time and blamed, in [A plugin of your own](../write-a-plugin.md).\n"
        ),
        *_data([function]),
        "## A whole example\n",
        *_files(f"{short}.py", f"test_{short}.py"),
        f"```text\npython -m pytest test_{short}.py\nplaybook-kernel --plugin ./{short}.py run --all\n```\n",
    ]
    return "\n".join(words)


def _called() -> dict[str, tuple[str, str]]:
    """How each hook is called and what it is for, from the table in the docstring of ``hookspecs``."""
    rows = (re.split(r"\s{2,}", line.strip()) for line in (hookspecs.__doc__ or "").splitlines())
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3 and row[0].startswith("playbook_")}


def _files(*names: str) -> Iterator[str]:
    for name in names:
        text = (EXAMPLES / name).read_text(encoding="utf-8").strip()
        yield f"[{name}](../examples/{name}):\n\n```python\n{text}\n```\n"


# -- text ---------------------------------------------------------------------------------------------------------


def markdown(thing: Any) -> str:
    """A docstring as Markdown: literals, roles and blocks after ``::`` are all that ours have of another language."""
    text = inspect.getdoc(thing) or ""
    text = re.sub(r"\n*\.\. versionadded:: (\S+)", r"\n\n*Since \1.*", text)
    text = re.sub(r":(?:func|class|meth|mod|attr):`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    text = re.sub(r"^(``\w+``(?:, ``\w+``)*: )", r"* \1", text, flags=re.MULTILINE).replace("``", "`")
    block = re.compile(r"::\n\n((?:    .*(?:\n|$)|\n)+)")
    return block.sub(lambda m: ":\n\n```text\n" + inspect.cleandoc(m[1]) + "\n```\n", text)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    main()
