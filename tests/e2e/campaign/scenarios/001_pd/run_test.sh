#!/usr/bin/env bash
set -euo pipefail
python3 -m playbook_sim_engine.client --base-url http://10.88.0.13:8000 --requests 20 --concurrency 4 --out "$SCENARIO_RESULT_PATH"
