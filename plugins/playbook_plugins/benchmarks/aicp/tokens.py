"""A tokenizer from a local folder; nothing is ever fetched."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from .options import OptionError


class Tokenizer(Protocol):
    """Text to token ids and back."""

    def encode(self, text: str) -> Sequence[int]:
        """Ids without special tokens."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Their text."""
        ...


class _Fast:
    def __init__(self, made: Any) -> None:
        self._made = made

    def encode(self, text: str) -> Sequence[int]:
        ids: Sequence[int] = self._made.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._made.decode(list(ids), skip_special_tokens=False))


class _Slow:
    def __init__(self, made: Any) -> None:
        self._made = made

    def encode(self, text: str) -> Sequence[int]:
        ids: Sequence[int] = self._made.encode(text, add_special_tokens=False)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._made.decode(list(ids)))


def load(path: str) -> Tokenizer:
    """The tokenizer of a folder with tokenizer.json, or of that file; other folders need transformers.

    Raises OptionError that says what is missing.
    """
    folder = Path(path)
    if not folder.exists():
        raise OptionError([f"tokenizer_path: there is no {path}"])
    file = folder / "tokenizer.json" if folder.is_dir() else folder
    if file.is_file():
        try:
            fast = importlib.import_module("tokenizers").Tokenizer
        except ImportError:
            raise OptionError(
                [f"tokenizer_path: {file} needs the package tokenizers: pip install 'playbook-kernel[tokenizers]'"]
            ) from None
        try:
            return _Fast(fast.from_file(str(file)))
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise OptionError([f"tokenizer_path: {file}: {error}"]) from None
    try:
        slow = importlib.import_module("transformers").AutoTokenizer
    except ImportError:
        raise OptionError(
            [f"tokenizer_path: {folder} has no tokenizer.json; other tokenizers need the package transformers"]
        ) from None
    try:
        return _Slow(slow.from_pretrained(str(folder), local_files_only=True))
    except Exception as error:  # noqa: BLE001 - anything may be wrong with a user's folder
        raise OptionError([f"tokenizer_path: {folder}: {error}"]) from None


def fit(tokenizer: Tokenizer, text: str, length: int) -> tuple[str, int]:
    """The text cut to so many tokens, and how many it really has: cutting text can join tokens anew."""
    ids = tokenizer.encode(text)
    cut = ids[:length]
    made = tokenizer.decode(cut) if len(ids) > length else text
    return made, len(tokenizer.encode(made))
