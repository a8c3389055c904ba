#!/usr/bin/env bash
# Loads the endpoint of test_config.json over HTTP: METRIC lines on stdout, results/summary.json;
# fails if any request does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

results="${SCENARIO_RESULT_PATH:-results}"
results="${results%%:*}" # several result paths come joined by colons

for python in python3 ../../.venv/bin/python; do
  if "$python" -c 'import playbook_sim_engine' 2>/dev/null; then
    exec "$python" -m playbook_sim_engine.client --config test_config.json --out "$results/summary.json" "$@"
  fi
done
echo "run_test.sh: no Python here has playbook_sim_engine; pip install ./contrib/playbook-sim-engine" >&2
exit 1
