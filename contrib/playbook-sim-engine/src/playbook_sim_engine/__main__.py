"""`python -m playbook_sim_engine`."""

from __future__ import annotations

import sys

from playbook_sim_engine.cli import main

if __name__ == "__main__":
    sys.exit(main())
