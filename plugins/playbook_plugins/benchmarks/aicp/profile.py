"""Asks the server to record a profile of itself, outside of what is measured."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from .options import Options


@contextlib.contextmanager
def profiling(options: Options, api_key: str | None, say: Callable[[str], None]) -> Iterator[None]:
    """POST /start_profile before the block and /stop_profile after it; a server that cannot is told about."""
    if options.profile:
        _post(options, "/start_profile", api_key, say)
    try:
        yield
    finally:
        if options.profile:
            _post(options, "/stop_profile", api_key, say)


def _post(options: Options, path: str, api_key: str | None, say: Callable[[str], None]) -> None:
    # Slow to import, and hardly ever asked for.
    import urllib.error
    import urllib.request

    base = options.base_url.rstrip("/").removesuffix("/v1")
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    request = urllib.request.Request(base + path, data=b"", headers=headers, method="POST")  # noqa: S310 - http(s) only
    try:
        with urllib.request.urlopen(request, timeout=300):  # noqa: S310 - checked when the target was resolved
            return
    except (urllib.error.URLError, OSError) as error:
        say(f"{path}: {error}")
