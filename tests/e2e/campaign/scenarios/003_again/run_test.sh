#!/bin/bash
set -eu
mkdir -p "$(dirname "$SCENARIO_RESULT_PATH")"
echo "$SCENARIO_NAME on $(hostname)" > "$SCENARIO_RESULT_PATH"
cat "$SCENARIO_DIR/metadata.yaml" >/dev/null
echo "METRIC:answer=42"
