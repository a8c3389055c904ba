"""What is answered to which address. No sockets here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import evolve, field, frozen
from playbook_kernel.api import JournalDamaged

from playbook_plugins.reporters.html_.markup import Html
from playbook_plugins.reporters.html_.page import asset

from . import files, pages
from .access import COOKIE, Access
from .state import Runs

_PAGE = "text/html; charset=utf-8"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_ASSETS = {
    "report.css": "text/css",
    "report.js": "text/javascript",
    "serve.css": "text/css",
    "serve.js": "text/javascript",
}
_SECURE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@frozen
class Answer:
    """``body``: bytes, or a file of which ``size`` bytes are sent."""

    status: int
    type: str = _PAGE
    body: bytes | IO[bytes] = b""
    size: int = 0
    headers: Mapping[str, str] = field(factory=dict)
    policy: str = POLICY

    def all_headers(self) -> dict[str, str]:
        """With those that every answer has."""
        size = len(self.body) if isinstance(self.body, bytes) else self.size
        fixed = {"Content-Type": self.type, "Content-Length": str(size), "Content-Security-Policy": self.policy}
        return {**_SECURE, **fixed, **self.headers}


@frozen
class Site:
    """Answers requests; reads runs and writes nothing."""

    runs: Runs
    access: Access

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """The answer to a request, whoever sent it."""
        if not self.access.host_known(headers.get("Host", "")):
            return _plain(421, "this machine is not known by that name; --allow-host NAME allows one")
        path = urlsplit(target).path
        if path == "/login" and self.access.token:
            return self._login(method, body)
        if method not in ("GET", "HEAD"):
            return _plain(405, "everything here can only be read", Allow="GET, HEAD")
        parts = [unquote(p, errors="replace") for p in path.split("/")[1:]]
        if parts[0] == "assets" and len(parts) == 2 and parts[1] in _ASSETS:
            return Answer(200, _ASSETS[parts[1]], _asset(parts[1]).encode())
        if not self.access.allowed(headers):
            if parts[0] == "api":
                return _plain(401, "a token is needed", **{"WWW-Authenticate": "Bearer"})
            return _page(401, pages.page("Runs", None, pages.door(wrong=False)))
        try:
            return self._answer(parts)
        except (OSError, JournalDamaged) as error:
            return _plain(500, f"it cannot be read: {error}")

    def _login(self, method: str, body: bytes) -> Answer:
        if method != "POST":
            return _to("/")
        shown = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
        if not self.access.matches(shown):
            return _page(401, pages.page("Runs", None, pages.door(wrong=True)))
        # Lax: a link in a report, which runs in a box of its own, shall lead back here
        cookie = f"{COOKIE}={self.access.session()}; HttpOnly; SameSite=Lax; Path=/"
        return Answer(303, headers={"Location": "/", "Set-Cookie": cookie})

    def _run(self, name: str, folder: Path) -> Html:
        return pages.run(self.runs.state(name, folder), report=(folder / "report.html").is_file())

    def _answer(self, parts: Sequence[str]) -> Answer:
        match parts:
            case [""]:
                if self.runs.only:
                    return _to(pages.address(self.runs.only))
                shown = pages.index(self.runs.listing())
                return _page(200, pages.page("Runs", None, shown, live="/part/runs", every=3000))
            case ["part", "runs"]:
                return _part(pages.index(self.runs.listing()))
            case ["api", "runs"]:
                return _json(self.runs.listing())
            case ["api", "run", name] if folder := self.runs.find(name):
                return _json(self.runs.state(name, folder))
            case ["part", "run", name] if folder := self.runs.find(name):
                return _part(self._run(name, folder))
            case ["run", name] if self.runs.find(name):
                return _to(pages.address(name))
            case ["run", name, ""] if folder := self.runs.find(name):
                state = (folder / "journal.jsonl").is_file()
                main = self._run(name, folder) if state else pages.files(name, folder, ())
                live = f"/part{pages.address(name)}".rstrip("/") if state else ""
                return _page(
                    200, pages.page(name, pages.links(name, folder), main, live=live, every=1000, plain=bool(live))
                )
            case ["run", name, "files", *rest] if folder := self.runs.find(name):
                within = rest[:-1] if rest and rest[-1] == "" else rest
                path = files.resolve(folder, within)
                if path is not None and path.is_dir():
                    if not rest or rest[-1] != "":
                        return _to(pages.address(name, "files", *within) + "/")
                    return _page(
                        200,
                        pages.page(
                            "/".join((name, *within)), pages.links(name, folder), pages.files(name, path, within)
                        ),
                    )
                found = files.open_file(path) if path is not None and rest == within else None
                if found is not None:
                    more = {"Content-Disposition": "attachment"} if found.download else {}
                    return Answer(200, found.type, found.file, found.size, more, found.policy)
        return _plain(404, "there is no such page")


def _asset(name: str) -> str:
    if name.startswith("report."):
        return asset(name)
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _page(status: int, text: str) -> Answer:
    return Answer(status, _PAGE, text.encode("utf-8", "replace"))


def _part(part: Html) -> Answer:
    return evolve(_page(200, part), headers={"ETag": pages.tag(part)})


def _json(value: Any) -> Answer:
    return Answer(200, "application/json", json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def _plain(status: int, text: str, **headers: str) -> Answer:
    return Answer(status, files.TEXT, f"{text}\n".encode(), headers=headers)


def _to(address: str) -> Answer:
    return Answer(303, headers={"Location": address})
