#!/bin/sh
sleep "${LOAD_SECONDS:-0.2}"
echo METRIC:answer=42
