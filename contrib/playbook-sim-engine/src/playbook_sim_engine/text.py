"""Prompts in, words out: how text becomes a number of tokens, and what the model says."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Union

Prompt = Union[str, "list[int]"]
BLOCK = 16

_WORDS = str.split(
    "the a model server token cache batch step prefill decode answer prompt queue node router latency is was has takes "
    "sends keeps reads writes waits runs ends and or but then while after before with without over under each every "
    "one two three first last next fast slow long short full empty warm cold small large real same new known exact"
)


def word(seed: int, position: int) -> str:
    """Return the token at `position` of the answer with that seed; every token is a word with a space before it."""
    return " " + _WORDS[(seed * 31 + position * (7 + 2 * (seed % 23)) + (position * position >> 3)) % len(_WORDS)]


def words(seed: int, start: int, count: int) -> str:
    """Return `count` tokens from position `start`."""
    if count == 1:
        return word(seed, start)
    return "".join(word(seed, position) for position in range(start, start + count))


def render_chat(messages: Sequence[Any]) -> str:
    """Put a chat into one text, as a chat template does.

    Raises ValueError for a message that is not {"role": text, "content": text or parts}.
    """
    parts = []
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ValueError(f"messages[{at}] needs a role")
        content = message.get("content")
        if isinstance(content, list):
            content = "".join(_part(part, at) for part in content)
        elif content is None:
            content = ""
        elif not isinstance(content, str):
            raise ValueError(f"messages[{at}].content must be text or a list of parts")
        parts.append(f"<|{message['role']}|>\n{content}\n")
    return "".join(parts) + "<|assistant|>\n"


def _part(part: object, at: int) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise ValueError(f"messages[{at}].content: only parts of type text are understood")


def count_tokens(prompt: Prompt, chars_per_token: float) -> int:
    """Token ids count exactly, text by its length; never less than 1."""
    if isinstance(prompt, str):
        return max(1, math.ceil(len(prompt) / chars_per_token))
    return max(1, len(prompt))


class PrefixCache:
    """Remembers prompt blocks of 16 tokens, the least recently used forgotten first."""

    def __init__(self, blocks: int, chars_per_token: float) -> None:
        self._size = blocks
        self._chars = max(1, round(BLOCK * chars_per_token))
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def lookup(self, prompt: Prompt, tokens: int) -> int:
        """Return how many of the prompt's first tokens were seen before, and remember the prompt.

        At least one token is always left to compute, as in real engines.
        """
        width = self._chars if isinstance(prompt, str) else BLOCK
        hits, chain, hitting = 0, 0, True
        for start in range(0, len(prompt) - width + 1, width):
            block = prompt[start : start + width]
            chain = hash((chain, block if isinstance(block, str) else tuple(block)))
            if chain in self._blocks:
                self._blocks.move_to_end(chain)
                hits += hitting
            else:
                hitting = False
                self._blocks[chain] = None
                if len(self._blocks) > self._size:
                    self._blocks.popitem(last=False)
        return min(hits * BLOCK, tokens - 1)
