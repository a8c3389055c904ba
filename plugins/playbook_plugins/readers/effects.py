"""Keys of the earlier tool's templates: those that do nothing here are told once, those that work now are noted."""

from __future__ import annotations

from playbook_kernel.api import Document, Key, Problems, dotted

from .vocabulary import NEWLY_LIVE, NO_EFFECT, OFF_HAS_NO_EFFECT


def tell(document: Document, kind: str, problems: Problems, at: tuple[Key, ...] = ()) -> None:
    """Look through one file of a kind, or the part of it at a key path."""
    for path, why in NO_EFFECT.get(kind, {}).items():
        if document.at(*at, *path) is not None:
            _once(document, (*at, *path), f"has no effect: {why}", problems)
    for path, why in OFF_HAS_NO_EFFECT.get(kind, {}).items():
        if document.at(*at, *path) is False:
            _once(document, (*at, *path), f"cannot be switched off: {why}", problems)
    for path in NEWLY_LIVE.get(kind, ()):
        if document.at(*at, *path) is not None and all(n.key != dotted(path) for n in problems.notes):
            problems.note(
                document.file, document.line(*path), dotted(path), "had no effect in the earlier tool, and works here"
            )


def _once(document: Document, path: tuple[Key, ...], text: str, problems: Problems) -> None:
    """A key that stands in a hundred files deserves one warning, not a hundred."""
    if not any(w.message == text and w.key.rpartition(".")[2] == path[-1] for w in problems.warnings):
        problems.warn(document.file, document.line(*path), dotted(path), text)
