"""Does an engine serve its model, and does it really complete?"""

from __future__ import annotations

import http.client
import json

from playbook_kernel.api import Health, NodeError, Probe, Secret, Target, field, frozen

from playbook_plugins.web import Answer, address, ask, from_outside, place_of


@frozen
class Options:
    """``url``: the engine's root, with or without ``/v1``. ``model``: must be served; empty: whatever is.

    ``completion``: one real completion must give text. ``via: node`` asks from the node itself.
    """

    url: str = field(validator=address)
    model: str = ""
    completion: bool = True
    api_key: Secret | None = None
    via: str = "controller"


class OpenAIProbe(Probe[Options]):
    """An OpenAI-compatible engine lists its model and answers one short completion."""

    def check(self, target: Target) -> Health:
        options = self.options
        near = options.via == "node"
        root = (options.url if near else from_outside(options.url, target.host)).rstrip("/").removesuffix("/v1")
        headers = {"Content-Type": "application/json"}
        if options.api_key:
            headers["Authorization"] = f"Bearer {options.api_key.reveal()}"

        def request(path: str, body: object = None) -> Answer:
            return ask(
                root + path,
                method="GET" if body is None else "POST",
                headers=headers,
                body=None if body is None else json.dumps(body).encode(),
                timeout=60.0,
                session=target.session if near else None,
            )

        try:
            listed = request("/v1/models")
            if listed.status != 200:
                return Health(ok=False, detail=f"{root}/v1/models: status {listed.status}")
            models = [str(m.get("id")) for m in listed.json().get("data", [])]
            model = options.model or next(iter(models), "")
            if options.model and options.model not in models:
                return Health(ok=False, detail=f"{root} serves {', '.join(models) or 'nothing'}, not {options.model}")
            if not options.completion:
                return Health(ok=True, detail=f"{root} serves {', '.join(models)}")
            done = request(
                "/v1/chat/completions",
                {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4},
            )
            if done.status != 200:
                return Health(ok=False, detail=f"{root}: a completion got status {done.status}: {done.text[:200]}")
            message = done.json()["choices"][0]["message"]
        except (OSError, http.client.HTTPException, NodeError) as error:
            return Health(ok=False, detail=f"{root}: {str(error) or type(error).__name__}")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return Health(ok=False, detail=f"{root}: the answer is not what an OpenAI-compatible engine gives")
        if not (message.get("content") or message.get("reasoning_content")):
            return Health(ok=False, detail=f"{root}: a completion came back empty")
        return Health(ok=True, detail=f"{root}: {model} completes")

    def address(self, host: str) -> tuple[str, int] | None:
        return None if self.options.via == "node" else place_of(from_outside(self.options.url, host))
