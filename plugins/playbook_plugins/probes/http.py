"""Does an address answer as it should?"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from playbook_kernel.api import Health, NodeError, Probe, Target, field, frozen

from playbook_plugins.web import address, ask, from_outside, place_of


@frozen
class Options:
    """``url``: ``localhost`` in it means the node. ``expected_status``: a number, or a list of them.

    ``contains``: a text that the body must hold. ``json``: what its JSON object must hold. ``via: node`` asks from the
    node itself. ``body``: a text, or an object that is sent as JSON.
    """

    url: str = field(validator=address)
    method: str = "GET"
    expected_status: int | list[int] = 200
    headers: Mapping[str, str] = field(factory=dict)
    body: Any = None
    contains: str = ""
    json: Mapping[str, Any] = field(factory=dict)
    via: str = "controller"


class HttpProbe(Probe[Options]):
    """An HTTP request gets the expected status (and content, if asked)."""

    def check(self, target: Target) -> Health:
        options = self.options
        near = options.via == "node"
        url = options.url if near else from_outside(options.url, target.host)
        body = options.body
        headers = dict(options.headers)
        if body is not None and not isinstance(body, str):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            answer = ask(
                url,
                method=options.method.upper(),
                headers=headers,
                body=None if body is None else body.encode(),
                session=target.session if near else None,
            )
        except (OSError, http.client.HTTPException, ValueError, NodeError) as error:
            return Health(ok=False, detail=f"{url}: {str(error) or type(error).__name__}")
        expected = options.expected_status
        wanted = expected if isinstance(expected, list) else [expected]
        if answer.status not in wanted:
            words = " or ".join(map(str, wanted))
            return Health(ok=False, detail=f"{url}: status {answer.status} {answer.reason}, expected {words}")
        if options.contains and options.contains not in answer.text:
            return Health(ok=False, detail=f"{url}: the answer does not contain {options.contains!r}")
        if options.json:
            try:
                got = answer.json()
            except ValueError:
                return Health(ok=False, detail=f"{url}: the answer is not JSON")
            for key, value in options.json.items():
                if not isinstance(got, dict) or got.get(key) != value:
                    seen = got.get(key) if isinstance(got, dict) else got
                    return Health(ok=False, detail=f"{url}: {key} is {seen!r}, expected {value!r}")
        return Health(ok=True, detail=f"{url}: {answer.status}")

    def address(self, host: str) -> tuple[str, int] | None:
        return None if self.options.via == "node" else place_of(from_outside(self.options.url, host))
