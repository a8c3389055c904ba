"""What a file is called while it is on its way, beside the one that it becomes."""

from __future__ import annotations

import os

_LONGEST = 180
_DIGITS = 12


def beside(name: str) -> str:
    """A fresh name for the part of a file called ``name``, in the same folder."""
    return f".{name[:_LONGEST]}.{os.urandom(_DIGITS // 2).hex()}.part"


REMOVE = f"""\
for f in "$@"; do
  n=${{f##*/}}
  rm -f -- "${{f%"$n"}}.$n".{"[0-9a-f]" * _DIGITS}.part
done
"""
"""For a shell: removes what is left of the parts of the files ``$@``. Who receives one removes its part, unless he is killed."""
